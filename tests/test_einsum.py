"""einsum against NumPy's: values, gradients, subscripts that do not fit."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import gradcheck, same_bytes_for_every_thread_count

import fastnn

SIZES = dict(zip("abcdijk", (2, 3, 4, 2, 3, 4, 5)))
SUBSCRIPTS = [
    "i->i",
    "i->",
    "i",
    "ij->ji",
    "ji",
    "ii",
    "ii->i",
    "iijj->ji",
    "ij,jk",
    "ij,jk->ki",
    "ij,ij->",
    "ij,ij->ij",
    "i,j->ij",
    "i,j->ji",
    "ai,aj->aij",
    "abci,abdi->abcd",
    "abij,abjk->aik",
    "ij,jk,ka->ia",
    "i,i,i->i",
    "ij,j,k->ik",
    "ijk,a->jai",
    "...i,ij->...j",
    "...ij,...jk->...ik",
    "i...->...i",
    "...",
    "ij , jk -> ik",
    "ab,cd->",
]


def operands(subscripts: str, rng: np.random.Generator) -> list[np.ndarray]:
    terms = subscripts.replace(" ", "").split("->")[0].split(",")
    shapes = [[SIZES[c] for c in t.replace("...", "ab")] for t in terms]
    return [rng.normal(size=shape) for shape in shapes]


@pytest.mark.parametrize("subscripts", SUBSCRIPTS)
def test_values_and_gradients(subscripts: str, rng: np.random.Generator) -> None:
    arrays = operands(subscripts, rng)
    out = fastnn.einsum(subscripts, *arrays)
    assert isinstance(out, np.ndarray)
    np.testing.assert_allclose(out, np.einsum(subscripts, *arrays), rtol=1e-12, atol=1e-12)
    gradcheck(lambda *tensors: fastnn.einsum(subscripts, *tensors), *arrays)


def test_axes_of_length_one_broadcast(rng: np.random.Generator) -> None:
    for subscripts, shapes in {
        "ij,jk->ik": [(3, 1), (4, 5)],
        "ij,ij->ij": [(3, 1), (1, 4)],
        "ii->i": [(1, 4)],
        "...i,...i->...": [(2, 1, 3), (5, 3)],
        "ij,ij,ij->j": [(1, 4), (3, 1), (3, 4)],
    }.items():
        arrays = [rng.normal(size=shape) for shape in shapes]
        expected = np.einsum(subscripts, *arrays) if subscripts != "ii->i" else arrays[0][0]
        np.testing.assert_allclose(fastnn.einsum(subscripts, *arrays), expected, rtol=1e-12)
        gradcheck(lambda *tensors, s=subscripts: fastnn.einsum(s, *tensors), *arrays)


def test_empty_axes() -> None:
    a, b = np.ones((3, 0)), np.ones((0, 4))
    np.testing.assert_array_equal(fastnn.einsum("ij,jk->ik", a, b), np.zeros((3, 4)))
    assert fastnn.einsum("ij,jk->ijk", a, b).shape == (3, 0, 4)


def test_the_bytes_do_not_depend_on_threads(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(2, 8, 130, 64)), rng.normal(size=(2, 8, 97, 64))
    same_bytes_for_every_thread_count(lambda: fastnn.einsum("bhqd,bhkd->bhqk", a, b))


@pytest.mark.parametrize(
    ("subscripts", "shapes", "message"),
    [
        ("ij,jk", [(2, 3)], "has 2 operands, got 1"),
        ("ij", [(2,)], r"'ij' does not fit an operand of shape \(2,\)"),
        ("i", [(2, 3)], "'i' does not fit"),
        ("ij,jk", [(2, 3), (4, 5)], "axis 'j' of 'ij,jk' has sizes 3 and 4"),
        ("i->j", [(2,)], "the result's axes"),
        ("i->ii", [(2,)], "the result's axes"),
        ("i1", [(2, 3)], "must be letters"),
        ("......", [(2, 3)], "must be letters"),
        ("i->i->i", [(2,)], "must be letters"),
    ],
)
def test_subscripts_that_do_not_fit(subscripts: str, shapes: list, message: str) -> None:
    with pytest.raises(ValueError, match=f"einsum: .*{message}"):
        fastnn.einsum(subscripts, *(np.ones(s) for s in shapes))


def test_other_bad_arguments() -> None:
    with pytest.raises(TypeError, match="einsum: subscripts must be a str"):
        fastnn.einsum(np.ones(2), [0])
    with pytest.raises(ValueError, match="einsum: tensors must not be empty"):
        fastnn.einsum("")
    with pytest.raises(TypeError, match="einsum: both operands must have one dtype"):
        fastnn.einsum("i,i", np.ones(2), np.ones(2, np.float32))
