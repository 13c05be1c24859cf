"""Training: the loop, what it tells of its course, checkpoints from which it goes on, and files of its history."""

from graphnn.trainer.callbacks import BestCheckpoint, Callback, EarlyStopping, Log, OnBatch, Phase
from graphnn.trainer.checkpoints import Checkpoints, Place
from graphnn.trainer.feeding import Examples
from graphnn.trainer.history import EpochRow, Figure, save_history
from graphnn.trainer.learning_rates import LearningRateCurve
from graphnn.trainer.loop import Trainer

__all__ = [
    "BestCheckpoint",
    "Callback",
    "Checkpoints",
    "EarlyStopping",
    "EpochRow",
    "Examples",
    "Figure",
    "LearningRateCurve",
    "Log",
    "OnBatch",
    "Phase",
    "Place",
    "Trainer",
    "save_history",
]
