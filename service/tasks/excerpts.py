"""Cutting a long text where its tokenizer would part it anyway.

A request may hold megabytes of which a model takes a few hundred tokens. For BERT's tokenizers
there are characters before which a cut never changes the tokens on either side, so the tokens of
an excerpt are the first (or last) tokens of the whole text. Other tokenizers read all of it.
"""

import re
import string

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers

from model_base.tokenization.settings import Direction

_IDEOGRAPHS = "\u4e00-\u9fff"


def cut_points(tokenizer: tokenizers.Tokenizer) -> re.Pattern[str] | None:
    """What a cut may be made before; None when nothing certain is known.

    White space, ASCII punctuation and ideographs each end a word in BERT's splitter, and its
    normaliser looks at no neighbours of theirs. Characters of added tokens are left out, since
    such a token is found before the text is split.
    """
    tokens = tokenizer.get_added_tokens_decoder().values()
    normalizer = tokenizer.normalizer
    if not (
        isinstance(normalizer, normalizers.BertNormalizer)
        and isinstance(tokenizer.pre_tokenizer, pre_tokenizers.BertPreTokenizer)
        and isinstance(tokenizer.model, models.WordPiece)
        and not any(token.single_word for token in tokens)
    ):
        return None
    taken = {char for t in tokens for char in t.content + normalizer.normalize_str(t.content)}
    free = [char for char in " \t\r\n" + string.punctuation if char not in taken]
    ideographs = normalizer.handle_chinese_chars and not re.search(
        f"[{_IDEOGRAPHS}]", "".join(taken)
    )
    return re.compile(f"[{re.escape(''.join(free))}{_IDEOGRAPHS if ideographs else ''}]")


def excerpt(text: str, num_chars: int, direction: Direction, points: re.Pattern[str]) -> str:
    """The first, or with ``left`` the last, ``num_chars`` characters, give or take a word.

    Args:
        text: the whole text.
        num_chars: at least 1; more characters come back when no cut can be made there.
        direction: the end that a truncation would drop.
        points: from ``cut_points``.
    """
    if direction == "right":
        found = points.search(text, num_chars)
        return text[: found.start()] if found else text
    while num_chars < len(text):
        if found := points.search(text, len(text) - num_chars):
            return text[found.start() :]
        num_chars *= 4
    return text
