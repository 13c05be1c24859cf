"""What a checkpoint holds: all variables of a graph, and a record, sealed by a digest of both."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphnn.checkpoint.tensors import DamagedError, Tensor, TensorFile, header_of, read_file
from graphnn.ops.errors import CheckpointError
from graphnn.ops.source import caller

VERSION = 1
"""Of the texts in a checkpoint; older graphnns refuse newer ones."""

_TEXT, _DIGEST = "graphnn.checkpoint", "graphnn.digest"

Record = dict[str, Any]
"""What JSON can say: dicts with texts as keys, lists, texts, numbers, truth values and None."""


@dataclass(frozen=True)
class Contents:
    """A checkpoint in memory.

    Attributes
    ----------
    tensors : mapping of str to Tensor
        All variables by name.
    state : tuple of str
        Those of them that are no weights: of optimisers, and the number of random runs.
    record : dict
        The user's, in plain data.
    step : int
        How far the training had come.
    score : float or None
        How good it was; the lowest is the best.
    seed : int
        The graph's.
    """

    tensors: Mapping[str, Tensor]
    state: tuple[str, ...]
    record: Record
    step: int
    score: float | None
    seed: int

    def encode(self) -> bytes:
        """Return the bytes of the file."""
        text = json.dumps(
            {
                "version": VERSION,
                "step": self.step,
                "score": self.score,
                "seed": self.seed,
                "state": self.state,
                "record": self.record,
            }
        )
        return TensorFile(self.tensors, {_TEXT: text, _DIGEST: _digest(text, self.tensors)}).encode()


def is_checkpoint(file: TensorFile) -> bool:
    """Whether a file says that it is one of ours."""
    return _TEXT in file.texts


def read(path: str | Path) -> Contents:
    """Return a checkpoint.

    Raises
    ------
    DamagedError
        If the file is not as it was written, or something else.
    CheckpointError
        If it can't be read, or was written by a newer graphnn.
    """
    return parse(TensorFile.decode(read_file(path), path), path)


def parse(file: TensorFile, path: str | Path) -> Contents:
    """Return the checkpoint in a file; `path` is for errors, which are those of `read`."""
    try:
        text = file.texts[_TEXT]
        fields = json.loads(text)
        version = fields.pop("version")
        if isinstance(version, int) and version > VERSION:
            raise CheckpointError(
                f"{str(path)!r} was written by a newer graphnn",
                expected=f"version {VERSION} of the format, or an older one",
                actual=f"version {version}",
                where=str(caller()),
                hint="pip install --upgrade graphnn",
            )
        if file.texts[_DIGEST] != _digest(text, file.tensors):
            raise ValueError("its digest is another one")
        return Contents(file.tensors, **fields | {"state": tuple(fields["state"])})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedError(
            f"{str(path)!r} is no whole checkpoint",
            expected="what write_checkpoint has written",
            actual=f"no text {error}" if isinstance(error, KeyError) else str(error),
            where=str(caller()),
            hint="graphnn.checkpoint.latest_checkpoint(folder) finds the newest whole one",
        ) from error


def score_of(path: Path) -> float | None:
    """Return the score that stands in a checkpoint's header, read without its tensors.

    Raises
    ------
    OSError, ValueError
        If there is none to be read.
    """
    with path.open("rb") as file:
        start = file.read(8)
        header = header_of(start + file.read(min(int.from_bytes(start, "little"), path.stat().st_size)))
    try:
        score = json.loads(header["__metadata__"][_TEXT])["score"]
        return None if score is None or math.isnan(score) else score
    except (KeyError, TypeError) as error:
        raise ValueError("it is no checkpoint") from error


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        # Its length in front of each part: no two lists of parts then make the same bytes.
        for part in (name.encode(), f"{tensor.code} {tensor.shape}".encode(), tensor.data):
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
    return digest.hexdigest()


def plain_record(record: object) -> Record:
    """Return a record as it will be read again, or raise a CheckpointError that names what is no plain data."""
    plain = _plain(record, "record")
    if not isinstance(plain, dict):
        raise _not_plain("record", record)
    return plain


def _plain(value: object, place: str) -> object:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item, f"{place}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise _not_plain(f"a key of {place}", key)
        return {key: _plain(item, f"{place}[{key!r}]") for key, item in value.items()}
    raise _not_plain(place, value)


def _not_plain(place: str, value: object) -> CheckpointError:
    return CheckpointError(
        f"{place} can't be kept in a checkpoint",
        expected="a dict with texts as keys; in it texts, numbers, truth values, None, lists and dicts",
        actual=f"{type(value).__name__} {value!r}"[:200],
        where=str(caller()),
        hint="convert it first: float(number), array.tolist(), dataclasses.asdict(row)",
    )
