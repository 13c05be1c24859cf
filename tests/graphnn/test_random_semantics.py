"""Random numbers in plans: what decides them, when they advance, and how a stream is resumed."""

from __future__ import annotations

import numpy as np
import pytest

import graphnn as gn
from graphnn import ops
from networks import executor


class Net:
    """Two dropouts, and numbers drawn in both modes."""

    def __init__(self, seed: int = 0, unused: int = 0) -> None:
        with gn.Graph(seed=seed) as self.graph:
            self.x = gn.placeholder("x", (None, 20))
            for _ in range(unused):
                gn.constant(1.0)
            with self.graph.scope("one"):
                self.first = ops.dropout(self.x, 0.5)
            with self.graph.scope("two"):
                self.second = ops.dropout(self.x, 0.5)
                self.noise = ops.normal((None, 3))
            self.w = gn.variable("w", 0.0)
            self.step = ops.assign(self.w, self.w + 1.0)

    def train(self, *fetches: gn.Node) -> gn.Executor:
        return executor(list(fetches or (self.first, self.second, self.noise)), self.step)


ONES = np.ones((8, 20), np.float32)


def test_equal_seeds_give_equal_numbers() -> None:
    runs = [Net(seed=5).train().run for _ in range(2)]
    for _ in range(3):
        for one, other in zip(*(run({"x": ONES}) for run in runs), strict=True):
            np.testing.assert_array_equal(one, other)


def test_other_seeds_give_other_numbers() -> None:
    one, other = (Net(seed).train().run({"x": ONES}) for seed in (0, 1))
    assert all((a != b).any() for a, b in zip(one, other, strict=True))


def test_other_nodes_elsewhere_do_not_change_the_numbers() -> None:
    one, other = Net(unused=0).train().run({"x": ONES}), Net(unused=7).train().run({"x": ONES})
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_each_run_draws_new_numbers_and_advances_by_one() -> None:
    net = Net()
    run = net.train().run
    seen = []
    for number in range(1, 5):
        seen.append(run({"x": ONES})[0].tobytes())
        assert net.graph.get_value("random_step") == number
        assert net.graph.store.version("random_step") == number
    assert len(set(seen)) == 4


def test_all_plans_that_draw_share_the_step() -> None:
    net = Net()
    train, sample = net.train(), executor(net.noise)
    feed = {"x": ONES}
    first = train.run(feed)[2]
    second = sample.run(feed)
    third = train.run(feed)[2]
    assert net.graph.get_value("random_step") == 3
    alone = Net()
    expected = [executor(alone.noise).run(feed) for _ in range(3)]
    for value, wanted in zip((first, second, third), expected, strict=True):
        np.testing.assert_array_equal(value, wanted)


def test_plans_that_draw_nothing_do_not_advance() -> None:
    net = Net()
    evaluate = executor([net.first, net.second])
    for _ in range(2):
        for result in evaluate.run({"x": ONES}):
            np.testing.assert_array_equal(result, ONES)
    executor([], net.step).run()
    assert net.graph.get_value("random_step") == 0
    assert net.graph.store.version("random_step") == 0
    assert "random_step" not in evaluate.plan.written_variables


def test_evaluation_plans_that_draw_do_advance() -> None:
    net = Net()
    sample = executor(net.noise)
    one, other = sample.run({"x": ONES}), sample.run({"x": ONES})
    assert (one != other).any()
    assert net.graph.get_value("random_step") == 2


def test_numbers_that_are_drawn_but_not_read_do_not_advance() -> None:
    net = Net()
    executor(net.first, net.step, training=False).run({"x": ONES})
    assert net.graph.get_value("random_step") == 0


def test_the_stream_is_resumed_from_a_saved_step() -> None:
    net = Net(seed=9)
    run = net.train().run
    for _ in range(3):
        run({"x": ONES})
    saved = net.graph.get_value("random_step")
    expected = [run({"x": ONES}) for _ in range(2)]
    for again in (net, Net(seed=9)):  # the same process, and a new one
        again.graph.set_value("random_step", saved)
        resumed = again.train().run
        for wanted in expected:
            for a, b in zip(resumed({"x": ONES}), wanted, strict=True):
                np.testing.assert_array_equal(a, b)


def test_the_step_may_go_beyond_32_bits() -> None:
    net = Net()
    run = net.train().run
    first = run({"x": ONES})
    net.graph.set_value("random_step", 2**32)
    beyond = run({"x": ONES})
    assert net.graph.get_value("random_step") == 2**32 + 1
    assert all((a != b).any() for a, b in zip(first, beyond, strict=True))


def test_the_step_seen_by_a_fetch_is_that_of_the_run() -> None:
    net = Net()
    run = executor([net.graph.random_step, net.noise], max_batch=4).run
    assert [run({"x": ONES[:4]})[0].item() for _ in range(3)] == [0, 1, 2]


