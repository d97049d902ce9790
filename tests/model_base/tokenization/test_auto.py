"""AutoTokenizer: calls as Transformers documents them, over files of every kind."""

import copy
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken

from model_base import (
    AutoTokenizer,
    BatchEncoding,
    PreTrainedTokenizer,
    PreTrainedTokenizerFast,
)
from model_base.tokenization.chat import ChatTemplateError
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


@pytest.mark.tensorflow
def test_tensors_may_be_tensorflows(tokenizer: PreTrainedTokenizer) -> None:
    import tensorflow as tf

    padded = tokenizer(["hello", "hello hello"], padding=True, return_tensors="tf")
    assert padded.input_ids.dtype == tf.int32
    assert padded.attention_mask.numpy().tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]


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
        ({"return_tensors": "jax"}, "return_tensors is 'jax'; accepted: 'pt', 'tf', 'np'"),
        ({"stride": 3}, "stride is 3"),
        ({"text_pair": ["a", "b"]}, "1 texts and 2 pairs"),
        (
            {"stride": 2, "max_length": 4, "truncation": True, "return_overflowing_tokens": True},
            "stride is 2; accepted: below 2",
        ),
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


def test_arguments_win_over_the_files(tiny_bert: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(
        tiny_bert, padding_side="left", truncation_side="left", model_max_length=4,
        pad_token="<fill>", do_lower_case=False, model_input_names=["input_ids"],
        clean_up_tokenization_spaces=False, chat_template="x", use_fast=True,
        trust_remote_code=False, subfolder="",
    )  # fmt: skip
    padded = tokenizer(["hello", "hello world hello world"], padding=True, truncation=True)
    assert list(padded) == ["input_ids"]
    assert [len(ids) for ids in padded.input_ids] == [4, 4]
    assert padded.input_ids[0][0] == tokenizer.pad_token_id == len(tokenizer) - 1
    assert padded.tokens(1)[1:3] == ["hello", "world"]
    assert tokenizer("HELLO").input_ids[1] == tokenizer.unk_token_id
    assert tokenizer.chat_template == "x"
    assert not tokenizer.clean_up_tokenization_spaces


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"paddingside": "left"}, "paddingside: not accepted; accepted: .*padding_side"),
        ({"padding_side": "top"}, "padding_side is 'top'; accepted: 'left', 'right'"),
        ({"model_max_length": 0}, "model_max_length is 0; accepted: 1 or more"),
        ({"pad_token": 3}, "pad_token is 3; accepted: a token's text"),
        ({"additional_special_tokens": "x"}, "additional_special_tokens is 'x'; .*a list"),
        ({"do_lower_case": "no"}, "do_lower_case is 'no'; accepted: True, False"),
        ({"add_bos_token": True}, "add_bos_token=True: not possible, .*no bos_token"),
        ({"add_prefix_space": True}, "add_prefix_space=True: not possible"),
        ({"word_delimiter_token": "|"}, "has no word delimiter"),
        ({"trust_remote_code": True}, "trust_remote_code is True"),
        ({"subfolder": "sub"}, "subfolder is 'sub'"),
    ],
)
def test_an_argument_that_cannot_be_honoured_is_refused_by_name(
    tiny_bert: Path, options: dict[str, Any], named: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=named):
        AutoTokenizer.from_pretrained(tiny_bert, **options)


@pytest.mark.parametrize(
    ("wrong", "given"),
    [
        ({"do_lower_case": "yes"}, {"do_lower_case": False}),
        ({"model_max_length": "long"}, {"model_max_length": 4}),
        ({"padding_side": "top"}, {"padding_side": "left"}),
        ({"chat_template": 5}, {"chat_template": "x"}),
        ({"mask_token": 5}, {"mask_token": "[MASK]"}),
        ({"add_bos_token": True, "bos_token": "cat"}, {"add_bos_token": False}),
    ],
)
@pytest.mark.parametrize("kind", ["vocab.txt", "tokenizer.json"])
def test_an_argument_repairs_a_file_that_is_refused(
    tiny_bert: Path, tmp_path: Path, kind: str, wrong: dict[str, Any], given: dict[str, Any]
) -> None:
    if kind == "vocab.txt":
        (tmp_path / kind).write_bytes((tiny_bert / kind).read_bytes())
    else:
        backend = AutoTokenizer.from_pretrained(tiny_bert).backend_tokenizer
        backend.save(str(tmp_path / kind))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(wrong))
    with pytest.raises(UnsupportedTokenizer):
        AutoTokenizer.from_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, **given)
    for name, value in given.items():
        assert getattr(tokenizer, name, value) == value


