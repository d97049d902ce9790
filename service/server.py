"""Runs the service in this process: sockets, signals, and what the terminal shows."""

import asyncio
import contextlib
import errno
import json
import math
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

import uvicorn
import uvloop
from tqdm import tqdm
from typing_extensions import override

from service.app import Service, create_service
from service.connections import PatientProtocol, allow_many_files
from service.core.log import configure_log
from service.core.messages import ModelEvent, ModelFacts, ModelSpec, ModelState
from service.core.settings import Settings
from service.engine.template_process import TemplateProcess

_BACKLOG = 4096
_KEEP_ALIVE_S = 30
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_HANG_UP_S = 0.5
"""From the end of the grace: what was ended then is told its clients before."""
_STEPS = {
    ModelState.DOWNLOADING: "downloading",
    ModelState.LOADING: "loading",
    ModelState.WARMING: "warming up",
}


class CannotListen(OSError):
    """Raised when the address cannot be listened on; the text says what to do."""


_WAYS_OUT = {
    errno.EADDRINUSE: "give another with --port",
    errno.EACCES: "give one above 1023 with --port",
}


def serve(
    settings: Settings, models: Sequence[ModelSpec], templates: Sequence[TemplateProcess] = ()
) -> int:
    """Serve until a signal ends it; returns the exit status.

    Args:
        settings: of the service.
        models: loaded at start.
        templates: processes that were started ahead.

    Raises:
        UnsafeSettings: it would listen beyond this machine without a key.
        BadRequest: a model cannot be served as asked for.
    """
    allow_many_files()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its processors are the workers'
    service = create_service(settings, models, templates)
    try:
        listener = listen(settings.host, settings.port)
    except CannotListen as error:
        sys.stderr.write(f"model-base: {error}\n")
        return 2
    configure_log(settings.log_level)
    with listener:
        return uvloop.run(_run(service, settings, listener, models))


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        CannotListen: the port is in use, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # else no TCP_NODELAY
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        way_out = _WAYS_OUT.get(error.errno or 0, "give an address of this machine with --host")
        raise CannotListen(
            f"cannot listen on {host}:{port} ({error.strerror}): {way_out}"
        ) from error
    return sock


async def _run(
    service: Service, settings: Settings, listener: socket.socket, models: Sequence[ModelSpec]
) -> int:
    server = _Server(service, settings)
    console = Console(service, address_of(listener), models, settings.needs_key)
    watch = asyncio.create_task(console.watch(server.leave))
    await server.serve(sockets=[listener])
    watch.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watch
    return 1 if console.failed or not server.started else 0


def address_of(listener: socket.socket) -> str:
    """Where this machine reaches the service: loopback, if it listens everywhere."""
    host, port = listener.getsockname()[:2]
    host = _WILDCARDS.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


class _Server(uvicorn.Server):
    """uvicorn with our way of leaving: not ready, streams end, requests finish, exit 0."""

    def __init__(self, service: Service, settings: Settings) -> None:
        config = uvicorn.Config(
            service.app,
            log_config=None,
            access_log=False,
            lifespan="on",
            server_header=False,
            http=PatientProtocol,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=math.ceil(settings.worker.grace_s) + 2,
        )
        super().__init__(config)
        self._service = service
        self._grace_s = settings.worker.grace_s
        self._hurry = False

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for sig in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(sig, self.leave)
        yield

    def leave(self) -> None:
        """Begin to shut down; a second time, end what is in flight; a third, do not wait for it."""
        self.force_exit = self._hurry
        self._hurry = self.should_exit
        if not self.should_exit and (count := self._service.dataplane.num_requests):
            sys.stderr.write(
                f"finishing {count} requests, at most {self._grace_s:g} s; again to stop at once\n"
            )
        self.should_exit = True
        grace_s = 0 if self._hurry else self._grace_s
        self._service.dataplane.leave(grace_s)
        self._service.events.close()
        self._service.dataplane.hub.leave()
        asyncio.get_running_loop().call_later(grace_s + _HANG_UP_S, self._hang_up)

    def _hang_up(self) -> None:
        """Leave the clients that have not even sent their whole request."""
        for connection in list(self.server_state.connections):
            connection.transport.close()


class Console:
    """Tells on standard error how loading goes: a bar on a terminal, plain lines elsewhere."""

    def __init__(
        self, service: Service, address: str, models: Sequence[ModelSpec], needs_key: bool = False
    ) -> None:
        self._service = service
        self._address = address
        self._key = " -H 'Authorization: Bearer KEY'" if needs_key else ""
        self._names = {spec.name for spec in models}
        self._bar: tqdm[NoReturn] | None = None
        self._told: tuple[str, ModelState] | None = None
        self.failed = False

    async def watch(self, leave: Callable[[], None]) -> None:
        """Follow the events until told to stop; a model of the command line that fails ends all."""
        self._say(f"listening on {self._address}")
        waiting = set(self._names)
        try:
            async for event in self._service.dataplane.events():
                self._show(event)
                if event.name in waiting and event.state is ModelState.READY:
                    waiting.discard(event.name)
                    self._greet(event.name)
                elif event.name in waiting and event.state is ModelState.FAILED:
                    self.failed = True
                    leave()
                    return
        finally:
            self._end_bar()

    def _show(self, event: ModelEvent) -> None:
        if (event.name, event.state) != self._told:
            self._told = event.name, event.state
            self._end_bar()
            if step := _STEPS.get(event.state):
                self._say(f"{event.name}: {step}" + (f" ({event.reason})" if event.reason else ""))
            elif event.state is ModelState.FAILED:
                self._say(f"{event.name}: failed: {event.reason}")
        if event.bytes_total and sys.stderr.isatty():
            self._draw(event)

    def _draw(self, event: ModelEvent) -> None:
        bar = self._bar
        if bar is None:
            bar = self._bar = tqdm(unit="B", unit_scale=True, desc=event.name, leave=False)
        bar.total = event.bytes_total
        bar.update(event.bytes_done - bar.n)

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _greet(self, name: str) -> None:
        """The address and a line to paste that the model answers."""
        body = _example(self._service.dataplane.model(name).facts)
        asks = f"/predict{self._key} -H 'Content-Type: application/json' -d '{body}'"
        self._say(
            f"{name}: ready on {self._address} (docs: {self._address}/docs)\n\n"
            f"  curl {self._address}/models/{name}{asks if body else self._key}\n"
        )

    def _say(self, text: str) -> None:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


def _example(facts: ModelFacts | None) -> str:
    """A body for a prediction: a text if any will do, else ids; empty for pixels and sound."""
    if facts is None:
        return ""
    if facts.pooling:
        return '{"inputs": "Hello, world!"}'
    if not facts.inputs or not all(name.endswith("input_ids") for name in facts.inputs):
        return ""
    return json.dumps({"inputs": {name: [[1, 2]] for name in facts.inputs}})
