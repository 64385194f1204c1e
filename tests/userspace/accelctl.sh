#!/bin/sh
# SPDX-License-Identifier: MIT
# accelctl on a machine without a card, on the model in the process, and on cards of it that fail (fake_kernel.c).
# accelctl.sh ACCELCTL FAKE-ACCELCTL JSONCHECK CASES
# shellcheck disable=SC1090,SC1091,SC2034,SC2154 # cases.sh and this file share variables
accelctl=$1 fake=$2 jsoncheck=$3
. "$4"

usage_cases
json 3 error.code=no-device devices -- list
json 3 error.code=no-device -- info
json 3 error.code=no-device -- selftest
json 3 error.code=no-device -- bench matmul
json 3 error.code=no-device -- ps
json 3 error.code=no-device -- monitor --count 1
text 3 "no card in this machine" list

# with NAME=VALUE json|text ...: the same with this in the environment.
with() {
	export "${1?}"
	variable=${1%%=*}
	shift
	"$@"
	unset "$variable"
}

# What makes sense without a driver, on cards of the model. The leak checker cannot look into threads
# of a library that was loaded later.
checks=${ASAN_OPTIONS-}
export ACCEL_DEVICE=model:2,memory=1G ASAN_OPTIONS="$checks:detect_leaks=0"
json 0 devices.0.pci_address=fffe:00:00.0 devices.0.state=ready devices.1.node=/dev/accel/model1 -- list
text 0 "fffe:00:01.0 .*ready" list
json 0 device.index=1 device.card.cores=32 device.kernel_driver.name=onpu device.firmware.heartbeat -- info 1
json 0 device.index=0 -- info fffe:00:00.0
text 0 "memory  *1.0 GiB" info
text 0 "limits  .* 128 queues, .* jobs of any length$" info
json 0 cards.0.memory_size=1073741824 cards.1.known=true cards.1.limits.queues=128 processes.0=null -- memory
json 0 tests.10.verdict=pass failed=0 -- selftest
text 0 "All 11 tests passed" selftest 1
json 0 check.wrong=0 result.card.ops=2000000 -- bench matmul -s 100 --check=full --iterations 2
with ACCEL_QUEUES=kernel json 0 check.wrong=0 -- bench matmul --type int8 -s 30 --check=full --iterations 2
text 3 "each process has such cards of its own" ps
json 3 error.code=no-device -- monitor --count 1
with ACCEL_VISIBLE_DEVICES=1 json 0 devices.0.pci_address=fffe:00:01.0 devices.0.index=0 devices.1=null -- list
with ACCEL_VISIBLE_DEVICES= text 3 "ACCEL_VISIBLE_DEVICES leaves no card" info
with ACCEL_VISIBLE_DEVICES=2 json 3 error.code=no-device -- list
with ACCEL_VISIBLE_DEVICES=x json 4 error.code=device-error -- list
with ACCEL_DEVICE=model:0 json 3 error.code=no-device -- info
with ACCEL_DEVICE=modem json 4 error.code=device-error -- list
unset ACCEL_DEVICE
ASAN_OPTIONS=$checks

accelctl=$fake
json 0 devices.0.index=0 devices.0.state=ready devices.1.index=1 devices.0.cores=32 -- list
text 0 "0000:00:1e.0 .*ready" list
json 0 device.pci_address=0000:00:1f.0 device.card.cores=32 device.card.types_in.3=i8 \
	device.kernel_driver.name=onpu device.counters.packets=0 -- info 1
json 0 device.index=0 -- info 00:1e.0
json 0 cards.0.memory_size=67108864 cards.1.known=true cards.0.limits.buffers=511 \
	cards.0.limits.registered=16777216 unreadable_processes -- memory
text 0 "511 buffers of up to 32.0 MiB, 8 contexts, 8 queues" memory
json 0 device.card.types_in.11=mxfp4_e2m1 device.card.types_out.6=e5m2 device.card.macs_per_cycle.1=4096 \
	device.card.memory_bandwidth=1600000000000 device.counters.engine_time_ns -- info
