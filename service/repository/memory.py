"""Whether a model fits, asked before it is loaded."""

from pathlib import Path

import psutil

from model_base.checkpoints import SAFETENSORS
from model_base.checkpoints.base import TensorInfo
from model_base.hub.files import Folder
from model_base.loading.resolve import WeightFiles, resolve_any
from service.core.errors import OutOfMemory

_ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_HEADROOM_BYTES = 64 * 2**20
_CGROUP_LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)


def needed_bytes(files: WeightFiles, dtype: str) -> int:
    """Bytes of the weights once loaded.

    From the headers of safetensors, which are short; the other formats would have to be read
    whole or by a framework, and count by the size of their files.

    Raises:
        CheckpointUnreadable: the files are damaged.
    """
    if files.format is not SAFETENSORS:
        return files.num_bytes
    return sum(_loaded_bytes(info, dtype) for info in files.open().infos.values())


def _loaded_bytes(info: TensorInfo, dtype: str) -> int:
    if not info.is_floating or dtype not in _ITEM_BYTES:
        return info.num_bytes
    return info.num_bytes // info.dtype.itemsize * _ITEM_BYTES[dtype]


def free_bytes() -> int:
    """What this machine, or the container's limit, has left; reclaimable caches count as free."""
    free = psutil.virtual_memory().available
    for limit_file, usage_file in _CGROUP_LIMITS:
        limit, usage = _read_number(limit_file), _read_number(usage_file)
        if limit is not None and usage is not None:
            free = min(free, max(0, limit - usage + _reclaimable()))
    return free


def _read_number(path: str) -> int | None:
    try:
        text = Path(path).read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _reclaimable() -> int:
    """File pages that the kernel would drop before it refuses memory."""
    try:
        lines = Path("/sys/fs/cgroup/memory.stat").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))


def check_fits(folder: Path, dtype: str) -> int:
    """Refuse a model that is larger than what is free in main memory; returns the bytes needed.

    Files that are larger themselves are not opened.

    Raises:
        OutOfMemory: with both numbers.
        CheckpointNotFound, CheckpointUnreadable: there are no weights, or they are damaged.
    """
    files = resolve_any(Folder(folder))
    check_free(files.num_bytes)
    needed = needed_bytes(files, dtype)
    check_free(needed)
    return needed


def check_free(needed: int) -> None:
    """Refuse what is larger than what is free in main memory.

    Raises:
        OutOfMemory: with both numbers.
    """
    free = free_bytes()
    if needed + _HEADROOM_BYTES > free:
        raise OutOfMemory(needed, free, "this machine")
