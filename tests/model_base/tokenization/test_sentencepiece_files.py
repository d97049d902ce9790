"""SentencePiece models without tokenizer.json, beside the library and Transformers."""

import io
import json
import random
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from model_base import AutoTokenizer, PreTrainedTokenizer
from model_base.tokenization import sentencepiece_files
from model_base.tokenization.settings import UnsupportedTokenizer

ROOT = Path(__file__).parents[3]
FILES = {
    "t5": "spiece.model", "albert": "spiece.model", "xlm_roberta": "sentencepiece.bpe.model",
    "camembert": "sentencepiece.bpe.model", "llama": "tokenizer.model", "gemma": "tokenizer.model",
}  # fmt: skip
SPECIAL = {
    "t5": {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1},
    "albert": {"pad_id": 0, "unk_id": 1, "bos_id": -1, "eos_id": -1,
               "control_symbols": ["[CLS]", "[SEP]", "[MASK]"]},
    "gemma": {"pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3, "add_dummy_prefix": False,
              "user_defined_symbols": ["<start_of_turn>", "<end_of_turn>"]},
}  # fmt: skip
BYTE_PAIRS = {
    "model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity",
    "remove_extra_whitespaces": False, "vocab_size": 400,
}  # fmt: skip
TEXTS = (
    "Hello, World! It's a test -- isn't it?", "12,000 and 3, or 1234.5", "Ünïcödé çafé Ærø",
    "cafe\u0301 ﬁne ａｂ", "日本語のテキスト 한국어", "🙂 ok 👨\u200d👩\u200d👧", "مرحبا שלום",
    "x" * 3000, "the model reads the text " * 199 + "end", "a\u00a0b", "",
)  # fmt: skip
SPACED = ("  two  spaces ", "\tTabs\tand\nlines\n\n", " ", "   ", "end ")
_WORDS = (
    "the", "model", "reads", "a", "text", "and", "gives", "tokens", "of", "it", "with", "their",
    "numbers", "while", "every", "other", "tokenizer", "parts", "words", "at", "spaces", "number",
    "reading", "tokens,", "12", "0", "3", "isn't", "Hello", "World",
)  # fmt: skip


def trained(family: str, **options: Any) -> bytes:
    """A small model of the library's own trainer."""
    rng, written = random.Random(0), io.BytesIO()
    own = BYTE_PAIRS if family in ("llama", "gemma") else {"model_type": "unigram"}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(rng.choices(_WORDS, k=12)) for _ in range(400)]),
        model_writer=written, minloglevel=2, num_threads=1, hard_vocab_limit=False,
        **{"vocab_size": 120, **own, **SPECIAL.get(family, {}), **options},
    )  # fmt: skip
    return written.getvalue()


@pytest.fixture(scope="module")
def contents() -> dict[str, bytes]:
    return {family: trained(family) for family in FILES}


def write(folder: Path, family: str, content: bytes, **settings: Any) -> Path:
    """A folder that names its family by the kind of its model, and holds these settings."""
    (folder / FILES[family]).write_bytes(content)
    kind = json.dumps({"model_type": family.replace("_", "-")})
    (folder / "config.json").write_text(kind)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def read(
    folder: Path, family: str, content: bytes, /, **settings: Any
) -> tuple[PreTrainedTokenizer, sentencepiece.SentencePieceProcessor]:
    tokenizer = AutoTokenizer.from_pretrained(write(folder, family, content, **settings))
    return tokenizer, sentencepiece.SentencePieceProcessor(model_proto=content)


def changed(content: bytes, change: Any) -> bytes:
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(content)
    change(model)
    return model.SerializeToString()


