"""Training programs as PyTorch's tutorials write them: each reaches what it should."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import fastnn
import fastnn.functional as F
from fastnn import nn, optim


@pytest.fixture(autouse=True)
def seed():
    fastnn.manual_seed(0)


def normal(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


def test_gan_with_two_optimizers(rng):
    """The discriminator's step must leave the generator alone, and the reverse."""
    generator = nn.Sequential(
        *(nn.ConvTranspose2d(10, 16, 4, 1, 0, bias=False), nn.BatchNorm2d(16), nn.ReLU(True)),
        *(nn.ConvTranspose2d(16, 1, 4, 2, 1, bias=False), nn.Tanh()),
    )
    critic = nn.Sequential(
        *(nn.Conv2d(1, 16, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True)),
        *(nn.Conv2d(16, 1, 4, 1, 0, bias=False), nn.Sigmoid()),
    )
    for module in (generator, critic):
        for weight in module.parameters():
            if weight.ndim > 1:
                nn.init.normal_(weight.data, 0.0, 0.02)
    criterion = nn.BCELoss()
    critic_steps = optim.Adam(critic.parameters(), lr=2e-3, betas=(0.5, 0.999))
    generator_steps = optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    real = np.clip(normal(rng, 8, 1, 8, 8) * 0.2 + 0.5, -1, 1)
    losses = []
    for _ in range(15):
        critic.zero_grad()
        loss_real = criterion(critic(real).view(-1), np.ones(8, np.float32))
        loss_real.backward()
        fake = generator(normal(rng, 8, 10, 1, 1))
        loss_fake = criterion(critic(fake.detach()).view(-1), np.zeros(8, np.float32))
        loss_fake.backward()
        assert all(p.grad is None for p in generator.parameters()) or losses
        critic_steps.step()
        losses.append(loss_real.item() + loss_fake.item())
        generator.zero_grad()
        criterion(critic(fake).view(-1), np.ones(8, np.float32)).backward()
        generator_steps.step()
    assert losses[-1] < losses[0]