def test_a_chat_template_of_a_wrong_type_is_refused_in_its_own_file_too(
    tiny_bert: Path, tmp_path: Path
) -> None:
    (tmp_path / "vocab.txt").write_bytes((tiny_bert / "vocab.txt").read_bytes())
    (tmp_path / "chat_template.json").write_text('{"chat_template": [5]}')
    with pytest.raises(UnsupportedTokenizer, match=r"chat_template\.json: chat_template is \[5\]"):
        AutoTokenizer.from_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path, chat_template="x").chat_template == "x"


def test_tokens_around_texts_and_the_space_before_them_are_chosen(byte_level: Path) -> None:
    (byte_level / "config.json").write_text('{"model_type": "gpt2"}')
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (byte_level / "tokenizer_config.json").write_text(json.dumps(names))
    both = AutoTokenizer.from_pretrained(byte_level, add_bos_token=True, add_eos_token=True)
    assert both("a").input_ids == [0, 4, 2]
    assert both("a", "b").input_ids == [0, 4, 2, 0, 5, 2]
    both.save_pretrained(byte_level)
    end_only = AutoTokenizer.from_pretrained(byte_level, add_bos_token=False)
    assert end_only("a").input_ids == [4, 2]
    spaced = AutoTokenizer.from_pretrained(byte_level, add_prefix_space=True, add_eos_token=False)
    assert spaced("a").input_ids == [0, 8]


def test_other_tokens_around_texts_are_not_taken_for_begin_and_end(byte_level: Path) -> None:
    with pytest.raises(UnsupportedTokenizer, match="add_eos_token=False: not possible"):
        AutoTokenizer.from_pretrained(byte_level, add_eos_token=False)


def test_settings_can_be_changed_and_are_used(tokenizer: PreTrainedTokenizer) -> None:
    texts = ["hello", "hello world world"]
    tokenizer.padding_side = "left"
    assert tokenizer(texts, padding=True).attention_mask[0] == [0, 0, 1, 1, 1]
    tokenizer.truncation_side, tokenizer.model_max_length = "left", 3
    assert tokenizer("hello world", truncation=True).tokens() == ["[CLS]", "world", "[SEP]"]
    tokenizer.model_max_length = int(1e30)
    assert tokenizer.model_max_length == int(1e30)
    tokenizer.pad_token = tokenizer.sep_token
    assert tokenizer(texts, padding=True).input_ids[0][:2] == [tokenizer.sep_token_id] * 2
    tokenizer.pad_token_id = tokenizer.mask_token_id
    assert tokenizer.pad_token == "[MASK]"
    with pytest.raises(ValueError, match="pad_token_id is 99999; accepted: ids below"):
        tokenizer.pad_token_id = 99999
    tokenizer.pad_token = None
    with pytest.raises(ValueError, match="no padding token"):
        tokenizer(texts, padding=True)
    with pytest.raises(ValueError, match="truncation_side is 'top'"):
        tokenizer.truncation_side = "top"  # type: ignore[assignment]


