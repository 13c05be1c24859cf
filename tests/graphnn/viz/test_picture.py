import numpy as np

import graphnn as gn
from graphnn import ops
from graphnn.viz.picture import of_graph, of_plan


def kinds(graph: gn.Graph) -> dict[str, str]:
    return {item.node.name: item.kind for item in of_graph(graph).items}


def test_what_only_updates_read_is_update() -> None:
    with gn.Graph() as graph:
        x = gn.placeholder("x", (None, 2))
        mean = gn.variable("mean", np.zeros(2, np.float32), trainable=False)
        batch_mean = x.mean(0)
        centred = ops.subtract(x, batch_mean)
        momentum = ops.multiply(mean, 0.9)
        ops.assign(mean, ops.add(momentum, batch_mean))

    found = kinds(graph)
    assert found[momentum.name] == "update"
    assert found["add"] == found["assign"] == "update"
    assert found[batch_mean.name] == "op"  # the forward pass reads it, too
    assert found[centred.name] == "op"  # nothing reads it
    assert (found["x"], found["mean"]) == ("placeholder", "variable")


def test_what_is_fetched_is_no_update() -> None:
    with gn.Graph() as graph:
        count = gn.variable("count", 0.0, trainable=False)
        more = count + 1.5
        update = ops.assign(count, more)

    assert kinds(graph)[more.name] == "update"
    executor = gn.Executor([more], [update], device="numpy")
    fetched = {item.node.op.label: item.kind for item in of_plan(executor.plan).items}
    assert fetched["add"] == "op"


def test_a_gradient_stays_one_wherever_it_leads() -> None:
    with gn.Graph() as graph:
        w = gn.variable("w", 2.0)
        (slope,) = gn.gradients(w * w, [w])
        ops.assign(w, w - slope)

    found = kinds(graph)
    assert found[slope.name] == "gradient"
    assert found["subtract"] == "update"
    assert {found[node.name] for node in graph.nodes if node.grad_of is not None} == {"gradient"}
