"""The checkpoints in a folder: which are kept, and which is found where some are damaged or come and go."""

from __future__ import annotations

import logging
import math
import os
import threading
from pathlib import Path

import numpy as np
import pytest

import graphnn as gn
from checkpoint_graphs import graph_of, steps, stored
from error_form import refused
from graphnn import ops
from graphnn.checkpoint import (
    CheckpointWriter,
    best_checkpoint,
    latest_checkpoint,
    read_checkpoint,
    write_checkpoint,
)

# What is kept.


def test_the_last_ones_and_the_best_stay(tmp_path: Path) -> None:
    graph = graph_of(w=0.0)
    scores = {1: 0.5, 2: 0.1, 3: 0.3, 4: 0.1, 5: None, 6: math.nan, 7: 0.2, 100: 0.4}
    kept = {1: [1], 2: [1, 2], 3: [2, 3], 4: [2, 3, 4], 5: [2, 4, 5], 6: [2, 5, 6], 7: [2, 6, 7], 100: [2, 7, 100]}
    with CheckpointWriter(tmp_path / "new" / "folder", keep=2) as writer:
        for step, score in scores.items():
            graph.set_value("w", step)
            path = writer.write(graph, {"step": step}, step, score=score)
            assert steps(writer.directory) == kept[step]
            assert latest_checkpoint(writer.directory) == path

    best = best_checkpoint(writer.directory)
    assert best is not None
    assert read_checkpoint(best, graph) == {"step": 2}
    assert graph.get_value("w") == 2


def test_a_second_writer_keeps_what_the_first_found_best(tmp_path: Path) -> None:
    graph = graph_of(w=0.0)
    for step, score in enumerate([0.1, 0.5, 0.4, 0.3]):
        write_checkpoint(tmp_path, graph, {}, step, score=score, keep=1)
    assert steps(tmp_path) == [0, 3]


def test_without_scores_there_is_no_best(tmp_path: Path) -> None:
    for step in range(3):
        write_checkpoint(tmp_path, graph_of(w=0.0), {}, step, keep=1)
    assert steps(tmp_path) == [2]
    assert best_checkpoint(tmp_path) is None


def test_a_step_may_be_written_again_but_none_before_it(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, graph_of(w=0.0), {"run": 1}, 5)
    path = write_checkpoint(tmp_path, graph_of(w=0.0), {"run": 2}, 5)
    assert read_checkpoint(path) == {"run": 2}

    with refused(
        gn.CheckpointError,
        "a checkpoint of a later step",
        at="write_checkpoint(",
        expected="step 5",
        hint="empty folder",
    ):
        write_checkpoint(tmp_path, graph_of(w=0.0), {}, 4)
    assert steps(tmp_path) == [5]


def test_a_damaged_later_one_is_no_hindrance(tmp_path: Path) -> None:
    graph = graph_of(w=0.0)
    for step in (1, 2):
        write_checkpoint(tmp_path, graph, {}, step)
    (tmp_path / "step-000000002.safetensors").write_bytes(b"damaged")

    path = write_checkpoint(tmp_path, graph, {}, 1, keep=1)

    assert latest_checkpoint(tmp_path) == path
    assert steps(tmp_path) == [1, 2]  # what can't be read is nobody's to remove


def test_other_files_stay(tmp_path: Path) -> None:
    graph = graph_of(w=0.0)
    gn.save(graph, tmp_path / "step-1.safetensors")
    (tmp_path / "step-2.safetensors").mkdir()
    (tmp_path / "step-9.safetensors").mkdir()
    others = {"notes.txt", ".weights.safetensors.0123abcd.part", ".step-7.safetensors.part", "step-x.safetensors"}
    for name in others:
        (tmp_path / name).write_text("mine")

    for step in range(3, 6):
        write_checkpoint(tmp_path, graph, {}, step, keep=1)

    assert latest_checkpoint(tmp_path) == tmp_path / "step-000000005.safetensors"
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {
        ".lock",
        "step-1.safetensors",
        "step-2.safetensors",
        "step-9.safetensors",
        "step-000000005.safetensors",
        *others,
    }


def test_what_killed_writers_left_is_removed(tmp_path: Path) -> None:
    left = [tmp_path / f".step-00000000{step}.safetensors.0123abc{step}.part" for step in (1, 9)]
    for path in left:
        path.write_bytes(b"half")

    write_checkpoint(tmp_path, graph_of(w=0.0), {}, 1)

    assert not any(path.exists() for path in left)


# What is found.


