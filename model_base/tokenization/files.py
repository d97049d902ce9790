"""From a model's folder to a ready tokenizer: which file is read, and which setting wins.

Source: transformers 4.19 to 5.23, fast tokenizers. ``tokenizer.json`` decides; the settings of
``tokenizer_config.json`` that those versions apply on top of it are applied here too, and those
that would change ids and are not applied are refused by name.
"""

import base64
import itertools
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import tokenizers
from tokenizers import AddedToken, normalizers, pre_tokenizers

from model_base.tokenization.json_files import read_object
from model_base.tokenization.sentencepiece_files import from_sentencepiece
from model_base.tokenization.settings import (
    BERT_SETTINGS,
    NAMES,
    Direction,
    TokenizerNotFound,
    UnsupportedTokenizer,
    check_size,
    content_of,
    failing_as,
    read_settings,
)
from model_base.tokenization.vocabularies import (
    BERT_TOKENS,
    byte_level,
    byte_level_defaults,
    wordpiece,
)

MAX_STEPS = 16
MAX_INSERT = 64
MAX_GROWING_STEPS = 4
MAX_GROWTH = 256
"""What a ``tokenizer.json`` may do to a text: steps of each kind, characters that one puts in,
steps that lengthen the text, and how many times longer it becomes. Those in use have up to 9
steps; the map of characters of most SentencePiece models makes 18 of one."""

_PLAIN_CLASSES = frozenset({"PreTrainedTokenizerFast", "TokenizersBackend"})
"""Classes that take ``tokenizer.json`` as it is."""
_Settings = Mapping[str, Any]
_Read = tuple[tokenizers.Tokenizer, _Settings]
_SEQUENCES = ("normalizers", "pretokenizers", "decoders")
_MAX_ID = 2**31 - 1
_NO_LIMIT = 10**9  # files without a limit say 1e30


@dataclass(frozen=True, slots=True)
class TokenizerFiles:
    """What the files say.

    Attributes:
        tokenizer: neither pads nor truncates.
        special_ids: id by the names of transformers, such as ``mask_token``.
        model_max_length: tokens; None when the files name no limit.
        truncation_side: the end that is cut when a request names none.
        config: all settings, defaults of the vocabulary's kind included.
    """

    tokenizer: tokenizers.Tokenizer
    special_ids: Mapping[str, int]
    model_max_length: int | None
    truncation_side: Direction
    config: Mapping[str, Any]


def read_tokenizer(folder: Path, overrides: Mapping[str, Any] | None = None) -> TokenizerFiles:
    """Read the tokenizer of a model's folder.

    Args:
        folder: has one of the files, or groups of files, that a tokenizer is read from.
        overrides: settings that the caller will put in place of the files', which are not looked
            at then. Those that decide how a SentencePiece model is built are used here.

    Raises:
        TokenizerNotFound: there are no such files.
        UnsupportedTokenizer: too large, malformed, or a setting that is not honoured.
        UnreadableFile: a settings file is not JSON.
    """
    given = overrides or {}
    config = read_config(folder, given)
    for names, read in READERS.items():
        paths = [folder / name for name in names.split(" with ")]
        if all(path.is_file() for path in paths):
            tokenizer, config = read(paths[0], config, given)
            break
    else:
        raise TokenizerNotFound(READERS)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    _add_tokens(tokenizer, config, read_object(folder / "added_tokens.json"))
    special_ids = _special_ids(tokenizer, config)
    with failing_as(lambda why: UnsupportedTokenizer(f"{paths[0].name}: cannot encode ({why})")):
        ids_of_none = _probe(tokenizer)
    _check_settings(tokenizer, config, special_ids, ids_of_none)
    return TokenizerFiles(
        tokenizer=tokenizer,
        special_ids=special_ids,
        model_max_length=_max_length(config),
        truncation_side="left" if config.get("truncation_side") == "left" else "right",
        config=config,
    )


def read_config(folder: Path, ignored: Collection[str] = ()) -> Mapping[str, Any]:
    """Settings, less the ``ignored`` ones; tokens of the older, separate file win over the same."""
    config = read_settings(folder / "tokenizer_config.json", ignored)
    if "added_tokens_decoder" in config:
        return config
    return {**config, **read_settings(folder / "special_tokens_map.json", ignored)}


def _from_words(path: Path, config: _Settings, _: _Settings) -> _Read:
    config = {**BERT_TOKENS, **config}
    return wordpiece(path.parent, config), config


def _from_merges(path: Path, config: _Settings, _: _Settings) -> _Read:
    config = {**byte_level_defaults(path.parent, config), **config}
    return byte_level(path.parent, config), config


