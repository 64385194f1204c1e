#!/bin/sh
# SPDX-License-Identifier: MIT
# The library's binary interface is the stored one, and all that the newest release had, whatever was stored since.
# abi.sh STORED.abi LIB.so SUPPRESSIONS [--update]: to store another one is a matter of a release.
set -u
stored=$1 library=$2 rules=$3

command -v abidiff >/dev/null || { echo "abigail-tools are not installed"; exit 77; }
now=$(mktemp)
released=$(mktemp)
trap 'rm -f "$now" "$released"' EXIT
abidw --suppressions "$rules" --no-corpus-path --no-comp-dir-path --short-locs --out-file "$now" "$library" ||
	{ echo "abidw failed"; exit 1; }
sed -i "s| path='[^']*/| path='|; s| line='[0-9]*' column='[0-9]*'||" "$now"
if [ "${4:-}" = --update ]; then
	cat "$now" >"$stored"
	exit
fi
grep -q "elf-symbol name='accel_version'.*version='ACCEL_1.0'" "$stored" || { echo "nothing is stored"; exit 1; }
# Bit 2 (4): something changed; bit 3 (8): incompatibly; bits 0 and 1: it could not be told.
abidiff --no-show-locs "$stored" "$now"
status=$?
[ $((status & 3)) -eq 0 ] || { echo "abidiff failed: $status"; exit 1; }
if [ $((status & 12)) -ne 0 ]; then
	echo "The interface has changed. If what uses it goes on working (Documentation/libaccel.md, ABI),"
	echo "store the new one: $0 $* --update"
	exit 1
fi
# Of a tree with releases in its history. More may have come; nothing may have changed.
folder=$(dirname "$stored")
tag=$(git -C "$folder" describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null)
if [ -n "$tag" ] && git -C "$folder" show "$tag:./$(basename "$stored")" >"$released" 2>/dev/null; then
	abidiff --no-show-locs --no-added-syms "$released" "$now" || { echo "programs built with $tag break: abidiff $?"; exit 1; }
	echo "as in $tag, or more"
fi
echo "as stored: $(grep -c '<elf-symbol ' "$stored") symbols"
