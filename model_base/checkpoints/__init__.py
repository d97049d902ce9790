"""Checkpoint formats: what a weight file is, by its name.

To add one: a file beside this with a ``CheckpointFormat``, and an entry in ``FORMATS``;
its file names go into ``KINDS`` of ``loading/resolve.py``.
"""

from pathlib import Path

from model_base.checkpoints.base import CheckpointFormat
from model_base.checkpoints.flax_msgpack import FlaxMsgpack
from model_base.checkpoints.safetensors import Safetensors
from model_base.checkpoints.tf_checkpoint import TfCheckpointFormat
from model_base.checkpoints.tf_h5 import TfH5
from model_base.checkpoints.torch_bin import TorchBin
from model_base.errors import CheckpointUnreadable

SAFETENSORS, TORCH_BIN, TF_H5, FLAX_MSGPACK = Safetensors(), TorchBin(), TfH5(), FlaxMsgpack()
TF_CHECKPOINT = TfCheckpointFormat()
FORMATS: tuple[CheckpointFormat, ...] = (
    SAFETENSORS, TORCH_BIN, TF_CHECKPOINT, TF_H5, FLAX_MSGPACK,
)  # fmt: skip


def format_of(path: Path) -> CheckpointFormat:
    """The format of a weight file, by its suffix.

    Raises:
        CheckpointUnreadable: no format has the suffix; the message lists those there are.
    """
    for fmt in FORMATS:
        if path.name.endswith(fmt.suffix):
            return fmt
    known = ", ".join(fmt.suffix for fmt in FORMATS)
    raise CheckpointUnreadable(f"{path.name} is none of the known weight files ({known})")
