#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Debian's Octave, as it is, on the card.
# shellcheck source=/dev/null
. "$(dirname "$0")/card.sh"
need /usr/bin/octave-cli octave
export ACCEL_BLAS_MIN=64
on_card 4 octave-cli --no-gui --no-history --norc --eval '
	rand ("twister", 1);
	a = single (rand (400, 300)); b = single (rand (300, 500));
	near = @(x, y) max (abs (double (x) - y)(:)) / max (abs (y)(:)) < 1e-5;
	assert (near (a * b, double (a) * double (b)));
	assert (near (a'"'"' * a, double (a)'"'"' * double (a)));
	assert (near (a * b(:, 1:2:end), double (a) * double (b(:, 1:2:end))));
	s = single (eye (300)) + (a'"'"' * a) / 400;
	assert (near (s * (s \ b), double (b)) || max (abs (s * (s \ b) - b)(:)) < 1e-3);
	disp ("ok octave");' || die "Octave failed"
