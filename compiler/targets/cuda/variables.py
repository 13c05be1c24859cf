"""Variables on a device: copied there when the host has newer values, and back when somebody asks for them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from graphnn.compiler.targets.cuda.machine import Machine, Memory
from graphnn.ops.store import VariableStore


class DeviceVariables:
    """The copies of one store's variables on one device, shared by all plans of the graph there.

    A copy is the newest value if the store says that it is away here, or if it was made of the present version.
    """

    def __init__(self, store: VariableStore, machine: Machine) -> None:
        self._store = store
        self._machine = machine
        self._memory: dict[str, Memory] = {}
        self._versions: dict[str, int] = {}
        self._bring = self._download  # one object, which the store's marks are compared with

    def address(self, name: str) -> int:
        """Return where a variable's copy lies; its memory is taken when it is first asked for."""
        if name not in self._memory:
            self._memory[name] = self._machine.allocate(max(1, self._store.array(name).nbytes))
        return self._memory[name].address

    def __contains__(self, name: str) -> bool:
        """Whether a variable has memory here."""
        return name in self._memory

    def refresh(self, names: Iterable[str]) -> None:
        """Copy what changed elsewhere to the device."""
        away = self._store.away
        for name in names:
            if away.get(name) is not self._bring and self._versions.get(name) != self._store.version(name):
                self._store.settle([name])
                self._machine.upload(self.address(name), self._store.array(name))
                self._versions[name] = self._store.version(name)

    def written(self, names: Iterable[str]) -> None:
        """Note that a run is about to write these here."""
        away = self._store.away
        for name in names:
            if away.get(name) is not self._bring:
                self._store.leave(name, self._bring)

    def _download(self, name: str, array: np.ndarray) -> None:
        self._machine.download(self._memory[name].address, array)
        self._versions[name] = self._store.version(name)


def device_variables(store: VariableStore, machine: Machine) -> DeviceVariables:
    """Return the copies of a store's variables on a device."""
    copies = store.devices.setdefault(machine.name, DeviceVariables(store, machine))
    assert isinstance(copies, DeviceVariables)
    return copies
