"""From a model's folder to a ready tokenizer: which file is read, and which setting wins.

Source: transformers 4.19 to 5.23, fast tokenizers. ``tokenizer.json`` decides; the settings of
``tokenizer_config.json`` that those versions apply on top of it are applied here too, and those
that would change ids and are not applied are refused by name.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors

from service.tasks.json_files import read_object

Direction = Literal["left", "right"]

MAX_TOKENIZER_BYTES = 200 * 2**20
"""The largest in use, of vocabularies of 260,000 entries, take 35 MiB."""

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
    config = read_object(folder / "tokenizer_config.json")
    if "added_tokens_decoder" in config:
        return config
    return {**config, **read_object(folder / "special_tokens_map.json")}


def _check_size(path: Path) -> None:
    num_bytes = path.stat().st_size
    if num_bytes > MAX_TOKENIZER_BYTES:
        raise UnsupportedTokenizer(
            f"{path.name}: {num_bytes} bytes, at most {MAX_TOKENIZER_BYTES} are read"
        )


def _from_json(path: Path) -> tokenizers.Tokenizer:
    _check_size(path)
    with failing_as(lambda why: UnsupportedTokenizer(f"{path.name}: not readable ({why})")):
        return tokenizers.Tokenizer.from_file(str(path))


def _from_vocab(folder: Path, config: Mapping[str, Any]) -> tokenizers.Tokenizer:
    """BERT's WordPiece from its list of tokens, one a line."""
    _check_wordpiece(folder, config)
    vocab = _read_vocab(folder / "vocab.txt")
    unk, cls, sep = (
        _content(config.get(name)) or default
        for name, default in (
            ("unk_token", "[UNK]"),
            ("cls_token", "[CLS]"),
            ("sep_token", "[SEP]"),
        )
    )
    for token in (unk, cls, sep):
        if token not in vocab:
            raise UnsupportedTokenizer(f"vocab.txt: special token {token!r} is missing")
    tokenizer = tokenizers.Tokenizer(models.WordPiece(vocab, unk_token=unk))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=config.get("tokenize_chinese_chars", True),
        strip_accents=config.get("strip_accents"),
        lowercase=config.get("do_lower_case", True),
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls}:0 $A:0 {sep}:0",
        pair=f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1",
        special_tokens=[(cls, vocab[cls]), (sep, vocab[sep])],
    )
    tokenizer.decoder = decoders.WordPiece()
    defaults = [unk, cls, sep, "[PAD]", "[MASK]"]
    tokenizer.add_special_tokens([token for token in defaults if token in vocab])
    return tokenizer


def _check_wordpiece(folder: Path, config: Mapping[str, Any]) -> None:
    """Refuse a ``vocab.txt`` that is not of BERT's kind: other tokenizers use the name too."""
    name = config.get("tokenizer_class")
    model = read_object(folder / "config.json").get("model_type")
    if name is not None and name not in _WORDPIECE_CLASSES:
        raise UnsupportedTokenizer(f"tokenizer_class {name!r} needs a tokenizer.json")
    if name is None and model is not None and model not in _WORDPIECE_MODELS:
        raise UnsupportedTokenizer(f"model_type {model!r} needs a tokenizer.json")
    if not config.get("do_basic_tokenize", True):
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
            if setting in config:
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
