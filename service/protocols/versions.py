"""The state of a model's versions in TensorFlow Serving's words, which two protocols answer."""

from collections.abc import Iterable

from pydantic import BaseModel

from service.core.messages import ModelInfo, ModelState

_STATES = {
    ModelState.QUEUED: "START",
    ModelState.DOWNLOADING: "LOADING",
    ModelState.LOADING: "LOADING",
    ModelState.WARMING: "LOADING",
    ModelState.READY: "AVAILABLE",
    ModelState.DRAINING: "UNLOADING",
    ModelState.UNLOADED: "END",
    ModelState.FAILED: "END",
}


class ErrorStatus(BaseModel):
    """``OK``, or why a version is not served."""

    error_code: str
    error_message: str


class VersionStatus(BaseModel):
    """``state``: START, LOADING, AVAILABLE, UNLOADING or END."""

    version: str
    state: str
    status: ErrorStatus


def version_status(infos: Iterable[ModelInfo]) -> list[dict[str, object]]:
    """Translate versions of one model."""
    return [
        {
            "version": info.spec.version,
            "state": _STATES[info.state],
            "status": {
                "error_code": "UNKNOWN" if info.state is ModelState.FAILED else "OK",
                "error_message": info.reason if info.state is ModelState.FAILED else "",
            },
        }
        for info in infos
    ]
