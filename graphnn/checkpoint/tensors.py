"""Tensors with names as a file in the safetensors format (https://github.com/huggingface/safetensors)."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np

from graphnn.ops import dtypes
from graphnn.ops.dtypes import DType
from graphnn.ops.errors import CheckpointError
from graphnn.ops.graph import Graph
from graphnn.ops.source import caller

_CODES = MappingProxyType(
    {
        dtypes.bool: "BOOL",
        dtypes.uint8: "U8",
        dtypes.int32: "I32",
        dtypes.int64: "I64",
        dtypes.float16: "F16",
        dtypes.bfloat16: "BF16",
        dtypes.float32: "F32",
        dtypes.float64: "F64",
    }
)
"""How the format spells our element types."""

_DTYPES = MappingProxyType({code: dtype for dtype, code in _CODES.items()})

_NUMPY_TYPES = MappingProxyType(
    {
        **{code: dtype.storage.newbyteorder("<") for dtype, code in _CODES.items()},
        "I8": np.dtype("i1"),
        "I16": np.dtype("<i2"),
        "U16": np.dtype("<u2"),
        "U32": np.dtype("<u4"),
        "U64": np.dtype("<u8"),
    }
)
"""The types whose numbers can be read, some of which are none of ours."""


class DamagedError(CheckpointError):
    """A file that is not what was once written."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor as it lies in a file: its element type in the format's spelling, and its bytes in row-major order."""

    code: str
    shape: tuple[int, ...]
    data: bytes | bytearray

    @classmethod
    def of(cls, stored: np.ndarray, dtype: DType) -> Tensor:
        """Copy an array in storage form."""
        little_endian = stored.astype(dtype.storage.newbyteorder("<"), copy=False)
        return cls(_CODES[dtype], stored.shape, little_endian.tobytes())

    def __str__(self) -> str:
        dtype = _DTYPES.get(self.code)
        return f"{self.code if dtype is None else dtype} {self.shape}"

    def is_of(self, dtype: DType) -> bool:
        """Whether this is the tensor's element type."""
        return self.code == _CODES[dtype]

    def stored_as(self, dtype: DType) -> np.ndarray | None:
        """Return the values in the storage form of an element type, or None if it can't hold each of their type."""
        if self.code not in _NUMPY_TYPES:
            return None
        values = np.frombuffer(self.data, _NUMPY_TYPES[self.code]).reshape(self.shape)
        if self.is_of(dtype):
            # A file may hold any byte where a truth value is meant; NumPy relies on 0 and 1.
            return values.view(np.uint8) != 0 if dtype is dtypes.bool else values
        if dtype is dtypes.bfloat16:
            return None
        if self.code == "BF16":
            values = dtypes.bfloat16_to_float32(values)
        return values.astype(dtype.storage) if _holds(dtype.storage, values.dtype) else None


def _holds(wide: np.dtype, narrow: np.dtype) -> bool:
    """Whether a type has each number of another one; NumPy thinks so of float64 and 64-bit integers."""
    return np.can_cast(narrow, wide, "safe") and not (wide.kind == "f" and narrow.kind in "iu" and narrow.itemsize == 8)


@dataclass(frozen=True)
class TensorFile:
    """What a file holds: tensors, and texts, both by name."""

    tensors: Mapping[str, Tensor]
    texts: Mapping[str, str]

    def encode(self) -> bytes:
        """Return the bytes of the file.

        Raises
        ------
        CheckpointError
            If safetensors is not installed, or the format does not allow a name.
        """
        library = _safetensors()
        for name in self.tensors:
            _require_writable_name(name)
        # The library reads each tensor from its address; `buffers` keeps them alive meanwhile.
        buffers = {name: np.frombuffer(tensor.data, np.uint8) for name, tensor in self.tensors.items()}
        specs = {
            name: library.TensorSpec(
                dtype=str(_DTYPES[tensor.code]),
                shape=tensor.shape,
                data_ptr=buffers[name].ctypes.data,
                data_len=buffers[name].nbytes,
            )
            for name, tensor in self.tensors.items()
        }
        return bytes(library.serialize(specs, dict(self.texts)))

    @classmethod
    def decode(cls, data: bytes, path: str | Path) -> TensorFile:
        """Read the bytes of a file; `path` is for errors.

        Raises
        ------
        DamagedError
            If they are not in the format.
        """
        library = _safetensors()
        try:
            found = dict(library.deserialize(data))  # in any order
            header = header_of(data)
        except (library.SafetensorError, ValueError, OverflowError) as error:
            raise DamagedError(
                f"{str(path)!r} is no whole safetensors file: {error}",
                expected="what gn.save, a checkpoint or safetensors' own save_file has written",
                actual=f"{len(data)} bytes" + _kind_of(data),
                where=str(caller()),
                hint=_way_out(data),
            ) from error
        texts = header.pop("__metadata__", None) or {}
        items = ((name, found[name]) for name in header)
        return cls({name: Tensor(item["dtype"], tuple(item["shape"]), item["data"]) for name, item in items}, texts)


