"""Every op sample on the CUDA target against its plain meaning: one program for each family of ops."""

import pytest

from cuda_devices import DEVICES
from op_samples import FAMILIES
from sample_families import Family


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", FAMILIES)
def test_family(name: str, device: str) -> None:
    family = Family.build(name, device=device)
    assert family.executor.plan.target == device
    for batch in (1, 3, 11):
        assert not family.wrong_values(batch), f"batch {batch}"
