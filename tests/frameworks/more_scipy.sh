#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Debian's scipy and scikit-learn, as they are, on the card.
# shellcheck source=/dev/null
. "$(dirname "$0")/card.sh"
need /usr/lib/python3/dist-packages/scipy python3-scipy
# The reference's LAPACK calls libblas.so.3 for its products.
FRAMEWORKS_LIBS=$FRAMEWORKS_LIBS:$LAPACK
export ACCEL_BLAS_MIN=64
on_card 10 $PYTHON - <<'END' || die "scipy failed"
import numpy as np
from scipy import linalg
from scipy.linalg import blas

rng = np.random.default_rng(3)
a = rng.standard_normal((400, 400), dtype=np.float32)
b = rng.standard_normal((400, 300), dtype=np.float32)


def near(result, exact, tolerance=1e-4):
    off = np.abs(result - exact).max() / np.abs(exact).max()
    assert off < tolerance, off


d, e = a.astype(float), b.astype(float)
near(blas.sgemm(1.0, a, b), d @ e)
near(blas.sgemm(2.0, a, b, trans_a=1), 2 * d.T @ e)
near(np.tril(blas.ssyrk(1.0, b, lower=1)), np.tril(e @ e.T))
near(np.triu(blas.ssyr2k(1.0, b, b)), np.triu(2 * e @ e.T))
near(blas.ssymm(1.0, a, b), (np.triu(d) + np.triu(d, 1).T) @ e)
spd = (a @ a.T / 400 + np.eye(400)).astype(np.float32)
triangle = linalg.cholesky(spd, lower=True)         # spotrf: ssyrk, strsm, sgemm
near(triangle @ triangle.T, spd)
near(spd @ linalg.solve_triangular(triangle.T, linalg.solve_triangular(triangle, b, lower=True)), e, 1e-3)
near(spd @ linalg.solve(spd, b), e, 1e-3)
near(blas.strmm(1.0, triangle, b, lower=1), triangle.astype(float) @ e)
lu, pivots = linalg.lu_factor(a)                    # sgetrf
near(a @ linalg.lu_solve((lu, pivots), b), e, 5e-2)
print("ok scipy")
try:
    from sklearn.decomposition import PCA
    from sklearn.datasets import load_digits
except ImportError:
    pass
else:
    data = load_digits().data.astype(np.float32)
    fast = PCA(8, svd_solver="full").fit(data)
    slow = PCA(8, svd_solver="full").fit(data.astype(float))
    near(fast.explained_variance_, slow.explained_variance_, 1e-3)
    print("ok scikit-learn")
END
