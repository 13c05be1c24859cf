import sys
from pathlib import Path

import pytest

import graphnn as gn
from graphnn.trainer import EpochRow
from graphnn.viz.curves import require_plot

HISTORY = [
    EpochRow(1, train_loss=0.5, train_error=0.2, test_loss=0.6, test_error=0.25, seconds=1.0),
    EpochRow(2, train_loss=0.3, train_error=0.1, test_loss=0.4, test_error=0.15, seconds=1.0),
]
SIGNATURES = {".png": b"\x89PNG\r\n\x1a\n", ".pdf": b"%PDF-", ".svg": b"<?xml", ".PNG": b"\x89PNG\r\n\x1a\n"}


@pytest.mark.parametrize(("suffix", "signature"), SIGNATURES.items())
@pytest.mark.parametrize("epochs", [1, 2])
def test_writes_a_picture(suffix: str, signature: bytes, epochs: int, tmp_path: Path) -> None:
    path = tmp_path / f"curves{suffix}"

    gn.viz.plot_history(HISTORY[:epochs], path)

    assert path.read_bytes().startswith(signature)
    assert list(tmp_path.iterdir()) == [path]


def test_shows_both_measures(tmp_path: Path) -> None:
    path = tmp_path / "curves.svg"

    gn.viz.plot_history(HISTORY, path)

    text = path.read_text(encoding="utf-8")
    for word in ("loss", "error", "epoch", "train", "test"):
        assert f"<!-- {word} -->" in text


def test_nan_is_drawn_as_a_gap(tmp_path: Path) -> None:
    diverged = EpochRow(2, float("nan"), 0.9, float("inf"), 0.9, 1.0)

    gn.viz.plot_history([HISTORY[0], diverged], tmp_path / "curves.png")

    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_refuses_no_epochs(tmp_path: Path) -> None:
    with pytest.raises(gn.GraphError, match="no epoch to draw"):
        gn.viz.plot_history([], tmp_path / "curves.png")


def test_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

    for action in (lambda path: gn.viz.plot_history(HISTORY, path), require_plot):
        with pytest.raises(
            gn.GraphError, match=r'matplotlib, which can\'t be imported(.|\n)*install "graphnn\[plot\]"'
        ):
            action(tmp_path / "curves.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["curves.jpeg", "curves"])
def test_other_suffixes_are_refused(name: str, tmp_path: Path) -> None:
    for action in (lambda path: gn.viz.plot_history(HISTORY, path), require_plot):
        with pytest.raises(gn.GraphError, match=r"expected: \.png or \.svg or \.pdf"):
            action(tmp_path / name)


def test_require_plot_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "old.png").write_text("old")

    require_plot(tmp_path / "new.png")
    require_plot(tmp_path / "old.png")

    assert list(tmp_path.iterdir()) == [tmp_path / "old.png"]
    assert (tmp_path / "old.png").read_text() == "old"


def test_require_plot_needs_a_folder(tmp_path: Path) -> None:
    with pytest.raises(gn.GraphError, match=r"can't be written: No such file or directory"):
        require_plot(tmp_path / "missing" / "curves.png")
