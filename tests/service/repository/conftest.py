"""A repository over workers that are no processes, and its metrics and events."""

import asyncio
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_base.checkpoints.safetensors import Safetensors
from service.core.messages import InferRequest, ModelEvent, ModelSpec, ModelState, TextInputs
from service.core.metrics import Metrics
from service.core.settings import Settings
from service.dataplane import LocalDataPlane
from service.repository import version as version_module
from service.repository.events import Events
from service.repository.repository import Repository
from service.repository.sources import Sources
from service.repository.version import Services

ROOT = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder with one model, ``tiny``: it has weights, which no fake worker reads."""
    tiny = tmp_path / "models" / "tiny"
    shutil.copytree(ROOT / "tests" / "data" / "tiny_bert", tiny)
    weights = {"embeddings.word_embeddings.weight": np.zeros((256, 32), np.float32)}
    Safetensors().write(tiny / "model.safetensors", weights, {"format": "pt"})
    return tmp_path / "models"


class Bench:
    """A repository, what is around it, and every event since the start."""

    def __init__(self, folder: Path, supervisor: Any, settings: Settings) -> None:
        self.folder = folder
        self.supervisor = supervisor
        self.metrics = Metrics()
        self.events = Events()
        self.told: list[ModelEvent] = []
        self._told = asyncio.Event()
        sources = Sources((folder,), (), hub=settings.hub)
        downloads = asyncio.Semaphore(settings.sync.parallel)
        services = Services(settings, self.metrics, supervisor, sources, self._publish, downloads)
        self.repository = Repository(services, self.events)
        self.dataplane = LocalDataPlane(
            self.repository,
            settings.limits,
            self.metrics,
            None,
            required=["m"],  # type: ignore[arg-type]
        )

    def _publish(self, event: ModelEvent) -> None:
        self.told.append(event)
        self.events.publish(event)
        self._told.set()
        self._told = asyncio.Event()

    @property
    def worker(self) -> Any:
        return self.supervisor.workers[-1]

    def load(self, version: str = "1", name: str = "m", source: str = "tiny") -> Any:
        return self.repository.load(ModelSpec(name, source, version))

    def states(self, version: str = "1") -> list[ModelState]:
        """States in the order they were told, repetitions left out."""
        told = [event.state for event in self.told if event.version == version]
        return [s for i, s in enumerate(told) if i == 0 or told[i - 1] is not s]

    async def until(self, state: ModelState, version: str = "1", name: str = "m") -> None:
        """Wait until a version is in a state now."""
        async with asyncio.timeout(10):
            while self.repository.get(name, version).state is not state:
                await self._told.wait()

    def ask(self, text: str = "abc", **fields: Any) -> "asyncio.Task[Any]":
        request = InferRequest("m", TextInputs([text]), **fields)
        return asyncio.create_task(self.dataplane.infer(request))

    async def ask_and_hold(self) -> "asyncio.Task[Any]":
        """A request that the current worker has and keeps."""
        worker, count = self.worker, len(self.worker.submitted)
        worker.holding = True
        task = self.ask()
        await self.supervisor.until(lambda: len(worker.submitted) > count)
        return task

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"model_base_{name}", labels)


@pytest.fixture
def play(
    folder: Path,
    make_supervisor: Callable[[], Any],
    monkeypatch: pytest.MonkeyPatch,
    tidy_loop: None,
) -> Callable[..., None]:
    """Run a test in an event loop; backing off takes no time."""
    monkeypatch.setattr(version_module, "_BACKOFF_S", (0.0, 0.001))

    def start(test: Callable[[Bench], Coroutine[Any, Any, None]], **settings: Any) -> None:
        async def run() -> None:
            bench = Bench(folder, make_supervisor(), Settings(**settings))
            async with asyncio.timeout(20):
                await test(bench)
                await bench.repository.close()
                await bench.supervisor.close()
            assert len(asyncio.all_tasks()) == 1

        asyncio.run(run())

    return start
