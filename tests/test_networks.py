"""Textbook networks train, and agree with PyTorch where that is installed."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from networks import OF_IMAGES, OF_WORDS

import fastnn
import fastnn.functional as F
from fastnn import nn

FASTNN = SimpleNamespace(
    nn=nn,
    F=F,
    concatenate=fastnn.concatenate,
    zeros=lambda *shape: np.zeros(shape, np.float32),
)

networks = pytest.mark.parametrize(
    "network", [*OF_IMAGES, *OF_WORDS], ids=lambda network: network.__name__
)


def inputs(network, rng):
    if network in OF_IMAGES:
        return rng.normal(size=(3, 3, 16, 16))
    words = rng.integers(1, 20, (3, 7))
    words[1, 4:] = 0
    return words


@networks
def test_the_loss_falls(network, rng):
    fastnn.manual_seed(0)
    model = network(FASTNN)
    x = inputs(network, rng)
    x = x.astype(np.float32) if network in OF_IMAGES else x
    with fastnn.no_grad():
        shape = model(x).shape
    target = rng.normal(size=shape).astype(np.float32)
    optimizer = fastnn.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    out = fastnn.predict(model, x, batch_size=len(x))
    with fastnn.no_grad():
        np.testing.assert_array_equal(out, model.eval()(x))


@networks
def test_against_pytorch(network, rng):
    torch = pytest.importorskip("torch")
    pytorch = SimpleNamespace(
        nn=torch.nn, F=torch.nn.functional, concatenate=torch.concatenate, zeros=torch.zeros
    )
    theirs = network(pytorch).double()
    ours = network(FASTNN).double()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    x = inputs(network, rng)
    for train in (True, False):
        expected = theirs.train(train)(torch.from_numpy(x))
        out = ours.train(train)(x)
        np.testing.assert_allclose(out.data, expected.detach().numpy(), rtol=1e-9, atol=1e-11)
    gradient = rng.normal(size=out.shape)
    expected.backward(torch.from_numpy(gradient))
    out.backward(gradient)
    for (name, mine), theirs_too in zip(ours.named_parameters(), theirs.parameters()):
        wanted = theirs_too.grad.numpy()
        np.testing.assert_allclose(
            mine.grad, wanted, rtol=1e-7, atol=1e-9 * max(1, np.abs(wanted).max()), err_msg=name
        )
