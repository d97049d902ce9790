"""How each framework spells the name and lays out the values of one and the same weight.

The *canonical* form is PyTorch's: dotted names ending in ``weight`` or ``bias``, linear kernels
``[out, in]``, convolutions ``[out, in, ...]``. A convention maps a name of its framework to the
canonical name and to the op that makes the canonical layout. Both ways of a conversion use this
one function: what is stored is brought to canonical form by the op, what another stack wants is
made from canonical form by the op's inverse.

Source: transformers 4.19.2, ``convert_tf_weight_name_to_pt_weight_name`` and
``rename_key_and_reshape_tensor``; read as behaviour.
"""

import re
from collections.abc import Callable, Container

from model_base.conversion.ops import Shape, Transpose

Canonical = tuple[str, Transpose | None]
Convention = Callable[[str, Shape], Canonical]

_KERAS_NAMES = {"kernel": "weight", "embeddings": "weight", "gamma": "weight", "beta": "bias"}
_TF1_NAMES = {
    "kernel": "weight", "gamma": "weight", "beta": "bias", "output_weights": "weight",
    "output_bias": "bias", "w": "weight", "g": "weight", "b": "bias",
}  # fmt: skip
_FLAX_NAMES = {"kernel": "weight", "scale": "weight", "embedding": "weight"}
_TABLE = re.compile("(^|_)embeddings?$|^embed_|^(wte|wpe|shared|relative_attention_bias)$")


def torch_names(name: str, shape: Shape) -> Canonical:
    """PyTorch: canonical as it stands."""
    return name, None


def keras_names(name: str, shape: Shape) -> Canonical:
    """Keras: ``layer/kernel:0``, the model's own name already taken off by the reader.

    ``x___y`` is a layer ``y`` whose scope repeats, ``_._`` numbers a layer in a list.
    """
    name = re.sub(r"(^|/)[^/]*___([^/]*)/", r"\1\2/", name.removesuffix(":0"))
    parts = [part for part in name.replace("_._", "/").split("/") if part] or [name]
    is_kernel = parts[-1] == "kernel"
    parts[-1] = _KERAS_NAMES.get(parts[-1], parts[-1])
    return ".".join(parts), _kernel_to_torch(len(shape)) if is_kernel else None


def tf1_names(name: str, shape: Shape) -> Canonical:
    """TensorFlow 1, as Google's BERT and OpenAI's GPT-2 named their variables.

    ``bert/encoder/layer_0/output/dense/kernel``, ``cls/predictions/output_bias``,
    ``model/h0/attn/c_attn/w``: numbers of layers are parts of names, tables have no last name.
    """
    parts = name.removeprefix("model/").split("/")
    is_kernel = parts[-1] == "kernel"
    parts[-1] = _TF1_NAMES.get(parts[-1], parts[-1])
    name = re.sub(r"(^|\.)(layer|h)_?(\d+)(?=\.)", r"\1\2.\3", ".".join(parts))
    if name.endswith("_embeddings") or name in ("wte", "wpe"):
        name += ".weight"
    return name, _kernel_to_torch(len(shape)) if is_kernel else None


def flax_names(name: str, shape: Shape) -> Canonical:
    """Flax msgpack: the tree's keys joined by ``/``, no model name in front."""
    parts = name.split("/")
    is_kernel = parts[-1] == "kernel"
    parts[-1] = _FLAX_NAMES.get(parts[-1], parts[-1])
    return ".".join(parts), _kernel_to_torch(len(shape)) if is_kernel else None


def to_flax_name(name: str, shape: Shape, names: Container[str]) -> Canonical:
    """The Flax name of a canonical tensor, and the op that makes Flax' layout of it.

    A weight is the ``embedding`` of a table, the ``scale`` of a norm with a bias, else the
    ``kernel`` of a projection or convolution; norms without bias keep ``weight``.

    Args:
        name: canonical.
        shape: canonical.
        names: all canonical names of the checkpoint.
    """
    *scope, last = name.split(".")
    owner, op = scope[-1] if scope else "", None
    if last == "weight" and len(shape) == 2 and _TABLE.search(owner):
        last = "embedding"
    elif last == "weight" and len(shape) == 1:
        last = "scale" if ".".join([*scope, "bias"]) in names else last
    elif last == "weight" and (kernel := _kernel_to_torch(len(shape))):
        last, op = "kernel", kernel.inverse()
    return "/".join([*scope, last]), op


def _kernel_to_torch(rank: int) -> Transpose | None:
    """Kernels are ``[..., in, out]``; ours are ``[out, in, ...]``."""
    if rank < 2:
        return None
    return Transpose((rank - 1, rank - 2, *range(rank - 2)))
