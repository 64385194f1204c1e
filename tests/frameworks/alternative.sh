#!/bin/sh
# SPDX-License-Identifier: MIT
#
# packaging/blas/alternative with alternatives of its own: being known changes nothing, being chosen does,
# being removed goes back.
#
#	alternative.sh SCRIPT LIBRARY
set -eu
command -v update-alternatives > /dev/null || exit 77
script=$(readlink -f "$1") library=$(readlink -f "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/alt" "$work/admin" "$work/lib"
touch "$work/other"
export BLAS_LINK="$work/lib/libblas.so.3"
name=libblas.so.3-x86_64-linux-gnu
options="--altdir $work/alt --admindir $work/admin --log /dev/null --quiet"

points_to()	# path
{
	[ "$(readlink -f "$BLAS_LINK")" = "$(readlink -f "$1")" ] ||
		{ echo "$BLAS_LINK is $(readlink -f "$BLAS_LINK"), not $1"; exit 1; }
}

# shellcheck disable=SC2086 # words
{
	update-alternatives $options --install "$BLAS_LINK" $name "$work/other" 10
	(cd "${library%/*}" && "$script" install "${library##*/}" $options)
	points_to "$work/other"
	update-alternatives $options --set $name "$library"
	points_to "$library"
	"$script" remove "$library" $options
	points_to "$work/other"
	"$script" install /nonexistent $options 2> /dev/null && exit 1
	"$script" 2> /dev/null && exit 1
}
exit 0
