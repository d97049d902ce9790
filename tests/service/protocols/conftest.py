"""A data plane of known answers, and the protocols on top of it."""

import asyncio

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from service import protocols
from service.core.errors import ModelNotFound
from service.core.messages import (
    InferResponse,
    ModelEvent,
    ModelFacts,
    ModelInfo,
    ModelSpec,
    ModelState,
    ModelStats,
    Readiness,
)
from service.core.metrics import Metrics
from service.core.settings import Settings

FACTS = ModelFacts(
    architecture="BertModel",
    framework="torch",
    dtype="float32",
    device="cpu",
    task="feature-extraction",
    num_parameters=22_713_216,
    num_bytes=90_852_864,
    max_length=256,
    pooling="mean",
)
VECTOR = np.array([0.1, -0.5, 0.25], np.float32)


class FakeDataPlane:
    """Serves ``mini`` and keeps what it was asked; ``error`` and ``outputs`` change its answers."""

    def __init__(self):
        mini = ModelSpec(name="mini", source="/srv/models/mini")
        self.infos = [ModelInfo(mini, ModelState.READY, facts=FACTS, created_s=1000.9)]
        self.calls = []
        self.error = None
        self.outputs = None
        self.waiting_for = ()
        self.event_list = [ModelEvent("mini", "1", ModelState.READY, 5, 10)]

    def default_model(self):
        return "mini"

    def models(self):
        return self.infos

    def model(self, name, version=None):
        for info in self.infos:
            if info.spec.name == name:
                return info
        raise ModelNotFound(name, version)

    async def infer(self, request):
        self.calls.append(request)
        if self.error is not None:
            raise self.error
        self.model(request.model)
        outputs = self.outputs
        if outputs is None:
            items = getattr(request.inputs, "texts", None) or request.inputs.sequences
            outputs = np.stack([VECTOR * (index + 1) for index in range(len(items))])
        return InferResponse(request.model, "1", request.task or FACTS.task, outputs, 7)

    async def stats(self, name, batch_size, sequence_length):
        self.model(name)
        inputs = {"input_ids": (batch_size, sequence_length or 128)}
        return ModelStats(10, 9, 8, {"float32": 40}, batch_size, sequence_length, inputs, 1, 2, 3)

    async def load(self, spec):
        self.calls.append(spec)
        return ModelInfo(spec, ModelState.QUEUED, created_s=2.0)

    async def reload(self, name):
        self.calls.append(("reload", name))
        return self.model(name)

    async def unload(self, name):
        self.calls.append(("unload", name))
        return self.model(name)

    async def delete(self, name):
        self.infos.remove(self.model(name))

    async def events(self, name=None):
        self.calls.append(("events", name))
        for event in self.event_list:
            yield event

    def readiness(self):
        return Readiness(not self.waiting_for, self.waiting_for)


@pytest.fixture
def dataplane():
    return FakeDataPlane()


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def app(dataplane, metrics):
    app = FastAPI()
    protocols.install(app, dataplane, Settings(), metrics)
    return app


@pytest.fixture
def call(app):
    """Send one request and return the answer."""

    def send(method, path, **arguments):
        async def exchange():
            transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.request(method, path, **arguments)

        return asyncio.run(exchange())

    return send


@pytest.fixture
def serve(serve):
    """Run an application in a real server on a free loopback port; gives its URL."""
    return lambda app: "http://{}:{}".format(*serve(app))
