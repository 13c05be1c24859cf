"""Ctrl-C at any moment never leaves variables of which some are written and others are not."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType

import numpy as np
import pytest

import graphnn as gn
from graphnn import ops
from graphnn.compiler.plan.form import KernelCall
from graphnn.compiler.targets.c import native
from graphnn.compiler.targets.c.target import LoadedCPlan
from graphnn.compiler.targets.c.toolchain import find_compiler, unavailable_reason
from graphnn.compiler.targets.numpy import kernels  # noqa: F401 - fills KERNELS
from graphnn.compiler.targets.numpy.registry import KERNELS, Run
from graphnn.ops.elementwise import Tanh
from graphnn.ops.op import Op

INTERRUPTS = 25


class Pair:
    """Two variables, the sum of which each run leaves at 0; it passes a tanh after the first write could be done."""

    def __init__(self) -> None:
        with gn.Graph() as self.graph:
            self.a = gn.variable("a", np.zeros(10, np.float32))
            self.b = gn.variable("b", np.zeros(10, np.float32))
            first = ops.assign(self.a, self.a + 1)
            self.reader = ops.tanh(gn.placeholder("x", (4,)))
            second = ops.assign(self.b, self.b - 1 + 0 * self.reader.sum())
        self.updates = [first, second]
        self.train = gn.Executor([self.reader], self.updates, device="numpy")
        self.feed = {"x": np.zeros(4, np.float32)}

    def runs(self) -> int:
        """Return how many whole runs the variables tell of."""
        a, b = self.graph.get_value(self.a), self.graph.get_value(self.b)
        np.testing.assert_array_equal(a, -b)
        assert (a == a[0]).all()
        assert self.graph.store.version("a") == self.graph.store.version("b") == a[0]
        return int(a[0])


@pytest.fixture(autouse=True)
def pythons_own_handler() -> Iterator[None]:
    """Some launchers let their children ignore the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, "a run did not put the handler back"
    signal.signal(signal.SIGINT, before)


def let_tanh(monkeypatch: pytest.MonkeyPatch, *actions: Callable[[], object]) -> None:
    """Let the NumPy kernel of tanh do something more in the middle of a run."""
    right = KERNELS[Tanh]

    def bind(op: Op, out: np.ndarray, inputs: Sequence[np.ndarray], workspaces: Sequence[np.ndarray]) -> Run:
        compute = right.bind(op, out, inputs, workspaces)

        def run() -> None:
            compute()
            for action in actions:
                action()

        return run

    monkeypatch.setitem(KERNELS, Tanh, replace(right, bind=bind))


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def test_an_interrupt_waits_for_the_end_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    let_tanh(monkeypatch, interrupt)
    pair = Pair()
    for number in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            pair.train.run(pair.feed)
        assert pair.runs() == number


def test_the_first_of_two_interrupts_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    let_tanh(monkeypatch, interrupt, interrupt)
    pair = Pair()
    with pytest.raises(KeyboardInterrupt):
        pair.train.run(pair.feed)
    assert pair.runs() == 1


def test_a_handler_of_the_users_own_is_called_once_the_variables_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    let_tanh(monkeypatch, interrupt)
    pair = Pair()
    seen: list[int] = []

    def handler(number: int, frame: FrameType | None) -> None:
        seen.append(pair.runs())

    signal.signal(signal.SIGINT, handler)
    try:
        pair.train.run(pair.feed)
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert seen == [1]


def test_who_ignores_interrupts_goes_on_ignoring_them(monkeypatch: pytest.MonkeyPatch) -> None:
    let_tanh(monkeypatch, interrupt)
    pair = Pair()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        pair.train.run(pair.feed)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert pair.runs() == 1


def test_a_handler_that_python_can_not_put_back_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """An embedding program may have set one in C: then there is None in its place, and no way to set it again."""
    pair = Pair()
    set_handlers: list[object] = []
    monkeypatch.setattr(signal, "getsignal", lambda _: None)
    monkeypatch.setattr(signal, "signal", lambda *arguments: set_handlers.append(arguments))
    pair.train.run(pair.feed)
    monkeypatch.undo()
    assert (pair.runs(), set_handlers) == (1, [])


def test_a_run_that_writes_nothing_stops_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []
    let_tanh(monkeypatch, interrupt, lambda: done.append(1))
    pair = Pair()
    evaluate = gn.Executor(pair.reader, device="numpy")
    with pytest.raises(KeyboardInterrupt):
        evaluate.run(pair.feed)
    assert done == []
    monkeypatch.undo()
    np.testing.assert_array_equal(gn.Executor(pair.reader, device="numpy").run(pair.feed), np.zeros(4))


def test_an_error_in_the_run_puts_the_handler_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    let_tanh(monkeypatch, fail)
    pair = Pair()
    with pytest.raises(ZeroDivisionError):
        pair.train.run(pair.feed)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    written = {name for name in "ab" if pair.graph.get_value(name).any()}
    assert all(pair.graph.store.version(name) > 0 for name in written)
    assert pair.graph.store.lock.acquire(blocking=False)  # by this thread, which a lock left behind would allow as well
    pair.graph.store.lock.release()
    free: list[bool] = []
    thread = threading.Thread(target=lambda: free.append(pair.graph.store.lock.acquire(blocking=False)))
    thread.start()
    thread.join(10)
    assert free == [True]


