"""Constructors of layers refuse what is no size, probability, flag or dtype, and say which."""

from __future__ import annotations

import numpy as np
import pytest

from fastnn import nn

# A layer that can be made, and the arguments that give it its size.
SIZES = [
    (nn.Linear, {"in_features": 4, "out_features": 3}),
    (nn.Bilinear, {"in1_features": 4, "in2_features": 2, "out_features": 3}),
    (nn.Embedding, {"num_embeddings": 5, "embedding_dim": 3}),
    (nn.EmbeddingBag, {"num_embeddings": 5, "embedding_dim": 3}),
    (nn.Conv1d, {"in_channels": 4, "out_channels": 3, "kernel_size": 3}),
    (nn.Conv2d, {"in_channels": 4, "out_channels": 3, "kernel_size": 3}),
    (nn.ConvTranspose2d, {"in_channels": 4, "out_channels": 3, "kernel_size": 3}),
    (nn.BatchNorm2d, {"num_features": 4}),
    (nn.RNN, {"input_size": 4, "hidden_size": 3, "num_layers": 1}),
    (nn.LSTM, {"input_size": 4, "hidden_size": 3, "num_layers": 1}),
    (nn.GRU, {"input_size": 4, "hidden_size": 3, "num_layers": 1}),
    (nn.LSTMCell, {"input_size": 4, "hidden_size": 3}),
    (nn.MultiheadAttention, {"embed_dim": 4, "num_heads": 2}),
    (nn.PReLU, {"num_parameters": 2}),
    (nn.PositionalEncoding, {"d_model": 4, "max_len": 6}),
]
ARGUMENTS = [
    pytest.param(layer, sizes, name, id=f"{layer.__name__}-{name}")
    for layer, sizes in SIZES
    for name in sizes
]


@pytest.mark.parametrize(("layer", "sizes", "name"), ARGUMENTS)
@pytest.mark.parametrize("value", [None, "a", 1.5, True, np.nan, {}, 1j, np.zeros(3)])
def test_what_is_no_int_is_refused(layer, sizes, name, value):
    with pytest.raises(TypeError, match=f"{layer.__name__}: {name} must be an int"):
        layer(**{**sizes, name: value})


@pytest.mark.parametrize(("layer", "sizes", "name"), ARGUMENTS)
@pytest.mark.parametrize("value", [-1, 2**70])
def test_sizes_out_of_range_are_refused(layer, sizes, name, value):
    with pytest.raises(ValueError, match=f"{layer.__name__}: {name}"):
        layer(**{**sizes, name: value})


@pytest.mark.parametrize(("layer", "sizes"), SIZES, ids=lambda v: getattr(v, "__name__", ""))
@pytest.mark.parametrize("dtype", ["float", np.int32, np.float16, 1.5, object(), "nonsense"])
def test_dtypes_other_than_floats_are_refused(layer, sizes, dtype):
    if dtype == "float":  # NumPy's name of float64
        layer(**sizes, dtype=dtype)
        return
    with pytest.raises(TypeError, match=f"{layer.__name__}: dtype must be float32 or float64"):
        layer(**sizes, dtype=dtype)


def test_no_dtype_is_float32():
    assert nn.Linear(2, 3, dtype=None).weight.data.dtype == np.float32


@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan, np.inf])
def test_probabilities_are_in_0_to_1(value):
    with pytest.raises(ValueError, match=r"Dropout: p must be in \[0, 1\], got"):
        nn.Dropout(value)
    with pytest.raises(ValueError, match=r"GRU: dropout must be in \[0, 1\], got"):
        nn.GRU(2, 3, dropout=value)


@pytest.mark.parametrize("value", [None, "a", [1, 2], 1j])
def test_probabilities_are_numbers(value):
    with pytest.raises(TypeError, match="Dropout: p must be a number, got"):
        nn.Dropout(value)


def test_flags_are_bools():
    with pytest.raises(TypeError, match="Linear: bias must be a bool, got 'no'"):
        nn.Linear(2, 3, bias="no")
    with pytest.raises(TypeError, match="LSTM: bidirectional must be a bool, got None"):
        nn.LSTM(2, 3, bidirectional=None)


def test_sizes_whose_product_overflows():
    with pytest.raises(ValueError, match=r"Linear: there is no parameter of shape \(4611"):
        nn.Linear(4, 2**62)


def test_stacks_of_something_else():
    with pytest.raises(TypeError, match="TransformerEncoder: encoder_layer must be a Module"):
        nn.TransformerEncoder(3, 2)
    with pytest.raises(TypeError, match="num_layers must be an int, got 'two'"):
        nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2), "two")


@pytest.mark.parametrize("padding", [None, "a", 1.5, (1, 2, 3), (1, "a")])
def test_padding_layers(padding):
    with pytest.raises((TypeError, ValueError), match="ZeroPad2d: padding"):
        nn.ZeroPad2d(padding)


@pytest.mark.parametrize("layer", [nn.Conv2d, nn.ConvTranspose2d])
@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("kernel_size", 0, ValueError),
        ("stride", (1, 0), ValueError),
        ("dilation", -1, ValueError),
        ("padding", -1, ValueError),
        ("padding", ((0, -1), (0, 0)), ValueError),
        ("padding", ((1,), (2,)), TypeError),
        ("padding", ((1, 2), 3), TypeError),
        ("kernel_size", (1, 2, 3), ValueError),
    ],
)
def test_convolutions_refuse_windows_that_cannot_be(layer, name, value, error):
    with pytest.raises(error, match=f"{layer.__name__}: {name} must"):
        layer(**{"in_channels": 4, "out_channels": 4, "kernel_size": 3, name: value})


def test_transposed_convolution_refuses_negative_output_padding():
    with pytest.raises(ValueError, match="ConvTranspose2d: output_padding must be >= 0, got -1"):
        nn.ConvTranspose2d(4, 4, 3, output_padding=-1)


@pytest.mark.parametrize("value", [0, -1])
def test_separable_convolution_refuses_no_filters(value):
    with pytest.raises(ValueError, match="SeparableConv2d: depth_multiplier must be >= 1"):
        nn.SeparableConv2d(4, 4, 3, depth_multiplier=value)
