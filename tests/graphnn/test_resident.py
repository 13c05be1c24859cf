"""Runs on rows of data sets: the same on every device, whether the data lies there or is fed."""

from __future__ import annotations

import numpy as np
import pytest

import graphnn as gn
from cuda_devices import DEVICES
from graphnn import nn, ops
from graphnn.ops.errors import FeedError

ROWS = 23
EVERYWHERE = ("numpy", "cpu", *DEVICES)
DTYPES = ("bool", "uint8", "int32", "int64", "float16", "bfloat16", "float32", "float64")


def data(dtype: str, *shape: int) -> np.ndarray:
    values = np.random.default_rng(2).integers(0, 200, (ROWS, *shape))
    return values.astype("float32" if dtype == "bfloat16" else dtype)


def summing(device: str, max_batch: int = 4) -> gn.Executor:
    """Return a plan that fetches the sum of each row and adds all up in a variable."""
    with gn.Graph():
        x = gn.placeholder("x", (None, 3))
        total = gn.variable("total", 0.0, trainable=False)
        return gn.Executor(x.sum(1), [ops.assign(total, total + x.sum())], device=device, max_batch=max_batch)


def total(executor: gn.Executor) -> float:
    return float(executor.plan.subgraph.nodes[0].graph.get_value("total"))


@pytest.mark.parametrize("device", EVERYWHERE)
def test_batches_go_through_the_rows_in_order(device: str) -> None:
    executor, x = summing(device), data("float32", 3)
    resident = executor.resident({"x": x})
    assert resident.rows == ROWS
    assert resident.is_on_device == executor.has_own_memory == device.startswith("cuda")
    order = np.random.default_rng(3).permutation(ROWS)
    sizes = []
    for number, value in enumerate(resident.batches(order, 4)):
        np.testing.assert_array_equal(value, x[order[4 * number : 4 * number + 4]].sum(1))
        sizes.append(len(value))
    assert sizes == [4, 4, 4, 4, 4, 3]
    assert total(executor) == x.sum()


@pytest.mark.parametrize("device", EVERYWHERE)
def test_nothing_need_be_fetched(device: str) -> None:
    executor, x = summing(device), data("float32", 3)
    assert list(executor.resident({"x": x}).batches(range(ROWS), 3, fetch=False)) == [None] * 8
    assert total(executor) == x.sum()


@pytest.mark.parametrize("device", EVERYWHERE)
def test_single_runs(device: str) -> None:
    executor, x = summing(device), data("float32", 3)
    resident = executor.resident({"x": x})
    for rows in ([0], [22, 0, 22, 7], np.array([3, 5], np.uint8), [4]):
        np.testing.assert_array_equal(resident.run(rows), x[rows].sum(1))


@pytest.mark.parametrize("device", EVERYWHERE)
def test_an_order_may_be_longer_than_the_data(device: str) -> None:
    executor, x = summing(device), data("float32", 3)
    order = np.arange(3 * ROWS) % 5
    found = np.concatenate(list(executor.resident({"x": x}).batches(order, 4)))
    np.testing.assert_array_equal(found, x[order].sum(1))


@pytest.mark.parametrize("device", EVERYWHERE)
def test_fewer_rows_than_a_batch(device: str) -> None:
    executor, x = summing(device, max_batch=50), data("float32", 3)[:2]
    resident = executor.resident({"x": x})
    np.testing.assert_array_equal(resident.run([1, 0, 1, 1, 0]), x[[1, 0, 1, 1, 0]].sum(1))
    (value,) = resident.batches([1, 0, 1], 100)
    np.testing.assert_array_equal(value, x[[1, 0, 1]].sum(1))


@pytest.mark.parametrize("device", EVERYWHERE)
def test_iterations_do_not_disturb_each_other(device: str) -> None:
    executor, x = summing(device), data("float32", 3)
    resident = executor.resident({"x": x})
    forward, backward = resident.batches(range(ROWS), 4), resident.batches(range(ROWS)[::-1], 4)
    for number, (one, other) in enumerate(zip(forward, backward, strict=True)):
        np.testing.assert_array_equal(one, x[4 * number :][:4].sum(1))
        np.testing.assert_array_equal(other, x[::-1][4 * number :][:4].sum(1))
        np.testing.assert_array_equal(resident.run([7]), x[7:8].sum(1))
        executor.run({"x": x[:2]})


