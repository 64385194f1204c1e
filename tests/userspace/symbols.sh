#!/bin/sh
# SPDX-License-Identifier: MIT
# What the libraries export is what the map lists and the header declares, no more, no less.
# symbols.sh LIB.so LIB.a MAP HEADER
set -u
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
status=0

nm -D --defined-only "$1" | awk '$2 == "T" { sub(/@.*/, "", $3); print $3 }' | sort >"$dir/shared"
nm -g --defined-only "$2" | awk '$2 ~ /[A-Z]/ && $3 !~ /^__(asan|odr_asan|ubsan)/ { print $3 }' | sort >"$dir/static"
sed -n 's/^\t\(accel_[a-z_0-9]*\);$/\1/p' "$3" | sort >"$dir/map"
tr '\n' ' ' <"$4" | grep -o 'ACCEL_API [^;]*;' | grep -o 'accel_[a-z_0-9]*(' | tr -d '(' | sort >"$dir/header"

for what in shared static header; do
	if ! diff -u "$dir/map" "$dir/$what"; then
		echo "the symbols of $what differ from the map"
		status=1
	fi
done
[ -s "$dir/map" ] || { echo "no symbols in the map"; status=1; }
objdump -p "$1" | grep -q 'SONAME *libaccel\.so\.1$' || { echo "wrong SONAME"; status=1; }
nm -D --defined-only "$1" | awk '$2 == "T"' | grep -qv '@@ACCEL_1\.[01]$' &&
	{ echo "a symbol without version"; status=1; }
echo "$(wc -l <"$dir/map") symbols"
exit $status
