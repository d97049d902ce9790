import base64
import json
from pathlib import Path
from typing import Any

import pytest

from model_base import AutoTokenizer
from model_base.tokenization import files as tokenizer_files
from model_base.tokenization import settings
from model_base.tokenization.files import read_tokenizer
from model_base.tokenization.json_files import TokenizerError, UnreadableFile
from model_base.tokenization.settings import TokenizerNotFound, UnsupportedTokenizer


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


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt"])
def test_a_vocabulary_and_its_merges_are_only_read_together(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("{}")
    with pytest.raises(TokenizerNotFound):
        read_tokenizer(tmp_path)


def test_a_folder_without_files_names_those_looked_for(tmp_path: Path) -> None:
    with pytest.raises(
        TokenizerNotFound, match=r"vocab\.txt, vocab\.json with merges\.txt, spiece\.model"
    ) as caught:
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
    monkeypatch.setattr(settings, "MAX_TOKENIZER_BYTES", 10)
    (tmp_path / name).write_text("x" * 11)
    with pytest.raises(UnsupportedTokenizer, match=f"{name}: 11 bytes, at most 10"):
        read_tokenizer(tmp_path)


def test_a_malformed_config_is_refused_by_name(vocab_folder: Path) -> None:
    (vocab_folder / "tokenizer_config.json").write_text("{")
    assert issubclass(UnreadableFile, TokenizerError)
    with pytest.raises(UnreadableFile, match=r"tokenizer_config\.json"):
        read_tokenizer(vocab_folder)


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*b"])
@pytest.mark.parametrize("part", ["normalizer", "pre_tokenizer"])
def test_a_pattern_that_fails_on_a_text_is_named_as_the_cause(
    json_folder: Path, part: str, pattern: str
) -> None:
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated",
             "invert": False}  # fmt: skip
    step = replace(pattern, "x", "Regex") if part == "normalizer" else split
    rewrite(json_folder, part, step)
    tokenizer = AutoTokenizer.from_pretrained(json_folder)
    assert len(tokenizer("cat").input_ids) >= 3
    for call in (tokenizer, tokenizer.tokenize):
        with pytest.raises(ValueError, match="a regular expression of tokenizer.json takes too"):
            call("a" * 200 + "!b")


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

    def test_the_five_special_tokens_are_known_without_any_settings(
        self, vocab_folder: Path
    ) -> None:
        assert read_tokenizer(vocab_folder).special_ids == {
            "pad_token": 0, "unk_token": 1, "cls_token": 2, "sep_token": 3, "mask_token": 4
        }  # fmt: skip

    def test_special_tokens_that_the_list_lacks_are_not_known(self, vocab_folder: Path) -> None:
        text = (vocab_folder / "vocab.txt").read_text()
        (vocab_folder / "vocab.txt").write_text(text.replace("[MASK]", "[LOST]"))
        assert "mask_token" not in read_tokenizer(vocab_folder).special_ids

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
    ("limit", "wanted"), [(512, 512), (1e30, None), (None, None), (0, None), (float("nan"), None)]
)
def test_absurd_limits_count_as_none(vocab_folder: Path, limit: object, wanted: int | None) -> None:
    configure(vocab_folder, model_max_length=limit)
    assert read_tokenizer(vocab_folder).model_max_length == wanted


def replace(pattern: str, content: str, kind: str = "String") -> dict[str, Any]:
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


def charsmap(longest: int) -> dict[str, Any]:
    """A map of SentencePiece: a trie of four bytes, and a text."""
    content = b"\4\0\0\0" + b"trie" + b"x\0" + "é".encode() * longest + b"\0y"
    return {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(content).decode()}


def nested(*steps: Any) -> dict[str, Any]:
    return {"type": "Sequence", "normalizers": list(steps)}


DOUBLE = replace("a", "aa")
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
SPLIT = {"type": "WhitespaceSplit"}


def rewrite(folder: Path, part: str, content: object) -> None:
    path = folder / "tokenizer.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), part: content}))


@pytest.mark.parametrize(
    ("part", "content", "named"),
    [
        ("normalizer", nested(*[DOUBLE] * 45), "45 steps of one kind; accepted: up to 16"),
        ("normalizer", nested(*[nested(DOUBLE)] * 45), "45 steps of one kind"),
        ("normalizer", nested(*[{"type": "NFC"}] * 17), "17 steps of one kind"),
        ("normalizer", nested(*[DOUBLE] * 5), "5 steps that lengthen a text; accepted: up to 4"),
        ("normalizer", nested(nested(DOUBLE, DOUBLE), DOUBLE, nested(DOUBLE, DOUBLE)), "5 steps"),
        ("normalizer", nested(*[replace(".", "xx", "Regex")] * 5), "5 steps that lengthen"),
        ("normalizer", nested(*[replace("", "x", "Regex")] * 5), "5 steps that lengthen"),
        ("normalizer", nested(replace("a", "a" * 17), replace("a", "a" * 16)), "272 times the"),
        ("normalizer", nested(charsmap(18), charsmap(18)), "324 times the length of a text"),
        ("normalizer", charsmap(257), "257 times the length of a text; accepted: up to 256"),
        ("normalizer", {"type": "Precompiled", "precompiled_charsmap": "?"}, "Only base64|Incorr"),
        ("normalizer", replace("a" * 60, "a" * 65), "65 characters put in by one step"),
        ("normalizer", {"type": "Prepend", "prepend": "x" * 65}, "65 characters put in"),
        ("normalizer", {"normalizers": [{"pattern": {"String": "a"}, "content": "aa"}] * 5}, "5 s"),
        ("pre_tokenizer", {"type": "Sequence", "pretokenizers": [SPLIT] * 17}, "17 steps"),
        ("pre_tokenizer", {"type": "Sequence", "pretokenizers": [BYTES] * 5}, "5 steps that"),
        ("decoder", {"type": "Sequence", "decoders": [DOUBLE] * 45}, "45 steps of one kind"),
    ],
)
def test_steps_that_make_a_long_text_of_a_short_one_are_refused_before_they_are_built(
    json_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    part: str,
    content: dict[str, Any],
    named: str,
) -> None:
    rewrite(json_folder, part, content)
    monkeypatch.setattr(tokenizer_files, "tokenizers", None)
    with pytest.raises(UnsupportedTokenizer, match=f"tokenizer.json: not readable .{named}"):
        read_tokenizer(json_folder)


