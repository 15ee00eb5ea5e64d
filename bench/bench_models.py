"""Whole networks, as one writes them with PyTorch: inference, and a training step with Adam.

The same lines build each network from `torch.nn` and from `fastnn.nn`, with the same weights. ONNX
Runtime and OpenVINO infer what PyTorch exports.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_models
from harness import Case, within

CLASSES = 10


def mlp(nn: Any) -> Any:
    """Three linear layers."""
    return nn.Sequential(
        nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, CLASSES)
    )


def lenet(nn: Any) -> Any:
    """LeNet-5 with rectifiers and maxima."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, CLASSES),
    )


def resnet(nn: Any, channels: int = 16) -> Any:
    """ResNet-8 for pictures of 32x32."""

    class Residual(nn.Module):
        def __init__(self, inside: int, outside: int, stride: int) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(inside, outside, 3, stride, 1, bias=False),
                nn.BatchNorm2d(outside),
                nn.ReLU(),
                nn.Conv2d(outside, outside, 3, 1, 1, bias=False),
                nn.BatchNorm2d(outside),
            )
            self.shortcut = nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
            )
            self.relu = nn.ReLU()

        def forward(self, x: Any) -> Any:
            return self.relu(self.body(x) + self.shortcut(x))

    return nn.Sequential(
        nn.Conv2d(3, channels, 3, 1, 1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        Residual(channels, channels, 1),
        Residual(channels, 2 * channels, 2),
        Residual(2 * channels, 4 * channels, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4 * channels, CLASSES),
    )


def recurrent(nn: Any, layer: str) -> Any:
    """Classes of sequences, from the last step's state."""

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent = getattr(nn, layer)(40, 128, batch_first=True)
            self.scores = nn.Linear(128, CLASSES)

        def forward(self, x: Any) -> Any:
            return self.scores(self.recurrent(x)[0][:, -1])

    return Classifier()


def lstm(nn: Any) -> Any:
    """An LSTM over frames of sound."""
    return recurrent(nn, "LSTM")


def gru(nn: Any) -> Any:
    """A GRU over frames of sound."""
    return recurrent(nn, "GRU")


def transformer(nn: Any) -> Any:
    """Two layers of a Transformer encoder, averaged over the positions."""

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers = [nn.TransformerEncoderLayer(128, 4, 512, 0.0, batch_first=True) for _ in "ab"]
            self.layers = nn.Sequential(*layers)
            self.scores = nn.Linear(128, CLASSES)

        def forward(self, x: Any) -> Any:
            return self.scores(self.layers(x).mean(1))

    return Classifier()


# Name: (how to build it, the shape of one input, its multiply-adds, the batch for training)
NETWORKS: dict[str, tuple[Callable[[Any], Any], tuple[int, ...], int, int]] = {
    "mlp": (mlp, (784,), 268_800, 64),
    "lenet": (lenet, (1, 28, 28), 416_520, 64),
    "resnet": (resnet, (3, 32, 32), 12_763_776, 32),
    "lstm": (lstm, (50, 40), 4_302_080, 32),
    "gru": (gru, (50, 40), 3_226_880, 32),
    "transformer": (transformer, (64, 128), 27_264_256, 16),
}


def _case(network: str, batch: int, train: bool) -> Case:
    return Case(
        f"{network} batch {batch}{' training step' if train else ''}",
        {"network": network, "batch": batch, "train": train},
        flops=2.0 * NETWORKS[network][2] * batch * (3 if train else 1),
        tolerance=1e-3 if train else 1e-4,
        quick=network == "lenet",
        bar="training step" if train else "inference",
    )


CASES = [_case(name, 1, False) for name in NETWORKS]
CASES += [_case(name, NETWORKS[name][3], train) for train in (False, True) for name in NETWORKS]


def _operands(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and their classes."""
    rng = np.random.default_rng(0)
    shape = (case.params["batch"], *NETWORKS[case.params["network"]][1])
    return rng.standard_normal(shape, dtype=np.float32), rng.integers(0, CLASSES, shape[0])


def _model(case: Case, nn: Any, convert: Callable[[np.ndarray], Any]) -> Any:
    """The network with weights that depend on their names' order alone."""
    model = NETWORKS[case.params["network"]][0](nn)
    rng = np.random.default_rng(1)
    state = {}
    for name, value in model.state_dict().items():
        array = np.array(value)
        if array.ndim > 1:  # the rest keeps what the layers begin with
            bound = float(np.prod(array.shape[1:])) ** -0.5
            array = rng.uniform(-bound, bound, array.shape).astype(np.float32)
        elif "bias" in name:
            array = np.zeros_like(array)
        state[name] = convert(array)
    model.load_state_dict(state)
    return model.train(case.params["train"])


def _step(case: Case, library: Any, functional: Any, convert: Callable[[np.ndarray], Any]) -> Any:
    """A call that trains: forward, loss, backward, Adam; its rate of 0 keeps the weights."""
    x, target = (convert(array) for array in _operands(case))
    model = _model(case, library.nn, convert)
    optimizer = library.optim.Adam(model.parameters(), lr=0.0)
    last = list(model.parameters())[-2]

    def step() -> Any:
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), target)
        loss.backward()
        optimizer.step()
        return loss.detach(), last.grad

    return step


def fastnn(case: Case) -> Callable[[], Any]:
    import fastnn
    import fastnn.functional as F

    if case.params["train"]:
        return _step(case, fastnn, F, np.asarray)
    model, (x, _) = fastnn.nn.fuse(_model(case, fastnn.nn, np.asarray)), _operands(case)
    return within(fastnn.no_grad, lambda: model(x))


def torch(case: Case) -> Callable[[], Any]:
    import torch

    if case.params["train"]:
        return _step(case, torch, torch.nn.functional, torch.from_numpy)
    model = _model(case, torch.nn, torch.from_numpy)
    x = torch.from_numpy(_operands(case)[0])
    return within(torch.inference_mode, lambda: model(x))


def _exported(case: Case) -> tuple[bytes, dict[str, np.ndarray]]:
    import torch

    x, _ = _operands(case)
    contents = io.BytesIO()
    model = _model(case, torch.nn, torch.from_numpy)
    torch.onnx.export(
        model, (torch.from_numpy(x),), contents, input_names=["x"], opset_version=17, dynamo=False
    )
    return contents.getvalue(), {"x": x}


def onnxruntime(case: Case) -> Callable[[], Any] | None:
    return None if case.params["train"] else onnx_models.onnxruntime(*_exported(case))


def openvino(case: Case) -> Callable[[], Any] | None:
    return None if case.params["train"] else onnx_models.openvino(*_exported(case))
