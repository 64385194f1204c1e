#!/bin/sh
# SPDX-License-Identifier: MIT
# accelctl on the card: output, JSON, exit statuses, and the card without its driver.
# shellcheck disable=SC1090,SC1091,SC2034,SC2154 # cases.sh and this file share variables
accelctl=accelctl
jsoncheck=$(dirname "$0")/jsoncheck
. "$(dirname "$0")/lib/cases.sh"

echo "1..94"
usage_cases

text 0 "ready" list
json 0 devices.0.index=0 devices.0.state=ready devices.0.driver=onpu devices.0.node \
	devices.0.pci_address devices.0.cores devices.0.memory_size error=null -- list
"$accelctl" list --json | "$jsoncheck" devices.0.pci_address~ devices.0.node~ >"$dir/names"
pci=$(sed -n 1p "$dir/names")
node=$(sed -n 2p "$dir/names")

for device in 0 "$pci" "${pci#0000:}" "$node"; do
	json 0 "device.pci_address=$pci" "device.node=$node" device.pci.bars.0.size \
		device.pci.msix_enabled=true device.pci.bus_master=true \
		device.pci.subsystem_vendor_id=0x4f4e device.pci.subsystem_device_id=0x0001 device.card.cores \
		device.card.types_in.0=f32 device.firmware.version device.kernel_driver.name=onpu \
		device.counters.packets -- info "$device"
done
text 0 "MSI-X .*enabled" info
text 0 "Firmware " info -d 0
json 0 device.card.types_in.11=mxfp4_e2m1 device.card.types_out.6=e5m2 device.card.macs_per_cycle.1 \
	device.card.memory_bandwidth device.counters.engine_time_ns device.counters.memory_busy_ns -- info
text 0 "inputs f32, .*, mxfp4_e2m1$" info
json 3 error.code=no-device -- info 99
json 3 error.code=no-device -- info ffff:00:00.0
json 3 error.code=no-device -- selftest /dev/null

json 0 tests.0.verdict=pass tests.10.verdict=pass failed=0 -- selftest
text 0 "All 11 tests passed" selftest "$pci"

# Who has memory: nobody, then somebody that holds a node.
text 0 "No process has a card open" memory
json 0 cards.0.index=0 cards.0.pci_address="$pci" cards.0.known=true cards.0.memory_size \
	cards.0.memory_visible cards.0.memory_used cards.0.memory_free cards.0.host_memory_used \
	cards.0.registered_memory_used=0 cards.0.limits.buffers cards.0.limits.buffer_size \
	cards.0.limits.registered cards.0.limits.contexts unreadable_processes=0 -- memory
text 0 "Registered memory of processes, all cards: 0 B of at most" memory
sleep 1000 3<"$node" 4<&3 &
holder=$!
json 0 processes.0.pid=$holder processes.0.name=sleep "processes.0.pci_address=$pci" \
	processes.0.clients=1 processes.0.vram.total=0 processes.0.system.shared=0 \
	processes.0.vram.resident=0 processes.0.system.active=0 processes.0.off_card=0 \
	processes.0.pinned=0 processes.0.vram.purgeable=0 -- memory "$pci"
text 0 "^ *$holder  sleep " memory
kill $holder
accelctl bench matmul -m 1024 -n 1024 -k 1024 --iterations 100000 --timeout 60 >/dev/null 2>&1 &
bench=$!
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
	sleep 0.5
	"$accelctl" memory | grep -q 'accelctl .* MiB' && break
done
text 0 "accelctl .* MiB" memory
json 0 processes.0.name=accelctl processes.0.clients=1 -- memory 0
kill $bench
json 3 error.code=no-device -- memory 99

# Nobody but root may open the node.
chmod 600 "$node"
cp "$jsoncheck" "$(command -v accelctl)" "$dir/" 2>/dev/null
chmod 755 "$dir"
su -s /bin/sh nobody -c "accelctl info --json" >"$dir/out" 2>"$dir/err"
got=$?
"$jsoncheck" error.code=permission-denied exit_status=7 device.pci_address="$pci" <"$dir/out" >"$dir/why" &&
	[ $got = 7 ]
result $? "permission denied"

# Without the driver.
echo "$pci" >/sys/bus/pci/drivers/onpu/unbind
text 0 "the onpu driver is not bound" list
json 0 devices.0.state=unbound devices.0.index=null devices.0.driver=null \
	"devices.0.pci_address=$pci" -- list
json 6 error.code=driver-not-bound "device.pci_address=$pci" device.state=unbound \
	device.pci.bars.0.size -- info "$pci"
json 0 cards.0.known=false -- memory
json 6 error.code=driver-not-bound -- selftest "$pci"
text 6 "is not bound to it" bench matmul -d "$pci"
echo "$pci" >/sys/bus/pci/drivers/onpu/bind
json 0 device.state=ready -- info "$pci"
json 0 failed=0 -- selftest

exit "$failed"
