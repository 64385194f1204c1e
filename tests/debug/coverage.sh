#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Copies what gcov counted for the driver to the folder that tests/run --coverage shows us, below a
# name of this boot's. The kernel keeps the counters of modules that are gone.
[ -d /coverage ] || { echo "no coverage is wanted"; exit 4; }
into=/coverage/$(cat /proc/sys/kernel/random/boot_id)
mkdir -p "$into" || exit 1
find /sys/kernel/debug/gcov -name 'onpu_*.gcda' -path '*/driver/*' ! -path '*/tests/*' |
while read -r file; do
	cat "$file" > "$into/${file##*/}" || exit 1
done || exit 1
set -- "$into"/*.gcda
[ -e "$1" ] && echo "$# files"
