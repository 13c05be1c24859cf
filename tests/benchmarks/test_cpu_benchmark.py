from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import graphnn as gn
from benchmarks.competitors import OURS, PEERS, Competitor
from benchmarks.networks import NETWORKS, channels_last, initial_weights
from benchmarks.process import CompetitorError, CompetitorProcess
from benchmarks.report import best_peer, report
from benchmarks.result import Result, compare_losses
from markdown_tables import table_rows
from python_process import run_python


def result(name: str, losses: list[float], milliseconds: float) -> Result:
    competitor = OURS if name == "graphnn" else PEERS[name]
    return Result(competitor, name, [1.0], 2.0, 1.0, losses, step_seconds=[milliseconds / 1e3] * 3)


def test_command_line(report_of: Callable[..., str]) -> None:
    arguments = ["--networks", "pure_linear", "--peers", "--rounds", "1", "--threads", "1"]

    text = report_of("benchmarks.cpu", *arguments)

    (summary,) = table_rows(text, "network")
    (row,) = table_rows(text, "competitor")
    assert summary["network"] == "pure_linear, batch 100, SGD with momentum 0.9"
    assert row["competitor"] == "graphnn"
    assert float(row["median ms"]) == float(row["minimum ms"]) == float(summary["graphnn ms"]) > 0
    assert float(row["first step cold s"]) > 0
    assert float(row["peak MB"]) > 10
    assert "threads of each competitor: 1" in text


def test_unknown_network() -> None:
    done = run_python("-m", "benchmarks.cpu", "--networks", "alexnet")

    assert done.returncode == 2
    assert "alexnet" in done.stderr


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("pure_linear", gn.models.pure_linear),
        ("mnist_cnn", gn.models.mnist_cnn),
        ("lenet", gn.models.lenet),
        ("lenet_adam", gn.models.lenet),
        ("simple_conv", gn.models.simple_conv),
    ],
)
def test_networks_are_those_of_models(name: str, build: Callable[[], gn.nn.Sequential]) -> None:
    with gn.Graph() as graph:
        build()(gn.placeholder("images", (None, 1, 28, 28)))

    shapes = {name: value.shape for name, value in initial_weights(NETWORKS[name]).items()}

    assert shapes == {name: node.shape for name, node in graph.variables.items()}


def test_process_that_dies_leaves_its_last_words(tmp_path: Path) -> None:
    nobody = Competitor("nobody", "Nobody", "sys", "no_such_module", "", caches=False)

    with (
        CompetitorProcess(nobody, "pure_linear", 1, tmp_path / "batches.npz", tmp_path) as process,
        pytest.raises(CompetitorError, match=r"No module named .*no_such_module"),
    ):
        process.ask("build")


def test_channels_last_reorders_what_follows_flatten() -> None:
    network = NETWORKS["odd_channels"]
    weights = initial_weights(network)

    last = channels_last(network, weights)

    images = np.random.default_rng(1).standard_normal((2, 19, 7, 7))
    expected = images.reshape(2, -1) @ weights["fc1.weight"].T
    np.testing.assert_allclose(images.transpose(0, 2, 3, 1).reshape(2, -1) @ last["fc1.weight"], expected, rtol=1e-5)
    assert last["conv2.weight"].shape == (5, 5, 7, 19)
    np.testing.assert_array_equal(last["fc2.weight"], weights["fc2.weight"].T)


def test_losses_that_differ_fail() -> None:
    network = NETWORKS["pure_linear"]
    results = [
        result("graphnn", [2.0, 1.0], 1.0),
        result("pytorch", [2.0, 1.1], 0.5),
        result("jax", [2.0, 1.0 + 1e-7], 3.0),
        result("tensorflow-session", [2.0, math.nan], 0.1),
    ]

    compare_losses(results, 1e-5)

    assert [one.agrees for one in results] == [True, False, True, False]
    fastest = best_peer(results)
    assert fastest is not None
    assert fastest.competitor.name == "jax"
    text = report([network], {network.name: results}, [PEERS["jax-channels-last"]], threads=2)
    assert "JAX, jit, channels last: not installed" in text
    (summary,) = table_rows(text, "network")
    assert (summary["best peer"], summary["times faster"]) == ("JAX, jit", "3.00")
    assert [row["losses"].startswith("**failed") for row in table_rows(text, "competitor")] == [
        False,
        True,
        False,
        True,
    ]


def test_losses_without_majority_fail() -> None:
    results = [result("graphnn", [2.0, 1.0], 1.0), result("jax", [2.0, 1.5], 3.0)]

    compare_losses(results, 1e-5)

    assert not any(one.agrees for one in results)


def test_competitor_that_failed_is_reported() -> None:
    network = NETWORKS["pure_linear"]
    ours = result("graphnn", [2.0], 1.0)
    compare_losses([ours], 1e-5)
    broken = Result(PEERS["pytorch-compile"], failure="no compiler | found")

    text = report([network], {network.name: [ours, broken]}, [], threads=2)

    assert "- PyTorch, torch.compile failed: no compiler | found" in text
    assert table_rows(text, "competitor")[1]["median ms"] == "failed"
