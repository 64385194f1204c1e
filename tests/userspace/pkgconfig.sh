#!/bin/sh
# SPDX-License-Identifier: MIT
# The examples build and run with what libaccel.pc says, shared and static.
# pkgconfig.sh PC LIB.so.1 LIB.a HEADER EXAMPLE.c...
set -u
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
status=0

mkdir -p "$dir/lib" "$dir/static" "$dir/include/accel"
cp "$2" "$dir/lib/libaccel.so.1" && ln -s libaccel.so.1 "$dir/lib/libaccel.so"
cp "$3" "$dir/static/" && cp "$4" "$dir/include/accel/" && cp "$1" "$dir/libaccel.pc" || exit 1
export PKG_CONFIG_PATH="$dir"

# try NAME LIBDIR EXAMPLE OPTION...: without a card the program must say that there is none.
try() {
	name=$1 libdir=$2 example=$3
	shift 3
	# shellcheck disable=SC2046,SC2086
	if ! cc $CFLAGS "$example" $(pkg-config "--define-variable=prefix=$dir" \
		"--define-variable=libdir=$libdir" --cflags --libs "$@" libaccel) -o "$dir/example-$name"; then
		echo "$name: does not build"
		status=1
		return
	fi
	LD_LIBRARY_PATH=$dir/lib "$dir/example-$name" >"$dir/out" 2>&1
	if ! grep -q -e 'accel_device_open: no card 0' -e '^12 14 52$' -e '^256 256$' "$dir/out"; then
		cat "$dir/out"
		status=1
	fi
}

CFLAGS="-std=gnu11 -Wall -Wextra -Werror -pedantic"
shift 4
for each; do
	try shared "$dir/lib" "$each"
	try static "$dir/static" "$each" --static
done
exit $status
