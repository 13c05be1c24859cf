"""What a run may be fed with, and how each mistake is answered before anything changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

import graphnn as gn
from error_form import refused
from graphnn import FeedError, ops
from networks import executor

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def echo(dtype: str, shape: tuple[int | None, ...] = (None,)) -> gn.Executor:
    """Return an executor that gives back what its placeholder `x` is fed with."""
    with gn.Graph():
        return executor(gn.placeholder("x", shape, dtype))


class Model:
    """A product, a loss that takes labels, a counter, and placeholders that the product does not need."""

    def __init__(self) -> None:
        with gn.Graph() as self.graph:
            self.x = gn.placeholder("x", (None, 3))
            self.labels = gn.placeholder("labels", (None,), "int32")
            self.rate = gn.placeholder("rate", ())
            self.w = gn.variable("w", np.ones((3, 2), np.float32))
            self.y = self.x @ self.w
            self.loss = ops.cross_entropy(self.y, self.labels)
            self.count = gn.variable("count", 0, trainable=False)
            self.step = ops.assign(self.count, self.count + 1)


@pytest.fixture
def model() -> Model:
    return Model()


# Forms that are accepted.


def test_by_node_and_by_name(model: Model) -> None:
    run = executor([model.y]).run
    expected = X @ np.ones((3, 2), np.float32)
    for feed in ({model.x: X}, {"x": X}, MappingProxyType({"x": X})):
        np.testing.assert_array_equal(run(feed)[0], expected)


def test_names_are_those_within_scopes() -> None:
    with gn.Graph() as graph, graph.scope("input"):
        x = gn.placeholder("x", (None,))
    np.testing.assert_array_equal(executor(x).run({"input.x": [1.0]}), [1])
    with refused(FeedError, "'x' is no placeholder", at="executor(x).run", expected="'input.x'"):
        executor(x).run({"x": [1.0]})


@pytest.mark.parametrize("dtype", gn.dtypes.ALL, ids=str)
def test_arrays_of_every_type_come_back_as_they_were(dtype: gn.dtypes.DType) -> None:
    values = np.array([0, 1, 1, 0], dtype.interface)
    result = echo(dtype.name).run({"x": values})
    assert result.dtype == dtype.interface
    np.testing.assert_array_equal(result, values)


@pytest.mark.parametrize(
    ("dtype", "values", "expected"),
    [
        ("float32", [1, 2.5], [1, 2.5]),
        ("float32", (1, 2), [1, 2]),
        ("float32", [True, False], [1, 0]),
        ("float32", [2**70], [2.0**70]),
        ("float32", [np.float64(0.1), 1], [np.float32(0.1), 1]),
        ("float32", [float("nan"), float("inf")], [np.nan, np.inf]),
        ("float16", [65504], [65504]),
        ("float64", [0.1], [0.1]),
        ("bfloat16", [1.0, 2.0], [1, 2]),
        ("uint8", [0, 255], [0, 255]),
        ("int32", range(3), [0, 1, 2]),
        ("int32", [-(2**31), 2**31 - 1], [-(2**31), 2**31 - 1]),
        ("int64", [2**63 - 1], [2**63 - 1]),
        ("int64", [True], [1]),
        ("bool", [True, False], [True, False]),
    ],
)  # fmt: skip
def test_lists_are_converted(dtype: str, values: Any, expected: Any) -> None:
    result = echo(dtype).run({"x": values})
    assert result.dtype == gn.dtypes.as_dtype(dtype).interface
    np.testing.assert_array_equal(result, expected)


def test_lists_of_arrays_are_converted() -> None:
    rows = [np.ones(3), np.zeros(3)]  # float64
    np.testing.assert_array_equal(echo("float32", (None, 3)).run({"x": rows}), rows)


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.array(2, np.float32), True + True], ids=repr)
def test_scalars(value: Any) -> None:
    result = echo("float32", ()).run({"x": value})
    assert (result.shape, result.dtype, float(result)) == ((), np.float32, 2.0)


def test_an_empty_list_fits_an_axis_of_size_0() -> None:
    assert echo("int32", (0,)).run({"x": []}).shape == (0,)


def test_bfloat16_is_fed_and_fetched_as_float32() -> None:
    run = echo("bfloat16").run
    fed = np.array([1.0, 1.0 + 2**-9, 3e38, np.inf, np.nan, -0.0], np.float32)
    result = run({"x": fed})
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, fed, rtol=2**-8)
    assert result[1] == 1.0  # rounded to nearest even
    with refused(FeedError, "element type", at="gn.placeholder", expected="float32", actual="uint16", hint="astype"):
        run({"x": np.zeros(2, np.uint16)})


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Fortran order": np.asfortranarray,
    "every second": lambda a: np.repeat(np.repeat(a, 2, 0), 2, 1)[::2, ::2],
    "backwards": lambda a: np.ascontiguousarray(a[::-1, ::-1])[::-1, ::-1],
    "transposed": lambda a: np.ascontiguousarray(a.T).T,
    "broadcast": lambda a: np.broadcast_to(a[:1], (1, 3)),
    "misaligned": lambda a: np.frombuffer(b"\0" + a.tobytes(), np.uint8)[1:].view(np.float32).reshape(a.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_memory_layout(model: Model, layout: str) -> None:
    array = LAYOUTS[layout](X)
    array.flags.writeable = False
    expected = array @ np.ones((3, 2), np.float32)
    np.testing.assert_array_equal(executor(model.y).run({model.x: array}), expected)
    np.testing.assert_array_equal(executor(model.x).run({model.x: array}), array)


def test_a_tensor_of_pytorch_is_an_array(model: Model) -> None:
    torch = pytest.importorskip("torch")
    run = executor(model.x).run
    np.testing.assert_array_equal(run({model.x: torch.from_numpy(X)}), X)
    with refused(FeedError, "element type", at='gn.placeholder("x"', actual="float64", hint="astype('float32')"):
        run({model.x: torch.zeros(2, 3, dtype=torch.float64)})
    with refused(FeedError, "wrong values", at='gn.placeholder("x"', actual="requires grad", hint="NumPy array"):
        run({model.x: torch.zeros(2, 3, requires_grad=True)})
    with refused(FeedError, "wrong values: Got unsupported ScalarType", at='gn.placeholder("x"', hint="NumPy array"):
        run({model.x: torch.zeros(2, 3, dtype=torch.bfloat16)})


def test_the_feed_is_not_kept(model: Model) -> None:
    run = executor([model.x, model.y]).run
    fed = X.copy()
    first, product = run({model.x: fed})
    fed[:] = -1
    np.testing.assert_array_equal(first, X)
    second = run({model.x: 2 * X})[1]
    np.testing.assert_array_equal(second, 2 * product)


def test_the_feed_is_not_changed() -> None:
    """The first op could take the placeholder's memory for its result."""
    with gn.Graph():
        x = gn.placeholder("x", (None, 3))
        run = executor(ops.exp(x * 2 + 1)).run
    fed = X.copy()
    first = run({x: fed})
    np.testing.assert_array_equal(fed, X)
    np.testing.assert_array_equal(run({x: fed}), first)


