"""graphnn: a define-then-run deep-learning framework.

A graph of ops is written first, compiled into a plan whose every byte and kernel is known, and then run.

``import graphnn as gn`` reads almost nothing: each public name is fetched from its module at first use.

Examples
--------
>>> import numpy as np
>>> import graphnn as gn
>>> with gn.Graph(seed=0) as graph:
...     x = gn.placeholder("x", (None, 2), "float32")
...     total = x.sum()
>>> executor = gn.Executor([total], device="numpy", max_batch=4)
>>> (value,) = executor.run({x: np.ones((3, 2), np.float32)})
>>> float(value)
6.0
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# Kept in step with the table below by a test.
if TYPE_CHECKING:
    from graphnn import checkpoint, data, models, nn, ops, optim, trainer, viz
    from graphnn.checkpoint import load, save
    from graphnn.compiler.gradients import gradients
    from graphnn.executor import Executor
    from graphnn.ops import Dim, Graph, Node, TensorSpec, constant, dtypes, placeholder, variable
    from graphnn.ops.errors import (
        CheckpointError,
        CompileError,
        DTypeError,
        FeedError,
        GraphError,
        NumericsError,
        ShapeError,
    )
    from graphnn.trainer import Trainer

__all__ = [
    "CheckpointError",
    "CompileError",
    "DTypeError",
    "Dim",
    "Executor",
    "FeedError",
    "Graph",
    "GraphError",
    "Node",
    "NumericsError",
    "ShapeError",
    "TensorSpec",
    "Trainer",
    "__version__",
    "checkpoint",
    "constant",
    "data",
    "dtypes",
    "gradients",
    "load",
    "models",
    "nn",
    "ops",
    "optim",
    "placeholder",
    "save",
    "trainer",
    "variable",
    "viz",
]

_MODULES = {
    "checkpoint": "graphnn.checkpoint",
    "data": "graphnn.data",
    "dtypes": "graphnn.ops.dtypes",
    "models": "graphnn.models",
    "nn": "graphnn.nn",
    "ops": "graphnn.ops",
    "optim": "graphnn.optim",
    "trainer": "graphnn.trainer",
    "viz": "graphnn.viz",
}
_NAMES = {
    "CheckpointError": "graphnn.ops.errors",
    "CompileError": "graphnn.ops.errors",
    "DTypeError": "graphnn.ops.errors",
    "Dim": "graphnn.ops",
    "Executor": "graphnn.executor",
    "FeedError": "graphnn.ops.errors",
    "Graph": "graphnn.ops",
    "GraphError": "graphnn.ops.errors",
    "Node": "graphnn.ops",
    "NumericsError": "graphnn.ops.errors",
    "ShapeError": "graphnn.ops.errors",
    "TensorSpec": "graphnn.ops",
    "Trainer": "graphnn.trainer",
    "constant": "graphnn.ops",
    "gradients": "graphnn.compiler.gradients",
    "load": "graphnn.checkpoint",
    "placeholder": "graphnn.ops",
    "save": "graphnn.checkpoint",
    "variable": "graphnn.ops",
}

# In a checkout, ops/ and compiler/ stand beside this folder instead of inside it.
_checkout = Path(__file__).resolve().parent.parent
if all((_checkout / folder / "__init__.py").is_file() for folder in ("ops", "compiler")):
    __path__.append(str(_checkout))

# A type checker reads the imports above; seeing `__getattr__`, it would let every misspelt name pass.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name in _MODULES:
            value: object = import_module(_MODULES[name])
        elif name in _NAMES:
            value = getattr(import_module(_NAMES[name]), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
