import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

import graphnn as gn
from graphnn.cli import recipes
from graphnn.models import MODELS
from graphnn.trainer import EpochRow
from graphnn.trainer.table import HEADER, table_line

ROOT = Path(__file__).resolve().parents[3]
ROW = re.compile(r"[ \d]{4}\d  {4,}\d\.\d{5}    \d\.\d{5}    \d\.\d{5}   \d\.\d{5}  +\d+\.\d{3}")
ESCAPE = "\x1b"
Command = Callable[..., Result]

# A shell that starts something in the background lets it ignore Ctrl-C, and so it would be here.
ENTRY = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from graphnn.cli import main; main()"


def start(*arguments: str | int | Path, **options: Any) -> subprocess.Popen[str]:
    """Start ``graphnn`` in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", "-c", ENTRY, *map(str, arguments)]
    return subprocess.Popen(
        command,
        stdout=options.pop("stdout", subprocess.PIPE),
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
        **options,
    )


def rows(output: str) -> list[str]:
    """Return the lines below the table's header; nothing else may follow."""
    lines = output.splitlines()
    return lines[lines.index(HEADER) + 1 :]


def column(output: str, name: str) -> list[float]:
    place = re.split(r"  +", HEADER).index(name)
    return [float(row.split()[place]) for row in rows(output)]


def test_columns() -> None:
    assert re.split(r"  +", HEADER) == ["Epoch", "Train Loss", "Train Err", "Test Loss", "Test Err", "Epoch Time"]


@pytest.mark.parametrize(
    ("row", "line"),
    [
        (
            EpochRow(1, 0.1234567, 0.04, 2.5, 0.123456, 0.7),
            "    1     0.12346    0.04000    2.50000   0.12346       0.700",
        ),
        (
            EpochRow(20, 999.9, 1.0, 1000.0, 0.9, 1234.5),
            "   20   999.90000    1.00000   1.00e+03   0.90000    1234.500",
        ),
        (
            EpochRow(3, float("nan"), 0.9, 1e30, 0.9, 12),
            "    3         nan    0.90000   1.00e+30   0.90000      12.000",
        ),
        (EpochRow(3, float("inf"), 0.9, 1.0, 0.9, 12), "    3         inf    0.90000    1.00000   0.90000      12.000"),
    ],
)
def test_lines_have_the_width_of_the_header(row: EpochRow, line: str) -> None:
    assert table_line(row) == line
    assert len(line) == len(HEADER)


def test_output_ends_with_the_table(run: Command, digits: Path) -> None:
    result = run("train", "pure_linear", "--epochs", 3, "--data", digits)

    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    first, settings, *_ = result.stdout.splitlines()
    assert re.fullmatch(
        r"pure_linear: 79,510 parameters; device cpu, target \w+; arena [\d,]+ bytes; [\d,]+ FLOP a step", first
    )
    assert settings == "sgd, learning rate 0.1 (one-cycle), batch 100, 3 epochs, seed 0"
    assert all(ROW.fullmatch(row) for row in rows(result.stdout)), result.stdout
    assert column(result.stdout, "Epoch") == [1, 2, 3]
    assert ESCAPE not in result.output
    losses = column(result.stdout, "Train Loss")
    assert losses[-1] < losses[0]


def test_figures_are_those_of_full_passes(run: Command, digits: Path) -> None:
    result = run("train", "pure_linear", "--epochs", 1, "--batch", 70, "--seed", 5, "--data", digits)

    data = gn.data.mnist(digits)
    with gn.Graph(seed=5) as graph:
        images = gn.placeholder("images", (None, 1, 28, 28), "uint8")
        labels = gn.placeholder("labels", (None,), "int32")
        logits = gn.models.pure_linear()(images)
        loss = gn.ops.cross_entropy(logits, labels)
        sgd = gn.optim.SGD(gn.optim.schedules.one_cycle(0.1, 5), momentum=0.9).minimize(loss)
    step = gn.Executor([], sgd, device="numpy", max_batch=70)
    whole = gn.Executor([loss, logits], device="numpy", max_batch=400)
    for x, y in gn.data.Batches(data.train_images, data.train_labels, batch_size=70, seed=5):
        step.run({images: x, labels: y})
    assert graph.get_value("sgd.step") == 5  # the last of the five batches has 50 images
    for half, x, y in (
        ("Train", data.train_images, data.train_labels),
        ("Test", data.test_images, data.test_labels),
    ):
        mean, values = whole.run({images: x, labels: y})
        assert column(result.stdout, f"{half} Loss") == [pytest.approx(float(mean), abs=2e-5)]
        assert column(result.stdout, f"{half} Err") == [pytest.approx(np.mean(values.argmax(1) != y), abs=1e-5)]


