"""BatchEncoding: what a tokenizer returns, and how its rows become equally long and tensors.

Source: transformers 4.19.2, ``tokenization_utils_base.py`` (``BatchEncoding``, ``pad``).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import tokenizers

from model_base.tokenization.settings import Direction

_FILL = {"attention_mask": 0, "token_type_ids": 0, "special_tokens_mask": 1}


class BatchEncoding(dict[str, Any]):
    """What a tokenizer returns: a mapping whose entries are attributes, too.

    Args:
        data: the entries.
        encodings: of the tokenizers library, one a row; no entry of the mapping.
    """

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        encodings: Sequence[tokenizers.Encoding] = (),
    ) -> None:
        super().__init__(data or {})
        self.encodings = list(encodings)

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def to(self, device: Any) -> "BatchEncoding":
        """Move the tensors to a device, in place; what is no tensor stays."""
        self.update({n: v.to(device) for n, v in self.items() if hasattr(v, "to")})
        return self

    def tokens(self, batch_index: int = 0) -> list[str]:
        """The tokens of a row."""
        return self._encoding(batch_index).tokens

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """The word of each token of a row; None for added tokens."""
        return self._encoding(batch_index).word_ids

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """0 or 1 for tokens of the first or second text of a row; None for added tokens."""
        return self._encoding(batch_index).sequence_ids

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The token that holds a character, if any; of row 0 if one number is given."""
        if char_index is None:
            return self._encoding(0).char_to_token(batch_or_char_index, sequence_index)
        return self._encoding(batch_or_char_index).char_to_token(char_index, sequence_index)

    def _encoding(self, index: int) -> tokenizers.Encoding:
        if not self.encodings:
            raise ValueError("only what a call of a tokenizer returns knows tokens and words")
        return self.encodings[index]


def columns_of(
    encodings: Sequence[tokenizers.Encoding], names: Sequence[str]
) -> dict[str, list[Any]]:
    """The named values of each encoding, by name."""
    return {name: _column(name, encodings) for name in names}


def _column(name: str, encodings: Sequence[tokenizers.Encoding]) -> list[Any]:
    attributes = {"input_ids": "ids", "token_type_ids": "type_ids", "offset_mapping": "offsets"}
    if name == "length":
        return [len(encoding) for encoding in encodings]
    return [getattr(encoding, attributes.get(name, name)) for encoding in encodings]


def with_overflow(
    encodings: Sequence[tokenizers.Encoding],
) -> tuple[list[tokenizers.Encoding], list[int]]:
    """Each encoding and what was cut off it; and for each of these the number of its text."""
    rows = [[encoding, *encoding.overflowing] for encoding in encodings]
    return (
        [encoding for row in rows for encoding in row],
        [index for index, row in enumerate(rows) for _ in row],
    )


def collated(inputs: Any) -> dict[str, Any]:
    """One mapping of lists from such a mapping, or from a list of them; arrays become lists.

    Raises:
        ValueError: something else, or mappings of different names.
    """
    if isinstance(inputs, Mapping):
        found = {name: plain(values) for name, values in inputs.items()}
    else:
        rows = list(inputs)
        if not rows or not all(isinstance(row, Mapping) and row.keys() == rows[0].keys()
                               for row in rows):  # fmt: skip
            raise ValueError("pad takes a mapping, or a list of mappings with the same names")
        found = {name: [plain(row[name]) for row in rows] for name in rows[0]}
    if "input_ids" not in found:
        raise ValueError(f"pad got {sorted(found)}; accepted: what holds input_ids")
    return found


def padded(
    columns: Mapping[str, Any], pad_id: int, length: int, side: Direction
) -> dict[str, list[list[Any]]]:
    """Rows of ids, masks and types filled up to a length; longer rows and other columns stay."""
    fill = {"input_ids": pad_id, **_FILL}
    return {
        name: [_filled(row, fill[name], length, side) for row in rows] if name in fill else rows
        for name, rows in columns.items()
    }


def _filled(row: Sequence[Any], value: int, length: int, side: Direction) -> list[Any]:
    missing = [value] * (length - len(row))
    return [*missing, *row] if side == "left" else [*row, *missing]


def as_tensors(columns: dict[str, Any], kind: str | None) -> None:
    """Make arrays ``[B, L]`` of the lists, in place.

    Args:
        columns: lists by name.
        kind: ``"pt"``, ``"tf"``, ``"np"``, or None, which leaves lists.

    Raises:
        ValueError: another kind; rows of different lengths.
    """
    if kind is None:
        return
    make: Any
    if kind == "np":
        from numpy import array as make
    elif kind == "pt":
        from torch import tensor as make
    elif kind == "tf":
        import tensorflow

        make = tensorflow.constant
    else:
        raise ValueError(f"return_tensors is {kind!r}; accepted: 'pt', 'tf', 'np', None")
    for name, column in columns.items():
        lengths = {len(row) for row in column if isinstance(row, list | tuple)}
        if len(lengths) > 1:
            raise ValueError(
                f"{name} has rows of {min(lengths)} to {max(lengths)}; return_tensors needs rows "
                f"of one length: give padding=True, with truncation=True if some are too long"
            )
        columns[name] = make(column)


def plain(values: Any) -> Any:
    """A list from a tensor or an array, rows that are such included."""
    if hasattr(values, "tolist"):
        return values.tolist()
    return [plain(row) for row in values] if isinstance(values, list | tuple) else values
