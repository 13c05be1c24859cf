"""Fold constants: what no run can change is computed at compile time, unless memory would suffer."""

from __future__ import annotations

import numpy as np
import pytest

import graphnn as gn
from compiler_checks import assert_same_values, labels
from graphnn import ops
from graphnn.compiler.passes.fold_constants import SMALL, fold_constants
from graphnn.compiler.reference import evaluate
from graphnn.compiler.subgraph import Subgraph, verify_subgraph
from graphnn.ops import Graph, Node, apply, constant, placeholder, variable
from graphnn.ops.index import Take
from graphnn.ops.state import Constant


def folded(*roots: Node) -> Subgraph:
    before = Subgraph(roots)
    after = fold_constants(before)
    verify_subgraph(after, "fold_constants", before)
    return after


def test_expression_becomes_one_constant() -> None:
    with Graph():
        y = ops.exp(constant([0.0, 1.0]) * 2 + constant([1.0])).sum()
    (after,) = folded(y).fetches
    assert isinstance(after.op, Constant)
    assert after.inputs == ()
    assert after.spec == y.spec
    assert after.users_nodes == (y,)
    np.testing.assert_array_equal(after.op.value, evaluate([y], {})[0])


def test_only_the_constant_part_is_folded() -> None:
    with Graph():
        x = placeholder("x", (3,))
        y = x * ops.sqrt(constant(2.0))
    after = folded(y)
    assert labels(after) == {"placeholder": 1, "constant": 1, "multiply": 1}
    assert after.fetches[0].inputs[0] is x


def test_variables_and_random_numbers_are_no_constants() -> None:
    with Graph():
        w = variable("w", [1.0, 2.0])
        y = ops.exp(w) + ops.uniform((2,))
    assert folded(y).fetches == (y,)


@pytest.mark.parametrize(("elements", "folds"), [(SMALL // 4, True), (SMALL // 4 + 1, False)])
def test_large_results_of_small_inputs_are_not_folded(elements: int, folds: bool) -> None:
    with Graph():
        y = constant(1.0).broadcast_to((elements,))
    assert (labels(folded(y)) == {"constant": 1}) is folds


def test_large_results_of_inputs_as_large_are_folded() -> None:
    values = np.ones(SMALL, np.float32)
    with Graph():
        y = constant(values) + constant(1.0)
        doubled = ops.concat([constant(values), constant(values), constant(values)])
    assert labels(folded(y, doubled)) == {"constant": 2}


def test_what_depends_on_the_batch_is_not_folded() -> None:
    with Graph():
        rows = constant([1.0, 2.0]).broadcast_to((None, 2))
        y = ops.exp(rows) + ops.size(rows, 0)
    after = folded(y)
    assert labels(after) == labels(Subgraph((y,)))


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "bfloat16", "float64"])
def test_element_types(dtype: str) -> None:
    with Graph():
        y = ops.where(constant([True, False, True]), constant([1, 0, 1], dtype), constant([0, 0, 1], dtype))
        z = y * y
    (after,) = folded(z).fetches
    assert isinstance(after.op, Constant)
    assert after.dtype.name == dtype
    assert_same_values(z, after, {})


@pytest.mark.parametrize("value", [0.0, -1.0, np.inf])
def test_what_gives_nan_or_infinity_stays_for_check_numerics_to_find(value: float) -> None:
    with Graph():
        y = ops.log(constant(value) * 2)
    (after,) = folded(y).fetches
    assert labels(Subgraph((after,)))["log"] == 1
    with pytest.raises(gn.NumericsError):
        gn.Executor(y, device="numpy", check_numerics=True).run()


def test_infinity_among_constants_is_no_obstacle() -> None:
    with Graph():
        y = ops.maximum(constant([-np.inf, np.nan]), constant([1.0, 2.0]))[:1]
    assert_same_values(y, folded(y).fetches[0], {})


def test_empty_results() -> None:
    with Graph():
        y = ops.exp(constant(np.zeros((0, 3), np.float32)))
        total = y.sum(0)
    assert labels(folded(total)) == {"constant": 1}


def test_index_out_of_range_is_left_to_the_run() -> None:
    with Graph():
        y = apply(Take(0), constant([1.0, 2.0]), constant([5]))
    assert folded(y).fetches == (y,)
    with pytest.raises(gn.GraphError, match="take 'take' got an index out of range"):
        gn.Executor(y, device="numpy").run()


def test_fetched_constants_stay() -> None:
    with Graph():
        value = constant([1.0, 2.0])
    assert folded(value).fetches == (value,)


def test_plan_of_constants_alone() -> None:
    with Graph():
        y = constant([1.0, 2.0]) + 1
    executor = gn.Executor(y, device="numpy", verify=True)
    assert executor.plan.steps == ()
    fetched = executor.run()
    assert fetched.tolist() == [2, 3]
    fetched[:] = 0  # a copy, not the constant
    assert executor.run().tolist() == [2, 3]