@pytest.mark.parametrize("device", EVERYWHERE)
def test_every_type_and_shape(device: str) -> None:
    with gn.Graph():
        nodes = {dtype: gn.placeholder(dtype, (None, 2, 3), dtype) for dtype in DTYPES}
        nodes |= {"none": gn.placeholder("none", (None, 0)), "one": gn.placeholder("one", (None,))}
        unused = gn.placeholder("unused", (None,))
        sums = [node.astype("float32").sum(tuple(range(1, node.rank))) for node in list(nodes.values())[:-1]]
        executor = gn.Executor([*nodes.values(), *sums], device=device, max_batch=5)
    arrays = {dtype: data(dtype, 2, 3) for dtype in DTYPES}
    arrays |= {"none": data("float32", 0), "one": data("float32")[::-1], "unused": data("float32")}
    arrays["float64"] = np.asfortranarray(arrays["float64"])
    resident = executor.resident(arrays)
    assert unused.name not in [node.name for node in executor.plan.feeds]
    rows = [20, 1, 1]
    for name, value in zip([*nodes, *list(nodes)[:-1]], resident.run(rows), strict=True):
        wanted = arrays[name][rows]
        if value.ndim == 1 and name != "one":
            wanted = wanted.astype("float32").reshape(3, -1).sum(1)
        assert value.dtype == wanted.dtype, name
        np.testing.assert_array_equal(value, wanted, name)


@pytest.mark.parametrize("device", EVERYWHERE)
def test_random_numbers_go_on_as_in_runs_that_are_fed(device: str) -> None:
    found = []
    values = data("float32", 3) + 1
    for resides in (False, True):
        with gn.Graph(seed=4):
            x = gn.placeholder("x", (None, 3))
            executor = gn.Executor(nn.Dropout(0.5)(x), device=device, max_batch=4, training=True)
        fed = (executor.run({x: values[start : start + 4]}) for start in (0, 4, 8))
        found.append(np.array(list(executor.resident({x: values}).batches(range(12), 4) if resides else fed)))
    np.testing.assert_array_equal(found[0], found[1])
    assert 0 < np.count_nonzero(found[0]) < found[0].size


# What is refused.


@pytest.mark.parametrize("device", EVERYWHERE)
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "these are no rows"),
        ([0, 1, 2, 3, 4], "5 a run"),
        ([[0]], r"int64 \(1, 1\)"),
        ([0.0], "float64"),
        ([True], "bool"),
        ([0, ROWS], "a row is out of range"),
        ([-1], "a row is out of range"),
    ],
)
def test_rows_that_are_none(device: str, rows: list[object], message: str) -> None:
    executor = summing(device)
    resident = executor.resident({"x": data("float32", 3)})
    with pytest.raises(FeedError, match=message):
        resident.run(rows)
    assert total(executor) == 0


@pytest.mark.parametrize("device", EVERYWHERE)
def test_a_batch_is_at_least_one_row(device: str) -> None:
    resident = summing(device).resident({"x": data("float32", 3)})
    for size in (0, -1, 5):
        with pytest.raises(FeedError, match=f"{size} a run"):
            next(resident.batches(range(ROWS), size))


@pytest.mark.parametrize("device", EVERYWHERE)
def test_data_that_does_not_fit_is_refused_at_once(device: str) -> None:
    with gn.Graph():
        x, i = gn.placeholder("x", (None, 3)), gn.placeholder("i", (None,), "int32")
        picked = ops.take(gn.constant(np.arange(5, dtype=np.float32)), i)
        executor = gn.Executor(x.sum(1) + picked, device=device, max_batch=4)
    good = {"x": data("float32", 3), "i": np.zeros(ROWS, np.int32)}
    wrong: dict[str, dict[str, object]] = {
        "wrong element type": {"x": good["x"].astype(np.float64)},
        "wrong shape": {"x": good["x"][:, :2]},
        "not equally many rows": {"i": good["i"][1:]},
        "not equally many": {"i": np.int32(0)},
        "out of range": {"i": np.arange(ROWS, dtype=np.int32)},
    }
    for message, changed in wrong.items():
        with pytest.raises(FeedError, match=message):
            executor.resident(good | changed)
    for feed in ({"x": good["x"]}, good | {"z": good["x"]}, {}, {name: array[:0] for name, array in good.items()}):
        with pytest.raises(FeedError):
            executor.resident(feed)
    assert executor.resident(good).run([1, 2]).shape == (2,)


@pytest.mark.parametrize("device", EVERYWHERE)
def test_placeholders_without_a_batch_are_refused(device: str) -> None:
    with gn.Graph():
        x, scale = gn.placeholder("x", (None, 3)), gn.placeholder("scale", ())
        executor = gn.Executor(x * scale, device=device, max_batch=4)
    with pytest.raises(FeedError, match="'scale' has no batch axis"):
        executor.resident({"x": data("float32", 3), "scale": data("float32")})


@pytest.mark.parametrize("device", EVERYWHERE)
def test_indices_into_the_batch_are_looked_at_in_each_run(device: str) -> None:
    with gn.Graph():
        x, i = gn.placeholder("x", (None, 3)), gn.placeholder("i", (None,), "int64")
        executor = gn.Executor(ops.take(x, i), device=device, max_batch=4)
    x_rows, places = data("float32", 3), np.arange(ROWS) % 3
    resident = executor.resident({"x": x_rows, "i": places})
    np.testing.assert_array_equal(resident.run([3, 4, 5]), x_rows[[3, 4, 5]])
    with pytest.raises(FeedError, match="index out of range"):
        resident.run([4, 5])
