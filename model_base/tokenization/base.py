"""PreTrainedTokenizer: a model's tokenizer with the calls that Transformers documents.

Source: transformers 4.19.2 and 4.57.3, ``tokenization_utils_base.py`` (arguments, outputs).
"""

import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, models

from model_base.tokenization import chat
from model_base.tokenization.settings import NAMES, Direction

_STRATEGIES = {True: "longest_first", "longest_first": "longest_first",
               "only_first": "only_first", "only_second": "only_second"}  # fmt: skip
_SPACED = (
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"),
    (" 'm", "'m"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
)  # fmt: skip


class BatchEncoding(dict[str, Any]):
    """What a tokenizer returns: a mapping whose entries are attributes, too."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


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


class PreTrainedTokenizer:
    """Texts to ids and back. ``AutoTokenizer.from_pretrained`` makes one.

    Args:
        backend: of the tokenizers library; neither pads nor truncates.
        settings: how it is used.
    """

    def __init__(self, backend: tokenizers.Tokenizer, settings: TokenizerSettings) -> None:
        self.backend_tokenizer = backend
        self.settings = settings
        self._lock = threading.Lock()  # padding and truncation are the backend's state
        decoder, model = backend.decoder, backend.model
        self._cleans_up = isinstance(decoder, decoders.WordPiece) and decoder.cleanup
        is_clip = isinstance(decoder, decoders.ByteLevel) and isinstance(model, models.BPE)
        self._word_end = (model.end_of_word_suffix or "") if is_clip else ""

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

    @property
    def vocab_size(self) -> int:
        """Number of tokens without the added ones."""
        return self.backend_tokenizer.get_vocab_size(with_added_tokens=False)

    @property
    def all_special_tokens(self) -> list[str]:
        """Every special token once."""
        return list(dict.fromkeys([*self.settings.special.values(), *self.settings.additional]))

    @property
    def all_special_ids(self) -> list[int]:
        """Their ids."""
        return [self.convert_tokens_to_ids(token) for token in self.all_special_tokens]

    def get_vocab(self) -> dict[str, int]:
        """Id by token."""
        return self.backend_tokenizer.get_vocab(with_added_tokens=True)

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        """The id of a token, or a list of those of several; unknown ones are ``unk_token``'s."""
        if not isinstance(tokens, str):
            return [self.convert_tokens_to_ids(token) for token in tokens]
        found = self.backend_tokenizer.token_to_id(tokens)
        if found is None and tokens != self.unk_token and self.unk_token is not None:
            return self.unk_token_id
        return found

    def convert_ids_to_tokens(self, ids: Any) -> Any:
        """The token of an id, or a list of those of several."""
        if isinstance(ids, int):
            return self.backend_tokenizer.id_to_token(ids)
        return [self.backend_tokenizer.id_to_token(int(i)) for i in ids]

    def tokenize(self, text: str) -> list[str]:
        """The tokens of a text, without added ones."""
        return self.backend_tokenizer.encode(text, add_special_tokens=False).tokens

    def encode(self, text: str, text_pair: str | None = None, **options: Any) -> list[int]:
        """The ids of a text; ``options`` as for a call."""
        ids: list[int] = self(text, text_pair, **options)["input_ids"]
        return ids

    def __call__(
        self,
        text: Any,
        text_pair: Any = None,
        *,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str = False,
        max_length: int | None = None,
        stride: int = 0,
        return_tensors: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_offsets_mapping: bool = False,
        return_special_tokens_mask: bool = False,
        return_length: bool = False,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
    ) -> BatchEncoding:
        """Encode a text, or a list of texts, each with a second one or without.

        Args:
            text: a text or a list; of words if ``is_split_into_words``.
            text_pair: the same for the second texts.
            add_special_tokens: what the model expects around texts.
            padding: True or ``"longest"``, ``"max_length"``, or False.
            truncation: True or ``"longest_first"``, ``"only_first"``, ``"only_second"``, False.
            max_length: tokens; None means the model's limit.
            stride: tokens that are kept of what is cut; only 0 for now.
            return_tensors: ``"pt"``, ``"np"`` or None for lists.
            return_token_type_ids: None: if the model reads them.
            return_attention_mask: None: if the model reads it.
            return_offsets_mapping: first character and the one after the last of each token.
            return_special_tokens_mask: 1 for added tokens.
            return_length: number of tokens.
            is_split_into_words: texts come as lists of words.
            pad_to_multiple_of: lengths are padded up to a multiple of it.

        Returns:
            Lists of int (or of lists, for several texts), or arrays ``[B, L]``.

        Raises:
            ValueError: an unknown strategy; padding without a padding token; texts and pairs that
                do not match; no limit to truncate to.
        """
        is_batch = isinstance(text, list | tuple) and (
            not is_split_into_words or bool(text and isinstance(text[0], list | tuple))
        )
        texts = list(text) if is_batch else [text]
        pairs = (list(text_pair) if is_batch else [text_pair]) if text_pair is not None else None
        if pairs is not None and len(pairs) != len(texts):
            raise ValueError(f"{len(texts)} texts and {len(pairs)} pairs; accepted: as many")
        if stride:
            raise ValueError(f"stride is {stride}; accepted: 0, overflowing parts are not returned")
        with self._lock:
            self._set_truncation(truncation, padding, max_length)
            self._set_padding(padding, max_length, pad_to_multiple_of)
            encodings = self.backend_tokenizer.encode_batch(
                texts if pairs is None else list(zip(texts, pairs, strict=True)),
                is_pretokenized=is_split_into_words, add_special_tokens=add_special_tokens,
            )  # fmt: skip
        names = self.settings.model_input_names
        wanted = {
            "input_ids": True,
            "token_type_ids": _chosen(return_token_type_ids, "token_type_ids" in names),
            "attention_mask": _chosen(return_attention_mask, "attention_mask" in names),
            "special_tokens_mask": return_special_tokens_mask,
            "offset_mapping": return_offsets_mapping,
            "length": return_length,
        }
        columns = BatchEncoding({n: _column(n, encodings) for n, on in wanted.items() if on})
        if return_tensors is not None:
            return _as_tensors(columns, return_tensors)
        return columns if is_batch else BatchEncoding({n: c[0] for n, c in columns.items()})

    def _set_truncation(
        self, truncation: bool | str, padding: bool | str, max_length: int | None
    ) -> None:
        if truncation in (False, "do_not_truncate"):
            self.backend_tokenizer.no_truncation()
            return
        if truncation not in _STRATEGIES:
            accepted = ", ".join(map(str, [*_STRATEGIES, False]))
            raise ValueError(f"truncation is {truncation!r}; accepted: {accepted}")
        limit = max_length or self.settings.model_max_length
        if limit is None:
            self.backend_tokenizer.no_truncation()
            return
        self.backend_tokenizer.enable_truncation(
            limit, strategy=_STRATEGIES[truncation], direction=self.settings.truncation_side
        )

    def _set_padding(
        self, padding: bool | str, max_length: int | None, multiple: int | None
    ) -> None:
        if padding in (False, "do_not_pad"):
            self.backend_tokenizer.no_padding()
            return
        if padding not in (True, "longest", "max_length"):
            raise ValueError(
                f"padding is {padding!r}; accepted: True, False, 'longest', 'max_length'"
            )
        if self.pad_token is None:
            raise ValueError("the tokenizer has no padding token: texts cannot be padded")
        length = max_length or self.settings.model_max_length if padding == "max_length" else None
        self.backend_tokenizer.enable_padding(
            direction=self.settings.padding_side, pad_id=self.pad_token_id,
            pad_token=self.pad_token, length=length, pad_to_multiple_of=multiple,
        )  # fmt: skip

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> str:
        """The text of ids (a list, an array or a tensor ``[L]``)."""
        text = self.backend_tokenizer.decode(
            [int(i) for i in _flat(token_ids)], skip_special_tokens=skip_special_tokens
        )
        if self._word_end:
            text = text.replace(self._word_end, " ").strip()
        return self._cleaned(text, self._cleans_up or clean_up_tokenization_spaces)

    def _cleaned(self, text: str, clean_up: bool | None) -> str:
        if _chosen(clean_up, self.settings.clean_up_spaces):
            for spaced, plain in _SPACED:
                text = text.replace(spaced, plain)
        return text

    def batch_decode(self, sequences: Iterable[Any], **options: Any) -> list[str]:
        """The text of each; ``options`` as for ``decode``."""
        return [self.decode(ids, **options) for ids in sequences]

    def apply_chat_template(
        self,
        conversation: Any,
        tools: Sequence[Any] | None = None,
        documents: Sequence[Any] | None = None,
        chat_template: str | None = None,
        add_generation_prompt: bool = False,
        tokenize: bool = True,
        **options: Any,
    ) -> Any:
        """The text of a conversation, or its ids.

        Args:
            conversation: messages ``{"role", "content"}``.
            tools: functions that the model may call.
            documents: texts to answer from.
            chat_template: in place of the model's own; source, or the name of one of several.
            add_generation_prompt: end with what precedes the model's answer.
            tokenize: return ids ``[L]``, else the text.
            options: names for the template.

        Raises:
            ChatTemplateError: there is no template, or it fails.
        """
        text = chat.render(
            self._template(chat_template), conversation, tools=tools, documents=documents,
            add_generation_prompt=add_generation_prompt, **dict(self.settings.special) | options,
        )  # fmt: skip
        return self.encode(text, add_special_tokens=False) if tokenize else text

    def _template(self, chosen: str | None) -> str:
        own = self.settings.chat_template
        if isinstance(own, Mapping):
            own = own.get(chosen or "default", own.get("default"))
            chosen = None if chosen in (self.settings.chat_template or {}) else chosen
        template = chosen or own
        if not isinstance(template, str):
            raise chat.ChatTemplateError("the model has no chat template; give chat_template")
        return template

    def save_pretrained(self, save_directory: str | Path) -> None:
        """Write ``tokenizer.json`` and ``tokenizer_config.json`` into a folder."""
        folder, settings = Path(save_directory), self.settings
        folder.mkdir(parents=True, exist_ok=True)
        config = {
            **settings.special,
            "additional_special_tokens": list(settings.additional),
            "model_input_names": list(settings.model_input_names),
            "model_max_length": settings.model_max_length,
            "padding_side": settings.padding_side,
            "truncation_side": settings.truncation_side,
            "clean_up_tokenization_spaces": settings.clean_up_spaces,
            "chat_template": settings.chat_template,
            "tokenizer_class": "PreTrainedTokenizerFast",
        }
        with self._lock:
            self.backend_tokenizer.no_padding()
            self.backend_tokenizer.no_truncation()
            self.backend_tokenizer.save(str(folder / "tokenizer.json"))
        text = json.dumps({k: v for k, v in config.items() if v is not None}, indent=2)
        (folder / "tokenizer_config.json").write_text(text + "\n", encoding="utf-8")


def _chosen(argument: bool | None, default: bool) -> bool:
    return default if argument is None else argument


def _column(name: str, encodings: Sequence[tokenizers.Encoding]) -> list[Any]:
    attributes = {"input_ids": "ids", "token_type_ids": "type_ids", "offset_mapping": "offsets"}
    if name == "length":
        return [len(encoding) for encoding in encodings]
    return [getattr(encoding, attributes.get(name, name)) for encoding in encodings]


def _as_tensors(columns: BatchEncoding, kind: str) -> BatchEncoding:
    if kind == "np":
        import numpy as np

        return BatchEncoding({name: np.array(column) for name, column in columns.items()})
    if kind == "pt":
        import torch

        return BatchEncoding({name: torch.tensor(column) for name, column in columns.items()})
    raise ValueError(f"return_tensors is {kind!r}; accepted: 'pt', 'np', None")


def _flat(token_ids: Any) -> Iterable[Any]:
    ids = token_ids.tolist() if hasattr(token_ids, "tolist") else token_ids
    return [ids] if isinstance(ids, int) else ids
