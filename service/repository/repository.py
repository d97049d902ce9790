"""All models by name and version, and which version of each takes the traffic."""

import asyncio
import dataclasses
import os
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass, field

from service.core.errors import BadRequest, Conflict, ModelNotFound
from service.core.messages import ModelEvent, ModelInfo, ModelSpec, ModelState
from service.core.names import spec_problem
from service.repository.events import Events
from service.repository.frameworks import framework_of, version_of
from service.repository.sources import Source
from service.repository.version import ModelVersion, Services


@dataclass(slots=True)
class _Entry:
    """One name.

    Attributes:
        current: the version that takes the traffic.
        versions: in the order they came.
    """

    current: ModelVersion
    versions: dict[str, ModelVersion] = field(default_factory=dict)

    def add(self, version: ModelVersion) -> None:
        """Put a version last, in the place of a settled one of its number."""
        present = self.versions.pop(version.spec.version, None)
        if present is self.current:
            self.current = version
        self.versions[version.spec.version] = version

    def before(self, version: ModelVersion) -> Sequence[ModelVersion]:
        """The versions that came earlier."""
        versions = list(self.versions.values())
        return versions[: versions.index(version)]


class Repository:
    """Loads, swaps and unloads; every change runs in the background and is told as events.

    Args:
        services: of the process.
        events: where the changes are published.
    """

    def __init__(self, services: Services, events: Events) -> None:
        self._services = services
        self._events = events
        self._entries: dict[str, _Entry] = {}
        self._leaving: set[str] = set()
        self._jobs: set[asyncio.Task[None]] = set()

    def get(self, name: str, version: str | None = None) -> ModelVersion:
        """One version; None means the one that takes the traffic.

        Raises:
            ModelNotFound: no such name or version.
        """
        entry = self._entry(name)
        found = entry.current if version is None else entry.versions.get(version)
        if found is None:
            raise ModelNotFound(name, version)
        return found

    def _entry(self, name: str) -> _Entry:
        if (entry := self._entries.get(name)) is None:
            raise ModelNotFound(name)
        return entry

    def all(self) -> Sequence[ModelVersion]:
        """Every version, in the order they came."""
        return [version for entry in self._entries.values() for version in entry.versions.values()]

    def load(self, spec: ModelSpec) -> ModelInfo:
        """Begin to load a new model, or a new version beside the present one.

        Raises:
            BadRequest: see ``check``.
            Conflict: that version is there already, or the name is just being deleted.
        """
        source = self.check(spec)
        spec = dataclasses.replace(spec, version=version_of(spec, source))
        self._check_free(spec)
        version = ModelVersion(spec, self._services, self._threads())
        entry = self._entries.setdefault(spec.name, _Entry(version))
        entry.add(version)
        version.start()
        self._run(self._take_over(entry, version))
        return version.info

    def check(self, spec: ModelSpec) -> Source:
        """Refuse what cannot be loaded, as far as can be told without reading a file.

        Returns:
            What its source means.

        Raises:
            BadRequest: a word of the spec is wrong, or the source may not be loaded.
        """
        if problem := spec_problem(spec):
            raise BadRequest(problem)
        source = self._services.sources.find(spec.source)
        framework_of(spec.framework, source)
        return source

    def _check_free(self, spec: ModelSpec) -> None:
        if spec.name in self._leaving:
            raise Conflict(f"model {spec.name!r} is being deleted: wait until it is gone")
        entry = self._entries.get(spec.name)
        present = entry and entry.versions.get(spec.version)
        if present and not present.is_settled:
            raise Conflict(
                f"model {spec.name!r} version {spec.version!r} is {present.state}: give another "
                "version, or unload it first"
            )

    def _threads(self) -> int:
        return self._services.settings.worker.threads or len(os.sched_getaffinity(0))

    async def _take_over(self, entry: _Entry, new: ModelVersion) -> None:
        """Once a version is ready it gets the traffic, and those that came before it drain."""
        if not await new.wait_until_ready():
            return
        entry.current = new
        for old in entry.before(new):
            if not old.is_settled:
                old.unload()

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
        entry = self._entry(name)
        for version in entry.versions.values():
            if version.state is not ModelState.UNLOADED:
                version.unload()
        return entry.current.info

    async def delete(self, name: str) -> None:
        """Unload and forget a model; goes on to its end if the caller is cancelled.

        Raises:
            ModelNotFound: no such name.
        """
        entry = self._entry(name)
        del self._entries[name]
        self._leaving.add(name)
        await asyncio.shield(self._run(self._forget(entry)))

    async def _forget(self, entry: _Entry) -> None:
        await asyncio.gather(*(version.unload() for version in entry.versions.values()))
        for version in entry.versions.values():
            version.forget()
        self._leaving.discard(entry.current.spec.name)

    def events(self, name: str | None) -> AsyncIterator[ModelEvent]:
        """The present states, then every change; of one model if it is named.

        Raises:
            ModelNotFound: no such name.
        """
        if name is not None:
            self.get(name)

        def wanted(event: ModelEvent) -> bool:
            return name in (None, event.name)

        return self._events.listen(
            lambda: filter(wanted, [version.event for version in self.all()]), wanted
        )

    async def close(self) -> None:
        """Unload everything."""
        await asyncio.gather(*(version.unload() for version in self.all()))
        await asyncio.gather(*self._jobs)
        self._events.close()

    def _run(self, job: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run in the background; kept, so that it is not collected, until it is done."""
        task = asyncio.create_task(job)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)
        return task
