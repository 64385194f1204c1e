#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_blas.c on the card: operands copied, operands registered, and by the cost model, which measures.
# shellcheck source=/dev/null
. "$(dirname "$0")/card.sh"
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export ACCEL_BLAS_LOG="$work/log" XDG_CACHE_HOME="$work/cache"
mkdir -p "$XDG_CACHE_HOME"
touch "$ACCEL_BLAS_LOG"
free=cpu_call=0,cpu_work=1,card_call=0,card_step=0,card_work=0,pin_byte=0

on_card 500 env BLAS_TEST_CARD=1 ACCEL_BLAS_MIN=0 ACCEL_BLAS_DGEMM=9 \
	ACCEL_BLAS_MODEL=$free,copy_byte=0,pin_call=1 "$here/blas-card" || exit
on_card 500 env BLAS_TEST_CARD=1 ACCEL_BLAS_MIN=0 ACCEL_BLAS_DGEMM=4 \
	ACCEL_BLAS_MODEL=$free,copy_byte=1,pin_call=0 "$here/blas-card" || exit
ours "$here/blas-card" || exit

# What was measured is kept, and used again.
grep -q 'measured CPU and card' "$ACCEL_BLAS_LOG" || die "nothing was measured"
[ -n "$(ls "$XDG_CACHE_HOME/accel-blas")" ] || die "nothing was kept"
ours "$here/blas-card" > /dev/null || exit
grep -q 'measured CPU and card' "$ACCEL_BLAS_LOG" && die "measured again"
exit 0
