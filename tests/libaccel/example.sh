#!/bin/sh
# SPDX-License-Identifier: MIT
# The example programs say what they should.
number=0 failed=0

# example NAME OUTPUT
example() {
	number=$((number + 1))
	result=$("accel-example-$1" 2>&1)
	status=$?
	if [ $status = 0 ] && [ "$result" = "$2" ]; then
		echo "ok $number - example $1"
	else
		echo "not ok $number - example $1"
		echo "status $status: $result" | sed 's/^/# /'
		failed=1
	fi
}

echo 1..2
example matmul "4 6 20
12 14 52"
example share "256 256"
exit $failed
