import json
from pathlib import Path
from typing import Any

import pytest

from service.tasks import tokenizer_files
from service.tasks.json_files import UnreadableFile
from service.tasks.tokenizer_files import TokenizerNotFound, UnsupportedTokenizer, read_tokenizer


@pytest.fixture
def vocab_folder(tiny_bert: Path, tmp_path: Path) -> Path:
    (tmp_path / "vocab.txt").write_bytes((tiny_bert / "vocab.txt").read_bytes())
    return tmp_path


@pytest.fixture
def json_folder(tiny_bert: Path, tmp_path: Path) -> Path:
    read_tokenizer(tiny_bert).tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def configure(folder: Path, **settings: Any) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def ids(folder: Path, text: str) -> list[int]:
    return read_tokenizer(folder).tokenizer.encode(text).ids


def test_a_folder_without_files_names_those_looked_for(tmp_path: Path) -> None:
    with pytest.raises(TokenizerNotFound, match=r"tokenizer\.json and vocab\.txt") as caught:
        read_tokenizer(tmp_path)
    assert str(tmp_path) not in str(caught.value)


def test_tokenizer_json_is_preferred(json_folder: Path) -> None:
    (json_folder / "vocab.txt").write_text("not read\n")
    assert len(ids(json_folder, "cat")) == 3


