"""Checkpoints: going on to the bit, what a record may hold, what does not fit, and who may write."""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphnn as gn
from checkpoint_graphs import graph_of, steps, stored
from error_form import refused
from graphnn import nn, ops, optim
from graphnn.checkpoint import (
    CheckpointWriter,
    best_checkpoint,
    latest_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from graphnn.ops.store import VariableStore
from module_names import ROOT
from python_process import printed_by


class Training:
    """A network with everything that a checkpoint has to carry: Adam, a schedule, dropout, a running mean."""

    def __init__(self, seed: int = 0, hidden: int = 4) -> None:
        with gn.Graph(seed=seed) as self.graph:
            x = gn.placeholder("x", (None, 3))
            y = ops.dropout(ops.relu(nn.Linear(3, hidden)(x)), 0.5)
            mean = gn.variable("running_mean", np.zeros(hidden, np.float32), trainable=False)
            self.graph.add_update(ops.assign(mean, 0.9 * mean + 0.1 * y.mean(0)))
            loss = (nn.Linear(hidden, 1, name="last")(y) ** 2).mean()
            updates = optim.Adam(optim.schedules.cosine(0.1, total_steps=20)).minimize(loss)
        self.executor = gn.Executor(loss, updates, device="numpy", max_batch=5)

    def run(self, first: int, last: int) -> list[bytes]:
        batches = [np.random.default_rng(step).normal(size=(5, 3)).astype(np.float32) for step in range(first, last)]
        return [np.asarray(self.executor.run({"x": batch})).tobytes() for batch in batches]


# Going on.


def test_training_goes_on_to_the_bit(tmp_path: Path) -> None:
    record = {"epoch": 1, "history": [{"loss": 0.1 + 0.2, "error": math.nan}], "name": "é\n"}
    first, second = Training(), Training()
    first.run(0, 6)
    path = write_checkpoint(tmp_path, first.graph, record, step=6)
    expected = first.run(6, 10)
    second.run(0, 2)

    read = read_checkpoint(path, second.graph)
    losses = second.run(6, 10)

    assert losses == expected
    assert stored(second.graph) == stored(first.graph)
    assert json.dumps(read) == json.dumps(record)
    assert int(second.graph.get_value("random_step")) == 10
    assert int(second.graph.get_value("adam.step")) == 10


def test_without_a_graph_only_the_record_is_read(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, graph_of(w=1.0), {"epoch": 3}, step=1)
    assert read_checkpoint(path) == {"epoch": 3}


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=25, deadline=None)
@given(record=st.dictionaries(st.text(), PLAIN, max_size=4), score=st.none() | st.floats())
def test_records_come_back(
    record: dict[str, Any], score: float | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("records")
    path = write_checkpoint(folder, graph_of(w=1.0), record, step=0, score=score)
    assert read_checkpoint(path) == record
    assert best_checkpoint(folder) == (None if score is None or math.isnan(score) else path)


def test_what_a_record_takes_and_turns_into_plain_data(tmp_path: Path) -> None:
    numbers: dict[str, Any] = {"step": np.int64(1), "score": np.float32(0.5), "keep": np.int32(2)}
    path = write_checkpoint(tmp_path, graph_of(w=1.0), {"row": (1, np.float64(0.5)), "best": -math.inf}, **numbers)
    assert read_checkpoint(path) == {"row": [1, 0.5], "best": -math.inf}


@pytest.mark.parametrize(
    ("record", "message", "actual"),
    [
        ({"history": [{"loss": np.float32(1)}]}, "record['history'][0]['loss'] can't be kept", "float32"),
        ({"sizes": {1: 2}}, "a key of record['sizes'] can't be kept", "int 1"),
        ({"path": Path("a")}, "record['path'] can't be kept", "Path"),
        ({"w": np.ones(3)}, "record['w'] can't be kept", "ndarray"),
        ([1, 2], "record can't be kept", "list"),
        (None, "record can't be kept", "NoneType"),
    ],
)
def test_records_that_are_no_plain_data(record: Any, message: str, actual: str, tmp_path: Path) -> None:
    with refused(gn.CheckpointError, message, at="write_checkpoint(", actual=actual, hint="asdict"):
        write_checkpoint(tmp_path, graph_of(w=1.0), record, step=1)
    assert not steps(tmp_path)


def test_an_interrupt_waits_until_everything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, other = Training().graph, Training().graph
    for name in graph.variables:
        graph.set_value(name, np.full_like(graph.get_value(name), 7))
    path = write_checkpoint(tmp_path, graph, {}, step=1)
    write = VariableStore.write

    def interrupted(store: VariableStore, name: str, value: np.ndarray) -> None:
        signal.raise_signal(signal.SIGINT)
        write(store, name, value)

    monkeypatch.setattr(VariableStore, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        read_checkpoint(path, other)
    assert stored(other) == stored(graph)


# What does not fit.


def test_another_model(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, Training(hidden=4).graph, {}, step=1)
    other = Training(hidden=5).graph
    before = stored(other)

    with refused(
        gn.CheckpointError,
        "of another shape",
        at="read_checkpoint(path, other)",
        actual="'adam.exp_avg.linear.weight' (4, 3) instead of (5, 3)",
        hint="gn.load takes the weights alone",
    ):
        read_checkpoint(path, other)

    assert stored(other) == before


def test_another_optimiser_or_element_type(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, graph_of(w=1.0, state=np.float16(2)), {}, step=1)
    with pytest.raises(gn.CheckpointError, match=r"1 missing, 1 unexpected, 1 of another element type"):
        read_checkpoint(path, graph_of(w=np.float64(1), momentum=1.0))


def test_another_seed(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, Training(seed=1).graph, {}, step=1)
    other = Training(seed=2).graph
    before = stored(other)
    with refused(
        gn.CheckpointError, "draws other random numbers", at="read_checkpoint(", expected="seed 1", hint="Graph(seed=1)"
    ):
        read_checkpoint(path, other)
    assert stored(other) == before


def test_a_seed_that_nothing_is_drawn_with_does_not_matter(tmp_path: Path) -> None:
    with gn.Graph(seed=1) as graph:
        gn.variable("w", 1.0)
    path = write_checkpoint(tmp_path, graph, {}, step=1)
    other = graph_of(w=0.0)
    read_checkpoint(path, other)
    assert other.get_value("w") == 1


def test_only_graphs_and_files(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, graph_of(w=1.0), {}, step=1)
    with refused(gn.CheckpointError, "a checkpoint takes a graph", at="write_checkpoint("):
        write_checkpoint(tmp_path, "graph", {}, step=2)  # type: ignore[arg-type]
    with refused(gn.CheckpointError, "read_checkpoint takes a graph", at="read_checkpoint("):
        read_checkpoint(path, 3)  # type: ignore[arg-type]
    with refused(gn.CheckpointError, "it is a folder", at="read_checkpoint(", hint="latest_checkpoint"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step": -1}, "step is -1"),
        ({"step": 1.0}, "step is 1.0"),
        ({"step": True}, "step is True"),
        ({"step": 1, "keep": 0}, "keep is 0"),
        ({"step": 1, "score": "0.1"}, "score is '0.1'"),
    ],
)
def test_arguments(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with refused(gn.CheckpointError, message, at="write_checkpoint("):
        write_checkpoint(tmp_path, graph_of(w=1.0), {}, **options)
    assert not steps(tmp_path)


# Who may write, and what if that fails.


def test_one_writer_in_a_folder(tmp_path: Path) -> None:
    graph = graph_of(w=1.0)
    with CheckpointWriter(tmp_path) as writer:
        with refused(
            gn.CheckpointError, "another writer", at="write_checkpoint(", actual="this process has it already"
        ):
            write_checkpoint(tmp_path, graph, {}, 1)
        writer.write(graph, {}, 2)
    write_checkpoint(tmp_path, graph, {}, 3)
    assert steps(tmp_path) == [2, 3]


def test_a_writer_is_used_in_its_block(tmp_path: Path) -> None:
    writer = CheckpointWriter(tmp_path)
    with refused(gn.CheckpointError, "inside its `with` block", at="writer.write("):
        writer.write(graph_of(w=1.0), {}, 1)


def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    script = """
import sys
from graphnn.checkpoint import CheckpointWriter
with CheckpointWriter(sys.argv[1]):
    print("ready", flush=True)
    sys.stdin.read()
"""
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        with refused(gn.CheckpointError, "another writer", at="write_checkpoint(", actual=f"process {holder.pid} on "):
            write_checkpoint(tmp_path, graph_of(w=1.0), {}, 1)
    finally:
        holder.kill()
        holder.communicate()

    write_checkpoint(tmp_path, graph_of(w=1.0), {}, 1)
    assert steps(tmp_path) == [1]


@pytest.mark.skipif(os.name != "posix", reason="Windows locks otherwise")
def test_a_file_system_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    with caplog.at_level(logging.WARNING, logger="graphnn"):
        write_checkpoint(tmp_path, graph_of(w=1.0), {}, 1)

    assert steps(tmp_path) == [1]
    (record,) = caplog.records
    assert "can't be locked (No locks available)" in record.getMessage()


def test_places_that_are_no_folders(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "inner"):
        with refused(gn.CheckpointError, "checkpoints can't be written to", at="write_checkpoint(", hint="another"):
            write_checkpoint(place, graph_of(w=1.0), {}, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_vanishes(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    with CheckpointWriter(folder) as writer:
        (folder / ".lock").unlink()
        folder.rmdir()
        with refused(gn.CheckpointError, "can't be written: No such file", at="writer.write("):
            writer.write(graph_of(w=1.0), {}, 1)


@pytest.mark.parametrize("where", ["os.fsync", "pathlib.Path.replace"])
def test_a_full_disk_loses_nothing(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    graph = graph_of(w=[1.0, 2.0])
    with CheckpointWriter(tmp_path, keep=1) as writer:
        path = writer.write(graph, {"epoch": 1}, 1)
        with monkeypatch.context() as patch:
            patch.setattr(where, full)
            with refused(gn.CheckpointError, "No space left on device", at="writer.write(", hint="make room"):
                writer.write(graph, {"epoch": 2}, 2)
        assert sorted(tmp_path.iterdir()) == [tmp_path / ".lock", path]
        assert latest_checkpoint(tmp_path) == path
        writer.write(graph, {"epoch": 2}, 2)  # room was made
    assert steps(tmp_path) == [2]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limits")
def test_a_limit_on_the_size_of_files(tmp_path: Path) -> None:
    script = """
import resource, sys
import numpy as np
import graphnn as gn
from graphnn.checkpoint import latest_checkpoint, write_checkpoint

with gn.Graph() as graph:
    gn.variable("w", np.zeros(100_000, np.float32))
first = write_checkpoint(sys.argv[1], graph, {}, 1, keep=1)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
for write in (lambda: write_checkpoint(sys.argv[1], graph, {}, 2, keep=1), lambda: gn.save(graph, sys.argv[1] + "/w")):
    try:
        write()
    except gn.CheckpointError as error:
        print(error)
assert latest_checkpoint(sys.argv[1]) == first
"""
    assert printed_by("-c", script, str(tmp_path)).count("can't be written: File too large") == 2
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "step-000000001.safetensors"}


def test_an_older_one_that_cannot_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def denied(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".safetensors":
            raise PermissionError(errno.EPERM, "Operation not permitted")

    graph = graph_of(w=1.0)
    write_checkpoint(tmp_path, graph, {}, 1)
    monkeypatch.setattr(Path, "unlink", denied)
    with caplog.at_level(logging.WARNING, logger="graphnn"):
        write_checkpoint(tmp_path, graph, {}, 2, keep=1)

    assert steps(tmp_path) == [1, 2]
    assert "can't be removed: Operation not permitted" in caplog.text
