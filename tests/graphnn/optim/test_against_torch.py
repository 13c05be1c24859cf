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


@pytest.fixture
def unrounded_muon(torch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep PyTorch's Muon from rounding to bfloat16, so that results can be compared digit by digit."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda tensor: tensor.clone())


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
    "adamw": (lambda: optim.AdamW(), lambda torch, p: torch.optim.AdamW(p)),
    "adamw all": (
        lambda: optim.AdamW(0.03, betas=(0.7, 0.95), eps=1e-3, weight_decay=0.3),
        lambda torch, p: torch.optim.AdamW(p, 0.03, betas=(0.7, 0.95), eps=1e-3, weight_decay=0.3),
    ),
    "rmsprop": (lambda: optim.RMSprop(), lambda torch, p: torch.optim.RMSprop(p)),
    "rmsprop momentum": (
        lambda: optim.RMSprop(0.02, momentum=0.9),
        lambda torch, p: torch.optim.RMSprop(p, 0.02, momentum=0.9),
    ),
    "rmsprop all": (
        lambda: optim.RMSprop(0.02, alpha=0.8, eps=1e-3, momentum=0.5, centered=True, weight_decay=0.1),
        lambda torch, p: torch.optim.RMSprop(
            p, 0.02, alpha=0.8, eps=1e-3, momentum=0.5, centered=True, weight_decay=0.1
        ),
    ),
    "adagrad": (lambda: optim.Adagrad(), lambda torch, p: torch.optim.Adagrad(p)),
    "adagrad all": (
        lambda: optim.Adagrad(0.1, lr_decay=0.2, initial_accumulator_value=0.3, eps=1e-3, weight_decay=0.1),
        lambda torch, p: torch.optim.Adagrad(
            p, 0.1, lr_decay=0.2, initial_accumulator_value=0.3, eps=1e-3, weight_decay=0.1
        ),
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


MUONS: dict[str, Any] = {
    "default": {},
    "all": {"lr": 0.1, "momentum": 0.8, "nesterov": False, "weight_decay": 0.3, "ns_steps": 3, "eps": 1e-3},
    "coefficients": {"lr": 0.1, "ns_coefficients": (1.5, -0.5, 0.0), "ns_steps": 8},
    "as adamw": {"lr": 0.1, "adjust_lr_fn": "match_rms_adamw"},
    "as at first": {"lr": 0.1, "adjust_lr_fn": "original"},
}


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4), (1, 6)], ids=str)
@pytest.mark.parametrize("name", MUONS)
@pytest.mark.usefixtures("unrounded_muon")
def test_muon_on_given_gradients(torch: Any, name: str, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    start, gradients = rng.standard_normal(shape), rng.standard_normal((STEPS, *shape))
    with gn.Graph() as graph:
        w, given = gn.variable("w", start), gn.placeholder("given", shape, "float64")
        train = optim.Muon(**MUONS[name]).minimize((w * given).sum())
    executor = gn.Executor(w, updates=train, device="numpy")
    parameter = torch.nn.Parameter(torch.tensor(start))
    optimiser = torch.optim.Muon([parameter], **MUONS[name])

    for gradient in gradients:
        executor.run({given: gradient})
        parameter.grad = torch.tensor(gradient)
        optimiser.step()

        np.testing.assert_allclose(graph.get_value(w), parameter.detach().numpy(), rtol=1e-9, atol=1e-11)


def trained_twice(torch: Any, ours: optim.Optimizer, theirs: Callable[[Any], tuple[Any, Any]]) -> None:
    """Train a network in both frameworks, with a schedule of PyTorch's if there is one, and compare the weights."""
    rng = np.random.default_rng(1)
    twin = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)).double()
    with gn.Graph(seed=0) as graph:
        x, target = gn.placeholder("x", (None, 3), "float64"), gn.placeholder("target", (None, 2), "float64")
        weights = {
            key: gn.variable(key, rng.standard_normal(tuple(parameter.shape)))
            for key, parameter in twin.named_parameters()
        }
        hidden = ops.tanh(x @ weights["0.weight"].T + weights["0.bias"])
        loss = ops.mse_loss(hidden @ weights["2.weight"].T + weights["2.bias"], target)
        train = ours.minimize(loss)
    for key, parameter in twin.named_parameters():
        parameter.data = torch.tensor(graph.get_value(key))
    executor = gn.Executor(loss, updates=train, device="numpy", max_batch=6)
    step, schedule = theirs(twin)

    for _ in range(STEPS):
        given, wanted = rng.standard_normal((6, 3)), rng.standard_normal((6, 2))
        actual = executor.run({x: given, target: wanted})
        twin.zero_grad()
        expected = torch.nn.functional.mse_loss(twin(torch.tensor(given)), torch.tensor(wanted))
        expected.backward()
        step()
        if schedule is not None:
            schedule.step()

        np.testing.assert_allclose(actual, expected.item(), rtol=1e-9)
    for key, parameter in twin.named_parameters():
        np.testing.assert_allclose(graph.get_value(key), parameter.detach().numpy(), rtol=1e-8, err_msg=key)


