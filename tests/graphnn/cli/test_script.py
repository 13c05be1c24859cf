from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from click.testing import Result

import graphnn as gn

Command = Callable[..., Result]

HEAD = """\
import graphnn as gn

def placeholders(shape=(None, 1, 28, 28), dtype="uint8", labels="int32"):
    return gn.placeholder("images", shape, dtype), gn.placeholder("labels", (None,), labels)

def network(images):
    return gn.nn.Linear(784, 10, name="own")(gn.models.Pixels()(images).flatten(1))

def build():
    images, labels = placeholders()
    logits = network(images)
    return images, labels, gn.ops.cross_entropy(logits, labels), logits

"""


@pytest.fixture(autouse=True)
def modules() -> Iterator[None]:
    """Forget what the scripts have loaded."""
    path, known = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in sys.modules.keys() - known:
        if name.startswith("_script_") or name == "beside":
            del sys.modules[name]


def script(folder: Path, text: str = "") -> Path:
    path = folder / "own.py"
    path.write_text(HEAD + dedent(text), encoding="utf-8")
    return path


def train(run: Command, model: str | Path, digits: Path, *options: str | int | Path) -> Result:
    return run("train", model, "--epochs", 1, "--device", "numpy", "--data", digits, *options)


def refused(result: Result) -> str:
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert str(Path(gn.__file__).parent) not in result.stderr  # no line of ours
    return result.stderr


@pytest.mark.parametrize("form", ["build", "as_dict", "as_list"])
def test_trains(form: str, run: Command, digits: Path, tmp_path: Path) -> None:
    path = script(
        tmp_path,
        """
        def as_dict():
            return dict(zip(("logits", "loss", "labels", "inputs"), reversed(build()), strict=True))

        def as_list():
            return list(build())
        """,
    )

    result = train(run, f"{path}:{form}", digits)

    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0].startswith(f"{path}:{form}: 7,850 parameters; device numpy")
    assert result.stdout.splitlines()[-1].split()[0] == "1"


def test_seed_and_training_are_those_of_python(run: Command, digits: Path, tmp_path: Path) -> None:
    weights = tmp_path / "own.safetensors"

    train(run, f"{script(tmp_path)}:build", digits, "--seed", 4, "--save", weights)

    space: dict[str, Callable[[], tuple[gn.Node, gn.Node, gn.Node, gn.Node]]] = {}
    exec(HEAD, space)
    with gn.Graph(seed=4) as graph:
        images, labels, loss, logits = space["build"]()
    sgd = gn.optim.SGD(gn.optim.schedules.one_cycle(0.1, 4), momentum=0.9)
    trainer = gn.Trainer(loss, logits, inputs=images, labels=labels, optimizer=sgd, seed=4, device="numpy")
    data = gn.data.mnist(digits)
    trainer.fit((data.train_images, data.train_labels), (data.test_images, data.test_labels))
    expected = graph.get_value("own.weight")
    gn.load(graph, weights)
    assert (graph.get_value("own.weight") == expected).all()


