"""Runs a TensorFlow function in TensorFlow Lite, where XNNPACK does the work.

call = tflite(lambda x: tf.nn.conv2d(x, w, 1, "SAME"), channels_last(x), output=channels_first)

Arrays that the function uses become constants of the model; images are NHWC.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from harness import converted


def channels_last(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


def channels_first(y: np.ndarray) -> np.ndarray:
    return np.moveaxis(y, -1, 1)


def tflite(
    function: Callable[..., Any],
    *inputs: np.ndarray,
    output: Callable[[np.ndarray], np.ndarray] = lambda y: y,
    delegate: bool = True,
) -> Callable[[], Any]:
    """Prepare the function; `output` brings a result back into fastnn's layout, untimed.

    With `delegate` XNNPACK must take the whole model, else a RuntimeError says so.
    """
    import tensorflow as tf

    signature = [tf.TensorSpec(x.shape, x.dtype, f"x{i}") for i, x in enumerate(inputs)]
    concrete = tf.function(function, autograph=False).get_concrete_function(*signature)
    model = tf.lite.TFLiteConverter.from_concrete_functions([concrete], tf.Module()).convert()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the interpreter is to move to a package of its own
        threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
        interpreter = tf.lite.Interpreter(model_content=model, num_threads=threads)
    interpreter.allocate_tensors()
    # The model lists its inputs in an order of its own.
    sources = {d["name"].rpartition("_")[2]: d["index"] for d in interpreter.get_input_details()}
    targets = [d["index"] for d in interpreter.get_output_details()]
    if delegate and not is_delegated(interpreter, {*sources.values()}, {*targets}):
        raise RuntimeError("XNNPACK does not take the whole model")
    for i, x in enumerate(inputs):
        interpreter.set_tensor(sources[f"x{i}:0"], np.ascontiguousarray(x))

    def call() -> Any:
        interpreter.invoke()
        return lambda: tuple(interpreter.get_tensor(index) for index in targets)

    return converted(call, output)


def is_delegated(interpreter: Any, sources: set[int], targets: set[int]) -> bool:
    """Whether one node of the delegate leads from the model's inputs to its outputs."""
    return any(
        node["op_name"] == "DELEGATE"
        and sources <= {*node["inputs"].tolist()}
        and targets <= {*node["outputs"].tolist()}
        for node in interpreter._get_ops_details()
    )