def test_groups_with_options_of_their_own(torch: Any) -> None:
    def theirs(twin: Any) -> tuple[Any, Any]:
        biases = [twin[0].bias, twin[2].bias]
        optimiser = torch.optim.AdamW(
            [
                {"params": [twin[0].weight]},
                {"params": biases, "weight_decay": 0.0},
                {"params": [twin[2].weight], "lr": 0.02, "betas": (0.5, 0.9)},
            ],
            lr=0.01,
            weight_decay=0.1,
        )
        return optimiser.step, None

    groups: list[Any] = [
        {"params": lambda variable: variable.rank == 1, "weight_decay": 0.0},
        {"params": ["2.weight"], "lr": 0.02, "betas": (0.5, 0.9)},
    ]
    trained_twice(torch, optim.AdamW(0.01, weight_decay=0.1, groups=groups), theirs)


def test_groups_with_schedules_of_their_own(torch: Any) -> None:
    def theirs(twin: Any) -> tuple[Any, Any]:
        optimiser = torch.optim.SGD(
            [{"params": list(twin[0].parameters()), "lr": 0.1}, {"params": list(twin[2].parameters()), "lr": 1.0}],
            momentum=0.9,
            weight_decay=0.01,
        )
        rates = [lambda step: 0.5 ** (step // 3), lambda step: 0.02 * (1 + np.cos(np.pi * step / 20))]
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, rates)
        return optimiser.step, schedule  # the step that the schedule has wrapped

    ours = optim.SGD(
        optim.schedules.step(0.1, 3, 0.5),
        momentum=0.9,
        weight_decay=0.01,
        groups=[{"params": ["2.weight", "2.bias"], "lr": optim.schedules.cosine(0.04, 20)}],
    )
    trained_twice(torch, ours, theirs)


@pytest.mark.usefixtures("unrounded_muon")
def test_groups_with_optimisers_of_their_own(torch: Any) -> None:
    def theirs(twin: Any) -> tuple[Any, Any]:
        muon = torch.optim.Muon([twin[0].weight], 0.05)
        adamw = torch.optim.AdamW([twin[0].bias, *twin[2].parameters()], 0.01)
        return lambda: (muon.step(), adamw.step()), None

    others = {"params": lambda variable: variable.name != "0.weight", "optimizer": optim.AdamW(0.01)}
    trained_twice(torch, optim.Muon(0.05, groups=[others]), theirs)


@pytest.mark.parametrize(
    "options",
    [{"clip_norm": 0.3}, {"clip_norm": 1e3}, {"clip_value": 0.05}, {"clip_value": 0.1, "clip_norm": 0.2}],
    ids=str,
)
def test_gradients_are_clipped_before_all_else(torch: Any, options: dict[str, float]) -> None:
    def theirs(twin: Any) -> tuple[Any, Any]:
        optimiser = torch.optim.SGD(twin.parameters(), 0.1, momentum=0.9, weight_decay=0.1)

        def step() -> None:
            if "clip_value" in options:
                torch.nn.utils.clip_grad_value_(twin.parameters(), options["clip_value"])
            if "clip_norm" in options:
                torch.nn.utils.clip_grad_norm_(twin.parameters(), options["clip_norm"])
            optimiser.step()

        return step, None

    trained_twice(torch, optim.SGD(0.1, momentum=0.9, weight_decay=0.1, **options), theirs)  # type: ignore[arg-type]


@pytest.mark.parametrize("decay", [0.9, None])
def test_averages_of_weights(torch: Any, decay: float | None) -> None:
    twin = torch.nn.Linear(3, 2).double()
    optimiser = torch.optim.SGD(twin.parameters(), 0.1)
    mean = None if decay is None else torch.optim.swa_utils.get_ema_avg_fn(decay)
    theirs = torch.optim.swa_utils.AveragedModel(twin, avg_fn=mean)
    with gn.Graph() as graph:
        x = gn.placeholder("x", (None, 3), "float64")
        for key, parameter in twin.named_parameters():
            gn.variable(key, parameter.detach().numpy())
        loss = ((x @ graph["weight"].T + graph["bias"]) ** 2).mean()
        ours = optim.WeightAverage(decay)
        train = ours.follow(optim.SGD(0.1).minimize(loss))
    executor = gn.Executor(loss, updates=train, device="numpy", max_batch=4)

    for given in np.random.default_rng(2).standard_normal((STEPS, 4, 3)):
        executor.run({x: given})
        optimiser.zero_grad()
        twin(torch.tensor(given)).square().mean().backward()
        optimiser.step()
        theirs.update_parameters(twin)

    for key, parameter in theirs.module.named_parameters():
        average = graph.get_value(ours.averages[graph[key]])
        np.testing.assert_allclose(average, parameter.detach().numpy(), rtol=1e-12)
        assert np.abs(average - graph.get_value(key)).max() > 1e-3


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
