"""The first form: order, rewriting, and a verifier that finds planted faults."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compiler_checks import structure
from graphnn import ops
from graphnn.compiler.passes.prune import prune
from graphnn.compiler.subgraph import Subgraph, inputs_in_mode, replacement, topological, verify_subgraph, with_inputs
from graphnn.ops import Graph, Node, TensorSpec, apply, placeholder, variable
from graphnn.ops.elementwise import Add, Exp
from graphnn.ops.errors import CompileError
from graphnn.ops.state import Placeholder

# Order.


def test_each_node_comes_once_after_its_inputs() -> None:
    with Graph():
        x = placeholder("x", ())
        a = x + 1
        b = a * a
        c = a - b
        placeholder("unused", ())
    order = topological([c, b])
    assert len(order) == len(set(order))
    assert set(order) == {x, a, b, c, *a.inputs}
    for node in order:
        assert all(order.index(given) < order.index(node) for given in node.inputs)


def test_order_is_that_of_the_inputs_not_of_creation() -> None:
    with Graph():
        y, x = placeholder("y", ()), placeholder("x", ())
        total = x + y
    assert topological([total]) == (x, y, total)
    assert topological([y, total, y]) == (y, x, total)


def test_deep_graphs_are_ordered() -> None:
    with Graph():
        node = placeholder("x", ())
        for _ in range(5000):
            node = ops.exp(node)
    assert len(topological([node])) == 5001


def test_node_that_depends_on_itself_is_refused() -> None:
    with Graph():
        x = placeholder("x", ())
        node = x + x
        later = ops.exp(node)
    node.inputs = (x, later)
    with pytest.raises(CompileError, match=r"node '(add|exp)' depends on itself"):
        topological([later])


def test_only_the_branch_of_a_mode_is_needed() -> None:
    with Graph():
        a, b = placeholder("a", ()), placeholder("b", ())
        chosen = ops.when_training(a, b) + 1
    assert a in topological([chosen], inputs_in_mode(training=True))
    assert b not in topological([chosen], inputs_in_mode(training=True))
    assert a not in topological([chosen], inputs_in_mode(training=False))
    assert b in topological([chosen], inputs_in_mode(training=False))


# Rewriting.


def test_rewriting_by_nothing_returns_the_same_nodes() -> None:
    with Graph():
        x, w = placeholder("x", (2,)), variable("w", [1.0, 2.0])
        y = ops.exp(x * w)
        update = ops.assign(w, y)
    subgraph = Subgraph((y, x), (update,))
    assert subgraph.rewrite(with_inputs) == subgraph


def test_rewriting_keeps_sharing_and_says_whom_new_nodes_stand_for() -> None:
    with Graph():
        x = placeholder("x", (2,))
        inner = ops.exp(x)
        y = inner * inner + inner
    doubled = Subgraph((y,)).rewrite(
        lambda node, inputs: (
            replacement(node, Add(), (*inputs, *inputs)) if isinstance(node.op, Exp) else with_inputs(node, inputs)
        )
    )
    (root,) = doubled.fetches
    with x.graph:
        twice = x + x
        expected = twice * twice + twice
    assert structure([root]) == structure([expected])
    new = [node for node in doubled.nodes if node.origin]
    assert [node.origin for node in new] == [(inner,), y.inputs[:1], (y,)]
    assert [(node.name, node.source, node.index) for node in new] == [
        (old.name, old.source, old.index) for (old,) in (node.origin for node in new)
    ]


def test_replacement_of_a_replacement_stands_for_the_users_node() -> None:
    with Graph():
        x = placeholder("x", (2,))
        y = ops.exp(x)
    first = replacement(y, Add(), (x, x))
    second = replacement(first, Exp(), (x,), name="other")
    assert first.users_nodes == second.users_nodes == (y,)
    assert second.name == "other"


# The verifier.


@pytest.fixture
def sound() -> Subgraph:
    with Graph():
        x, w = placeholder("x", (None, 2)), variable("w", [1.0, 2.0])
        y = ops.exp(x * w)
        return Subgraph((y, y.sum()), (ops.assign(w, y.sum(0)),))


def test_sound_subgraph_passes(sound: Subgraph) -> None:
    verify_subgraph(sound, "nothing", original=sound)


def refuse(broken: Subgraph, message: str, original: Subgraph | None = None) -> CompileError:
    with pytest.raises(CompileError) as caught:
        verify_subgraph(broken, "the pass", original)
    assert caught.value.message.startswith("after the pass: ")
    assert message in caught.value.message, caught.value.message
    return caught.value


def test_wrong_shape_is_found(sound: Subgraph) -> None:
    y = sound.fetches[0]
    wrong = replacement(y, y.op, y.inputs, spec=TensorSpec((None, 3), "float32"))
    error = refuse(replace(sound, fetches=(wrong,)), "exp 'exp' says float32 (N, 3), its op gives float32 (N, 2)")
    assert "test_subgraph.py" in error.where


def test_wrong_element_type_is_found(sound: Subgraph) -> None:
    y = sound.fetches[0]
    refuse(replace(sound, fetches=(replacement(y, y.op, y.inputs, spec=y.spec.with_dtype("float64")),)), "'exp' says")


def test_inputs_that_the_op_refuses_are_found(sound: Subgraph) -> None:
    y = sound.fetches[0]
    with y.graph:
        other = placeholder("other", (3,))
    wrong = replacement(y, Add(), (*y.inputs, other))
    refuse(replace(sound, fetches=(wrong,)), "has inputs that its op refuses: the shapes do not broadcast")


def test_assign_as_input_is_found(sound: Subgraph) -> None:
    (update,) = sound.updates
    reader = replacement(sound.fetches[0], Exp(), (update,), spec=update.spec)
    refuse(Subgraph((reader,), sound.updates), "exp 'exp' takes an assign as input")


def test_update_that_is_no_assign_is_found(sound: Subgraph) -> None:
    refuse(replace(sound, updates=sound.fetches[:1]), "'exp' is among the updates but assigns to no variable")


def test_assign_to_what_is_no_variable_is_found(sound: Subgraph) -> None:
    (update,) = sound.updates
    value = update.inputs[1]
    wrong = replacement(update, update.op, (value, value))
    refuse(replace(sound, updates=(wrong,)), "'assign' is among the updates but assigns to no variable")


def test_second_assign_to_a_variable_is_found(sound: Subgraph) -> None:
    (update,) = sound.updates
    again = replacement(update, update.op, update.inputs, name="again")
    refuse(replace(sound, updates=(update, again)), "assign 'again' assigns to 'w' a second time")


def test_lost_fetch_is_found(sound: Subgraph) -> None:
    refuse(replace(sound, fetches=sound.fetches[:1]), "the number of fetches changed", original=sound)


def test_fetches_in_another_order_are_found(sound: Subgraph) -> None:
    error = refuse(replace(sound, fetches=sound.fetches[::-1]), "stands for the fetch", original=sound)
    assert "'exp'" in error.message
    assert "'sum'" in error.message


def test_lost_update_is_found(sound: Subgraph) -> None:
    refuse(replace(sound, updates=()), "assign 'assign' is no longer carried out", original=sound)


def test_new_update_is_no_fault(sound: Subgraph) -> None:
    with sound.fetches[0].graph:
        count = variable("count", 0)
        step = ops.assign(count, count + 1)
    verify_subgraph(replace(sound, updates=(*sound.updates, step)), "the pass", original=sound)


def test_new_placeholder_is_found(sound: Subgraph) -> None:
    with sound.fetches[0].graph:
        strange = apply(Placeholder(sound.fetches[1].spec), name="strange")
    refuse(replace(sound, fetches=(sound.fetches[0], strange)), "'strange' is a placeholder", original=sound)


def test_errors_say_that_it_is_no_fault_of_the_user(sound: Subgraph) -> None:
    assert "please report it" in refuse(replace(sound, updates=sound.fetches[:1]), "updates").hint


def test_after_prune_no_node_takes_an_assign() -> None:
    with Graph():
        w = variable("w", [1.0])
        stored: Node = ops.assign(w, w + 1)
        y = stored * 2
    refuse(Subgraph((y,)), "takes an assign as input")
    verify_subgraph(prune(Subgraph((y,))), "prune")
