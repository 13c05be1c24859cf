"""Every op sample on the CUDA target, on the emulator, against its plain meaning: one program for each family."""

import pytest

from graphnn.compiler.targets.c.toolchain import find_compiler, unavailable_reason
from op_samples import FAMILIES
from sample_families import Family

pytestmark = pytest.mark.skipif(find_compiler() is None, reason=f"no C compiler: {unavailable_reason()}")


@pytest.mark.parametrize("name", FAMILIES)
def test_family(name: str) -> None:
    family = Family.build(name, device="cuda-emulator")
    assert family.executor.plan.target == "cuda-emulator"
    for batch in (1, 3, 11):
        assert not family.wrong_values(batch), f"batch {batch}"
