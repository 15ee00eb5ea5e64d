"""examples/sentence_encoder.py: tokens, names of weights, and the package's own vectors."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

import fastnn

pytest.importorskip("safetensors")

PATH = Path(__file__).parents[1] / "examples" / "sentence_encoder.py"
WIDTH, INNER, LAYERS = 8, 12, 2


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("sentence_encoder", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(tmp_path, rng):
    """A small encoder under the names that BERT's weights have."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "cat", "##s", "cafe", "!", "中"]
    config = {
        "hidden_size": WIDTH, "layer_norm_eps": 1e-12, "vocab_size": len(vocabulary),
        "max_position_embeddings": 16, "type_vocab_size": 2, "num_attention_heads": 2,
        "intermediate_size": INNER, "hidden_act": "gelu", "num_hidden_layers": LAYERS,
    }  # fmt: skip
    shapes = {
        "embeddings.word_embeddings.weight": (len(vocabulary), WIDTH),
        "embeddings.position_embeddings.weight": (16, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
        "pooler.dense.weight": (WIDTH, WIDTH),
    }
    maps = {f"attention.self.{name}": (WIDTH, WIDTH) for name in ("query", "key", "value")}
    maps["attention.output.dense"] = (WIDTH, WIDTH)
    maps |= {"intermediate.dense": (INNER, WIDTH), "output.dense": (WIDTH, INNER)}
    norms = ["embeddings.LayerNorm"]
    for layer in range(LAYERS):
        start = f"encoder.layer.{layer}."
        norms += [start + "attention.output.LayerNorm", start + "output.LayerNorm"]
        for name, shape in maps.items():
            shapes[f"{start}{name}.weight"], shapes[f"{start}{name}.bias"] = shape, shape[:1]
    shapes |= {f"{name}.{part}": (WIDTH,) for name in norms for part in ("weight", "bias")}
    state = {name: rng.standard_normal(s).astype(np.float32) for name, s in shapes.items()}
    fastnn.save(state, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    return tmp_path


def test_tokens(example, folder):
    tokenizer = example.SentenceEncoder(folder).tokenizer
    assert tokenizer.encode("A cats\tCAFÉ!", 16) == [2, 4, 5, 6, 7, 8, 3]
    assert tokenizer.encode("cat中a dog", 16) == [2, 5, 9, 4, 1, 3]
    assert tokenizer.encode("", 16) == [2, 3]
    assert tokenizer.encode("a" * 101 + " a \0\u200b", 16) == [2, 1, 4, 3]
    assert tokenizer.encode("a " * 50, 6) == [2, 4, 4, 4, 4, 3]


def test_vectors_do_not_depend_on_the_batch(example, folder):
    encode = example.SentenceEncoder(folder)
    sentences = ["a cat", "a cat!", "cats", "", "a " * 50]
    vectors = encode(sentences)
    assert vectors.shape == (5, WIDTH)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)
    alone = np.concatenate([encode([s]) for s in sentences])
    np.testing.assert_allclose(vectors, alone, atol=1e-6)


def test_main(example, folder, tmp_path, capsys):
    (tmp_path / "text").write_text("a cat\ncats!\n")
    example.main(["--model", str(folder), "--text", str(tmp_path / "text"), "--query", "a cat"])
    assert capsys.readouterr().out.splitlines()[0] == " 1.000  a cat"
    example.main(["--model", str(folder)])
    assert "kitten" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        example.main(["--model", "nowhere"])


def test_the_package_gives_the_same(example):
    if example.installed_model() is None:
        pytest.skip(f"the package {example.PACKAGE} is not installed")
    pytest.importorskip("sentence_transformers")
    package = pytest.importorskip(example.PACKAGE)
    sentences = [*example.SENTENCES, "Déjà vu -- 日本語 naïve!", "word " * 400, ""]
    expected = package.load_model(device="cpu").encode(sentences)
    encode = example.SentenceEncoder(example.installed_model())
    np.testing.assert_allclose(encode(sentences), expected, rtol=0, atol=1e-5)
