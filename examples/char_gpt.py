"""Train a character-level GPT and let it write.

    python examples/char_gpt.py input.txt                      about 7 minutes on two cores
    python examples/char_gpt.py input.txt --steps 300          a first impression
    python examples/char_gpt.py input.txt --save gpt.safetensors
    python examples/char_gpt.py input.txt --load gpt.safetensors --prompt "ROMEO:"

input.txt is plain text, for example Tiny Shakespeare (1.1 MB, from A. Karpathy's char-rnn). The
first nine tenths are for training, the rest for validation, all of which is read, in windows of the
context's length. On Tiny Shakespeare the validation loss falls below 1.60 nats a character.

The model is a decoder after Llama (Touvron et al., 2023): RMSNorm before every block, rotary
positions, SwiGLU, no biases. Writing goes token by token over a cache of keys and values.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import fastnn
import fastnn.functional as F
from fastnn import nn
from fastnn.optim.lr_scheduler import LambdaLR


class Attention(nn.Module):
    """Causal self-attention with rotary positions."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Any, cache: nn.KVCache | None = None) -> Any:
        """Map (N, L, width) to the same; a cache holds what came before x, and x after."""
        n, length, width = x.shape
        parts = self.qkv(x).reshape(n, length, 3 * self.heads, width // self.heads).swapaxes(1, 2)
        q, k, v = fastnn.split(parts, 3, axis=1)
        start = 0 if cache is None else cache.length
        positions = np.arange(start, start + length)
        q, k = F.rotary_embedding(q, positions), F.rotary_embedding(k, positions)
        if cache is not None:
            k, v = cache.append(k, v)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, causal_alignment="lower_right")
        return self.out(y.swapaxes(1, 2).reshape(n, length, width))


class Block(nn.Module):
    """Attention and a feed-forward network, each normalised before and added."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.RMSNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.RMSNorm(width)
        self.feed_forward = nn.SwiGLU(width, round(width * 8 / 3 / 32) * 32)

    def forward(self, x: Any, cache: nn.KVCache | None = None) -> Any:
        x = x + self.attention(self.norm1(x), cache)
        return x + self.feed_forward(self.norm2(x))


class CharGPT(nn.Module):
    """Logits of the next character, (N, L, characters), from characters (N, L)."""

    def __init__(self, characters: int, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, width)
        self.blocks = nn.ModuleList([Block(width, heads) for _ in range(layers)])
        self.norm = nn.RMSNorm(width)
        self.head = nn.Linear(width, characters, bias=False)
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02)
        for block in self.blocks:  # what is added to the residual stream
            for layer in (block.attention.out, block.feed_forward.down_proj):
                nn.init.normal_(layer.weight, std=0.02 / math.sqrt(2 * layers))

    def forward(self, tokens: Any, caches: list[nn.KVCache] | None = None) -> Any:
        x = self.embedding(tokens)
        for i, block in enumerate(self.blocks):
            x = block(x, None if caches is None else caches[i])
        return self.head(self.norm(x))


class Text:
    """A text as numbers of its characters, cut into training and validation."""

    def __init__(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        self.characters = sorted(set(text))
        self._number = {c: i for i, c in enumerate(self.characters)}
        numbers = self.encode(text)
        self.train, self.validation = np.split(numbers, [len(numbers) * 9 // 10])

    def encode(self, text: str) -> np.ndarray:
        return np.array([self._number[c] for c in text if c in self._number], np.int64)

    def decode(self, numbers: Any) -> str:
        return "".join(self.characters[i] for i in numbers)


def loss_of(model: CharGPT, windows: np.ndarray) -> Any:
    """Mean loss over windows (N, context + 1), whose characters predict those that follow."""
    logits = model(windows[:, :-1])
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), windows[:, 1:].reshape(-1))


def validation_loss(model: CharGPT, numbers: np.ndarray, context: int) -> float:
    """Loss in nats a character over all whole windows of the text, one after the other."""
    count = (len(numbers) - 1) // context
    starts = np.arange(count)[:, None] * context
    windows = numbers[starts + np.arange(context + 1)]
    model.eval()
    with fastnn.no_grad():
        losses = [(float(loss_of(model, part)), len(part)) for part in _batches(windows, 64)]
    return sum(loss * n for loss, n in losses) / count


def _batches(windows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for i in range(0, len(windows), size):
        yield windows[i : i + size]


def train(model: CharGPT, text: Text, options: argparse.Namespace) -> float:
    """AdamW over random windows, with a warm-up and a cosine; return the validation loss."""
    matrices = [p for p in model.parameters() if p.ndim == 2]
    vectors = [p for p in model.parameters() if p.ndim != 2]
    optimizer = fastnn.optim.AdamW(
        [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}],
        lr=options.learning_rate,
        betas=(0.9, 0.98),
        weight_decay=0.1,
    )
    steps = options.steps
    warm_up = max(1, min(100, steps // 10))

    def rate(step: int) -> float:
        cosine = 0.5 + 0.5 * math.cos(math.pi * min(1.0, step / steps))
        return min(1.0, (step + 1) / warm_up) * (0.02 + 0.98 * cosine)

    scheduler = LambdaLR(optimizer, rate)
    rng = np.random.default_rng(options.seed)
    offsets = np.arange(options.context + 1)
    start, running = time.perf_counter(), 0.0
    for step in range(1, steps + 1):
        model.train()
        first = rng.integers(0, len(text.train) - options.context, options.batch_size)
        loss = loss_of(model, text.train[first[:, None] + offsets])
        optimizer.zero_grad()
        loss.backward()
        fastnn.optim.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        running += float(loss) / options.report
        if step % options.report == 0 or step == steps:
            seconds = time.perf_counter() - start
            line = f"step {step:5d}  {seconds:5.0f} s  training loss {running:.4f}"
            if step % (5 * options.report) == 0 or step == steps:
                result = validation_loss(model, text.validation, options.context)
                line += f"  validation loss {result:.4f}"
            print(line, flush=True)
            running = 0.0
    return result


def generate(
    model: CharGPT,
    text: Text,
    prompt: str,
    length: int,
    temperature: float,
    context: int,
    seed: int,
) -> Iterator[str]:
    """Yield characters drawn from the model's distribution, one after the other."""
    rng = np.random.default_rng(seed)
    caches = [nn.KVCache(window=context) for _ in model.blocks]
    tokens = text.encode(prompt or "\n")
    if len(tokens) == 0:
        raise SystemExit("--prompt: none of its characters is in the text")
    model.eval()
    with fastnn.no_grad():
        for _ in range(length):
            logits = model(tokens[None], caches)[0, -1].astype(np.float64)
            # The greatest of logits plus Gumbel noise is a draw from their softmax.
            noise = temperature * rng.gumbel(size=logits.shape)
            tokens = np.array([np.argmax(logits + noise)])
            yield text.decode(tokens)


