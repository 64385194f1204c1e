#!/bin/sh
# SPDX-License-Identifier: MIT
# accelctl ps and monitor: clients that come and go, a load, a card that is unbound meanwhile, a part of
# the cards, and what nobody but root may see.
# shellcheck disable=SC1090,SC1091,SC2034,SC2154 # cases.sh and this file share variables
accelctl=accelctl
jsoncheck=$(dirname "$0")/jsoncheck
. "$(dirname "$0")/lib/cases.sh"

echo "1..45"
"$accelctl" list --json | "$jsoncheck" devices.0.pci_address~ devices.0.node~ >"$dir/names"
pci=$(sed -n 1p "$dir/names")
node=$(sed -n 2p "$dir/names")

# until_it SECONDS COMMAND...: again and again until it succeeds; its last output is in out.
until_it() {
	end=$(($(date +%s) + $1))
	shift
	until "$@" >"$dir/out" 2>"$dir/err"; do
		[ "$(date +%s)" -lt $end ] || return 1
		sleep 0.2
	done
}
# check CHECK... -- ARGUMENT...: with --json, all of that holds.
check() {
	checks=""
	while [ "$1" != -- ]; do
		checks="$checks $1"
		shift
	done
	shift
	"$accelctl" "$@" --json >"$dir/doc" || return 1
	# shellcheck disable=SC2086
	"$jsoncheck" $checks <"$dir/doc"
}
# positive PATH ARGUMENT...: a number above 0 there.
positive() {
	path=$1
	shift
	check "$path~" -- "$@" >"$dir/number" || return 1
	awk '$1 + 0 > 0 { positive = 1 } END { exit !positive }' "$dir/number"
}

nobody() {
	"$accelctl" ps >"$dir/doc" && grep -q "No process uses a card" "$dir/doc" && ! grep -q "open node" "$dir/doc"
}

# Who uses the cards: somebody that only holds a node, and a load.
until_it 60 nobody
result $? "nobody"
sleep 1000 3<"$node" 4<&3 &
holder=$!
until_it 60 check clients.0.command=sleep -- ps --all
json 0 clients.0=null hidden_clients=1 unreadable_processes=0 -- ps "$pci"
text 0 "1 client has only an open node" ps
json 0 clients.0.pid=$holder clients.0.command=sleep clients.0.contexts=0 clients.0.queues=0 clients.0.processes=1 \
	clients.0.jobs=0 clients.0.engine_ns=0 clients.0.faults=0 clients.1=null hidden_clients=0 -- ps --all
text 0 "^ *$holder  sleep .* $pci " ps --all -d "$node"
# shellcheck disable=SC2016 # it is for that shell
sh -c 'sleep 1000 & echo $! >"$0"; wait' "$dir/child" 5<"$node" &
couple=$!
until_it 60 check clients.1.pid=$couple clients.1.command=sh clients.1.processes=2 clients.2=null -- ps --all
result $? "a client of two processes"
kill "$(cat "$dir/child")" $couple $holder
json 3 error.code=no-device -- ps 99
json 3 error.code=no-device -- monitor 99
accelctl bench matmul -m 512 -n 512 -k 512 --iterations 1000000 --timeout 600 >/dev/null 2>&1 &
bench=$!
until_it 60 positive clients.0.engine_ns ps
result $? "a client with engine time"
json 0 clients.0.command=accelctl clients.0.contexts clients.0.queues clients.0.dead_queues=0 clients.0.hangs=0 \
	clients.0.card_memory clients.0.uid=0 clients.1=null -- ps 0
text 0 "accelctl .* $pci .* MiB" ps
for path in cards.0.slots_busy cards.0.cores_percent cards.0.memory_percent cards.0.gops cards.0.matmuls_per_second \
	cards.0.packets_per_second cards.0.engine_rate clients.0.slot_percent; do
	until_it 60 positive $path monitor "$pci" --count 1 --interval 0.5
	result $? "monitor: $path of a load"
done
until_it 60 check cards.0.index=0 cards.0.state=ready cards.0.firmware_silent=false cards.0.generation cards.1=null \
	cards.0.memory_used clients.0.command=accelctl clients.0.contexts schema.name=accelctl error=null exit_status=0 \
	-- monitor 0 --count 1 --interval 0.2