def test_word2vec_with_negative_sampling(rng):
    centre, context = nn.Embedding(30, 16), nn.Embedding(30, 16)
    nn.init.zeros_(context.weight)
    optimizer = optim.SGD([*centre.parameters(), *context.parameters()], lr=2.0)
    words, losses = rng.integers(0, 30, 64), []
    for _ in range(60):
        negative = rng.integers(0, 30, (64, 5))
        near = (centre(words) * context((words + 1) % 30)).sum(dim=1)
        far = F.bmm(context(negative), centre(words).unsqueeze(2)).squeeze(2)
        loss = -(F.logsigmoid(near) + F.logsigmoid(-far).sum(dim=1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


class LoRALinear(nn.Module):
    """Hu et al., 2021: a frozen layer plus a product of two thin matrices."""

    def __init__(self, linear, rank=4):
        super().__init__()
        self.linear = linear.requires_grad_(False)
        self.a = nn.init.normal_(nn.Parameter(np.empty((rank, linear.in_features), np.float32)))
        self.b = nn.Parameter(np.zeros((linear.out_features, rank), np.float32))

    def forward(self, x):
        return self.linear(x) + x @ self.a.T @ self.b.T

    def merge(self):
        with fastnn.no_grad():
            self.linear.weight += self.b @ self.a
        return self.linear


def test_lora_on_frozen_weights(rng):
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    frozen = [p.data.copy() for p in model.parameters()]
    originals = list(model.parameters())
    model[0], model[2] = LoRALinear(model[0]), LoRALinear(model[2])
    trained = [p for p in model.parameters() if p.requires_grad]
    assert sum(p.numel() for p in trained) == 4 * (8 + 16 + 16 + 2)
    optimizer = optim.AdamW(trained, lr=1e-2)
    x = normal(rng, 32, 8)
    y, losses = (x[:, 0] > 0).astype(np.int64), []
    for _ in range(40):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    for parameter, value in zip(originals, frozen):
        np.testing.assert_array_equal(parameter.data, value)
    expected = fastnn.predict(model, x)
    model[0], model[2] = model[0].merge(), model[2].merge()
    np.testing.assert_allclose(fastnn.predict(model, x), expected, rtol=1e-4, atol=1e-4)


def test_gradients_accumulate_over_small_batches(rng):
    whole = nn.Linear(4, 2)
    parts = copy.deepcopy(whole)
    x, y = normal(rng, 8, 4), rng.integers(0, 2, 8)
    for _ in range(5):
        for model, size in ((whole, 8), (parts, 2)):
            model.zero_grad()
            for start in range(0, 8, size):
                loss = F.cross_entropy(model(x[start : start + size]), y[start : start + size])
                (loss * (size / 8)).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            with fastnn.no_grad():
                for parameter in model.parameters():
                    parameter -= 0.1 * parameter.grad
    np.testing.assert_allclose(whole.weight, parts.weight, rtol=1e-5, atol=1e-7)


def test_ema_by_hand(rng):
    """An average of packed weights: the copy runs without gradients between its updates."""
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    average = copy.deepcopy(model)
    for parameter in average.parameters():
        parameter.requires_grad_(False)
    expected = [p.data.copy() for p in average.parameters()]
    optimizer = optim.Adam(model.parameters(), lr=1e-2)
    x, y = normal(rng, 16, 4), rng.integers(0, 2, 16)
    for _ in range(5):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        with fastnn.no_grad():
            for mean, parameter in zip(average.parameters(), model.parameters()):
                mean.mul_(0.9).add_(parameter, alpha=0.1)
            for mean, buffer in zip(average.buffers(), model.buffers()):
                mean[...] = buffer
        expected = [0.9 * e + 0.1 * p.data for e, p in zip(expected, model.parameters())]
        fastnn.predict(average, x)
    for parameter, value in zip(average.parameters(), expected):
        np.testing.assert_allclose(parameter, value, rtol=1e-5, atol=1e-6)


def test_variational_autoencoder(rng):
    encoder, decoder = nn.Linear(20, 8), nn.Sequential(nn.Linear(4, 20), nn.Sigmoid())
    optimizer = optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-2)
    x, losses = rng.uniform(size=(32, 20)).astype(np.float32), []
    for _ in range(40):
        mean, log_variance = encoder(x).chunk(2, dim=1)
        z = mean + (0.5 * log_variance).exp() * normal(rng, 32, 4)
        loss = F.binary_cross_entropy(decoder(z), x, reduction="sum")
        loss += -0.5 * (1 + log_variance - mean.pow(2) - log_variance.exp()).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_policy_gradient_with_entropy(rng):
    network = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = optim.RMSprop(network.parameters(), lr=3e-2)
    states = normal(rng, 64, 4)
    right = (states[:, 0] > 0).astype(np.int64)
    for _ in range(80):
        logs = network(states).log_softmax(dim=-1)
        actions = (rng.random(64) < np.exp(logs.data[:, 1])).astype(np.int64)
        rewards = np.where(actions == right, 1, -1).astype(np.float32)
        taken = logs.gather(1, actions[:, None]).squeeze(1)
        entropy = -(logs.exp() * logs).sum(dim=1).mean()
        optimizer.zero_grad()
        (-(taken * rewards).mean() - 0.01 * entropy).backward()
        optimizer.step()
    assert (fastnn.predict(network, states).argmax(1) == right).mean() > 0.9


def test_decoding_from_a_cache_gives_what_the_whole_sequence_gives(rng):
    """One layer of attention, token by token."""
    project, out = nn.Linear(16, 48, bias=False), nn.Linear(16, 16)

    def attend(x, cache=None):
        batch, length, _ = x.shape
        qkv = project(x).reshape(batch, length, 3, 2, 8)
        q, k, v = (qkv[:, :, i].swapaxes(1, 2) for i in range(3))
        if cache is not None:
            k, v = cache.append(k, v)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=cache is None)
        return out(y.swapaxes(1, 2).reshape(batch, length, 16))

    x, cache = normal(rng, 2, 9, 16), nn.KVCache()
    with fastnn.no_grad():
        whole = attend(x)
        steps = [attend(x[:, t : t + 1], cache) for t in range(9)]
    np.testing.assert_allclose(np.concatenate(steps, 1), whole, rtol=1e-5, atol=1e-6)
    assert cache.length == 9


def test_grad_cam(rng):
    """Selvaraju et al., 2017: the gradient of a class at the last feature map."""
    features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    head = nn.Linear(4, 5)
    maps = features(normal(rng, 1, 3, 8, 8))
    maps.retain_grad()
    head(maps.mean((2, 3)))[0, 2].backward()
    expected = np.broadcast_to(head.weight.data[2][None, :, None, None] / 36, maps.shape)
    np.testing.assert_allclose(maps.grad, expected, rtol=1e-5)
    weights = maps.grad.mean((2, 3), keepdims=True)
    assert np.maximum((weights * maps.data).sum(1), 0).shape == (1, 6, 6)
