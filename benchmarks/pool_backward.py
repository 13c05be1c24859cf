"""The gradient of max-pooling: a plain Python loop beside graphnn's vectorised kernels.

The work is that of LeNet's first pooling at batch 100: images (100, 6, 28, 28), windows of 2 x 2. From the images and
the gradient of the result, both find the largest element of each window and put the gradient there.

    python -m benchmarks.pool_backward
"""

from __future__ import annotations

import argparse

import numpy as np

import graphnn as gn
from benchmarks.timing import interleaved, machine, summary
from graphnn import ops

SHAPE = (100, 6, 28, 28)
WINDOW = 2


def by_loops(x: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """Return the gradient by one Python statement per element."""
    dx = np.zeros_like(x)
    images, channels, rows, columns = dy.shape
    for n in range(images):
        for c in range(channels):
            for i in range(rows):
                for j in range(columns):
                    best_y, best_x = i * WINDOW, j * WINDOW
                    for y in range(i * WINDOW, (i + 1) * WINDOW):
                        for z in range(j * WINDOW, (j + 1) * WINDOW):
                            if x[n, c, y, z] > x[n, c, best_y, best_x]:
                                best_y, best_x = y, z
                    dx[n, c, best_y, best_x] += dy[n, c, i, j]
    return dx


def executor() -> gn.Executor:
    """Return the same as a compiled graph."""
    images, channels, rows, columns = SHAPE
    with gn.Graph():
        x = gn.placeholder("x", SHAPE)
        dy = gn.placeholder("dy", (images, channels, rows // WINDOW, columns // WINDOW))
        (dx,) = gn.gradients(ops.max_pool2d(x, WINDOW), [x], grad_ys=dy)
    return gn.Executor(dx, device="numpy")


def main() -> None:
    """Check that both agree, time them in turn, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="timed runs of each")
    rounds = parser.parse_args().rounds
    generator = np.random.default_rng(0)
    x = generator.standard_normal(SHAPE).astype(np.float32)
    dy = generator.standard_normal((*SHAPE[:2], SHAPE[2] // WINDOW, SHAPE[3] // WINDOW)).astype(np.float32)
    compiled = executor()
    np.testing.assert_array_equal(compiled.run({"x": x, "dy": dy}), by_loops(x, dy))
    work = {
        "Python loops": lambda: by_loops(x, dy),
        "graphnn, NumPy target": lambda: compiled.run({"x": x, "dy": dy}),
    }
    print(f"gradient of max-pooling, {SHAPE}, window {WINDOW}\n{machine()}\n")
    print(summary(interleaved(work, rounds), baseline="Python loops"))


if __name__ == "__main__":
    main()
