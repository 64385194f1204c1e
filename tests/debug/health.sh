#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Runs last on the debug kernel: the checkers were at work all the time and found nothing.
# What kmemleak reports with the driver in its trace fails, with the module loaded and without.
number=0
status=0

result()	# status, name
{
	number=$((number + 1))
	if [ "$1" = 0 ]; then
		echo "ok $number $2"
	else
		echo "not ok $number $2"
		status=1
	fi
}

# kmemleak wants objects to be five seconds old, and seen as lost by two scans.
no_leaks()
{
	leaks=/tmp/kmemleak
	sleep 5
	for round in 1 2; do
		echo scan > /sys/kernel/debug/kmemleak || return 1
		echo "# scan $round ended after $(cut -d' ' -f1 /proc/uptime) s"
	done
	cat /sys/kernel/debug/kmemleak > $leaks
	echo "# kmemleak: $(grep -c '^unreferenced' $leaks) reports"
	# Whole reports, so that the one line with onpu in it is not all that one sees.
	grep -q onpu $leaks || return 0
	sed 's/^/# /' $leaks
	return 1
}

unload()
{
	for round in $(seq 100); do
		rmmod onpu 2> /dev/null && return 0
		sleep 0.1
	done
	rmmod onpu
}

echo "KTAP version 1"
echo "1..6"
grep -q '^ debug_locks: *1$' /proc/lockdep_stats
result $? "lockdep has not switched itself off"
taint=$(cat /proc/sys/kernel/tainted)
# Bits 5 and 7: a page was bad, or the kernel died. Warnings are the runner's to judge, by the kernel's
# log: some tests provoke them.
[ $((taint & 0xa0)) = 0 ]
result $? "not tainted by a death ($taint)"
no_leaks
result $? "no leaks with the driver loaded"
unload
result $? "the driver unloads"
no_leaks
result $? "no leaks after it was unloaded"
grep -q '^ debug_locks: *1$' /proc/lockdep_stats
result $? "lockdep still has not"
exit $status