# What a plan does not need.


def test_placeholders_that_the_plan_does_not_need_may_be_fed(model: Model) -> None:
    feed = {model.x: X, model.labels: [0, 7], model.rate: 0.1}  # 7 is no class, but nothing reads it here
    np.testing.assert_array_equal(executor(model.y).run(feed), X @ np.ones((3, 2), np.float32))


def test_what_is_not_needed_must_fit_its_placeholder_all_the_same(model: Model) -> None:
    run = executor(model.y).run
    with refused(FeedError, "'labels' is fed an array of a wrong element type", at='gn.placeholder("labels"'):
        run({model.x: X, model.labels: np.zeros(2)})
    with refused(FeedError, "disagree on the batch size", at='gn.placeholder("labels"', actual="3 in 'labels'"):
        run({model.x: X, model.labels: [0, 1, 0]})


def test_a_placeholder_made_after_the_executor_may_be_fed(model: Model) -> None:
    run = executor(model.y).run
    with model.graph:
        gn.placeholder("later", (None,))
    assert run({"x": X, "later": [1.0, 2.0]}).shape == (2, 2)


def test_without_a_batch_axis_in_the_plan_any_batch_may_be_fed(model: Model) -> None:
    run = executor(model.w, max_batch=None).run
    assert run().shape == (3, 2)
    assert run({model.x: np.zeros((100, 3), np.float32)}).shape == (3, 2)