def _from_pieces(path: Path, config: _Settings, overrides: _Settings) -> _Read:
    tokenizer, config = from_sentencepiece(path, config, overrides)
    if tokenizer.normalizer:
        steps = list(_steps(msgspec.json.decode(tokenizer.normalizer.__getstate__())))
        with failing_as(lambda why: UnsupportedTokenizer(f"{path.name}: not readable ({why})")):
            _check_growth(steps)
    return tokenizer, config


def _from_json(path: Path, config: _Settings, _: _Settings) -> _Read:
    check_size(path)
    content = path.read_bytes()
    with failing_as(lambda why: UnsupportedTokenizer(f"{path.name}: not readable ({why})")):
        pipeline = msgspec.json.decode(content, type=_Pipeline)
        for part in (pipeline.normalizer, pipeline.pre_tokenizer, pipeline.decoder):
            _check_growth(list(_steps(part)))
        tokenizer = tokenizers.Tokenizer.from_buffer(content)
    _apply_settings(tokenizer, config)
    return tokenizer, config


READERS: Mapping[str, Callable[[Path, _Settings, _Settings], _Read]] = {
    "tokenizer.json": _from_json,
    "vocab.txt": _from_words,
    "vocab.json with merges.txt": _from_merges,
    "spiece.model": _from_pieces,
    "sentencepiece.bpe.model": _from_pieces,
    "tokenizer.model": _from_pieces,
}
"""What reads each kind of file, the preferred first: the first file, the settings, and those that
the caller gives; to the tokenizer, and the settings with the defaults of its kind."""


class _Pipeline(msgspec.Struct):
    """The parts of ``tokenizer.json`` that rewrite texts; the others are passed over."""

    normalizer: dict[str, Any] | None = None
    pre_tokenizer: dict[str, Any] | None = None
    decoder: dict[str, Any] | None = None


def _steps(part: Any) -> Iterator[dict[str, Any]]:
    """A step itself, or those of a sequence, nested ones too."""
    pending = [part]
    while pending:
        step = pending.pop()
        if isinstance(step, list):
            pending += step
        elif isinstance(step, dict):
            inner = [step[name] for name in _SEQUENCES if name in step]
            pending += inner
            if not inner:
                yield step


def _check_growth(steps: list[dict[str, Any]]) -> None:
    """Refuse steps that make a long text of a short one: the library would run out of memory.

    Raises:
        ValueError: with the limit.
    """
    inserts = [str(step.get(key, "")) for step in steps for key in ("content", "prepend")]
    growths = [growth for step in steps if (growth := _growth(step)) > 1]
    for seen, limit, what in (
        (len(steps), MAX_STEPS, "steps of one kind"),
        (max(map(len, inserts), default=0), MAX_INSERT, "characters put in by one step"),
        (len(growths), MAX_GROWING_STEPS, "steps that lengthen a text"),
        (math.prod(growths[:MAX_STEPS]), MAX_GROWTH, "times the length of a text"),
    ):
        if seen > limit:
            raise ValueError(f"{seen} {what}; accepted: up to {limit}")


def _growth(step: Mapping[str, Any]) -> int:
    """How many times longer a step can make a text, rounded up."""
    if step.get("type") == "ByteLevel" or "trim_offsets" in step:
        return 2
    if charsmap := step.get("precompiled_charsmap"):
        return _longest_entry(charsmap)
    if "pattern" not in step:
        return 1
    pattern, content = step["pattern"], str(step.get("content", ""))
    if isinstance(pattern, dict) and isinstance(text := pattern.get("String"), str) and text:
        return math.ceil(len(content) / len(text))
    return 1 + len(content)  # a regular expression may match between any two characters


def _longest_entry(charsmap: str) -> int:
    """Characters that a SentencePiece map may put in place of one.

    Source: sentencepiece ``normalizer.cc``: size of a trie, the trie, texts ended by zeros.
    """
    content = base64.b64decode(charsmap, validate=True)
    texts = content[4 + int.from_bytes(content[:4], "little") :].split(b"\0")
    return max(len(text.decode(errors="replace")) for text in texts)


def _apply_settings(tokenizer: tokenizers.Tokenizer, config: Mapping[str, Any]) -> None:
    """Let the settings that win over ``tokenizer.json`` do so."""
    normalizer = tokenizer.normalizer
    if config.get("tokenizer_class", "PreTrainedTokenizerFast") in _PLAIN_CLASSES:
        return
    if isinstance(normalizer, normalizers.BertNormalizer):
        for setting, attribute in BERT_SETTINGS.items():
            is_open = setting == "strip_accents"  # null has a meaning: as lowercase is
            if setting in config and (is_open or config[setting] is not None):
                setattr(normalizer, attribute, config[setting])


