"""LSTM, GRU and RNN layers: inference, training, and sequences of different lengths.

XNNPACK has no recurrent layer, so TensorFlow Lite does not take part.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ncnn_models
import numpy as np
import onnx_models
from harness import Case, converted

# By row of the targets: (batch, steps, input, hidden, directions).
ROWS = {
    "batch 1": [
        (1, 10, 32, 32, 1),
        (1, 100, 128, 128, 1),
        (1, 150, 256, 256, 1),
        (1, 25, 1024, 1024, 1),
    ],
    "batch 8 to 32": [
        (16, 25, 512, 512, 1),
        (16, 150, 256, 256, 1),
        (8, 50, 1536, 1536, 1),
        (32, 50, 128, 256, 1),
    ],
    "batch 64 and more": [
        (64, 100, 256, 512, 1),
        (128, 35, 650, 650, 1),
        (64, 50, 256, 256, 2),
    ],
}
RAGGED = (32, 200, 128, 256, 1)
NAMES = [
    f"{kind}_{side}_l0{suffix}"
    for suffix in ("", "_reverse")
    for kind, side in (("weight", "ih"), ("weight", "hh"), ("bias", "ih"), ("bias", "hh"))
]
GATES = {"lstm": 4, "gru": 3, "rnn": 1}


def case(
    cell: str, row: str, shape: tuple[int, ...], *, train: bool = False, ragged: bool = False
) -> Case:
    batch, steps, inputs, hidden, directions = shape
    name = f"{cell} B{batch} T{steps} I{inputs} H{hidden}"
    name += " bidirectional" if directions == 2 else ""
    name += (" lengths" if ragged else "") + (" training step" if train else "")
    flops = 2.0 * batch * steps * GATES[cell] * hidden * (inputs + hidden) * directions
    params = {"cell": cell, "shape": shape, "train": train, "ragged": ragged}
    return Case(
        name,
        params,
        flops * (3 if train else 1),
        tolerance=1e-3,  # rounding differences of a step grow over a sequence
        quick=shape[:4] == (16, 25, 512, 512) and not train,
        bar=f"{cell} {'training step' if train else 'forward'}, {row}",
    )


CASES = [
    case(cell, row, shape, train=train)
    for train in (False, True)
    for cell in GATES
    for row, shapes in ROWS.items()
    for shape in shapes
] + [
    case(cell, "lengths", RAGGED, ragged=True, train=train)
    for train in (False, True)
    for cell in GATES
]


def operands(case: Case) -> tuple[np.ndarray, list[np.ndarray], np.ndarray | None]:
    """x (T, B, I); w_ih, w_hh, b_ih, b_hh of each direction; lengths or None."""
    batch, steps, inputs, hidden, directions = case.params["shape"]
    rows = GATES[case.params["cell"]] * hidden
    rng = np.random.default_rng(0)
    x = rng.standard_normal((steps, batch, inputs), dtype=np.float32)
    bound = 1 / np.sqrt(hidden)
    shapes = [(rows, inputs), (rows, hidden), (rows,), (rows,)] * directions
    weights = [rng.uniform(-bound, bound, s).astype(np.float32) for s in shapes]
    lengths = rng.integers(20, steps + 1, batch) if case.params["ragged"] else None
    if lengths is not None:
        lengths[0] = steps
    return x, weights, lengths


def fastnn(case: Case) -> Callable[[], Any]:
    import fastnn

    x, weights, lengths = operands(case)
    _, _, inputs, hidden, directions = case.params["shape"]
    kind = {"lstm": fastnn.nn.LSTM, "gru": fastnn.nn.GRU, "rnn": fastnn.nn.RNN}
    layer = kind[case.params["cell"]](inputs, hidden, bidirectional=directions == 2)
    layer.load_state_dict(dict(zip(NAMES, weights)))
    if not case.params["train"]:

        def forward() -> Any:
            with fastnn.no_grad():
                return layer(x, lengths=lengths)[0]

        return forward
    grad = np.ones((*x.shape[:2], hidden * directions), np.float32)

    def step() -> Any:
        layer.zero_grad()
        t = fastnn.Tensor(x, requires_grad=True)
        layer(t, lengths=lengths)[0].backward(grad)
        return t.grad, *(p.grad for p in layer.parameters())

    return step


def torch(case: Case) -> Callable[[], Any]:
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    x, weights, lengths = operands(case)
    _, _, inputs, hidden, directions = case.params["shape"]
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}
    layer = kind[case.params["cell"]](inputs, hidden, bidirectional=directions == 2)
    layer.load_state_dict({n: torch.from_numpy(w) for n, w in zip(NAMES, weights)})
    t = torch.from_numpy(x)

    def run(t: Any) -> Any:
        if lengths is None:
            return layer(t)[0]
        packed = pack_padded_sequence(t, torch.from_numpy(lengths), enforce_sorted=False)
        return pad_packed_sequence(layer(packed)[0])[0]

    if not case.params["train"]:

        def forward() -> Any:
            with torch.inference_mode():
                return run(t)

        return forward
    grad = torch.ones(*x.shape[:2], hidden * directions)

    def step() -> Any:
        layer.zero_grad()
        leaf = t.detach().requires_grad_()
        run(leaf).backward(grad)
        return leaf.grad, *(p.grad for p in layer.parameters())

    return step


def _stacked(case: Case, order: list[int]) -> tuple[np.ndarray, ...]:
    """w_ih, w_hh, b_ih, b_hh with an axis of directions in front and the gates in this order."""
    _, weights, _ = operands(case)
    arranged = [np.concatenate([np.split(a, len(order))[i] for i in order]) for a in weights]
    return tuple(np.stack(arranged[i::4]) for i in range(4))


def _model(case: Case) -> tuple[bytes, dict[str, np.ndarray]] | None:
    if case.params["train"] or case.params["ragged"]:
        return None
    cell = case.params["cell"]
    x, _, _ = operands(case)
    *_, hidden, directions = case.params["shape"]
    # ONNX's gate order: LSTM i o f g, GRU z r n.
    order = {"lstm": [0, 3, 1, 2], "gru": [1, 0, 2], "rnn": [0]}[cell]
    w, r, b_ih, b_hh = _stacked(case, order)
    constants = {"w": w, "r": r, "b": np.concatenate([b_ih, b_hh], axis=1)}
    attributes: dict[str, Any] = {"hidden_size": hidden}
    if directions == 2:
        attributes["direction"] = "bidirectional"
    if cell == "gru":
        attributes["linear_before_reset"] = 1
    if cell == "rnn" and directions == 2:
        attributes["activations"] = ["Tanh", "Tanh"]
    model = onnx_models.build(cell.upper(), {"x": x}, constants, attributes)
    return model, {"x": x}


def _features_last(y: np.ndarray) -> np.ndarray:
    """(T, directions, B, H), as ONNX has it, to (T, B, directions * H)."""
    y = y.swapaxes(1, 2)
    return y.reshape(*y.shape[:2], -1)


def onnxruntime(case: Case) -> Callable[[], Any] | None:
    model = _model(case)
    return None if model is None else converted(onnx_models.onnxruntime(*model), _features_last)


def openvino(case: Case) -> Callable[[], Any] | None:
    model = _model(case)
    return None if model is None else converted(onnx_models.openvino(*model), _features_last)


def ncnn(case: Case) -> Callable[[], Any] | None:
    if case.params["train"] or case.params["ragged"]:
        return None
    cell = case.params["cell"]
    x, _, _ = operands(case)
    *_, hidden, directions = case.params["shape"]
    # ncnn's gate order: LSTM i f o g; a GRU keeps the two biases of n apart.
    w_ih, w_hh, b_ih, b_hh = _stacked(
        case, {"lstm": [0, 1, 3, 2], "gru": [0, 1, 2], "rnn": [0]}[cell]
    )
    bias = b_ih + b_hh
    if cell == "gru":
        bias = np.concatenate(
            [bias[:, : 2 * hidden], b_ih[:, 2 * hidden :], b_hh[:, 2 * hidden :]], axis=1
        )
    weights = [ncnn_models.flagged(a) for a in (w_ih, bias, w_hh)]
    params = {0: hidden, 1: w_ih.size, 2: 2 if directions == 2 else 0}
    call = ncnn_models.ncnn(cell.upper(), params, weights, x.swapaxes(0, 1))
    return converted(call, lambda y: y.swapaxes(0, 1))
