import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from graphnn.compiler.targets.c import processes
from graphnn.compiler.targets.c.processes import ProcessError, run, usable_cores
from module_names import ROOT


def shell(script: str) -> list[str]:
    return ["sh", "-c", script]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        # A process that has ended, but that nobody has waited for, still has its number.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return not Path("/proc/self").exists()  # macOS has no such files, and its first process waits for all


def assert_ends(pid: int) -> None:
    deadline = time.monotonic() + 5
    while is_alive(pid):
        assert time.monotonic() < deadline, f"process {pid} was left behind"
        time.sleep(0.01)


def test_outputs_come_in_the_order_of_the_commands(tmp_path: Path) -> None:
    assert run([shell("sleep 0.05; echo a"), shell("echo b >&2"), shell("pwd")], tmp_path, 10) == [
        "a\n",
        "b\n",
        f"{tmp_path.resolve()}\n",
    ]


def test_input_is_closed_and_messages_are_english(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("GRAPHNN_TEST", "kept")

    assert run([shell("cat; echo $LC_ALL $GRAPHNN_TEST")], tmp_path, 10) == ["C kept\n"]


def test_bytes_that_are_no_text_are_replaced(tmp_path: Path) -> None:
    assert run([shell(r"printf 'a\377b'")], tmp_path, 10) == ["a\N{REPLACEMENT CHARACTER}b"]


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (shell("echo said; exit 3"), "ended with status 3"),
        (shell("echo said; kill -SEGV $$"), "was ended by SIGSEGV"),
    ],
)
def test_failure(command: list[str], reason: str, tmp_path: Path) -> None:
    with pytest.raises(ProcessError) as caught:
        run([shell("true"), command], tmp_path, 10)

    assert (caught.value.number, caught.value.reason, caught.value.output) == (1, reason, "said\n")
    assert not caught.value.timed_out


def test_program_that_is_not_there_or_is_no_program(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("text")

    with pytest.raises(ProcessError, match="can't be started: No such file"):
        run([[str(tmp_path / "absent")]], tmp_path, 10)
    with pytest.raises(ProcessError, match="can't be started: Permission denied"):
        run([[str(tmp_path / "text")]], tmp_path, 10)


def test_timeout_stops_the_whole_family(tmp_path: Path) -> None:
    # A driver that waits for its child, as gcc waits for cc1.
    with pytest.raises(ProcessError, match=r"had not finished after 0\.3 s and was stopped") as caught:
        run([shell("sleep 60 & echo $!; wait")], tmp_path, 0.3)

    assert caught.value.timed_out
    assert_ends(int(caught.value.output))


def test_first_failure_stops_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "usable_cores", lambda: 2)
    begun = time.monotonic()

    with pytest.raises(ProcessError) as caught:
        run(
            [
                shell("echo $$ > pid; exec sleep 60"),
                shell("while ! [ -s pid ]; do sleep 0.01; done; exit 1"),
                shell("touch late; exec sleep 60"),
            ],
            tmp_path,
            30,
        )

    assert caught.value.number == 1
    assert time.monotonic() - begun < 10
    assert_ends(int((tmp_path / "pid").read_text()))


def test_no_more_at_once_than_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "usable_cores", lambda: 2)
    busy = shell("mkdir a 2>/dev/null && d=a || { mkdir b && d=b; } || exit 1; sleep 0.05; rmdir $d")

    assert run([busy] * 6, tmp_path, 10) == [""] * 6


def test_commands_run_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "usable_cores", lambda: 2)

    # Each waits for the other, so one after the other they would never end.
    meet = "touch {0}; while ! [ -e {1} ]; do sleep 0.01; done"
    run([shell(meet.format("a", "b")), shell(meet.format("b", "a"))], tmp_path, 10)


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_interrupt_leaves_no_process(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from graphnn.compiler.targets.c.processes import run
run([["sh", "-c", "echo $$ > part; mv part pid; exec sleep 60"]], Path(sys.argv[1]), 60)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 20
    while not (tmp_path / "pid").exists():
        assert time.monotonic() < deadline, "the command did not start"
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)

    assert "KeyboardInterrupt" in said
    assert_ends(int((tmp_path / "pid").read_text()))


def test_usable_cores() -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
