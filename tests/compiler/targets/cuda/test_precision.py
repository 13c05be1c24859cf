"""What products may be computed in."""

import numpy as np
import pytest

import graphnn as gn
from graphnn.compiler.targets.c.toolchain import find_compiler, unavailable_reason
from graphnn.ops.errors import CompileError

X = np.random.default_rng(0).standard_normal((16, 64)).astype(np.float32)


def product(device: str, precision: str) -> np.ndarray:
    with gn.Graph() as graph:
        x = gn.placeholder("x", (None, 64))
        weight = gn.variable("weight", np.random.default_rng(1).standard_normal((64, 24)).astype(np.float32))
        executor = gn.Executor(x @ weight, max_batch=16, device=device, precision=precision)  # type: ignore[arg-type]
    return np.asarray(executor.run({x: X}) - X @ graph.get_value(weight))


@pytest.mark.skipif(find_compiler() is None, reason=f"no C compiler: {unavailable_reason()}")
def test_tf32_rounds_factors_on_the_emulator() -> None:
    assert np.abs(product("cuda-emulator", "float32")).max() < 1e-4
    assert 1e-4 < np.abs(product("cuda-emulator", "tf32")).max() < 0.1


@pytest.mark.parametrize("device", ["cpu", "numpy"])
def test_elsewhere_products_are_exact(device: str) -> None:
    assert np.abs(product(device, "tf32")).max() < 1e-4


def test_unknown_precision() -> None:
    with pytest.raises(CompileError, match="no precision 'half'") as caught:
        product("numpy", "half")
    assert "'float32' or 'tf32'" in str(caught.value)
    assert "test_precision.py" in str(caught.value)
