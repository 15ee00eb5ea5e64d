"""MultiheadAttention, the Transformer's layers, encodings of position, KVCache."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_close, gradcheck
from reference import transformer as reference

import fastnn
import fastnn.functional as F
from fastnn import nn


def state(module):
    return {name: a.astype(np.float64) for name, a in module.state_dict().items()}


def randomise(module, rng):
    """Biases and norms start at 0 and 1, which would hide mistakes."""
    for parameter in module.parameters():
        parameter.data[...] = rng.uniform(-0.5, 0.5, parameter.data.shape)
    return module


def draw(rng, *shape, dtype=np.float64):
    return rng.standard_normal(shape).astype(dtype)


# MultiheadAttention


def test_self_attention(dtype, rng):
    layer = randomise(nn.MultiheadAttention(12, 3, batch_first=True, dtype=dtype), rng)
    x = draw(rng, 2, 5, 12, dtype=dtype)
    out, weights = layer(x, x, x)
    expected, per_head = reference.multihead_attention(x, x, x, state(layer), 3)
    assert_close(out, expected, 40)
    assert_close(weights, per_head.mean(1), 40)
    _, weights = layer(x, x, x, average_attn_weights=False)
    assert_close(weights, per_head, 40)
    alone, nothing = layer(x, x, x, need_weights=False)
    assert nothing is None
    assert_close(alone, expected, 40)


@pytest.mark.parametrize("same", ["key is value", "all differ"])
def test_cross_attention(rng, same):
    layer = randomise(nn.MultiheadAttention(12, 3, batch_first=True, dtype=np.float64), rng)
    query, key = draw(rng, 2, 5, 12), draw(rng, 2, 7, 12)
    value = key if same == "key is value" else draw(rng, 2, 7, 12)
    expected = reference.multihead_attention(query, key, value, state(layer), 3)[0]
    assert_close(layer(query, key, value)[0], expected, 40)


def test_sequence_first_and_unbatched(rng):
    layer = randomise(nn.MultiheadAttention(12, 3, dtype=np.float64), rng)
    first = nn.MultiheadAttention(12, 3, batch_first=True, dtype=np.float64)
    first.load_state_dict(layer.state_dict())
    q, k = draw(rng, 2, 5, 12), draw(rng, 2, 7, 12)
    expected, weights = first(q, k, k)
    out, w = layer(q.swapaxes(0, 1), k.swapaxes(0, 1), k.swapaxes(0, 1))
    np.testing.assert_allclose(out.swapaxes(0, 1), expected, rtol=1e-12)
    np.testing.assert_allclose(w, weights, rtol=1e-12)
    for one in (layer, first):
        out, w = one(q[1], k[1], k[1])
        np.testing.assert_allclose(out, expected[1], rtol=1e-12)
        np.testing.assert_allclose(w, weights[1], rtol=1e-12)


def test_masks_say_what_is_not_seen(rng):
    layer = randomise(nn.MultiheadAttention(12, 3, batch_first=True, dtype=np.float64), rng)
    x = draw(rng, 2, 5, 12)
    padding = np.array([[False, False, False, True, True], [False] * 5])
    blocked = np.triu(np.ones((5, 5), bool), 1)
    p = state(layer)

    def check(allowed, **options):
        expected = reference.multihead_attention(x, x, x, p, 3, allowed)[0]
        assert_close(layer(x, x, x, **options)[0], expected, 40)

    unpadded = ~padding[:, None, None]
    bias = np.where(blocked, -np.inf, 0.0)
    check(np.broadcast_to(unpadded, (2, 3, 5, 5)), key_padding_mask=padding)
    check(~blocked, attn_mask=blocked)
    check(~blocked, attn_mask=bias)
    check(~blocked, is_causal=True)
    check(~blocked, attn_mask=bias, is_causal=True, need_weights=False)
    check(~blocked & unpadded, attn_mask=blocked, key_padding_mask=padding)
    check(~blocked & unpadded, attn_mask=bias, key_padding_mask=padding)
    check(~blocked & unpadded, is_causal=True, key_padding_mask=padding)
    each = rng.random((6, 5, 5)) < 0.4
    each[:, :, 0] = False
    check(~each.reshape(2, 3, 5, 5), attn_mask=each)


def test_gradients_of_attention(rng):
    layer = randomise(
        nn.MultiheadAttention(4, 2, add_bias_kv=True, add_zero_attn=True, dtype=np.float64), rng
    )
    names = list(layer.state_dict())
    blocked = np.triu(np.ones((3, 4), bool), 1)

    def run(query, key, *parameters):
        for name, value in zip(names, parameters):
            owner, _, last = name.rpartition(".")
            value = value if isinstance(value, fastnn.Tensor) else nn.Parameter(value.copy())
            object.__setattr__(layer.get_submodule(owner), last, value)
        return layer(query, key, key, attn_mask=blocked)

    gradcheck(run, draw(rng, 3, 2, 4), draw(rng, 4, 2, 4), *layer.state_dict().values())


def test_attention_dropout(rng):
    fastnn.manual_seed(0)
    layer = nn.MultiheadAttention(8, 2, dropout=0.5, batch_first=True)
    x = draw(rng, 2, 9, 8, dtype=np.float32)
    assert (layer(x, x, x)[1] == 0).any() or (
        layer(x, x, x, average_attn_weights=False)[1] == 0
    ).any()
    assert (layer.eval()(x, x, x)[1] > 0).all()


def functional_arguments(layer):
    """What multi_head_attention_forward takes after query, key and value."""
    weights = [layer.q_proj_weight, layer.k_proj_weight, layer.v_proj_weight]
    return (
        layer.embed_dim, layer.num_heads, layer.in_proj_weight, layer.in_proj_bias, layer.bias_k,
        layer.bias_v, layer.add_zero_attn, layer.dropout, layer.out_proj.weight,
        layer.out_proj.bias, layer.training,
    ), dict(zip(("q_proj_weight", "k_proj_weight", "v_proj_weight"), weights))  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"kdim": 3, "vdim": 5},
        {"bias": False, "add_zero_attn": True},
        {"add_bias_kv": True},
    ],
)
def test_functional_form(rng, options):
    layer = randomise(nn.MultiheadAttention(8, 2, dtype=np.float64, **options), rng)
    query = draw(rng, 6, 3, 8)
    key, value = (draw(rng, 7, 3, n) for n in (options.get("kdim", 8), options.get("vdim", 8)))
    positional, weights = functional_arguments(layer)
    masks = {
        "key_padding_mask": rng.random((3, 7)) < 0.2,
        "attn_mask": rng.standard_normal((6, 6, 7)),
        "average_attn_weights": False,
    }
    separate = {"use_separate_proj_weight": layer.in_proj_weight is None, **weights}
    for arguments in ({}, masks, {"need_weights": False}):
        expected = layer(query, key, value, **arguments)
        actual = F.multi_head_attention_forward(
            query, key, value, *positional, **arguments, **separate
        )
        for a, b in zip(actual, expected):
            assert (a is None) == (b is None)
            if a is not None:
                np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
        with fastnn.no_grad():  # packed weights
            again = layer(query, key, value, **arguments)[0]
        np.testing.assert_allclose(again, np.asarray(expected[0]), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("masked", ["", "boolean", "added", "each head", "causal"])
@pytest.mark.parametrize(
    "options", [{}, {"separate": True}, {"bias": False, "zero": True}, {"extra": True}], ids=str
)
def test_functional_form_against_numpy(isa, rng, options, masked):
    size, heads, batch, queries, keys = 12, 3, 2, 6, 7
    widths = (size, 5, 4) if "separate" in options else (size,) * 3
    arrays = [draw(rng, n, batch, w) for n, w in zip((queries, keys, keys), widths)]
    weights = [draw(rng, size, w) for w in widths]
    bias = None if "bias" in options else draw(rng, 3 * size)
    out_proj = draw(rng, size, size), None if bias is None else draw(rng, size)
    bias_kv = [draw(rng, 1, 1, size) for _ in range(2)] if "extra" in options else None
    if masked == "causal" and (bias_kv or "zero" in options):
        pytest.skip("refused")
    masks = {
        "": {},
        "boolean": {
            "attn_mask": rng.random((queries, keys)) < 0.3,
            "key_padding_mask": np.arange(keys) >= np.array([[4], [6]]),
        },
        "added": {
            "attn_mask": draw(rng, queries, keys),
            "key_padding_mask": draw(rng, batch, keys),
        },
        "each head": {"attn_mask": draw(rng, batch * heads, queries, keys)},
        "causal": {"is_causal": True},
    }[masked]
    joined = {"q_proj_weight": weights[0], "k_proj_weight": weights[1], "v_proj_weight": weights[2]}
    actual = F.multi_head_attention_forward(
        *arrays, size, heads, None if "separate" in options else np.vstack(weights), bias,
        *(bias_kv or (None, None)), "zero" in options, 0.0, *out_proj,
        use_separate_proj_weight="separate" in options, average_attn_weights=False, **masks,
        **(joined if "separate" in options else {}),
    )  # fmt: skip
    biases = [None] * 3 if bias is None else np.split(bias, 3)
    expected = reference.multi_head_attention_forward(
        *arrays, heads, list(zip(weights, biases)), out_proj, bias_kv, "zero" in options, **masks
    )
    for a, e in zip(actual, expected):
        np.testing.assert_allclose(a, e, rtol=1e-11, atol=1e-12)


def test_functional_form_gradients(rng):
    x, w, b = draw(rng, 4, 2, 4), draw(rng, 12, 4), draw(rng, 12)
    out_w, bias_k, bias_v = draw(rng, 4, 4), draw(rng, 1, 1, 4), draw(rng, 1, 1, 4)

    def attend(x, w, b, bias_k, bias_v, out_w):
        return F.multi_head_attention_forward(
            x, x, x, 4, 2, w, b, bias_k, bias_v, True, 0.0, out_w, None
        )

    gradcheck(attend, x, w, b, bias_k, bias_v, out_w)


def test_functional_static_keys(rng):
    x, w = draw(rng, 5, 3, 8), draw(rng, 24, 8)
    keys, values = draw(rng, 6, 7, 4), draw(rng, 6, 7, 4)
    out, weights = F.multi_head_attention_forward(
        x, x, x, 8, 2, w, None, None, None, False, 0.0, np.eye(8), None,
        static_k=keys, static_v=values, average_attn_weights=False,
    )  # fmt: skip
    expected, expected_weights = reference.multi_head_attention_forward(
        x, x, x, 2, [(part, None) for part in np.split(w, 3)], (np.eye(8), None),
        static_kv=(keys, values),
    )  # fmt: skip
    np.testing.assert_allclose(out, expected, rtol=1e-12)
    np.testing.assert_allclose(weights, expected_weights, rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"embed_dim_to_check": 6}, r"query.shape\[-1\] must be 6"),
        ({"num_heads": 3}, "multiple of num_heads"),
        ({"num_heads": 0}, "multiple of num_heads"),
        ({"in_proj_weight": None}, "in_proj_weight must be given"),
        ({"use_separate_proj_weight": True}, "q_, k_ and v_proj_weight must be given"),
        ({"in_proj_weight": np.ones((23, 8))}, r"in_proj_weight.shape must be \(24, 8\)"),
        ({"in_proj_bias": np.ones(23)}, r"in_proj_bias.shape must be \(24,\)"),
        ({"bias_k": np.ones((1, 1, 8))}, "bias_k and bias_v must be given together"),
        (
            {"bias_k": np.ones((1, 8)), "bias_v": np.ones((1, 8))},
            r"bias_k.shape must be \(1, 1, 8\)",
        ),
        ({"static_k": np.ones((2, 7, 4))}, r"static_k.shape must be \(6, S, 4\)"),
        ({"add_zero_attn": True, "is_causal": True}, "is_causal must be False"),
    ],
)
def test_functional_errors(arguments, message):
    x = np.ones((5, 3, 8))
    given = {
        "embed_dim_to_check": 8, "num_heads": 2, "in_proj_weight": np.ones((24, 8)),
        "in_proj_bias": None, "bias_k": None, "bias_v": None, "add_zero_attn": False,
        "dropout_p": 0.0, "out_proj_weight": np.eye(8), "out_proj_bias": None, **arguments,
    }  # fmt: skip
    with pytest.raises(ValueError, match=f"multi_head_attention_forward: .*{message}"):
        F.multi_head_attention_forward(x, x, x, **given)


def test_layers_refuse_none_and_take_empty_arrays():
    layer = nn.TransformerEncoderLayer(4, 2, 8).eval()
    with fastnn.no_grad():
        assert layer(np.ones((0, 3, 4), np.float32)).shape == (0, 3, 4)
        assert layer(np.ones((5, 4), np.float32)).shape == (5, 4)
        with pytest.raises(TypeError, match="MultiheadAttention: query must be a numpy"):
            layer(None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"query": np.ones(4, np.float32)}, "query must have 2 or 3 dimensions"),
        ({"query": np.ones((2, 5, 3), np.float32)}, r"query.shape\[-1\] must be 4"),
        ({"key": np.ones((2, 4), np.float32)}, "key must have 3 dimensions"),
        ({"value": np.ones((2, 6, 4), np.float32)}, r"value.shape\[:-1\] must be"),
        ({"query": np.ones((1, 5, 4), np.float32)}, r"key.shape\[0\] must be 1"),
        ({"key_padding_mask": np.zeros((2, 6), bool)}, "key_padding_mask.shape must be"),
        ({"attn_mask": np.zeros((3, 5, 7), bool)}, "attn_mask.shape must be"),
    ],
)
def test_attention_errors(arguments, message):
    layer = nn.MultiheadAttention(4, 2, batch_first=True)
    x, y = np.ones((2, 5, 4), np.float32), np.ones((2, 7, 4), np.float32)
    with pytest.raises(ValueError, match=f"MultiheadAttention: {message}"):
        layer(**{"query": x, "key": y, "value": y, **arguments})


def test_heads_must_divide():
    with pytest.raises(ValueError, match="embed_dim must be a positive multiple of num_heads"):
        nn.MultiheadAttention(10, 3)


# Layers


@pytest.mark.parametrize("norm_first", [False, True])
def test_encoder_layer(dtype, rng, norm_first):
    layer = nn.TransformerEncoderLayer(
        12, 3, 20, batch_first=True, norm_first=norm_first, dtype=dtype
    )
    randomise(layer, rng).eval()
    x = draw(rng, 2, 5, 12, dtype=dtype)
    wide = x.astype(np.float64)
    expected = reference.encoder_layer(wide, state(layer), 3, norm_first=norm_first)
    assert_close(layer(x), expected, 400)
    allowed = np.tril(np.ones((5, 5), bool))
    expected = reference.encoder_layer(wide, state(layer), 3, allowed, norm_first)
    assert_close(layer(x, ~allowed), expected, 400)
    assert_close(layer(x, is_causal=True), expected, 400)


@pytest.mark.parametrize("activation", ["gelu", F.silu, nn.ReLU()])
def test_activations(rng, activation):
    layer = nn.TransformerEncoderLayer(4, 2, 6, activation=activation)
    assert np.isfinite(layer(draw(rng, 3, 2, 4, dtype=np.float32)).numpy()).all()
    with pytest.raises(ValueError, match="activation must be 'relu', 'gelu' or callable"):
        nn.TransformerEncoderLayer(4, 2, 6, activation="tanh")


def test_encoder_is_its_layers(rng):
    layer = nn.TransformerEncoderLayer(12, 3, 20, batch_first=True, dtype=np.float64)
    encoder = nn.TransformerEncoder(layer, 3, nn.LayerNorm(12, dtype=np.float64))
    randomise(encoder, rng).eval()
    assert encoder.layers[0].linear1.weight is not encoder.layers[1].linear1.weight
    x = draw(rng, 2, 5, 12)
    mask = nn.Transformer.generate_square_subsequent_mask(5, np.float64)
    y = x
    for one in encoder.layers:
        y = one(y, mask)
    expected = encoder.norm(y)
    for options in ({"mask": mask}, {"is_causal": True}, {"mask": mask < 0}):
        np.testing.assert_allclose(encoder(x, **options), expected, rtol=1e-10)


def test_training_changes_every_parameter(rng):
    fastnn.manual_seed(0)
    model = nn.Transformer(8, 2, 2, 2, 16, batch_first=True, dtype=np.float64)
    source, target = draw(rng, 2, 7, 8), draw(rng, 2, 5, 8)
    out = model(source, target, tgt_is_causal=True)
    assert out.shape == (2, 5, 8)
    (out * draw(rng, 2, 5, 8)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad != 0).any(), name


# PyTorch


def same_as_torch(ours, theirs, arrays, options, rng, outputs=1):
    """Outputs and all gradients agree once the weights have been moved over."""
    torch = pytest.importorskip("torch")
    randomise(ours, rng).eval()
    theirs = theirs.double().eval()
    assert {k: v.shape for k, v in ours.state_dict().items()} == {
        k: tuple(v.shape) for k, v in theirs.state_dict().items()
    }
    theirs.load_state_dict({k: torch.tensor(v) for k, v in ours.state_dict().items()})
    inputs = [fastnn.Tensor(a, requires_grad=True) for a in arrays]
    torch_inputs = [torch.tensor(a, requires_grad=True) for a in arrays]
    torch_options = {
        k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()
    }
    out, expected = ours(*inputs, **options), theirs(*torch_inputs, **torch_options)
    if outputs > 1:
        np.testing.assert_allclose(out[1].numpy(), expected[1].detach().numpy(), atol=1e-10)
        out, expected = out[0], expected[0]
    np.testing.assert_allclose(out.numpy(), expected.detach().numpy(), atol=1e-9)
    grad = rng.standard_normal(out.shape)
    out.backward(grad)
    expected.backward(torch.tensor(grad))
    for a, b in zip(inputs, torch_inputs):
        np.testing.assert_allclose(a.grad, b.grad.numpy(), atol=1e-8)
    for (name, a), (_, b) in zip(
        sorted(ours.named_parameters()), sorted(theirs.named_parameters())
    ):
        np.testing.assert_allclose(a.grad, b.grad.numpy(), atol=1e-8, err_msg=name)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bias": False},
        {"add_bias_kv": True},
        {"add_zero_attn": True},
        {"kdim": 5, "vdim": 7},
        {"batch_first": True},
    ],
)
@pytest.mark.parametrize("masked", [False, True])
def test_attention_agrees_with_pytorch(rng, options, masked):
    torch = pytest.importorskip("torch")
    sizes = (8, options.get("kdim", 8), options.get("vdim", 8))
    lengths = (5, 6, 6)
    arrays = [draw(rng, n, 2, size) for n, size in zip(lengths, sizes)]
    if options.get("batch_first"):
        arrays = [np.ascontiguousarray(a.swapaxes(0, 1)) for a in arrays]
    call = {}
    if masked:
        padding = np.zeros((2, 6), bool)
        padding[1, 4:] = True
        call = {"key_padding_mask": padding, "attn_mask": np.triu(np.ones((5, 6), bool), 1)}
    same_as_torch(
        nn.MultiheadAttention(8, 2, dtype=np.float64, **options),
        torch.nn.MultiheadAttention(8, 2, **options),
        arrays,
        call,
        rng,
        outputs=2,
    )


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_transformer_agrees_with_pytorch(rng, norm_first, activation):
    torch = pytest.importorskip("torch")
    arguments = (8, 2, 2, 2, 12, 0.1, activation)
    options = {"batch_first": True, "norm_first": norm_first}
    mask = nn.Transformer.generate_square_subsequent_mask(5, np.float64)
    same_as_torch(
        nn.Transformer(*arguments, dtype=np.float64, **options),
        torch.nn.Transformer(*arguments, **options),
        [draw(rng, 2, 7, 8), draw(rng, 2, 5, 8)],
        {"tgt_mask": mask},
        rng,
    )


# Positions


def test_positional_encoding(rng):
    encode = nn.PositionalEncoding(7, dropout=0.0, max_len=20, dtype=np.float64)
    x = draw(rng, 6, 2, 7)
    position, feature = np.arange(6)[:, None], np.arange(7)[None, :]
    angle = position / 10000 ** ((feature - feature % 2) / 7)
    expected = np.where(feature % 2 == 0, np.sin(angle), np.cos(angle))
    np.testing.assert_allclose(encode(x) - x, expected[:, None].repeat(2, 1), atol=1e-12)
    encode.batch_first = True
    np.testing.assert_allclose(encode(x.swapaxes(0, 1))[0] - x[:, 0], expected, atol=1e-12)
    assert encode.state_dict() == {}
    with pytest.raises(ValueError, match="at most 20 positions"):
        encode(np.ones((1, 21, 7)))
    with pytest.raises(ValueError, match="the last of size 7"):
        encode(np.ones((1, 2, 6)))


def test_swiglu(rng):
    block = nn.SwiGLU(4, 6, dtype=np.float64)
    p = state(block)
    x = draw(rng, 3, 4)
    gate = x @ p["gate_proj.weight"].T
    hidden = gate / (1 + np.exp(-gate)) * (x @ p["up_proj.weight"].T)
    expected = hidden @ p["down_proj.weight"].T
    np.testing.assert_allclose(block(x).numpy(), expected, rtol=1e-12)
    with fastnn.no_grad():  # packed weights, silu in the first product
        np.testing.assert_allclose(block(x), expected, rtol=1e-12)


# KVCache


@pytest.mark.parametrize("window", [None, 1, 5, 64])
def test_cache_keeps_the_last_positions(rng, window):
    cache = nn.KVCache(window=window, capacity=3)
    k, v = draw(rng, 2, 3, 200, 4), draw(rng, 2, 3, 200, 5)
    done = 0
    while done < 200:
        new = min(int(rng.integers(1, 8)), 200 - done)
        keys, values = cache.append(k[:, :, done : done + new], v[:, :, done : done + new])
        done += new
        first = 0 if window is None else max(0, done - window)
        np.testing.assert_array_equal(keys, k[:, :, first:done])
        np.testing.assert_array_equal(values, v[:, :, first:done])
        assert cache.length == done
        assert len(cache) == done - first
    if window == 5:
        assert cache._memory[0].shape[2] < 50


def test_cache_truncate_and_reset(rng):
    cache = nn.KVCache()
    k = draw(rng, 1, 2, 6, 4)
    cache.append(k, k)
    cache.truncate(4)
    keys, _ = cache.append(k[:, :, 5:], k[:, :, 5:])
    np.testing.assert_array_equal(keys, k[:, :, [0, 1, 2, 3, 5]])
    with pytest.raises(ValueError, match=r"length must be in 0\.\.5, got 6"):
        cache.truncate(6)
    cache.reset()
    assert (len(cache), cache.length) == (0, 0)


def test_cache_errors(rng):
    with pytest.raises(ValueError, match="window must be >= 1"):
        nn.KVCache(window=0)
    with pytest.raises(TypeError, match="window must be an int"):
        nn.KVCache(window=2.5)
    with pytest.raises(ValueError, match="capacity must be >= 1"):
        nn.KVCache(capacity=0)
    cache = nn.KVCache()
    with pytest.raises(ValueError, match="key and value must have equal shapes"):
        cache.append(np.ones((1, 2, 3)), np.ones((1, 1, 3)))
    cache.append(np.ones((1, 2, 3)), np.ones((1, 2, 3)))
    with pytest.raises(ValueError, match="value must be float64 of shape"):
        cache.append(np.ones((1, 2, 3)), np.ones((1, 2, 4)))
    with pytest.raises(ValueError, match="key must be float64 of shape"):
        cache.append(np.ones((1, 2, 3), np.float32), np.ones((1, 2, 3), np.float32))


def test_decoding_agrees_with_the_whole(rng):
    q, k, v = (draw(rng, 2, 4, 30, 8) for _ in range(3))
    whole = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    cache = nn.KVCache(capacity=4)
    for i in range(0, 30, 3):
        keys, values = cache.append(k[:, :, i : i + 3], v[:, :, i : i + 3])
        out = F.scaled_dot_product_attention(
            q[:, :, i : i + 3], keys, values, is_causal=True, causal_alignment="lower_right"
        )
        np.testing.assert_allclose(out, whole[:, :, i : i + 3], rtol=1e-10, atol=1e-12)


def test_parts_are_registered_in_pytorchs_order():
    """Optimizers number parameters in this order, and so do their saved states."""
    names = [name for name, _ in nn.TransformerDecoderLayer(4, 2, 8).named_children()]
    norms, dropouts = [f"norm{i}" for i in (1, 2, 3)], [f"dropout{i}" for i in (1, 2, 3)]
    attentions = ["self_attn", "multihead_attn"]
    assert names == [*attentions, "linear1", "dropout", "linear2", *norms, *dropouts]
