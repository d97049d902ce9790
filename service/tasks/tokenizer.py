"""Texts to token ids, exactly as the model's own tokenizer makes them. Nothing is padded."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tokenizers
from tokenizers import normalizers

from model_base.tokenization.files import TokenizerFiles, read_tokenizer
from model_base.tokenization.settings import (
    PATTERN_FAILED,
    Direction,
    UnsupportedTokenizer,
    failing_as,
)
from service.core.errors import BackendFailed, BadRequest
from service.core.messages import Array
from service.tasks.excerpts import cut_points, excerpt

MAX_WINDOWS = 256
"""Windows one text may be read in."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_CHARS_PER_TOKEN = 8
"""Most texts have four to five; an excerpt that turns out too short is made longer."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """One tokenised text, or text pair, or a part of one.

    Attributes:
        raw: the library's encoding of the whole.
        kept: int ``[length]``, ascending positions in ``raw`` that belong to this; None for all.
    """

    raw: tokenizers.Encoding
    kept: Array | None = None

    @property
    def input_ids(self) -> Array:
        """int32 ``[length]``, special tokens included."""
        return self._take(self.raw.ids)

    @property
    def type_ids(self) -> Array:
        """int32 ``[length]``; which of two texts, as the model was taught to tell."""
        return self._take(self.raw.type_ids)

    @property
    def offsets(self) -> Array:
        """int32 ``[length, 2]``; first character and the one after the last, in the text."""
        return self._take(self.raw.offsets)

    @property
    def is_special(self) -> Array:
        """Bool ``[length]``; True for tokens that the tokenizer added."""
        return self._take(self.raw.special_tokens_mask).astype(bool)

    @property
    def sequence_ids(self) -> Array:
        """int32 ``[length]``; 0 or 1 for the text a token is from, -1 for added ones."""
        return self._take([-1 if index is None else index for index in self.raw.sequence_ids])

    def position(self, index: int) -> int:
        """Position in ``raw`` of the token at ``index``."""
        return index if self.kept is None else int(self.kept[index])

    def cut(self, max_length: int, direction: Direction) -> "Encoding":
        """The same with content dropped at one end until ``max_length`` tokens are left."""
        content = np.flatnonzero(~self.is_special)
        num_over = max(len(self.raw) - max_length, 0)
        dropped = content[len(content) - num_over :] if direction == "right" else content[:num_over]
        return self._without(dropped)

    def windows(self, max_length: int, stride: int, sequence: int) -> "list[Encoding]":
        """Parts of at most ``max_length`` tokens, each with every token of the other text.

        Args:
            max_length: tokens of a part, special ones and the other text's included.
            stride: tokens that two neighbours share; fewer than a part has of this text.
            sequence: the text that is parted, 0 or 1.

        Raises:
            BadRequest: no room is left for the text, or it needs more than ``MAX_WINDOWS``.
        """
        content = np.flatnonzero(self.sequence_ids == sequence)
        num_others = len(self.input_ids) - len(content)
        room = max_length - num_others
        step = max(len(content), 1) if len(content) <= room else room - stride
        if step < 1:
            raise BadRequest(
                f"in {max_length} tokens {num_others} are taken and {stride} shared with the next "
                f"window: nothing is left for the text"
            )
        if len(content) > step * MAX_WINDOWS:
            raise BadRequest(
                f"{len(content)} tokens need more than {MAX_WINDOWS} windows of {max_length} "
                f"that share {stride}"
            )
        parts = []
        for start in range(0, max(len(content), 1), step):
            part = content[start : start + room]
            parts.append(self._without(np.setdiff1d(content, part)))
            if start + room >= len(content):
                break
        return parts

    def limit_sequence(self, sequence: int, max_tokens: int) -> "Encoding":
        """The same with one text cut to its first ``max_tokens`` tokens."""
        return self._without(np.flatnonzero(self.sequence_ids == sequence)[max_tokens:])

    def _without(self, dropped: Array) -> "Encoding":
        """A copy less the tokens at the positions ``dropped`` of this one."""
        if not len(dropped):
            return self
        kept = np.arange(len(self.raw)) if self.kept is None else self.kept
        return Encoding(self.raw, np.delete(kept, dropped))

    def _take(self, values: Sequence[object]) -> Array:
        array = np.asarray(values, dtype=np.int32)
        return array if self.kept is None else array[self.kept]


class Tokenizer:
    """The tokenizer of one model. Nothing changes after ``__init__``: share it among threads.

    Attributes:
        max_length: most tokens of one encoding, special ones included.
        special_ids: id by name, such as ``mask_token``; only those the model has.
    """

    def __init__(self, files: TokenizerFiles, max_length: int) -> None:
        """Take over ``files.tokenizer``; ``max_length`` as the class has it.

        Raises:
            UnsupportedTokenizer: the special tokens alone fill ``max_length``.
        """
        self._tokenizer = files.tokenizer
        self._truncation_side = files.truncation_side
        self._cut_points = cut_points(files.tokenizer)
        self.max_length = max_length
        self.special_ids = files.special_ids
        num_special = files.tokenizer.num_special_tokens_to_add(False)
        if max_length <= num_special:
            raise UnsupportedTokenizer(
                f"a limit of {max_length} tokens leaves no room beside {num_special} special ones"
            )

    @classmethod
    def from_folder(
        cls,
        folder: Path,
        max_length: int,
        *,
        max_seq_length: int | None = None,
        lower_case: bool = False,
    ) -> "Tokenizer":
        """Read a model's tokenizer.

        Args:
            folder: holds ``tokenizer.json``, a vocabulary or a SentencePiece model, and settings.
            max_length: longest sequence the model takes.
            max_seq_length: takes the place of the limit in the tokenizer's own settings.
            lower_case: lower-case texts first, as sentence-transformers' ``do_lower_case``.

        Raises:
            TokenizerNotFound: there are no such files.
            UnsupportedTokenizer: they cannot be honoured.
            UnreadableFile: a settings file is not JSON.
        """
        files = read_tokenizer(folder)
        if lower_case:
            _lower_case_first(files.tokenizer)
        own = max_seq_length or files.model_max_length or max_length
        return cls(files, min(max_length, own))

    def encode(
        self,
        texts: Sequence[str],
        *,
        truncate: bool = False,
        truncation_direction: Direction | None = None,
        with_offsets: bool = False,
    ) -> list[Encoding]:
        """Tokenise texts, in their order.

        Args:
            texts: one encoding each.
            truncate: drop content beyond ``max_length``; special tokens stay.
            truncation_direction: the end that is dropped; None means the tokenizer's own.
            with_offsets: keep the characters of each token; costs about a third more time.

        Raises:
            BadRequest: a text is too long and ``truncate`` is False, or holds a lone surrogate.
        """
        direction = truncation_direction or self._truncation_side
        check_encodable(texts)
        encodings: dict[int, Encoding] = {}
        pending = dict(enumerate(texts))
        num_chars = self.max_length * _CHARS_PER_TOKEN
        while pending:
            parts = {
                index: self._excerpt(text, num_chars, direction, with_offsets)
                for index, text in pending.items()
            }
            for index, raw in zip(
                parts, self._encode(list(parts.values()), with_offsets), strict=True
            ):
                is_whole = len(parts[index]) == len(texts[index])
                if len(raw) > self.max_length:
                    if not truncate:
                        raise too_long(index, len(raw), self.max_length, exact=is_whole)
                    encodings[index] = Encoding(raw).cut(self.max_length, direction)
                elif is_whole:
                    encodings[index] = Encoding(raw)
            pending = {index: text for index, text in pending.items() if index not in encodings}
            num_chars *= 4
        return [encodings[index] for index in range(len(texts))]

    def encode_uncut(self, texts: Sequence[str], question: str | None = None) -> list[Encoding]:
        """Tokenise long texts to be read in windows, with offsets.

        Args:
            texts: one encoding each, nothing dropped.
            question: becomes the first text of a pair with each of them.

        Raises:
            BadRequest: a text has more characters than ``MAX_WINDOWS`` windows can hold, or
                holds a lone surrogate.
        """
        check_encodable(texts)
        limit = self.max_length * _CHARS_PER_TOKEN * MAX_WINDOWS
        for index, text in enumerate([question or "", *texts], start=-1):
            if len(text) > limit:
                what = "question" if index < 0 else f"input {index}"
                raise BadRequest(f"{what} has {len(text)} characters; at most {limit} are read")
        if question is None:
            return [Encoding(raw) for raw in self._encode(texts, True)]
        check_encodable([question], "question")
        return [Encoding(raw) for raw in self._encode([(question, text) for text in texts], True)]

    def first_id(self, text: str) -> int | None:
        """Id of ``text`` if it is one token, else of its first token; None if it has none."""
        check_encodable([text], "target")
        token_id = self._tokenizer.token_to_id(text)
        if token_id is not None:
            return token_id
        with failing_as(_failed):
            ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids[0] if ids else None

    def token(self, token_id: int) -> str:
        """The token as the vocabulary writes it; empty for an id that is not in it."""
        return self._tokenizer.id_to_token(token_id) or ""

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        """Readable text of token ids."""
        with failing_as(_failed):
            return self._tokenizer.decode(list(token_ids), skip_special_tokens=skip_special_tokens)

    def join(self, tokens: Sequence[str]) -> str:
        """Readable text of tokens as ``token`` gives them."""
        decoder = self._tokenizer.decoder
        with failing_as(_failed):
            return decoder.decode(list(tokens)) if decoder else " ".join(tokens)

    @property
    def marks_word_parts(self) -> bool:
        """True when a token that goes on with a word is written differently (``##ing``)."""
        return bool(getattr(self._tokenizer.model, "continuing_subword_prefix", None))

    def _excerpt(self, text: str, num_chars: int, direction: Direction, with_offsets: bool) -> str:
        shifts = with_offsets and direction == "left"
        if self._cut_points is None or shifts or len(text) <= num_chars:
            return text
        return excerpt(text, num_chars, direction, self._cut_points)

    def _encode(
        self, texts: Sequence[str] | Sequence[tuple[str, str]], with_offsets: bool
    ) -> list[tokenizers.Encoding]:
        tokenizer = self._tokenizer
        encode = tokenizer.encode_batch if with_offsets else tokenizer.encode_batch_fast
        with failing_as(_failed):
            return encode(list(texts))


def _failed(why: str) -> BackendFailed:
    cause = f": {why}" if why == PATTERN_FAILED else ""
    return BackendFailed(f"the model's tokenizer failed on this input{cause}")


def too_long(index: int, seen: int, limit: int, *, exact: bool = True) -> BadRequest:
    """The error for an input that has more tokens than the model takes."""
    count = f"{seen}" if exact else f"more than {limit}"
    return BadRequest(f"input {index} has {count} tokens; the model takes at most {limit}")


def check_encodable(texts: Sequence[str], what: str = "input") -> None:
    """Refuse texts that no encoding can write; ``what`` they are goes into the message.

    Raises:
        BadRequest: a text holds a lone surrogate.
    """
    for index, text in enumerate(texts):
        if not text.isascii() and (found := _SURROGATE.search(text)):
            raise BadRequest(
                f"{what} {index} holds a lone surrogate, U+{ord(found.group()):04X}, at character "
                f"{found.start()}; text must be valid Unicode"
            )


def _lower_case_first(tokenizer: tokenizers.Tokenizer) -> None:
    """Put a lower-casing before the tokenizer's own normalising, unless that does it."""
    own = tokenizer.normalizer
    settings = own.__getstate__().decode() if own else ""
    if '"type":"Lowercase"' in settings or '"lowercase":true' in settings:
        return
    steps = [normalizers.Lowercase()] if own is None else [normalizers.Lowercase(), own]
    tokenizer.normalizer = normalizers.Sequence(steps)
