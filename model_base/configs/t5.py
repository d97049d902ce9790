"""T5 (Raffel et al. 2019, arXiv:1910.10683), versions 1.0 and 1.1."""

from typing import Any, ClassVar

from typing_extensions import override

from model_base.activations import KINDS
from model_base.configs.base import PretrainedConfig
from model_base.configs.bounds import MAX_SIZE, whole
from model_base.errors import UnsupportedConfig


class T5Config(PretrainedConfig):
    """Hyperparameters of T5; the defaults are those of t5-small.

    ``feed_forward_proj`` is an activation's name, with ``gated-`` in front for a gated layer;
    ``gated-gelu`` means the tanh approximation. ``scale_decoder_outputs`` None: if tied.

    Source: transformers 4.19.2 and 5.23, ``configuration_t5.py``.
    """

    model_type: ClassVar[str] = "t5"
    pads_embedding: ClassVar[bool] = False
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "d_model",
        "num_attention_heads": "num_heads",
        "num_hidden_layers": "num_layers",
        "head_dim": "d_kv",
    }
    heads: ClassVar[dict[str, str]] = {
        "AutoModel": "T5Model",
        "AutoModelForSeq2SeqLM": "T5ForConditionalGeneration",
        "AutoModelForPreTraining": "T5ForConditionalGeneration",
    }

    def __init__(
        self,
        vocab_size: int = 32128,
        d_model: int = 512,
        d_kv: int = 64,
        d_ff: int = 2048,
        num_layers: int = 6,
        num_decoder_layers: int | None = None,
        num_heads: int = 8,
        relative_attention_num_buckets: int = 32,
        relative_attention_max_distance: int = 128,
        dropout_rate: float = 0.1,
        layer_norm_epsilon: float = 1e-6,
        initializer_factor: float = 1.0,
        feed_forward_proj: str = "relu",
        is_encoder_decoder: bool = True,
        use_cache: bool = True,
        pad_token_id: int | None = 0,
        eos_token_id: int | None = 1,
        scale_decoder_outputs: bool | None = None,
        **kwargs: Any,
    ) -> None:
        for derived in ("is_gated_act", "dense_act_fn"):  # written by later versions
            kwargs.pop(derived, None)
        super().__init__(
            pad_token_id=pad_token_id, eos_token_id=eos_token_id,
            is_encoder_decoder=is_encoder_decoder, **kwargs,
        )  # fmt: skip
        self.vocab_size = vocab_size
        self.d_model = d_model
        self.d_kv = d_kv
        self.d_ff = d_ff
        self.num_layers = num_layers
        self.num_decoder_layers = num_layers if num_decoder_layers is None else num_decoder_layers
        self.num_heads = num_heads
        self.relative_attention_num_buckets = relative_attention_num_buckets
        self.relative_attention_max_distance = relative_attention_max_distance
        self.dropout_rate = dropout_rate
        self.layer_norm_epsilon = layer_norm_epsilon
        self.initializer_factor = initializer_factor
        self.feed_forward_proj = feed_forward_proj
        self.use_cache = use_cache
        self.scale_decoder_outputs = scale_decoder_outputs

    @property
    def is_gated_act(self) -> bool:
        """Whether the feed-forward layer is gated."""
        return self.feed_forward_proj.startswith("gated-")

    @property
    def dense_act_fn(self) -> str:
        """Name of the feed-forward layer's activation."""
        name = self.feed_forward_proj.removeprefix("gated-")
        return "gelu_new" if name == "gelu" and self.is_gated_act else name

    @override
    def check_supported(self) -> None:
        super().check_supported()
        buckets = self.relative_attention_num_buckets
        whole(4, MAX_SIZE).check("relative_attention_num_buckets", buckets)
        distances = whole(buckets // 2 + 1, MAX_SIZE)
        distances.check("relative_attention_max_distance", self.relative_attention_max_distance)
        stored = self.feed_forward_proj
        if not isinstance(stored, str) or self.dense_act_fn not in KINDS:
            accepted = "with or without 'gated-': " + ", ".join(KINDS)
            raise UnsupportedConfig("feed_forward_proj", stored, accepted)
