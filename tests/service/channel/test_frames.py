import asyncio
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from service.channel import messages as msg
from service.channel.frames import (
    MAX_BLOCK_BYTES,
    MAX_HEADER_BYTES,
    AsyncChannel,
    BlockingChannel,
    ChannelClosed,
    FrameBuffer,
    encode,
)

CANCEL = msg.Cancel(7)


def buffer() -> FrameBuffer[Any]:
    return FrameBuffer(msg.ToWorker)  # type: ignore[arg-type]


def test_frames_come_out_whole_however_the_bytes_come_in() -> None:
    frames = buffer()
    data = encode(CANCEL, b"block") + encode(msg.Stop()) + encode(CANCEL)
    seen = []
    for byte in data:
        frames.feed(bytes([byte]))
        while (frame := frames.next()) is not None:
            seen.append((frame[0], bytes(frame[1])))
    assert seen == [(CANCEL, b"block"), (msg.Stop(), b""), (CANCEL, b"")]


def test_several_frames_in_one_read_come_out_one_by_one() -> None:
    frames = buffer()
    frames.feed(encode(CANCEL, b"a") + encode(CANCEL, b"b") + encode(CANCEL, b"c")[:-1])
    blocks = [bytes(frame[1]) for frame in (frames.next(), frames.next()) if frame]
    assert blocks == [b"a", b"b"]
    assert frames.next() is None


def test_a_block_outlives_the_frames_that_follow() -> None:
    frames = buffer()
    frames.feed(encode(CANCEL, b"first"))
    frame = frames.next()
    frames.feed(encode(CANCEL, b"other"))
    assert frames.next() is not None
    assert frame is not None
    assert bytes(frame[1]) == b"first"


@pytest.mark.parametrize(
    "lengths", [(MAX_HEADER_BYTES + 1, 0), (0, MAX_BLOCK_BYTES + 1), (2**32 - 1, 2**64 - 1)]
)
def test_a_length_over_the_limits_is_refused_before_it_is_waited_for(
    lengths: tuple[int, int],
) -> None:
    frames = buffer()
    frames.feed(struct.pack("<IQ", *lengths))
    with pytest.raises(ValueError, match="over the limits"):
        frames.next()


@pytest.mark.parametrize(
    "header",
    [
        {"type": "Nonsense"},
        {"type": "Cancel", "id": "seven"},
        {"type": "Cancel"},
        {"type": "Ready"},  # known, but not in this direction
        [1, 2],
    ],
)
def test_a_header_of_the_wrong_type_is_refused(header: object) -> None:
    body = msgspec.msgpack.encode(header)
    frames = buffer()
    frames.feed(struct.pack("<IQ", len(body), 0) + body)
    with pytest.raises(msgspec.ValidationError):
        frames.next()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, BlockingChannel[Any]]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, BlockingChannel(theirs, msg.ToWorker)  # type: ignore[arg-type]


Pair = tuple[socket.socket, BlockingChannel[Any]]


def test_the_blocking_end_says_when_there_is_nothing_yet(pair: Pair) -> None:
    ours, channel = pair
    assert channel.receive(wait=False) is None
    ours.sendall(encode(CANCEL)[:5])
    assert channel.receive(wait=False) is None
    ours.sendall(encode(CANCEL)[5:])
    assert channel.receive(wait=True) == (CANCEL, b"")


def test_the_blocking_end_reads_what_came_before_the_other_side_went(pair: Pair) -> None:
    ours, channel = pair
    ours.sendall(encode(CANCEL))
    ours.close()
    assert channel.receive(wait=True) == (CANCEL, b"")
    with pytest.raises(ChannelClosed):
        channel.receive(wait=True)
    with pytest.raises(ChannelClosed):
        channel.send(CANCEL)


class Peer:
    """An asynchronous end, and what it was told."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, bytes]] = []
        self.closed = asyncio.Event()
        self.ours, self._theirs = socket.socketpair()

    async def connect(self, hear: Callable[[Any, memoryview], None] | None = None) -> AsyncChannel:
        _, channel = await asyncio.get_running_loop().create_unix_connection(
            lambda: AsyncChannel(msg.ToWorker, hear or self._hear, self.closed.set),  # type: ignore[arg-type]
            sock=self._theirs,
        )
        return channel

    def _hear(self, header: Any, block: memoryview) -> None:
        self.heard.append((header, bytes(block)))


def test_the_asynchronous_end_hears_frames_and_the_end() -> None:
    async def talk() -> None:
        peer = Peer()
        channel = await peer.connect()
        peer.ours.sendall(encode(CANCEL, b"x") + encode(msg.Stop()))
        peer.ours.close()
        await asyncio.wait_for(peer.closed.wait(), 10)
        assert peer.heard == [(CANCEL, b"x"), (msg.Stop(), b"")]
        with pytest.raises(ChannelClosed):
            channel.send(CANCEL)

    asyncio.run(talk())


def test_the_asynchronous_end_hangs_up_on_what_is_no_frame() -> None:
    async def talk() -> None:
        peer = Peer()
        await peer.connect()
        peer.ours.sendall(b"GET / HTTP/1.1\r\n\r\n")
        await asyncio.wait_for(peer.closed.wait(), 10)
        assert peer.heard == []
        assert peer.ours.recv(1) == b""
        peer.ours.close()

    asyncio.run(talk())


def test_a_closing_end_sends_what_is_queued_and_takes_no_more() -> None:
    async def talk() -> None:
        peer = Peer()
        channel = await peer.connect()
        channel.send(CANCEL)
        channel.close()
        with pytest.raises(ChannelClosed):
            channel.send(CANCEL)
        await asyncio.wait_for(peer.closed.wait(), 10)
        assert peer.ours.recv(2**16) == encode(CANCEL)
        peer.ours.close()

    asyncio.run(talk())
