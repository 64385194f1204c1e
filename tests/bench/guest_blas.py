# SPDX-License-Identifier: MIT
"""numpy's products in the VM with our BLAS and without, and the card's own through libaccel.

    guest_blas.py            takes turns between workers and prints the figures as JSON
    guest_blas.py WORKER     measures on request: lines "numpy N COUNT", "card N COUNT"

A worker answers with the nanoseconds of one product. The workers are processes of their own,
because a process has one BLAS.
"""
import ctypes
import json
import os
import statistics
import subprocess
import sys
import time

CARD, F32 = 1, 1
ROUNDS = 7


class Matrix(ctypes.Structure):
    _fields_ = [("buffer", ctypes.c_void_p), ("offset", ctypes.c_uint64), ("ld", ctypes.c_uint64),
                ("type", ctypes.c_uint32), ("reserved", ctypes.c_uint32)]


class Matmul(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("flags", ctypes.c_uint32), ("m", ctypes.c_uint32),
                ("n", ctypes.c_uint32), ("k", ctypes.c_uint32), ("a", Matrix), ("b", Matrix),
                ("c", Matrix), ("d", Matrix)]


class Card:
    """Products of buffers that are in the card's memory."""

    def __init__(self):
        self.lib = ctypes.CDLL("libaccel.so.1")
        self.lib.accel_error_detail.restype = ctypes.c_char_p
        device, self.context, self.queue = (ctypes.c_void_p() for _ in range(3))
        self.check(self.lib.accel_device_open(0, ctypes.byref(device)))
        self.check(self.lib.accel_context_create(device, 0, ctypes.byref(self.context)))
        self.check(self.lib.accel_queue_create(self.context, 1, ctypes.byref(self.queue)))
        self.made = {}

    def check(self, result):
        if result:
            raise OSError(-result, self.lib.accel_error_detail().decode())

    def product(self, size):
        if size not in self.made:
            job = Matmul(size=ctypes.sizeof(Matmul), m=size, n=size, k=size)
            for matrix in (job.a, job.b, job.d):
                buffer = ctypes.c_void_p()
                self.check(self.lib.accel_buffer_create(self.context, ctypes.c_uint64(size * size * 4),
                                                        CARD, ctypes.byref(buffer)))
                matrix.buffer, matrix.type = buffer.value, F32
            self.made[size] = job
        job = self.made[size]
        return lambda: self.check(self.lib.accel_matmul(self.queue, ctypes.byref(job)))


def worker():
    import numpy as np
    card, operands = None, {}
    for line in sys.stdin:
        what, size, count = line.split()
        size, count = int(size), int(count)
        if what == "card":
            card = card or Card()
            function = card.product(size)
        else:
            if size not in operands:
                rng = np.random.default_rng(size)
                operands[size] = [rng.random((size, size), dtype=np.float32) for _ in range(2)]
            a, b = operands[size]

            def function(a=a, b=b):
                return a @ b
        start = time.perf_counter_ns()
        for _ in range(count):
            function()
        print((time.perf_counter_ns() - start) / count, flush=True)


class Worker:
    def __init__(self, **env):
        # pylint: disable-next=consider-using-with
        self.process = subprocess.Popen([sys.executable, __file__, "worker"], text=True,
                                        env=dict(os.environ, **env), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)

    def ask(self, what, size, count=1):
        self.process.stdin.write(f"{what} {size} {count}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


def in_turn(rounds, *asks):
    """Medians of each, and of the ratios of the first two."""
    for ask in asks:
        ask()
    rows = [[ask() for ask in asks] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*rows)] + \
        [statistics.median(row[0] / row[1] for row in rows)]


def main():
    ours = Worker()
    plain = Worker(LD_LIBRARY_PATH="/onpu/usr/local/lib")
    result = {"threads": os.cpu_count()}
    numpy_2048, card_2048, ratio = in_turn(ROUNDS, lambda: ours.ask("numpy", 2048),
                                           lambda: ours.ask("card", 2048))
    result["2048"] = {"numpy_ms": numpy_2048 / 1e6, "card_ms": card_2048 / 1e6,
                      "of_card": 1 / ratio}
    # OpenBLAS takes minutes for 2048 here; its rate is the same at 768.
    cpu = min(plain.ask("numpy", 768) for _ in range(2))
    rate = 2 * 768 ** 3 / cpu
    result["2048"]["openblas_gflops"] = rate
    result["2048"]["numpy_gflops"] = 2 * 2048 ** 3 / numpy_2048
    result["2048"]["of_openblas"] = 2 * 2048 ** 3 / numpy_2048 / rate
    for size, count in ((16, 400), (32, 100), (64, 20)):
        with_us, without, ratio = in_turn(9, lambda s=size, c=count: ours.ask("numpy", s, c),
                                          lambda s=size, c=count: plain.ask("numpy", s, c))
        result[str(size)] = {"with_us_ms": with_us / 1e6, "without_ms": without / 1e6,
                             "of_without": ratio}
    print(json.dumps(result))


if __name__ == "__main__":
    worker() if sys.argv[1:] == ["worker"] else main()
