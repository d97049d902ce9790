"""Wav2Vec2 (Baevski et al. 2020, arXiv:2006.11477)."""

from collections.abc import Sequence
from typing import Any, ClassVar

from model_base.activations import KINDS
from model_base.configs.base import PretrainedConfig
from model_base.configs.bounds import check_fields
from model_base.conversion.rules import Rename, Rule


class Wav2Vec2Config(PretrainedConfig):
    """Hyperparameters of Wav2Vec2; the defaults are those of wav2vec2-base-960h.

    ``conv_dim``, ``conv_stride`` and ``conv_kernel`` have an entry for each layer that turns
    samples into frames. Fields of pre-training and of other heads are kept, not used.

    Source: transformers 4.19.2, ``configuration_wav2vec2.py``.

    Raises:
        ValueError: the three lists differ in length.
    """

    model_type: ClassVar[str] = "wav2vec2"
    pads_embedding: ClassVar[bool] = False
    weight_rules: ClassVar[tuple[Rule, ...]] = (
        Rename("parametrizations.weight.original0", "weight_g"),
        Rename("parametrizations.weight.original1", "weight_v"),
    )
    handled: ClassVar[dict[str, tuple[Any, ...]]] = {
        "hidden_act": tuple(KINDS),
        "feat_extract_activation": tuple(KINDS),
        "feat_extract_norm": ("group", "layer"),
        "add_adapter": (False,),
        "adapter_attn_dim": (None,),
        "ctc_loss_reduction": ("sum", "mean", "none"),
    }
    heads: ClassVar[dict[str, str]] = {
        "AutoModel": "Wav2Vec2Model",
        "AutoModelForCTC": "Wav2Vec2ForCTC",
        "AutoModelForAudioClassification": "Wav2Vec2ForSequenceClassification",
    }

    def __init__(
        self,
        vocab_size: int = 32,
        hidden_size: int = 768,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        intermediate_size: int = 3072,
        hidden_act: str = "gelu",
        hidden_dropout: float = 0.1,
        activation_dropout: float = 0.1,
        attention_dropout: float = 0.1,
        feat_proj_dropout: float = 0.0,
        feat_quantizer_dropout: float = 0.0,
        final_dropout: float = 0.1,
        layerdrop: float = 0.1,
        initializer_range: float = 0.02,
        layer_norm_eps: float = 1e-5,
        feat_extract_norm: str = "group",
        feat_extract_activation: str = "gelu",
        conv_dim: Sequence[int] = (512, 512, 512, 512, 512, 512, 512),
        conv_stride: Sequence[int] = (5, 2, 2, 2, 2, 2, 2),
        conv_kernel: Sequence[int] = (10, 3, 3, 3, 3, 2, 2),
        conv_bias: bool = False,
        num_conv_pos_embeddings: int = 128,
        num_conv_pos_embedding_groups: int = 16,
        do_stable_layer_norm: bool = False,
        apply_spec_augment: bool = True,
        mask_time_prob: float = 0.05,
        mask_time_length: int = 10,
        mask_time_min_masks: int = 2,
        mask_feature_prob: float = 0.0,
        mask_feature_length: int = 10,
        mask_feature_min_masks: int = 0,
        ctc_loss_reduction: str = "sum",
        ctc_zero_infinity: bool = False,
        use_weighted_layer_sum: bool = False,
        classifier_proj_size: int = 256,
        pad_token_id: int | None = 0,
        bos_token_id: int | None = 1,
        eos_token_id: int | None = 2,
        **kwargs: Any,
    ) -> None:
        kwargs.pop("num_feat_extract_layers", None)  # the length of conv_dim
        super().__init__(
            pad_token_id=pad_token_id, bos_token_id=bos_token_id, eos_token_id=eos_token_id,
            **kwargs,
        )  # fmt: skip
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.hidden_act = hidden_act
        self.hidden_dropout = hidden_dropout
        self.activation_dropout = activation_dropout
        self.attention_dropout = attention_dropout
        self.feat_proj_dropout = feat_proj_dropout
        self.feat_quantizer_dropout = feat_quantizer_dropout
        self.final_dropout = final_dropout
        self.layerdrop = layerdrop
        self.initializer_range = initializer_range
        self.layer_norm_eps = layer_norm_eps
        self.feat_extract_norm = feat_extract_norm
        self.feat_extract_activation = feat_extract_activation
        check_fields({"conv_dim": conv_dim, "conv_stride": conv_stride, "conv_kernel": conv_kernel})
        self.conv_dim, self.conv_stride = list(conv_dim), list(conv_stride)
        self.conv_kernel = list(conv_kernel)
        self.conv_bias = conv_bias
        self.num_conv_pos_embeddings = num_conv_pos_embeddings
        self.num_conv_pos_embedding_groups = num_conv_pos_embedding_groups
        self.do_stable_layer_norm = do_stable_layer_norm
        self.apply_spec_augment = apply_spec_augment
        self.mask_time_prob = mask_time_prob
        self.mask_time_length = mask_time_length
        self.mask_time_min_masks = mask_time_min_masks
        self.mask_feature_prob = mask_feature_prob
        self.mask_feature_length = mask_feature_length
        self.mask_feature_min_masks = mask_feature_min_masks
        self.ctc_loss_reduction = ctc_loss_reduction
        self.ctc_zero_infinity = ctc_zero_infinity
        self.use_weighted_layer_sum = use_weighted_layer_sum
        self.classifier_proj_size = classifier_proj_size

    @property
    def num_feat_extract_layers(self) -> int:
        """How many layers turn samples into frames."""
        return len(self.conv_dim)

    def num_samples(self, num_frames: int) -> int:
        """How many samples make so many frames."""
        count = num_frames
        for width, stride in zip(self.conv_kernel[::-1], self.conv_stride[::-1], strict=True):
            count = (count - 1) * stride + width
        return count
