"""Look-ups: values, gradients, padding, norms, bags, one-hot vectors, errors."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_close, gradcheck, same_bytes, same_bytes_for_every_thread_count
from hypothesis import given
from hypothesis import strategies as st
from reference import embedding as reference

import fastnn
import fastnn.functional as F

DIMS = [0, 1, 3, 15, 16, 17, 63, 64, 65, 127, 128, 129, 300]


def table(vocabulary, dim, dtype=np.float64):
    return np.random.default_rng(dim).normal(size=(vocabulary, dim)).astype(dtype)


@given(dim=st.sampled_from(DIMS), n=st.integers(0, 40), vocabulary=st.integers(1, 12))
def test_embedding(isa, dtype, dim, n, vocabulary):
    weight = table(vocabulary, dim, dtype)
    ids = np.random.default_rng(n).integers(0, vocabulary, n)
    assert same_bytes(F.embedding(ids, weight), weight[ids])
    t = fastnn.Tensor(weight, requires_grad=True)
    y = F.embedding(ids, t)
    grad = np.random.default_rng(1).normal(size=y.shape).astype(dtype)
    y.backward(grad)
    want = reference.embedding_gradient(ids, weight.astype(np.float64), grad.astype(np.float64))
    assert_close(t.grad, want, max(1, n))


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32, np.uint32, np.int64, ">i4"])
@pytest.mark.parametrize("shape", [(), (4,), (2, 3), (2, 0), (2, 1, 3)])
def test_ids(kind, shape):
    weight = table(6, 5, np.float32)
    ids = np.random.default_rng(0).integers(0, 6, shape).astype(kind)
    y = F.embedding(ids, weight)
    assert same_bytes(y, weight[ids])
    assert same_bytes(F.embedding(ids[..., ::-1] if shape else ids, weight[:, ::-1]),
                      weight[:, ::-1][ids[..., ::-1] if shape else ids].copy())  # fmt: skip


def test_list_of_ids():
    assert same_bytes(F.embedding([2, 0], table(3, 4)), table(3, 4)[[2, 0]])


@pytest.mark.parametrize("padding_idx", [None, 0, 2, -1])
@pytest.mark.parametrize("scale_grad_by_freq", [False, True])
def test_gradient_options(isa, padding_idx, scale_grad_by_freq):
    ids = np.array([[0, 2, 2, 4], [2, 4, 1, 0]])
    weight = fastnn.Tensor(table(5, 33), requires_grad=True)
    y = F.embedding(ids, weight, padding_idx, scale_grad_by_freq=scale_grad_by_freq)
    grad = np.random.default_rng(1).normal(size=y.shape)
    y.backward(grad)
    want = reference.embedding_gradient(ids, weight.data, grad, padding_idx, scale_grad_by_freq)
    assert_close(weight.grad, want, 4)
    assert same_bytes(y.numpy(), weight.data[ids])  # padding counts in the forward


def test_gradient_by_differences(isa):
    ids = np.array([0, 2, 2, 1])
    gradcheck(lambda w: F.embedding(ids, w), table(4, 5))


@pytest.mark.parametrize(("vocabulary", "dim"), [(3, 700), (5000, 37), (40_000, 2)])
def test_threads(isa, dtype, vocabulary, dim):
    ids = np.random.default_rng(0).integers(0, vocabulary, 4000)
    weight = table(vocabulary, dim, dtype)
    grad = np.random.default_rng(1).normal(size=(4000, dim)).astype(dtype)

    def gradient():
        t = fastnn.Tensor(weight, requires_grad=True)
        F.embedding(ids, t).backward(grad)
        return t.grad

    same_bytes_for_every_thread_count(gradient)
    same_bytes_for_every_thread_count(lambda: F.embedding(ids, weight))


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.5])
def test_max_norm(dtype, norm_type):
    weight = table(6, 40, dtype)
    before = weight.copy()
    ids = np.array([[1, 3], [3, 1]])
    y = F.embedding(ids, weight, max_norm=1.5, norm_type=norm_type)
    norms = np.linalg.norm(weight, ord=norm_type, axis=1)
    np.testing.assert_allclose(norms[[1, 3]], 1.5, rtol=1e-5)
    assert same_bytes(weight[[0, 2, 4, 5]], before[[0, 2, 4, 5]])
    assert same_bytes(y, weight[ids])
    small = np.full((2, 2), 0.1, dtype)
    F.embedding(np.array([0]), small, max_norm=1.5)
    assert same_bytes(small, np.full((2, 2), 0.1, dtype))


def test_bad_ids():
    weight = table(5, 2)
    message = r"embedding: input\[1, 2\] must be in 0\.\.4 \(weight has 5 rows\), got {}"
    for bad in (5, -1, 2**40):
        ids = np.zeros((2, 3), np.int64)
        ids[1, 2] = bad
        with pytest.raises(ValueError, match=message.format(bad)):
            F.embedding(ids, weight)
        with pytest.raises(ValueError, match=message.format(bad)):
            F.embedding(ids, weight, max_norm=1.0)
    with pytest.raises(ValueError, match=r"embedding: input must be in 0\.\.4"):
        F.embedding(np.int64(7), weight)
    with pytest.raises(ValueError, match=r"embedding_bag: input\[1\] must be in 0\.\.4"):
        F.embedding_bag(np.array([0, 9]), weight, np.array([0]))
    with pytest.raises(ValueError, match=r"embedding: input\[0\] must be in 0\.\.-1"):
        F.embedding(np.array([0]), weight[:0])


def test_bad_arguments():
    weight, ids = table(5, 2), np.array([0, 1])
    with pytest.raises(TypeError, match=r"embedding: input\.dtype must be an integer type"):
        F.embedding(np.ones(3), weight)
    with pytest.raises(TypeError, match=r"embedding: weight\.dtype must be float32 or float64"):
        F.embedding(ids, weight.astype(int))
    with pytest.raises(ValueError, match=r"embedding: weight must have 2 dimensions, got shape"):
        F.embedding(ids, weight[0])
    with pytest.raises(ValueError, match="embedding: weight must have 2 dimensions, got shape N"):
        F.embedding(ids, None)
    with pytest.raises(ValueError, match="embedding: sparse must be False"):
        F.embedding(ids, weight, sparse=True)
    for padding in (5, -6):
        with pytest.raises(ValueError, match=r"embedding: padding_idx must be in -5\.\.4"):
            F.embedding(ids, weight, padding)
    with pytest.raises(TypeError, match=r"embedding: padding_idx must be an int, got 1\.5"):
        F.embedding(ids, weight, 1.5)
    with pytest.raises(TypeError, match="embedding: max_norm must be a number, got 'a'"):
        F.embedding(ids, weight, max_norm="a")
    weight.flags.writeable = False
    with pytest.raises(ValueError, match="embedding: weight must be writable for max_norm"):
        F.embedding(ids, weight, max_norm=1)
    with pytest.raises(ValueError, match=r"embedding: out\.shape must be \(2, 2\)"):
        F.embedding(ids, weight, out=np.ones((3, 2)))
    with pytest.raises(ValueError, match="embedding: out must be None while gradients"):
        F.embedding(ids, fastnn.Tensor(weight, requires_grad=True), out=np.ones((2, 2)))
    out = np.ones((2, 2))
    assert F.embedding(ids, weight, out=out) is out
    assert same_bytes(out, weight[:2])


# Bags

MODES = ["sum", "mean", "max"]


@given(dim=st.sampled_from(DIMS), sizes=st.lists(st.integers(0, 6), max_size=8))
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("padding_idx", [None, 3])
def test_bags(isa, dtype, mode, padding_idx, dim, sizes):
    weight = table(7, dim, dtype)
    ends = np.cumsum([0, *sizes])
    ids = np.random.default_rng(len(sizes)).integers(0, 7, ends[-1])
    want = reference.embedding_bag(ids, weight.astype(np.float64), ends, mode, None, padding_idx)
    y = F.embedding_bag(ids, weight, ends[:-1], mode=mode, padding_idx=padding_idx)
    assert_close(y, want, 6)
    with_end = F.embedding_bag(
        ids, weight, ends, mode=mode, padding_idx=padding_idx, include_last_offset=True
    )
    assert same_bytes(with_end, y)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("padding_idx", [None, 2])
def test_bag_gradients(isa, mode, padding_idx):
    ids, offsets = np.array([0, 2, 2, 1, 4, 3, 1]), np.array([0, 3, 3, 4])
    gradcheck(
        lambda w: F.embedding_bag(ids, w, offsets, mode=mode, padding_idx=padding_idx),
        table(5, 19),
    )
    if mode == "sum":
        factors = np.linspace(-1, 2, len(ids))
        gradcheck(
            lambda w, f: F.embedding_bag(
                ids, w, offsets, mode="sum", per_sample_weights=f, padding_idx=padding_idx
            ),
            table(5, 19),
            factors,
        )


@pytest.mark.parametrize("mode", MODES)
def test_two_dimensional_bags(isa, dtype, mode):
    weight = table(9, 70, dtype)
    ids = np.random.default_rng(0).integers(0, 9, (6, 4))
    want = reference.embedding_bag(
        ids.reshape(-1), weight.astype(np.float64), np.arange(7) * 4, mode
    )
    assert_close(F.embedding_bag(ids, weight, mode=mode), want, 4)
    assert F.embedding_bag(ids[:, :0], weight, mode=mode).tolist() == np.zeros((6, 70)).tolist()
    gradcheck(lambda w: F.embedding_bag(ids, w, mode=mode), weight)
    factors = np.random.default_rng(1).normal(size=(6, 4))
    gradcheck(
        lambda f: F.embedding_bag(ids, weight.astype(np.float64), mode="sum", per_sample_weights=f),
        factors,
    )


def test_bag_gradient_by_frequency():
    ids, offsets = np.array([0, 2, 2, 1]), np.array([0, 2])
    weight = fastnn.Tensor(table(4, 3), requires_grad=True)
    F.embedding_bag(ids, weight, offsets, mode="sum", scale_grad_by_freq=True).backward(
        np.ones((2, 3))
    )
    assert weight.grad[:, 0].tolist() == [1, 1, 1, 0]


def test_positions_after_the_last_bag():
    ids, offsets = np.array([0, 1, 2, 3]), np.array([0, 2])
    weight = fastnn.Tensor(table(4, 3), requires_grad=True)
    factors = fastnn.Tensor(np.ones(4), requires_grad=True)
    options = {"mode": "sum", "include_last_offset": True}
    F.embedding_bag(ids, weight, offsets, per_sample_weights=factors, **options).backward(
        np.ones((1, 3))
    )
    assert weight.grad[:, 0].tolist() == [1, 1, 0, 0]
    assert factors.grad[2:].tolist() == [0, 0]


@pytest.mark.parametrize("mode", MODES)
def test_bag_threads(isa, dtype, mode):
    weight = table(300, 129, dtype)
    ids = np.random.default_rng(0).integers(0, 300, (500, 7))

    def both():
        t = fastnn.Tensor(weight, requires_grad=True)
        y = F.embedding_bag(ids, t, mode=mode)
        y.backward(np.ones_like(y.numpy()))
        return y, t.grad

    y, _ = same_bytes_for_every_thread_count(both)
    alone = F.embedding_bag(ids[17:18], weight, mode=mode)
    assert same_bytes(alone, y.numpy()[17:18])


def test_max_bags_carry_nan(isa):
    weight = table(4, 20)
    weight[1, 3] = np.nan
    for order in ([0, 1, 2], [1, 0, 2], [2, 0, 1]):
        y = F.embedding_bag(np.array([order]), weight, mode="max")
        assert np.isnan(y[0, 3])
        assert not np.isnan(np.delete(y, 3)).any()


def test_bad_bags():
    weight, ids = table(5, 2), np.array([0, 1, 2])
    zero = np.array([0])
    with pytest.raises(ValueError, match="embedding_bag: offsets must be given"):
        F.embedding_bag(ids, weight)
    with pytest.raises(ValueError, match="embedding_bag: offsets must be None for a two-dim"):
        F.embedding_bag(ids[None], weight, zero)
    with pytest.raises(ValueError, match="embedding_bag: input must have 1 or 2 dimensions"):
        F.embedding_bag(ids[None, None], weight)
    with pytest.raises(ValueError, match=r"embedding_bag: offsets\[0\] must be 0, got 1"):
        F.embedding_bag(ids, weight, np.array([1, 2]))
    with pytest.raises(ValueError, match=r"embedding_bag: offsets\[2\] must be in 2\.\.3, got 1"):
        F.embedding_bag(ids, weight, np.array([0, 2, 1]))
    with pytest.raises(ValueError, match=r"embedding_bag: offsets\[1\] must be in 0\.\.3, got 4"):
        F.embedding_bag(ids, weight, np.array([0, 4]))
    with pytest.raises(ValueError, match="embedding_bag: offsets must not be empty"):
        F.embedding_bag(ids, weight, zero[:0], include_last_offset=True)
    with pytest.raises(ValueError, match="embedding_bag: mode must be 'sum', 'mean' or 'max'"):
        F.embedding_bag(ids, weight, zero, mode="product")
    with pytest.raises(ValueError, match="embedding_bag: per_sample_weights must be None unless"):
        F.embedding_bag(ids, weight, zero, per_sample_weights=np.ones(3))
    with pytest.raises(ValueError, match=r"embedding_bag: per_sample_weights\.shape must be \(3,"):
        F.embedding_bag(ids, weight, zero, mode="sum", per_sample_weights=np.ones(2))
    with pytest.raises(ValueError, match="embedding_bag: scale_grad_by_freq must be False"):
        F.embedding_bag(ids, weight, zero, mode="max", scale_grad_by_freq=True)


def test_one_hot():
    classes = np.array([[1, 0], [2, 1]], np.int32)
    y = F.one_hot(classes)
    assert y.dtype == np.int64
    assert same_bytes(y, np.eye(3, dtype=np.int64)[classes])
    assert F.one_hot(classes, 5).shape == (2, 2, 5)
    assert F.one_hot(classes[:0], 4).shape == (0, 2, 4)
    assert F.one_hot(np.int64(1), 2).tolist() == [0, 1]
    for bad, count in ((np.array([3]), 3), (np.array([-1]), 3), (np.array([-1]), -1)):
        with pytest.raises(ValueError, match="one_hot: tensor must hold classes in"):
            F.one_hot(bad, count)
    with pytest.raises(ValueError, match="one_hot: num_classes must be given for an empty"):
        F.one_hot(classes[:0])
    with pytest.raises(ValueError, match="one_hot: num_classes must be positive or -1, got 0"):
        F.one_hot(classes, 0)
    with pytest.raises(TypeError, match=r"one_hot: tensor\.dtype must be an integer type"):
        F.one_hot(np.ones(2))


# Layers


def test_embedding_layer():
    fastnn.manual_seed(0)
    layer = fastnn.nn.Embedding(2000, 30, padding_idx=-1)
    assert {k: v.shape for k, v in layer.state_dict().items()} == {"weight": (2000, 30)}
    weight = layer.weight.data
    assert weight.dtype == np.float32
    assert not weight[1999].any()
    assert abs(weight.mean()) < 0.02
    assert abs(weight.std() - 1) < 0.02
    assert repr(layer) == "Embedding(2000, 30, padding_idx=1999)"
    layer(np.array([[3, 1999]])).backward(np.ones((1, 2, 30), np.float32))
    assert layer.weight.grad[3].tolist() == [1] * 30
    assert not layer.weight.grad[1999].any()
    with pytest.raises(ValueError, match="Embedding: padding_idx must be in"):
        fastnn.nn.Embedding(3, 2, 3)
    with pytest.raises(ValueError, match="Embedding: sparse must be False"):
        fastnn.nn.Embedding(3, 2, sparse=True)
    with pytest.raises(ValueError, match=r"Embedding: _weight.shape must be \(3, 2\)"):
        fastnn.nn.Embedding(3, 2, _weight=np.ones((2, 3)))


def test_from_pretrained():
    weight = table(5, 3)
    layer = fastnn.nn.Embedding.from_pretrained(weight)
    assert not layer.weight.requires_grad
    assert same_bytes(layer(np.array([4, 0])), weight[[4, 0]])
    bag = fastnn.nn.EmbeddingBag.from_pretrained(weight, freeze=False, mode="sum")
    assert bag.weight.requires_grad
    assert repr(bag) == "EmbeddingBag(5, 3, mode='sum')"
    with pytest.raises(ValueError, match="Embedding: embeddings must have 2 dimensions"):
        fastnn.nn.Embedding.from_pretrained(weight[0])


def test_bag_layer():
    layer = fastnn.nn.EmbeddingBag(5, 3, max_norm=1.0, padding_idx=0)
    y = layer(np.array([[1, 2], [0, 0]]))
    assert (np.linalg.norm(layer.weight.data[1:3], axis=1) <= 1.0001).all()
    assert not y.numpy()[1].any()
    y = layer(np.array([1, 2, 3]), np.array([0, 2]))
    assert y.shape == (2, 3)


@pytest.mark.parametrize("ids", [None, np.ones(2), np.ones(2, bool), "a"])
def test_max_norm_leaves_it_to_the_look_up_to_refuse_ids(ids):
    with pytest.raises(TypeError, match=r"^embedding: input"):
        F.embedding(ids, np.ones((3, 2)), max_norm=1.0)


def test_more_ids_than_memory_are_a_memory_error():
    with pytest.raises(MemoryError):
        F.embedding(np.broadcast_to(np.int32(1), (2**58,)), np.ones((3, 2)))


@pytest.mark.parametrize(("name", "value"), [("mode", 3), ("include_last_offset", "x")])
def test_arguments_of_another_type(name, value):
    with pytest.raises(TypeError, match=rf"embedding_bag: {name} must be"):
        F.embedding_bag(np.ones(2, int), np.ones((3, 2)), np.zeros(1, int), **{name: value})
