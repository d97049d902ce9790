"""Tokenizers of models that come with a SentencePiece model and without ``tokenizer.json``.

A family is read as the fast class does in the release that wrote its fixtures, so ids are those
of the ``tokenizer.json`` which that class writes. The sentencepiece library itself gives the same
but for spaces at the ends of a text or several in a row, which most of these classes keep.

Source: transformers, ``convert_slow_tokenizer.py`` of 4.19.2 (T5, ALBERT) and 4.57.3 (Llama,
Gemma), ``tokenization_xlm_roberta.py`` and ``tokenization_camembert.py`` of 5.23.0.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

from model_base.log import get_logger
from model_base.tokenization.settings import (
    NAMES,
    UnsupportedTokenizer,
    check_size,
    class_name,
    content_of,
    failing_as,
)

logger = get_logger("tokenization")

MAX_MODEL_BYTES = 8 * 2**20
"""The largest in use, XLM-RoBERTa's of 250,000 pieces, takes 5 MiB."""
MAX_PIECE = 128
"""Characters of a piece; the longest in use are Gemma's 31 spaces."""
MAX_MERGES = 2**21
"""Gemma's 260,000 pieces make 580,000."""
BUILD_SETTINGS = ("do_lower_case", "keep_accents", "add_prefix_space", "legacy")
"""True or false; they decide how a tokenizer is built."""

_UNIGRAM, _BPE = 1, 2  # kinds of model in sentencepiece_model.proto,
_CONTROL, _USER_DEFINED = 3, 4  # and of piece
_SPACE = "▁"
_Vocab = list[tuple[str, float]]
_Settings = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Family:
    """What a family makes of a model.

    Attributes:
        vocab: tokens with their scores, in the order of their ids.
        pipeline: sets how texts are normalised, split and put together again.
        single: what surrounds a text; special tokens by name.
        pair: what surrounds two.
        defaults: settings that the files need not name.
        byte_fallback: whether unknown characters become bytes.
        mask_takes_space: whether the space before the mask is part of it.
    """

    vocab: Callable[[Any, _Settings], _Vocab]
    pipeline: Callable[[Tokenizer, Any, _Settings], None]
    single: str
    pair: str
    defaults: Mapping[str, Any]
    byte_fallback: bool = False
    mask_takes_space: bool = False


def from_sentencepiece(
    path: Path, config: _Settings, overrides: _Settings
) -> tuple[Tokenizer, _Settings]:
    """Read a model file of the sentencepiece library.

    Args:
        path: the file, in the model's folder.
        config: the settings of the folder.
        overrides: settings that win over these; of ``BUILD_SETTINGS``, what the family has.

    Returns:
        The tokenizer, and the settings with the defaults of its family.

    Raises:
        UnsupportedTokenizer: another family; too large, damaged, or a special token is missing.
    """
    name = class_name(path.parent, config, _FAMILIES, _CLASSES)
    family = _FAMILIES[name]
    own = {
        key: overrides[key] for key in BUILD_SETTINGS if key in overrides.keys() & family.defaults
    }
    settings = {"tokenizer_class": name, **family.defaults, **config, **own}
    if family.mask_takes_space and isinstance(mask := settings.get("mask_token"), str):
        settings["mask_token"] = {"content": mask, "lstrip": True}
    if "extra_ids" in family.defaults:
        given = settings.get("additional_special_tokens") or []
        if not any("<extra_id_" in (content_of(token) or "") for token in given):
            settings["additional_special_tokens"] = [*given, *_extra_ids(settings)[::-1]]
    check_size(path, MAX_MODEL_BYTES)
    with failing_as(lambda why: UnsupportedTokenizer(f"{path.name}: not readable ({why})")):
        model = _parsed(path.read_bytes())
        if model.trainer_spec.byte_fallback != family.byte_fallback:
            logger.warning(
                "%s: byte_fallback is %s, which is not honoured: a %s has %s",
                path.name, model.trainer_spec.byte_fallback, name, family.byte_fallback,
            )  # fmt: skip
        return _built(family, model, settings), settings


def _parsed(content: bytes) -> Any:
    """The ``ModelProto`` of a file.

    Raises:
        ValueError: it is none, or one that the sentencepiece library refuses.
    """
    from sentencepiece import sentencepiece_model_pb2  # few models need it

    model = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
    model.ParseFromString(content)
    if model.trainer_spec.model_type not in (_UNIGRAM, _BPE):
        raise ValueError(f"model_type {model.trainer_spec.model_type}; accepted: Unigram, BPE")
    texts = [piece.piece for piece in model.pieces]
    if not all(isinstance(text, str) for text in [*texts, model.trainer_spec.unk_piece]):
        raise ValueError("a piece is not UTF-8")
    longest = max(map(len, texts), default=0)
    if longest > MAX_PIECE:
        raise ValueError(f"a piece of {longest} characters; accepted: up to {MAX_PIECE}")
    if not all(texts) or len(set(texts)) < len(texts):
        raise ValueError("a piece is empty or there twice")
    if not all(math.isfinite(piece.score) for piece in model.pieces):
        raise ValueError("a score is no number")
    return model