def test_a_branch_that_is_not_taken_needs_no_feed() -> None:
    with gn.Graph():
        x = gn.placeholder("x", ())
        y = ops.when_training(x * 2, gn.constant(5.0))
    assert executor(y, training=False).run() == 5
    with refused(FeedError, "placeholder 'x' is not fed", at='gn.placeholder("x"'):
        executor(y, training=True).run()


# Mistakes.


@pytest.mark.parametrize("feed", [[X], (X,), X, np.zeros(0), "x", [("x", X)], 3.0], ids=repr)
def test_a_feed_that_is_no_dict(model: Model, feed: Any) -> None:
    run = executor(model.y).run
    with refused(FeedError, "the feed is no dict", at="run(feed)", expected="{placeholder: array}"):
        run(feed)


@pytest.mark.parametrize("feed", [None, {}])
def test_nothing_fed(model: Model, feed: Any) -> None:
    with refused(
        FeedError, "placeholder 'x', 'labels' is not fed", at='gn.placeholder("x"', actual="nothing", hint="add 'x'"
    ):
        executor(model.loss).run(feed)


def test_one_of_two_fed(model: Model) -> None:
    with refused(FeedError, "placeholder 'labels' is not fed", at='gn.placeholder("labels"', expected="int32 (N,)"):
        executor(model.loss).run({"x": X})


def test_unknown_names_and_keys(model: Model) -> None:
    run = executor(model.y).run
    with gn.Graph():
        other = gn.placeholder("x", (None, 3))
    for key in ("X", "w", model.w, model.y, model.y.name, other, 5, None, ("x",)):
        with refused(FeedError, "is no placeholder of the executor's graph", at="run({key", expected="'x'"):
            run({key: X})
    with refused(FeedError, "is no placeholder", at="run({", expected="nothing: this plan needs no feed"):
        executor(model.w).run({"y": X})


class Pairs(Mapping[Any, Any]):
    """A mapping that takes all keys, and the same one twice."""

    def __init__(self, *pairs: tuple[Any, Any]) -> None:
        self.pairs = pairs

    def __getitem__(self, key: Any) -> Any:
        return next(value for known, value in self.pairs if known is key)

    def __iter__(self) -> Iterator[Any]:
        return (key for key, _ in self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)


def test_mappings_of_the_users_own(model: Model) -> None:
    run = executor(model.y).run
    np.testing.assert_array_equal(run(Pairs((model.x, X))), run({model.x: X}))
    with refused(FeedError, "'x' is fed twice", at="run(Pairs"):
        run(Pairs((model.x, X), (model.x, X)))
    with refused(FeedError, "[1] is no placeholder", at="run(Pairs"):
        run(Pairs(([1], X)))


def test_what_was_right_before_is_looked_at_again(model: Model) -> None:
    """The shapes of one run let the next one take a shortcut, which must lead nowhere else."""
    run = executor(model.loss, max_batch=4).run
    right: dict[Any, Any] = {model.x: X, "labels": np.array([0, 1], np.int32)}
    wrong: list[tuple[dict[Any, Any], str]] = [
        ({model.x: X.astype(np.float64)}, "wrong element type"),
        ({model.x: X.view(np.int32)}, "wrong element type"),
        ({model.x: X.T}, "wrong shape"),
        ({model.x: X[:1]}, "disagree on the batch size"),
        ({"labels": np.array([0], np.int32)}, "disagree on the batch size"),
        ({"labels": np.array([0, 2], np.int32)}, "out of range"),
        ({"x": X}, "fed twice"),
        ({"y": X}, "is no placeholder"),
        ({model.rate: X}, "wrong element type|wrong shape"),
        ({model.x: np.zeros((5, 3), np.float32)}, "more examples"),
        ({model.x: X[:0], "labels": np.zeros(0, np.int32)}, "empty batch"),
    ]
    expected = run(right)
    for changes, message in wrong:
        with pytest.raises(FeedError, match=message):
            run(right | changes)
        np.testing.assert_array_equal(run(right), expected)
    for left_out in right:
        with pytest.raises(FeedError, match="is not fed"):
            run({key: value for key, value in right.items() if key is not left_out})
    for batch in (1, 4, 2):  # in any order, each a batch of its own
        rows = np.resize(X, (batch, 3))
        fresh = executor(model.loss, max_batch=4).run
        feed = {model.x: rows, model.labels: np.zeros(batch, np.int32)}
        np.testing.assert_array_equal(run(feed), fresh(feed))


