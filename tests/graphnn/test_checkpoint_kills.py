"""A process that writes checkpoints is killed, at random moments and at each step of a write: what is left is whole."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import graphnn as gn
from graphnn.checkpoint import latest_checkpoint, read_checkpoint, write_checkpoint

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")

ROOT = Path(__file__).resolve().parents[2]

NETWORK = """
import numpy as np
import graphnn as gn

with gn.Graph() as graph:
    for name in ("a", "b", "c"):
        gn.variable(name, np.zeros(50_000, np.float32))
"""

WRITER = (
    NETWORK
    + """
import sys
from graphnn.checkpoint import CheckpointWriter, latest_checkpoint, read_checkpoint

folder = sys.argv[1]
latest = latest_checkpoint(folder)
step = 0 if latest is None else read_checkpoint(latest, graph)["step"]
with CheckpointWriter(folder, keep=2) as writer:
    while True:
        step += 1
        for name in ("a", "b", "c"):
            graph.set_value(name, np.full(50_000, step, np.float32))
        writer.write(graph, {"step": step}, step, score=-(step // 7))
        print(step, flush=True)
"""
)

# Ends the process, as a kill or a power failure would, where the named function is called for the given time.
KILLER = """
import os, pathlib, signal

def kill_at(holder, name, count):
    function, calls = getattr(holder, name), []
    def counted(*arguments, **options):
        calls.append(name)
        if len(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    setattr(holder, name, counted)

kill_at({holder}, {name!r}, {count})
"""


def start(script: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )


def step_of_latest(folder: Path) -> int:
    """Return the step of the newest checkpoint, after a look at its values."""
    with gn.Graph() as graph:
        for name in ("a", "b", "c"):
            gn.variable(name, np.zeros(50_000, np.float32))
    path = latest_checkpoint(folder)
    assert path is not None
    step = read_checkpoint(path, graph)["step"]
    assert path.name == f"step-{step:09d}.safetensors"
    for name in ("a", "b", "c"):
        assert (graph.get_value(name) == step).all()
    return int(step)


def test_killed_at_random_moments(tmp_path: Path) -> None:
    generator = random.Random(0)
    before = 0
    for _ in range(10):
        process = start(WRITER, tmp_path)
        assert process.stdout is not None
        first = int(process.stdout.readline())
        time.sleep(generator.uniform(0, 0.03))
        process.kill()
        reported = [first, *map(int, process.communicate()[0].split())]

        step = step_of_latest(tmp_path)

        assert first == before + 1  # it went on from what the one before had left
        assert reported[-1] <= step <= reported[-1] + 1
        before = step
    write_checkpoint(tmp_path, gn.Graph(), {}, before + 1, keep=2)
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".part"]


POINTS = [
    ("os", "fsync", 5, 2),  # the third file is not on the disk yet
    ("pathlib.Path", "replace", 3, 2),  # it has not got its name yet
    ("os", "fsync", 6, 3),  # its name is not on the disk yet
    ("pathlib.Path", "unlink", 5, 4),  # an older one is not removed yet; four calls were for unfinished files
]


@pytest.mark.parametrize(("holder", "name", "count", "left"), POINTS)
def test_killed_within_a_write(holder: str, name: str, count: int, left: int, tmp_path: Path) -> None:
    process = start(KILLER.format(holder=holder, name=name, count=count) + WRITER, tmp_path)
    process.communicate()
    assert process.returncode == -9
    unfinished = set(tmp_path.glob(".*.part"))

    assert len(unfinished) == (left == 2)
    assert step_of_latest(tmp_path) == left

    process = start(WRITER, tmp_path)
    assert process.stdout is not None
    assert int(process.stdout.readline()) == left + 1
    process.kill()
    process.communicate()
    assert step_of_latest(tmp_path) >= left + 1
    assert unfinished.isdisjoint(tmp_path.iterdir())
