"""A process of the service is killed under load: what the clients see, and what comes after."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

Start = Callable[..., Any]
Until = Callable[..., Any]


class Load:
    """Clients that ask without a pause until told to stop; a transport error is an answer, too."""

    def __init__(self, server: Any, clients: int = 4) -> None:
        self.codes: Counter[str] = Counter()
        self.without_retry_after = 0
        self._address = server.address
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def _ask(self) -> None:
        with httpx.Client(base_url=self._address, timeout=60, trust_env=False) as client:
            while not self._stop.is_set():
                try:
                    answer = client.post("/embed", json={"inputs": ["load"] * 8})
                except httpx.TransportError as error:
                    self.codes[type(error).__name__] += 1
                    return
                self.codes[str(answer.status_code)] += 1
                if answer.status_code == 503 and "Retry-After" not in answer.headers:
                    self.without_retry_after += 1

    def wait_for_answers(self, wait_until: Until) -> None:
        answered = self.codes["200"]
        wait_until(lambda: self.codes["200"] > answered + 20, "answers")

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)


def wait_for_restart(server: Any, wait_until: Until, count: int) -> None:
    wait_until(lambda: server.metric("worker_restarts_total") == count, "a restart")
    wait_until(lambda: server.get("/health/ready").status_code == 200, "readiness")


@pytest.mark.slow
def test_a_worker_killed_under_load_costs_503s_only_and_comes_back(
    start: Start, tiny: Path, wait_until: Until
) -> None:
    server = start(tiny).wait_ready()
    with Load(server) as load:
        for kills in (1, 2, 3):
            load.wait_for_answers(wait_until)
            (worker,) = server.workers
            worker.kill()
            wait_for_restart(server, wait_until, kills)
            (new,) = server.workers
            assert new.pid != worker.pid
        load.wait_for_answers(wait_until)
    assert set(load.codes) <= {"200", "503"}
    assert load.without_retry_after == 0
    assert server.metric("requests_total", code="500") == 0
    assert server.metric("queued_requests") == server.metric("queued_tokens") == 0


def test_only_what_was_in_flight_is_lost(start: Start, tiny: Path, wait_until: Until) -> None:
    server = start(tiny).wait_ready()
    with server.held() as worker, ThreadPoolExecutor(5) as pool:
        futures = [pool.submit(server.embed) for _ in range(5)]
        wait_until(lambda: server.metric("queued_requests") == 5, "requests to queue")
        worker.kill()
        answers = [future.result(30) for future in futures]
    for answer in answers:
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) >= 1
        assert "is being restarted" in answer.json()["error"]
    wait_until(lambda: server.get("/health/ready").status_code == 200, "readiness")
    assert server.embed().status_code == 200


def test_the_service_goes_on_without_its_template_and_gets_another(
    start: Start, tiny: Path, wait_until: Until
) -> None:
    server = start(tiny).wait_ready()
    template, (worker,) = server.template, server.workers
    with Load(server) as load:
        template.kill()
        load.wait_for_answers(wait_until)
        assert set(load.codes) == {"200"}
        worker.kill()
        wait_for_restart(server, wait_until, 1)
        load.wait_for_answers(wait_until)
    assert set(load.codes) <= {"200", "503"}
    assert psutil.wait_procs([template, worker], timeout=10)[1] == []
    assert server.template.pid != template.pid
    assert len(server.processes()) == 3
