"""Text to numbers: `Tokenizer` and `pad_sequences`, with the semantics of Keras.

Examples
--------
>>> from fastnn.text import Tokenizer, pad_sequences
>>> tokenizer = Tokenizer(oov_token="<unknown>")
>>> tokenizer.fit_on_texts(["I love AI", "AI is amazing"])
>>> tokenizer.word_index
{'<unknown>': 1, 'ai': 2, 'i': 3, 'love': 4, 'is': 5, 'amazing': 6}
>>> pad_sequences(tokenizer.texts_to_sequences(["I love tea", "AI"]))
array([[3, 4, 1],
       [0, 0, 2]], dtype=int32)
"""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._pad_sequences import pad_sequences, size

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Union

    from numpy.typing import NDArray

    Text = Union[str, list[str], tuple[str, ...]]


__all__ = ["Tokenizer", "pad_sequences", "text_to_word_sequence"]

_PUNCTUATION = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'


def text_to_word_sequence(
    input_text: str, filters: str = _PUNCTUATION, lower: bool = True, split: str = " "
) -> list[str]:
    r"""Split a text into words.

    Every character of `filters` is replaced by `split`, then the text is cut at `split`; empty
    words are dropped.

    Parameters
    ----------
    input_text : str
        The text.
    filters : str
        Characters to remove: punctuation, tab and newline, but not the apostrophe.
    lower : bool
        Whether to convert to lower case first.
    split : str
        What separates words.

    Returns
    -------
    list of str
        The words in order.

    Raises
    ------
    TypeError
        If `input_text` is not a string.
    ValueError
        If `split` is empty.

    Examples
    --------
    >>> text_to_word_sequence("It's red, isn't it?\n")
    ["it's", 'red', "isn't", 'it']
    """
    if not isinstance(input_text, str):
        raise TypeError(
            f"text_to_word_sequence: input_text must be a str, got {type(input_text).__name__}"
        )
    if not split:
        raise ValueError("text_to_word_sequence: split must not be empty")
    return _words(input_text, str.maketrans(dict.fromkeys(filters, split)), lower, split)


def _words(text: str, table: dict[int, str], lower: bool, split: str) -> list[str]:
    if lower:
        text = text.lower()
    return [word for word in text.translate(table).split(split) if word]


