"""Operations on arrays: names, arguments, defaults and semantics of ``torch.nn.functional``.

Each takes NumPy arrays or :class:`fastnn.Tensor` and returns an array, or a Tensor when gradients
are being recorded and an input requires them.
"""

from __future__ import annotations

from fastnn.functional.attention import *
from fastnn.functional.conv import *
from fastnn.functional.dropout import *
from fastnn.functional.elementwise import *
from fastnn.functional.embedding import *
from fastnn.functional.gemm import *
from fastnn.functional.loss import *
from fastnn.functional.multi_head_attention import *
from fastnn.functional.norm import *
from fastnn.functional.pool import *
from fastnn.functional.quantized import *
from fastnn.functional.resize import *
from fastnn.functional.rnn import *
from fastnn.functional.softmax import *
