"""Texts of known length, and a load generator that costs little: HTTP/1.1 on bare sockets."""

import asyncio
import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop
from tokenizers import Tokenizer

from benchmarks.servers import Server

SEED = 20_241_124
MIN_TOKENS, MAX_TOKENS = 8, 256


@dataclass(frozen=True)
class Text:
    """A text and its number of tokens, special tokens included."""

    text: str
    num_tokens: int


def make_texts(model: Path, count: int) -> list[Text]:
    """The same texts every time: real words, 8 to 256 tokens, log-uniform.

    Args:
        model: folder with a tokenizer.json.
        count: how many.
    """
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    words = sorted(w for w in tokenizer.get_vocab() if w.isascii() and w.isalpha() and len(w) > 2)
    rng = random.Random(SEED)
    texts = []
    for _ in range(count):
        length = round(math.exp(rng.uniform(math.log(MIN_TOKENS), math.log(MAX_TOKENS))))
        texts.append(" ".join(rng.choices(words, k=length - 2)))
    return [Text(e, len(t.ids)) for e, t in zip(texts, tokenizer.encode_batch(texts), strict=True)]


@dataclass(frozen=True)
class Load:
    """What clients ask in a closed loop: each sends its next request when it has its answer."""

    num_clients: int
    texts_per_request: int = 1

    def __str__(self) -> str:
        return f"{self.num_clients} x {self.texts_per_request}"


@dataclass(frozen=True)
class Figures:
    """One measurement.

    Attributes:
        client_share: processors the client itself used, of one.
    """

    tokens_per_s: float
    p50_ms: float
    p99_ms: float
    client_share: float


def measure(
    server: Server, port: int, texts: Sequence[Text], load: Load, warm_s: float, seconds: float
) -> Figures:
    """Drive a server and count what is answered between ``warm_s`` and ``warm_s + seconds``."""
    requests = _requests(server, port, texts, load.texts_per_request)
    return uvloop.run(_drive(port, requests, load.num_clients, warm_s, seconds))


def _requests(
    server: Server, port: int, texts: Sequence[Text], size: int
) -> list[tuple[bytes, int]]:
    """Whole requests as they go over the socket, each with its tokens."""
    requests = []
    for start in range(0, len(texts) - size + 1, size):
        batch = texts[start : start + size]
        body = server.body([text.text for text in batch])
        head = (
            f"POST {server.embed} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        requests.append((head.encode() + body, sum(text.num_tokens for text in batch)))
    return requests


async def _drive(
    port: int, requests: Sequence[tuple[bytes, int]], clients: int, warm_s: float, seconds: float
) -> Figures:
    answered: list[tuple[float, float, int]] = []  # when, latency in s, tokens
    begin = time.perf_counter() + warm_s
    end = begin + seconds

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**24)
        turn = number * len(requests) // clients
        while (sent := time.perf_counter()) < end:
            request, num_tokens = requests[turn % len(requests)]
            turn += 1
            writer.write(request)
            await _answer(reader)
            now = time.perf_counter()
            answered.append((now, now - sent, num_tokens))
        writer.close()

    async def processor_s() -> float:
        await asyncio.sleep(max(0.0, begin - time.perf_counter()))
        used = time.process_time()
        await asyncio.sleep(max(0.0, end - time.perf_counter()))
        return time.process_time() - used

    async with asyncio.TaskGroup() as group:
        own = group.create_task(processor_s())
        for number in range(clients):
            group.create_task(client(number))
    within = [(latency, tokens) for when, latency, tokens in answered if begin <= when < end]
    latencies = sorted(latency for latency, _ in within)
    if not latencies:
        raise SystemExit(f"nothing was answered within {seconds} s")
    return Figures(
        tokens_per_s=sum(tokens for _, tokens in within) / seconds,
        p50_ms=1000 * quantile(latencies, 0.5),
        p99_ms=1000 * quantile(latencies, 0.99),
        client_share=own.result() / seconds,
    )


async def _answer(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    status = head[9:12]
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
    body = await reader.readexactly(length)
    if status != b"200":
        raise SystemExit(f"answered {status.decode()}: {body[:300]!r}")


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which ``share`` of the sorted values lie."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
