"""`gn.save` and `gn.load`: what is saved, and what fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import graphnn as gn
from checkpoint_graphs import graph_of, stored
from error_form import refused
from graphnn import dtypes, nn, ops, optim
from graphnn.checkpoint import Misfits, write_checkpoint
from graphnn.checkpoint.tensors import DamagedError, Tensor, TensorFile


def random_graph(seed: int) -> gn.Graph:
    """Return a graph with a variable of each element type and of several shapes, filled with random bits."""
    generator = np.random.default_rng(seed)
    with gn.Graph() as graph:
        for dtype in dtypes.ALL:
            for shape in ((), (5,), (2, 3, 4), (0,), (3, 0, 2), (1, 1)):
                name = f"{dtype}.{len(shape)}.{np.prod(shape, dtype=int)}"
                gn.variable(name, np.zeros(shape, dtype.interface), dtype=dtype)
                bits = generator.integers(0, 2 if dtype is dtypes.bool else 256, (*shape, dtype.itemsize), np.uint8)
                graph.store.write(name, bits.view(dtype.storage).reshape(shape))  # NaNs of all kinds among them
    return graph


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights.safetensors"


# What is saved.


def test_every_bit_of_every_type_comes_back(path: Path) -> None:
    first, second = random_graph(1), random_graph(2)
    assert stored(first) != stored(second)

    gn.save(first, path)
    misfits = gn.load(second, path)

    assert stored(first) == stored(second)
    assert misfits == Misfits()
    assert not misfits


def test_same_graph_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        gn.save(random_graph(1), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    "name",
    [" ", "a b", "é", "e\N{COMBINING ACUTE ACCENT}", "../x", "a/b", "🙂", '"\\', "\n\0\x7f", "x" * 5_000, "format"],
)
def test_names_with_odd_characters(name: str, path: Path) -> None:
    graph, other = graph_of(**{name: 1.0, "plain": 2.0}), graph_of(**{name: 0.0, "plain": 0.0})

    gn.save(graph, path)
    gn.load(other, path)

    assert stored(other) == stored(graph)


@pytest.mark.parametrize("name", ["__metadata__", "\ud800"])
def test_names_that_the_format_forbids(name: str, path: Path) -> None:
    graph = graph_of(**{name: 1.0})

    with refused(gn.CheckpointError, "can't be saved", at="gn.save(graph, path)", hint="another name"):
        gn.save(graph, path)

    assert not path.exists()


def test_optimisers_and_random_numbers_are_no_weights(path: Path) -> None:
    with gn.Graph(seed=0) as graph:
        x = gn.placeholder("x", (None, 3))
        y = ops.dropout(nn.Linear(3, 1)(x), 0.5) * gn.variable("scale", 2.0, trainable=False)
        gn.variable("step", 0, trainable=False)
        gn.variable("momentum.learning_rate", 0.5, trainable=False)
        mean = gn.variable("norm.running_mean", np.zeros(1, np.float32), trainable=False)
        graph.add_update(ops.assign(mean, 0.9 * mean + 0.1 * y.mean(0)))
        loss = (y * y).mean()
        optim.Adam(optim.schedules.cosine(0.1, total_steps=10)).minimize(loss)
        with graph.scope("second"):
            optim.SGD(0.1, momentum=0.9).minimize(loss)

    gn.save(graph, path)

    kept = {"linear.weight", "linear.bias", "scale", "step", "momentum.learning_rate", "norm.running_mean"}
    assert set(safetensors.numpy.load_file(path)) == kept
    assert {"random_step", "adam.step", "adam.exp_avg.linear.weight"} <= set(graph.variables) - kept
    assert "second.sgd.momentum.linear.bias" in set(graph.variables) - kept


def test_an_optimiser_of_ones_own_is_no_weight_either(path: Path) -> None:
    class Averaging(optim.Optimizer):
        def assigns(self, pairs: Any, learning_rate: gn.Node, step: gn.Node | None) -> Any:
            for gradient, weight in pairs:
                slow = self.state("slow", weight)
                yield ops.assign(slow, 0.9 * slow + gradient)
                yield ops.assign(weight, weight - learning_rate.astype(weight.dtype) * slow)

    graph = graph_of(w=[1.0, 2.0])
    with graph:
        Averaging(0.1).minimize((graph["w"] * graph["w"]).sum())

    gn.save(graph, path)

    assert set(graph.variables) == {"w", "averaging.slow.w"}
    assert set(safetensors.numpy.load_file(path)) == {"w"}


def test_averages_of_weights_are_none_but_can_be_saved_in_their_place(path: Path) -> None:
    graph = graph_of(w=8.0)
    with graph:
        average = optim.WeightAverage(decay=0.5)
        updates = average.follow(optim.SGD(0.25).minimize(graph["w"] * graph["w"]))
    executor = gn.Executor(graph["w"], updates, device="numpy")
    for _ in range(3):
        executor.run()

    with average.swapped():
        gn.save(graph, path)

    assert {name: value.item() for name, value in safetensors.numpy.load_file(path).items()} == {"w": 2}
    assert graph.get_value("w") == 1


def test_weights_of_a_checkpoint(tmp_path: Path) -> None:
    graph = graph_of(w=[1.0, 2.0], b=3.0)
    with graph:
        optim.SGD(0.1, momentum=0.9).minimize((graph["w"] * graph["b"]).sum())
    checkpoint = write_checkpoint(tmp_path, graph, {}, step=1)
    other = graph_of(w=[0.0, 0.0], b=0.0)

    gn.load(other, checkpoint)

    np.testing.assert_array_equal(other.get_value("w"), [1, 2])
    assert other.get_value("b") == 3


def test_a_damaged_checkpoint_gives_no_weights(tmp_path: Path) -> None:
    graph = graph_of(w=[1.0, 2.0])
    checkpoint = write_checkpoint(tmp_path, graph, {}, step=1)
    data = bytearray(checkpoint.read_bytes())
    data[-1] ^= 1
    checkpoint.write_bytes(data)

    with refused(DamagedError, "no whole checkpoint", at="gn.load(", actual="digest"):
        gn.load(graph, checkpoint)


# What fits.


def test_everything_that_does_not_fit_is_listed_at_once(path: Path) -> None:
    gn.save(graph_of(same=1.0, shape=[1.0, 2.0], type=np.float64(1), extra=0.0, more=0.0), path)
    graph = graph_of(same=0.0, shape=[[1.0], [2.0]], type=1.0, lacking=5.0)
    before = stored(graph)

    with refused(
        gn.CheckpointError,
        "1 missing, 2 unexpected, 1 of another shape, 1 of another element type",
        at="gn.load(graph, path)",
        actual="unexpected: 'extra', 'more'\n",
        hint="strict=False",
    ):
        gn.load(graph, path)
    with pytest.raises(gn.CheckpointError, match=r"missing: 'lacking'\n(.|\n)*'shape' \(2,\) instead of \(2, 1\)\n"):
        gn.load(graph, path)
    with pytest.raises(gn.CheckpointError, match=r"'type' float64 \(\) for float32 \(\)\n"):
        gn.load(graph, path)
    assert stored(graph) == before

    misfits = gn.load(graph, path, strict=False)

    assert misfits
    assert misfits.missing == ("lacking",)
    assert misfits.unexpected == ("extra", "more")
    assert list(misfits.misshaped) == ["shape"]
    assert list(misfits.mistyped) == ["type"]
    assert graph.get_value("same") == 1
    assert stored(graph) == before | {"same": np.float32(1).tobytes()}


def test_long_lists_are_cut(path: Path) -> None:
    gn.save(graph_of(w=1.0), path)
    graph = graph_of(**{f"v{number:03}": 0.0 for number in range(500)})

    with pytest.raises(gn.CheckpointError, match=r"500 missing, 1 unexpected\n(.|\n)*'v009' and 490 more") as caught:
        gn.load(graph, path)

    assert len(str(caught.value)) < 1_000
    assert len(gn.load(graph, path, strict=False).missing) == 500


INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


@pytest.mark.parametrize("dtype", dtypes.ALL, ids=str)
@pytest.mark.parametrize("name", ["bool", *INTEGERS, "float16", "float32", "float64"])
def test_types_are_converted_where_each_number_survives(name: str, dtype: dtypes.DType, path: Path) -> None:
    source = np.dtype(name)
    if source.kind == "f":
        numbers = np.array([0, 1, np.finfo(source).max, np.finfo(source).tiny, 1 + np.finfo(source).eps], source)
    else:
        low, high = (0, 1) if source.kind == "b" else (np.iinfo(source).min, np.iinfo(source).max)
        numbers = np.array([low, high, high // 2 + 1, high - 1], source)
    safetensors.numpy.save_file({"w": numbers}, path)
    with gn.Graph() as graph:
        gn.variable("w", np.zeros(numbers.shape, dtype.interface), dtype=dtype)

    misfits = gn.load(graph, path, strict=False)

    if misfits:  # then one of these numbers would have changed, or bfloat16 was asked for
        assert list(misfits.mistyped) == ["w"]
        with np.errstate(over="ignore", invalid="ignore"):
            there = dtypes.to_interface(dtypes.to_storage(numbers, dtype), dtype)
        back = [int(number) if source.kind in "iu" and np.isfinite(number) else number for number in there.tolist()]
        assert dtype is dtypes.bfloat16 or back != numbers.tolist() or there.dtype.kind == "b"
    else:
        assert graph.get_value("w").tolist() == numbers.tolist()


@pytest.mark.parametrize("dtype", dtypes.ALL, ids=str)
def test_bfloat16_is_read(dtype: dtypes.DType, path: Path) -> None:
    numbers = np.array([1.0, -2.5, 3e38], np.float32)
    bits = Tensor.of(dtypes.float32_to_bfloat16(numbers), dtypes.bfloat16)
    path.write_bytes(TensorFile({"w": bits}, {}).encode())
    with gn.Graph() as graph:
        gn.variable("w", np.zeros(3, dtype.interface), dtype=dtype)

    misfits = gn.load(graph, path, strict=False)

    if dtype in (dtypes.bfloat16, dtypes.float32, dtypes.float64):
        np.testing.assert_allclose(graph.get_value("w"), numbers, rtol=2**-8)
    else:
        assert list(misfits.mistyped) == ["w"]


def test_types_that_nobody_here_knows(path: Path) -> None:
    header = b'{"w":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")

    with pytest.raises(gn.CheckpointError, match=r"'w' F8_E4M3 \(2,\) for float32 \(2,\)"):
        gn.load(graph_of(w=[1.0, 2.0]), path)


def test_truth_values_are_0_and_1_whatever_the_file_says(path: Path) -> None:
    path.write_bytes(TensorFile({"w": Tensor("BOOL", (3,), b"\0\1\x07")}, {}).encode())
    graph = graph_of(w=[False, False, False])

    gn.load(graph, path)

    assert graph.store.read("w").tobytes() == b"\0\1\1"