def random_texts(seed: int) -> list[str]:
    """Words and characters of all kinds, with single spaces between."""
    rng = random.Random(seed)
    kinds = ((33, 127), (0xA1, 0x250), (0x370, 0x500), (0x3041, 0x30FF), (0x1F300, 0x1F640))
    words = [*_WORDS, *("".join(chr(rng.randrange(*rng.choice(kinds))) for _ in range(4))
                        for _ in range(60))]  # fmt: skip
    return [" ".join(rng.choices(words, k=rng.randrange(1, 9))) for _ in range(100)]


class TestLibrary:
    """Ids are those of the sentencepiece library's own processor."""

    @pytest.mark.parametrize(
        ("family", "settings", "offset", "texts"),
        [
            ("t5", {}, 0, TEXTS),
            ("xlm_roberta", {}, 1, (*TEXTS, *SPACED)),
            ("camembert", {}, 4, (*TEXTS, *SPACED)),
            ("llama", {}, 0, (*TEXTS[:-1], *SPACED)),
            ("llama", {"legacy": False}, 0, (*TEXTS, "two  spaces ", "\tTabs\n")),
            ("gemma", {}, 0, (*TEXTS, *SPACED)),
        ],
    )
    def test_ids_are_the_processors(
        self, contents: dict[str, bytes], tmp_path: Path,
        family: str, settings: dict[str, Any], offset: int, texts: tuple[str, ...],
    ) -> None:  # fmt: skip
        tokenizer, processor = read(tmp_path, family, contents[family], **settings)
        unk = processor.unk_id()
        for text in [*texts, *random_texts(1)]:
            ids = [i + offset if i != unk else tokenizer.unk_token_id for i in
                   processor.encode(text)]  # fmt: skip
            assert tokenizer(text, add_special_tokens=False).input_ids == ids, text

    def test_albert_reads_what_it_has_normalised(
        self, contents: dict[str, bytes], tmp_path: Path
    ) -> None:
        tokenizer, processor = read(tmp_path, "albert", contents["albert"])
        for text, normal in (("HÉLLO ``World''", 'hello "world"'), ("12 reads", "12 reads")):
            ids = tokenizer(text, add_special_tokens=False).input_ids
            assert ids == processor.encode(normal)

    def test_byte_pieces_become_text_again(
        self, contents: dict[str, bytes], tmp_path: Path
    ) -> None:
        tokenizer, _ = read(tmp_path, "llama", contents["llama"])
        for text in (*TEXTS[:-1], *SPACED):
            ids = tokenizer(text).input_ids
            assert tokenizer.decode(ids, skip_special_tokens=True) == text


@pytest.mark.parametrize("family", FILES)
class TestTransformers:
    """What Transformers stored for the same folder, whose tokenizer.json is taken away."""

    @pytest.fixture
    def gold(self, request: pytest.FixtureRequest, family: str) -> Path:
        """What is committed, else what is in the whole set."""
        if (committed := ROOT / "tests" / "fixtures" / "tokenizers" / family).is_dir():
            return committed
        fixtures: Path = request.getfixturevalue("fixtures")
        return fixtures / "tokenizers" / family

    @pytest.fixture
    def folder(self, gold: Path, tmp_path: Path) -> Path:
        for path in gold.iterdir():
            if path.name != "tokenizer.json":
                shutil.copy(path, tmp_path)
        return tmp_path

    def test_encodings_are_those_stored(self, folder: Path) -> None:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        expected = json.loads((folder / "expected_encodings.json").read_text(encoding="utf-8"))
        assert len(tokenizer) == expected["len"]
        assert set(tokenizer.all_special_ids) == set(expected["all_special_ids"])
        for row in expected["encodings"]:
            got = tokenizer(row["text"], return_offsets_mapping=True)
            assert got.input_ids == row["ids"], row["text"]
            assert [list(pair) for pair in got.offset_mapping] == row["offsets"], row["text"]
            assert got.get("token_type_ids") == row.get("token_type_ids")
            assert tokenizer.tokenize(row["text"]) == row["tokenize"]
            assert tokenizer.decode(got.input_ids) == row["decode"]
            skipped = tokenizer.decode(got.input_ids, skip_special_tokens=True)
            assert skipped == row["decode_skip"]
        for row in expected["pairs"]:
            if "error" not in row:
                assert tokenizer(row["a"], row["b"]).input_ids == row["input_ids"]

    def test_it_is_the_one_of_tokenizer_json(self, folder: Path, gold: Path) -> None:
        ours = AutoTokenizer.from_pretrained(folder)
        other = AutoTokenizer.from_pretrained(gold)
        assert ours.settings == other.settings
        assert ours.get_vocab() == other.get_vocab()
        for text in [*TEXTS, *SPACED, *random_texts(2), "<s>a</s> <mask> [MASK] <extra_id_0> b"]:
            assert ours(text, "b " + text) == other(text, "b " + text), text


