#!/bin/sh
# SPDX-License-Identifier: MIT
#
# libblas.so.3 of ours exports what symbols.txt lists, and that is all that the BLAS libraries
# that are installed export. What each row is must be so: "forward" and "own" mean that the
# reference has it, "extra" that it has not.
#
#	symbols.sh LIBRARY SYMBOLS
set -eu
library=$1 list=$2
dir=/usr/lib/x86_64-linux-gnu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export LC_ALL=C
status=0

exported()	# library
{
	nm -D --defined-only "$1" | awk '{ print $3 }' | grep -v '^_' | sort -u
}

rows()	# kinds
{
	awk -v kinds=" $1 " '!/^#/ && index(kinds, " " $1 " ") { print $2 }' "$list" | sort
}

complain()	# what, file of names
{
	[ -s "$2" ] || return 0
	echo "$1:" "$(tr '\n' ' ' < "$2")"
	status=1
}

rows "forward own ours extra data" > "$work/listed"
exported "$library" > "$work/ours"
comm -3 "$work/listed" "$work/ours" > "$work/differ"
complain "listed or exported, not both" "$work/differ"
[ "$(wc -l < "$work/ours")" -gt 300 ] || { echo "the library exports next to nothing"; exit 1; }

if [ -e "$dir/blas/libblas.so.3" ]; then
	exported "$dir/blas/libblas.so.3" > "$work/reference"
	comm -13 "$work/listed" "$work/reference" > "$work/missing"
	complain "the reference has these, we have not" "$work/missing"
	rows "forward own data" | comm -23 - "$work/reference" > "$work/wrong"
	complain "not in the reference: extra, not forward or own" "$work/wrong"
else
	echo "no reference BLAS is installed (libblas3)"
	exit 77
fi
for next in "$dir"/openblas-*/libblas.so.3; do
	[ -e "$next" ] || continue
	exported "$next" | comm -13 "$work/listed" - > "$work/missing"
	complain "$next has these, we have not" "$work/missing"
done
exit $status
