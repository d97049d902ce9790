"""From a model's folder to a ready tokenizer: which file is read, and which setting wins.

Source: transformers 4.19 to 5.23, fast tokenizers. ``tokenizer.json`` decides; the settings of
``tokenizer_config.json`` that those versions apply on top of it are applied here too, and those
that would change ids and are not applied are refused by name.
"""

import base64
import math
import reprlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors

from service.tasks.json_files import read_object

Direction = Literal["left", "right"]

MAX_TOKENIZER_BYTES = 200 * 2**20
"""The largest in use, of vocabularies of 260,000 entries, take 35 MiB."""

MAX_STEPS = 16
MAX_INSERT = 64
MAX_GROWING_STEPS = 4
MAX_GROWTH = 256
"""What a ``tokenizer.json`` may do to a text: steps of each kind, characters that one puts in,
steps that lengthen the text, and how many times longer it becomes. Those in use have up to 9
steps; the map of characters of most SentencePiece models makes 18 of one."""

_FILES = ("tokenizer.json", "vocab.txt")
_NAMES = (
    "unk_token", "sep_token", "pad_token", "cls_token", "mask_token", "bos_token", "eos_token",
)  # fmt: skip
_WORDPIECE_CLASSES = frozenset(
    f"{name}Tokenizer{fast}"
    for name in ("Bert", "DistilBert", "Electra", "MobileBert", "ConvBert", "LayoutLM")
    for fast in ("", "Fast")
)
_WORDPIECE_MODELS = frozenset(
    {"bert", "distilbert", "electra", "mobilebert", "convbert", "layoutlm"}
)
_PLAIN_CLASSES = frozenset({"PreTrainedTokenizerFast", "TokenizersBackend"})
"""Classes that take ``tokenizer.json`` as it is."""
_BERT_SETTINGS = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
_BERT_TOKENS = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
_FLAGS = (
    *_BERT_SETTINGS, "do_basic_tokenize", "split_special_tokens", "add_prefix_space",
    "add_bos_token", "add_eos_token",
)  # fmt: skip
_SEQUENCES = ("normalizers", "pretokenizers", "decoders")
_MAX_ID = 2**31 - 1
_NO_LIMIT = 10**9  # files without a limit say 1e30


class TokenizerError(ValueError):
    """Raised when a model's tokenizer cannot be used; base of the two below."""


class TokenizerNotFound(TokenizerError):
    """Raised when a folder holds no tokenizer file."""

    def __init__(self) -> None:
        super().__init__(f"no tokenizer: looked for {' and '.join(_FILES)}")


class UnsupportedTokenizer(TokenizerError):
    """Raised when a tokenizer file is unreadable or asks for what is not implemented."""


@dataclass(frozen=True, slots=True)
class TokenizerFiles:
    """What the files say.

    Attributes:
        tokenizer: neither pads nor truncates.
        special_ids: id by the names of transformers, such as ``mask_token``.
        model_max_length: tokens; None when the files name no limit.
        truncation_side: the end that is cut when a request names none.
    """

    tokenizer: tokenizers.Tokenizer
    special_ids: Mapping[str, int]
    model_max_length: int | None
    truncation_side: Direction


def read_tokenizer(folder: Path) -> TokenizerFiles:
    """Read the tokenizer of a model's folder.

    Raises:
        TokenizerNotFound: neither ``tokenizer.json`` nor ``vocab.txt`` is there.
        UnsupportedTokenizer: too large, malformed, or a setting that is not honoured.
        UnreadableFile: a settings file is not JSON.
    """
    config = _read_config(folder)
    if (folder / "tokenizer.json").is_file():
        tokenizer = _from_json(folder / "tokenizer.json")
        _apply_settings(tokenizer, config)
    elif (folder / "vocab.txt").is_file():
        config = {**_BERT_TOKENS, **config}
        tokenizer = _from_vocab(folder, config)
    else:
        raise TokenizerNotFound
    tokenizer.no_padding()
    tokenizer.no_truncation()
    _add_tokens(tokenizer, config, read_object(folder / "added_tokens.json"))
    special_ids = _special_ids(tokenizer, config)
    _check_settings(tokenizer, config, special_ids)
    return TokenizerFiles(
        tokenizer=tokenizer,
        special_ids=special_ids,
        model_max_length=_max_length(config),
        truncation_side="left" if config.get("truncation_side") == "left" else "right",
    )


