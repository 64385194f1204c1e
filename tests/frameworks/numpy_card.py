# SPDX-License-Identifier: MIT
"""numpy's products through our BLAS: results against double precision on the CPU, in threads, in
forked processes; the library's log says where each went. Run by card_numpy.sh."""
import multiprocessing
import os
import sys
import threading

import numpy as np

LOG = os.environ["ACCEL_BLAS_LOG"]
RNG = np.random.default_rng(5)


def lines(word):
    with open(LOG, encoding="ascii", errors="replace") as log:
        return sum(word in line for line in log)


def matrix(*shape):
    return RNG.standard_normal(shape, dtype=np.float32)


def close(result, a, b):
    """Within what binary32 sums of this length may be off."""
    exact = a.astype(np.float64) @ b.astype(np.float64)
    size = np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64)
    bound = (a.shape[-1] + 8) * 2.0 ** -23 * size + 1e-30
    assert result.dtype == np.float32 and result.shape == exact.shape
    off = np.abs(result - exact) / bound
    assert (off <= 1).all(), f"off by {off.max():.3g} of the bound"


def on_card(what, function, a, b, word="sgemm"):
    before = lines(f"{word} ")
    there = lines(": card: ")
    close(function(), a, b)
    assert lines(f"{word} ") > before, f"{what}: the library was not asked for {word}"
    assert lines(": card: ") > there, f"{what}: not on the card"
    print(f"ok {what}", flush=True)


def products():
    a, b = matrix(300, 200), matrix(200, 250)
    on_card("A @ B", lambda: a @ b, a, b)
    at, bt = matrix(200, 300), matrix(250, 200)
    on_card("A.T @ B.T", lambda: at.T @ bt.T, at.T, bt.T)
    f, g = np.asfortranarray(a), np.asfortranarray(b)
    on_card("columns first", lambda: f @ g, f, g)
    wide = matrix(300, 900)[:, 100:300]
    on_card("a slice", lambda: wide @ b, wide, b)
    out = np.full((300, 250), np.nan, np.float32)
    on_card("out=", lambda: np.matmul(a, b, out=out), a, b)
    stack, many = matrix(7, 150, 160), matrix(7, 160, 140)
    on_card("a stack of matrices", lambda: stack @ many, stack, many)
    on_card("A @ A.T (syrk)", lambda: a @ a.T, a, a.T, "cblas_ssyrk")
    c = matrix(40, 50, 60)
    d = c.reshape(40, -1)
    on_card("tensordot", lambda: np.tensordot(c, c, axes=((1, 2), (1, 2))), d, d.T, "cblas_ssyrk")
    on_card("einsum", lambda: np.einsum("ij,jk->ik", a, b, optimize=True), a, b)
    bad = a.copy()
    bad[3, 5], bad[7, 9] = np.nan, np.inf
    result = bad @ b
    assert np.isnan(result[3]).all() and not np.isfinite(result[7]).any()
    assert np.isfinite(np.delete(result, [3, 7], 0)).all()
    small = matrix(8, 8)
    close(small @ small, small, small)


def multiply(size):
    a, b = matrix(size, 300), matrix(300, size)
    for _ in range(5):
        close(a @ b, a, b)


def in_threads():
    failed = []

    def work(size):
        try:
            multiply(size)
        except BaseException as error:      # pylint: disable=broad-exception-caught
            failed.append(error)

    team = [threading.Thread(target=work, args=(200 + 10 * i,)) for i in range(6)]
    for each in team:
        each.start()
    for each in team:
        each.join()
    assert not failed, failed
    print("ok threads", flush=True)


def forked(size):
    there = lines(": card: ")
    multiply(size)
    return lines(": card: ") > there


def in_processes():
    multiply(200)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert all(pool.map(forked, [200, 220, 240, 260])), "a child did without the card"
    multiply(200)
    print("ok processes", flush=True)


def main():
    with open("/proc/self/maps", encoding="ascii") as maps:
        ours = {line.split()[-1] for line in maps if "libblas.so.3" in line}
    print("libraries:", *sorted(ours))
    products()
    in_threads()
    in_processes()
    doubles = RNG.standard_normal((200, 200))
    np.testing.assert_allclose(np.linalg.solve(doubles, doubles @ np.ones(200)), 1, atol=1e-6)
    return 0


if __name__ == "__main__":
    sys.exit(main())
