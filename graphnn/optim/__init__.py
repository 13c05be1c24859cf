"""Optimisers: a loss in, assign nodes out; the update rules are nodes of the same graph."""

from graphnn.optim import schedules
from graphnn.optim.adam import Adam
from graphnn.optim.optimizer import Optimizer, Schedule
from graphnn.optim.sgd import SGD

__all__ = ["SGD", "Adam", "Optimizer", "Schedule", "schedules"]
