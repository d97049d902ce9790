from dataclasses import replace

import pytest

from service.core.messages import ModelSpec
from service.core.names import RESERVED, name_problem, spec_problem, version_problem

GOOD = ModelSpec("m", "/models/m")


@pytest.mark.parametrize("name", ["m", "owner/name", "a.b_c-d", "0", "x" * 200])
def test_a_plain_name_is_good(name: str) -> None:
    assert name_problem(name) == ""


@pytest.mark.parametrize(
    "name",
    ["", "a/b/c", "/a", "a/", "-a", ".a", "a/..", "a..b", "a b", "é", "a\n", "x" * 201, "a\x00"],
)
def test_a_name_that_is_not_plain_is_told_what_would_be(name: str) -> None:
    assert "'name' or 'owner/name'" in name_problem(name)


@pytest.mark.parametrize("word", RESERVED)
def test_a_name_that_ends_like_a_route_is_refused(word: str) -> None:
    assert word in name_problem(word)
    assert word in name_problem(f"owner/{word}")
    assert name_problem(f"{word}/m") == ""


@pytest.mark.parametrize(
    ("version", "is_good"),
    [("1", True), ("2024-01-01", True), ("v1.0_b", True), ("", False), ("1/2", False),
     ("1..2", False), ("-1", False), ("x" * 65, False), ("1\n", False)],
)  # fmt: skip
def test_a_version_is_one_plain_word(version: str, is_good: bool) -> None:
    assert (version_problem(version) == "") is is_good


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"framework": "torch", "dtype": "bfloat16", "device": "cuda:0"},
        {"name": "owner/name", "device": "cpu", "version": "7"},
    ],
)
def test_a_spec_of_good_words_is_good(fields: dict[str, str]) -> None:
    assert spec_problem(replace(GOOD, **fields)) == ""


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"framework": "onnx"}, "framework is 'onnx'; accepted: auto, torch"),
        ({"dtype": "int8"}, "dtype is 'int8'; accepted: auto, float32, bfloat16, float16"),
        ({"device": "cuda:"}, "device is 'cuda:'; accepted: auto, cpu, cuda:N"),
        ({"device": "cpu\n"}, "device is"),
        ({"dtype": "x" * 1000}, "x" * 64 + "'; accepted"),
        ({"version": "a b"}, "a version is"),
        ({"name": "a b"}, "a model's name is"),
    ],
)
def test_a_spec_names_the_word_that_is_wrong(fields: dict[str, str], words: str) -> None:
    assert words in spec_problem(replace(GOOD, **fields))
