#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Debian's testers of BLAS levels 1 to 3, of the Fortran and the C interface, in all four types: with
# everything that we have on the card, in front of OpenBLAS and of the reference library; on the host also
# with dgemm on the card.
# shellcheck source=/dev/null
. "$(dirname "$0")/card.sh"
need $BLAS_TESTERS/xblat3s libblas-test
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

judge()	# tester, its output: nothing failed, and as much passed as the testers have routines
{
	if grep -Eqi 'fail|\*\*\*\*|fatal|illegal' "$2"; then
		cat "$2"
		die "$1 found errors"
	fi
	passed=$(grep -Eci 'passed the|PASS' "$2")
	[ "$passed" -ge "$3" ] || die "$1: only $passed passed"
	total=$((total + passed))
}

run_types()	# types, least matmuls of each, settings...
{
	types=$1 least=$2 total=0
	shift 2
	for type in $types; do
		[ $type = s ] || least=0
		ours env "$@" $BLAS_TESTERS/xblat1$type > 1.out 2>&1 || die "xblat1$type failed"
		judge xblat1$type 1.out 10
		ours env "$@" $BLAS_TESTERS/xblat2$type < $BLAS_TESTERS/${type}blat2.in > 2.log 2>&1 ||
			die "xblat2$type failed"
		judge xblat2$type ${type}blat2.out 16
		on_card "$least" env "$@" $BLAS_TESTERS/xblat3$type < $BLAS_TESTERS/${type}blat3.in \
			> 3.log 2>&1 || { cat 3.log; die "xblat3$type failed"; }
		judge xblat3$type ${type}blat3.out 6
		ours env "$@" $BLAS_TESTERS/x${type}cblat1 > c1.out 2>&1 || die "x${type}cblat1 failed"
		judge x${type}cblat1 c1.out 10
		ours env "$@" $BLAS_TESTERS/x${type}cblat2 < $BLAS_TESTERS/${type}in2 > c2.out 2>&1 ||
			die "x${type}cblat2 failed"
		judge x${type}cblat2 c2.out 16
		on_card "$least" env "$@" $BLAS_TESTERS/x${type}cblat3 < $BLAS_TESTERS/${type}in3 \
			> c3.out 2>&1 || { cat c3.out; die "x${type}cblat3 failed"; }
		judge x${type}cblat3 c3.out 6
	done
	echo "$types, $*: $total passed"
}

# Prices that are right for calls of this size; nothing is measured.
model='ACCEL_BLAS_MODEL=cpu_call=0,cpu_work=1,card_call=0,card_step=0,card_work=0,copy_byte=0,pin_call=1,pin_byte=0'
# In the VM one round, of what goes to the card: an emulated CPU takes its time.
if [ "${ACCEL_DEVICE:-}" != model ]; then
	run_types s 1000 ACCEL_BLAS_NEXT=$OPENBLAS ACCEL_BLAS_MIN=0 "$model"
	exit
fi
run_types "s d c z" 1000 ACCEL_BLAS_NEXT=$OPENBLAS ACCEL_BLAS_MIN=0 "$model"
run_types s 1000 ACCEL_BLAS_NEXT=$REFERENCE ACCEL_BLAS_MIN=0 "$model"
# 45 products a call.
run_types d 0 ACCEL_BLAS_DGEMM=9 ACCEL_BLAS_MIN=0 "$model"
