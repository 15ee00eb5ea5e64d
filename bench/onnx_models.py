"""Runs one ONNX operator in ONNX Runtime or OpenVINO, with weights as constants.

model = onnx_models.build("Conv", {"x": x}, {"w": w}, {"strides": [2, 2]})
call = onnx_models.onnxruntime(model, {"x": x})  # or .openvino
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

kept: list[bytes] = []


def build(
    operator: str,
    inputs: dict[str, np.ndarray],
    constants: dict[str, np.ndarray],
    attributes: dict[str, Any],
    order: Sequence[str] | None = None,
    outputs: int = 1,
) -> bytes:
    """Serialise a model of one operator; `order` lists its operands ("" skips an optional one)."""
    from onnx import TensorProto, helper, numpy_helper

    kinds = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}
    kinds.update({"int64": TensorProto.INT64, "int32": TensorProto.INT32})
    operands = list(order) if order is not None else [*inputs, *constants]
    names = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(operator, operands, names, **attributes)
    graph = helper.make_graph(
        [node],
        "case",
        [
            helper.make_tensor_value_info(name, kinds[str(a.dtype)], a.shape)
            for name, a in inputs.items()
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names],
        [numpy_helper.from_array(a, name) for name, a in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 9
    return model.SerializeToString()


def onnxruntime(model: bytes, inputs: dict[str, np.ndarray]) -> Callable[[], Any]:
    """Prepare the model in ONNX Runtime with this process's number of threads."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    # Bound once: the call then costs what the kernel costs.
    binding = session.io_binding()
    for name, a in inputs.items():
        binding.bind_cpu_input(name, a)
    for output in session.get_outputs():
        binding.bind_output(output.name)

    def call() -> Any:
        session.run_with_iobinding(binding)
        return Outputs(binding)

    return call


class Outputs(tuple):
    """ONNX Runtime's outputs, copied only when somebody looks."""

    def __new__(cls, binding: Any) -> Outputs:
        return super().__new__(cls, ())

    def __init__(self, binding: Any) -> None:
        self.binding = binding

    def __iter__(self) -> Any:
        return iter(self.binding.copy_outputs_to_cpu())


def openvino(model: bytes, inputs: dict[str, np.ndarray]) -> Callable[[], Any]:
    """Prepare the model in OpenVINO with this process's number of threads."""
    import openvino as ov

    # The model's constants stay in the bytes they were read from.
    kept.append(model)
    core = ov.Core()
    threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    compiled = core.compile_model(
        core.read_model(model),
        "CPU",
        {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
        },
    )
    request = compiled.create_infer_request()
    tensors = [ov.Tensor(np.ascontiguousarray(a)) for a in inputs.values()]
    for i, tensor in enumerate(tensors):
        request.set_input_tensor(i, tensor)

    def call() -> Any:
        request.infer()
        return tuple(request.get_output_tensor(i).data for i in range(len(compiled.outputs)))

    return call
