"""Files of weights, and checkpoints from which a training goes on as if it had never stopped; both in safetensors."""

from graphnn.checkpoint.fitting import Misfits
from graphnn.checkpoint.folder import best_checkpoint, latest_checkpoint
from graphnn.checkpoint.weights import load, save
from graphnn.checkpoint.writer import CheckpointWriter, read_checkpoint, write_checkpoint

__all__ = [
    "CheckpointWriter",
    "Misfits",
    "best_checkpoint",
    "latest_checkpoint",
    "load",
    "read_checkpoint",
    "save",
    "write_checkpoint",
]
