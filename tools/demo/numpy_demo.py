# SPDX-License-Identifier: MIT
"""Handwritten digits by numpy alone: principal components, nearest neighbours, and kernel ridge regression
with random features. Knows nothing of cards: which BLAS computes the products is the environment's matter.

    numpy_demo.py DIGITS.CSV        prints what it found and how long each step took, as JSON
"""
import json
import sys
import time

import numpy as np

FEATURES = 1024


def timed(times, name, function):
    start = time.perf_counter()
    result = function()
    times[name] = time.perf_counter() - start
    return result


def load(path):
    table = np.loadtxt(path, delimiter=",", dtype=np.float32)
    pixels, labels = table[:, :-1] / 16, table[:, -1].astype(int)
    order = np.random.default_rng(0).permutation(len(pixels))
    return pixels[order], labels[order]


def principal(pixels):
    centred = pixels - pixels.mean(0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    return centred @ vectors[:, np.argsort(values)[::-1][:2]].astype(np.float32)


def neighbours(pixels, labels):
    """Each digit is what the most similar other one is."""
    length = (pixels * pixels).sum(1)
    distance = length[:, None] - 2 * (pixels @ pixels.T) + length
    np.fill_diagonal(distance, np.inf)
    return float((labels[distance.argmin(1)] == labels).mean())


def ridge(pixels, labels, train):
    """An arc-cosine kernel by random features; the normal equations by conjugate gradients."""
    rng = np.random.default_rng(1)
    weights = rng.standard_normal((pixels.shape[1], FEATURES), dtype=np.float32)
    features = np.maximum(pixels @ weights + rng.random(FEATURES, dtype=np.float32), 0)
    known = features[:train]
    target = np.eye(10, dtype=np.float32)[labels[:train]] - 0.1
    matrix = known.T @ known + 0.5 * np.eye(FEATURES, dtype=np.float32)
    solution = np.zeros((FEATURES, 10), np.float32)
    rest = known.T @ target
    search, size = rest.copy(), (rest * rest).sum(0)
    for _ in range(40):
        image = matrix @ search
        step = size / (search * image).sum(0)
        solution += step * search
        rest -= step * image
        new = (rest * rest).sum(0)
        search, size = rest + new / size * search, new
    guess = (features[train:] @ solution).argmax(1)
    return float((guess == labels[train:]).mean())


def main():
    pixels, labels = load(sys.argv[1])
    # The first product opens the card and measures it, once for a machine.
    np.ones((128, 128), np.float32) @ np.ones((128, 128), np.float32)
    times = {}
    plane = timed(times, "principal components", lambda: principal(pixels))
    near = timed(times, "nearest neighbours", lambda: neighbours(pixels, labels))
    found = timed(times, "kernel ridge regression", lambda: ridge(pixels, labels, 1300))
    print(json.dumps({"digits": len(labels), "neighbours": near, "ridge": found, "times": times,
                      "plane": plane.round(3).tolist(), "labels": labels.tolist()}))


if __name__ == "__main__":
    main()