def test_a_profile_that_is_interrupted_restores_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    let_tanh(monkeypatch, interrupt)
    pair = Pair()
    with pytest.raises(KeyboardInterrupt):
        pair.train.profile(pair.feed, repeats=2)
    np.testing.assert_array_equal(pair.graph.get_value("a"), np.zeros(10))
    np.testing.assert_array_equal(pair.graph.get_value("b"), np.zeros(10))


def test_runs_in_other_threads_touch_no_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    handlers: list[object] = []
    let_tanh(monkeypatch, lambda: handlers.append(signal.getsignal(signal.SIGINT)))
    pair = Pair()
    thread = threading.Thread(target=pair.train.run, args=(pair.feed,))
    thread.start()
    thread.join(30)
    assert handlers == [signal.default_int_handler]
    assert pair.runs() == 1


@pytest.mark.skipif(find_compiler() is None, reason=f"no C compiler: {unavailable_reason()}")
def test_a_run_that_is_one_compiled_call_needs_no_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair()
    train = gn.Executor([pair.reader], pair.updates)
    assert len(train.plan.steps) == 1
    monkeypatch.setattr(signal, "signal", lambda *_: pytest.fail("a handler was set"))
    train.run(pair.feed)
    monkeypatch.undo()
    assert pair.runs() == 1


@pytest.mark.skipif(find_compiler() is None, reason=f"no C compiler: {unavailable_reason()}")
def test_a_run_of_several_compiled_calls_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "LARGEST_SEGMENT", 2)
    pair = Pair()
    train = gn.Executor([pair.reader], pair.updates)
    assert {step.kernel.partition("_")[0] for step in train.plan.steps} == {"segment"}
    assert len(train.plan.steps) > 1
    handlers: list[object] = []
    bind_step = LoadedCPlan.bind_step

    def bind(plan: LoadedCPlan, step: KernelCall, batch: int) -> Run:
        call = bind_step(plan, step, batch)

        def run() -> None:
            handlers.append(signal.getsignal(signal.SIGINT))
            interrupt()
            call()

        return run

    monkeypatch.setattr(LoadedCPlan, "bind_step", bind)
    with pytest.raises(KeyboardInterrupt):
        train.run(pair.feed)
    assert len(handlers) == len(train.plan.steps)
    assert signal.default_int_handler not in handlers
    assert pair.runs() == 1


@pytest.mark.skipif(os.name != "posix", reason="needs signals between threads")
def test_waiting_for_another_run_can_be_interrupted() -> None:
    pair = Pair()
    holding, done = threading.Event(), threading.Event()

    def hold() -> None:
        with pair.graph.store.lock:
            holding.set()
            time.sleep(0.05)
            os.kill(os.getpid(), signal.SIGINT)
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    assert holding.wait(30)
    try:
        with pytest.raises(KeyboardInterrupt):
            pair.train.run(pair.feed)
    finally:
        done.set()
        thread.join(30)
    assert pair.runs() == 0
    pair.train.run(pair.feed)
    assert pair.runs() == 1


CHILD = """
import signal
import sys
import numpy as np
import graphnn as gn
from graphnn import ops

with gn.Graph() as graph:
    a = gn.variable("a", np.zeros(40_000, np.float32))
    b = gn.variable("b", np.zeros(40_000, np.float32))
    count = gn.variable("count", 0.0)
    updates = [ops.assign(a, a + 1), ops.assign(b, ops.tanh(a) * 0 + b - 1), ops.assign(count, count + 1)]
run = gn.Executor([a.sum()], updates, device=sys.argv[2], threads=1).run  # another would take blocked signals

print("ready", flush=True)
for _ in range(int(sys.argv[1])):
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        while True:
            run()
    except KeyboardInterrupt:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    numbers = {*graph.get_value(a).tolist(), *(-graph.get_value(b)).tolist(), int(graph.get_value(count))}
    versions = {graph.store.version(name) for name in graph.variables}
    if len(numbers) > 1 or len(versions) > 1:
        sys.exit(f"half-written: {sorted(numbers)}, versions {sorted(versions)}")
    if min(versions) < max(numbers) or (sys.argv[2] == "numpy" and versions != numbers):
        sys.exit(f"{sorted(versions)} is the version of {sorted(numbers)}")
    print("interrupted after", *numbers, flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs signals between processes")
@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_signals_from_outside_at_random_moments(device: str) -> None:
    """A process that trains in a loop is interrupted again and again, and looks at its variables each time."""
    root = Path(__file__).resolve().parents[2]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    moments = random.Random(0)
    arguments = [sys.executable, "-c", CHILD, str(INTERRUPTS), device]
    with subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, text=True) as child:
        watchdog = threading.Timer(120, child.kill)
        watchdog.start()
        assert child.stdout is not None
        try:
            for line in child.stdout:
                if line.startswith(("ready", "interrupted")):
                    time.sleep(moments.uniform(0.001, 0.01))
                    child.send_signal(signal.SIGINT)
        finally:
            watchdog.cancel()
    # The signal after the last line hits a process that blocks it, or that is gone.
    assert child.returncode == 0
