"""Where variables are between runs, in particular those whose newest value is on a device."""

from __future__ import annotations

import numpy as np
import pytest

from graphnn.ops.store import VariableStore


class Device:
    """A stand-in for a plan on a device: newer values, and how often each was brought back."""

    def __init__(self, **values: float) -> None:
        self.values = values
        self.brought: list[str] = []

    def bring(self, name: str, array: np.ndarray) -> None:
        self.brought.append(name)
        array[...] = self.values[name]


@pytest.fixture
def store() -> VariableStore:
    store = VariableStore()
    for name in "abc":
        store.add(name, np.zeros(2, np.float32))
    return store


def test_a_value_comes_back_once_when_it_is_asked_for(store: VariableStore) -> None:
    device = Device(a=1, b=2)
    store.leave("a", device.bring)
    store.leave("b", device.bring)
    assert store.array("a").tolist() == [0, 0]
    assert store.read("a").tolist() == store.read("a").tolist() == [1, 1]
    assert device.brought == ["a"]
    assert list(store.away) == ["b"]
    store.settle()
    store.settle()
    assert device.brought == ["a", "b"]
    assert store.array("b").tolist() == [2, 2]
    assert store.read("c").tolist() == [0, 0]


def test_some_values_are_settled(store: VariableStore) -> None:
    device = Device(a=1, b=2)
    store.leave("a", device.bring)
    store.leave("b", device.bring)
    store.settle(["b", "c"])
    assert (device.brought, list(store.away)) == (["b"], ["a"])


def test_a_written_value_is_not_brought_back(store: VariableStore) -> None:
    device = Device(a=1)
    store.leave("a", device.bring)
    store.write("a", np.array([3, 4]))
    assert store.read("a").tolist() == [3, 4]
    assert device.brought == []


def test_the_last_to_leave_has_the_newest_value(store: VariableStore) -> None:
    first, last = Device(a=1), Device(a=2)
    store.leave("a", first.bring)
    store.leave("a", last.bring)
    assert store.read("a").tolist() == [2, 2]
    assert first.brought == []


def test_a_value_that_could_not_come_stays_away(store: VariableStore) -> None:
    device = Device()
    store.leave("a", device.bring)
    with pytest.raises(KeyError):
        store.read("a")
    device.values["a"] = 5
    assert store.read("a").tolist() == [5, 5]


def test_versions_grow_with_each_write_of_a_variable_or_a_plan(store: VariableStore) -> None:
    plan = store.counter(["a", "b"])
    assert store.counter(["b", "a"]) is plan
    plan.count += 1
    store.write("a", np.ones(2))
    store.write("c", np.ones(2))
    plan.count += 1
    assert [store.version(name) for name in "abc"] == [3, 2, 1]
    store.leave("a", Device(a=1).bring)
    store.read("a")
    assert store.version("a") == 3  # reading changes nothing


def test_the_version_grows_before_the_value_changes(store: VariableStore) -> None:
    with pytest.raises(ValueError, match="broadcast"):
        store.write("a", np.ones(3))
    assert store.version("a") == 1
    assert store.read("a").tolist() == [0, 0]
