"""Which values the fields of a configuration may have, decided by their names.

A config file is written by strangers: a size of 2**70 must be refused by its name before
anything is counted, allocated or divided by it.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from model_base.errors import UnsupportedConfig

MAX_COUNT = 4096
MAX_SIZE = 2**31 - 1
MAX_NUMBER = 1e15


class Kind(NamedTuple):
    """A kind of field.

    Attributes:
        accepts: whether a value is one of it.
        accepted: the same in words.
    """

    accepts: Callable[[Any], bool]
    accepted: str

    def check(self, name: str, value: Any) -> None:
        """Refuse a value of another kind.

        Raises:
            UnsupportedConfig: naming the field, its value and what is accepted.
        """
        if not self.accepts(value):
            raise UnsupportedConfig(name, value, self.accepted)


def whole(low: int, high: int) -> Kind:
    """Integers of a range; true and false are none."""
    return Kind(lambda v: type(v) is int and low <= v <= high, f"an integer, {low} to {high}")


def optional(kind: Kind) -> Kind:
    """A kind, or None."""
    return Kind(lambda v: v is None or kind.accepts(v), f"None or {kind.accepted}")


def listed(kind: Kind, names: str) -> Kind:
    """Lists of at least one value of a kind, which ``names`` calls by a noun in the plural."""
    return Kind(
        lambda v: isinstance(v, list | tuple) and bool(v) and all(map(kind.accepts, v)),
        f"a list of {names}",
    )


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= MAX_NUMBER


COUNT = whole(1, MAX_COUNT)
SIZE = whole(1, MAX_SIZE)
NATURAL = whole(0, MAX_SIZE)
NUMBER = Kind(_is_number, f"a number, {-MAX_NUMBER:g} to {MAX_NUMBER:g}")
POSITIVE = Kind(lambda v: _is_number(v) and v > 0, f"a number above 0, at most {MAX_NUMBER:g}")
NOT_NEGATIVE = Kind(lambda v: _is_number(v) and v >= 0, f"a number, 0 to {MAX_NUMBER:g}")
SHARE = Kind(lambda v: _is_number(v) and 0 < v <= 1, "a number above 0, at most 1")
PROBABILITY = Kind(lambda v: _is_number(v) and 0 <= v <= 1, "a number, 0 to 1")
_PAIR = Kind(
    lambda v: isinstance(v, list | tuple) and len(v) == 2 and all(map(SIZE.accepts, v)), ""
)
SIDES = Kind(
    lambda v: SIZE.accepts(v) or _PAIR.accepts(v), f"{SIZE.accepted}, or two of them in a list"
)
NAMES = listed(Kind(lambda v: isinstance(v, str), ""), "names")
SIZES = listed(SIZE, f"integers, each 1 to {MAX_SIZE}")
MAPPING = Kind(lambda v: isinstance(v, Mapping), "a mapping")
_TOKEN = whole(-1, MAX_SIZE)
TOKENS = Kind(
    lambda v: v is None or _TOKEN.accepts(v) or listed(_TOKEN, "").accepts(v),
    f"None, {_TOKEN.accepted}, or a list of such",
)

_FIELDS: tuple[tuple[Kind, str], ...] = (
    (COUNT, """
        encoder_layers decoder_layers num_hidden_layers n_layer n_layers num_layers
        num_decoder_layers num_hidden_groups inner_group_num num_attention_heads num_heads n_head
        n_heads encoder_attention_heads decoder_attention_heads num_key_value_heads
        global_attn_every_n_layers sliding_window_pattern num_conv_pos_embedding_groups"""),
    (SIZE, """
        vocab_size type_vocab_size hidden_size embedding_size intermediate_size d_model d_ff d_kv
        dim hidden_dim n_embd ffn_dim encoder_ffn_dim decoder_ffn_dim head_dim projection_dim
        projection_size word_embed_proj_dim pooler_output_size classifier_proj_size num_channels
        num_mel_bins max_position_embeddings n_positions max_source_positions
        max_target_positions relative_attention_num_buckets relative_attention_max_distance
        num_conv_pos_embeddings local_attention encoder_stride mask_time_length
        mask_feature_length"""),
    (optional(SIZE), "n_inner cross_attention_hidden_size sliding_window"),
    (SIDES, "image_size patch_size"),
    (NATURAL, """
        max_window_layers chunk_size_feed_forward mask_time_min_masks mask_feature_min_masks"""),
    (PROBABILITY, """
        hidden_dropout_prob attention_probs_dropout_prob hidden_dropout attention_dropout
        activation_dropout embedding_dropout mlp_dropout feat_proj_dropout feat_quantizer_dropout
        final_dropout qa_dropout seq_classif_dropout dropout dropout_rate attn_pdrop embd_pdrop
        resid_pdrop summary_first_dropout summary_last_dropout layerdrop encoder_layerdrop
        decoder_layerdrop mask_time_prob mask_feature_prob"""),
    (optional(PROBABILITY), "classifier_dropout classifier_dropout_prob"),
    (optional(SHARE), "partial_rotary_factor rotary_pct"),
    (POSITIVE, """
        layer_norm_eps layer_norm_epsilon norm_eps rms_norm_eps initializer_range init_std
        initializer_factor initializer_cutoff_factor global_rope_theta rotary_emb_base
        rope_local_base_freq query_pre_attn_scalar"""),
    (optional(POSITIVE), """
        rope_theta local_rope_theta final_logit_softcapping attn_logit_softcapping"""),
    (NUMBER, "logit_scale_init_value"),
    (TOKENS, """
        pad_token_id bos_token_id eos_token_id sep_token_id cls_token_id decoder_start_token_id
        forced_bos_token_id forced_eos_token_id"""),
    (SIZES, "conv_dim conv_kernel conv_stride"),
    (NAMES, "layer_types"),
    (optional(MAPPING), "rope_scaling rope_parameters"),
)  # fmt: skip

KINDS: dict[str, Kind] = {name: kind for kind, names in _FIELDS for name in names.split()}
"""The kind of each field; a field that is not here may have any value. One whose default is
another field's value comes after it, so that the one that was stored is named."""