def _built(family: _Family, model: Any, settings: _Settings) -> Tokenizer:
    vocab, unk = family.vocab(model, settings), model.trainer_spec.unk_piece
    ids = {text: index for index, (text, _) in enumerate(vocab)}
    if unk not in ids:
        raise ValueError(f"unk_piece {unk!r} is missing")
    if model.trainer_spec.model_type == _UNIGRAM:
        tokenizer = Tokenizer(models.Unigram(vocab, ids[unk], family.byte_fallback))
    else:
        tokenizer = Tokenizer(
            models.BPE(
                ids, _merges(vocab, ids), unk_token=unk, fuse_unk=True,
                byte_fallback=family.byte_fallback,
            )
        )  # fmt: skip
    family.pipeline(tokenizer, model, settings)
    named = {content_of(settings.get(name)) for name in NAMES}  # they are added by their settings
    tokenizer.add_tokens(
        [
            AddedToken(p.piece, normalized=False, special=p.type == _CONTROL or p.piece in _TURNS)
            for p in model.pieces
            if p.type in (_CONTROL, _USER_DEFINED) and p.piece not in named
        ]
    )
    tokenizer.post_processor = _template(family, ids, settings)
    return tokenizer


def _merges(vocab: _Vocab, ids: Mapping[str, int]) -> list[tuple[str, str]]:
    """Pairs of tokens that make a third, best first: what BPE pieces and their scores stand for.

    Raises:
        ValueError: there are more than ``MAX_MERGES``.
    """
    found: list[tuple[float, str, str]] = []
    for text, score in dict(vocab).items():
        parts = ((text[:index], text[index:]) for index in range(1, len(text)))
        known = [(left, right) for left, right in parts if left in ids and right in ids]
        found += [(score, left, right) for left, right in known]
        if len(found) > MAX_MERGES:
            raise ValueError(f"over {MAX_MERGES} pairs of pieces make a third")
    found.sort(key=lambda merge: (merge[0], len(merge[1]), len(merge[2])), reverse=True)
    return [(left, right) for _, left, right in found]


def _template(
    family: _Family, ids: Mapping[str, int], settings: _Settings
) -> processors.TemplateProcessing:
    """What surrounds texts, less the tokens that ``add_bos_token`` and the like leave out."""
    tokens: dict[str, int] = {}
    sides: list[list[str]] = []
    for side in (family.single, family.pair):
        sides.append([])
        for item in side.split():
            name, kind = item.split(":")
            if name.startswith("$"):
                sides[-1].append(item)
            elif settings.get(f"add_{name}_token", True):
                token = content_of(settings.get(f"{name}_token")) or ""
                if token not in ids:
                    raise ValueError(f"{name}_token {token!r} is missing")
                tokens[token] = ids[token]
                sides[-1].append(f"{token}:{kind}")
    return processors.TemplateProcessing(
        single=sides[0], pair=sides[1], special_tokens=list(tokens.items())
    )


def _pieces(model: Any, _: _Settings) -> _Vocab:
    return [(piece.piece, piece.score) for piece in model.pieces]


def _t5_vocab(model: Any, settings: _Settings) -> _Vocab:
    return _pieces(model, settings) + [(token, 0.0) for token in _extra_ids(settings)]


def _extra_ids(settings: _Settings) -> list[str]:
    return [f"<extra_id_{index}>" for index in reversed(range(settings["extra_ids"] or 0))]


def _albert_vocab(model: Any, settings: _Settings) -> _Vocab:
    """Digits with a comma behind are made unlikely: the class parts them."""
    return [
        (text, score - 100 if text[-1:] == "," and text[-2:-1].isdigit() else score)
        for text, score in _pieces(model, settings)
    ]


