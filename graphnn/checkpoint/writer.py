"""Writing checkpoints, one process in a folder, and reading them back."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from graphnn.checkpoint.contents import Contents, Record, plain_record, read
from graphnn.checkpoint.fitting import fit, put
from graphnn.checkpoint.folder import checkpoint_name, checkpoints_in, prune, step_of
from graphnn.checkpoint.lock import FolderLock
from graphnn.checkpoint.tensors import DamagedError, snapshot
from graphnn.checkpoint.weights import require_graph, weight_names
from graphnn.files import sync_folder, target_of_part, write_whole
from graphnn.ops.errors import CheckpointError
from graphnn.ops.graph import Graph
from graphnn.ops.source import caller


class CheckpointWriter:
    """Writes checkpoints into a folder that nobody else writes checkpoints into meanwhile.

    The folder is made if it is not there, locked from ``with`` on, and free again at the end of the block or of the
    process. Its checkpoints are files ``step-000001200.safetensors``; the last `keep` of them stay, and the one with
    the lowest score. An older one goes only when the new one is safely on the disk, so that a full disk or a killed
    process loses nothing. Reading needs no lock.

    Parameters
    ----------
    directory : str or Path
        The folder.
    keep : int
        How many checkpoints to keep besides the best one.

    Raises
    ------
    CheckpointError
        On entering, if the folder can't be written to or another writer is at work there.

    Examples
    --------
    >>> import tempfile
    >>> import graphnn as gn
    >>> with gn.Graph() as graph:
    ...     w = gn.variable("w", 1.0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with CheckpointWriter(folder, keep=2) as writer:
    ...         paths = [writer.write(graph, {}, step, score=1 / step) for step in (1, 2, 3)]
    ...     [path.name for path in paths if path.exists()]
    ['step-000000002.safetensors', 'step-000000003.safetensors']
    """

    def __init__(self, directory: str | Path, *, keep: int = 3) -> None:
        self.directory = Path(directory)
        self.keep = _at_least("keep", keep, 1)
        self._lock: FolderLock | None = None

    def __enter__(self) -> Self:
        try:
            _make_folder(self.directory)
            self._lock = FolderLock(self.directory)
            self._remove_unfinished()
        except OSError as error:
            self._release()
            raise CheckpointError(
                f"checkpoints can't be written to {str(self.directory)!r}: {error.strerror or error}",
                expected="a folder that can be written to, or the place for a new one",
                where=str(caller()),
                hint="choose another folder",
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def write(self, graph: Graph, record: Record, step: int, *, score: float | None = None) -> Path:
        """Write a checkpoint, then remove what need not be kept.

        Parameters
        ----------
        graph : Graph
            All its variables are written, with the values between two runs.
        record : dict
            What else is needed to go on: `read_checkpoint` returns it. Texts as keys; in it texts, numbers, truth
            values, None, lists and dicts of such; tuples become lists.
        step : int
            How far the training has come, such as the number of its runs: no less than in earlier checkpoints.
        score : float, optional
            How good it is, the lowest being the best: a test error, say. NaN is none.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        CheckpointError
            If it can't be written, or there is a whole checkpoint of a later step. Nothing has changed then.
        """
        require_graph("a checkpoint", graph)
        self._require_lock()
        contents = _contents(graph, record, _at_least("step", step, 0), _score(score))
        path = self.directory / checkpoint_name(contents.step)
        data = contents.encode()
        self._require_latest(contents.step)
        write_whole(path, lambda file: file.write(data), CheckpointError)
        prune(self.directory, contents.step, self.keep)
        return path

    def _require_lock(self) -> None:
        if self._lock is None:
            raise CheckpointError(
                "a CheckpointWriter writes inside its `with` block only",
                expected="a folder that is locked",
                where=str(caller()),
                hint="with CheckpointWriter(directory) as writer: …",
            )

    def _require_latest(self, step: int) -> None:
        """Refuse to write what `latest_checkpoint` would not find and the next write remove."""
        for known, path in checkpoints_in(self.directory).items():
            if known <= step:
                continue
            with suppress(DamagedError):
                read(path)
                raise CheckpointError(
                    f"{str(self.directory)!r} has a checkpoint of a later step",
                    expected=f"step {known} or more",
                    actual=f"step {step}",
                    where=str(caller()),
                    hint="go on from latest_checkpoint(directory), or choose an empty folder for another training",
                )

    def _remove_unfinished(self) -> None:
        """Remove what killed writers have left: with the lock, no other can be at it."""
        for path in self.directory.iterdir():
            target = target_of_part(path.name)
            if target is not None and step_of(target) is not None:
                with suppress(OSError):
                    path.unlink()


def write_checkpoint(
    directory: str | Path,
    graph: Graph,
    record: Record,
    step: int,
    *,
    score: float | None = None,
    keep: int = 3,
) -> Path:
    """Write one checkpoint into a folder: a `CheckpointWriter` for a single `CheckpointWriter.write`.

    A training had better hold a writer all the time, so that a second one in the same folder is refused at its start.

    Parameters
    ----------
    directory, keep
        As for `CheckpointWriter`.
    graph, record, step, score
        As for `CheckpointWriter.write`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    CheckpointError
        If it can't be written; no other checkpoint has changed then.

    Examples
    --------
    >>> import tempfile
    >>> import graphnn as gn
    >>> with gn.Graph() as graph:
    ...     w = gn.variable("w", 1.0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_checkpoint(folder, graph, {"epoch": 2}, step=1200)
    ...     graph.set_value(w, 7.0)
    ...     read_checkpoint(path, graph), graph.get_value(w)
    ({'epoch': 2}, array(1., dtype=float32))
    """
    with CheckpointWriter(directory, keep=keep) as writer:
        return writer.write(graph, record, step, score=score)


def read_checkpoint(path: str | Path, graph: Graph | None = None) -> Record:
    """Give a graph's variables the values of a checkpoint and return its record.

    The graph is built as the one that was written, optimiser included, and then goes on to the bit as that one would
    have. Names, shapes and element types have to be equal, and the seed too where numbers are drawn.

    Parameters
    ----------
    path : str or Path
        Of the file, such as from `latest_checkpoint`.
    graph : Graph, optional
        Without one, only the record is read.

    Returns
    -------
    dict
        What was given as `record`.

    Raises
    ------
    CheckpointError
        If the file can't be read, is damaged, or does not fit; no variable has changed then.

    Examples
    --------
    See `write_checkpoint`.
    """
    contents = read(path)
    if graph is not None:
        require_graph("read_checkpoint", graph)
        _require_seed(contents, graph, path)
        values, misfits = fit(contents.tensors, graph, graph.variables, exact=True)
        if misfits:
            raise misfits.error(path, "build the same model and optimiser; gn.load takes the weights alone")
        put(graph, values)
    return contents.record


def _contents(graph: Graph, record: Record, step: int, score: float | None) -> Contents:
    weights = set(weight_names(graph))
    state = tuple(name for name in graph.variables if name not in weights)
    return Contents(snapshot(graph, graph.variables), state, plain_record(record), step, score, graph.seed)


def _require_seed(contents: Contents, graph: Graph, path: str | Path) -> None:
    if contents.seed != graph.seed and "random_step" in graph.variables:
        raise CheckpointError(
            f"{str(path)!r} is of a graph that draws other random numbers",
            expected=f"seed {contents.seed}",
            actual=f"seed {graph.seed}",
            where=str(caller()),
            hint=f"build the graph in `with gn.Graph(seed={contents.seed})`",
        )


def _make_folder(folder: Path) -> None:
    """Make a folder, and those above it, so that they outlive a power failure."""
    new = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in new:
        sync_folder(made.parent)


def _at_least(name: str, number: Any, least: int) -> int:
    if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < least:
        raise CheckpointError(
            f"{name} is {number!r}",
            expected=f"an integer of {least} or more",
            actual=type(number).__name__,
            where=str(caller()),
            hint=f"pass {name}={least + 2}, for instance",
        )
    return int(number)


def _score(score: Any) -> float | None:
    if score is None:
        return None
    if isinstance(score, bool) or not isinstance(score, int | float | np.number):
        raise CheckpointError(
            f"score is {score!r}",
            expected="a number, the lower the better",
            actual=type(score).__name__,
            where=str(caller()),
            hint="pass score=test_error, for instance",
        )
    return None if math.isnan(score) else float(score)
