"""Simplify: each rule does what it says, and nothing where a value, a type or a shape would change."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from compiler_checks import assert_same_values, labels, structure
from graphnn import ops
from graphnn.compiler.gradients import gradients
from graphnn.compiler.passes.simplify import simplify
from graphnn.compiler.reference import evaluate
from graphnn.compiler.subgraph import Subgraph, verify_subgraph
from graphnn.ops import Dim, Graph, Node, apply, constant, placeholder
from graphnn.ops.broadcasting import Cast
from graphnn.ops.dtypes import float32
from graphnn.ops.elementwise import Divide, Power
from graphnn.ops.shape import BroadcastTo, Reshape, Transpose
from graphnn.ops.state import Constant

Rule = Callable[[Node], Node]

# In each pair, x is float32 (N, 2, 3).
FIRES: dict[str, tuple[Rule, Rule]] = {
    "x + 0": (lambda x: x + 0, lambda x: x),
    "0 + x": (lambda x: 0 + x, lambda x: x),
    "x - 0": (lambda x: x - 0.0, lambda x: x),
    "x * 1": (lambda x: x * 1, lambda x: x),
    "1 * x": (lambda x: 1 * x, lambda x: x),
    "x / 1": (lambda x: x / 1, lambda x: x),
    "x ** 1": (lambda x: x**1, lambda x: x),
    "x ** 2": (lambda x: x**2, lambda x: x * x),
    "a neutral constant of rank 1": (lambda x: x * constant([1.0]), lambda x: x),
    "a neutral constant, broadcast": (lambda x: x + constant(0.0).broadcast_to((None, 2, 3)), lambda x: x),
    "a neutral constant, reshaped and broadcast": (
        lambda x: x * constant([1.0]).reshape((1, 1)).broadcast_to((2, 3)),
        lambda x: x,
    ),
    "double negative": (lambda x: ops.negative(-x), lambda x: x),
    "four negatives": (lambda x: ops.negative(-ops.negative(-x)), lambda x: x),
    "plus a negative": (lambda x: ops.exp(x) + -x, lambda x: ops.exp(x) - x),
    "minus a negative": (lambda x: ops.exp(x) - -x, lambda x: ops.exp(x) + x),
    "reshape to the same": (lambda x: apply(Reshape(x.shape), x), lambda x: x),
    "reshape of a reshape": (lambda x: x.reshape((-1, 6)).reshape((None, 3, 2)), lambda x: x.reshape((None, 3, 2))),
    "reshape there and back": (lambda x: x.reshape((-1, 6)).reshape((None, 2, 3)), lambda x: x),
    "broadcast to the same": (lambda x: apply(BroadcastTo(x.shape), x), lambda x: x),
    "broadcast of a broadcast": (
        lambda x: x.expand_dims(1).broadcast_to((Dim(1), 5, 2, 3)).broadcast_to((4, Dim(1), 5, 2, 3)),
        lambda x: x.expand_dims(1).broadcast_to((4, Dim(1), 5, 2, 3)),
    ),
    "cast to the same": (lambda x: apply(Cast(float32), x), lambda x: x),
    "transpose there and back": (lambda x: x.transpose(1, 2, 0).transpose(2, 0, 1), lambda x: x),
    "transpose of a transpose": (
        lambda x: x.transpose(1, 2, 0).transpose(1, 2, 0),
        lambda x: x.transpose(2, 0, 1),
    ),
    "transpose that moves nothing": (lambda x: apply(Transpose((0, 1, 2)), x), lambda x: x),
    "implied broadcast": (
        lambda x: x * constant([1.0, 2.0, 3.0]).broadcast_to(x.shape),
        lambda x: x * constant([1.0, 2.0, 3.0]),
    ),
    "implied broadcast on the left": (
        lambda x: x[:, :1].broadcast_to(x.shape) - x,
        lambda x: x[:, :1] - x,
    ),
    "implied broadcast in a choice": (
        lambda x: ops.where((x[:, :, :1] > 0).broadcast_to(x.shape), constant(5.0).broadcast_to(x.shape), x),
        lambda x: ops.where(x[:, :, :1] > 0, constant(5.0), x),
    ),
    "one of two broadcasts": (
        lambda x: x[:, :1].broadcast_to(x.shape) * x[:, :, :1].broadcast_to(x.shape),
        lambda x: x[:, :1] * x[:, :, :1],
    ),
    "equal branches": (lambda x: ops.where(x > 0, x, x), lambda x: x),
    "transposed product of a transposed": (
        lambda x: (x[:, 0].T @ x[:, 1]).T,
        lambda x: x[:, 1].T @ x[:, 0],
    ),
    "transposed products of many matrices": (
        lambda x: (x.transpose(0, 2, 1) @ (x + x)).transpose(0, 2, 1),
        lambda x: (x + x).transpose(0, 2, 1) @ x,
    ),
    "one rule after another": (lambda x: -((-(x + 0)) * 1) / 1, lambda x: x),
}

STAYS: dict[str, Rule] = {
    "x * 0, since NaN · 0 is NaN": lambda x: x * 0,
    "x - x, since infinities give NaN": lambda x: x - x,
    "x / x": lambda x: x / x,
    "0 - x": lambda x: 0 - x,
    "1 / x": lambda x: 1 / x,
    "1 ** x": lambda x: 1**x,
    "2 ** x": lambda x: 2**x,
    "x ** 3": lambda x: x**3,
    "x ** 0, since 1 would need the shape": lambda x: x**0,
    "x + 0 that broadcasts": lambda x: x[:, 0] + np.zeros((2, 1, 3), np.float32),
    "x + 0 that adds an axis": lambda x: x + np.zeros((1, 1, 1, 1), np.float32),
    "x ** 2 that broadcasts": lambda x: x[:, :, :1] ** np.full((3,), 2, np.float32),
    "x * NaN": lambda x: x * np.nan,
    "several numbers, though all are neutral": lambda x: x + np.zeros(3, np.float32),
    "two negatives apart": lambda x: -ops.exp(-x),
    "a negative on the left": lambda x: -x + ops.exp(x),
    "both inputs broadcast to a shape of neither": lambda x: constant(2.0).broadcast_to((4,)) + constant(1.0),
    "a sum of a broadcast": lambda x: x.expand_dims(1).broadcast_to((Dim(1), 5, 2, 3)).sum(1),
    "a negative of a broadcast": lambda x: -constant(2.0).broadcast_to((4,)),
    "reshape of a transpose": lambda x: x.transpose(0, 2, 1).reshape((-1, 6)),
    "transposed product": lambda x: (x[:, 0] @ x[:, 1].T).T,
    "product of a transposed": lambda x: x[:, 0].T @ x[:, 1],
    "product of a transposed, all axes turned": lambda x: (x.transpose(0, 2, 1) @ x).transpose(2, 1, 0),
    "a choice between two": lambda x: ops.where(x > 0, x, -x),
    "a choice between equals that broadcast": lambda x: ops.where(x > 0, constant(1.0), constant(1.0)),
    "casts there and back, which round": lambda x: x.astype("float16").astype("float32"),
    "casts to integers and back": lambda x: x.astype("int32").astype("float32"),
}


def settled(root: Node) -> Subgraph:
    before = Subgraph((root,))
    after = simplify(before)
    verify_subgraph(after, "simplify", before)
    return after


@pytest.mark.parametrize("name", FIRES)
def test_rule_fires(name: str) -> None:
    before, expected = FIRES[name]
    with Graph():
        x = placeholder("x", (None, 2, 3))
        after = settled(before(x))
        assert structure(after.fetches) == structure([expected(x)])


@pytest.mark.parametrize("name", STAYS)
def test_nothing_fires(name: str) -> None:
    with Graph():
        x = placeholder("x", (None, 2, 3))
        y = STAYS[name](x)
        assert settled(y).fetches == (y,)


SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.5, -2.5, 3e38, 1e-45, -1e-40, 1.0, -1.0], np.float32)


@pytest.mark.parametrize("name", [*FIRES, *STAYS])
def test_special_values_stay_what_they_are(name: str) -> None:
    rule = FIRES[name][0] if name in FIRES else STAYS[name]
    with Graph():
        x = placeholder("x", (None, 2, 3))
        y = rule(x)
        after = settled(y).fetches[0]
    feeds = {x: SPECIAL.reshape(2, 2, 3)}
    expected, actual = evaluate([y, after], feeds)
    np.testing.assert_array_equal(actual, expected)  # -0 equals 0


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float16", "bfloat16", "float64"])
def test_rules_hold_for_other_types(dtype: str) -> None:
    with Graph():
        x = placeholder("x", (6,), dtype)
        rules = [x + 0, 0 + x, x - 0, x * 1, 1 * x, x**1, x**2, ops.negative(-x), x + -x, x - -x]
        rules += [x / 1] if x.dtype.is_floating else []
        before = Subgraph(tuple(rules))
        after = simplify(before)
    verify_subgraph(after, "simplify", before)
    values = np.array([0, 1, 2, 3, 200, 255], x.dtype.interface)
    for node, old, new in zip(rules, *(evaluate(s.fetches, {x: values}) for s in (before, after)), strict=True):
        np.testing.assert_array_equal(new, old, err_msg=node.name)


def test_integers_are_not_subtracted_where_they_were_added() -> None:
    with Graph():
        x = placeholder("x", (3,), "uint8")
        y = x + -(x * x)
        assert settled(y).fetches == (y,)


def test_neutral_operands_of_bool() -> None:
    with Graph():
        x = placeholder("x", (3,), "bool")
        both, either = x * constant(True), x + constant(False)
        other = [x * constant(False), x + constant(True)]
    assert settled(both).fetches == settled(either).fetches == (x,)
    assert simplify(Subgraph(tuple(other))).fetches == tuple(other)


def test_numbers_of_bfloat16_are_not_taken_for_their_bits() -> None:
    with Graph():
        x = placeholder("x", (3,), "bfloat16")
        y = x * constant(0.0, "bfloat16") + constant(0.0, "bfloat16")
    old, new = evaluate([y, settled(y).fetches[0]], {x: np.array([1, 2, np.inf], np.float32)})
    np.testing.assert_array_equal(new, old)


def test_number_of_bfloat16_whose_bits_are_those_of_one_is_not_neutral() -> None:
    with Graph():
        x = placeholder("x", (3,), "bfloat16")
        tiny = constant(2.0**-133, "bfloat16")  # the bit pattern 1
        y = x * tiny
    assert isinstance(tiny.op, Constant)
    assert tiny.op.value == 1
    assert settled(y).fetches == (y,)


@pytest.mark.parametrize("op", [Divide(), Power()])
def test_neutral_operand_on_the_other_side_stays(op: Divide | Power) -> None:
    with Graph():
        x = placeholder("x", (3,))
        y = apply(op, constant(1.0), x)
        assert settled(y).fetches == (y,)


def test_result_keeps_its_type_where_types_were_promoted() -> None:
    with Graph():
        x = placeholder("x", (3,), "int32")
        y = x + constant(0.0)
    (after,) = settled(y).fetches
    assert after.dtype.name == "float32"
    assert after.op == Cast(float32)
    assert after.inputs == (x,)


def test_fetches_updates_and_sharing_follow() -> None:
    with Graph():
        x = placeholder("x", (3,))
        w = ops.variable("w", np.ones(3, np.float32))
        same = x + 0
        subgraph = Subgraph((same, same * 1, x), (ops.assign(w, same / 1),))
    after = simplify(subgraph)
    assert after.fetches == (x, x, x)
    assert after.updates[0].inputs == (w, x)


def test_new_nodes_stand_for_the_users() -> None:
    with Graph():
        x = placeholder("x", (None, 3))
        y = x**2
    (after,) = settled(y).fetches
    assert after.users_nodes == (y,)
    assert after.source == y.source


def test_a_second_time_changes_nothing() -> None:
    for before, _ in FIRES.values():
        with Graph():
            after = settled(before(placeholder("x", (None, 2, 3))))
        assert simplify(after) == after


def test_gradients_lose_their_neutral_arithmetic() -> None:
    with Graph():
        x, w = placeholder("x", (None, 3)), ops.variable("w", np.ones((3, 2), np.float32))
        (slope,) = gradients(ops.relu(x @ w).mean(), [w])
        before, after = Subgraph((slope,)), settled(slope)
    assert labels(after)["broadcast_to"] < labels(before)["broadcast_to"]
    assert len(after.nodes) < len(before.nodes)
    feeds = {x: np.arange(6, dtype=np.float32).reshape(2, 3) - 2}
    assert_same_values(slope, after.fetches[0], feeds)


def test_long_chains_settle() -> None:
    with Graph():
        x = y = placeholder("x", (2, 3))
        for _ in range(2000):
            y = -(y.transpose(1, 0) + 0).reshape((3, 2)).transpose(1, 0)
    assert settled(y).fetches == (x,)
