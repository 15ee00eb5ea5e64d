"""Runs ncnn layers, one image at a time, in float32 and with weights packed beforehand.

call = ncnn_models.ncnn("Convolution", {0: 64, 1: 3, 4: 1, 5: 1, 6: w.size}, [flagged(w), b], x)

The numbers of a layer's parameters and the order of its weights are in ncnn's "operators" page.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from harness import fastest

# Vectors of an instruction set; ncnn keeps so many channels side by side.
PACKS = (16, 8, 4)


def flagged(weight: np.ndarray) -> np.ndarray:
    """A weight behind the number that says how it is stored: 0 for float32.

    Biases and the weights of norms have no such number in a model file.
    """
    return np.concatenate([np.zeros(1, np.float32), np.ravel(weight)])


def ncnn(
    layer: str, params: dict[int, int | float], weights: Sequence[np.ndarray], *inputs: np.ndarray
) -> Callable[[], Any]:
    """Prepare a layer for inputs with a batch axis, in the faster of plain and packed layout."""
    names = [f"x{i}" for i in range(len(inputs))]
    return network([described(layer, params, names)], weights, *inputs)


def described(
    layer: str, params: dict[int, int | float], inputs: Sequence[str], output: str = "y"
) -> str:
    """A line of a model file: a layer that makes one blob of others."""
    settings = (f"{k}={v}" for k, v in params.items())
    return " ".join([layer, output, str(len(inputs)), "1", *inputs, output, *settings])


def network(
    layers: Sequence[str], weights: Sequence[np.ndarray], *inputs: np.ndarray
) -> Callable[[], Any]:
    """Prepare the layers that lead from the blobs x0, x1, ... to y."""
    net = load(layers, weights, len(inputs))
    plain = [[plain_mat(x) for x in image] for image in zip(*inputs)]
    calls = [runner(net, plain)]
    packed = [[packed_mat(mat) for mat in image] for image in plain]
    if any(mat.elempack > 1 for mat in packed[0]):
        calls.append(runner(net, packed))
    return fastest(*calls)


def load(layers: Sequence[str], weights: Sequence[np.ndarray], inputs: int) -> Any:
    import ncnn

    lines = [*(f"Input x{i} 0 1 x{i}" for i in range(inputs)), *layers]
    blobs = sum(int(line.split()[3]) for line in lines)
    net = ncnn.Net()
    net.opt = options()
    if net.load_param_mem("\n".join(["7767517", f"{len(lines)} {blobs}", *lines, ""])) != 0:
        raise ValueError(f"ncnn does not accept {layers}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.bin"
        path.write_bytes(b"".join(np.ascontiguousarray(w, np.float32).tobytes() for w in weights))
        if net.load_model(str(path)) != 0:
            raise ValueError(f"ncnn does not accept the weights of {layers}")
    return net


def options() -> Any:
    """float32 throughout, every algorithm allowed, this process's number of threads."""
    import ncnn

    option = ncnn.Option()
    option.num_threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    option.use_packing_layout = True
    option.use_winograd_convolution = True
    option.use_sgemm_convolution = True
    for reduced in (
        "fp16_packed",
        "fp16_storage",
        "fp16_arithmetic",
        "bf16_packed",
        "bf16_storage",
    ):
        setattr(option, f"use_{reduced}", False)
    return option


def plain_mat(image: np.ndarray) -> Any:
    import ncnn

    image = np.ascontiguousarray(image)  # must live until it has been copied
    # A clone has the alignment that ncnn gives its own blobs.
    return ncnn.Mat(image).clone()


def packed_mat(mat: Any) -> Any:
    """The layout in which ncnn's layers hand blobs to each other."""
    import ncnn

    outermost = {1: mat.w, 2: mat.h}.get(mat.dims, mat.c)
    for pack in PACKS:
        if outermost % pack == 0 and ncnn.cpu_support_x86_avx():
            return ncnn.convert_packing(mat, pack, options())
    return mat


def runner(net: Any, images: list[list[Any]]) -> Callable[[], Any]:
    names = [f"x{i}" for i in range(len(images[0]))]

    def call() -> Any:
        results = []
        for image in images:
            extractor = net.create_extractor()
            for name, mat in zip(names, image):
                extractor.input(name, mat)
            # Type 1 leaves the result in the layout that the layer made.
            results.append(extractor.extract("y", 1)[1])
        return lambda: np.stack([to_array(mat) for mat in results])

    return call


def to_array(mat: Any) -> np.ndarray:
    import ncnn

    return np.array(ncnn.convert_packing(mat, 1, options()))
