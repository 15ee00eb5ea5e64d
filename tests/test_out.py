"""`out` of every function that computes one array; with it a call allocates nothing large."""

from __future__ import annotations

import inspect
import resource
import tracemalloc

import numpy as np
import pytest

import fastnn
import fastnn.functional as F

PUBLIC = {
    name: f
    for name, f in vars(F).items()
    if inspect.isfunction(f) and "out" in inspect.signature(f).parameters
}
ELSEWHERE = {"quantized_linear"}  # wants quantized weights
PLAIN = {"reduction": "none"}


def operands(n):
    """Small arrays; their sizes grow with n."""
    rng = np.random.default_rng(0)

    def normal(*shape):
        return rng.standard_normal(shape, dtype=np.float32)

    return {
        "x1": normal(n, 6, 8),
        "x2": normal(n, 6, 8, 8),
        "x3": normal(n, 4, 4, 4, 4),
        "rows": normal(n, 32),
        "other": normal(n, 32),
        "third": normal(n, 32),
        "unit": rng.random((n, 32), dtype=np.float32),
        "labels": rng.integers(0, 32, n),
        "ids": rng.integers(0, 20, (n, 5)),
        "sign": rng.choice(np.float32([-1, 1]), n),
        "signs": rng.choice(np.float32([-1, 1]), (n, 32)),
        "table": normal(20, 32),
        "weight1": normal(4, 6, 3),
        "weight2": normal(4, 6, 3, 3),
        "weight3": normal(4, 4, 3, 3, 3),
        "matrix": normal(16, 32),
        "forms": normal(3, 32, 32),
        "square": normal(n, 8, 8),
        "columns": normal(n, 36, 16),
        "channels": normal(6),
        "grid": normal(n, 8, 8, 2),
    }


# Arguments by name of function; a string stands for an operand.
CALLS = {
    **{
        name: (["rows"], {})
        for name in (
            *("celu", "elu", "exp", "gelu", "glu", "hardshrink", "hardsigmoid", "hardswish"),
            *("hardtanh", "leaky_relu", "logsigmoid", "mish", "relu", "relu6", "rrelu", "selu"),
            *("sigmoid", "silu", "softplus", "softshrink", "softsign", "tanh", "tanhshrink"),
            "dropout",
        )
    },
    "alpha_dropout": (["rows"], {"training": True}),
    "log": (["unit"], {}),
    "sqrt": (["unit"], {}),
    "threshold": (["rows", 0.1, 2.0], {}),
    "prelu": (["x2", "channels"], {}),
    "dropout1d": (["x1"], {}),
    "dropout2d": (["x2"], {}),
    "dropout3d": (["x3"], {}),
    "feature_alpha_dropout": (["x2"], {"training": True}),
    **{f"adaptive_avg_pool{d}d": ([f"x{d}", 3], {}) for d in (1, 2, 3)},
    **{f"adaptive_max_pool{d}d": ([f"x{d}", 3], {}) for d in (1, 2, 3)},
    **{f"avg_pool{d}d": ([f"x{d}", 3, 1, 1], {}) for d in (1, 2, 3)},
    **{f"max_pool{d}d": ([f"x{d}", 3, 2, 1], {}) for d in (1, 2, 3)},
    **{f"fractional_max_pool{d}d": ([f"x{d}", 2, 3], {}) for d in (2, 3)},
    **{f"lp_pool{d}d": ([f"x{d}", 2, 2], {}) for d in (1, 2, 3)},
    **{f"max_unpool{d}d": ([f"x{d}", f"indices{d}", 2], {}) for d in (1, 2, 3)},
    **{f"conv{d}d": ([f"x{d}", f"weight{d}"], {"padding": 1}) for d in (1, 2, 3)},
    "conv_transpose1d": (["x1", "transposed1"], {}),
    "conv_transpose2d": (["x2", "transposed2"], {}),
    "conv_transpose3d": (["x3", "weight3"], {}),
    "fold": (["columns", 6, 3], {}),
    "unfold": (["x2", 3], {}),
    "batch_norm": (["x2", None, None], {"training": True}),
    "group_norm": (["x2", 3], {}),
    "instance_norm": (["x2"], {}),
    "layer_norm": (["rows", 32], {}),
    "rms_norm": (["rows", 32], {}),
    "local_response_norm": (["x2", 3], {}),
    "normalize": (["rows"], {}),
    "softmax": (["rows", 1], {}),
    "softmin": (["rows", 1], {}),
    "gumbel_softmax": (["rows"], {}),
    "log_softmax": (["rows", 1], {}),
    "logsumexp": (["rows", 1], {}),
    "scaled_dot_product_attention": (["x2", "x2", "x2"], {}),
    "rotary_embedding": (["x2"], {}),
    "linear": (["rows", "matrix"], {}),
    "matmul": (["square", "square"], {}),
    "bmm": (["square", "square"], {}),
    "grouped_mm": (["square", "square"], {}),
    "embedding": (["ids", "table"], {}),
    "embedding_bag": (["ids", "table"], {}),
    "one_hot": (["ids", 20], {}),
    "bilinear": (["rows", "other", "forms"], {}),
    "column_sum": (["rows"], {}),
    "pad": (["x2", (1, 2)], {}),
    "interpolate": (["x2"], {"scale_factor": 2}),
    "channel_shuffle": (["x2", 3], {}),
    "grid_sample": (["x2", "grid"], {}),
    "pixel_shuffle": (["x3", 2], {}),
    "pixel_unshuffle": (["x2", 2], {}),
    "cross_entropy": (["rows", "labels"], PLAIN),
    "nll_loss": (["rows", "labels"], PLAIN),
    "multi_margin_loss": (["rows", "labels"], PLAIN),
    "multilabel_margin_loss": (["rows", "classes"], PLAIN),
    "soft_margin_loss": (["rows", "signs"], PLAIN),
    "multilabel_soft_margin_loss": (["rows", "unit"], PLAIN),
    "binary_cross_entropy": (["unit", "unit"], PLAIN),
    "binary_cross_entropy_with_logits": (["rows", "unit"], PLAIN),
    "mse_loss": (["rows", "other"], PLAIN),
    "l1_loss": (["rows", "other"], PLAIN),
    "smooth_l1_loss": (["rows", "other"], PLAIN),
    "huber_loss": (["rows", "other"], PLAIN),
    "kl_div": (["rows", "unit"], PLAIN),
    "poisson_nll_loss": (["rows", "unit"], PLAIN),
    "gaussian_nll_loss": (["rows", "other", "unit"], PLAIN),
    "hinge_embedding_loss": (["rows", "signs"], PLAIN),
    "margin_ranking_loss": (["rows", "other", "signs"], PLAIN),
    "cosine_embedding_loss": (["rows", "other", "sign"], PLAIN),
    "cosine_similarity": (["rows", "other"], {}),
    "pairwise_distance": (["rows", "other"], {}),
    "pdist": (["third"], {}),
    "triplet_margin_loss": (["rows", "other", "third"], PLAIN),
    "triplet_margin_with_distance_loss": (["rows", "other", "third"], PLAIN),
    "ctc_loss": (["log_probs", "sequences", "input_lengths", "target_lengths"], PLAIN),
}
# Put together from other operations, or what keeps numbers of each row for the backward pass:
# these still make arrays.
COMPOSED = {
    *("softmin", "bilinear"),
    *("multilabel_soft_margin_loss", "one_hot"),
    *("cosine_embedding_loss", "triplet_margin_loss", "triplet_margin_with_distance_loss"),
    *(
        "gumbel_softmax",
        "pdist",
        "embedding_bag",
    ),
    *("scaled_dot_product_attention", "rotary_embedding"),
    *("fractional_max_pool2d", "fractional_max_pool3d"),
}


