"""Numbers over HTTP, against what sentence-transformers gives for the same texts."""

import base64
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

DATA = Path(__file__).parents[1] / "data"
Rows = np.ndarray[Any, np.dtype[np.float32]]


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [row["text"] for row in json.loads((DATA / "minilm_texts.json").read_text())]


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    return dict(np.load(DATA / "minilm_reference.npz"))


@pytest.fixture(scope="module", params=["auto", "bfloat16"])
def server(request: Any, minilm: Path, start_once: Callable[[], Any]) -> Iterator[Any]:
    starter = start_once()
    server = starter(minilm, "--name", "mini", "--dtype", request.param)
    server.closeness = 0.999 if request.param == "bfloat16" else 0.9999
    yield server.wait_ready()
    starter.end()


def check(server: Any, vectors: Any, expected: Rows) -> None:
    got = np.asarray(vectors, np.float32)
    assert got.shape == expected.shape
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=2e-3)
    cosines = (got * expected).sum(1) / np.linalg.norm(got, axis=1)
    assert cosines.min() >= server.closeness


def test_every_text_alone(server: Any, texts: list[str], reference: dict[str, Any]) -> None:
    answers = [server.embed(text) for text in texts]
    assert {answer.status_code for answer in answers} == {200}
    check(server, [answer.json()[0] for answer in answers], reference["vectors"])


def test_all_texts_in_one_request(server: Any, texts: list[str], reference: dict[str, Any]) -> None:
    check(server, server.embed(texts).json(), reference["vectors"])


def test_all_texts_from_many_clients_at_once(
    server: Any, texts: list[str], reference: dict[str, Any]
) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(server.embed, texts * 2))
    vectors = np.concatenate([reference["vectors"]] * 2)
    check(server, [answer.json()[0] for answer in answers], vectors)


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_openai_gives_the_same_and_counts_the_tokens(
    server: Any, texts: list[str], reference: dict[str, Any], encoding: str
) -> None:
    fits = np.flatnonzero(reference["num_tokens"] <= reference["max_seq_length"])
    body = {"model": "mini", "input": [texts[i] for i in fits], "encoding_format": encoding}
    answer = server.post("/v1/embeddings", body).json()
    assert [row["index"] for row in answer["data"]] == list(range(len(fits)))
    vectors = [row["embedding"] for row in answer["data"]]
    if encoding == "base64":
        vectors = [np.frombuffer(base64.b64decode(vector), "<f4") for vector in vectors]
    check(server, vectors, reference["vectors"][fits])
    assert answer["usage"]["prompt_tokens"] == reference["num_tokens"][fits].sum()


def test_token_ids_give_what_their_texts_do(server: Any, reference: dict[str, Any]) -> None:
    ends = np.cumsum(reference["lengths"])[:-1]
    ids = [part.tolist() for part in np.split(reference["input_ids"], ends)]
    answer = server.post("/v1/embeddings", {"model": "mini", "input": ids})
    check(server, [row["embedding"] for row in answer.json()["data"]], reference["vectors"])


def test_a_text_that_is_too_long_is_refused_unless_it_may_be_cut(
    server: Any, texts: list[str], reference: dict[str, Any]
) -> None:
    text = texts[int(reference["num_tokens"].argmax())]
    refused = server.post("/embed", {"inputs": text})
    assert 400 <= refused.status_code < 500
    assert str(int(reference["max_seq_length"])) in refused.json()["error"]
    assert server.embed(text).status_code == 200
