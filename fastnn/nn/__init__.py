"""Layers with the names, arguments, parameter names and shapes of ``torch.nn``."""

from __future__ import annotations

from fastnn.nn import init
from fastnn.nn.container import *
from fastnn.nn.linear import *
from fastnn.nn.module import Module, Parameter
from fastnn.nn.softmax import *