def test_tokens_are_added(tokenizer: PreTrainedTokenizer) -> None:
    size = len(tokenizer)
    assert tokenizer.add_tokens(["zyzzy", "hello"]) == 1
    assert tokenizer.tokenize("zyzzy hello") == ["zyzzy", "hello"]
    named = {"bos_token": AddedToken("<b>"), "additional_special_tokens": ["<x>", "<y>"]}
    assert tokenizer.add_special_tokens(named) == 3
    assert (tokenizer.bos_token, tokenizer.bos_token_id) == ("<b>", size + 1)
    assert tokenizer.additional_special_tokens == ["<x>", "<y>"]
    assert tokenizer.special_tokens_map["additional_special_tokens"] == ["<x>", "<y>"]
    assert tokenizer.added_tokens_decoder[size].content == "zyzzy"
    assert tokenizer.added_tokens_encoder["<y>"] == tokenizer.vocab["<y>"] == size + 3
    ids = tokenizer("<x>hello").input_ids
    assert tokenizer.convert_ids_to_tokens(ids, skip_special_tokens=True) == ["hello"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "hello"
    with pytest.raises(ValueError, match=r"end_token is '.'; accepted names: unk_token"):
        tokenizer.add_special_tokens({"end_token": "."})


def test_what_a_call_returns_knows_its_tokens_and_moves(tokenizer: PreTrainedTokenizer) -> None:
    encoded = tokenizer("hello world", "hello", return_tensors="pt")
    assert encoded.word_ids() == [None, 0, 1, None, 0, None]
    assert encoded.sequence_ids(0) == [None, 0, 0, None, 1, None]
    assert encoded.tokens()[1] == "hello"
    assert encoded.char_to_token(6) == encoded.char_to_token(0, 6) == 2
    assert encoded.char_to_token(0, 0, 1) == 4
    assert "encodings" not in encoded
    assert encoded.to("meta") is encoded
    assert encoded.input_ids.device.type == "meta"
    with pytest.raises(ValueError, match="only what a call of a tokenizer returns"):
        BatchEncoding({"input_ids": [1]}).word_ids()


def test_what_is_cut_off_can_be_returned(tokenizer: PreTrainedTokenizer) -> None:
    parts = tokenizer(
        ["hello world hello", "hello"], truncation=True, max_length=4, stride=1, padding=True,
        return_overflowing_tokens=True, return_tensors="pt", verbose=False,
    )  # fmt: skip
    assert parts.overflow_to_sample_mapping.tolist() == [0, 0, 1]
    assert parts.input_ids[0, 2] == parts.input_ids[1, 1]
    one = tokenizer("hello", return_overflowing_tokens=True)
    assert len(one.input_ids) == 1
    with pytest.raises(ValueError, match="the texts cannot be encoded .*stride"):
        tokenizer(
            [("hello " * 9, "world " * 9)], truncation=True, max_length=9, stride=5,
            return_overflowing_tokens=True,
        )  # fmt: skip


def test_targets_become_labels(tokenizer: PreTrainedTokenizer) -> None:
    expected = tokenizer("world").input_ids
    assert tokenizer("hello", text_target="world").labels == expected
    assert tokenizer(text_target="world").input_ids == expected
    with pytest.raises(ValueError, match="text and text_target are None"):
        tokenizer()


def test_rows_of_different_lengths_are_no_tensor(tokenizer: PreTrainedTokenizer) -> None:
    with pytest.raises(ValueError, match=r"input_ids has rows of 3 to 4.*padding=True"):
        tokenizer(["hello", "hello world"], return_tensors="pt")


def test_encoded_texts_are_padded_afterwards(tokenizer: PreTrainedTokenizer) -> None:
    texts = ["hello", "hello world hello"]
    rows = [tokenizer(text) for text in texts]
    expected = tokenizer(texts, padding=True)
    assert tokenizer.pad(rows) == tokenizer.pad(tokenizer(texts)) == expected
    tensors = tokenizer.pad(rows, pad_to_multiple_of=4, return_tensors="pt")
    assert tensors.input_ids.shape == tensors.attention_mask.shape == (2, 8)
    tokenizer.padding_side = "left"
    ids_only = tokenizer.pad(
        {"input_ids": torch.tensor([5, 6])}, padding="max_length", max_length=3
    )
    assert ids_only == {"input_ids": [tokenizer.pad_token_id, 5, 6], "attention_mask": [0, 1, 1]}
    for wrong, named in (({"ids": [1]}, r"pad got \['ids'\]"), ([], "a list of mappings")):
        with pytest.raises(ValueError, match=named):
            tokenizer.pad(wrong)


def test_the_older_names_do_the_same(tokenizer: PreTrainedTokenizer) -> None:
    assert isinstance(tokenizer, PreTrainedTokenizerFast)
    assert tokenizer.encode_plus("hello", "world") == tokenizer("hello", "world")
    assert tokenizer.batch_encode_plus([("hello", "world")]) == tokenizer(["hello"], ["world"])
    assert tokenizer.batch_encode_plus(["hello"]) == tokenizer(["hello"])
    assert tokenizer.num_special_tokens_to_add() == 2
    assert tokenizer.num_special_tokens_to_add(pair=True) == 3
    assert tokenizer.convert_tokens_to_string(["hello", "##s", "world"]) == "hellos world"
    assert tokenizer.model_input_names == ["input_ids", "token_type_ids", "attention_mask"]
    assert tokenizer.is_fast


def test_it_is_copied_pickled_and_shown(tokenizer: PreTrainedTokenizer, tiny_bert: Path) -> None:
    tokenizer.padding_side = "left"
    for again in (copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer))):
        assert again("hello", padding=True) == tokenizer("hello", padding=True)
        assert again.settings == tokenizer.settings
        assert again.add_tokens("zyzzy") == 1
    assert "zyzzy" not in tokenizer.vocab
    encoded = pickle.loads(pickle.dumps(tokenizer("hello")))
    assert encoded.tokens() == ["[CLS]", "hello", "[SEP]"]
    assert tokenizer.name_or_path == str(tiny_bert)
    for part in (str(tiny_bert), "padding_side='left'", "'mask_token': '[MASK]'"):
        assert part in repr(tokenizer)


