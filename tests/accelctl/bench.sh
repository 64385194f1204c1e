#!/bin/sh
# SPDX-License-Identifier: MIT
# accelctl bench on the card: every type and every part of a matmul, bit by bit; sweeps; engine time.
# shellcheck disable=SC1090,SC1091,SC2034,SC2154 # cases.sh and this file share variables
accelctl=accelctl
jsoncheck=$(dirname "$0")/jsoncheck
. "$(dirname "$0")/lib/cases.sh"

echo "1..41"

# right CHECKED N: the checks of N results.
right() {
	i=0
	while [ $i -lt "$2" ]; do
		echo "results.$i.check.wrong=0 results.$i.check.checked=$1"
		i=$((i + 1))
	done
}

# shellcheck disable=SC2046
json 0 $(right 1024 12) results.0.parameters.type=f32 results.11.parameters.type=mxfp4 \
	results.11.check.elements=6400 results.11.result.gops_pipelined results.12=null -- \
	bench matmul --type all -m 64 -n 100 -k 70 --iterations 3 --check
# shellcheck disable=SC2046
json 0 $(right 600 12) -- bench matmul --type all -m 20 -n 30 -k 40 --trans-a --trans-b --accumulate \
	--check=full --iterations 1
# shellcheck disable=SC2046
json 0 $(right 1024 4) results.4=null results.3.parameters.type=int8 results.3.parameters.k=100 -- \
	bench matmul --type f32,int8 -s 50:100 --check --iterations 1
json 0 check.wrong=0 parameters.b_type=mxfp4 -- bench matmul --type bf16 --b-type mxfp4 -m 21 -n 31 \
	-k 70 --trans-b --check=full --iterations 1
json 0 check.wrong=0 -- bench matmul --type int8 --b-type int4 -m 21 -n 31 -k 70 --check=full --iterations 1
bench_cases check.wrong=0 0
json 4 error.code=device-error -- bench matmul --type int8 --b-type f32 -m 2 -n 2 -k 2
json 4 error.code=device-error -- bench matmul --type f32 --d-type int32 -s 2
json 4 error.code=device-error -- bench matmul --lda 3 -s 4
json 0 result.card.ops=2000000 result.card.memory_bytes=120000 result.card.host_read_bytes=0 \
	result.card.bound=overhead result.card.roofline -- bench matmul -s 100 --iterations 1
json 0 result.card.host_read_bytes=80000 result.card.host_write_bytes=40000 result.card.bound=host -- \
	bench matmul -s 100 --iterations 1 --memory host
text 0 "roofline .* % .*bound by compute" bench matmul -s 512 --iterations 1
text 0 "roofline .* % .*bound by memory" bench matmul --type bf16 -m 1 -n 2048 -k 2048 --iterations 1
text 0 "Engine time .* s: cores " info
text 0 "GFLOP/s" bench matmul -m 33 -n 44 -k 55 --iterations 2
text 0 "GOP/s" bench matmul --type int8 -m 33 -n 44 -k 55 --iterations 2 --seed 9
text 0 "^int8  *int8  *8  *8  *8  *1 |" bench matmul --type f32,int8 -s 8 --iterations 1
json 2 error.code=usage -- bench matmul -m 2147483647 -n 1 -k 1
json 4 error.code=device-error -- bench matmul -m 200000 -n 200000 -k 1
json 5 error.code=timeout -- bench matmul -m 1024 -n 1024 -k 1024 --iterations 100000 --timeout 1

exit "$failed"
