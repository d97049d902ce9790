"""Characters for speech recognition: CTC repeats and blanks go when ids become text.

Source: transformers 4.19.2, ``tokenization_wav2vec2.py``.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, models, normalizers, pre_tokenizers
from typing_extensions import override

from model_base.tokenization.base import PreTrainedTokenizerFast
from model_base.tokenization.settings import UnsupportedTokenizer, check_size, content_of
from model_base.tokenization.tokens import TokenizerSettings

CTC_TOKENS = {
    "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>",
}  # fmt: skip


class CTCTokenizer(PreTrainedTokenizerFast):
    """A token a character; the padding token is CTC's blank.

    Args:
        backend: see ``characters``.
        settings: how it is used.
        delimiter: stands for a space.
        lower: whether decoded text is lower case.
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        settings: TokenizerSettings,
        delimiter: str = "|",
        lower: bool = False,
    ) -> None:
        super().__init__(backend, settings)
        self.word_delimiter_token = delimiter
        self._lower = lower

    @override
    def _save_vocabulary(self, folder: Path) -> dict[str, Any]:
        vocab = self.backend_tokenizer.get_vocab(with_added_tokens=True)
        text = json.dumps(dict(sorted(vocab.items(), key=lambda item: item[1])), ensure_ascii=False)
        (folder / "vocab.json").write_text(text + "\n", encoding="utf-8")
        return {
            "tokenizer_class": "Wav2Vec2CTCTokenizer",
            "word_delimiter_token": self.word_delimiter_token,
            "do_lower_case": self._lower,
        }

    @override
    def tokenize(self, text: str) -> list[str]:
        encoding = self.backend_tokenizer.encode(text, add_special_tokens=False)
        pairs = zip(self.convert_ids_to_tokens(encoding.ids), encoding.offsets, strict=True)
        return [text[a:b].strip(" ") if t == self.unk_token else t for t, (a, b) in pairs]

    @override
    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        group_tokens: bool = True,
    ) -> str:
        """As ``PreTrainedTokenizer.decode``; ``group_tokens`` takes repeats as one."""
        ids = token_ids.tolist() if hasattr(token_ids, "tolist") else list(token_ids)
        tokens = self.convert_ids_to_tokens(ids)
        if skip_special_tokens:
            tokens = [token for token in tokens if token not in self.all_special_tokens]
        text = self.convert_tokens_to_string(tokens, group_tokens)
        return self._cleaned(text, clean_up_tokenization_spaces)

    @override
    def convert_tokens_to_string(self, tokens: Sequence[str], group_tokens: bool = True) -> str:
        singles = [token for token, _ in groupby(tokens)] if group_tokens else tokens
        kept = (token for token in singles if token != self.pad_token)
        text = "".join(" " if t == self.word_delimiter_token else t for t in kept).strip()
        return text.lower() if self._lower else text


def characters(folder: Path, config: Mapping[str, Any]) -> tokenizers.Tokenizer:
    """The backend of a ``vocab.json`` of characters.

    Raises:
        UnsupportedTokenizer: the file is unreadable.
    """
    path = folder / "vocab.json"
    check_size(path)
    try:
        vocab = json.loads(path.read_text(encoding="utf-8"))
        model = models.WordLevel(vocab, unk_token=content_of(config["unk_token"]))
    except (ValueError, TypeError, AttributeError) as error:
        raise UnsupportedTokenizer(f"vocab.json: not a map of characters ({error})") from error
    tokenizer = tokenizers.Tokenizer(model)
    delimiter = content_of(config.get("word_delimiter_token")) or "|"
    steps: list[Any] = [normalizers.Replace(" ", delimiter)]
    if config.get("do_lower_case"):
        steps.append(normalizers.Lowercase())
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex(r"[\s\S]"), "isolated")
    special = [content_of(config.get(name)) for name in CTC_TOKENS]
    tokenizer.add_special_tokens(  # spaces around them go, as in the original
        [AddedToken(t, normalized=False, lstrip=True, rstrip=True) for t in special if t in vocab]
    )
    return tokenizer