def test_fed_by_node_and_by_name(model: Model) -> None:
    with refused(FeedError, "'x' is fed twice", at="executor(model.y).run", actual="by node and by name"):
        executor(model.y).run({model.x: X, "x": X})


@pytest.mark.parametrize("dtype", ["float64", "int32", "bool", ">f4", object])
def test_arrays_match_the_element_type_exactly(model: Model, dtype: Any) -> None:
    array = X.astype(dtype)
    with refused(
        FeedError,
        "'x' is fed an array of a wrong element type",
        at='gn.placeholder("x", (None, 3))',
        expected="float32 (N, 3)",
        actual=f"{array.dtype} (2, 3)",
        hint="array.astype('float32')",
    ):
        executor(model.y).run({model.x: array})


def test_scalars_of_numpy_match_the_element_type_exactly() -> None:
    with refused(FeedError, "wrong element type", at="gn.placeholder", actual="float64 ()", hint="astype('float32')"):
        echo("float32", ()).run({"x": np.float64(2)})


@pytest.mark.parametrize(
    ("dtype", "values", "message"),
    [
        ("int32", [1.5], "the values are of another kind"),
        ("int32", [1.0], "the values are of another kind"),
        ("uint8", [0.5], "the values are of another kind"),
        ("bool", [1, 0], "the values are of another kind"),
        ("int32", [2**40], "a value does not fit int32"),
        ("int32", [2**70], "a value does not fit int32"),
        ("int64", [2**63], "a value does not fit int64"),
        ("uint8", [256], "a value does not fit uint8"),
        ("uint8", [-1], "a value does not fit uint8"),
        ("float32", [1e300], "a value does not fit float32"),
        ("float32", [10**400], "a value does not fit float32"),
        ("float16", [1e5], "a value does not fit float16"),
        ("bfloat16", [1e39], "a value does not fit bfloat16"),
        ("float32", ["1.5"], "the values are no numbers"),
        ("float32", [None], "the values are no numbers"),
        ("float32", [1j], "the values are no numbers"),
        ("float32", [[1.0], [1.0, 2.0]], "the values make no array"),
        ("float32", {1.0}, "the values are no numbers"),
        ("float32", {"a": 1.0}, "the values are no numbers"),
        ("float32", (value for value in [1.0]), "the values are no numbers"),
    ],
)  # fmt: skip
def test_numbers_are_never_changed_silently(dtype: str, values: Any, message: str) -> None:
    with refused(FeedError, f"'x' is fed wrong values: {message}", at="gn.placeholder"):
        echo(dtype).run({"x": values})


def test_a_node_is_no_value(model: Model) -> None:
    run = executor(model.y).run
    with refused(
        FeedError, "'x' is fed a node, not a value", at="run({", actual="<variable 'w'", hint="fetch the node"
    ):
        run({model.x: model.w})
    with refused(FeedError, "wrong values: <variable 'w'", at='gn.placeholder("x"'):
        run({model.x: [model.w, model.w]})