@contextmanager
def failing_as(wrap: Callable[[str], Exception]) -> Iterator[None]:
    """Raise what ``wrap`` makes of the message of anything that the library raises.

    It raises bare ``Exception``; a panic of its compiled part is a ``BaseException``, which
    would pass every handler up to the end of the process.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        raise wrap(str(error)) from error


def _read_config(folder: Path) -> Mapping[str, Any]:
    """Settings; the special tokens of the older, separate file win over the same ones here."""
    config = _read_settings(folder / "tokenizer_config.json")
    if "added_tokens_decoder" in config:
        return config
    return {**config, **_read_settings(folder / "special_tokens_map.json")}


def _read_settings(path: Path) -> Mapping[str, Any]:
    """Settings of one file; a wrong type is refused by file and key."""
    config = read_object(path)
    for key, value in config.items():
        if value is None:
            continue
        if key in _FLAGS and not isinstance(value, bool):
            raise _wrong_type(path, key, value, "true or false")
        if key in _NAMES and _content(value) is None:
            raise _wrong_type(path, key, value, "a token")
        if key == "additional_special_tokens" and not _are_tokens(value):
            raise _wrong_type(path, key, value, "a list of tokens")
        if key == "tokenizer_class" and not isinstance(value, str):
            raise _wrong_type(path, key, value, "a name")
    return config


def _are_tokens(value: Any) -> bool:
    return isinstance(value, list) and all(_content(token) is not None for token in value)


def _wrong_type(path: Path, key: str, value: Any, accepted: str) -> UnsupportedTokenizer:
    return UnsupportedTokenizer(
        f"{path.name}: {key} is {reprlib.repr(value)}; accepted: {accepted}"
    )


def _check_size(path: Path) -> None:
    num_bytes = path.stat().st_size
    if num_bytes > MAX_TOKENIZER_BYTES:
        raise UnsupportedTokenizer(
            f"{path.name}: {num_bytes} bytes, at most {MAX_TOKENIZER_BYTES} are read"
        )


def _from_json(path: Path) -> tokenizers.Tokenizer:
    _check_size(path)
    content = path.read_bytes()
    with failing_as(lambda why: UnsupportedTokenizer(f"{path.name}: not readable ({why})")):
        pipeline = msgspec.json.decode(content, type=_Pipeline)
        for part in (pipeline.normalizer, pipeline.pre_tokenizer, pipeline.decoder):
            _check_growth(list(_steps(part)))
        return tokenizers.Tokenizer.from_buffer(content)


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


def _from_vocab(folder: Path, config: Mapping[str, Any]) -> tokenizers.Tokenizer:
    """BERT's WordPiece from its list of tokens, one a line."""
    _check_wordpiece(folder, config)
    vocab = _read_vocab(folder / "vocab.txt")
    unk, cls, sep, pad, mask = (
        _content(config.get(f"{name}_token")) or _BERT_TOKENS[f"{name}_token"]
        for name in ("unk", "cls", "sep", "pad", "mask")
    )
    for token in (unk, cls, sep):
        if token not in vocab:
            raise UnsupportedTokenizer(f"vocab.txt: special token {token!r} is missing")
    tokenizer = tokenizers.Tokenizer(models.WordPiece(vocab, unk_token=unk))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=config.get("tokenize_chinese_chars") is not False,
        strip_accents=config.get("strip_accents"),
        lowercase=config.get("do_lower_case") is not False,
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls}:0 $A:0 {sep}:0",
        pair=f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1",
        special_tokens=[(cls, vocab[cls]), (sep, vocab[sep])],
    )
    tokenizer.decoder = decoders.WordPiece()
    special = (unk, cls, sep, pad, mask)
    tokenizer.add_special_tokens([token for token in special if token in vocab])
    return tokenizer


def _check_wordpiece(folder: Path, config: Mapping[str, Any]) -> None:
    """Refuse a ``vocab.txt`` that is not of BERT's kind: other tokenizers use the name too."""
    name = config.get("tokenizer_class")
    model = read_object(folder / "config.json").get("model_type")
    if not isinstance(model, str | None):
        raise _wrong_type(folder / "config.json", "model_type", model, "a name")
    if name is not None and name not in _WORDPIECE_CLASSES:
        raise UnsupportedTokenizer(f"tokenizer_class {name!r} needs a tokenizer.json")
    if name is None and model is not None and model not in _WORDPIECE_MODELS:
        raise UnsupportedTokenizer(f"model_type {model!r} needs a tokenizer.json")
    if config.get("do_basic_tokenize") is False:
        raise UnsupportedTokenizer("tokenizer_config.json: do_basic_tokenize=false")
    if config.get("never_split"):
        raise UnsupportedTokenizer("tokenizer_config.json: never_split is not supported")


