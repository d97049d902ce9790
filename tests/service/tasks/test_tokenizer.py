import io
import json
import random
import string
import threading
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import tokenizers

from model_base.tokenization.files import read_tokenizer
from model_base.tokenization.settings import UnsupportedTokenizer
from service.core.errors import BackendFailed, BadRequest
from service.tasks.tokenizer import Tokenizer

FAMILIES = (
    "albert", "bart", "bert", "camembert", "clip", "gemma", "gpt2", "gpt_neox", "llama",
    "modernbert", "qwen2", "roberta", "t5", "xlm_roberta",
)  # fmt: skip


@pytest.fixture
def tokenizer(tiny_bert: Path) -> Tokenizer:
    return Tokenizer.from_folder(tiny_bert, 64)


def expected(folder: Path) -> dict:
    return json.loads((folder / "expected_encodings.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("family", FAMILIES)
class TestReferenceEncodings:
    def test_ids_and_offsets_are_those_of_transformers(self, fixtures: Path, family: str) -> None:
        folder = fixtures / "tokenizers" / family
        tokenizer = Tokenizer.from_folder(folder, 10_000, max_seq_length=10_000)
        rows = expected(folder)["encodings"]
        fast = [e.input_ids.tolist() for e in tokenizer.encode([row["text"] for row in rows])]
        slow = tokenizer.encode([row["text"] for row in rows], with_offsets=True)
        assert fast == [row["ids"] for row in rows]
        assert [e.input_ids.tolist() for e in slow] == fast
        for encoding, row in zip(slow, rows, strict=True):
            assert encoding.offsets.tolist() == row.get("offsets", encoding.offsets.tolist())
            assert encoding.type_ids.tolist() == row.get("token_type_ids", [0] * len(row["ids"]))

    def test_pairs_are_those_of_transformers(self, fixtures: Path, family: str) -> None:
        folder = fixtures / "tokenizers" / family
        tokenizer = Tokenizer.from_folder(folder, 10_000)
        rows = [pair for pair in expected(folder)["pairs"] if "error" not in pair]
        for row in rows:
            (encoding,) = tokenizer.encode_uncut([row["b"]], row["a"])
            assert encoding.input_ids.tolist() == row["input_ids"]
            assert encoding.type_ids.tolist() == row.get(
                "token_type_ids", encoding.type_ids.tolist()
            )

    def test_truncation_to_16_is_that_of_transformers(self, fixtures: Path, family: str) -> None:
        folder = fixtures / "tokenizers" / family
        batch = expected(folder)["batch_pad_trunc16"]
        if "error" in batch:
            pytest.skip(f"the reference could not pad a batch for {family}")
        tokenizer = Tokenizer.from_folder(folder, 16)
        encodings = tokenizer.encode(batch["texts"], truncate=True)
        rows = zip(batch["input_ids"], batch["attention_mask"], strict=True)
        unpadded = [[i for i, kept in zip(ids, mask, strict=True) if kept] for ids, mask in rows]
        assert [encoding.input_ids.tolist() for encoding in encodings] == unpadded

    @pytest.mark.parametrize("direction", ["left", "right"])
    def test_truncation_is_that_of_the_library(
        self, fixtures: Path, family: str, direction: str
    ) -> None:
        folder = fixtures / "tokenizers" / family
        texts = [row["text"] * 3 for row in expected(folder)["encodings"]]
        library = read_tokenizer(folder).tokenizer
        for limit in (3, 4, 7, 16, 40):
            library.enable_truncation(limit, direction=direction)
            ours = Tokenizer.from_folder(folder, limit, max_seq_length=limit).encode(
                texts, truncate=True, truncation_direction=direction
            )
            assert [e.input_ids.tolist() for e in ours] == [library.encode(t).ids for t in texts]


def test_vocab_txt_alone_gives_the_ids_of_transformers(fixtures: Path, tmp_path: Path) -> None:
    source = fixtures / "tokenizers" / "bert"
    for name in ("vocab.txt", "tokenizer_config.json", "special_tokens_map.json"):
        (tmp_path / name).write_bytes((source / name).read_bytes())
    tokenizer = Tokenizer.from_folder(tmp_path, 10_000, max_seq_length=10_000)
    rows = expected(source)["encodings"]
    encodings = tokenizer.encode([row["text"] for row in rows], with_offsets=True)
    assert [e.input_ids.tolist() for e in encodings] == [row["ids"] for row in rows]
    assert [e.offsets.tolist() for e in encodings] == [row["offsets"] for row in rows]


class TestEmbeddedModel:
    def test_ids_are_those_of_sentence_transformers(self, minilm: Path, data: Path) -> None:
        rows = json.loads((data / "minilm_texts.json").read_text(encoding="ascii"))
        reference = np.load(data / "minilm_reference.npz")
        tokenizer = Tokenizer.from_folder(minilm, 512, max_seq_length=256)
        encodings = tokenizer.encode([row["text"] for row in rows], truncate=True)
        wanted = np.split(reference["input_ids"], np.cumsum(reference["lengths"])[:-1])
        for row, encoding, ids in zip(rows, encodings, wanted, strict=True):
            assert encoding.input_ids.tolist() == ids.tolist(), row["name"]

    def test_lengths_are_those_of_sentence_transformers(self, minilm: Path, data: Path) -> None:
        rows = json.loads((data / "minilm_texts.json").read_text(encoding="ascii"))
        reference = np.load(data / "minilm_reference.npz")
        tokenizer = Tokenizer.from_folder(minilm, 10_000, max_seq_length=10_000)
        encodings = tokenizer.encode([row["text"] for row in rows])
        lengths = [len(encoding.input_ids) for encoding in encodings]
        assert lengths == reference["num_tokens"].tolist()

    def test_megabytes_of_text_cost_no_more_than_what_is_kept(
        self, minilm: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tokenizer = Tokenizer.from_folder(minilm, 256)
        read: list[int] = []
        encode = tokenizer._encode

        def count(texts: list[str], with_offsets: bool) -> list[tokenizers.Encoding]:
            read.extend(len(text) for text in texts)
            return encode(texts, with_offsets)

        monkeypatch.setattr(tokenizer, "_encode", count)
        for direction in ("left", "right"):
            texts = ["!" * 10**6, "the cat " * 10**6, "中" * 10**6]
            tokenizer.encode(texts, truncate=True, truncation_direction=direction)
        with pytest.raises(BadRequest, match="more than 256 tokens"):
            tokenizer.encode(["the cat " * 10**6])
        assert sum(read) < 50_000


def test_excerpts_never_change_the_ids(tiny_bert: Path) -> None:
    rng = random.Random(0)
    pieces = [
        "the cat", "[MASK]", "[SEP", "]", "Näples", "e\u0301", "\u0301", "日本語", "중", "ίΣΑΣ",
        "\0", "\u200d", "🙂", "  ", "\t\n", "don't", "a" * 101, "≠", "İ", *string.punctuation,
    ]  # fmt: skip
    for limit in (3, 5, 9):
        tokenizer = Tokenizer.from_folder(tiny_bert, limit)
        library = tokenizer._tokenizer
        for _ in range(300):
            text = "".join(rng.choices(pieces, k=rng.randrange(60)))
            for direction in ("left", "right"):
                (ours,) = tokenizer.encode([text], truncate=True, truncation_direction=direction)
                whole = library.encode(text).ids
                kept = (
                    whole[1:-1][: limit - 2] if direction == "right" else whole[1:-1][2 - limit :]
                )
                assert ours.input_ids.tolist() == [whole[0], *kept, whole[-1]], text


class TestTruncation:
    def test_a_text_that_is_too_long_is_refused_with_its_length(self, tokenizer: Tokenizer) -> None:
        with pytest.raises(BadRequest, match="input 1 has 82 tokens; the model takes at most 64"):
            tokenizer.encode(["a cat", "cat " * 80])

    def test_a_much_too_long_text_is_refused_without_being_counted(
        self, tokenizer: Tokenizer
    ) -> None:
        with pytest.raises(BadRequest, match="input 0 has more than 64 tokens"):
            tokenizer.encode(["cat " * 8000])

    def test_the_tokenizers_own_side_is_the_default(self, tiny_bert: Path, tmp_path: Path) -> None:
        config = json.loads((tiny_bert / "tokenizer_config.json").read_text())
        (tmp_path / "vocab.txt").write_bytes((tiny_bert / "vocab.txt").read_bytes())
        (tmp_path / "tokenizer_config.json").write_text(
            json.dumps({**config, "truncation_side": "left"})
        )
        tokenizer = Tokenizer.from_folder(tmp_path, 4)
        assert tokenizer.encode(["one two three"], truncate=True)[0].input_ids.tolist() == (
            Tokenizer.from_folder(tiny_bert, 4).encode(["two three"])[0].input_ids.tolist()
        )

    def test_a_limit_without_room_for_a_token_is_refused(self, tiny_bert: Path) -> None:
        with pytest.raises(UnsupportedTokenizer, match="a limit of 2 tokens"):
            Tokenizer.from_folder(tiny_bert, 2)

    def test_offsets_survive_truncation(self, tokenizer: Tokenizer) -> None:
        text = "cat " * 100 + "dog"
        for direction, first, last in (("left", -64 + 2, "dog"), ("right", 0, "cat")):
            (encoding,) = tokenizer.encode(
                [text], truncate=True, truncation_direction=direction, with_offsets=True
            )
            start, end = encoding.offsets[-2]
            assert text[start:end] == last
            assert encoding.offsets[1].tolist() == [
                range(101)[first] * 4,
                range(101)[first] * 4 + 3,
            ]


class TestLimits:
    def test_the_models_limit_wins_over_a_larger_one(self, tiny_bert: Path) -> None:
        assert Tokenizer.from_folder(tiny_bert, 50, max_seq_length=500).max_length == 50

    def test_the_tokenizers_limit_wins_over_the_models(self, tiny_bert: Path) -> None:
        assert Tokenizer.from_folder(tiny_bert, 512).max_length == 64

    def test_sentence_transformers_limit_wins_over_the_tokenizers(self, tiny_bert: Path) -> None:
        assert Tokenizer.from_folder(tiny_bert, 512, max_seq_length=256).max_length == 256


@pytest.mark.parametrize("text", ["bad \ud800 half", "\udfff", "🙂 then \ud83d"])
def test_a_lone_surrogate_is_refused_with_its_place(tokenizer: Tokenizer, text: str) -> None:
    for call in (
        lambda: tokenizer.encode(["good", text]),
        lambda: tokenizer.encode_uncut(["good", text]),
    ):
        with pytest.raises(BadRequest, match="input 1 holds a lone surrogate, U\\+D"):
            call()


def test_lower_casing_comes_before_the_tokenizers_own_steps(
    tiny_bert: Path, tmp_path: Path
) -> None:
    (tmp_path / "vocab.txt").write_bytes((tiny_bert / "vocab.txt").read_bytes())
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    cased = Tokenizer.from_folder(tmp_path, 64).encode(["CAT"])[0].input_ids.tolist()
    lower = Tokenizer.from_folder(tmp_path, 64, lower_case=True).encode(["CAT"])[0]
    assert cased != lower.input_ids.tolist()
    assert lower.input_ids.tolist() == (
        Tokenizer.from_folder(tiny_bert, 64).encode(["cat"])[0].input_ids.tolist()
    )


def test_threads_share_one_tokenizer(tokenizer: Tokenizer) -> None:
    texts = ["cat " * n for n in range(1, 120)]
    wanted = {
        side: [e.input_ids.tolist() for e in cut(tokenizer, texts, side)]
        for side in ("left", "right")
    }
    wrong: list[str] = []

    def work(side: str) -> None:
        for _ in range(10):
            if [e.input_ids.tolist() for e in cut(tokenizer, texts, side)] != wanted[side]:
                wrong.append(side)

    threads = [threading.Thread(target=work, args=(side,)) for side in ("left", "right") * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def cut(tokenizer: Tokenizer, texts: list[str], side: str) -> list:
    return tokenizer.encode(texts, truncate=True, truncation_direction=side)


def test_a_tokenizer_that_lower_cases_is_left_alone(tiny_bert: Path) -> None:
    plain = Tokenizer.from_folder(tiny_bert, 64)
    asked = Tokenizer.from_folder(tiny_bert, 64, lower_case=True)
    assert asked._tokenizer.to_str() == plain._tokenizer.to_str()


class TestWindows:
    def test_windows_cover_a_text_and_share_the_stride(self, tokenizer: Tokenizer) -> None:
        (encoding,) = tokenizer.encode_uncut(["cat " * 150])
        windows = encoding.windows(32, 10, 0)
        assert [len(window.input_ids) for window in windows] == [32] * 7
        tokens = [window.offsets[1:-1, 0].tolist() for window in windows]
        assert all(a[-10:] == b[:10] for a, b in zip(tokens, tokens[1:], strict=False))
        assert tokens[0][0] == 0
        assert tokens[-1][-1] == 149 * 4

    def test_windows_are_those_of_the_library(self, tokenizer: Tokenizer) -> None:
        library = tokenizers.Tokenizer.from_str(tokenizer._tokenizer.to_str())
        for length in (5, 30, 31, 60, 61, 150):
            for stride in (0, 7):
                text = "cat dog " * length
                library.enable_truncation(32, stride=stride)
                whole = library.encode(text)
                (encoding,) = tokenizer.encode_uncut([text])
                assert [w.input_ids.tolist() for w in encoding.windows(32, stride, 0)] == [
                    part.ids for part in [whole, *whole.overflowing]
                ]

    def test_a_stride_as_wide_as_the_room_is_refused(self, tokenizer: Tokenizer) -> None:
        (encoding,) = tokenizer.encode_uncut(["cat " * 50])
        with pytest.raises(BadRequest, match="in 12 tokens 2 are taken and 10 shared"):
            encoding.windows(12, 10, 0)

    def test_a_text_that_needs_too_many_windows_is_refused(self, tokenizer: Tokenizer) -> None:
        (encoding,) = tokenizer.encode_uncut(["cat " * 300])
        with pytest.raises(BadRequest, match="300 tokens need more than 256 windows of 12"):
            encoding.windows(12, 9, 0)

    def test_a_text_beyond_all_windows_is_refused_unread(self, tokenizer: Tokenizer) -> None:
        with pytest.raises(BadRequest, match="input 1 has 400000 characters; at most 131072"):
            tokenizer.encode_uncut(["cat", "cat " * 100_000])


def test_building_does_not_depend_on_padding_or_truncation_in_the_file(
    tokenizer: Tokenizer, tiny_bert: Path, tmp_path: Path
) -> None:
    saved = tokenizers.Tokenizer.from_str(tokenizer._tokenizer.to_str())
    saved.enable_padding(length=20)
    saved.enable_truncation(5)
    saved.save(str(tmp_path / "tokenizer.json"))
    (ours,) = Tokenizer.from_folder(tmp_path, 64).encode(["cat " * 9])
    assert ours.input_ids.tolist() == tokenizer.encode(["cat " * 9])[0].input_ids.tolist()


def test_a_sentencepiece_model_without_tokenizer_json_is_read(tmp_path: Path) -> None:
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the model reads a text", "the text of a model"] * 20),
        model_writer=written, vocab_size=40, hard_vocab_limit=False, minloglevel=2,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
    )  # fmt: skip
    (tmp_path / "spiece.model").write_bytes(written.getvalue())
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    library = sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())
    tokenizer = Tokenizer.from_folder(tmp_path, 64)
    (encoding,) = tokenizer.encode(["a model reads"])
    assert encoding.input_ids.tolist() == [*library.encode("a model reads"), library.eos_id()]
    assert tokenizer.decode(encoding.input_ids.tolist(), skip_special_tokens=True) == (
        "a model reads"
    )


def test_a_pattern_that_fails_on_a_text_is_told_to_the_client(
    tiny_bert: Path, tmp_path: Path
) -> None:
    backend = read_tokenizer(tiny_bert).tokenizer
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex("(a+)+$"), "isolated")
    backend.save(str(tmp_path / "tokenizer.json"))
    tokenizer, text = Tokenizer.from_folder(tmp_path, 512), "a" * 200 + "!"
    assert len(tokenizer.encode(["cat"])) == 1
    for call in (lambda: tokenizer.encode([text]), lambda: tokenizer.first_id(text)):
        with pytest.raises(BackendFailed, match="a regular expression of tokenizer.json takes too"):
            call()
