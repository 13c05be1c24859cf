"""The images that ``graphnn train`` trains on, and what is changed in them at random."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from graphnn.cli.options import is_script
from graphnn.cli.program import Program
from graphnn.data import DATASETS, DataError, Dataset, load_dataset
from graphnn.data.transforms import Compose, Cutout, RandomCrop, RandomHorizontalFlip, Transform
from graphnn.ops import Node


def dataset_for(program: Program, source: str) -> Dataset:
    """Return a data set that fits what the model is fed; one that it can't take is not downloaded first.

    Raises
    ------
    DataError
        If it does not fit, or can't be read or fetched.
    """
    if source in DATASETS:
        _require_images(program, source, DATASETS[source].image_shape)
    dataset = load_dataset(source)
    _require_images(program, source, dataset.train_images.shape[1:])
    _require_labels(program, source, dataset.train_labels)
    _require_type(program, source, "images", program.images, dataset.train_images)
    _require_type(program, source, "labels", program.labels, dataset.train_labels)
    return dataset


def transform_for(names: Sequence[str], program: Program) -> Transform | None:
    """Return the random changes of these names for the model's images, None for no names."""
    if not names:
        return None
    height, width = (int(size) for size in program.images.shape[-2:] if isinstance(size, int))
    makers: dict[str, Callable[[], Transform]] = {
        "crop": lambda: RandomCrop((height, width), padding=height // 8),
        "flip": RandomHorizontalFlip,
        "cutout": lambda: Cutout(max(1, height // 4)),
    }
    return Compose([makers[name]() for name in names])


def _require_images(program: Program, source: str, shape: tuple[int, ...]) -> None:
    if shape == program.images.shape[1:]:
        return
    fitting = [name for name, entry in DATASETS.items() if entry.image_shape == program.images.shape[1:]]
    raise DataError(
        f"{program.model} can't be trained on {source}: its images have another shape",
        expected=f"{program.images.shape[1:]} (channels, height, width)",
        actual=str(shape),
        where=_place(program, program.images),
        hint="choose another model" + (f", or other data: --data {' or '.join(fitting)}" if fitting else ""),
    )


def _require_labels(program: Program, source: str, labels: np.ndarray) -> None:
    if program.labels.rank != labels.ndim:
        raise DataError(
            f"{program.model} can't be trained on {source}: its labels have another shape",
            expected=f"{program.labels.spec} ({program.labels.name!r})",
            actual="one number for each image",
            where=_place(program, program.labels),
            hint='gn.placeholder("labels", (None,), "int32")',
        )


def _require_type(program: Program, source: str, what: str, node: Node, array: np.ndarray) -> None:
    if node.dtype.interface != array.dtype:
        raise DataError(
            f"{program.model} can't be trained on {source}: its {what} have another element type",
            expected=f"{node.spec} ({node.name!r})",
            actual=str(array.dtype),
            where=_place(program, node),
            hint=f'make the placeholder of "{array.dtype}"'
            + ("; gn.models.Pixels() turns such pixels into numbers from 0 to 1" if what == "images" else ""),
        )


def _place(program: Program, node: Node) -> str:
    """Return where a placeholder was made, if that is in a script of the user's."""
    return str(node.source) if is_script(program.model) else ""
