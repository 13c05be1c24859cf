"""Data to train on: the MNIST digits, files in the IDX format, and batches prepared in the background."""

from graphnn.data.batches import Batches
from graphnn.data.datasets import Dataset, mnist
from graphnn.data.errors import DataError
from graphnn.data.idx import read_idx

__all__ = ["Batches", "DataError", "Dataset", "mnist", "read_idx"]