def test_a_saved_one_comes_back_equal(contents: dict[str, bytes], tmp_path: Path) -> None:
    for family, content in contents.items():
        (tmp_path / family).mkdir()
        tokenizer, _ = read(tmp_path / family, family, content)
        tokenizer.save_pretrained(tmp_path / family / "saved")
        again = AutoTokenizer.from_pretrained(tmp_path / family / "saved")
        assert again("a text", "of it") == tokenizer("a text", "of it")
        assert again.settings == tokenizer.settings


def test_a_digit_with_a_comma_is_parted_by_albert(
    contents: dict[str, bytes], tmp_path: Path
) -> None:
    def add(model: Any) -> None:
        for text in ("3,", "x,"):
            model.pieces.add(piece=text, score=-0.1)

    tokenizer, _ = read(tmp_path, "albert", changed(contents["albert"], add))
    assert tokenizer.tokenize("3, x,") == ["▁3", ",", "▁", "x,"]


def test_merges_of_equal_scores_are_tried_from_the_longest_left_part() -> None:
    vocab = [("b", 0.0), ("c", 0.0), ("a", 0.0), ("ab", -1.0), ("bc", -1.0), ("abc", -2.0)]
    ids = {text: index for index, (text, _) in enumerate(vocab)}
    assert sentencepiece_files._merges(vocab, ids) == [
        ("a", "b"), ("b", "c"), ("ab", "c"), ("a", "bc"),
    ]  # fmt: skip


class TestSettings:
    def test_t5_has_100_further_tokens_the_first_with_the_highest_id(
        self, contents: dict[str, bytes], tmp_path: Path
    ) -> None:
        tokenizer, processor = read(tmp_path, "t5", contents["t5"])
        size = processor.get_piece_size()
        assert len(tokenizer) == size + 100
        assert tokenizer.convert_tokens_to_ids("<extra_id_0>") == size + 99
        assert tokenizer("<extra_id_99>").input_ids == [size, 1]
        assert tokenizer.additional_special_tokens[:2] == ["<extra_id_0>", "<extra_id_1>"]
        few, _ = read(tmp_path, "t5", contents["t5"], extra_ids=2)
        assert len(few) == size + 2
        more = ["▁reads"]
        named, _ = read(tmp_path, "t5", contents["t5"], extra_ids=1, additional_special_tokens=more)
        assert named.additional_special_tokens == ["▁reads", "<extra_id_0>"]

    def test_a_setting_that_is_given_decides_how_it_is_built(
        self, contents: dict[str, bytes], tmp_path: Path
    ) -> None:
        pieces = sentencepiece.SentencePieceProcessor(model_proto=contents["albert"])
        write(tmp_path, "albert", contents["albert"], do_lower_case="wrong")
        cased = AutoTokenizer.from_pretrained(tmp_path, do_lower_case=False, keep_accents=True)
        assert cased.tokenize("Hello") == pieces.encode("Hello", out_type=str)
        assert cased.tokenize("reads\u0301")[-1] == "ś"
        write(tmp_path, "llama", contents["llama"])
        (tmp_path / FILES["albert"]).unlink()
        plain = AutoTokenizer.from_pretrained(tmp_path, legacy=False, add_prefix_space=False)
        assert plain.tokenize("the")[0][0] != "▁"
        ends = AutoTokenizer.from_pretrained(tmp_path, add_bos_token=False, add_eos_token=True)
        assert ends("").input_ids == [2]

    def test_begin_and_end_are_put_as_the_settings_say(
        self, contents: dict[str, bytes], tmp_path: Path
    ) -> None:
        around = {"add_bos_token": False, "add_eos_token": True}
        tokenizer, _ = read(tmp_path, "llama", contents["llama"], **around)
        assert tokenizer("a").input_ids[-1] == tokenizer.eos_token_id
        assert tokenizer("a").input_ids[0] != tokenizer.bos_token_id

    def test_what_the_family_does_not_have_is_refused(
        self, contents: dict[str, bytes], tmp_path: Path
    ) -> None:
        write(tmp_path, "t5", contents["t5"])
        with pytest.raises(UnsupportedTokenizer, match="legacy=False: not possible"):
            AutoTokenizer.from_pretrained(tmp_path, legacy=False)

    def test_another_family_is_refused_by_name(
        self, contents: dict[str, bytes], tmp_path: Path
    ) -> None:
        write(tmp_path, "t5", contents["t5"], tokenizer_class="ReformerTokenizer")
        with pytest.raises(UnsupportedTokenizer, match="'ReformerTokenizer' needs a tokenizer"):
            AutoTokenizer.from_pretrained(tmp_path)