@pytest.mark.parametrize(
    ("shape", "hint"),
    [
        ((3,), "array[None]"),
        ((), "reshape"),
        ((2, 4), "reshape the array, or declare the placeholder with shape (2, 4)"),
        ((2, 1), "reshape"),
        ((1, 2, 3), "reshape"),
        ((0, 2), "reshape"),
    ],
)  # fmt: skip
def test_wrong_shapes(model: Model, shape: tuple[int, ...], hint: str) -> None:
    with refused(
        FeedError, "'x' is fed an array of a wrong shape", at='gn.placeholder("x"', expected="(N, 3)", hint=hint
    ):
        executor(model.y).run({model.x: np.zeros(shape, np.float32)})


def test_shapes_do_not_broadcast() -> None:
    with refused(FeedError, "wrong shape", at="gn.placeholder", expected="(2, 3)", actual="()"):
        echo("float32", (2, 3)).run({"x": 1.0})
    with refused(FeedError, "wrong shape", at="gn.placeholder", expected="()", actual="(1,)"):
        echo("float32", ()).run({"x": [1.0]})


def test_batches_that_disagree(model: Model) -> None:
    with refused(
        FeedError,
        "the feeds disagree on the batch size",
        at='gn.placeholder("labels"',
        expected="2 examples, as 'x' has",
        actual="1 in 'labels'",
    ):
        executor(model.loss).run({model.x: X, model.labels: [0]})


def test_an_empty_batch(model: Model) -> None:
    with refused(FeedError, "'x' is fed an empty batch", at='gn.placeholder("x"', actual="(0, 3)"):
        executor(model.y).run({model.x: X[:0]})


def test_more_than_max_batch(model: Model) -> None:
    run = executor(model.y, max_batch=2).run
    assert run({model.x: X}).shape == (2, 2)
    with refused(
        FeedError, "more examples than the plan has room for", at='gn.placeholder("x"', actual="3", hint="max_batch=3"
    ):
        run({model.x: np.zeros((3, 3), np.float32)})


def test_multiples_of_the_batch() -> None:
    with gn.Graph():
        pairs = gn.placeholder("pairs", (gn.Dim(2), 1))
        single = gn.placeholder("single", (None, 1))
        run = executor([pairs.reshape(gn.Dim(1), 2) + single, ops.size(single, 0)], max_batch=3).run
    for batch in (1, 3):
        total, size = run({pairs: np.ones((2 * batch, 1), np.float32), single: np.ones((batch, 1), np.float32)})
        assert (total.shape, int(size)) == ((batch, 2), batch)
    with refused(FeedError, "wrong shape", at='gn.placeholder("pairs"', expected="(2·N, 1)", actual="(3, 1)"):
        run({pairs: np.ones((3, 1), np.float32), single: np.ones((1, 1), np.float32)})
    with refused(FeedError, "disagree on the batch size", at='gn.placeholder("single"', actual="2 in 'single'"):
        run({pairs: np.ones((2, 1), np.float32), single: np.ones((2, 1), np.float32)})
    with refused(FeedError, "more examples", at='gn.placeholder("pairs"', actual="4"):
        run({pairs: np.ones((8, 1), np.float32), single: np.ones((4, 1), np.float32)})


def test_two_batch_axes_of_one_placeholder_agree() -> None:
    with gn.Graph():
        square = gn.placeholder("square", (None, gn.Dim(2)))
        run = executor(square).run
    assert run({square: np.ones((3, 6), np.float32)}).shape == (3, 6)
    for shape in ((3, 4), (4, 6), (6, 3)):
        with refused(FeedError, "wrong shape", at='gn.placeholder("square"', expected="(N, 2·N)"):
            run({square: np.ones(shape, np.float32)})


@pytest.mark.parametrize("multiple", [0, -1])
def test_a_placeholder_that_no_batch_fits(multiple: int) -> None:
    with gn.Graph(), refused(gn.ShapeError, "no batch fits the shape", at='gn.placeholder("x"'):
        gn.placeholder("x", (gn.Dim(multiple), 3))


def test_a_batch_that_nothing_tells() -> None:
    with gn.Graph() as graph:
        noise = ops.uniform((None, 3))
        run = executor(noise, max_batch=4).run
        with refused(FeedError, "nothing that is fed tells the batch size", at="run()", expected="1 to 4 examples"):
            run()
        examples = gn.placeholder("examples", (None,), "bool")
    assert run({examples: [True] * 3}).shape == (3, 3)
    assert graph.get_value("random_step") == 1


