"""Runs one ONNX operator in ONNX Runtime or OpenVINO, with weights as constants.

model = onnx_models.build("Conv", {"x": x}, {"w": w}, {"strides": [2, 2]})
call = onnx_models.onnxruntime(model, {"x": x})  # or .openvino
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from harness import converted, fastest

kept: list[bytes] = []


def build(
    operator: str,
    inputs: dict[str, np.ndarray],
    constants: dict[str, np.ndarray],
    attributes: dict[str, Any],
    order: Sequence[str] | None = None,
    unused_outputs: int = 0,
    domain: str = "",
) -> bytes:
    """Serialise a model of one operator; `order` lists its operands ("" skips an optional one)."""
    from onnx import helper

    operands = list(order) if order is not None else [*inputs, *constants]
    names = ["y", *(f"unused{i}" for i in range(unused_outputs))]
    node = helper.make_node(operator, operands, names, domain=domain, **attributes)
    return serialised([node], inputs, constants)


def serialised(
    nodes: Sequence[Any], inputs: dict[str, np.ndarray], constants: dict[str, np.ndarray]
) -> bytes:
    """A model of the nodes that lead from the inputs to y."""
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        nodes,
        "case",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for name, a in inputs.items()
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(a, name) for name, a in constants.items()],
    )
    opsets = [helper.make_opsetid("", 23), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets)
    model.ir_version = 10
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
        return binding.copy_outputs_to_cpu

    return call


def openvino(model: bytes, inputs: dict[str, np.ndarray]) -> Callable[[], Any]:
    """Prepare the model in OpenVINO with this process's number of threads.

    Images are given and taken in the faster of NCHW and NHWC.
    """
    import openvino as ov
    from openvino.preprocess import PrePostProcessor

    # The model's constants stay in the bytes they were read from.
    kept.append(model)
    network = ov.Core().read_model(model)
    call = openvino_call(network, list(inputs.values()))
    ranks = [len(port.partial_shape) for port in (*network.inputs, *network.outputs)]
    if ranks != [4, 4]:
        return call
    processor = PrePostProcessor(network)
    for port in (processor.input(), processor.output()):
        port.model().set_layout(ov.Layout("NCHW"))
        port.tensor().set_layout(ov.Layout("NHWC"))
    (x,) = inputs.values()
    channels_last = openvino_call(processor.build(), [np.moveaxis(x, 1, -1)])
    return fastest(call, converted(channels_last, lambda y: np.moveaxis(y, -1, 1)))


def openvino_call(network: Any, inputs: list[np.ndarray]) -> Callable[[], Any]:
    """Compile an OpenVINO model and bind its inputs."""
    import openvino as ov

    compiled = ov.Core().compile_model(
        network,
        "CPU",
        {
            "INFERENCE_NUM_THREADS": int(os.environ.get("OMP_NUM_THREADS", "1")),
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
        },
    )
    request = compiled.create_infer_request()
    for i, a in enumerate(inputs):
        request.set_input_tensor(i, ov.Tensor(np.ascontiguousarray(a)))

    def call() -> Any:
        request.infer()
        return tuple(request.get_output_tensor(i).data for i in range(len(compiled.outputs)))

    return call