_DIVISORS = (
    ("num_key_value_heads", "num_attention_heads"),
    ("num_conv_pos_embedding_groups", "hidden_size"),
)
_AS_LONG_AS = (("conv_kernel", "conv_dim"), ("conv_stride", "conv_dim"))


def check_fields(fields: Mapping[str, Any]) -> None:
    """Refuse fields of which the value is absurd.

    Raises:
        UnsupportedConfig: naming the field, its value and what is accepted.
    """
    for name, kind in KINDS.items():
        if name in fields:
            kind.check(name, fields[name])
    for name, other in _both(fields, _DIVISORS):
        if fields[other] % fields[name]:
            raise UnsupportedConfig(name, fields[name], f"a divisor of {other}, {fields[other]}")
    for name, other in _both(fields, _AS_LONG_AS):
        if (count := len(fields[other])) != len(fields[name]):
            raise UnsupportedConfig(name, fields[name], f"{count} integers, as many as {other}")


def check_pad_token(fields: Mapping[str, Any]) -> None:
    """Refuse a padding token that has no row in the table of embeddings.

    Raises:
        UnsupportedConfig: naming the field, its value and what is accepted.
    """
    if "vocab_size" in fields:
        kind = optional(whole(-1, fields["vocab_size"] - 1))
        kind.check("pad_token_id", fields.get("pad_token_id"))


def check_square(config: Any) -> None:
    """Refuse images and patches given by height and width, where they must be square.

    Raises:
        UnsupportedConfig: naming the field, its value and what is accepted.
    """
    for name in ("image_size", "patch_size"):
        SIZE.check(name, getattr(config, name))


def _both(fields: Mapping[str, Any], pairs: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    return [pair for pair in pairs if all(fields.get(name) is not None for name in pair)]