@pytest.mark.parametrize(
    "normalizer",
    [
        None,
        nested(*[DOUBLE] * 4),
        nested(*[replace("aa", "a")] * 16),
        nested(*[replace(" {2,}", " ", "Regex")] * 4),
        nested({"type": "Prepend", "prepend": "x" * 64}, replace(" ", "y" * 64)),
        nested(nested({"type": "NFC"}), replace(" {2,}", " ", "Regex"), {"type": "Lowercase"}),
    ],
)
def test_steps_within_the_limits_are_built(json_folder: Path, normalizer: object) -> None:
    rewrite(json_folder, "normalizer", normalizer)
    assert len(ids(json_folder, "cat")) >= 3


@pytest.mark.parametrize("first", [True, False])
def test_of_a_part_that_is_there_twice_the_one_that_is_used_is_checked(
    json_folder: Path, first: bool
) -> None:
    path = json_folder / "tokenizer.json"
    rest = {k: v for k, v in json.loads(path.read_text()).items() if k != "normalizer"}
    parts = [nested(*[DOUBLE] * 5), {"type": "NFC"}]
    parts = parts if first else parts[::-1]
    twice = ", ".join(f'"normal\\u0069zer": {json.dumps(part)}' for part in parts)
    path.write_text(f"{{{twice}, {json.dumps(rest)[1:]}")
    if first:
        assert "NFC" in str(read_tokenizer(json_folder).tokenizer.normalizer)
        return
    with pytest.raises(UnsupportedTokenizer, match="5 steps that lengthen"):
        read_tokenizer(json_folder)


@pytest.mark.parametrize("file", ["tokenizer_config.json", "special_tokens_map.json"])
@pytest.mark.parametrize(
    ("settings", "accepted"),
    [
        ({"do_lower_case": "yes"}, "true or false"),
        ({"strip_accents": 1}, "true or false"),
        ({"tokenize_chinese_chars": []}, "true or false"),
        ({"do_basic_tokenize": "x"}, "true or false"),
        ({"split_special_tokens": "x"}, "true or false"),
        ({"add_bos_token": 1}, "true or false"),
        ({"mask_token": 5}, "a token"),
        ({"cls_token": {"content": 5}}, "a token"),
        ({"additional_special_tokens": 5}, "a list of tokens"),
        ({"additional_special_tokens": [5]}, "a list of tokens"),
        ({"tokenizer_class": ["BertTokenizer"]}, "a name"),
        ({"chat_template": 5}, "a text, or a list of objects with name and template"),
        ({"chat_template": [{"name": "default"}]}, "a text, or a list of objects"),
        ({"model_input_names": "input_ids"}, "a list of names"),
        ({"model_input_names": [1]}, "a list of names"),
        ({"extra_special_tokens": "<x>"}, "a list of tokens, or tokens by name"),
        ({"extra_special_tokens": {"image": 5}}, "a list of tokens, or tokens by name"),
        ({"padding_side": "top"}, "'left', 'right'"),
        ({"truncation_side": ["left"]}, "'left', 'right'"),
        ({"model_max_length": "512"}, "a number"),
        ({"model_max_length": True}, "a number"),
        ({"clean_up_tokenization_spaces": "no"}, "true or false"),
        ({"legacy": "no"}, "true or false"),
        ({"keep_accents": 1}, "true or false"),
        ({"extra_ids": 10**9}, "0 to 10000"),
        ({"extra_ids": "100"}, "0 to 10000"),
        ({"extra_ids": 2.0}, "0 to 10000"),
    ],
)
@pytest.mark.parametrize("folder", ["vocab_folder", "json_folder"])
def test_a_setting_of_a_wrong_type_is_refused_by_file_and_key(
    request: pytest.FixtureRequest, folder: str, file: str, settings: dict[str, Any], accepted: str
) -> None:
    path: Path = request.getfixturevalue(folder)
    (path / file).write_text(json.dumps(settings))
    with pytest.raises(
        UnsupportedTokenizer, match=f"{file}: {next(iter(settings))} is .*{accepted}"
    ):
        read_tokenizer(path)


def test_a_model_type_of_a_wrong_type_is_refused_by_file_and_key(vocab_folder: Path) -> None:
    (vocab_folder / "config.json").write_text('{"model_type": ["bert"]}')
    with pytest.raises(UnsupportedTokenizer, match=r"config\.json: model_type is \['bert'\]"):
        read_tokenizer(vocab_folder)


@pytest.mark.parametrize("folder", ["vocab_folder", "json_folder"])
def test_settings_that_are_null_count_as_absent(
    request: pytest.FixtureRequest, folder: str
) -> None:
    path: Path = request.getfixturevalue(folder)
    wanted = ids(path, "The Cat")
    configure(path, tokenizer_class=None, do_lower_case=None, tokenize_chinese_chars=None,
              do_basic_tokenize=None, strip_accents=None, cls_token=None)  # fmt: skip
    assert ids(path, "The Cat") == wanted