def test_conversations_are_encoded_as_texts_are(tokenizer: PreTrainedTokenizer) -> None:
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }} {% endfor %}"
    one = [{"role": "user", "content": "hello"}]
    two = [one, [*one, {"role": "assistant", "content": "world"}]]
    assert tokenizer.apply_chat_template(two, tokenize=False) == ["hello ", "hello world "]
    ids = tokenizer.apply_chat_template(two)
    assert ids == tokenizer(["hello", "hello world"], add_special_tokens=False).input_ids
    assert tokenizer.apply_chat_template(one) == ids[0]
    tensor = tokenizer.apply_chat_template(two, padding=True, return_tensors="pt")
    assert tensor.shape == (2, 2)
    encoded = tokenizer.apply_chat_template(
        two[1], truncation=True, max_length=1, return_tensors="pt", return_dict=True
    )
    assert encoded.input_ids.shape == encoded.attention_mask.shape == (1, 1)
    with pytest.raises(ValueError, match="continue_final_message is on"):
        tokenizer.apply_chat_template(one, continue_final_message=True)


@pytest.mark.parametrize("message", ["hello", ["hello"], {"role": "user", "text": "hello"}])
def test_a_message_whose_content_would_be_lost_is_refused(
    tokenizer: PreTrainedTokenizer, message: Any
) -> None:
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    with pytest.raises(ChatTemplateError, match="message 0 is a .*accepted: a mapping with role"):
        tokenizer.apply_chat_template((message,) if isinstance(message, str) else [[message]])


def test_settings_of_speech_are_given_by_arguments(tmp_path: Path) -> None:
    tokens = ["<pad>", "<s>", "</s>", "<unk>", "_", "a", "b"]
    (tmp_path / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}))
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "Wav2Vec2CTCTokenizer"}')
    tokenizer = AutoTokenizer.from_pretrained(
        tmp_path, word_delimiter_token="_", do_lower_case=True
    )
    assert tokenizer("A b").input_ids == [5, 4, 6]
    assert tokenizer.convert_tokens_to_string(["a", "a", "_", "b"]) == "a b"


def test_a_saved_speech_tokenizer_decodes_as_before(tmp_path: Path) -> None:
    tokens = ["<pad>", "<s>", "</s>", "<unk>", "|", "A", "B"]
    (tmp_path / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}))
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "Wav2Vec2CTCTokenizer"}')
    AutoTokenizer.from_pretrained(tmp_path).save_pretrained(tmp_path / "saved")
    again = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert again("AB A?").input_ids == [5, 6, 4, 5, 3]
    assert again.decode([5, 5, 0, 5, 4, 4, 6, 0]) == "AA B"


def test_several_chat_templates_are_saved(tokenizer: PreTrainedTokenizer, tmp_path: Path) -> None:
    templates = {"default": "{{ messages[0].content }}", "tool_use": "tools"}
    tokenizer.settings = replace(tokenizer.settings, chat_template=templates)
    tokenizer.save_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path).chat_template == templates
