"""Optimisers: a loss in, assign nodes out; the update rules are nodes of the same graph."""

from graphnn.optim import schedules
from graphnn.optim.adagrad import Adagrad
from graphnn.optim.adam import Adam, AdamW
from graphnn.optim.averages import WeightAverage
from graphnn.optim.clipping import clip_grad_norm, clip_grad_value
from graphnn.optim.hessian_free import HessianFree
from graphnn.optim.lion import Lion
from graphnn.optim.muon import Muon
from graphnn.optim.optimizer import Optimizer, Schedule
from graphnn.optim.rmsprop import RMSprop
from graphnn.optim.sgd import SGD

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "HessianFree",
    "Lion",
    "Muon",
    "Optimizer",
    "RMSprop",
    "Schedule",
    "WeightAverage",
    "clip_grad_norm",
    "clip_grad_value",
    "schedules",
]
