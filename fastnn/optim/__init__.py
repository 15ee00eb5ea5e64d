"""Optimizers with PyTorch's arguments, defaults and state names; Lion with its paper's.

The classes keep the options and the state. A step is one call of a kernel for all parameters of
a group, which reads and writes everything once. The schedules of the learning rate are in
:mod:`fastnn.optim.lr_scheduler`, averages of weights in :mod:`fastnn.optim.swa_utils`.
"""

from __future__ import annotations

from fastnn.nn.utils import clip_grad_norm_, clip_grad_value_
from fastnn.optim import lr_scheduler, swa_utils
from fastnn.optim.adam import Adam, AdamW
from fastnn.optim.adaptive import Adagrad, Lion, RMSprop
from fastnn.optim.optimizer import Optimizer
from fastnn.optim.sgd import SGD
from fastnn.optim.variants import Adadelta, Adamax, NAdam, RAdam

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "clip_grad_norm_",
    "clip_grad_value_",
    "lr_scheduler",
    "swa_utils",
]
