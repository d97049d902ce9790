"""What may be said of a model that is to be served: its name, version, framework, dtype, device.

Each function returns what is wrong, in words that may be shown to a client; empty if nothing is.
"""

import importlib.util
import re

from service.core.messages import ModelSpec

MAX_NAME = 200
# Last parts of paths below /models/{name}: a model so called could not be told from the action.
RESERVED = ("events", "load", "metadata", "predict", "stats", "unload")
FRAMEWORKS = ("auto", "torch", "tensorflow", "saved_model")
_NEEDS = {
    "torch": ("torch", "torch"),
    "tensorflow": ("tensorflow", "tensorflow"),
    "saved_model": ("tensorflow", "tensorflow"),
}
"""What runs a framework's models: the package, and the extra of ours that installs it."""
DTYPES = ("auto", "float32", "bfloat16", "float16")

REPO_ID = "[A-Za-z0-9][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9][A-Za-z0-9_.-]{0,95}"
"""Pattern of ``owner/name`` on the hub."""
REVISION = "[A-Za-z0-9_][A-Za-z0-9_./-]{0,199}"
"""Pattern of a branch, tag or commit."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DEVICE = re.compile(r"auto|cpu|cuda:[0-9]{1,3}")
_MAX_ECHO = 64


def name_problem(name: str) -> str:
    """What keeps a model from being served under ``name``."""
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME or ".." in name:
        return (
            "a model's name is 'name' or 'owner/name' of letters, digits, '.', '_' and '-', "
            "each part starting with a letter or digit, without '..', at most "
            f"{MAX_NAME} characters"
        )
    if name.rpartition("/")[2] in RESERVED:
        return f"a model's name may not end in one of {', '.join(RESERVED)}"
    return ""


def version_problem(version: str) -> str:
    """What keeps ``version`` from being one."""
    if _VERSION.fullmatch(version) and ".." not in version:
        return ""
    return (
        "a version is 1 to 64 letters, digits, '.', '_' and '-', starting with a letter or "
        "digit, without '..'"
    )


def spec_problem(spec: ModelSpec) -> str:
    """What keeps ``spec`` from being served, as far as its words tell; the source is not read."""
    return (
        name_problem(spec.name)
        or (version_problem(spec.version) if spec.version else "")
        or _not_one_of("framework", spec.framework, FRAMEWORKS)
        or _not_one_of("dtype", spec.dtype, DTYPES)
        or device_problem(spec.device)
    )


def device_problem(device: str) -> str:
    """What keeps ``device`` from being one; whether this machine has it is not asked."""
    if _DEVICE.fullmatch(device):
        return ""
    return f"device is {device[:_MAX_ECHO]!r}; accepted: auto, cpu, cuda:N"


def framework_problem(framework: str) -> str:
    """What keeps a framework from running models here: its package is not installed."""
    package, extra = _NEEDS.get(framework, ("", ""))
    if not package or importlib.util.find_spec(package) is not None:
        return ""
    return (
        f"{package} is not installed, which runs {framework} models; get it with: "
        f"pip install 'model-base[{extra}]'"
    )


def _not_one_of(field: str, value: str, accepted: tuple[str, ...]) -> str:
    if value in accepted:
        return ""
    return f"{field} is {value[:_MAX_ECHO]!r}; accepted: {', '.join(accepted)}"
