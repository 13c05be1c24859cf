from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from local_server import Server, serving
from thread_checks import threads_named, within


@pytest.fixture
def no_thread_is_left() -> Iterator[None]:
    yield
    gc.collect()
    assert within(5, lambda: not threads_named("graphnn-batches"))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")  # a proxy would look for 127.0.0.1 on its own machine
    with serving() as served:
        yield served