# Indices.


@pytest.mark.parametrize("labels", [[0, 2], [0, -1], [2**31 - 1, 0]])
def test_labels_out_of_range_change_nothing(model: Model, labels: list[int]) -> None:
    train = executor(model.loss, [model.step])
    with refused(
        FeedError,
        "'labels' is fed an index out of range for cross_entropy",
        at="ops.cross_entropy(self.y",
        expected="integers from 0 to 1",
        actual=str(labels[0] if labels[0] else labels[1]),
    ):
        train.run({model.x: X, model.labels: labels})
    assert model.graph.get_value(model.count) == model.graph.store.version("count") == 0
    assert np.isfinite(train.run({model.x: X, model.labels: [0, 1]}))
    assert model.graph.get_value(model.count) == 1


@pytest.mark.parametrize("rearranged", ["cast", "reshape", "transpose"])
def test_labels_are_checked_through_what_only_rearranges_them(rearranged: str) -> None:
    with gn.Graph() as graph:
        logits = gn.variable("logits", np.zeros((2, 3), np.float32))
        labels = gn.placeholder("labels", (1, 2), "uint8")
        flat = labels.reshape(2)
        chosen = {"cast": flat.astype("int64"), "reshape": flat, "transpose": labels.T.reshape(2)}[rearranged]
        count = gn.variable("count", 0)
        train = executor(ops.cross_entropy(logits, chosen), [ops.assign(count, count + 1)])
    with refused(FeedError, "'labels' is fed an index out of range", at="ops.cross_entropy(", actual="3"):
        train.run({labels: [[0, 3]]})
    assert graph.get_value("count") == 0


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_labels_of_each_type_and_at_each_end_of_the_range(dtype: str, device: str) -> None:
    with gn.Graph():
        labels = gn.placeholder("labels", (None,), dtype)
        loss = ops.cross_entropy(gn.placeholder("logits", (None, 200)), labels)
    run = gn.Executor(loss, device=device, max_batch=3).run
    logits = np.zeros((3, 200), np.float32)
    limits = np.iinfo(dtype)
    assert np.isfinite(run({"logits": logits, labels: [0, 199, 7]}))
    for wrong in {200, limits.max, limits.min} - {0}:
        for place in range(3):
            fed = np.zeros(3, dtype)
            fed[place] = wrong
            with refused(FeedError, "index out of range", at="ops.cross_entropy(", actual=str(wrong)):
                run({"logits": logits, labels: fed})


def test_no_positions_at_all() -> None:
    with gn.Graph():
        positions = gn.placeholder("positions", (0,), "int32")
        run = executor(ops.take(gn.constant([1.0, 2.0]), positions), max_batch=None).run
    assert run({positions: np.zeros(0, np.int32)}).shape == (0,)


def test_positions_may_count_from_the_end_and_no_further() -> None:
    with gn.Graph():
        table = gn.variable("table", np.arange(4, dtype=np.float32))
        positions = gn.placeholder("positions", (None,), "int64")
        run = executor(ops.take(table, positions)).run
    np.testing.assert_array_equal(run({positions: [-4, -1, 0, 3]}), [0, 3, 0, 3])
    for wrong in (-5, 4):
        with refused(FeedError, "index out of range for take", at="ops.take(", expected="-4 to 3", actual=str(wrong)):
            run({positions: [0, wrong]})


def test_positions_in_the_batch_are_checked_against_the_batch_of_the_run() -> None:
    with gn.Graph():
        x = gn.placeholder("x", (None, 2))
        positions = gn.placeholder("positions", (1,), "int32")
        run = executor(ops.take(x, positions), max_batch=4).run
    x4 = np.arange(8, dtype=np.float32).reshape(4, 2)
    np.testing.assert_array_equal(run({x: x4, positions: [3]}), x4[3:])
    with refused(FeedError, "index out of range for take", at="ops.take(", expected="-3 to 2", actual="3"):
        run({x: x4[:3], positions: [3]})
