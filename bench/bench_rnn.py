"""LSTM, GRU and RNN layers: inference, training, and sequences of different lengths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_models
from harness import Case

# (batch, steps, input, hidden)
SHAPES = [
    (1, 10, 32, 32),
    (1, 100, 128, 128),
    (1, 150, 256, 256),
    (1, 25, 1024, 1024),
    (16, 25, 512, 512),
    (16, 150, 256, 256),
    (8, 50, 1536, 1536),
    (32, 50, 128, 256),
    (64, 100, 256, 512),
    (128, 35, 650, 650),
]
GATES = {"lstm": 4, "gru": 3, "rnn": 1}


def case(cell: str, shape: tuple[int, ...], *, train: bool = False, ragged: bool = False) -> Case:
    batch, steps, inputs, hidden = shape
    name = f"{cell} B{batch} T{steps} I{inputs} H{hidden}"
    name += (" lengths" if ragged else "") + (" training step" if train else "")
    flops = 2.0 * batch * steps * GATES[cell] * hidden * (inputs + hidden)
    params = {"cell": cell, "shape": shape, "train": train, "ragged": ragged}
    quick = shape in {(16, 25, 512, 512)} and not train
    # Steps feed on each other: rounding differences of a step grow over a sequence.
    return Case(name, params, flops * (3 if train else 1), tolerance=1e-3, quick=quick)


CASES = [
    *(case(cell, shape) for cell in GATES for shape in SHAPES),
    *(case(cell, shape, train=True) for cell in GATES for shape in SHAPES),
    *(case(cell, (32, 200, 128, 256), ragged=True) for cell in GATES),
    *(case(cell, (32, 200, 128, 256), ragged=True, train=True) for cell in GATES),
]


def operands(case: Case) -> tuple[np.ndarray, list[np.ndarray], np.ndarray | None]:
    """x (T, B, I); w_ih, w_hh, b_ih, b_hh; lengths or None."""
    batch, steps, inputs, hidden = case.params["shape"]
    rows = GATES[case.params["cell"]] * hidden
    rng = np.random.default_rng(0)
    x = rng.standard_normal((steps, batch, inputs), dtype=np.float32)
    bound = 1 / np.sqrt(hidden)
    shapes = [(rows, inputs), (rows, hidden), (rows,), (rows,)]
    weights = [rng.uniform(-bound, bound, s).astype(np.float32) for s in shapes]
    lengths = rng.integers(20, steps + 1, batch) if case.params["ragged"] else None
    if lengths is not None:
        lengths[0] = steps
    return x, weights, lengths


def fastnn(case: Case) -> Callable[[], Any]:
    import fastnn

    x, weights, lengths = operands(case)
    _, _, inputs, hidden = case.params["shape"]
    kind = {"lstm": fastnn.nn.LSTM, "gru": fastnn.nn.GRU, "rnn": fastnn.nn.RNN}
    layer = kind[case.params["cell"]](inputs, hidden)
    names = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    layer.load_state_dict(dict(zip(names, weights)))
    if not case.params["train"]:

        def forward() -> Any:
            with fastnn.no_grad():
                return layer(x, lengths=lengths)[0]

        return forward
    grad = np.ones((*x.shape[:2], hidden), np.float32)

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
    _, _, inputs, hidden = case.params["shape"]
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}
    layer = kind[case.params["cell"]](inputs, hidden)
    names = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    layer.load_state_dict({n: torch.from_numpy(w) for n, w in zip(names, weights)})
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
    grad = torch.ones(*x.shape[:2], hidden)

    def step() -> Any:
        layer.zero_grad()
        leaf = t.detach().requires_grad_()
        run(leaf).backward(grad)
        return leaf.grad, *(p.grad for p in layer.parameters())

    return step


# ONNX puts an axis of directions into the output; the comparison does not mind.
def _model(case: Case) -> tuple[bytes, dict[str, np.ndarray]] | None:
    if case.params["train"] or case.params["ragged"]:
        return None
    cell = case.params["cell"]
    x, weights, _ = operands(case)
    hidden = case.params["shape"][3]
    # ONNX's gate order: LSTM i o f g, GRU z r n.
    order = {"lstm": [0, 3, 1, 2], "gru": [1, 0, 2], "rnn": [0]}[cell]
    w, r, b_ih, b_hh = (
        np.concatenate([np.split(a, len(order))[i] for i in order]) for a in weights
    )
    constants = {"w": w[None], "r": r[None], "b": np.concatenate([b_ih, b_hh])[None]}
    attributes: dict[str, Any] = {"hidden_size": hidden}
    if cell == "gru":
        attributes["linear_before_reset"] = 1
    model = onnx_models.build(cell.upper(), {"x": x}, constants, attributes)
    return model, {"x": x}


def onnxruntime(case: Case) -> Callable[[], Any] | None:
    model = _model(case)
    return None if model is None else onnx_models.onnxruntime(*model)


def openvino(case: Case) -> Callable[[], Any] | None:
    model = _model(case)
    return None if model is None else onnx_models.openvino(*model)
