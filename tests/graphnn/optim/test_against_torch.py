"""Ten steps of each optimiser beside PyTorch's: on gradients that are given, and on a small network."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphnn as gn
from graphnn import nn, ops, optim

STEPS = 10


@pytest.fixture
def torch() -> Any:
    module: Any = pytest.importorskip("torch", reason="PyTorch is not installed")
    module.set_num_threads(1)
    return module


Optimisers = tuple[Callable[[], optim.Optimizer], Callable[[Any, Any], Any]]

OPTIMISERS: dict[str, Optimisers] = {
    "sgd": (lambda: optim.SGD(0.1), lambda torch, p: torch.optim.SGD(p, 0.1)),
    "sgd momentum": (
        lambda: optim.SGD(0.1, momentum=0.9),
        lambda torch, p: torch.optim.SGD(p, 0.1, momentum=0.9),
    ),
    "sgd nesterov": (
        lambda: optim.SGD(0.1, momentum=0.8, nesterov=True),
        lambda torch, p: torch.optim.SGD(p, 0.1, momentum=0.8, nesterov=True),
    ),
    "sgd decay": (
        lambda: optim.SGD(0.1, weight_decay=0.3),
        lambda torch, p: torch.optim.SGD(p, 0.1, weight_decay=0.3),
    ),
    "sgd all": (
        lambda: optim.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.02),
        lambda torch, p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=0.02),
    ),
    "adam": (lambda: optim.Adam(), lambda torch, p: torch.optim.Adam(p)),
    "adam all": (
        lambda: optim.Adam(0.03, betas=(0.7, 0.95), eps=1e-3, weight_decay=0.1),
        lambda torch, p: torch.optim.Adam(p, 0.03, betas=(0.7, 0.95), eps=1e-3, weight_decay=0.1),
    ),
}


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-14)])
@pytest.mark.parametrize("name", OPTIMISERS)
def test_steps_on_given_gradients(torch: Any, name: str, dtype: str, tolerance: float) -> None:
    ours, theirs = OPTIMISERS[name]
    rng = np.random.default_rng(0)
    start = rng.uniform(20, 30, (3, 4)).astype(dtype)
    gradients = rng.uniform(0.5, 1, (STEPS, 3, 4)).astype(dtype)  # away from 0, lest sums cancel and lose digits
    with gn.Graph() as graph:
        w = gn.variable("w", start)
        given = gn.placeholder("given", (3, 4), dtype)
        train = ours().minimize((w * given).sum())
    executor = gn.Executor(w, updates=train, device="numpy")
    parameter = torch.nn.Parameter(torch.tensor(start))
    optimiser = theirs(torch, [parameter])

    for gradient in gradients:
        executor.run({given: gradient})
        parameter.grad = torch.tensor(gradient)
        optimiser.step()

        np.testing.assert_allclose(graph.get_value(w), parameter.detach().numpy(), rtol=tolerance)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_steps_on_a_network(torch: Any, name: str) -> None:
    ours, theirs = OPTIMISERS[name]
    rng = np.random.default_rng(1)
    inputs = rng.standard_normal((STEPS, 6, 3))
    targets = rng.standard_normal((STEPS, 6, 2))
    twin = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    with gn.Graph(seed=0) as graph:
        x, target = gn.placeholder("x", (None, 3)), gn.placeholder("target", (None, 2))
        y = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))(x)
        loss = ops.mse_loss(y, target)
        train = ours().minimize(loss)
    for key, parameter in twin.named_parameters():
        parameter.data = torch.tensor(graph.get_value(key))
    executor = gn.Executor(loss, updates=train, device="numpy", max_batch=6)
    optimiser = theirs(torch, twin.parameters())

    for given, wanted in zip(inputs.astype(np.float32), targets.astype(np.float32), strict=True):
        actual = executor.run({x: given, target: wanted})
        optimiser.zero_grad()
        expected = torch.nn.functional.mse_loss(twin(torch.tensor(given)), torch.tensor(wanted))
        expected.backward()
        optimiser.step()

        np.testing.assert_allclose(actual, expected.detach().numpy(), rtol=1e-5)
    for key, parameter in twin.named_parameters():
        np.testing.assert_allclose(graph.get_value(key), parameter.detach().numpy(), rtol=1e-5, atol=1e-6)


SCHEDULES: dict[str, tuple[optim.Schedule, Callable[[Any, Any], Any]]] = {
    "constant": (optim.schedules.constant(0.1), lambda sched, o: sched.ConstantLR(o, 1.0, 1)),
    "step": (optim.schedules.step(0.1, 7, 0.5), lambda sched, o: sched.StepLR(o, 7, 0.5)),
    "step 3": (optim.schedules.step(0.1, 3), lambda sched, o: sched.StepLR(o, 3)),
    "cosine": (optim.schedules.cosine(0.1, 50), lambda sched, o: sched.CosineAnnealingLR(o, 50)),
    "cosine final": (
        optim.schedules.cosine(0.1, 49, final=0.02),
        lambda sched, o: sched.CosineAnnealingLR(o, 49, eta_min=0.02),
    ),
    "one cycle": (
        optim.schedules.one_cycle(0.1, 50),
        lambda sched, o: sched.OneCycleLR(o, 0.1, 50, cycle_momentum=False),
    ),
    "one cycle all": (
        optim.schedules.one_cycle(0.1, 50, pct_start=0.77, div_factor=3.0, final_div_factor=20.0),
        lambda sched, o: sched.OneCycleLR(
            o, 0.1, 50, cycle_momentum=False, pct_start=0.77, div_factor=3.0, final_div_factor=20.0
        ),
    ),
    "one cycle falling": (
        optim.schedules.one_cycle(0.1, 50, pct_start=0.0),
        lambda sched, o: sched.OneCycleLR(o, 0.1, 50, cycle_momentum=False, pct_start=0.0),
    ),
    "one cycle rising": (
        optim.schedules.one_cycle(0.1, 50, pct_start=1.0),
        lambda sched, o: sched.OneCycleLR(o, 0.1, 50, cycle_momentum=False, pct_start=1.0),
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_over_50_steps(torch: Any, name: str) -> None:
    ours, theirs = SCHEDULES[name]
    parameter = torch.nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
    optimiser = torch.optim.SGD([parameter], 0.1)
    scheduler = theirs(torch.optim.lr_scheduler, optimiser)
    with gn.Graph() as graph:
        w = gn.variable("w", 1.0, dtype="float64")
        sgd = optim.SGD(ours)
        train = sgd.minimize(w * 1)
    executor = gn.Executor(sgd.learning_rate, updates=train, device="numpy")

    for count in range(50):
        expected = optimiser.param_groups[0]["lr"]
        np.testing.assert_allclose(executor.run(), expected, rtol=1e-12, err_msg=f"run {count}")
        parameter.grad = torch.ones_like(parameter)
        optimiser.step()
        if count < 49:
            scheduler.step()

    np.testing.assert_allclose(graph.get_value(w), parameter.item(), rtol=1e-12)
