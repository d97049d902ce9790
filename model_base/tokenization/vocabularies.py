"""Tokenizers of models that come without ``tokenizer.json``: from their vocabularies alone.

Source: transformers 4.19.2, ``convert_slow_tokenizer.py`` (what each class builds).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from model_base.tokenization.json_files import read_object
from model_base.tokenization.settings import (
    UnsupportedTokenizer,
    check_size,
    class_name,
    content_of,
    failing_as,
    wrong_type,
)

_WORDPIECE_CLASSES = frozenset(
    f"{name}Tokenizer{fast}"
    for name in ("Bert", "DistilBert", "Electra", "MobileBert", "ConvBert", "LayoutLM")
    for fast in ("", "Fast")
)
_WORDPIECE_MODELS = frozenset(
    {"bert", "distilbert", "electra", "mobilebert", "convbert", "layoutlm"}
)
BERT_TOKENS = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
_GPT2_CLASSES = frozenset({"GPT2Tokenizer", "GPT2TokenizerFast"})
_ROBERTA_CLASSES = frozenset(
    f"{name}Tokenizer{fast}" for name in ("Roberta", "Bart", "Longformer", "LED")
    for fast in ("", "Fast")
)  # fmt: skip
_BYTE_LEVEL_MODELS = {
    "gpt2": "GPT2Tokenizer", "opt": "GPT2Tokenizer", "roberta": "RobertaTokenizer",
    "bart": "BartTokenizer", "longformer": "LongformerTokenizer", "led": "LEDTokenizer",
}  # fmt: skip
_GPT2_TOKENS = dict.fromkeys(("unk_token", "bos_token", "eos_token"), "<|endoftext|>")
_ROBERTA_TOKENS = {
    "bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "cls_token": "<s>",
    "unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>",
}  # fmt: skip


def byte_level_defaults(folder: Path, config: Mapping[str, Any]) -> Mapping[str, str]:
    """Class and special tokens of a byte-level vocabulary whose settings do not name them."""
    kind = _byte_level_class(folder, config)
    tokens = _GPT2_TOKENS if kind in _GPT2_CLASSES else _ROBERTA_TOKENS
    return {"tokenizer_class": kind, **tokens}


def byte_level(folder: Path, config: Mapping[str, Any]) -> tokenizers.Tokenizer:
    """Byte-level BPE of GPT-2's or RoBERTa's kind, from ``vocab.json`` and ``merges.txt``.

    Args:
        folder: has both files.
        config: the settings, special tokens included.

    Raises:
        UnsupportedTokenizer: another class's vocabulary, an unreadable file, a special token
            that the vocabulary lacks.
    """
    kind = _byte_level_class(folder, config)
    prefix = bool(config.get("add_prefix_space"))
    for name in ("vocab.json", "merges.txt"):
        check_size(folder / name)
    with failing_as(lambda why: UnsupportedTokenizer(f"vocab.json, merges.txt: {why}")):
        paths = str(folder / "vocab.json"), str(folder / "merges.txt")
        bpe = models.BPE.from_file(*paths, continuing_subword_prefix="", end_of_word_suffix="")
    tokenizer = tokenizers.Tokenizer(bpe)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    tokenizer.decoder = decoders.ByteLevel()
    ids = {name: _id_of(tokenizer, name, config) for name in ("bos", "sep", "cls")}
    if kind in _ROBERTA_CLASSES:
        sep, cls = ids["sep"], ids["cls"]
        tokenizer.post_processor = processors.RobertaProcessing(
            sep, cls, trim_offsets=True, add_prefix_space=prefix
        )
    elif config.get("add_bos_token"):
        bos = ids["bos"]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos[0]}:0 $A:0", pair=f"{bos[0]}:0 $A:0 {bos[0]}:0 $B:0",
            special_tokens=[bos],
        )  # fmt: skip
    else:
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def _byte_level_class(folder: Path, config: Mapping[str, Any]) -> str:
    return class_name(folder, config, _GPT2_CLASSES | _ROBERTA_CLASSES, _BYTE_LEVEL_MODELS)


def _id_of(
    tokenizer: tokenizers.Tokenizer, name: str, config: Mapping[str, Any]
) -> tuple[str, int]:
    token = content_of(config.get(f"{name}_token")) or ""
    found = tokenizer.token_to_id(token)
    if token and found is None:
        raise UnsupportedTokenizer(f"vocab.json: special token {token!r} is missing")
    return token, found or 0


def wordpiece(folder: Path, config: Mapping[str, Any]) -> tokenizers.Tokenizer:
    """BERT's WordPiece from its list of tokens, one a line."""
    _check_wordpiece(folder, config)
    vocab = _read_vocab(folder / "vocab.txt")
    unk, cls, sep, pad, mask = (
        content_of(config.get(f"{name}_token")) or BERT_TOKENS[f"{name}_token"]
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
        raise wrong_type(folder / "config.json", "model_type", model, "a name")
    if name is not None and name not in _WORDPIECE_CLASSES:
        raise UnsupportedTokenizer(f"tokenizer_class {name!r} needs a tokenizer.json")
    if name is None and model is not None and model not in _WORDPIECE_MODELS:
        raise UnsupportedTokenizer(f"model_type {model!r} needs a tokenizer.json")
    if config.get("do_basic_tokenize") is False:
        raise UnsupportedTokenizer("tokenizer_config.json: do_basic_tokenize=false")
    if config.get("never_split"):
        raise UnsupportedTokenizer("tokenizer_config.json: never_split is not supported")


def _read_vocab(path: Path) -> dict[str, int]:
    check_size(path)
    try:
        with path.open(encoding="utf-8") as lines:
            return {line.rstrip("\n"): index for index, line in enumerate(lines)}
    except UnicodeDecodeError as error:
        raise UnsupportedTokenizer(f"{path.name}: not UTF-8") from error
