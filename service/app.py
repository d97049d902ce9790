"""The composition root: the only place that builds the parts and wires them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.middleware import Middleware

from service import __version__
from service.core.messages import ModelSpec
from service.core.metrics import Metrics
from service.core.settings import Settings
from service.dataplane import LocalDataPlane
from service.engine.supervisor import Supervisor
from service.engine.template_process import TemplateProcess
from service.hub.desk import LocalHubDesk
from service.hub.follow import Follows
from service.hub.jobs import HubJobs
from service.hub.store import JobStore, default_database
from service.middleware.auth import Auth
from service.middleware.limits import Limits
from service.middleware.request_id import RequestId
from service.middleware.turns import Turns
from service.protocols import install, is_inference, refuser
from service.repository.events import Events
from service.repository.repository import Repository
from service.repository.sources import Sources
from service.repository.version import Services

_DESCRIPTION = (
    "Serves Hugging Face checkpoints of PyTorch, TensorFlow and Flax. Native routes, OpenAI "
    "embeddings, Text Embeddings Inference, Prometheus metrics."
)


class UnsafeSettings(ValueError):
    """Raised when the settings would open the service to everybody without saying so."""


@dataclass(frozen=True, slots=True)
class Service:
    """A wired service, not started yet: ``app`` runs it, the rest is for whoever runs ``app``."""

    app: FastAPI
    dataplane: LocalDataPlane
    events: Events


def create_service(
    settings: Settings,
    models: Sequence[ModelSpec] = (),
    templates: Sequence[TemplateProcess] = (),
) -> Service:
    """Build the service.

    Args:
        settings: read once, passed down.
        models: loaded at start, from wherever the operator says; readiness waits for them.
        templates: processes that were started ahead; they end with the service.

    Raises:
        UnsafeSettings: it would listen beyond this machine without a key.
        BadRequest: a model's name or source is refused.
    """
    check_exposure(settings)
    metrics, events, supervisor = Metrics(), Events(), Supervisor(templates)
    chosen = tuple(Path(spec.source) for spec in models if Path(spec.source).is_dir())
    sources = Sources(settings.model_folders, chosen, settings.hub, settings.sync.allows)
    downloads = asyncio.Semaphore(settings.sync.parallel)
    services = Services(settings, metrics, supervisor, sources, events.publish, downloads)
    repository = Repository(services, events)
    for spec in models:
        repository.check(spec)
    required = [spec.name for spec in models]
    jobs = HubJobs(settings.sync, sources, repository, metrics)
    follows = Follows(settings.sync, sources, repository, jobs)
    desk = LocalHubDesk(jobs, follows, repository)
    dataplane = LocalDataPlane(
        repository,
        settings.limits,
        metrics,
        desk,
        required,
        settings.batching.max_tokens,
    )

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        for spec in models:
            repository.load(spec)
        store = JobStore(settings.sync.database or default_database())
        jobs.start(store)
        follows.start(store)
        try:
            yield
        finally:
            dataplane.leave(settings.worker.grace_s)
            await follows.close()
            await jobs.close()
            store.close()
            await repository.close()
            await supervisor.close()

    refuse = refuser(metrics)
    app = FastAPIOffline(  # /docs needs no network either
        title="model-base",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        middleware=[
            Middleware(RequestId),
            Middleware(Turns),
            Middleware(Auth, settings=settings.auth, refuse=refuse, is_inference=is_inference),
            Middleware(Limits, settings=settings.limits, refuse=refuse),
        ],
    )
    install(app, dataplane, settings, metrics)
    return Service(app, dataplane, events)


def create_app() -> FastAPI:
    """The application for servers that want a factory; settings come from the environment."""
    return create_service(Settings()).app


def check_exposure(settings: Settings) -> None:
    """Refuse to listen beyond this machine without a key, unless that is said explicitly.

    Raises:
        UnsafeSettings: naming both ways out.
    """
    if settings.is_loopback or settings.has_keys or not settings.auth.enabled:
        return
    raise UnsafeSettings(
        f"host {settings.host} can be reached from other machines, and no API key is set. "
        "Either set one (--api-key KEY, or MODEL_BASE_AUTH__API_KEYS='[\"KEY\"]'), or turn "
        "authentication off on purpose (--no-auth, or MODEL_BASE_AUTH__ENABLED=false)."
    )
