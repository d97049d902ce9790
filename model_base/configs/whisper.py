"""Whisper (Radford et al. 2022, arXiv:2212.04356)."""

from typing import Any, ClassVar

from typing_extensions import override

from model_base.activations import KINDS
from model_base.configs.base import PretrainedConfig
from model_base.errors import UnsupportedConfig


class WhisperConfig(PretrainedConfig):
    """Hyperparameters of Whisper; the defaults are those of whisper-tiny.

    ``max_source_positions`` counts frames, each of two columns of the spectrogram.

    Source: transformers 4.57.3, ``configuration_whisper.py``.
    """

    model_type: ClassVar[str] = "whisper"
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "d_model",
        "num_attention_heads": "encoder_attention_heads",
    }
    handled: ClassVar[dict[str, tuple[Any, ...]]] = {"activation_function": tuple(KINDS)}
    heads: ClassVar[dict[str, str]] = {
        "AutoModel": "WhisperModel",
        "AutoModelForSpeechSeq2Seq": "WhisperForConditionalGeneration",
        "AutoModelForPreTraining": "WhisperForConditionalGeneration",
        "AutoModelForAudioClassification": "WhisperForAudioClassification",
    }

    def __init__(
        self,
        vocab_size: int = 51865,
        num_mel_bins: int = 80,
        encoder_layers: int = 4,
        encoder_attention_heads: int = 6,
        decoder_layers: int = 4,
        decoder_attention_heads: int = 6,
        decoder_ffn_dim: int = 1536,
        encoder_ffn_dim: int = 1536,
        encoder_layerdrop: float = 0.0,
        decoder_layerdrop: float = 0.0,
        decoder_start_token_id: int | None = 50257,
        use_cache: bool = True,
        is_encoder_decoder: bool = True,
        activation_function: str = "gelu",
        d_model: int = 384,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        activation_dropout: float = 0.0,
        init_std: float = 0.02,
        scale_embedding: bool = False,
        max_source_positions: int = 1500,
        max_target_positions: int = 448,
        pad_token_id: int | None = 50256,
        bos_token_id: int | None = 50256,
        eos_token_id: int | None = 50256,
        use_weighted_layer_sum: bool = False,
        classifier_proj_size: int = 256,
        apply_spec_augment: bool = False,
        mask_time_prob: float = 0.05,
        mask_time_length: int = 10,
        mask_time_min_masks: int = 2,
        mask_feature_prob: float = 0.0,
        mask_feature_length: int = 10,
        mask_feature_min_masks: int = 0,
        **kwargs: Any,
    ) -> None:
        kwargs["num_hidden_layers"] = encoder_layers
        super().__init__(
            pad_token_id=pad_token_id, bos_token_id=bos_token_id, eos_token_id=eos_token_id,
            is_encoder_decoder=is_encoder_decoder, decoder_start_token_id=decoder_start_token_id,
            **kwargs,
        )  # fmt: skip
        self.vocab_size = vocab_size
        self.num_mel_bins = num_mel_bins
        self.encoder_layers = encoder_layers
        self.encoder_attention_heads = encoder_attention_heads
        self.decoder_layers = decoder_layers
        self.decoder_attention_heads = decoder_attention_heads
        self.decoder_ffn_dim = decoder_ffn_dim
        self.encoder_ffn_dim = encoder_ffn_dim
        self.encoder_layerdrop = encoder_layerdrop
        self.decoder_layerdrop = decoder_layerdrop
        self.use_cache = use_cache
        self.activation_function = activation_function
        self.d_model = d_model
        self.dropout = dropout
        self.attention_dropout = attention_dropout
        self.activation_dropout = activation_dropout
        self.init_std = init_std
        self.scale_embedding = scale_embedding
        self.max_source_positions = max_source_positions
        self.max_target_positions = max_target_positions
        self.use_weighted_layer_sum = use_weighted_layer_sum
        self.classifier_proj_size = classifier_proj_size
        self.apply_spec_augment = apply_spec_augment
        self.mask_time_prob = mask_time_prob
        self.mask_time_length = mask_time_length
        self.mask_time_min_masks = mask_time_min_masks
        self.mask_feature_prob = mask_feature_prob
        self.mask_feature_length = mask_feature_length
        self.mask_feature_min_masks = mask_feature_min_masks

    @property
    @override
    def max_tokens(self) -> int:
        return int(self.max_target_positions)

    @override
    def check_supported(self) -> None:
        super().check_supported()
        if self.d_model % 2 or self.d_model < 4:  # half of the sinusoids are sines
            raise UnsupportedConfig("d_model", self.d_model, "an even number, 4 or more")