@pytest.mark.skipif(os.name != "posix", reason="Windows lets few users make links")
def test_a_link_that_leads_nowhere_hides_no_other(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, graph_of(w=0.0), {}, 1)
    (tmp_path / "step-2.safetensors").symlink_to(tmp_path / "missing")
    assert latest_checkpoint(tmp_path) == path


def test_no_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    for folder in (tmp_path, tmp_path / "missing"):
        assert latest_checkpoint(folder) is None
        assert best_checkpoint(folder) is None
    with refused(gn.CheckpointError, "can't be listed", at="latest_checkpoint(", hint="name the folder"):
        latest_checkpoint(tmp_path / "notes.txt")


def test_damaged_ones_are_passed_over_with_a_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    graph = graph_of(w=0.0)
    paths = [write_checkpoint(tmp_path, graph, {}, step, score=10 - step, keep=9) for step in range(5)]
    paths[4].write_bytes(b"")
    paths[3].write_bytes(paths[3].read_bytes()[:-1])
    flipped = bytearray(paths[2].read_bytes())
    flipped[-1] ^= 1  # still in the format: the digest alone tells
    paths[2].write_bytes(flipped)
    gn.save(graph, tmp_path / "step-8.safetensors")

    with caplog.at_level(logging.WARNING, logger="graphnn"):
        assert latest_checkpoint(tmp_path) == paths[1]

    lines = [record.getMessage() for record in caplog.records]
    names = ["step-8.safetensors", *(path.name for path in (paths[4], paths[3], paths[2]))]
    assert [name in line for name, line in zip(names, lines, strict=True)] == [True] * 4
    assert best_checkpoint(tmp_path) == paths[1]


def test_no_damage_passes_for_a_checkpoint(tmp_path: Path) -> None:
    graph = graph_of(w=[1.0, 2.0])
    path = write_checkpoint(tmp_path, graph, {"epoch": 7}, step=1, score=0.5)
    whole, values = path.read_bytes(), stored(graph)
    generator = np.random.default_rng(0)
    for place in range(len(whole)):
        broken = bytearray(whole)
        broken[place] ^= 1 << generator.integers(8)
        path.write_bytes(broken)
        try:
            record = read_checkpoint(path, graph)
        except gn.CheckpointError:
            assert stored(graph) == values
        else:  # blanks in the header, say
            assert (record, stored(graph)) == ({"epoch": 7}, values)


def test_a_newer_format_is_not_taken_for_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = graph_of(w=1.0)
    write_checkpoint(tmp_path, graph, {}, step=1)
    with monkeypatch.context() as patch:
        patch.setattr("graphnn.checkpoint.contents.VERSION", 2)
        newer = write_checkpoint(tmp_path, graph, {}, step=2)

    with refused(gn.CheckpointError, "was written by a newer graphnn", at="read_checkpoint(", hint="--upgrade"):
        read_checkpoint(newer, graph)
    with refused(gn.CheckpointError, "was written by a newer graphnn", at="latest_checkpoint("):
        latest_checkpoint(tmp_path)


def test_readers_beside_a_writer(tmp_path: Path) -> None:
    graph = graph_of(w=0.0)
    write_checkpoint(tmp_path, graph, {}, 0)
    stop = threading.Event()

    def write() -> None:
        with CheckpointWriter(tmp_path, keep=1) as writer:
            step = 1
            while not stop.is_set():
                writer.write(graph, {}, step)
                step += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        found = [latest_checkpoint(tmp_path) for _ in range(100)]
    finally:
        stop.set()
        thread.join()
    numbers = [int(path.stem.removeprefix("step-")) for path in found if path is not None]
    assert len(numbers) == 100
    assert numbers == sorted(numbers)


def test_values_are_those_between_two_runs(tmp_path: Path) -> None:
    with gn.Graph() as graph:
        a = gn.variable("a", np.zeros(1000, np.float32))
        b = gn.variable("b", np.zeros(1000, np.float32))
        updates = [ops.assign(a, a + 1), ops.assign(b, b - 1)]
    executor = gn.Executor(a.sum(), updates, device="numpy")
    stop = threading.Event()

    def train() -> None:
        while not stop.is_set():
            executor.run()

    thread = threading.Thread(target=train)
    thread.start()
    try:
        with CheckpointWriter(tmp_path, keep=30) as writer:
            paths = []
            for step in range(30):
                before = graph.get_value("a")[0]
                while graph.get_value("a")[0] == before:
                    assert thread.is_alive()
                paths.append(writer.write(graph, {}, step))
    finally:
        stop.set()
        thread.join()
    for path in paths:
        read_checkpoint(path, graph)
        value = graph.get_value("a")
        np.testing.assert_array_equal(graph.get_value("b"), -value)
        assert (value == value[0]).all()