def main(arguments: list[str] | None = None) -> float | None:
    """Do what the command line asks for; return the validation loss after training."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path, help="a plain text to learn from")
    parser.add_argument("--width", type=int, default=160)
    parser.add_argument("--heads", type=int, default=5)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--context", type=int, default=128, help="characters the model sees")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=4e-3)
    parser.add_argument("--report", type=int, default=100, help="steps between two lines")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", type=Path, help="write the weights (safetensors)")
    parser.add_argument("--load", type=Path, help="read weights instead of training")
    parser.add_argument("--prompt", default="\n")
    parser.add_argument("--length", type=int, default=500, help="characters to write")
    parser.add_argument("--temperature", type=float, default=0.8)
    options = parser.parse_args(arguments)
    if not options.text.is_file():
        parser.error(f"there is no file {options.text}")

    fastnn.manual_seed(options.seed)
    text = Text(options.text)
    model = CharGPT(len(text.characters), options.width, options.heads, options.layers)
    result = None
    if options.load:
        model.load_state_dict(fastnn.load(options.load))
    else:
        print(
            f"{sum(p.size for p in model.parameters()):,} parameters, "
            f"{len(text.train):,} characters, {fastnn.get_num_threads()} threads"
        )
        result = train(model, text, options)
    if options.save:
        fastnn.save(model.state_dict(), options.save)
    start = time.perf_counter()
    print(options.prompt.strip("\n"), end="")
    for character in generate(
        model, text, options.prompt, options.length, options.temperature, options.context,
        options.seed,
    ):  # fmt: skip
        print(character, end="", flush=True)
    rate = options.length / (time.perf_counter() - start)
    print(f"\n\n{rate:.0f} characters a second")
    return result


if __name__ == "__main__":
    main()
