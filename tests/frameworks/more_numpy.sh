#!/bin/sh
# SPDX-License-Identifier: MIT
#
# numpy's own tests of linear algebra and of products, with every product of single precision on the card.
# shellcheck source=/dev/null
. "$(dirname "$0")/card.sh"
need /usr/lib/python3/dist-packages/numpy python3-numpy
need /usr/lib/python3/dist-packages/pytest python3-pytest
need /usr/lib/python3/dist-packages/hypothesis python3-hypothesis
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
export ACCEL_BLAS_MIN=0
export ACCEL_BLAS_MODEL=cpu_call=0,cpu_work=1,card_call=0,card_step=0,card_work=0,copy_byte=0,pin_call=1,pin_byte=0

tests()	# least matmuls, pytest's arguments...
{
	least=$1
	shift
	on_card "$least" $PYTHON -m pytest -q -p no:cacheprovider --pyargs "$@" > tests.log 2>&1 ||
		{ tail -n 40 tests.log; die "numpy's tests: $*"; }
	tail -n 3 tests.log
}

tests 50 numpy.core.tests.test_multiarray -k 'Dot or MatMul or Inner'
tests 50 numpy.linalg
