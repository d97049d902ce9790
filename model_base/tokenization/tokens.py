"""What a tokenizer knows of its tokens, and the settings that may be changed at any time.

Source: transformers 4.19.2, ``tokenization_utils_base.py``, ``tokenization_utils_fast.py``.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import tokenizers
from tokenizers import AddedToken

from model_base.tokenization.settings import NAMES, Direction

NO_LIMIT = int(1e30)
"""What ``model_max_length`` is without a limit."""


@dataclass(frozen=True, slots=True)
class TokenizerSettings:
    """How a tokenizer is used, apart from its vocabulary.

    Attributes:
        special: special tokens by the names of Transformers, such as ``mask_token``.
        additional: further special tokens.
        model_input_names: what a call returns.
        model_max_length: tokens; None without a limit.
        padding_side: the end that is filled.
        truncation_side: the end that is cut.
        clean_up_spaces: whether decoding takes out spaces before punctuation.
        chat_template: Jinja source, or by name if there are several.
    """

    special: Mapping[str, str] = field(default_factory=dict)
    additional: Sequence[str] = ()
    model_input_names: Sequence[str] = ("input_ids", "token_type_ids", "attention_mask")
    model_max_length: int | None = None
    padding_side: Direction = "right"
    truncation_side: Direction = "right"
    clean_up_spaces: bool = True
    chat_template: str | Mapping[str, str] | None = None


class TokenTable:
    """The tokens and settings of a ``PreTrainedTokenizer``, which is made of it.

    Args:
        backend: of the tokenizers library; neither pads nor truncates.
        settings: how it is used.
    """

    is_fast = True

    def __init__(self, backend: tokenizers.Tokenizer, settings: TokenizerSettings) -> None:
        self.backend_tokenizer = backend
        self.settings = settings
        self.name_or_path = ""
        self._lock = threading.Lock()  # padding and truncation are the backend's state

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(name_or_path={self.name_or_path!r}, "
            f"vocab_size={self.vocab_size}, model_max_length={self.model_max_length}, "
            f"padding_side={self.padding_side!r}, truncation_side={self.truncation_side!r}, "
            f"special_tokens={self.special_tokens_map})"
        )

    def __len__(self) -> int:
        """Number of tokens, added ones included."""
        return self.backend_tokenizer.get_vocab_size(with_added_tokens=True)

    def __getattr__(self, name: str) -> Any:
        """``mask_token`` and the like are texts, ``mask_token_id`` and the like ids, or None."""
        if name in NAMES:
            return self.settings.special.get(name)
        if name.removesuffix("_id") in NAMES:
            token = self.settings.special.get(name.removesuffix("_id"))
            return None if token is None else self.convert_tokens_to_ids(token)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        """Special tokens are set by text or by id; one that is not in the vocabulary is added."""
        if name in NAMES:
            self.add_special_tokens({name: value})
        elif name.removesuffix("_id") in NAMES:
            token = None if value is None else self.convert_ids_to_tokens(value)
            if token is None and value is not None:
                raise ValueError(f"{name} is {value}; accepted: ids below {len(self)}")
            self.add_special_tokens({name.removesuffix("_id"): token})
        else:
            super().__setattr__(name, value)

    @property
    def model_max_length(self) -> int:
        """Tokens that the model takes; ``int(1e30)`` without a limit."""
        return self.settings.model_max_length or NO_LIMIT

    @model_max_length.setter
    def model_max_length(self, value: float | None) -> None:
        if value is not None and (isinstance(value, bool) or not value >= 1):
            raise ValueError(f"model_max_length is {value!r}; accepted: 1 or more, None")
        limit = None if value is None or value >= 10**9 else int(value)
        self.settings = replace(self.settings, model_max_length=limit)

    @property
    def padding_side(self) -> Direction:
        """The end that is filled."""
        return self.settings.padding_side

    @padding_side.setter
    def padding_side(self, value: Direction) -> None:
        self.settings = replace(self.settings, padding_side=_side("padding_side", value))

    @property
    def truncation_side(self) -> Direction:
        """The end that is cut."""
        return self.settings.truncation_side

    @truncation_side.setter
    def truncation_side(self, value: Direction) -> None:
        self.settings = replace(self.settings, truncation_side=_side("truncation_side", value))

    @property
    def clean_up_tokenization_spaces(self) -> bool:
        """Whether decoding takes out spaces before punctuation."""
        return self.settings.clean_up_spaces

    @clean_up_tokenization_spaces.setter
    def clean_up_tokenization_spaces(self, value: bool) -> None:
        self.settings = replace(self.settings, clean_up_spaces=bool(value))

    @property
    def model_input_names(self) -> list[str]:
        """What a call returns."""
        return list(self.settings.model_input_names)

    @model_input_names.setter
    def model_input_names(self, value: Sequence[str]) -> None:
        self.settings = replace(self.settings, model_input_names=tuple(value))

    @property
    def chat_template(self) -> str | Mapping[str, str] | None:
        """Jinja source, or by name if there are several."""
        return self.settings.chat_template

    @chat_template.setter
    def chat_template(self, value: str | Mapping[str, str] | None) -> None:
        self.settings = replace(self.settings, chat_template=value)

    @property
    def additional_special_tokens(self) -> list[str]:
        """Special tokens without a name."""
        return list(self.settings.additional)

    @additional_special_tokens.setter
    def additional_special_tokens(self, value: Sequence[str | AddedToken]) -> None:
        self.add_special_tokens({"additional_special_tokens": value})

    @property
    def special_tokens_map(self) -> dict[str, Any]:
        """Special tokens by name."""
        further = self.additional_special_tokens
        return dict(self.settings.special) | (
            {"additional_special_tokens": further} if further else {}
        )

    @property
    def all_special_tokens(self) -> list[str]:
        """Every special token once."""
        return list(dict.fromkeys([*self.settings.special.values(), *self.settings.additional]))

    @property
    def all_special_ids(self) -> list[int]:
        """Their ids."""
        return [self.convert_tokens_to_ids(token) for token in self.all_special_tokens]

    @property
    def vocab_size(self) -> int:
        """Number of tokens without the added ones."""
        return self.backend_tokenizer.get_vocab_size(with_added_tokens=False)

    @property
    def vocab(self) -> dict[str, int]:
        """Id by token."""
        return self.get_vocab()

    def get_vocab(self) -> dict[str, int]:
        """Id by token."""
        return self.backend_tokenizer.get_vocab(with_added_tokens=True)

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Added tokens by id."""
        return dict(sorted(self.backend_tokenizer.get_added_tokens_decoder().items()))

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """Id by added token."""
        return {token.content: index for index, token in self.added_tokens_decoder.items()}

    def get_added_vocab(self) -> dict[str, int]:
        """Id by added token."""
        return self.added_tokens_encoder

    def add_tokens(self, new_tokens: Any, special_tokens: bool = False) -> int:
        """Add a token, or a list of tokens, that texts are parted at; returns how many are new."""
        tokens = [new_tokens] if isinstance(new_tokens, str | AddedToken) else list(new_tokens)
        backend, before = self.backend_tokenizer, len(self)
        with self._lock:
            (backend.add_special_tokens if special_tokens else backend.add_tokens)(tokens)
        return len(self) - before

    def add_special_tokens(self, special_tokens_dict: Mapping[str, Any]) -> int:
        """Set special tokens by name, and add those that the vocabulary lacks.

        Args:
            special_tokens_dict: a token (None takes it away) by names such as ``pad_token``; a
                list for ``additional_special_tokens``, which replaces the present ones.

        Returns:
            How many tokens are new to the vocabulary.

        Raises:
            ValueError: another name, or something else than a token.
        """
        special, additional = dict(self.settings.special), self.settings.additional
        added: list[str | AddedToken] = []
        for name, value in special_tokens_dict.items():
            if name == "additional_special_tokens" and isinstance(value, list | tuple):
                additional = tuple(_text(name, token) for token in value)
                added += value
            elif name not in NAMES:
                accepted = ", ".join((*NAMES, "additional_special_tokens (a list)"))
                raise ValueError(f"{name} is {value!r}; accepted names: {accepted}")
            elif value is None:
                special.pop(name, None)
            else:
                special[name] = _text(name, value)
                added.append(value)
        known = {t.content for t in self.added_tokens_decoder.values() if t.special}
        new = [t for t in added if isinstance(t, AddedToken) or t not in known]
        num_new = self.add_tokens(new, special_tokens=True)
        self.settings = replace(self.settings, special=special, additional=additional)
        return num_new

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """Number of tokens that are put around one text, or two."""
        return self.backend_tokenizer.num_special_tokens_to_add(pair)

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        """The id of a token, or a list of those of several; unknown ones are ``unk_token``'s."""
        if not isinstance(tokens, str):
            return [self.convert_tokens_to_ids(token) for token in tokens]
        found = self.backend_tokenizer.token_to_id(tokens)
        if found is None and tokens != self.unk_token and self.unk_token is not None:
            return self.unk_token_id
        return found

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """The token of an id, or a list of those of several, without special ones if asked."""
        if isinstance(ids, int):
            return self.backend_tokenizer.id_to_token(ids)
        skipped = set(self.all_special_ids) if skip_special_tokens else set()
        return [self.backend_tokenizer.id_to_token(i) for i in map(int, ids) if i not in skipped]


def _side(name: str, value: Any) -> Direction:
    if value not in get_args(Direction):
        raise ValueError(f"{name} is {value!r}; accepted: 'left', 'right'")
    side: Direction = value
    return side


def _text(name: str, token: Any) -> str:
    content = token.content if isinstance(token, AddedToken) else token
    if not isinstance(content, str) or not content:
        raise ValueError(f"{name} is {token!r}; accepted: a token's text, an AddedToken")
    return content
