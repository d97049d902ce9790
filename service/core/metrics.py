"""Every metric of the service. Base units, closed label sets, one registry per application."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

# 1 ms … 480 s: encoders live at the lower end, long generations at the upper (facts: peers'
# histograms end at 10 or 60 s and pin the p99 there).
LATENCY_BUCKETS = (
    0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2,
    0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 30.0, 60.0, 120.0, 240.0, 480.0,
)  # fmt: skip
SIZE_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
TOKEN_BUCKETS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 65536)

_MODEL = ("model", "version")


class Metrics:
    """The metrics, each an attribute; ``registry`` is what ``/metrics`` renders."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.requests = self._counter(
            "requests", "Answered requests.", ("protocol", "model", "code")
        )
        self.request_seconds = self._latency(
            "request_seconds", "From the first byte of a request to its answer.",
            ("protocol", "model"),
        )  # fmt: skip
        self.tokenize_seconds = self._latency(
            "tokenize_seconds", "Turning one request's texts into token ids.", _MODEL
        )
        self.queue_seconds = self._latency(
            "queue_seconds", "From admission to the start of the batch.", _MODEL
        )
        self.forward_seconds = self._latency("forward_seconds", "One forward of a batch.", _MODEL)
        self.batch_size = self._histogram(
            "batch_size", "Sequences in one forward.", _MODEL, SIZE_BUCKETS
        )
        self.batch_tokens = self._histogram(
            "batch_tokens", "Tokens in one forward.", _MODEL, TOKEN_BUCKETS
        )
        self.tokens = self._counter("tokens", "Tokens computed on.", _MODEL)
        self.queued_requests = self._gauge("queued_requests", "Admitted, not answered.", _MODEL)
        self.queued_tokens = self._gauge("queued_tokens", "Tokens of those requests.", _MODEL)
        self.model_state = self._gauge(
            "model_state", "1 for the state a version is in, else 0.", (*_MODEL, "state")
        )
        self.model_bytes = self._gauge(
            "model_memory_bytes", "Bytes of parameters and buffers.", (*_MODEL, "device")
        )
        self.worker_resident = self._gauge(
            "worker_resident_memory_bytes", "Resident memory of the worker process.", _MODEL
        )
        self.load_seconds = self._latency("model_load_seconds", "From queued to ready.", _MODEL)
        self.worker_restarts = self._counter(
            "worker_restarts", "Workers started again after they ended unasked.", _MODEL
        )

        self.hub_bytes = self._counter("hub_bytes", "Bytes moved by jobs of the hub.", ("kind",))
        self.hub_seconds = self._latency(
            "hub_job_seconds", "From the start of a job of the hub to its end.", ("kind",)
        )
        self.hub_jobs = self._gauge(
            "hub_jobs", "Jobs of the hub that are remembered.", ("kind", "state")
        )
        self.hub_failures = self._counter(
            "hub_failures", "Jobs of the hub that failed.", ("kind", "reason")
        )
        for kind in ("pull", "push"):  # known before there is any
            self.hub_bytes.labels(kind)
            self.hub_seconds.labels(kind)

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        return Counter(f"model_base_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, labels: tuple[str, ...]) -> Gauge:
        return Gauge(f"model_base_{name}", text, labels, registry=self.registry)

    def _latency(self, name: str, text: str, labels: tuple[str, ...]) -> Histogram:
        return self._histogram(name, text, labels, LATENCY_BUCKETS)

    def _histogram(
        self, name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...]
    ) -> Histogram:
        return Histogram(
            f"model_base_{name}", text, labels, buckets=buckets, registry=self.registry
        )

    def forget(self, model: str, version: str) -> None:
        """Drop the series of a version that is gone."""
        for metric in vars(self).values():
            if isinstance(metric, Counter | Gauge | Histogram):
                names = metric._labelnames
                if "version" in names:
                    metric.remove_by_labels({"model": model, "version": version})
