"""`save` and `load`: the weights of a graph as a file that other frameworks read and write as well."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from graphnn.checkpoint.contents import is_checkpoint, parse
from graphnn.checkpoint.fitting import Misfits, fit, put
from graphnn.checkpoint.tensors import TensorFile, read_file, snapshot
from graphnn.files import write_whole
from graphnn.ops import dtypes
from graphnn.ops.errors import CheckpointError
from graphnn.ops.graph import Graph
from graphnn.ops.node import Node
from graphnn.ops.source import caller
from graphnn.ops.state import Source, Variable

_COUNTED = re.compile(r"(weightaverage|accumulation)(_[0-9]+)?")  # where averages and sums of gradients are kept


def save(graph: Graph, path: str | Path) -> None:
    """Write the weights of a graph to a file in the safetensors format, by their names.

    That is all variables but those of training alone: the state of optimisers, averages of weights, and the number
    of random runs. What a model computes with, such as the statistics of batch normalisation, is saved whether it is
    trainable or not. The values are those between two runs, even while another thread trains.

    Names and shapes are PyTorch's where layers are: ``model.load_state_dict(safetensors.torch.load_file(path))``
    reads the file there.

    Parameters
    ----------
    graph : Graph
        Of the ``with gn.Graph() as graph:`` block.
    path : str or Path
        Such as ``"lenet.safetensors"``. A file that stands there is replaced when the new one is whole.

    Raises
    ------
    CheckpointError
        If the file can't be written, and nothing has changed then; or if safetensors is not installed.

    Examples
    --------
    >>> import tempfile
    >>> import graphnn as gn
    >>> with gn.Graph(seed=0) as graph:
    ...     y = gn.nn.Linear(3, 2)(gn.placeholder("x", (None, 3)))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     gn.save(graph, Path(folder, "linear.safetensors"))
    ...     graph.set_value("linear.bias", [5.0, 5.0])
    ...     misfits = gn.load(graph, Path(folder, "linear.safetensors"))
    >>> bool((graph.get_value("linear.bias") < 1).all())
    True
    """
    require_graph("save", graph)
    # Hugging Face's tools ask for this text; it says that tensors are laid out as PyTorch's.
    content = TensorFile(snapshot(graph, weight_names(graph)), {"format": "pt"}).encode()
    write_whole(path, lambda file: file.write(content), CheckpointError)


def load(graph: Graph, path: str | Path, *, strict: bool = True) -> Misfits:
    """Give the weights of a graph the values that a file in the safetensors format has under their names.

    The file may be one of `save`, of PyTorch's state dict (``safetensors.torch.save_file(model.state_dict(), path)``)
    or a checkpoint, of which the weights alone are taken. Element types may differ where the variable's holds each
    number of the file's: float16 and bfloat16 become float32, but float32 does not become float16.

    Parameters
    ----------
    graph : Graph
        Whose variables to set: those that `save` saves.
    path : str or Path
        The file.
    strict : bool
        Whether everything has to fit. If not, what fits is loaded.

    Returns
    -------
    Misfits
        What did not fit; with `strict` there is nothing.

    Raises
    ------
    CheckpointError
        If the file can't be read, is damaged, or does not fit; no variable has changed then.

    Examples
    --------
    >>> import tempfile
    >>> import graphnn as gn
    >>> with gn.Graph() as small:
    ...     w = gn.variable("w", [1.0, 2.0])
    >>> with gn.Graph() as large:
    ...     w, b = gn.variable("w", [0.0, 0.0]), gn.variable("b", 0.0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     gn.save(small, Path(folder, "small.safetensors"))
    ...     misfits = gn.load(large, Path(folder, "small.safetensors"), strict=False)
    >>> misfits.missing, large.get_value("w")
    (('b',), array([1., 2.], dtype=float32))
    """
    require_graph("load", graph)
    file = TensorFile.decode(read_file(path), path)
    tensors = file.tensors
    if is_checkpoint(file):
        state = parse(file, path).state
        tensors = {name: tensor for name, tensor in tensors.items() if name not in state}
    tensors = {name: tensor for name, tensor in tensors.items() if not _is_torch_counter(name, graph)}
    values, misfits = fit(tensors, graph, weight_names(graph), exact=False)
    if strict and misfits:
        raise misfits.error(path, "strict=False loads what fits and returns the rest")
    put(graph, values)
    return misfits


def _is_torch_counter(name: str, graph: Graph) -> bool:
    """Whether a tensor is the number of batches that PyTorch's batch normalisation keeps and computes nothing from."""
    scope, _, last = name.rpartition(".")
    return last == "num_batches_tracked" and f"{scope}.running_mean" in graph and name not in graph


def weight_names(graph: Graph) -> list[str]:
    """Return the names of all variables that a model computes with, those of training alone left out."""
    return [node.name for node in graph.variables.values() if not _is_of_training(node)]


def _is_of_training(node: Node) -> bool:
    if node.name == "random_step":
        return True
    trainable = isinstance(node.op, Variable) and node.op.trainable
    return not trainable and any(_is_of_training_alone(node.graph, scope) for scope in _scopes(node.name))


def _scopes(name: str) -> Iterator[str]:
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def _is_of_training_alone(graph: Graph, scope: str) -> bool:
    """Whether a scope is an optimiser's, with its learning rate in it, or has averages or sums, and their count."""
    if _COUNTED.fullmatch(scope.rpartition(".")[2]) and f"{scope}.count" in graph:
        return True
    name = f"{scope}.learning_rate"
    if name not in graph:
        return False
    node = graph[name]
    return not isinstance(node.op, Source) and node.dtype is dtypes.float64 and node.shape == ()


def require_graph(function: str, value: object) -> None:
    """Raise a CheckpointError unless the value is a graph."""
    if not isinstance(value, Graph):
        raise CheckpointError(
            f"{function} takes a graph, not {value!r}",
            expected="the graph of a `with gn.Graph() as graph:` block",
            actual=type(value).__name__,
            where=str(caller()),
            hint="each node knows its own: node.graph",
        )