def test_modules_beside_the_script_can_be_imported(run: Command, digits: Path, tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("def double(x):\n    return 2 * x\n")
    path = script(
        tmp_path,
        """
        import beside
        from dataclasses import dataclass

        @dataclass
        class Sizes:
            hidden: int = 3

        def other():
            assert beside.double(Sizes().hidden) == 6
            return build()
        """,
    )

    assert train(run, f"{path}:other", digits).exit_code == 0


def test_plan_and_show_take_it_too(run: Command, tmp_path: Path) -> None:
    model = f"{script(tmp_path)}:build"

    plan = json.loads(run("plan", model, "--training", "--json", "--batch", 7).stdout)
    shown = run("show", model, "--out", tmp_path / "own.json")

    assert plan["max_batch"] == 7
    assert shown.exit_code == 0, shown.output
    assert "own.weight" in (tmp_path / "own.json").read_text()


def test_missing_file(run: Command, digits: Path, tmp_path: Path) -> None:
    assert refused(train(run, tmp_path / "none.py:build", digits)).startswith(f"error: there is no file {tmp_path}")


@pytest.mark.parametrize("ending", ["", ":"])
def test_no_function_named(ending: str, run: Command, digits: Path, tmp_path: Path) -> None:
    path = script(tmp_path)

    assert f"try:      {path}:build" in refused(train(run, f"{path}{ending}", digits))


@pytest.mark.parametrize("name", ["bild", "SIZE"])
def test_missing_function(name: str, run: Command, digits: Path, tmp_path: Path) -> None:
    path = script(tmp_path, "SIZE = 3")

    message = refused(train(run, f"{path}:{name}", digits))

    assert f"own.py has no function '{name}'\n  expected: one of placeholders, network, build\n" in message


@pytest.mark.parametrize(
    ("returned", "actual"),
    [
        ("None", "None"),
        ("build()[:3]", "3 values"),
        ("{'inputs': build()[0], 'loss': 1}", "a dict without labels, logits"),
        ("(*build()[:3], 'logits')", "logits is 'logits'"),
        ("(*build()[:2], *build_elsewhere())", "loss is <"),
        ("(build()[3], *build()[1:])", "inputs is <add 'own"),
        ("(gn.placeholder('fixed', (3, 2)), *build()[1:])", "inputs is <placeholder 'fixed'"),
        ("(*build()[:3], build()[1])", "logits is <placeholder 'labels"),
        ("(*build()[:2], build()[3], build()[3])", "loss is <add 'own"),
        ("untrained()", "which depends on none"),
    ],
)
def test_wrong_return(returned: str, actual: str, run: Command, digits: Path, tmp_path: Path) -> None:
    path = script(
        tmp_path,
        f"""
        def build(inner=build, made=[]):
            if not made:
                made.append(inner())
            return made[0]

        def build_elsewhere():
            with gn.Graph():
                loss = gn.placeholder("loss", ())
            return loss, loss

        def untrained():
            images, labels = placeholders()
            logits = images.astype("float32").flatten(1)[:, :10]
            return images, labels, gn.ops.cross_entropy(logits, labels), logits

        def wrong():
            return {returned}
        """,
    )

    message = refused(train(run, f"{path}:wrong", digits))

    assert message.startswith(f"error: {path}:wrong returned something else\n")
    assert f"  actual:   {actual}" in message or actual in message
    line = next(number for number, text in enumerate(path.read_text().splitlines(), start=1) if "def wrong" in text)
    assert f"  at:       {path}:{line}: def wrong():\n" in message


def test_exception_inside(run: Command, digits: Path, tmp_path: Path) -> None:
    path = script(
        tmp_path,
        """
        import numpy as np

        def inner(x):
            return np.zeros((2, 3)) @ x

        def failing():
            images, labels = placeholders()
            return inner(np.zeros((2, 3)))
        """,
    )

    message = refused(train(run, f"{path}:failing", digits))

    assert message.startswith(f"error: {path}:failing raised ValueError: matmul: ")
    lines = re.findall(rf"{re.escape(str(path))}:\d+: (.*)\n", message)
    assert lines == ["return inner(np.zeros((2, 3)))", "return np.zeros((2, 3)) @ x"]


def test_debug_has_the_cause(run: Command, digits: Path, tmp_path: Path) -> None:
    path = script(tmp_path, "def failing():\n    return 1 / 0")

    result = train(run, f"{path}:failing", digits, "--debug")

    assert result.exception is not None
    assert isinstance(result.exception.__cause__, ZeroDivisionError)


def test_exception_while_loading(run: Command, digits: Path, tmp_path: Path) -> None:
    message = refused(train(run, f"{script(tmp_path, 'import nothing_of_this_name')}:build", digits))

    assert "own.py raised ModuleNotFoundError: No module named 'nothing_of_this_name'\n  at:       " in message
    assert "frozen" not in message
    assert re.search(r"at: +\S+own\.py:\d+: import nothing_of_this_name\n", message)


def test_no_python(run: Command, digits: Path, tmp_path: Path) -> None:
    message = refused(train(run, f"{script(tmp_path, 'def broken(:')}:build", digits))

    assert re.search(r"own\.py is no Python: invalid syntax\n  at: +\S+own\.py:14: def broken\(:\n", message)


def test_a_script_that_leaves(run: Command, digits: Path, tmp_path: Path) -> None:
    assert "raised SystemExit: 3" in refused(train(run, f"{script(tmp_path, 'raise SystemExit(3)')}:build", digits))


def test_graph_error_inside(run: Command, digits: Path, tmp_path: Path) -> None:
    path = script(
        tmp_path,
        """
        def misfit():
            images, labels = placeholders()
            logits = images.astype("float32").flatten(1) @ gn.variable("w", [[1.0, 2.0]])
            return images, labels, gn.ops.cross_entropy(logits, labels), logits
        """,
    )

    message = refused(train(run, f"{path}:misfit", digits))

    assert message.startswith("error: matmul 'matmul': ")
    assert f'at:       {path}:17: logits = images.astype("float32").flatten(1) @ gn.variable' in message


@pytest.mark.parametrize(
    ("given", "reason", "expected", "actual"),
    [
        ("shape=(None, 3, 28, 28)", "images have another shape", r"\(3, 28, 28\)", r"\(1, 28, 28\)"),
        ("shape=(None, 784)", "images have another shape", r"\(784,\)", r"\(1, 28, 28\)"),
        ('dtype="float32"', "images have another element type", r"float32 \(N, 1, 28, 28\) \('images'\)", "uint8"),
        ('labels="int64"', "labels have another element type", r"int64 \(N,\) \('labels'\)", "int32"),
    ],
)
def test_inputs_that_do_not_fit_the_data(
    given: str, reason: str, expected: str, actual: str, run: Command, digits: Path, tmp_path: Path
) -> None:
    path = script(
        tmp_path,
        f"""
        def misfit():
            images, labels = placeholders({given})
            x = images.astype("float32").flatten(1)
            logits = gn.nn.Linear(x.shape[1], 10)(x)
            return images, labels, gn.ops.cross_entropy(logits, labels), logits
        """,
    )

    message = refused(train(run, f"{path}:misfit", digits))

    assert re.search(rf"can't be trained on \S+: its {reason}\n  expected: {expected}", message), message
    assert re.search(rf"  actual:   {actual}\n  at:       {re.escape(str(path))}:4: ", message), message