@pytest.mark.parametrize("content", ["", "{", "[]", '{"model": 1}', "\ufeff"])
def test_a_malformed_tokenizer_json_is_refused_by_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content, encoding="utf-8")
    with pytest.raises(UnsupportedTokenizer, match=r"tokenizer\.json: not readable"):
        read_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("part", "change", "named"),
    [
        ("model", {"unk_token": "<absent>"}, "cannot encode"),
        ("post_processor", {"special_tokens": {}}, "cannot encode"),
        ("post_processor", {"single": [{"Sequence": {"id": "B", "type_id": 0}}]}, "cannot encode"),
        ("model", {"vocab": {"[UNK]": 1, "[CLS]": 2, "[SEP]": 2**32 - 1}}, "4294967295 is over"),
    ],
)
def test_a_tokenizer_that_cannot_encode_is_refused_when_it_is_read(
    json_folder: Path, part: str, change: dict[str, Any], named: str
) -> None:
    content = json.loads((json_folder / "tokenizer.json").read_text())
    content[part].update(change)
    (json_folder / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(UnsupportedTokenizer, match=named):
        read_tokenizer(json_folder)


@pytest.mark.parametrize("name", ["tokenizer.json", "vocab.txt"])
def test_a_file_over_the_cap_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(tokenizer_files, "MAX_TOKENIZER_BYTES", 10)
    (tmp_path / name).write_text("x" * 11)
    with pytest.raises(UnsupportedTokenizer, match=f"{name}: 11 bytes, at most 10"):
        read_tokenizer(tmp_path)


def test_a_malformed_config_is_refused_by_name(vocab_folder: Path) -> None:
    (vocab_folder / "tokenizer_config.json").write_text("{")
    with pytest.raises(UnreadableFile, match=r"tokenizer_config\.json"):
        read_tokenizer(vocab_folder)


class TestVocabTxt:
    def test_case_is_kept_when_the_config_says_so(self, vocab_folder: Path) -> None:
        lower = ids(vocab_folder, "Cat")
        configure(vocab_folder, do_lower_case=False)
        assert ids(vocab_folder, "Cat") != lower
        assert ids(vocab_folder, "cat") == lower

    def test_accents_are_kept_when_the_config_says_so(self, vocab_folder: Path) -> None:
        stripped = ids(vocab_folder, "hellö")
        configure(vocab_folder, strip_accents=False)
        assert stripped == ids(vocab_folder, "hello") != ids(vocab_folder, "hellö")

    def test_ideographs_stay_together_when_the_config_says_so(self, vocab_folder: Path) -> None:
        assert len(ids(vocab_folder, "日本")) == 4
        configure(vocab_folder, tokenize_chinese_chars=False)
        assert len(ids(vocab_folder, "日本")) == 3

    def test_special_tokens_of_the_separate_file_win(self, vocab_folder: Path) -> None:
        configure(vocab_folder, mask_token="[MASK]")
        (vocab_folder / "special_tokens_map.json").write_text('{"mask_token": "[PAD]"}')
        assert read_tokenizer(vocab_folder).special_ids["mask_token"] == 0

    def test_a_missing_special_token_is_named(self, vocab_folder: Path) -> None:
        configure(vocab_folder, cls_token="<s>")
        with pytest.raises(UnsupportedTokenizer, match="special token '<s>' is missing"):
            read_tokenizer(vocab_folder)

    def test_windows_line_ends_are_no_part_of_tokens(self, vocab_folder: Path) -> None:
        wanted = ids(vocab_folder, "the cat")
        text = (vocab_folder / "vocab.txt").read_bytes()
        (vocab_folder / "vocab.txt").write_bytes(text.replace(b"\n", b"\r\n"))
        assert ids(vocab_folder, "the cat") == wanted

    def test_bytes_that_are_not_utf8_are_refused(self, vocab_folder: Path) -> None:
        (vocab_folder / "vocab.txt").write_bytes(b"[UNK]\n\xff\n")
        with pytest.raises(UnsupportedTokenizer, match=r"vocab\.txt: not UTF-8"):
            read_tokenizer(vocab_folder)

    @pytest.mark.parametrize("name", ["MPNetTokenizer", "BertJapaneseTokenizer", "EsmTokenizer"])
    def test_other_tokenizers_that_use_the_name_are_refused(
        self, vocab_folder: Path, name: str
    ) -> None:
        configure(vocab_folder, tokenizer_class=name)
        with pytest.raises(UnsupportedTokenizer, match=f"tokenizer_class '{name}'"):
            read_tokenizer(vocab_folder)

    def test_another_model_type_is_refused_when_no_class_is_named(self, vocab_folder: Path) -> None:
        (vocab_folder / "config.json").write_text('{"model_type": "mpnet"}')
        with pytest.raises(UnsupportedTokenizer, match="model_type 'mpnet'"):
            read_tokenizer(vocab_folder)

    @pytest.mark.parametrize(
        ("settings", "named"),
        [
            ({"do_basic_tokenize": False}, "do_basic_tokenize"),
            ({"never_split": ["x"]}, "never_split"),
        ],
    )
    def test_settings_that_are_not_honoured_are_named(
        self, vocab_folder: Path, settings: dict[str, Any], named: str
    ) -> None:
        configure(vocab_folder, **settings)
        with pytest.raises(UnsupportedTokenizer, match=named):
            read_tokenizer(vocab_folder)


class TestSettingsOverTokenizerJson:
    def test_lower_casing_of_the_config_wins(self, json_folder: Path) -> None:
        lower = ids(json_folder, "Cat")
        configure(json_folder, tokenizer_class="BertTokenizer", do_lower_case=False)
        assert ids(json_folder, "Cat") != lower

    def test_a_plain_fast_class_takes_the_file_as_it_is(self, json_folder: Path) -> None:
        lower = ids(json_folder, "Cat")
        configure(json_folder, tokenizer_class="PreTrainedTokenizerFast", do_lower_case=False)
        assert ids(json_folder, "Cat") == lower

    @pytest.mark.parametrize(
        ("settings", "named"),
        [
            ({"split_special_tokens": True}, "split_special_tokens"),
            ({"add_bos_token": True, "bos_token": "cat"}, "add_bos_token=True"),
            ({"add_eos_token": False, "eos_token": "[SEP]"}, "add_eos_token=False"),
            ({"additional_special_tokens": ["<new>"]}, "'<new>' is not in the vocabulary"),
            ({"added_tokens_decoder": {"7": {"content": "[MASK]"}}}, "declared with id 7"),
            ({"added_tokens_decoder": {"x": {"content": "[MASK]"}}}, "not readable"),
            ({"added_tokens_decoder": {"1": {}}}, "not readable"),
        ],
    )
    def test_what_would_change_ids_is_named(
        self, json_folder: Path, settings: dict[str, Any], named: str
    ) -> None:
        configure(json_folder, **settings)
        with pytest.raises(UnsupportedTokenizer, match=named):
            read_tokenizer(json_folder)

    def test_added_tokens_of_the_config_are_added(self, json_folder: Path) -> None:
        size = read_tokenizer(json_folder).tokenizer.get_vocab_size()
        configure(
            json_folder, added_tokens_decoder={str(size): {"content": "<new>", "special": True}}
        )
        assert ids(json_folder, "cat<new>")[2] == size

    def test_added_tokens_of_the_older_file_are_added(self, vocab_folder: Path) -> None:
        size = read_tokenizer(vocab_folder).tokenizer.get_vocab_size()
        (vocab_folder / "added_tokens.json").write_text(json.dumps({"newword": size}))
        assert ids(vocab_folder, "newword")[1] == size

    def test_special_tokens_that_the_file_does_not_mark_are_not_split(
        self, json_folder: Path
    ) -> None:
        content = json.loads((json_folder / "tokenizer.json").read_text())
        content["added_tokens"] = [t for t in content["added_tokens"] if t["content"] != "[MASK]"]
        (json_folder / "tokenizer.json").write_text(json.dumps(content))
        assert 4 not in ids(json_folder, "[MASK]")
        configure(json_folder, mask_token="[MASK]")
        assert ids(json_folder, "[MASK]")[1] == 4


@pytest.mark.parametrize(
    ("limit", "wanted"), [(512, 512), (1e30, None), (None, None), (0, None), ("x", None)]
)
def test_absurd_limits_count_as_none(vocab_folder: Path, limit: object, wanted: int | None) -> None:
    configure(vocab_folder, model_max_length=limit)
    assert read_tokenizer(vocab_folder).model_max_length == wanted
