import math
from typing import Any

import numpy as np
import pytest

import graphnn as gn
from graphnn import optim
from graphnn.compiler.reference import evaluate
from graphnn.optim import schedules


def rates(schedule: optim.Schedule, runs: range) -> list[float]:
    """Return the learning rates of some runs, without running those before."""
    with gn.Graph() as graph:
        w = gn.variable("w", 1.0)
        sgd = optim.SGD(schedule)
        sgd.minimize(w * w)
    found = []
    for count in runs:
        graph.set_value("sgd.step", count)
        found.append(float(evaluate([sgd.learning_rate], {})[0]))
    return found


def test_cosine_stays_at_its_final_value() -> None:
    assert rates(schedules.cosine(0.1, 10, final=0.01), range(10, 25)) == [0.01] * 15
    assert rates(schedules.cosine(0.1, 10), range(10, 13)) == [0.0] * 3


def test_one_cycle_stays_at_its_final_value() -> None:
    final = 0.1 / 5 / 100

    assert rates(schedules.one_cycle(0.1, 10, div_factor=5, final_div_factor=100), range(9, 25)) == [final] * 16


@pytest.mark.parametrize("total_steps", [1, 2, 3, 4])
@pytest.mark.parametrize("pct_start", [0.0, 0.25, 0.5, 1.0])
def test_one_cycle_of_few_runs_is_finite_and_between_its_ends(total_steps: int, pct_start: float) -> None:
    found = rates(schedules.one_cycle(0.1, total_steps, pct_start), range(total_steps + 2))

    assert all(0.1 / 25e4 * 0.999 <= rate <= 0.1 * 1.001 for rate in found)
    if pct_start < 1:
        assert math.isclose(found[-1], 0.1 / 25e4)


def test_cosine_is_exact_to_float64() -> None:
    expected = [(1 + math.cos(math.pi * count / 1000)) / 2 for count in range(1000)]

    np.testing.assert_allclose(rates(schedules.cosine(1.0, 1000), range(1000)), expected, rtol=1e-9, atol=1e-15)


def test_a_function_of_the_users_own_is_a_schedule() -> None:
    assert rates(lambda step: 0.1 / (1 + step / 4), range(3)) == [0.1 / (1 + count / 4) for count in range(3)]
    assert rates(lambda step: 0.25, range(2)) == [0.25, 0.25]
    assert rates(lambda step: (step * 0.5).astype("float32"), range(3)) == [0, 0.5, 1]


def test_a_schedule_gives_a_scalar_and_no_negative_number() -> None:
    with gn.Graph():
        w = gn.variable("w", 1.0)
        with pytest.raises(gn.ShapeError, match=r"SGD: the schedule gives no scalar\n(.|\n)*float64 \(2,\)"):
            optim.SGD(lambda step: step.broadcast_to((2,))).minimize(w * w)
        with pytest.raises(gn.GraphError, match=r"SGD: the learning rate is -1"):
            optim.SGD(lambda step: -1).minimize(w * w)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.constant(-0.1), "constant: lr is -0.1"),
        (lambda: schedules.step(math.nan, 3), "step: lr is nan"),
        (lambda: schedules.step(0.1, 0), "step: step_size is 0"),
        (lambda: schedules.step(0.1, 3, -1), "step: gamma is -1"),
        (lambda: schedules.cosine(0.1, 2.5), "cosine: total_steps is 2.5"),  # type: ignore[arg-type]
        (lambda: schedules.cosine(0.1, 3, -0.1), "cosine: final is -0.1"),
        (lambda: schedules.one_cycle(math.inf, 3), "one_cycle: max_lr is inf"),
        (lambda: schedules.one_cycle(0.1, -3), "one_cycle: total_steps is -3"),
        (lambda: schedules.one_cycle(0.1, 3, 1.5), "pct_start = 1.5"),
        (lambda: schedules.one_cycle(0.1, 3, 0.3, 0), "div_factor = 0"),
    ],
)
def test_arguments_are_checked(make: Any, message: str) -> None:
    with pytest.raises(gn.GraphError, match=message) as raised:
        make()

    assert "test_schedules.py" in raised.value.where
