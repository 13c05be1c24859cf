"""Every op sample on the C target against its plain meaning: one compiled library for each family of ops."""

import pytest

from compiled_kernels import run_with_sanitizers_loaded, sanitizing
from graphnn.compiler.targets import devices
from graphnn.compiler.targets.c.toolchain import find_compiler, unavailable_reason
from op_samples import FAMILIES
from sample_families import Family

pytestmark = pytest.mark.skipif(find_compiler() is None, reason=f"no C compiler: {unavailable_reason()}")
# Their own builds under sanitizers find little more: composites of ops of other families, ops that run on NumPy, ops
# whose kernels have such tests of their own (test_convolution, test_indexing, test_moves, test_products, test_random,
# test_scans), and expressions that are printed in the loops of the families arithmetic and elementwise.
CHECKED_ELSEWHERE = {
    *("activation", "aggregation", "conv1d", "conv_transpose", "diagonal", "einsum", "elementwise_loss", "rearrange"),
    *("split", "state", "conv", "gather", "matmul", "random", "scan", "slicing", "sort"),
    *("comparison", "logical", "rounding", "special", "trigonometry"),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_family(name: str) -> None:
    check_family(name)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.full] if name in CHECKED_ELSEWHERE else []) for name in FAMILIES]
)
def test_family_under_sanitizers(name: str) -> None:
    compiler = find_compiler()
    assert compiler is not None
    run_with_sanitizers_loaded(
        compiler, f"import runpy; runpy.run_path({__file__!r})['check_family_with_sanitizers']({name!r})"
    )


def check_family_with_sanitizers(name: str) -> None:
    compiler = find_compiler()
    assert compiler is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "find_compiler", lambda: sanitizing(compiler))
        check_family(name)


def check_family(name: str) -> None:
    family = Family.build(name, threads=2)
    assert family.executor.plan.target == "c"
    for batch in (1, 3, 8, 11):
        assert not family.wrong_values(batch), f"batch {batch}"
