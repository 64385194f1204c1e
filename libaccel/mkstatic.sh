#!/bin/sh
# SPDX-License-Identifier: MIT
# Makes the static library one object whose only global symbols are the exported ones, so
# that names inside libaccel cannot clash with an application's.
# mkstatic.sh LD OBJCOPY AR INPUT.a OUTPUT.a
set -e
ld=$1 objcopy=$2 ar=$3 in=$4 out=$5
object=$out.d/libaccel.o
mkdir -p "$out.d"
"$ld" -r --whole-archive "$in" -o "$object"
"$objcopy" --localize-hidden "$object"
rm -f "$out"
"$ar" rcsD "$out" "$object"
rm -r "$out.d"
