#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The driver's KUnit tests: loading the module runs them, and what they said is read
# back and printed as KTAP.
results=/sys/kernel/debug/kunit

# They try out wrong headers, and the driver says so.
modprobe kunit || exit 1
modprobe onpu_kunit || exit 1

echo "KTAP version 1"
set -- "$results"/onpu_*
[ -d "$1" ] || { echo "no suite ran"; exit 1; }
echo "1..$#"
for suite in "$@"; do
	# Each file has a heading and a plan of its own.
	grep -v -e '^KTAP version' -e '^1\.\.' "$suite/results"
done
rmmod onpu_kunit