@pytest.mark.parametrize("model", MODELS)
def test_every_model(model: str, run: Command, digits: Path) -> None:
    result = run("train", model, "--epochs", 1, "--data", digits)

    assert result.exit_code == 0, result.output
    assert len(rows(result.stdout)) == 1


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine", "one-cycle"])
@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", "0.05"), ("adam", "0.003")])
def test_optimizers_and_schedules(optimizer: str, rate: str, schedule: str, run: Command, digits: Path) -> None:
    options = ("--optimizer", optimizer, "--schedule", schedule, "--lr", rate, "--device", "numpy")
    result = run("train", "pure_linear", "--epochs", 2, "--data", digits, *options)

    assert result.exit_code == 0, result.output
    assert f"{optimizer}, learning rate {rate} ({schedule})," in result.stdout
    assert column(result.stdout, "Train Loss")[1] < 2.3  # what a network without a clue has


@pytest.mark.parametrize("name", ["sgd", "adam"])
@pytest.mark.parametrize(
    ("schedule", "first", "last"),
    [("constant", 0.5, 0.5), ("step", 0.5, 0.005), ("cosine", 0.5, 0.0), ("one-cycle", 0.02, 0.0)],
)
def test_course_of_the_learning_rate(name: str, schedule: str, first: float, last: float) -> None:
    optimizer = recipes.make_optimizer(name, schedule, 0.5, steps=60)
    with gn.Graph():
        x = gn.placeholder("x", (None,))
        updates = optimizer.minimize((x * gn.variable("w", 1.0)).mean())
    executor = gn.Executor(optimizer.learning_rate, updates, device="numpy", max_batch=1)

    rates = [float(executor.run({x: np.ones(1, np.float32)})) for _ in range(60)]

    assert rates[0] == pytest.approx(first)
    assert rates[-1] == pytest.approx(last, abs=1e-3)
    assert max(rates) == pytest.approx(0.5)
    assert getattr(optimizer, "momentum", 0.9) == 0.9


def test_seed_decides(run: Command, digits: Path) -> None:
    def course(seed: int) -> list[float]:
        result = run("train", "pure_linear", "--epochs", 1, "--seed", seed, "--data", digits)
        return column(result.stdout, "Test Loss")

    assert course(1) == course(1)
    assert course(1) != course(2)


@pytest.mark.parametrize(
    ("model", "target", "expected"),
    [
        ("lenet", "numpy", 2),
        ("pure_linear", "numpy", 20),
        ("lenet", "c", 20),
        ("yours", "numpy", 2),
        ("yours", "c", 20),
    ],
)
def test_epochs_by_target(model: str, target: str, expected: int) -> None:
    assert recipes.recipe_for(model).epochs(target) == expected


def test_recipes_are_for_models() -> None:
    assert recipes.RECIPES.keys() <= MODELS.keys()


def test_fewer_epochs_on_numpy_are_said(run: Command, digits: Path) -> None:
    plain = run("train", "mnist_cnn", "--data", digits, "--device", "numpy")
    asked = run("train", "mnist_cnn", "--data", digits, "--device", "numpy", "--epochs", "1")

    recipe = recipes.recipe_for("mnist_cnn")
    number = recipe.numpy_epochs
    assert len(rows(plain.stdout)) == number < recipe.compiled_epochs
    (note,) = (line for line in plain.stdout.splitlines() if "NumPy is slow" in line)
    assert f"only {number} epochs" in note
    assert f"--epochs {recipe.compiled_epochs}" in note
    assert f"batch {recipe.batch}," in plain.stdout
    assert "NumPy is slow" not in asked.stdout


def test_activations_of_the_model_that_has_a_choice(run: Command, digits: Path) -> None:
    options = ("--data", digits, "--device", "numpy", "--epochs", "1")
    found = {name: run("train", "mnist_cnn", "--activation", name, *options) for name in ("relu", "sigmoid")}
    assert "learning rate 0.02 " in found["relu"].stdout
    assert "learning rate 0.1 " in found["sigmoid"].stdout
    losses = [rows(result.stdout)[0] for result in found.values()]
    assert losses[0] != losses[1]
    refused = run("train", "lenet", "--activation", "tanh", *options)
    assert refused.exit_code == 2
    assert "lenet has no --activation" in refused.stderr


def test_plot(run: Command, digits: Path, tmp_path: Path) -> None:
    path = tmp_path / "curves.png"

    result = run("train", "pure_linear", "--epochs", 2, "--data", digits, "--plot", path)

    assert result.exit_code == 0, result.output
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert len(rows(result.stdout)) == 2
    assert result.stderr == f"curves: {path}\n"


@pytest.mark.parametrize("name", ["missing/curves.png", "curves.txt", "."])
def test_plot_that_cannot_be_written_is_refused_at_once(name: str, run: Command, digits: Path, tmp_path: Path) -> None:
    result = run("train", "pure_linear", "--epochs", 1, "--data", digits, "--plot", tmp_path / name)

    assert result.exit_code == 1
    assert result.stdout == ""
    assert re.match(r"error: .*can't be written", result.stderr)
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())