def _check_settings(
    tokenizer: tokenizers.Tokenizer,
    config: Mapping[str, Any],
    special_ids: Mapping[str, int],
    ids: list[int],
) -> None:
    """Refuse by name what would change ids; ``ids`` are those of an empty text."""
    if config.get("split_special_tokens"):
        raise UnsupportedTokenizer("tokenizer_config.json: split_special_tokens=true")
    splitter = tokenizer.pre_tokenizer
    prefix = config.get("add_prefix_space")
    if isinstance(splitter, pre_tokenizers.ByteLevel) and prefix is not None:
        _check_equal("add_prefix_space", bool(prefix), bool(splitter.add_prefix_space))
    for name, index in (("bos", 0), ("eos", -1)):
        wanted, token_id = config.get(f"add_{name}_token"), special_ids.get(f"{name}_token")
        if wanted is not None and token_id is not None:
            _check_equal(f"add_{name}_token", bool(wanted), bool(ids) and ids[index] == token_id)


def _probe(tokenizer: tokenizers.Tokenizer) -> list[int]:
    """Ids of an empty text; also sees that texts and pairs can be encoded, in ids of 32 bits."""
    tried = tokenizer.encode("\U0010ffff", "a").ids
    empty = tokenizer.encode("").ids
    highest = max([*tokenizer.get_vocab().values(), *tried, *empty], default=0)
    if highest > _MAX_ID:
        raise ValueError(f"token id {highest} is over {_MAX_ID}")
    return empty


def _check_equal(setting: str, wanted: bool, does: bool) -> None:
    if wanted != does:
        raise UnsupportedTokenizer(
            f"tokenizer_config.json: {setting}={wanted}, but tokenizer.json does {does}"
        )


def _add_tokens(
    tokenizer: tokenizers.Tokenizer, config: Mapping[str, Any], older: Mapping[str, Any]
) -> None:
    """Add the tokens that the settings declare and the tokenizer file does not."""
    known = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    declared = list(_declared(config, older))
    _add(tokenizer, [token for _, token in declared if token.content not in known])
    for token_id, token in declared:
        found = tokenizer.token_to_id(token.content)
        if found != token_id:
            raise UnsupportedTokenizer(
                f"added token {token.content!r}: declared with id {token_id}, found with {found}"
            )
    named = ((value, content_of(value)) for value in _special_values(config))
    special = [
        _token(value, special=True)
        for value, content in named
        if content and content not in known and tokenizer.token_to_id(content) is not None
    ]
    _add(tokenizer, special)
    for value in config.get("additional_special_tokens") or ():
        if tokenizer.token_to_id(content_of(value) or "") is None:
            raise UnsupportedTokenizer(
                f"special token {content_of(value)!r} is not in the vocabulary"
            )


def _declared(
    config: Mapping[str, Any], older: Mapping[str, Any]
) -> Iterator[tuple[int, AddedToken]]:
    """Added tokens with their ids, in the order of the ids."""
    newer = config.get("added_tokens_decoder") or {}
    try:
        pairs = [(int(index), _token(value)) for index, value in newer.items()]
        pairs += [(int(index), _token(content)) for content, index in older.items() if not newer]
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise UnsupportedTokenizer(f"added tokens: not readable ({error})") from error
    yield from sorted(pairs, key=lambda pair: pair[0])


def _special_values(config: Mapping[str, Any]) -> Iterator[Any]:
    yield from (config[name] for name in NAMES if config.get(name))
    yield from config.get("additional_special_tokens") or ()


def _add(tokenizer: tokenizers.Tokenizer, tokens: list[AddedToken]) -> None:
    """Add in few calls: each one makes the search for all the added tokens anew."""
    for special, group in itertools.groupby(tokens, key=lambda token: token.special):
        (tokenizer.add_special_tokens if special else tokenizer.add_tokens)(list(group))


def _token(value: Any, *, special: bool = False) -> AddedToken:
    """An added token from its text or its settings."""
    if isinstance(value, str):
        return AddedToken(value, special=special, normalized=not special)
    special = special or bool(value.get("special", False))
    return AddedToken(
        value["content"],
        single_word=bool(value.get("single_word", False)),
        lstrip=bool(value.get("lstrip", False)),
        rstrip=bool(value.get("rstrip", False)),
        normalized=bool(value.get("normalized", not special)),
        special=special,
    )


def _special_ids(tokenizer: tokenizers.Tokenizer, config: Mapping[str, Any]) -> dict[str, int]:
    contents = {name: content_of(config.get(name)) for name in NAMES}
    ids = {name: tokenizer.token_to_id(text) for name, text in contents.items() if text}
    return {name: token_id for name, token_id in ids.items() if token_id is not None}


def _max_length(config: Mapping[str, Any]) -> int | None:
    limit = config.get("model_max_length")
    if isinstance(limit, bool) or not isinstance(limit, int | float) or not 1 <= limit < _NO_LIMIT:
        return None
    return int(limit)