def call(name, n):
    found = operands(n)
    found["transposed1"] = found["weight1"].swapaxes(0, 1).copy()
    found["transposed2"] = found["weight2"].swapaxes(0, 1).copy()
    found["classes"] = np.where(np.arange(32) < 3, found["labels"][:, None], -1)
    for dims in (1, 2, 3):
        x = found[f"x{dims}"]
        places = np.arange(np.prod(x.shape[2:])).reshape(x.shape[2:])
        found[f"indices{dims}"] = np.broadcast_to(places, x.shape).copy()
    found["log_probs"] = np.log(np.full((6, n, 5), 0.2, np.float32))
    found["sequences"] = np.ones((n, 2), np.int64)
    found["input_lengths"] = np.full(n, 6)
    found["target_lengths"] = np.full(n, 2)
    arguments, options = CALLS[name]
    arguments = [found[a] if isinstance(a, str) else a for a in arguments]
    return lambda **more: PUBLIC[name](*arguments, **options, **more), arguments


def test_every_function_has_a_case():
    assert set(PUBLIC) - ELSEWHERE == set(CALLS)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(CALLS))
def test_out(name):
    f, arguments = call(name, 3)
    fastnn.manual_seed(0)
    expected = f()
    out = np.full_like(expected, 7)
    fastnn.manual_seed(0)
    assert f(out=out) is out
    np.testing.assert_array_equal(out, expected)

    with pytest.raises(ValueError, match=r"out\.shape must be"):
        f(out=np.empty((2, *expected.shape), expected.dtype))
    with pytest.raises(TypeError, match="out must be"):
        f(out=np.empty(expected.shape, np.float16))
    with pytest.raises(TypeError, match="out must be"):
        f(out=[1.0])
    read_only = np.empty_like(expected)
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="out must be writable"):
        f(out=read_only)
    for argument in arguments:
        same = isinstance(argument, np.ndarray) and argument.dtype == expected.dtype
        if same and argument.shape == expected.shape:
            with pytest.raises(ValueError, match="out must not share memory"):
                f(out=argument)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(set(CALLS) - COMPOSED))
def test_a_call_allocates_nothing(name):
    """Nothing of NumPy's or Python's beyond small objects, and no fresh page."""
    f, _ = call(name, 4000)
    out = f()
    for _ in range(3):
        f(out=out)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        f(out=out)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
    tracemalloc.start()
    f(out=out)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 10
    assert faults < 20
