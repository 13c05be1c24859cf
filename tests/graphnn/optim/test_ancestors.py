import numpy as np

import graphnn as gn
from graphnn import nn, ops, optim
from graphnn.ops import Node
from graphnn.optim.ancestors import differentiable_ancestors, updates_of


class RunningMean(nn.Module):
    """Subtract the mean: of the batch in training, the running one otherwise, as batch norm does."""

    def forward(self, x: Node) -> Node:
        running = self.variable("running", x.shape[1:], nn.init.zeros, trainable=False)  # type: ignore[arg-type]
        mean = x.mean(0)
        x.graph.add_update(ops.assign(running, 0.9 * running + 0.1 * mean))
        return x - ops.when_training(mean, running)


def written(updates: list[Node]) -> list[str]:
    return [update.inputs[0].name for update in updates]


def test_updates_of_layers_go_with_the_loss_they_lead_to() -> None:
    def tower() -> nn.Module:
        return nn.Sequential(nn.Linear(2, 2), RunningMean(), nn.Linear(2, 1))

    with gn.Graph():
        x = gn.placeholder("x", (None, 2))
        first, second = (tower()(x).sum() for _ in range(2))

        assert written(updates_of(first)) == ["1.running"]
        assert written(updates_of(second)) == ["1_1.running"]
        assert written(updates_of(first + second)) == ["1.running", "1_1.running"]
        assert written(optim.SGD(0.1).minimize(first)) == ["0.weight", "0.bias", "2.weight", "2.bias", "1.running"]


def test_updates_of_another_head_stay_out() -> None:
    with gn.Graph():
        trunk = nn.Sequential(nn.Linear(2, 2), RunningMean())(gn.placeholder("x", (None, 2)))
        left = nn.Sequential(nn.Linear(2, 2), RunningMean(), name="left")(trunk).sum()
        right = nn.Sequential(nn.Linear(2, 2), RunningMean(), name="right")(trunk).sum()

        assert written(updates_of(left)) == ["1.running", "left.1.running"]
        assert written(updates_of(right)) == ["1.running", "right.1.running"]


def test_what_follows_the_loss_or_its_variables_belongs_to_it() -> None:
    with gn.Graph() as graph:
        x = gn.placeholder("x", (None, 2))
        loss = nn.Linear(2, 1)(x).mean()
        total, copy, count = (
            gn.variable(name, value, trainable=False) for name, value in (("total", 0.0), ("copy", [0.0]), ("count", 0))
        )
        graph.add_update(ops.assign(total, total + loss))
        graph.add_update(ops.assign(copy, 0.9 * copy + 0.1 * graph["linear.bias"]))
        graph.add_update(ops.assign(count, count + 1))
        other = gn.placeholder("other", (None,))
        unrelated = gn.variable("unrelated", 0.0, trainable=False)
        graph.add_update(ops.assign(unrelated, unrelated + other.sum()))

        assert written(updates_of(loss)) == ["total", "copy", "count"]
        assert written(updates_of(other.mean())) == ["count", "unrelated"]


def test_updates_are_carried_out_with_the_training_step() -> None:
    with gn.Graph() as graph:
        x = gn.placeholder("x", (None, 2))
        loss = nn.Sequential(RunningMean(), nn.Linear(2, 1))(x).sum()
        train = optim.SGD(0.0).minimize(loss)
    executor = gn.Executor(loss, updates=train, device="numpy", max_batch=2)

    executor.run({x: [[1.0, 10.0], [3.0, 30.0]]})

    assert graph.get_value("0.running").tolist() == [np.float32(0.2), 2.0]


def test_ancestors_are_followed_through_floating_values_only() -> None:
    with gn.Graph():
        a, b, c, d = (gn.variable(name, [1.0, 2.0]) for name in "abcd")
        loss = (a * ops.stop_gradient(b) + c.astype("int32") + ops.where(d > 0, a, 0)).sum()

        reached = differentiable_ancestors(loss)

    assert a in reached
    assert not reached & {b, c, d}