text 0 "inputs f32, .*, mxfp4_e2m1$" info
text 0 "peak  *49, 393, 786, 1573 TOP/s" info
json 0 check.wrong=0 check.checked=1024 check.elements=2000 -- bench matmul -m 40 -n 50 -k 30 \
	--iterations 2 --check
json 0 check.wrong=0 check.checked=120 -- bench matmul --type int8 -m 10 -n 12 -k 9 --trans-a \
	--accumulate --check=full
for type in bf16 fp16 int4 e4m3 e5m2 mxfp8 mxfp8-e5m2 mxfp6 mxfp6-e3m2 mxfp4; do
	json 0 check.wrong=0 check.checked=77 parameters.type=$type -- bench matmul --type $type -m 7 -n 11 \
		-k 70 --trans-b --accumulate --check=full --iterations 1
done
json 0 check.wrong=0 -- bench matmul --type mxfp6 -m 7 -n 11 -k 33 --trans-a --check=full --iterations 1
json 0 check.wrong=0 parameters.b_type=mxfp4 -- bench matmul --type fp16 --b-type mxfp4 -m 9 -n 9 -k 40 --check
json 2 error.code=usage -- bench matmul --b-type f64
bench_cases check.wrong=0 0
json 0 results.0.parameters.type=f32 results.0.parameters.m=4 results.3.parameters.m=9 results.3.parameters.k=9 \
	results.4.parameters.type=int8 results.7.check.wrong=0 results.8=null -- \
	bench matmul --type f32,int8 -s 4:8,3:9:x3 --check --iterations 1
json 0 results.0.parameters.n=5 results.1.parameters.k=3 results.2.parameters.n=8 results.3.parameters.k=3 \
	results.3.parameters.n=8 results.3.parameters.m=2 results.4=null check=null -- \
	bench matmul -m 2 -n 5:10:+3 -k 2:3:+1 --iterations 1
json 0 results.11.parameters.type=mxfp4 results.12=null -- bench matmul --type all -s 8 --iterations 1
text 0 "^int8  *int8  *8  *8  *8  *1 |" bench matmul --type f32,int8 -s 8 --iterations 1 --check
json 0 result.card.ops=2000 result.card.memory_bytes=1200 result.card.time_ns result.card.utilisation \
	result.card.roofline result.card.bound=overhead -- bench matmul -s 10 --iterations 1
text 0 "roofline .* % .*bound by overhead" bench matmul -s 10 --iterations 1
json 0 tests.10.verdict=pass failed=0 -- selftest
# A test must fail when the firmware stands still, and the others still run.
with FAKE_STILL=1 json 1 tests.1.verdict=fail tests.10.verdict=pass failed=1 error.code=check-failed -- selftest
with FAKE_STILL=1 text 1 "FAIL  firmware-heartbeat" selftest
with FAKE_WRONG=1 json 1 check.wrong error.code=check-failed -- bench matmul -m 9 -n 9 -k 9 --check=full
with FAKE_WRONG=1 bench_cases "check.first_wrong.wanted error.code=check-failed" 1
with FAKE_WRONG=1 json 1 results.0.check.wrong results.1.check.wrong error.code=check-failed -- \
	bench matmul -s 8,9 --check --iterations 1
with FAKE_HANG=1 json 5 error.code=timeout -- info --timeout 1
with FAKE_CRASH=1 json 4 error.code=device-error -- info
with FAKE_EACCES=1 json 7 error.code=permission-denied device.state=error -- info
with FAKE_EACCES=1 json 0 cards.0.known=false -- memory
with FAKE_EACCES=1 text 0 "00:1e.0 *Permission denied" memory
with FAKE_HANG=1 json 5 error.code=timeout -- memory --timeout 1
with FAKE_EACCES=1 json 0 devices.0.state=error devices.0.state_detail -- list
with FAKE_CARDS=0 json 3 error.code=no-device -- list

echo "1..$number"
exit "$failed"
