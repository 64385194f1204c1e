#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Debian's LAPACK testers of single precision, with every product on the card: what they find may not
# be more than what they find without us.
# shellcheck source=/dev/null
. "$(dirname "$0")/card.sh"
need $LAPACK/xlintsts liblapack-test
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
FRAMEWORKS_LIBS=$FRAMEWORKS_LIBS:$LAPACK
model=ACCEL_BLAS_MODEL=cpu_call=0,cpu_work=1,card_call=0,card_step=0,card_work=0,copy_byte=0,pin_call=1,pin_byte=0

found()	# output of a tester
{
	grep -c 'failed to pass\|error exits\? .*fail\|did not pass\|\*\*\*' "$1"
}

try()	# tester, input
{
	ours env ACCEL_BLAS=off "$LAPACK/$1" < "$LAPACK/$2" > without 2>&1 || die "$1 failed without us"
	on_card 20 env ACCEL_BLAS_MIN=0 "$model" "$LAPACK/$1" < "$LAPACK/$2" > with 2>&1 ||
		{ tail -n 20 with; die "$1 < $2 failed"; }
	passed=$(grep -c 'passed the' with)
	[ "$passed" -ge 1 ] && [ "$passed" -ge "$(($(grep -c 'passed the' without) - $(found without)))" ] ||
		{ tail -n 40 with; die "$1 < $2: only $passed passed"; }
	[ "$(found with)" -le "$(found without)" ] || { grep 'failed\|\*\*\*' with; die "$1 < $2 found errors"; }
	echo "$1 < $2: $passed passed, $(found with) found (without us $(found without))"
}

try xlintsts stest.in
try xlintstrfs stest_rfp.in
try xeigtsts sep.in
try xeigtsts svd.in
try xeigtsts nep.in
