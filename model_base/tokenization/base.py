"""PreTrainedTokenizer: a model's tokenizer with the calls that Transformers documents.

Source: transformers 4.19.2 and 4.57.3, ``tokenization_utils_base.py`` (arguments, outputs).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, models
from typing_extensions import override

from model_base.hub.push import PushToHubMixin, pop_push_options
from model_base.saving import all_or_nothing
from model_base.tokenization import chat
from model_base.tokenization.encoding import (
    BatchEncoding,
    as_tensors,
    collated,
    columns_of,
    padded,
    with_overflow,
)
from model_base.tokenization.settings import failing_as
from model_base.tokenization.tokens import TokenizerSettings, TokenTable

__all__ = ["BatchEncoding", "PreTrainedTokenizer", "PreTrainedTokenizerFast"]

OLDER_SETTINGS = (
    "special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "chat_template.json",
)  # fmt: skip
"""Files whose settings win over those of ``tokenizer_config.json``, which has them all now."""
_STRATEGIES = {True: "longest_first", "longest_first": "longest_first",
               "only_first": "only_first", "only_second": "only_second"}  # fmt: skip
_SPACED = (
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"),
    (" 'm", "'m"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
)  # fmt: skip


class PreTrainedTokenizer(PushToHubMixin, TokenTable):
    """Texts to ids and back. ``AutoTokenizer.from_pretrained`` makes one.

    Args:
        backend: of the tokenizers library; neither pads nor truncates.
        settings: how it is used.
    """

    def __init__(self, backend: tokenizers.Tokenizer, settings: TokenizerSettings) -> None:
        super().__init__(backend, settings)
        decoder, model = backend.decoder, backend.model
        self._cleans_up = isinstance(decoder, decoders.WordPiece) and decoder.cleanup
        is_clip = isinstance(decoder, decoders.ByteLevel) and isinstance(model, models.BPE)
        self._word_end = (model.end_of_word_suffix or "") if is_clip else ""

    def tokenize(self, text: str) -> list[str]:
        """The tokens of a text, without added ones."""
        with _encoding():
            return self.backend_tokenizer.encode(text, add_special_tokens=False).tokens

    def encode(self, text: str, text_pair: str | None = None, **options: Any) -> list[int]:
        """The ids of a text; ``options`` as for a call."""
        ids: list[int] = self(text, text_pair, **options)["input_ids"]
        return ids

    def encode_plus(self, text: Any, text_pair: Any = None, **options: Any) -> BatchEncoding:
        """As a call."""
        return self(text, text_pair, **options)

    def batch_encode_plus(
        self, batch_text_or_text_pairs: Sequence[Any], **options: Any
    ) -> BatchEncoding:
        """As a call with a list; of texts, or of tuples of two texts."""
        batch = list(batch_text_or_text_pairs)
        if batch and isinstance(batch[0], tuple) and not options.get("is_split_into_words"):
            texts, pairs = zip(*batch, strict=True)
            return self(list(texts), list(pairs), **options)
        return self(batch, **options)

    def __call__(
        self,
        text: Any = None,
        text_pair: Any = None,
        text_target: Any = None,
        text_pair_target: Any = None,
        **options: Any,
    ) -> BatchEncoding:
        """Encode a text, or a list of texts, each with a second one or without.

        Args:
            text: a text or a list; of words if ``is_split_into_words``.
            text_pair: the same for the second texts.
            text_target: what the model shall write; its ids are ``labels``, or what is returned
                if there is no ``text``.
            text_pair_target: the second text of that.
            options: by name:
                add_special_tokens: what the model expects around texts; True.
                padding: True or ``"longest"``, ``"max_length"``, or False.
                truncation: True or ``"longest_first"``, ``"only_first"``, ``"only_second"``, False.
                max_length: tokens; None means the model's limit.
                stride: tokens that an overflowing part repeats of the one before; 0.
                return_tensors: ``"pt"``, ``"tf"``, ``"np"`` or None for lists.
                return_token_type_ids: None: if the model reads them.
                return_attention_mask: None: if the model reads it.
                return_overflowing_tokens: what is cut off follows as rows of its own, and
                    ``overflow_to_sample_mapping`` has the text's number for each.
                return_offsets_mapping: first character and the one after the last of each token.
                return_special_tokens_mask: 1 for added tokens.
                return_length: number of tokens.
                is_split_into_words: texts come as lists of words.
                pad_to_multiple_of: lengths are padded up to a multiple of it.
                verbose: no effect.

        Returns:
            Lists of int (or of lists, for several texts), or arrays ``[B, L]``.

        Raises:
            TypeError: an option that there is not.
            ValueError: an unknown strategy; padding without a padding token; texts and pairs that
                do not match; rows of different lengths for an array; neither text nor target;
                something else than text; a stride longer than what the limit leaves.
        """
        if text is None and text_target is None:
            raise ValueError("text and text_target are None; accepted: one of them, or both")
        if text_target is None:
            return self._encoded(text, text_pair, **options)
        targets = self._encoded(text_target, text_pair_target, **options)
        if text is None:
            return targets
        encoded = self._encoded(text, text_pair, **options)
        encoded["labels"] = targets["input_ids"]
        return encoded

    def _encoded(
        self,
        text: Any,
        text_pair: Any,
        *,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str = False,
        max_length: int | None = None,
        stride: int = 0,
        return_tensors: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_offsets_mapping: bool = False,
        return_special_tokens_mask: bool = False,
        return_length: bool = False,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        verbose: bool = True,
    ) -> BatchEncoding:
        is_batch = isinstance(text, list | tuple) and (
            not is_split_into_words or bool(text and isinstance(text[0], list | tuple))
        )
        texts = list(text) if is_batch else [text]
        pairs = (list(text_pair) if is_batch else [text_pair]) if text_pair is not None else None
        if pairs is not None and len(pairs) != len(texts):
            raise ValueError(f"{len(texts)} texts and {len(pairs)} pairs; accepted: as many")
        if stride and not return_overflowing_tokens:
            raise ValueError(f"stride is {stride}; accepted: 0 without return_overflowing_tokens")
        num_special = self.num_special_tokens_to_add(pairs is not None) * add_special_tokens
        with self._lock:
            self._set_truncation(truncation, max_length, stride, num_special)
            self._set_padding(padding, max_length, pad_to_multiple_of)
            with _encoding():
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
        samples = None
        if return_overflowing_tokens:
            encodings, samples = with_overflow(encodings)
        columns = columns_of(encodings, [name for name, on in wanted.items() if on])
        if samples is not None:
            columns["overflow_to_sample_mapping"] = samples
        elif return_tensors is None and not is_batch:
            columns = {name: column[0] for name, column in columns.items()}
        as_tensors(columns, return_tensors)
        return BatchEncoding(columns, encodings)

    def _set_truncation(
        self, truncation: bool | str, max_length: int | None, stride: int, num_special: int
    ) -> None:
        self.backend_tokenizer.no_truncation()
        if truncation in (False, "do_not_truncate"):
            return
        if truncation not in _STRATEGIES:
            accepted = ", ".join(map(str, [*_STRATEGIES, False]))
            raise ValueError(f"truncation is {truncation!r}; accepted: {accepted}")
        limit = max_length or self.settings.model_max_length
        if limit is None:
            return
        if stride and not 0 <= stride < limit - num_special:
            raise ValueError(f"stride is {stride}; accepted: below {limit - num_special}, which "
                             f"{limit} tokens leave for the text")  # fmt: skip
        with failing_as(ValueError):
            self.backend_tokenizer.enable_truncation(
                limit, stride=stride, strategy=_STRATEGIES[truncation],
                direction=self.settings.truncation_side,
            )  # fmt: skip

    def _set_padding(
        self, padding: bool | str, max_length: int | None, multiple: int | None
    ) -> None:
        self.backend_tokenizer.no_padding()
        if self._pads(padding):
            fixed = max_length or self.settings.model_max_length
            self.backend_tokenizer.enable_padding(
                direction=self.settings.padding_side, pad_id=self.pad_token_id,
                pad_token=self.pad_token, length=fixed if padding == "max_length" else None,
                pad_to_multiple_of=multiple,
            )  # fmt: skip

    def _pads(self, padding: bool | str) -> bool:
        if padding in (False, "do_not_pad"):
            return False
        if padding not in (True, "longest", "max_length"):
            raise ValueError(
                f"padding is {padding!r}; accepted: True, False, 'longest', 'max_length'"
            )
        if self.pad_token is None:
            raise ValueError("the tokenizer has no padding token: texts cannot be padded")
        return True

    def pad(
        self,
        encoded_inputs: Any,
        padding: bool | str = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | None = None,
        verbose: bool = True,
    ) -> BatchEncoding:
        """Make encoded texts equally long.

        Args:
            encoded_inputs: what a call returns, or a list of such; columns other than ids, masks
                and types stay as they are.
            padding: as for a call.
            max_length: as for a call.
            pad_to_multiple_of: as for a call.
            return_attention_mask: None: if the model reads it.
            return_tensors: ``"pt"``, ``"tf"``, ``"np"`` or None for lists.
            verbose: no effect.

        Raises:
            ValueError: no ``input_ids``; otherwise as a call.
        """
        columns = collated(encoded_inputs)
        is_single = bool(columns["input_ids"]) and isinstance(columns["input_ids"][0], int)
        if is_single:
            columns = {name: [column] for name, column in columns.items()}
        lengths = [len(row) for row in columns["input_ids"]]
        if _chosen(return_attention_mask, "attention_mask" in self.settings.model_input_names):
            columns.setdefault("attention_mask", [[1] * length for length in lengths])
        if self._pads(padding):
            fixed = max_length or self.settings.model_max_length
            length = fixed if padding == "max_length" and fixed else max(lengths, default=0)
            length += -length % (pad_to_multiple_of or 1)
            columns = padded(columns, self.pad_token_id, length, self.settings.padding_side)
        if is_single:
            columns = {name: column[0] for name, column in columns.items()}
        as_tensors(columns, return_tensors)
        return BatchEncoding(columns)

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> str:
        """The text of ids (a list, an array or a tensor ``[L]``)."""
        with failing_as(lambda why: ValueError(f"the ids cannot be decoded ({why})")):
            text = self.backend_tokenizer.decode(
                [int(i) for i in _flat(token_ids)], skip_special_tokens=skip_special_tokens
            )
        text = self._without_word_ends(text)
        return self._cleaned(text, self._cleans_up or clean_up_tokenization_spaces)

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """The text of tokens."""
        decoder = self.backend_tokenizer.decoder
        text = " ".join(tokens) if decoder is None else decoder.decode(list(tokens))
        return self._without_word_ends(text)

    def _without_word_ends(self, text: str) -> str:
        return text.replace(self._word_end, " ").strip() if self._word_end else text

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
        padding: bool | str = False,
        truncation: bool | str = False,
        max_length: int | None = None,
        return_tensors: str | None = None,
        return_dict: bool = False,
        tokenizer_kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """The text of a conversation, or its ids; of a list of conversations, a list of them.

        Args:
            conversation: messages ``{"role", "content"}``, or a list of such lists.
            tools: functions that the model may call.
            documents: texts to answer from.
            chat_template: in place of the model's own; source, or the name of one of several.
            add_generation_prompt: end with what precedes the model's answer.
            tokenize: return ids ``[L]``, else the text.
            padding: as for a call.
            truncation: as for a call.
            max_length: as for a call.
            return_tensors: as for a call; ids are ``[B, L]`` then.
            return_dict: return all that a call does, not the ids only.
            tokenizer_kwargs: further options of the call.
            options: names for the template.

        Raises:
            ChatTemplateError: there is no template, it fails, or a message is none.
            ValueError: as a call; an option that is not supported.
        """
        for name in ("continue_final_message", "return_assistant_tokens_mask"):
            if options.pop(name, False):
                raise ValueError(f"{name} is on; accepted: False, it is not supported")
        is_batch = bool(conversation) and isinstance(conversation[0], list | tuple)
        template, names = self._template(chat_template), dict(self.settings.special) | options
        texts = [
            chat.render(
                template, messages, tools=tools, documents=documents,
                add_generation_prompt=add_generation_prompt, **names,
            )
            for messages in (conversation if is_batch else [conversation])
        ]  # fmt: skip
        if not tokenize:
            return texts if is_batch else texts[0]
        encoded = self(
            texts if is_batch else texts[0], padding=padding, truncation=truncation,
            max_length=max_length, return_tensors=return_tensors,
            **{"add_special_tokens": False, **(tokenizer_kwargs or {})},
        )  # fmt: skip
        return encoded if return_dict else encoded["input_ids"]

    def _template(self, chosen: str | None) -> str:
        own = self.settings.chat_template
        if isinstance(own, Mapping):
            own = own.get(chosen or "default", own.get("default"))
            chosen = None if chosen in (self.settings.chat_template or {}) else chosen
        template = chosen or own
        if not isinstance(template, str):
            raise chat.ChatTemplateError("the model has no chat template; give chat_template")
        return template

    def save_pretrained(
        self, save_directory: str | Path, push_to_hub: bool = False, **kwargs: Any
    ) -> None:
        """Write ``tokenizer.json`` and ``tokenizer_config.json`` into a folder, made if need be.

        They are written under other names first and renamed when all are there, so that a full
        disk leaves the folder as it was. Older settings files, which would win over the new ones,
        are then removed.

        Args:
            save_directory: the folder.
            push_to_hub: save and push in one commit; the repository, by default named as the
                folder, is opened before anything is written.
            kwargs: for a push those of ``push_to_hub``; ``max_shard_size`` has no effect.

        Raises:
            HubUnavailable: the hub refuses the push or cannot be reached.
            TypeError: an unknown keyword argument.
        """
        options = pop_push_options(kwargs, "max_shard_size")
        if push_to_hub:
            self._save_pushing(Path(save_directory), self.save_pretrained, options)
            return
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        with all_or_nothing(folder, self._belongs_to_earlier_save) as scratch:
            self._write(scratch)

    def _write(self, folder: Path) -> None:
        settings = self.settings
        config = {
            **settings.special,
            "additional_special_tokens": list(settings.additional),
            "model_input_names": list(settings.model_input_names),
            "model_max_length": settings.model_max_length,
            "padding_side": settings.padding_side,
            "truncation_side": settings.truncation_side,
            "clean_up_tokenization_spaces": settings.clean_up_spaces,
            "chat_template": _stored(settings.chat_template),
            **self._save_vocabulary(folder),
        }
        text = json.dumps({k: v for k, v in config.items() if v is not None}, indent=2)
        (folder / "tokenizer_config.json").write_text(text + "\n", encoding="utf-8")

    @override
    def _belongs_to_earlier_save(self, file: str) -> bool:
        return file in OLDER_SETTINGS

    def _save_vocabulary(self, folder: Path) -> dict[str, Any]:
        """Write the tokens; returns the settings that say how they are read again."""
        with self._lock:
            self.backend_tokenizer.no_padding()
            self.backend_tokenizer.no_truncation()
            self.backend_tokenizer.save(str(folder / "tokenizer.json"))
        return {"tokenizer_class": "PreTrainedTokenizerFast"}


def _encoding() -> AbstractContextManager[None]:
    return failing_as(lambda why: ValueError(f"the texts cannot be encoded ({why})"))


def _stored(template: str | Mapping[str, str] | None) -> Any:
    """As files have it: several templates are a list."""
    if not isinstance(template, Mapping):
        return template
    return [{"name": name, "template": source} for name, source in template.items()]


def _chosen(argument: bool | None, default: bool) -> bool:
    return default if argument is None else argument


def _flat(token_ids: Any) -> Iterable[Any]:
    ids = token_ids.tolist() if hasattr(token_ids, "tolist") else token_ids
    return [ids] if isinstance(ids, int) else ids


class PreTrainedTokenizerFast(PreTrainedTokenizer):
    """``PreTrainedTokenizer`` by the other name that Transformers has: there is one kind."""
