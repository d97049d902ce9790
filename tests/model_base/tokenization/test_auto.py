"""AutoTokenizer: calls as Transformers documents them, over files of every kind."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from model_base import AutoTokenizer, BatchEncoding, PreTrainedTokenizer
from model_base.tokenization.settings import TokenizerNotFound, UnsupportedTokenizer


@pytest.fixture
def tokenizer(tiny_bert: Path) -> PreTrainedTokenizer:
    return AutoTokenizer.from_pretrained(tiny_bert)


@pytest.fixture
def byte_level(tmp_path: Path) -> Path:
    """A folder with a byte-level vocabulary of RoBERTa's kind."""
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "a", "b", "ab", "Ġ", "Ġa", "<mask>"]
    vocab = {token: i for i, token in enumerate(tokens)}
    (tmp_path / "vocab.json").write_text(json.dumps(vocab))
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b\nĠ a\n")
    (tmp_path / "config.json").write_text('{"model_type": "roberta"}')
    return tmp_path


def test_one_text_gives_lists_and_several_give_lists_of_them(
    tokenizer: PreTrainedTokenizer,
) -> None:
    one, many = tokenizer("hello"), tokenizer(["hello"])
    assert isinstance(one, BatchEncoding)
    assert list(one) == ["input_ids", "token_type_ids", "attention_mask"]
    assert one.input_ids == many["input_ids"][0]
    assert one.input_ids[0] == tokenizer.cls_token_id
    assert tokenizer("hello", add_special_tokens=False).input_ids == one.input_ids[1:-1]


def test_texts_are_padded_to_the_longest_or_to_a_length(tokenizer: PreTrainedTokenizer) -> None:
    texts = ["hello", "hello hello hello"]
    padded = tokenizer(texts, padding=True, return_tensors="pt")
    assert padded.input_ids.dtype == torch.int64
    assert padded.input_ids.shape == padded.attention_mask.shape == (2, 5)
    assert padded.input_ids[0, 3:].tolist() == [tokenizer.pad_token_id] * 2
    fixed = tokenizer(texts, padding="max_length", max_length=9, return_tensors="np")
    assert fixed.input_ids.shape == (2, 9)
    assert [len(ids) for ids in tokenizer(texts).input_ids] == [3, 5]


def test_texts_are_cut_where_the_strategy_says(tokenizer: PreTrainedTokenizer) -> None:
    first, second = "hello " * 5, "world " * 5
    both = tokenizer(first, second, truncation=True, max_length=9)
    assert len(both.input_ids) == 9
    kept = tokenizer(first, second, truncation="only_second", max_length=9)
    assert kept.token_type_ids == [0] * 7 + [1] * 2


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"truncation": "middle"}, "truncation is 'middle'; accepted: True, longest_first"),
        ({"padding": "some"}, "padding is 'some'; accepted: True"),
        ({"return_tensors": "tf"}, "return_tensors is 'tf'; accepted: 'pt', 'np'"),
        ({"stride": 3}, "stride is 3"),
        ({"text_pair": ["a", "b"]}, "1 texts and 2 pairs"),
    ],
)
def test_what_is_not_accepted_is_refused_by_name(
    tokenizer: PreTrainedTokenizer, options: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        tokenizer(["hello"], **options)


def test_ids_become_text_again(tokenizer: PreTrainedTokenizer) -> None:
    ids = tokenizer("hello world.").input_ids
    assert tokenizer.decode(torch.tensor(ids), skip_special_tokens=True) == "hello world."
    assert tokenizer.batch_decode([ids, ids], skip_special_tokens=True) == ["hello world."] * 2
    assert tokenizer.convert_ids_to_tokens(ids)[0] == tokenizer.cls_token
    assert tokenizer.convert_tokens_to_ids(["[CLS]", "no such"])[1] == tokenizer.unk_token_id


def test_special_tokens_are_attributes(tokenizer: PreTrainedTokenizer) -> None:
    assert tokenizer.mask_token == "[MASK]"
    assert tokenizer.mask_token_id in tokenizer.all_special_ids
    assert (tokenizer.bos_token, tokenizer.bos_token_id) == (None, None)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        tokenizer.nothing  # noqa: B018


def test_a_saved_tokenizer_comes_back_equal(tokenizer: PreTrainedTokenizer, tmp_path: Path) -> None:
    tokenizer("hello", padding="max_length", truncation=True, max_length=4)
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again("hello world!") == tokenizer("hello world!")
    assert again.settings == tokenizer.settings


def test_a_byte_level_vocabulary_is_enough(byte_level: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(byte_level)
    assert tokenizer.tokenize("ab a") == ["ab", "Ġa"]
    assert tokenizer("ab a").input_ids == [0, 6, 8, 2]
    assert tokenizer("a", "b").input_ids == [0, 4, 2, 2, 5, 2]
    assert list(tokenizer("a")) == ["input_ids", "attention_mask"]


@pytest.mark.parametrize(
    ("file", "text", "named"),
    [
        ("config.json", '{"model_type": "bert"}', "model_type 'bert' needs a tokenizer.json"),
        ("tokenizer_config.json", '{"tokenizer_class": "CLIPTokenizer"}', "'CLIPTokenizer' needs"),
        ("merges.txt", "one two three", "merges.txt"),
        ("vocab.json", "[]", "vocab.json"),
        (
            "vocab.json",
            '{"a": 0, "b": 1, "ab": 2, "Ġ": 3, "Ġa": 4}',
            "special token '<s>' is missing",
        ),
    ],
)
def test_a_vocabulary_of_another_kind_or_damaged_is_refused(
    byte_level: Path, file: str, text: str, named: str
) -> None:
    (byte_level / file).write_text(text)
    with pytest.raises(UnsupportedTokenizer, match=named):
        AutoTokenizer.from_pretrained(byte_level)


def test_a_folder_without_a_tokenizer_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(TokenizerNotFound, match=r"merges\.txt"):
        AutoTokenizer.from_pretrained(tmp_path)


def test_it_is_made_by_from_pretrained_only() -> None:
    with pytest.raises(OSError, match="AutoTokenizer.from_pretrained"):
        AutoTokenizer()


def test_speech_is_decoded_without_repeats_and_blanks(tmp_path: Path) -> None:
    tokens = ["<pad>", "<s>", "</s>", "<unk>", "|", "A", "B"]
    (tmp_path / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}))
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "Wav2Vec2CTCTokenizer"}')
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer("AB A?").input_ids == [5, 6, 4, 5, 3]
    assert tokenizer.decode([5, 5, 0, 5, 4, 4, 6, 0]) == "AA B"
    assert tokenizer.decode([5, 5, 4, 6], group_tokens=False) == "AA B"
