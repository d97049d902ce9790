"""Frames on a stream socket: lengths, header, block; the synchronous and the asynchronous end.

The two ends of a channel are a socket pair, so there is no socket file, nobody else can connect,
and either side learns of the other's death by end of file.
"""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from typing import Generic, TypeVar, cast

import msgspec
from typing_extensions import override

_LENGTHS = struct.Struct("<IQ")
MAX_HEADER_BYTES = 64 * 2**20
MAX_BLOCK_BYTES = 2**32

T = TypeVar("T")


class ChannelClosed(EOFError):
    """Raised when the other side is gone."""


def encode(header: msgspec.Struct, block: bytes = b"") -> bytes:
    """A whole frame."""
    body = msgspec.msgpack.encode(header)
    return b"".join((_LENGTHS.pack(len(body), len(block)), body, block))


class FrameBuffer(Generic[T]):
    """Collects bytes as they come and gives out whole frames.

    Args:
        kind: the union of header types; others are refused.
    """

    def __init__(self, kind: type[T]) -> None:
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(kind)
        self._data = bytearray()

    def feed(self, data: bytes) -> None:
        """Add bytes."""
        self._data += data

    def next(self) -> tuple[T, memoryview] | None:
        """The next whole frame, or None.

        Raises:
            ValueError: a length over the limits, or a header of no known type.
        """
        if len(self._data) < _LENGTHS.size:
            return None
        header_len, block_len = _LENGTHS.unpack_from(self._data)
        if header_len > MAX_HEADER_BYTES or block_len > MAX_BLOCK_BYTES:
            raise ValueError(f"a frame of {header_len} + {block_len} bytes is over the limits")
        start, end = _LENGTHS.size, _LENGTHS.size + header_len + block_len
        if len(self._data) < end:
            return None
        frame = bytes(self._data[start:end])
        del self._data[:end]
        header = self._decoder.decode(memoryview(frame)[:header_len])
        return header, memoryview(frame)[header_len:]


class BlockingChannel(Generic[T]):
    """The worker's end: one thread reads, any may send.

    Args:
        sock: connected stream socket.
        kind: union of the headers that may come in.
    """

    def __init__(self, sock: socket.socket, kind: type[T]) -> None:
        self._socket = sock
        self._buffer = FrameBuffer(kind)
        self._sending = threading.Lock()

    def receive(self, *, wait: bool) -> tuple[T, memoryview] | None:
        """The next frame; None if ``wait`` is False and there is none yet.

        Raises:
            ChannelClosed: the other side is gone.
        """
        while (frame := self._buffer.next()) is None:
            try:
                data = self._socket.recv(2**20, 0 if wait else socket.MSG_DONTWAIT)
            except BlockingIOError:
                return None
            except ConnectionError as error:
                raise ChannelClosed from error
            if not data:
                raise ChannelClosed
            self._buffer.feed(data)
        return frame

    def send(self, header: msgspec.Struct, block: bytes = b"") -> None:
        """Send a frame, waiting until it is taken.

        Raises:
            ChannelClosed: the other side is gone.
        """
        try:
            with self._sending:
                self._socket.sendall(encode(header, block))
        except ConnectionError as error:
            raise ChannelClosed from error


class AsyncChannel(asyncio.Protocol, Generic[T]):
    """The API process's end.

    Args:
        kind: union of the headers that may come in.
        on_message: called in the event loop for each frame.
        on_closed: called once when the other side is gone or sent what is not a frame.
    """

    def __init__(
        self,
        kind: type[T],
        on_message: Callable[[T, memoryview], None],
        on_closed: Callable[[], None],
    ) -> None:
        self._buffer = FrameBuffer(kind)
        self._on_message = on_message
        self._on_closed = on_closed
        self._transport: asyncio.Transport | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    @override
    def data_received(self, data: bytes) -> None:
        self._buffer.feed(data)
        try:
            while (frame := self._buffer.next()) is not None:
                self._on_message(*frame)
        except (ValueError, msgspec.MsgspecError):
            self.close()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._on_closed()

    def send(self, header: msgspec.Struct, block: bytes = b"") -> None:
        """Queue a frame.

        Raises:
            ChannelClosed: the other side is gone.
        """
        if self._transport is None or self._transport.is_closing():
            raise ChannelClosed
        self._transport.write(encode(header, block))

    def close(self) -> None:
        """Hang up; what is queued is still sent."""
        if self._transport is not None:
            self._transport.close()