def _read_vocab(path: Path) -> dict[str, int]:
    _check_size(path)
    try:
        with path.open(encoding="utf-8") as lines:
            return {line.rstrip("\n"): index for index, line in enumerate(lines)}
    except UnicodeDecodeError as error:
        raise UnsupportedTokenizer(f"{path.name}: not UTF-8") from error


def _apply_settings(tokenizer: tokenizers.Tokenizer, config: Mapping[str, Any]) -> None:
    """Let the settings that win over ``tokenizer.json`` do so."""
    normalizer = tokenizer.normalizer
    if config.get("tokenizer_class", "PreTrainedTokenizerFast") in _PLAIN_CLASSES:
        return
    if isinstance(normalizer, normalizers.BertNormalizer):
        for setting, attribute in _BERT_SETTINGS.items():
            is_open = setting == "strip_accents"  # null has a meaning: as lowercase is
            if setting in config and (is_open or config[setting] is not None):
                setattr(normalizer, attribute, config[setting])


def _check_settings(
    tokenizer: tokenizers.Tokenizer, config: Mapping[str, Any], special_ids: Mapping[str, int]
) -> None:
    """Refuse by name what would change ids."""
    if config.get("split_special_tokens"):
        raise UnsupportedTokenizer("tokenizer_config.json: split_special_tokens=true")
    splitter = tokenizer.pre_tokenizer
    prefix = config.get("add_prefix_space")
    if isinstance(splitter, pre_tokenizers.ByteLevel) and prefix is not None:
        _check_equal("add_prefix_space", bool(prefix), bool(splitter.add_prefix_space))
    ids = _probe(tokenizer)
    for name, index in (("bos", 0), ("eos", -1)):
        wanted, token_id = config.get(f"add_{name}_token"), special_ids.get(f"{name}_token")
        if wanted is not None and token_id is not None:
            _check_equal(f"add_{name}_token", bool(wanted), bool(ids) and ids[index] == token_id)


def _probe(tokenizer: tokenizers.Tokenizer) -> list[int]:
    """Ids of an empty text; also sees that texts and pairs can be encoded, in ids of 32 bits."""
    with failing_as(lambda why: UnsupportedTokenizer(f"the tokenizer cannot encode ({why})")):
        tried = tokenizer.encode("\U0010ffff", "a").ids
        empty = tokenizer.encode("").ids
    highest = max([*tokenizer.get_vocab().values(), *tried, *empty], default=0)
    if highest > _MAX_ID:
        raise UnsupportedTokenizer(f"token id {highest} is over {_MAX_ID}")
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
    for token_id, token in _declared(config, older):
        if token.content not in known:
            _add(tokenizer, token)
        found = tokenizer.token_to_id(token.content)
        if found != token_id:
            raise UnsupportedTokenizer(
                f"added token {token.content!r}: declared with id {token_id}, found with {found}"
            )
    for value in _special_values(config):
        content = _content(value)
        if content and content not in known and tokenizer.token_to_id(content) is not None:
            _add(tokenizer, _token(value, special=True))
    for value in config.get("additional_special_tokens") or ():
        if tokenizer.token_to_id(_content(value) or "") is None:
            raise UnsupportedTokenizer(
                f"special token {_content(value)!r} is not in the vocabulary"
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
    yield from (config[name] for name in _NAMES if config.get(name))
    yield from config.get("additional_special_tokens") or ()


def _add(tokenizer: tokenizers.Tokenizer, token: AddedToken) -> None:
    if token.special:
        tokenizer.add_special_tokens([token])
    else:
        tokenizer.add_tokens([token])


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


def _content(value: Any) -> str | None:
    """Text of a special token, which files write as a string or as an object."""
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) else None


def _special_ids(tokenizer: tokenizers.Tokenizer, config: Mapping[str, Any]) -> dict[str, int]:
    contents = {name: _content(config.get(name)) for name in _NAMES}
    ids = {name: tokenizer.token_to_id(text) for name, text in contents.items() if text}
    return {name: token_id for name, token_id in ids.items() if token_id is not None}


def _max_length(config: Mapping[str, Any]) -> int | None:
    limit = config.get("model_max_length")
    if isinstance(limit, bool) or not isinstance(limit, int | float) or not 1 <= limit < _NO_LIMIT:
        return None
    return int(limit)
