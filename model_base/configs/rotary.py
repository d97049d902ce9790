"""How configurations say what rotary position embeddings they use.

Two spellings: up to Transformers 4.57 ``rope_theta`` with ``rope_scaling``, from 5.0 on
``rope_parameters`` (one dict, or one for each type of layer). Both are read into ``Rope``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from model_base.errors import UnsupportedConfig

KINDS = ("default", "linear", "dynamic", "yarn", "longrope", "llama3")
_OLD_NAMES = {"su": "longrope"}


@dataclass(frozen=True, slots=True)
class Rope:
    """Rotary position embeddings of one type of layer.

    Attributes:
        kind: one of ``KINDS``.
        theta: base of the wavelengths.
        size: how many of a head's values are rotated.
        num_positions: that the model was made for, ``max_position_embeddings``.
        options: further fields of the kind, as stored.
    """

    kind: str
    theta: float
    size: int
    num_positions: int
    options: Mapping[str, Any] = field(default_factory=dict)


def rope_of(config: Any, layer_type: str | None = None) -> Rope:
    """The rotary embeddings that a configuration asks for.

    Args:
        config: has ``head_dim`` and ``max_position_embeddings``.
        layer_type: which entry to take where ``rope_parameters`` has one for each.

    Raises:
        UnsupportedConfig: a kind that is not implemented; names it.
    """
    stored = getattr(config, "rope_parameters", None) or {}
    if layer_type in stored:
        stored = stored[layer_type]
    options = {**(getattr(config, "rope_scaling", None) or {}), **stored}
    kind = options.pop("rope_type", None) or options.pop("type", None) or "default"
    options.pop("type", None)
    kind = _OLD_NAMES.get(kind, kind)
    if kind not in KINDS:
        raise UnsupportedConfig("rope_scaling", kind, ", ".join(KINDS))
    theta = options.pop("rope_theta", None) or getattr(config, "rope_theta", None) or 10000.0
    part = options.pop("partial_rotary_factor", getattr(config, "partial_rotary_factor", 1.0))
    size = int(config.head_dim * (1.0 if part is None else part))
    return Rope(kind, float(theta), size, int(config.max_position_embeddings), options)


def old_spelling(fields: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Stored fields with one ``rope_parameters`` respelled, as every version reads it.

    Kept beside a default ``rope_theta``, older versions would take the latter. Parameters that
    differ by type of layer have no old spelling and stay.

    Args:
        fields: of a config file.
        names: the configuration's own names of ``rope_theta`` and others, where they differ.
    """
    stored = fields.get("rope_parameters")
    if not isinstance(stored, Mapping) or any(isinstance(v, Mapping) for v in stored.values()):
        return dict(fields)
    respelled = {key: value for key, value in fields.items() if key != "rope_parameters"}
    scaling = dict(stored)
    for name in ("rope_theta", "partial_rotary_factor"):
        if name in scaling:
            respelled[names.get(name, name)] = scaling.pop(name)
    if scaling.get("rope_type", "default") != "default":
        respelled["rope_scaling"] = scaling
    return respelled