result $? "monitor: card and client"
json 0 cards.1.pci_address cards.2=null -- monitor --count 1 --interval 0.1
text 0 "^0     $pci  .* [MG]iB  *[as]" monitor --count 2 --interval 0.1
text 0 "accelctl  .* $pci " monitor --count 2 --interval 0.2
"$accelctl" monitor --json --count 3 --interval 0.1 >"$dir/out"
[ "$(grep -c '^{.*}$' "$dir/out")" = 3 ] && [ "$(wc -l <"$dir/out")" = 3 ]
result $? "monitor: a document on each line"
"$accelctl" monitor --json --interval 0.1 >"$dir/first" 2>&1 &
monitor=$!
until_it 60 grep -q '"clients":\[{' "$dir/first"
kill $bench
wait $bench
"$accelctl" monitor --json --interval 0.1 >"$dir/seen" 2>&1 &
second=$!
until_it 60 grep -q '"clients":\[\]' "$dir/seen"
result $? "monitor: the client has gone"
kill -INT $monitor $second
wait $monitor && wait $second
result $? "monitor: interrupted"
[ "$(grep -c '^{.*}$' "$dir/seen")" = "$(wc -l <"$dir/seen")" ]
result $? "monitor: no document is cut off"
# Nobody reads any more.
"$accelctl" monitor --interval 0.1 | head -n 1 >"$dir/out"
result $? "monitor: into a pipe that closes"
"$accelctl" monitor --json --interval 0.1 >"$dir/seen" 2>&1 &
monitor=$!
echo "$pci" >/sys/bus/pci/drivers/onpu/unbind
until_it 60 grep -q '"state":"unbound","state_detail":"the onpu driver' "$dir/seen"
result $? "monitor: the driver is unbound"
echo "$pci" >/sys/bus/pci/drivers/onpu/bind
until_it 60 awk -v ready="\"pci_address\":\"$pci\",\"state\":\"ready\"" '
	/"state":"unbound"/ { unbound = 1 }
	unbound && index($0, ready) { back = 1 }
	END { exit !back }' "$dir/seen"
result $? "monitor: and bound again"
kill -TERM $monitor
wait $monitor
result $? "monitor: terminated"
# It may have another number now.
node=$("$accelctl" list --json | "$jsoncheck" devices.0.node~)

# A part of the cards.
second=$("$accelctl" list --json | "$jsoncheck" devices.1.pci_address~)
export ACCEL_VISIBLE_DEVICES=1
json 0 devices.0.index=0 "devices.0.pci_address=$second" devices.0.state=ready devices.1=null -- list
json 0 "device.pci_address=$second" -- info
json 3 error.code=no-device -- info "$pci"
json 0 "cards.0.pci_address=$second" cards.1=null -- memory
json 0 "cards.0.pci_address=$second" cards.0.index=0 cards.1=null -- monitor --count 1 --interval 0.1
sleep 1000 3<"$node" &
holder=$!
json 0 clients.0=null hidden_clients=0 -- ps --all
export ACCEL_VISIBLE_DEVICES="1,$pci"
json 0 "device.pci_address=$second" -- info
json 0 "device.pci_address=$pci" device.index=1 -- info 1
until_it 60 check clients.0.pid=$holder clients.0.command=sleep clients.1=null -- ps --all
result $? "a client of a card that is visible"
kill $holder
export ACCEL_VISIBLE_DEVICES=""
text 3 "ACCEL_VISIBLE_DEVICES leaves no card" list
json 3 error.code=no-device -- monitor
export ACCEL_VISIBLE_DEVICES=7
text 3 "names \"7\", which is none of the 2 cards" ps
unset ACCEL_VISIBLE_DEVICES

# Nobody but root may open the node.
chmod 600 "$node"
# Others' processes are not for everybody to see.
sleep 1000 3<"$node" &
holder=$!
su -s /bin/sh nobody -c "accelctl ps --all" >"$dir/out" 2>"$dir/err" &&
	grep -q 'of other users could not be looked at: only root may' "$dir/out" && ! grep -q sleep "$dir/out"
result $? "ps of nobody"
su -s /bin/sh nobody -c "accelctl monitor --count 1 --interval 0.1 --json" >"$dir/out" 2>"$dir/err" &&
	"$jsoncheck" cards.0.state=error "cards.0.state_detail=Permission denied" unreadable_processes \
		clients.0=null <"$dir/out" >"$dir/why"
result $? "monitor of nobody"
kill $holder

exit "$failed"
