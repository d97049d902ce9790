"""How configurations say what rotary position embeddings they use.

Two spellings: up to Transformers 4.57 ``rope_theta`` with ``rope_scaling``, from 5.0 on
``rope_parameters`` (one dict, or one for each type of layer). Both are read into ``Rope``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from model_base.configs.bounds import (
    MAPPING,
    MAX_SIZE,
    NOT_NEGATIVE,
    POSITIVE,
    Kind,
    check_fields,
    listed,
    optional,
    whole,
)
from model_base.errors import UnsupportedConfig

KINDS = ("default", "linear", "dynamic", "yarn", "longrope", "llama3")
_OLD_NAMES = {"su": "longrope"}

_POSITIONS = whole(2, MAX_SIZE)
_FACTORS = listed(POSITIVE, "numbers above 0")
_OPTIONAL: dict[str, Kind] = {
    "factor": optional(POSITIVE),
    "original_max_position_embeddings": optional(_POSITIONS),
    "attention_factor": optional(POSITIVE),
    "beta_fast": optional(NOT_NEGATIVE),
    "beta_slow": optional(NOT_NEGATIVE),
    "mscale": optional(NOT_NEGATIVE),
    "mscale_all_dim": optional(NOT_NEGATIVE),
}
"""Options that every kind may have; 0 is read as the default where it is accepted."""

_NEEDED: dict[str, dict[str, Kind]] = {
    "default": {},
    "linear": {"factor": POSITIVE},
    "dynamic": {"factor": POSITIVE},
    "yarn": {},
    "longrope": {
        "short_factor": _FACTORS, "long_factor": _FACTORS,
        "original_max_position_embeddings": _POSITIONS,
    },
    "llama3": {
        "factor": POSITIVE, "low_freq_factor": POSITIVE, "high_freq_factor": POSITIVE,
        "original_max_position_embeddings": _POSITIONS,
    },
}  # fmt: skip
"""Options that a kind cannot do without."""


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
        UnsupportedConfig: a kind that is not implemented, or an option that is missing or absurd;
            names it.
    """
    stored = _mapping("rope_parameters", getattr(config, "rope_parameters", None))
    if layer_type is not None and layer_type in stored:
        stored = _mapping(f"rope_parameters.{layer_type}", stored[layer_type])
    options = {**_mapping("rope_scaling", getattr(config, "rope_scaling", None)), **stored}
    old, new = options.pop("type", None), options.pop("rope_type", None)
    kind = next((name for name in (new, old) if name is not None), "default")
    kind = _OLD_NAMES.get(kind, kind) if isinstance(kind, str) else kind
    if kind not in KINDS:
        raise UnsupportedConfig("rope_scaling", kind, ", ".join(KINDS))
    theta = _either("rope_theta", options, config, 10000.0)
    part = _either("partial_rotary_factor", options, config, 1.0)
    size = int(config.head_dim * part)
    rope = Rope(kind, float(theta), size, int(config.max_position_embeddings), options)
    _check(rope)
    return rope


def _mapping(name: str, value: Any) -> Mapping[str, Any]:
    """A mapping, empty for None."""
    optional(MAPPING).check(name, value)
    return value or {}


def _either(name: str, options: dict[str, Any], config: Any, default: float) -> Any:
    """A field that is taken out of the options, or else the configuration's, or the default."""
    values = options.pop(name, None), getattr(config, name, None), default
    value = next(value for value in values if value is not None)
    check_fields({name: value})
    return value


def _check(rope: Rope) -> None:
    """Refuse options that the kind lacks or cannot compute with."""
    kind, options = rope.kind, rope.options
    for name, accepted in (_OPTIONAL | _NEEDED[kind]).items():
        accepted.check(f"rope_scaling.{name}", options.get(name))
    least = 4 if kind == "dynamic" else 2
    if rope.size < least or rope.size % 2:
        raise UnsupportedConfig(
            "head_dim", rope.size, f"rotated values of a head: an even number from {least} on"
        )
    if kind == "yarn":
        _check_yarn(rope)
    if kind == "llama3" and options["low_freq_factor"] >= options["high_freq_factor"]:
        limit = f"a number below high_freq_factor, {options['high_freq_factor']}"
        raise UnsupportedConfig("rope_scaling.low_freq_factor", options["low_freq_factor"], limit)
    for name in ("short_factor", "long_factor") if kind == "longrope" else ():
        if len(options[name]) != rope.size // 2:
            limit = f"{rope.size // 2} numbers, one for every two rotated values of a head"
            raise UnsupportedConfig(f"rope_scaling.{name}", options[name], limit)


def _check_yarn(rope: Rope) -> None:
    if not (rope.options.get("factor") or rope.options.get("original_max_position_embeddings")):
        wanted = "a mapping with factor or original_max_position_embeddings"
        raise UnsupportedConfig("rope_scaling", dict(rope.options), wanted)
    if rope.theta <= 1:
        raise UnsupportedConfig("rope_theta", rope.theta, "for yarn, a number above 1")


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
