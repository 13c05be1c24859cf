"""Data to train on: data sets by name or from files, and batches prepared, and changed at random, in the background."""

from graphnn.data import transforms
from graphnn.data.batches import Batches
from graphnn.data.datasets import DATASETS, Dataset, cifar10, fashion_mnist, load_dataset, mnist
from graphnn.data.errors import DataError
from graphnn.data.idx import read_idx
from graphnn.data.torchvision import from_torchvision

__all__ = [
    "DATASETS",
    "Batches",
    "DataError",
    "Dataset",
    "cifar10",
    "fashion_mnist",
    "from_torchvision",
    "load_dataset",
    "mnist",
    "read_idx",
    "transforms",
]