def test_plot_without_matplotlib_is_refused_at_once(
    run: Command, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

    result = run("train", "pure_linear", "--epochs", 1, "--data", digits, "--plot", tmp_path / "curves.png")

    assert result.exit_code == 1
    assert result.stdout == ""
    assert 'try:      pip install "graphnn[plot]"' in result.stderr


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["lennet"], r"there is no model 'lennet'\. Did you mean lenet\? There are: lenet, mnist_cnn, pure_linear"),
        (["zzz"], r"there is no model 'zzz'\. There are: lenet"),
        ([], "Missing argument 'MODEL'"),
        (["lenet", "--device", "nunpy"], "there is no device 'nunpy'. Did you mean numpy"),
        (["lenet", "--batch", "0"], "'--batch'"),
        (["lenet", "--epochs", "0"], "'--epochs'"),
        (["lenet", "--lr", "0"], "'--lr'"),
        (["lenet", "--lr", "nan"], "nan is no learning rate"),
        (["lenet", "--lr", "inf"], "inf is no learning rate"),
        (["lenet", "--seed", "-1"], "'--seed'"),
        (["lenet", "--schedule", "zigzag"], "'--schedule'"),
        (["lenet", "--optimizer", "magic"], "'--optimizer'"),
        (["lenet", "--data", "missing"], "'--data'"),
    ],
)
def test_wrong_use(options: list[str], reason: str, run: Command) -> None:
    result = run("train", *options)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert re.search(reason, result.stderr), result.stderr


def test_damaged_data(run: Command, digits: Path, tmp_path: Path) -> None:
    for path in digits.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    labels = tmp_path / "t10k-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1])

    result = run("train", "pure_linear", "--data", tmp_path)

    assert result.exit_code == 1
    assert re.match(r"error: .*t10k-labels-idx1-ubyte: cut short\n  expected: ", result.stderr)


def test_process_without_terminal(digits: Path) -> None:
    with start("train", "pure_linear", "--epochs", 2, "--data", digits) as process:
        output, errors = process.communicate(timeout=300)

    assert (process.returncode, errors) == (0, "")
    assert ESCAPE not in output
    assert "\r" not in output
    assert len(rows(output)) == 2


def test_colors_forced_elsewhere_do_not_matter(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with start("train", "pure_linear", "--epochs", 1, "--data", digits) as process:
        output, _ = process.communicate(timeout=300)

    assert ESCAPE not in output
    assert len(rows(output)) == 1


def test_interrupt_keeps_the_table(digits: Path, tmp_path: Path) -> None:
    plot = tmp_path / "curves.png"
    with start("train", "pure_linear", "--epochs", 100_000, "--data", digits, "--plot", plot) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        printed = ""
        while not printed.endswith("\n") or not ROW.fullmatch(printed.splitlines()[-1]):
            line = process.stdout.readline()  # each row comes when its epoch is over
            assert line, process.stderr.read()
            printed += line
        process.send_signal(signal.SIGINT)
        printed += process.stdout.read()
        errors = process.stderr.read()
        process.wait(timeout=300)

    assert process.returncode == 130
    finished = rows(printed)
    assert all(ROW.fullmatch(row) for row in finished)
    assert [int(row.split()[0]) for row in finished] == list(range(1, len(finished) + 1))
    assert errors == f"stopped in epoch {len(finished) + 1} of 100000\ncurves: {plot}\n"
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_pipe_closed_early(digits: Path) -> None:
    with start("train", "pure_linear", "--epochs", 100_000, "--data", digits) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
        process.wait(timeout=300)

    assert process.returncode == 1
    assert errors == ""


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo terminals are POSIX's")
def test_terminal_shows_progress(digits: Path) -> None:
    import pty

    controller, terminal = pty.openpty()
    with start("train", "pure_linear", "--epochs", 2, "--data", digits, stdout=terminal) as process:
        os.close(terminal)
        chunks = []
        while True:
            try:
                chunk = os.read(controller, 65_536)
            except OSError:  # how Linux says that the other side has closed
                break
            if not chunk:
                break
            chunks.append(chunk)
        os.close(controller)
        assert process.stderr is not None
        assert process.stderr.read() == ""
        process.wait(timeout=300)

    output = b"".join(chunks).decode()
    assert process.returncode == 0
    assert "epoch 1/2, training" in output
    assert "epoch 2/2, test figures" in output
    assert ESCAPE in output
    # What is left when the bar is wiped away.
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output)
    lines = [line.rpartition("\r")[2] for line in plain.replace("\r\n", "\n").split("\n")]
    table = [line for line in lines if ROW.fullmatch(line)]
    assert [int(line.split()[0]) for line in table] == [1, 2]
