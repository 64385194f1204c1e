#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Debian's R, as it is, on the card. R knows only double precision, so the card computes it by integers.
# shellcheck source=/dev/null
. "$(dirname "$0")/card.sh"
need /usr/bin/Rscript r-base-core
export ACCEL_BLAS_MIN=64 ACCEL_BLAS_DGEMM=int8
script=$(mktemp)
trap 'rm -f "$script"' EXIT
cat > "$script" <<'END'
set.seed(1)
a <- matrix(rnorm(150 * 120), 150); b <- matrix(rnorm(120 * 130), 120)
wanted <- 0
for (k in 1:120) wanted <- wanted + outer(a[, k], b[k, ])
off <- max(abs(a %*% b - wanted)) / max(abs(wanted))
stopifnot(off < 1e-14)
cat("ok R, off by", off, "\n")
END
# R's own folders come before LD_LIBRARY_PATH, unless it is told otherwise.
export R_LD_LIBRARY_PATH=$FRAMEWORKS_LIBS:/usr/lib/R/lib:/usr/lib/x86_64-linux-gnu
on_card 45 Rscript --vanilla "$script" || die "R failed"
