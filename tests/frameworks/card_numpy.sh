#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Debian's numpy, as it is, on the card.
# shellcheck source=/dev/null
. "$(dirname "$0")/card.sh"
need /usr/lib/python3/dist-packages/numpy python3-numpy
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
export XDG_CACHE_HOME="$work" ACCEL_BLAS_LOG="$work/log"

# So that each product is judged by where it went and none by what it would have cost.
ACCEL_BLAS_MIN=100 on_card 80 $PYTHON "$here/numpy_card.py" || { tail -n 5 log; die "numpy failed"; }