def clear(model: Any) -> None:
    del model.pieces[:]


def double(model: Any) -> None:
    model.pieces.add().piece = model.pieces[5].piece


class TestDamaged:
    @pytest.mark.parametrize(
        ("change", "named"),
        [
            (clear, "unk_piece '<unk>' is missing"),
            (double, "empty or there twice"),
            (lambda model: model.pieces.add(), "empty or there twice"),
            (lambda model: setattr(model.pieces.add(), "piece", "x" * 129), "129 characters"),
            (lambda model: setattr(model.pieces[5], "score", float("nan")), "no number"),
            (lambda model: setattr(model.trainer_spec, "model_type", 3), "model_type 3; accepted"),
            (lambda model: setattr(model.pieces[1], "piece", "lost"), "eos_token '</s>' is miss"),
            (
                lambda model: setattr(model.normalizer_spec, "precompiled_charsmap", b"\1\2"),
                "not readable",
            ),
        ],
    )
    def test_what_the_library_refuses_is_refused_by_name(
        self, contents: dict[str, bytes], tmp_path: Path, change: Any, named: str
    ) -> None:
        write(tmp_path, "t5", changed(contents["t5"], change))
        with pytest.raises(UnsupportedTokenizer, match=rf"spiece\.model: .*{named}"):
            AutoTokenizer.from_pretrained(tmp_path)

    @pytest.mark.parametrize("content", [b"\x0a", b"bG9s 0\n" * 9, b"\x0a\x03\x0a\x01\xff", b""])
    def test_what_is_no_model_is_refused_by_name(self, tmp_path: Path, content: bytes) -> None:
        write(tmp_path, "llama", content)
        with pytest.raises(UnsupportedTokenizer, match=r"tokenizer\.model: not readable"):
            AutoTokenizer.from_pretrained(tmp_path)

    def test_a_piece_that_is_not_utf_8_is_refused(
        self, contents: dict[str, bytes], tmp_path: Path
    ) -> None:
        content = contents["t5"].replace("▁the".encode(), b"\xff\xfe\xfdthe")
        write(tmp_path, "t5", content)
        with pytest.raises(UnsupportedTokenizer, match=r"spiece\.model: .*a piece is not UTF-8"):
            AutoTokenizer.from_pretrained(tmp_path)

    def test_a_file_over_the_cap_is_refused_unread(
        self, contents: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(tmp_path, "gemma", contents["gemma"])
        monkeypatch.setattr(sentencepiece_files, "MAX_MODEL_BYTES", 100)
        with pytest.raises(UnsupportedTokenizer, match=r"tokenizer\.model: \d+ bytes, at most 100"):
            AutoTokenizer.from_pretrained(tmp_path)

    def test_too_many_merges_are_refused(
        self, contents: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(tmp_path, "llama", contents["llama"])
        monkeypatch.setattr(sentencepiece_files, "MAX_MERGES", 10)
        with pytest.raises(UnsupportedTokenizer, match=r"tokenizer\.model: .*over 10 pairs"):
            AutoTokenizer.from_pretrained(tmp_path)

    def test_a_map_that_makes_texts_long_is_refused(
        self, contents: dict[str, bytes], tmp_path: Path
    ) -> None:
        def lengthen(model: Any) -> None:
            charsmap = model.normalizer_spec.precompiled_charsmap
            model.normalizer_spec.precompiled_charsmap = charsmap + b"x" * 300 + b"\0"

        write(tmp_path, "t5", changed(contents["t5"], lengthen))
        with pytest.raises(UnsupportedTokenizer, match=r"spiece\.model: .*times the length"):
            AutoTokenizer.from_pretrained(tmp_path)

    @pytest.mark.parametrize("family", FILES)
    def test_mutations_end_in_our_own_errors(
        self, contents: dict[str, bytes], tmp_path: Path, family: str
    ) -> None:
        rng, content = random.Random(3), contents[family]
        pieces = content[: content.rfind(b"\x12\x02")] or content
        for _ in range(35):
            mutated, start = bytearray(content), rng.randrange(min(len(pieces), 4000))
            if rng.random() < 0.3:
                mutated[start : start + rng.randrange(1, 40)] = rng.randbytes(rng.randrange(20))
            else:
                mutated[start] = rng.randrange(256)
            write(tmp_path, family, bytes(mutated[: rng.choice([start, None, None])]))
            try:
                tokenizer = AutoTokenizer.from_pretrained(tmp_path)
            except UnsupportedTokenizer as error:
                assert FILES[family] in str(error)  # noqa: PT017
                continue
            try:
                tokenizer(list(TEXTS))
            except ValueError as error:
                assert "cannot be encoded" in str(error)  # noqa: PT017


def test_many_extra_ids_are_added_at_once(contents: dict[str, bytes], tmp_path: Path) -> None:
    folder, calls = write(tmp_path, "t5", contents["t5"], extra_ids=3000), []

    def profile(_: Any, event: str, function: Any) -> None:
        if event == "c_call" and function.__name__ in ("add_special_tokens", "add_tokens"):
            calls.append(function)

    sys.setprofile(profile)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    finally:
        sys.setprofile(None)
    assert 0 < len(calls) < 10
    assert tokenizer.convert_tokens_to_ids("<extra_id_2999>") is not None


def test_another_byte_fallback_than_the_familys_is_logged(
    contents: dict[str, bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fall_back(model: Any) -> None:
        model.trainer_spec.byte_fallback = True

    AutoTokenizer.from_pretrained(write(tmp_path, "t5", contents["t5"]))
    assert not caplog.records
    AutoTokenizer.from_pretrained(write(tmp_path, "t5", changed(contents["t5"], fall_back)))
    (record,) = caplog.records
    assert "byte_fallback is True" in record.getMessage()


@pytest.mark.parametrize("setting", ["unk_token", "additional_special_tokens"])
def test_a_lone_surrogate_is_no_token(
    setting: str, contents: dict[str, bytes], tmp_path: Path
) -> None:
    value = "\ud800" if setting == "unk_token" else ["\ud800"]
    with pytest.raises(UnsupportedTokenizer, match=f"tokenizer_config.json: {setting}"):
        AutoTokenizer.from_pretrained(write(tmp_path, "t5", contents["t5"], **{setting: value}))
