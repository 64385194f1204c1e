# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2034
#
# What the scripts beside it share. They run in the VM (the card's own counters are the witness) and, where
# meson.build says so, on the host with ACCEL_DEVICE=model, where the folders of our libraries come
# as FRAMEWORKS_LIBS.
FRAMEWORKS_LIBS=${FRAMEWORKS_LIBS:-/onpu/usr/local/lib/accel:/onpu/usr/local/lib}
BLAS_TESTERS=/usr/lib/x86_64-linux-gnu/blas
REFERENCE=$BLAS_TESTERS/libblas.so.3
OPENBLAS=/usr/lib/x86_64-linux-gnu/openblas-pthread/libblas.so.3
PYTHON=/usr/bin/python3
# Debian's LAPACK that calls libblas.so.3; OpenBLAS's own does not.
LAPACK=/usr/lib/x86_64-linux-gnu/lapack

# Threads of OpenBLAS wait for each other by spinning; where the emulator shares its processors a call of some
# microseconds takes milliseconds by that, and testers make a hundred thousand of them.
export OPENBLAS_NUM_THREADS=1

die()	# text
{
	echo "$1"
	exit 1
}

need()	# file, package
{
	[ -e "$1" ] && return
	echo "needs $2"
	# Meson and the VM's runner have a status each for a skipped test.
	[ "${ACCEL_DEVICE:-}" = model ] && exit 77
	exit 4
}

ours()	# command...: with our BLAS
{
	LD_LIBRARY_PATH=$FRAMEWORKS_LIBS "$@"
}

matmuls()	# matmuls that the card has executed since power-on
{
	accelctl info --json | sed -n 's/.*"matmuls": *\([0-9]*\).*/\1/p' | head -n 1
}

on_card()	# at least so many matmuls, command...: fails unless the card has executed them
{
	least=$1
	shift
	if [ "${ACCEL_DEVICE:-}" = model ]; then
		ours "$@"
		return
	fi
	before=$(matmuls)
	ours "$@" || return
	after=$(matmuls)
	echo "matmuls on the card: $((after - before))"
	[ $((after - before)) -ge "$least" ] || die "the card has not executed $least matmuls: $*"
}
