#!/bin/sh
# SPDX-License-Identifier: MIT
# The example program says what it should.
wanted="4 6 20
12 14 52"
echo 1..1
result=$(accel-example-matmul 2>&1)
if [ "$result" = "$wanted" ]; then
	echo "ok 1 - example"
else
	echo "not ok 1 - example"
	echo "$result" | sed 's/^/# /'
	exit 1
fi
