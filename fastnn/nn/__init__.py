"""Layers with the names, arguments, parameter names and shapes of ``torch.nn``."""

from __future__ import annotations

from fastnn.nn import init as init
from fastnn.nn import utils as utils
from fastnn.nn.attention import *
from fastnn.nn.container import *
from fastnn.nn.conv import *
from fastnn.nn.dropout import *
from fastnn.nn.elementwise import *
from fastnn.nn.embedding import *
from fastnn.nn.fuse import *
from fastnn.nn.lazy import *
from fastnn.nn.linear import *
from fastnn.nn.loss import *
from fastnn.nn.margin_loss import *
from fastnn.nn.module import Module as Module
from fastnn.nn.module import Parameter as Parameter
from fastnn.nn.norm import *
from fastnn.nn.pool import *
from fastnn.nn.quantized import *
from fastnn.nn.resize import *
from fastnn.nn.rnn import *
from fastnn.nn.rnn_cells import *
from fastnn.nn.softmax import *
from fastnn.nn.transformer import *
from fastnn.nn.unfold import *