def test_users_may_assign_the_step_themselves() -> None:
    net = Net()
    with net.graph:
        stay = ops.assign(net.graph.random_step, net.graph.random_step * 1)
    run = executor(net.noise, stay).run
    np.testing.assert_array_equal(run({"x": ONES}), run({"x": ONES}))


def test_masks_of_two_layers_differ_and_forward_and_backward_share_one() -> None:
    with gn.Graph(seed=2) as graph:
        x = gn.placeholder("x", (None, 50))
        w = gn.variable("w", np.ones(50, np.float32))
        first = ops.dropout(x * w, 0.5)
        second = ops.dropout(x * w, 0.5)
        (slope,) = gn.gradients(first.sum(), [w])
        run = executor([first, second, slope], ops.assign(w, w), max_batch=16).run
    fed = np.ones((16, 50), np.float32)
    one, two, gradient = run({x: fed})
    assert (one != two).any()
    assert set(np.unique(one)) == {0.0, 2.0}
    np.testing.assert_array_equal(gradient, one.sum(0))
    assert graph.get_value("random_step") == 1


def test_one_draw_read_twice_is_one_draw() -> None:
    with gn.Graph():
        noise = ops.uniform((5,))
        difference, same = noise - noise, [noise * 2, noise + noise]
    zero, double, total = executor([difference, *same]).run()
    np.testing.assert_array_equal(zero, np.zeros(5))
    np.testing.assert_array_equal(double, total)


def test_two_draws_of_one_place_in_the_code_are_two() -> None:
    with gn.Graph():
        one, other = (ops.uniform((5,)) for _ in range(2))
        first, second, difference = executor([one, other, one - other]).run()
    assert (first != second).all()
    np.testing.assert_array_equal(difference, first - second)


def test_an_example_draws_the_same_whatever_the_batch() -> None:
    nets = [Net() for _ in range(2)]
    small, large = (
        net.train().run({"x": np.ones((batch, 20), np.float32)}) for net, batch in zip(nets, (3, 8), strict=True)
    )
    for a, b in zip(small, large, strict=True):
        np.testing.assert_array_equal(a, b[:3])


def test_failed_runs_do_not_advance() -> None:
    with gn.Graph() as graph:
        x = gn.placeholder("x", (None,))
        y = ops.log(x) + ops.uniform((None,))
        run = executor(y, check_numerics=True).run
    first = run({x: [1.0]})
    with pytest.raises(gn.NumericsError):
        run({x: [-1.0]})
    with pytest.raises(gn.FeedError):
        run({x: "1"})
    assert graph.get_value("random_step") == 1
    graph.set_value("random_step", 0)
    np.testing.assert_array_equal(run({x: [1.0]}), first)


# What the numbers look like.


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_uniform_numbers_fill_their_interval(dtype: str) -> None:
    with gn.Graph(seed=11):
        run = executor(ops.uniform((2000, 10), dtype=dtype)).run
    values = run().astype(np.float64)
    assert values.min() >= 0
    assert values.max() < 1
    count = values.size
    grain = 2.0**-8 if dtype == "bfloat16" else 0  # rounded down to a multiple of it
    assert abs(values.mean() + grain / 2 - 0.5) < 5 * np.sqrt(1 / 12 / count)
    assert abs(values.var() - 1 / 12) < 5 * np.sqrt(1 / 180 / count)
    expected = count / 16
    histogram = np.histogram(values, 16, (0, 1))[0]
    assert ((histogram - expected) ** 2 / expected).sum() < 44  # chi-square of 15 degrees of freedom, 1 in 10,000


def test_neighbours_runs_and_streams_are_uncorrelated() -> None:
    with gn.Graph(seed=12):
        run = executor([ops.uniform((20_000,)), ops.uniform((20_000,))]).run
    one, other = run()
    later = run()[0]
    limit = 5 / np.sqrt(20_000)
    for a, b in ((one[1:], one[:-1]), (one, other), (one, later), (one[4:], one[:-4])):
        assert abs(np.corrcoef(a, b)[0, 1]) < limit


def test_normal_numbers_have_their_moments() -> None:
    with gn.Graph(seed=13):
        values = executor(ops.normal((20_000,), 1.0, 2.0)).run().astype(np.float64)
    z = (values - 1) / 2
    assert abs(z.mean()) < 5 / np.sqrt(20_000)
    assert abs(z.var() - 1) < 5 * np.sqrt(2 / 20_000)
    assert abs((z**3).mean()) < 5 * np.sqrt(15 / 20_000)
    assert abs((z**4).mean() - 3) < 5 * np.sqrt(96 / 20_000)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(p: float) -> None:
    with gn.Graph(seed=14):
        x = gn.placeholder("x", (None, 1000))
        run = executor(ops.dropout(x, p), max_batch=32, training=True).run
    values = run({x: np.ones((32, 1000), np.float32)})
    share = (values == 0).mean()
    assert abs(share - p) < 5 * np.sqrt(p * (1 - p) / values.size)
    np.testing.assert_allclose(values[values != 0], 1 / (1 - p), rtol=1e-6)