def _xlm_roberta_vocab(model: Any, settings: _Settings) -> _Vocab:
    special = [(token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")]
    return [*special, *_pieces(model, settings)[3:], ("<mask>", 0.0)]


def _camembert_vocab(model: Any, settings: _Settings) -> _Vocab:
    special = [(token, 0.0) for token in ("<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>")]
    return [*special, ("<unk>NOTUSED", -100.0), *_pieces(model, settings)[1:], ("<mask>", 0.0)]


def _gemma_vocab(model: Any, settings: _Settings) -> _Vocab:
    first = [(content_of(settings[f"{name}_token"]) or "", 0.0) for name in ("pad", "eos", "bos")]
    rest = _pieces(model, settings)[3:]
    return first + [("\t" if text == "<0x09>" else text, score) for text, score in rest]


def _charsmap(model: Any) -> list[Any]:
    content = model.normalizer_spec.precompiled_charsmap
    return [normalizers.Precompiled(content)] if content else []


def _t5_pipeline(tokenizer: Tokenizer, model: Any, _: _Settings) -> None:
    steps = [*_charsmap(model), normalizers.Replace(Regex(" {2,}"), " ")]
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()


def _albert_pipeline(tokenizer: Tokenizer, model: Any, settings: _Settings) -> None:
    steps: list[Any] = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
    if not settings["keep_accents"]:
        steps += [normalizers.NFKD(), normalizers.StripAccents()]
    if settings["do_lower_case"]:
        steps.append(normalizers.Lowercase())
    _t5_pipeline(tokenizer, model, settings)
    tokenizer.normalizer = normalizers.Sequence([*steps, tokenizer.normalizer])


def _xlm_roberta_pipeline(tokenizer: Tokenizer, model: Any, _: _Settings) -> None:
    tokenizer.normalizer = normalizers.Sequence(_charsmap(model))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    tokenizer.decoder = decoders.Metaspace()


def _llama_pipeline(tokenizer: Tokenizer, _: Any, settings: _Settings) -> None:
    prefix = bool(settings["add_prefix_space"])
    if settings["legacy"] is not False:
        first = [normalizers.Prepend(_SPACE)] * prefix
        tokenizer.normalizer = normalizers.Sequence([*first, normalizers.Replace(" ", _SPACE)])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(
            prepend_scheme="first" if prefix else "never", split=False
        )
    tokenizer.decoder = decoders.Sequence([*_BYTES, *[decoders.Strip(" ", 1, 0)] * prefix])


def _gemma_pipeline(tokenizer: Tokenizer, _: Any, __: _Settings) -> None:
    tokenizer.normalizer = normalizers.Replace(" ", _SPACE)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence(_BYTES)


_BYTES: list[Any] = [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
_TURNS = ("<start_of_turn>", "<end_of_turn>")
_T5 = _Family(
    _t5_vocab, _t5_pipeline, "$A:0 eos:0", "$A:0 eos:0 $B:0 eos:0",
    {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "extra_ids": 100},
)  # fmt: skip
_ALBERT = _Family(
    _albert_vocab, _albert_pipeline, "cls:0 $A:0 sep:0", "cls:0 $A:0 sep:0 $B:1 sep:1",
    {
        "bos_token": "[CLS]", "eos_token": "[SEP]", "unk_token": "<unk>", "sep_token": "[SEP]",
        "pad_token": "<pad>", "cls_token": "[CLS]", "mask_token": "[MASK]",
        "do_lower_case": True, "keep_accents": False,
    },
    mask_takes_space=True,
)  # fmt: skip
_FAIRSEQ_TOKENS = {
    "bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "cls_token": "<s>",
    "unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>",
}  # fmt: skip
_FAIRSEQ_AROUND = ("cls:0 $A:0 sep:0", "cls:0 $A:0 sep:0 sep:0 $B:0 sep:0")
_XLM_ROBERTA = _Family(_xlm_roberta_vocab, _xlm_roberta_pipeline, *_FAIRSEQ_AROUND, _FAIRSEQ_TOKENS)
_CAMEMBERT = _Family(
    _camembert_vocab, _xlm_roberta_pipeline, *_FAIRSEQ_AROUND,
    {**_FAIRSEQ_TOKENS, "additional_special_tokens": ["<s>NOTUSED", "</s>NOTUSED"]},
    mask_takes_space=True,
)  # fmt: skip
_BOS_EOS_AROUND = ("bos:0 $A:0 eos:0", "bos:0 $A:0 eos:0 bos:1 $B:1 eos:1")
_BOS_ONLY = {
    "add_bos_token": True, "add_eos_token": False, "clean_up_tokenization_spaces": False,
}  # fmt: skip
_LLAMA = _Family(
    _pieces, _llama_pipeline, *_BOS_EOS_AROUND,
    {
        "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
        "legacy": True, "add_prefix_space": True, **_BOS_ONLY,
    },
    byte_fallback=True,
)  # fmt: skip
_GEMMA = _Family(
    _gemma_vocab, _gemma_pipeline, *_BOS_EOS_AROUND,
    {
        "bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>",
        **_BOS_ONLY,
    },
    byte_fallback=True,
)  # fmt: skip
_FAMILIES = {
    f"{name}Tokenizer{fast}": family
    for name, family in {
        "T5": _T5, "MT5": _T5, "Albert": _ALBERT, "XLMRoberta": _XLM_ROBERTA,
        "Camembert": _CAMEMBERT, "Llama": _LLAMA, "Gemma": _GEMMA,
    }.items()
    for fast in ("", "Fast")
}  # fmt: skip
_CLASSES = {
    "t5": "T5Tokenizer", "mt5": "T5Tokenizer", "albert": "AlbertTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer", "camembert": "CamembertTokenizer",
    "llama": "LlamaTokenizer", "mistral": "LlamaTokenizer", "gemma": "GemmaTokenizer",
    "gemma2": "GemmaTokenizer", "gemma3": "GemmaTokenizer", "gemma3_text": "GemmaTokenizer",
}  # fmt: skip
"""Class by ``model_type``, for folders whose settings name none."""
