import struct
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from graphnn.cli import main
from graphnn.data import mnist

TRAIN_IMAGES, TEST_IMAGES = 330, 120


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the first few digits of MNIST: what a command trains on within a blink."""
    folder = tmp_path_factory.mktemp("digits")
    data = mnist()
    for split, images, labels, count in (
        ("train", data.train_images, data.train_labels, TRAIN_IMAGES),
        ("t10k", data.test_images, data.test_labels, TEST_IMAGES),
    ):
        header = bytes([0, 0, 8, 3]) + struct.pack(">3I", count, 28, 28)
        (folder / f"{split}-images-idx3-ubyte").write_bytes(header + images[:count].tobytes())
        header = bytes([0, 0, 8, 1]) + struct.pack(">I", count)
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(header + labels[:count].astype(np.uint8).tobytes())
    return folder


class CommandLine:
    """Runs ``graphnn`` in this process."""

    def __call__(self, *arguments: str | Path) -> Result:
        return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def run() -> CommandLine:
    return CommandLine()