class Tokenizer:
    r"""Turn texts into sequences of word indices, or into one row of a matrix each.

    Words get the indices 1, 2, ... from the most to the least frequent; words equally frequent
    keep the order in which they first appeared. Index 0 belongs to no word: it is the padding.
    With `oov_token`, index 1 stands for every word that is not known.

    A text is a string, or a list of strings that are the words already.

    Parameters
    ----------
    num_words : int, optional
        Only the indices below this number are used, which are the ``num_words - 1`` most frequent
        words. `word_index` still holds all of them.
    filters : str
        Characters that separate words and are dropped.
    lower : bool
        Whether to convert texts to lower case.
    split : str
        What separates words.
    char_level : bool
        Whether every character is a token; `filters` and `split` then play no part.
    oov_token : str, optional
        Takes the place of unknown words, which are left out otherwise.

    Attributes
    ----------
    word_counts : dict of str to int
        How often each word occurred, in order of first appearance.
    word_docs : dict of str to int
        In how many texts each word occurred.
    word_index, index_word : dict
        Word to index and index to word.
    index_docs : dict of int to int
        In how many texts the word of each index occurred.
    document_count : int
        How many texts the tokenizer has seen.

    References
    ----------
    The class of the same name in ``tf.keras.preprocessing.text``.

    Examples
    --------
    >>> tokenizer = Tokenizer(num_words=3)
    >>> tokenizer.fit_on_texts(["the cat sat", "the cat ran", "the end"])
    >>> tokenizer.word_index
    {'the': 1, 'cat': 2, 'sat': 3, 'ran': 4, 'end': 5}
    >>> tokenizer.texts_to_sequences(["The cat sat!"])
    [[1, 2]]
    >>> tokenizer.sequences_to_texts([[1, 2]])
    ['the cat']
    >>> tokenizer.texts_to_matrix(["the cat and the dog"], mode="count")
    array([[0., 2., 1.]])
    """

    def __init__(
        self,
        num_words: int | None = None,
        filters: str = _PUNCTUATION,
        lower: bool = True,
        split: str = " ",
        char_level: bool = False,
        oov_token: str | None = None,
    ) -> None:
        if num_words is not None:
            num_words = size("Tokenizer: num_words", num_words)
        for name, text in (("filters", filters), ("split", split), ("oov_token", oov_token)):
            if not isinstance(text, str) and not (name == "oov_token" and text is None):
                raise TypeError(f"Tokenizer: {name} must be a str, got {type(text).__name__}")
        if not split and not char_level:
            raise ValueError("Tokenizer: split must not be empty")
        self.num_words = num_words
        self.filters = filters
        self.lower = lower
        self.split = split
        self.char_level = char_level
        self.oov_token = oov_token
        self.document_count = 0
        self.word_counts: Counter[str] = Counter()
        self.word_docs: Counter[str] = Counter()
        self.word_index: dict[str, int] = {}
        self.index_word: dict[int, str] = {}
        self.index_docs: dict[int, int] = {}

    def fit_on_texts(self, texts: Iterable[Text]) -> None:
        """Count the words of `texts` and number them. Further calls add to the counts.

        Parameters
        ----------
        texts : iterable of texts
            Strings, or lists of words.

        Raises
        ------
        TypeError
            If `texts` is one string, or holds something that is not a text.
        """
        for words in self._tokenized("fit_on_texts", texts):
            self.document_count += 1
            self.word_counts.update(words)
            self.word_docs.update(dict.fromkeys(words, 1))

        vocabulary = [] if self.oov_token is None else [self.oov_token]
        # The sort is stable: words equally frequent stay in order of appearance.
        vocabulary += sorted(self.word_counts, key=self.word_counts.__getitem__, reverse=True)
        self.word_index = dict(zip(vocabulary, range(1, len(vocabulary) + 1)))
        self.index_word = {index: word for word, index in self.word_index.items()}
        self.index_docs = {self.word_index[word]: count for word, count in self.word_docs.items()}

    def texts_to_sequences(self, texts: Iterable[Text]) -> list[list[int]]:
        """Replace every word of every text by its index.

        Words that are unknown, or whose index is not below `num_words`, become the index of
        `oov_token`; without one they are left out.

        Parameters
        ----------
        texts : iterable of texts
            Strings, or lists of words.

        Returns
        -------
        list of list of int
            One list a text.
        """
        limit = self.num_words
        oov_index = None if self.oov_token is None else self.word_index.get(self.oov_token)
        find = self.word_index.get
        sequences = []
        for words in self._tokenized("texts_to_sequences", texts):
            found = [find(word, oov_index) for word in words]
            if limit:
                found = [i if i is None or i < limit else oov_index for i in found]
            sequences.append([i for i in found if i is not None])
        return sequences

    def sequences_to_texts(self, sequences: Iterable[Iterable[int]]) -> list[str]:
        """Replace every index by its word, and join the words with spaces.

        Parameters
        ----------
        sequences : iterable of sequences of int
            For example what `texts_to_sequences` returns; padding (0) is an unknown index.

        Returns
        -------
        list of str
            One text a sequence. Unknown indices, and those not below `num_words`, become
            `oov_token`, or are left out if there is none.
        """
        _check_iterable("Tokenizer.sequences_to_texts: sequences", sequences)
        limit = self.num_words
        oov_index = None if self.oov_token is None else self.word_index.get(self.oov_token)
        oov_word = None if oov_index is None else self.index_word[oov_index]
        find = self.index_word.get
        texts = []
        for sequence in sequences:
            words = (oov_word if limit and i >= limit else find(i, oov_word) for i in sequence)
            texts.append(" ".join(word for word in words if word is not None))
        return texts

    def texts_to_matrix(self, texts: Iterable[Text], mode: str = "binary") -> NDArray[np.float64]:
        """Turn every text into one row with a column for each index.

        Parameters
        ----------
        texts : iterable of texts
            Strings, or lists of words.
        mode : {"binary", "count", "tfidf", "freq"}
            See `sequences_to_matrix`.

        Returns
        -------
        ndarray of float64, (len(texts), columns)
            `columns` is `num_words`, or without it one more than there are words.
        """
        return self.sequences_to_matrix(self.texts_to_sequences(texts), mode)

    def sequences_to_matrix(
        self, sequences: Sequence[Sequence[int]], mode: str = "binary"
    ) -> NDArray[np.float64]:
        """Turn every sequence of indices into one row with a column for each index.

        An index that occurs c > 0 times in a sequence of length n gives, by `mode`:

        - ``"binary"``: 1
        - ``"count"``: c
        - ``"freq"``: c / n
        - ``"tfidf"``: ``(1 + log c) * log(1 + document_count / (1 + index_docs[index]))``

        Parameters
        ----------
        sequences : sequence of sequences of int
            Indices not below the number of columns are passed over.
        mode : {"binary", "count", "tfidf", "freq"}
            What the numbers say.

        Returns
        -------
        ndarray of float64, (len(sequences), columns)
            `columns` is `num_words`, or without it one more than there are words.

        Raises
        ------
        ValueError
            If `mode` is unknown, an index is negative, or nothing has been fitted yet.
        """
        if mode not in ("binary", "count", "tfidf", "freq"):
            raise ValueError(
                "Tokenizer.sequences_to_matrix: mode must be 'binary', 'count', 'tfidf' or 'freq', "
                f"got {mode!r}"
            )
        if not self.num_words and not self.word_index:
            raise ValueError(
                "Tokenizer.sequences_to_matrix: the number of columns is not known; "
                "give num_words or call fit_on_texts first"
            )
        if mode == "tfidf" and not self.document_count:
            raise ValueError(
                "Tokenizer.sequences_to_matrix: mode 'tfidf' needs fit_on_texts to be called first"
            )
        if not isinstance(sequences, (list, tuple, np.ndarray)):
            _check_iterable("Tokenizer.sequences_to_matrix: sequences", sequences)
            sequences = list(sequences)
        for sequence in sequences:
            _check_iterable("Tokenizer.sequences_to_matrix: each sequence", sequence)
        columns = self.num_words or len(self.word_index) + 1
        lengths = np.array([len(sequence) for sequence in sequences], np.int64)
        indices = np.fromiter(chain.from_iterable(sequences), np.int64, int(lengths.sum()))
        if indices.size and indices.min() < 0:
            raise ValueError(
                "Tokenizer.sequences_to_matrix: sequences must hold indices >= 0, "
                f"got {indices.min()}"
            )
        cells = np.repeat(np.arange(lengths.size) * columns, lengths) + indices
        size = lengths.size * columns
        counts = np.bincount(cells[indices < columns], minlength=size).reshape(-1, columns)

        if mode == "binary":
            return (counts > 0).astype(np.float64)
        if mode == "count":
            return counts.astype(np.float64)
        if mode == "freq":
            return counts / np.maximum(lengths, 1)[:, None]
        documents = np.array([self.index_docs.get(index, 0) for index in range(columns)])
        inverse_frequency = np.log(1 + self.document_count / (1 + documents))
        matrix: NDArray[np.float64] = np.log(np.maximum(counts, 1))
        matrix += counts > 0
        matrix *= inverse_frequency
        return matrix

    def to_json(self) -> str:
        """Write the tokenizer as JSON, in the layout of Keras' ``Tokenizer.to_json``.

        Returns
        -------
        str
            What `from_json` reads.
        """
        import json

        config = {
            "num_words": self.num_words,
            "filters": self.filters,
            "lower": self.lower,
            "split": self.split,
            "char_level": self.char_level,
            "oov_token": self.oov_token,
            "document_count": self.document_count,
            "word_counts": json.dumps(self.word_counts),
            "word_docs": json.dumps(self.word_docs),
            "index_docs": json.dumps(self.index_docs),
            "index_word": json.dumps(self.index_word),
            "word_index": json.dumps(self.word_index),
        }
        return json.dumps({"class_name": type(self).__name__, "config": config})

    @classmethod
    def from_json(cls, json_string: str) -> Tokenizer:
        """Make a tokenizer from what `to_json`, or Keras' tokenizer, has written.

        Parameters
        ----------
        json_string : str
            The JSON text.

        Returns
        -------
        Tokenizer
            With the same words and counts.

        Raises
        ------
        ValueError
            If the text is not the JSON of a tokenizer.

        Examples
        --------
        >>> tokenizer = Tokenizer()
        >>> tokenizer.fit_on_texts(["a b a"])
        >>> Tokenizer.from_json(tokenizer.to_json()).word_index
        {'a': 1, 'b': 2}
        """
        import json

        try:
            config = json.loads(json_string)["config"]
            counts = {
                name: json.loads(config.pop(name))
                for name in ("word_counts", "word_docs", "index_docs", "index_word", "word_index")
            }
            document_count = config.pop("document_count")
            tokenizer = cls(**config)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                "Tokenizer.from_json: json_string must be what Tokenizer.to_json returns"
            ) from error
        tokenizer.document_count = document_count
        tokenizer.word_counts = Counter(counts["word_counts"])
        tokenizer.word_docs = Counter(counts["word_docs"])
        tokenizer.word_index = counts["word_index"]
        tokenizer.index_docs = {int(index): n for index, n in counts["index_docs"].items()}
        tokenizer.index_word = {int(index): word for index, word in counts["index_word"].items()}
        return tokenizer

    def _tokenized(self, caller: str, texts: Iterable[Text]) -> Iterable[list[str]]:
        """Yield the words (or characters) of each text."""
        if isinstance(texts, str):
            raise TypeError(f"Tokenizer.{caller}: texts must be an iterable of texts, got one str")
        _check_iterable(f"Tokenizer.{caller}: texts", texts)
        table = str.maketrans(dict.fromkeys(self.filters, self.split))
        for position, text in enumerate(texts):
            if isinstance(text, str):
                if self.char_level:
                    yield list(text.lower() if self.lower else text)
                else:
                    yield _words(text, table, self.lower, self.split)
            elif isinstance(text, (list, tuple)):
                yield [word.lower() for word in text] if self.lower else list(text)
            else:
                raise TypeError(
                    f"Tokenizer.{caller}: texts[{position}] must be a str or a list of str, "
                    f"got {type(text).__name__}"
                )


def _check_iterable(name: str, value: Any) -> None:
    if not hasattr(value, "__iter__"):
        raise TypeError(f"{name} must be iterable, got {type(value).__name__}")
