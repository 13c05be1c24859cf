from __future__ import annotations

import io
import sys

import pytest

from graphnn.data.progress import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("in_bytes", "amount"), [(False, "3/4"), (True, "3/4 bytes")])
def test_bar_on_a_terminal(in_bytes: bool, amount: str, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")

    with progress("train-[images]", 4, in_bytes=in_bytes) as advance:
        advance(1)
        advance(2)

    assert "train-[images]" in terminal.getvalue()
    assert amount in terminal.getvalue()


def test_nothing_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("images", 4) as advance:
        advance(4)

    assert capsys.readouterr() == ("", "")
