"""All models by name and version, and which version of each takes the traffic."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence

from service.core.errors import Conflict, ModelNotFound
from service.core.messages import ModelEvent, ModelInfo, ModelSpec, ModelState
from service.repository.events import Events
from service.repository.version import ModelVersion, Services

_IN_USE = (ModelState.DRAINING,)


class Repository:
    """Loads, swaps and unloads; every change runs in the background and is told as events.

    Args:
        services: of the process.
        events: where the changes are published.
    """

    def __init__(self, services: Services, events: Events) -> None:
        self._services = services
        self._events = events
        self._models: dict[str, dict[str, ModelVersion]] = {}
        self._current: dict[str, str] = {}
        self._jobs: set[asyncio.Task[None]] = set()

    def get(self, name: str, version: str | None = None) -> ModelVersion:
        """One version; None means the one that takes the traffic.

        Raises:
            ModelNotFound: no such name or version.
        """
        versions = self._models.get(name)
        if versions is None:
            raise ModelNotFound(name)
        found = versions.get(self._current[name] if version is None else version)
        if found is None:
            raise ModelNotFound(name, version)
        return found

    def all(self) -> Sequence[ModelVersion]:
        """Every version, in the order they came."""
        return [version for versions in self._models.values() for version in versions.values()]

    def load(self, spec: ModelSpec) -> ModelInfo:
        """Begin to load a new model, or a new version beside the present one.

        Raises:
            BadRequest: the source may not be loaded.
            Conflict: that version is there already.
        """
        versions = self._models.setdefault(spec.name, {})
        if (present := versions.get(spec.version)) and not present.is_settled:
            raise Conflict(
                f"model {spec.name!r} version {spec.version!r} is {present.state}: give another "
                "version, or unload it first"
            )
        try:
            self._services.sources.find(spec.source)
        finally:
            if not versions:
                del self._models[spec.name]
        versions = self._models.setdefault(spec.name, versions)
        new = versions[spec.version] = ModelVersion(spec, self._services, self._threads())
        old = self._current.setdefault(spec.name, spec.version)
        new.start()
        if old != spec.version:
            self._run(self._take_over(new, old))
        return new.info

    def _threads(self) -> int:
        return self._services.settings.worker.threads or len(os.sched_getaffinity(0))

    async def _take_over(self, new: ModelVersion, old: str) -> None:
        """Once the new version is ready it gets the traffic and the old one drains."""
        if not await new.wait_until_ready():
            return
        name = new.spec.name
        self._current[name] = new.spec.version
        if previous := self._models[name].get(old):
            await self._end(previous)

    def reload(self, name: str) -> ModelInfo:
        """Load an unloaded or failed model again.

        Raises:
            ModelNotFound: no such name.
            Conflict: it is loaded or loading.
        """
        version = self.get(name)
        if not version.is_settled:
            raise Conflict(f"model {name!r} is {version.state}, not unloaded or failed")
        version.start()
        return version.info

    def unload(self, name: str) -> ModelInfo:
        """Drain the model and end its workers, in the background; the entry stays.

        Raises:
            ModelNotFound: no such name.
        """
        info = self.get(name).info
        for version in self._models[name].values():
            if version.state not in (ModelState.UNLOADED, ModelState.DRAINING):
                self._run(self._end(version))
        return info

    async def delete(self, name: str) -> None:
        """Unload and forget a model.

        Raises:
            ModelNotFound: no such name.
        """
        self.get(name)
        versions = self._models.pop(name)
        del self._current[name]
        await asyncio.gather(*(self._end(version) for version in versions.values()))
        for version in versions.values():
            version.forget()

    async def _end(self, version: ModelVersion) -> None:
        await version.unload(self._services.settings.worker.grace_s)

    def events(self, name: str | None) -> AsyncIterator[ModelEvent]:
        """The present states, then every change; of one model if it is named.

        Raises:
            ModelNotFound: no such name.
        """
        if name is not None:
            self.get(name)
        now = [v.event for v in self.all() if name in (None, v.spec.name)]
        return self._events.listen(now, lambda event: name in (None, event.name))

    async def close(self) -> None:
        """Unload everything."""
        await asyncio.gather(*(self._end(v) for v in self.all() if v.state not in _IN_USE))
        for job in self._jobs:
            job.cancel()
        self._events.close()

    def _run(self, job: "asyncio.Future[None] | object") -> None:
        """Run in the background; kept, so that it is not collected, until it is done."""
        task: asyncio.Task[None] = asyncio.ensure_future(job)  # type: ignore[arg-type]
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)