def snapshot(graph: Graph, names: Iterable[str]) -> dict[str, Tensor]:
    """Return copies of variables, all from between the same two runs."""
    variables = graph.variables
    with graph.store.lock:
        graph.store.settle()
        return {name: Tensor.of(graph.store.array(name), variables[name].dtype) for name in names}


def header_of(data: bytes) -> dict[str, Any]:
    """Return the header of a file, from its own first bytes on: what each tensor is, and texts as "__metadata__".

    Raises
    ------
    ValueError
        If there is none.
    """
    length = int.from_bytes(data[:8], "little")
    if not 0 < length <= len(data) - 8:
        raise ValueError("the header is not complete")
    header = json.loads(data[8 : 8 + length])
    if not isinstance(header, dict):
        raise ValueError("the header is no object")
    return header


def read_file(path: str | Path) -> bytes:
    """Return the bytes of a file.

    Raises
    ------
    CheckpointError
        If it can't be read; DamagedError if it is empty or the disk fails.
    """
    try:
        mode = Path(path).stat().st_mode
        data = Path(path).read_bytes() if stat.S_ISREG(mode) else None  # reading a pipe would wait for ever
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _unreadable(path, "there is no such file", "check its name and the folder") from error
    except PermissionError as error:
        raise _unreadable(path, "you have no right to", "let its owner run chmod +r on it") from error
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise _unreadable(path, str(error), "take another copy of the file", DamagedError) from error
    if data is None:
        kind = "a folder" if stat.S_ISDIR(mode) else "no plain file"
        hint = "name a file; graphnn.checkpoint.latest_checkpoint(folder) finds the newest checkpoint of a folder"
        raise _unreadable(path, f"it is {kind}", hint)
    if not data:
        raise _unreadable(path, "it is empty", "take another copy of the file, or write it anew", DamagedError)
    return data


def _unreadable(
    path: str | Path, why: str, hint: str, kind: type[CheckpointError] = CheckpointError
) -> CheckpointError:
    return kind(f"{str(path)!r} can't be read: {why}", expected="a safetensors file", where=str(caller()), hint=hint)


def _kind_of(data: bytes) -> str:
    if data.startswith((b"PK\x03\x04", b"\x80")):
        return " that look like torch.save's"
    return " that look like HDF5" if data.startswith(b"\x89HDF") else ""


def _way_out(data: bytes) -> str:
    if data.startswith((b"PK\x03\x04", b"\x80")):
        return "convert it where PyTorch is: safetensors.torch.save_file(torch.load(path), new_path)"
    return "take another copy of the file, or write it anew"


def _require_writable_name(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        pass
    else:
        if name != "__metadata__":
            return
    raise CheckpointError(
        f"variable {name!r} can't be saved: safetensors does not allow its name",
        expected="a name in Unicode other than '__metadata__'",
        actual=repr(name),
        where=str(caller()),
        hint="give the variable another name",
    )


def _safetensors() -> ModuleType:
    try:
        import safetensors
    except ImportError as error:
        raise CheckpointError(
            f"weights and checkpoints are safetensors files, and safetensors can't be imported: {error}",
            expected="safetensors, which the extra 'checkpoint' installs",
            where=str(caller()),
            hint='pip install "graphnn[checkpoint]"',
        ) from error
    return safetensors
