import json
import linecache
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

import graphnn as gn
from graphnn.cli import program as program_module
from graphnn.cli.program import program_for
from graphnn.compiler.plan.report import as_json
from graphnn.models import MODELS

Command = Callable[..., Result]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("training", [False, True])
def test_prints_the_plan(model: str, training: bool, run: Command) -> None:
    result = run("plan", model, "--batch", 30, *(["--training"] if training else []))

    assert result.exit_code == 0, result.output
    first, *rest = result.stdout.splitlines()
    assert first.startswith("plan for ")
    assert first.endswith(" FLOP a run at batch 30")
    assert "arena: " in result.stdout
    assert ("gradient" in "\n".join(rest[: rest.index("storages")])) == training


def test_is_the_evaluation_plan_by_default(run: Command) -> None:
    program = program_for("pure_linear")
    executor = gn.Executor([program.loss, program.logits], max_batch=100)

    plan = json.loads(run("plan", "pure_linear", "--json").stdout)

    assert plan == {**as_json(executor.plan), "steps": plan["steps"]}
    assert [step["kernel"] for step in plan["steps"]] == [step.kernel for step in executor.plan.steps]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_training_plan_is_that_of_train(optimizer: str, run: Command) -> None:
    result = run("plan", "pure_linear", "--training", "--batch", 64, "--optimizer", optimizer, "--json")

    plan = json.loads(result.stdout)
    program = program_for("pure_linear")
    schedule = gn.optim.schedules.one_cycle(0.1, 20 * 938)
    chosen = gn.optim.SGD(schedule, momentum=0.9) if optimizer == "sgd" else gn.optim.Adam(schedule)
    trainer = gn.Trainer(
        program.loss,
        program.logits,
        inputs=program.images,
        labels=program.labels,
        optimizer=chosen,
        batch_size=64,
    )
    expected = trainer.executor.plan
    assert plan["max_batch"] == 64
    assert (plan["arena_bytes"], plan["flops"]) == (expected.arena_bytes, expected.flops)
    assert plan["memory"]["optimiser state"] > 0


def test_batch_decides_the_size(run: Command) -> None:
    small, large = (json.loads(run("plan", "lenet", "--batch", n, "--json").stdout) for n in (1, 100))

    assert large["arena_bytes"] > small["arena_bytes"]


def test_steps_point_at_the_line_that_calls_the_model(run: Command) -> None:
    steps = [
        inner for step in json.loads(run("plan", "lenet", "--json").stdout)["steps"] for inner in (step, *step["inner"])
    ]

    (file,) = {step["at"].rpartition(":")[0] for step in steps}
    assert Path(file) == Path(program_module.__file__)
    lines = {linecache.getline(file, int(step["at"].rpartition(":")[2])).strip() for step in steps}
    assert any("logits = layers(images)" in line for line in lines)


def test_unknown_model(run: Command) -> None:
    result = run("plan", "simple-conv")

    assert result.exit_code == 2
    assert "Did you mean simple_conv?" in result.stderr
