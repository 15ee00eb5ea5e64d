"""The expectations follow from the documentation of Keras' Tokenizer and pad_sequences."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastnn.text import Tokenizer, pad_sequences, text_to_word_sequence

TEXTS = ["The cat sat on the mat.", "The dog ate my homework, the dog!"]


def fitted(**arguments):
    tokenizer = Tokenizer(**arguments)
    tokenizer.fit_on_texts(TEXTS)
    return tokenizer


# text_to_word_sequence


def test_words_are_lower_case_without_punctuation():
    assert text_to_word_sequence("This is a sample sentence.") == [
        "this",
        "is",
        "a",
        "sample",
        "sentence",
    ]


def test_filters_split_words_but_the_apostrophe_does_not():
    assert text_to_word_sequence("don't stop-me\tnow\n") == ["don't", "stop", "me", "now"]


def test_lower_filters_and_split_can_be_chosen():
    assert text_to_word_sequence("A-b;C;;d.", filters=".", lower=False, split=";") == [
        "A-b",
        "C",
        "d",
    ]


@pytest.mark.parametrize("text", ["", "  ", "?!", "\n\t"])
def test_nothing_left(text):
    assert text_to_word_sequence(text) == []


def test_text_to_word_sequence_rejects():
    with pytest.raises(TypeError, match="input_text must be a str, got int"):
        text_to_word_sequence(3)
    with pytest.raises(ValueError, match="split must not be empty"):
        text_to_word_sequence("a", split="")


# fit_on_texts


def test_indices_go_by_frequency_then_by_first_appearance():
    tokenizer = fitted()
    assert tokenizer.word_index == {
        "the": 1,
        "dog": 2,
        "cat": 3,
        "sat": 4,
        "on": 5,
        "mat": 6,
        "ate": 7,
        "my": 8,
        "homework": 9,
    }
    assert tokenizer.index_word == {i: word for word, i in tokenizer.word_index.items()}


def test_counts():
    tokenizer = fitted()
    assert tokenizer.document_count == 2
    assert list(tokenizer.word_counts.items()) == [
        ("the", 4),
        ("cat", 1),
        ("sat", 1),
        ("on", 1),
        ("mat", 1),
        ("dog", 2),
        ("ate", 1),
        ("my", 1),
        ("homework", 1),
    ]
    # In how many texts, however often in each.
    assert tokenizer.word_docs["the"] == 2
    assert tokenizer.word_docs["dog"] == 1
    assert tokenizer.index_docs[1] == 2
    assert tokenizer.index_docs[2] == 1


def test_oov_token_has_index_1():
    assert fitted(oov_token="<oov>").word_index["<oov>"] == 1
    assert fitted(oov_token="<oov>").word_index["the"] == 2


def test_num_words_does_not_shorten_word_index():
    assert len(fitted(num_words=3).word_index) == 9


def test_fitting_again_adds_to_the_counts():
    tokenizer = Tokenizer()
    tokenizer.fit_on_texts(["a b"])
    tokenizer.fit_on_texts(["b"])
    assert tokenizer.word_index == {"b": 1, "a": 2}
    assert tokenizer.document_count == 2


def test_texts_may_be_a_generator_and_lists_of_words():
    tokenizer = Tokenizer()
    tokenizer.fit_on_texts(text for text in ["A b", ["B", "New York"]])
    assert tokenizer.word_index == {"b": 1, "a": 2, "new york": 3}


def test_char_level_counts_every_character():
    tokenizer = Tokenizer(char_level=True)
    tokenizer.fit_on_texts(["Aab!", "a b"])
    assert tokenizer.word_index == {"a": 1, "b": 2, "!": 3, " ": 4}
    assert tokenizer.texts_to_sequences(["BA?"]) == [[2, 1]]


def test_case_is_kept_without_lower():
    tokenizer = Tokenizer(lower=False)
    tokenizer.fit_on_texts(["AI ai", ["AI"]])
    assert tokenizer.word_index == {"AI": 1, "ai": 2}


def test_the_three_sentences():
    tokenizer = Tokenizer()
    tokenizer.fit_on_texts(["I love AI", "AI is amazing", "AI will change the world"])
    assert tokenizer.texts_to_sequences(["I love AI", "AI is amazing"]) == [[2, 3, 1], [1, 4, 5]]


# texts_to_sequences, sequences_to_texts


def test_unknown_words_are_left_out():
    assert fitted().texts_to_sequences(["the bird sat", "", "unknown"]) == [[1, 4], [], []]


def test_unknown_words_become_the_oov_token():
    assert fitted(oov_token="?").texts_to_sequences(["the bird sat"]) == [[2, 1, 5]]


def test_num_words_keeps_the_indices_below_it():
    assert fitted(num_words=3).texts_to_sequences(["the dog sat"]) == [[1, 2]]
    # With the token: "?" is 1, "the" 2, "dog" 3.
    assert fitted(num_words=3, oov_token="?").texts_to_sequences(["the dog sat"]) == [[2, 1, 1]]


def test_before_fitting_there_is_nothing_to_find():
    assert Tokenizer().texts_to_sequences(["a b"]) == [[]]
    assert Tokenizer(oov_token="?").texts_to_sequences(["a b"]) == [[]]


def test_sequences_to_texts():
    assert fitted().sequences_to_texts([[1, 2, 7], [0, 99, 3], []]) == ["the dog ate", "cat", ""]
    assert fitted(oov_token="?").sequences_to_texts([[0, 2, 99]]) == ["? the ?"]
    assert fitted(num_words=2).sequences_to_texts([[1, 2]]) == ["the"]
    assert fitted(num_words=3, oov_token="?").sequences_to_texts([[1, 2, 3]]) == ["? the ?"]


@given(st.lists(st.lists(st.sampled_from("abcdef"), max_size=9), max_size=6))
def test_sequences_and_texts_invert_each_other(documents):
    texts = [" ".join(words) for words in documents]
    tokenizer = Tokenizer()
    tokenizer.fit_on_texts(texts)
    assert tokenizer.sequences_to_texts(tokenizer.texts_to_sequences(texts)) == texts


def test_one_string_is_not_a_list_of_texts():
    for method in ("fit_on_texts", "texts_to_sequences", "texts_to_matrix"):
        with pytest.raises(TypeError, match="texts must be an iterable of texts, got one str"):
            getattr(fitted(), method)("the cat")


def test_a_text_must_be_a_str_or_a_list():
    with pytest.raises(TypeError, match=r"texts\[1\] must be a str or a list of str, got bytes"):
        Tokenizer().fit_on_texts(["a", b"b"])


# texts_to_matrix

MATRIX_TEXTS = ["the dog and the cat", "bird", "dog"]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        # Columns: nothing, "the", "dog", "cat"; other words are not among the first four.
        ("binary", [[0, 1, 1, 1], [0, 0, 0, 0], [0, 0, 1, 0]]),
        ("count", [[0, 2, 1, 1], [0, 0, 0, 0], [0, 0, 1, 0]]),
        # "and" is unknown and does not count towards the length.
        ("freq", [[0, 0.5, 0.25, 0.25], [0, 0, 0, 0], [0, 0, 1, 0]]),
        # "the" is in 2 of 2 documents, the others in 1.
        (
            "tfidf",
            [
                [0, (1 + math.log(2)) * math.log(1 + 2 / 3), math.log(2), math.log(2)],
                [0, 0, 0, 0],
                [0, 0, math.log(2), 0],
            ],
        ),
    ],
)
def test_texts_to_matrix(mode, expected):
    matrix = fitted(num_words=4).texts_to_matrix(MATRIX_TEXTS, mode=mode)
    assert matrix.dtype == np.float64
    np.testing.assert_allclose(matrix, expected, rtol=1e-15)


def test_binary_is_the_default_and_columns_follow_the_vocabulary():
    matrix = fitted().texts_to_matrix(["the the"])
    assert matrix.tolist() == [[0, 1] + [0] * 8]


@pytest.mark.parametrize("mode", ["binary", "count", "freq", "tfidf"])
def test_no_texts_make_no_rows(mode):
    assert fitted(num_words=4).texts_to_matrix([], mode).shape == (0, 4)


def test_sequences_to_matrix_passes_over_large_indices():
    tokenizer = Tokenizer(num_words=3)
    assert tokenizer.sequences_to_matrix([[1, 7, 1], [2]], "freq").tolist() == [
        [0, 2 / 3, 0],
        [0, 0, 1],
    ]


def test_matrix_rejects():
    with pytest.raises(ValueError, match=r"mode must be .binary., .* got .sum."):
        fitted().texts_to_matrix(["the"], mode="sum")
    with pytest.raises(ValueError, match="give num_words or call fit_on_texts first"):
        Tokenizer().texts_to_matrix(["the"])
    with pytest.raises(ValueError, match="'tfidf' needs fit_on_texts"):
        Tokenizer(num_words=3).texts_to_matrix(["the"], mode="tfidf")
    with pytest.raises(ValueError, match="indices >= 0, got -1"):
        Tokenizer(num_words=3).sequences_to_matrix([[1, -1]])


# JSON


def test_json_round_trip():
    tokenizer = fitted(num_words=5, oov_token="?", lower=False, filters=".,", split=" ")
    copy = Tokenizer.from_json(tokenizer.to_json())
    assert vars(copy) == vars(tokenizer)
    assert copy.texts_to_sequences(TEXTS) == tokenizer.texts_to_sequences(TEXTS)
    copy.fit_on_texts(["mat mat mat mat mat mat"])
    assert copy.word_index["mat"] == 2


def test_json_has_the_layout_of_keras():
    written = json.loads(fitted().to_json())
    assert written["class_name"] == "Tokenizer"
    config = written["config"]
    assert set(config) == {
        "num_words",
        "filters",
        "lower",
        "split",
        "char_level",
        "oov_token",
        "document_count",
        "word_counts",
        "word_docs",
        "index_docs",
        "index_word",
        "word_index",
    }
    assert config["filters"] == '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'
    assert config["document_count"] == 2
    assert json.loads(config["index_word"])["1"] == "the"
    assert json.loads(config["index_docs"])["1"] == 2


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"config": {"num_words": 3}}', '{"config": 3}'])
def test_from_json_rejects(text):
    with pytest.raises(ValueError, match=r"must be what Tokenizer\.to_json returns"):
        Tokenizer.from_json(text)


def test_tokenizer_rejects():
    with pytest.raises(TypeError, match="num_words must be an int, got float"):
        Tokenizer(num_words=3.5)
    with pytest.raises(ValueError, match="num_words must not be negative, got -1"):
        Tokenizer(num_words=-1)
    with pytest.raises(ValueError, match="split must not be empty"):
        Tokenizer(split="")


# pad_sequences

RAGGED = [[1], [2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, [[0, 0, 1], [0, 2, 3], [4, 5, 6]]),
        ({"value": -1}, [[-1, -1, 1], [-1, 2, 3], [4, 5, 6]]),
        ({"padding": "post"}, [[1, 0, 0], [2, 3, 0], [4, 5, 6]]),
        ({"maxlen": 2}, [[0, 1], [2, 3], [5, 6]]),
        ({"maxlen": 2, "truncating": "post"}, [[0, 1], [2, 3], [4, 5]]),
        ({"maxlen": 2, "padding": "post"}, [[1, 0], [2, 3], [5, 6]]),
        ({"maxlen": 4, "padding": "post", "value": 9}, [[1, 9, 9, 9], [2, 3, 9, 9], [4, 5, 6, 9]]),
        ({"maxlen": 1}, [[1], [3], [6]]),
        ({"maxlen": 0}, [[], [], []]),
    ],
)
@pytest.mark.parametrize("kind", [list, tuple, np.array])
def test_pad_sequences(kind, arguments, expected):
    padded = pad_sequences([kind(sequence) for sequence in RAGGED], **arguments)
    assert padded.dtype == np.int32
    assert padded.tolist() == expected


def test_empty_sequences_are_all_padding():
    assert pad_sequences([[], [1], []], value=7).tolist() == [[7], [1], [7]]
    assert pad_sequences([[], []]).shape == (2, 0)
    assert pad_sequences([]).shape == (0, 0)
    assert pad_sequences([], maxlen=3).shape == (0, 3)


def test_dtype():
    padded = pad_sequences([[1.5], [2.5, 3.5]], dtype="float64", value=0.25)
    assert padded.dtype == np.float64
    assert padded.tolist() == [[0.25, 1.5], [2.5, 3.5]]
    # A cast to int cuts off, as NumPy's does.
    assert pad_sequences([[1.9, -1.9], [2.0]]).tolist() == [[1, -1], [0, 2]]


def test_elements_may_be_vectors():
    padded = pad_sequences([[[1, 2]], [], [[3, 4], [5, 6]]])
    assert padded.tolist() == [[[0, 0], [1, 2]], [[0, 0], [0, 0]], [[3, 4], [5, 6]]]


def test_strings():
    words = [["a"], ["b", "c"]]
    assert pad_sequences(words, dtype=object, value="<pad>").tolist() == [
        ["<pad>", "a"],
        ["b", "c"],
    ]
    assert pad_sequences(words, dtype="U5", value="<pad>").tolist() == [["<pad>", "a"], ["b", "c"]]


@given(
    st.lists(st.lists(st.integers(-9, 9), max_size=7), min_size=1, max_size=8),
    st.one_of(st.none(), st.integers(0, 9)),
    st.sampled_from(["pre", "post"]),
    st.sampled_from(["pre", "post"]),
)
def test_pad_sequences_row_by_row(sequences, maxlen, padding, truncating):
    padded = pad_sequences(sequences, maxlen, padding=padding, truncating=truncating, value=-50)
    length = max(map(len, sequences)) if maxlen is None else maxlen
    assert padded.shape == (len(sequences), length)
    for row, sequence in zip(padded.tolist(), sequences):
        cut = max(0, len(sequence) - length)
        kept = sequence[cut:] if truncating == "pre" else sequence[: len(sequence) - cut]
        filling = [-50] * (length - len(kept))
        assert row == (filling + kept if padding == "pre" else kept + filling)


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (ValueError, "sequences must be a sequence of sequences, got int", (3,)),
        (ValueError, r"sequences\[1\] must be a sequence, got int", ([[1], 2],)),
        (ValueError, r"sequences\[1\] must have shape \(\), got \(1,\)", ([[1], [[2]]],)),
        (ValueError, r"sequences\[1\] must have shape \(1,\), got \(\)", ([[[1]], [2]],)),
        (TypeError, "maxlen must be an int, got float", (RAGGED, 2.5)),
        (ValueError, "maxlen must not be negative, got -1", (RAGGED, -1)),
        (ValueError, "padding must be 'pre' or 'post', got 'left'", (RAGGED, 2, "int32", "left")),
        (ValueError, "truncating must be .* got 'x'", (RAGGED, 2, "int32", "pre", "x")),
        (ValueError, "value must be a number", (RAGGED, 2, "int32", "pre", "pre", "x")),
    ],
)
def test_pad_sequences_rejects(error, message, arguments):
    with pytest.raises(error, match=message):
        pad_sequences(*arguments)


@pytest.mark.parametrize("value", [None, 3, 1.5])
def test_what_is_not_iterable_is_refused(value):
    tokenizer = Tokenizer()
    tokenizer.fit_on_texts(["a b"])
    for method in ("fit_on_texts", "texts_to_sequences", "texts_to_matrix"):
        with pytest.raises(TypeError, match="texts must be iterable, got"):
            getattr(tokenizer, method)(value)
    for method in ("sequences_to_texts", "sequences_to_matrix"):
        with pytest.raises(TypeError, match=f"{method}: sequences must be iterable, got"):
            getattr(tokenizer, method)(value)


@pytest.mark.parametrize("name", ["filters", "split", "oov_token"])
def test_options_that_are_texts(name):
    with pytest.raises(TypeError, match=f"Tokenizer: {name} must be a str, got int"):
        Tokenizer(**{name: 3})


def test_padding_that_does_not_fit_the_dtype():
    with pytest.raises(TypeError, match="pad_sequences: value must fit dtype int32, got None"):
        pad_sequences([[1], [2, 3]], value=None)
    with pytest.raises(TypeError, match="pad_sequences: value must fit dtype int32"):
        pad_sequences([[1], [2, 3]], value=2**70)
    with pytest.raises(ValueError, match=r"pad_sequences: maxlen .* is too large"):
        pad_sequences([[1]], maxlen=2**62)
