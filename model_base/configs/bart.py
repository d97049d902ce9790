"""BART (Lewis et al. 2019, arXiv:1910.13461)."""

from typing import Any, ClassVar

from model_base.activations import KINDS
from model_base.configs.base import PretrainedConfig


class BartConfig(PretrainedConfig):
    """Hyperparameters of BART; the defaults are those of bart-large.

    Source: transformers 4.19.2, ``configuration_bart.py``.
    """

    model_type: ClassVar[str] = "bart"
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "d_model",
        "num_attention_heads": "encoder_attention_heads",
    }
    handled: ClassVar[dict[str, tuple[Any, ...]]] = {
        "activation_function": tuple(KINDS),
        "normalize_before": (False,),
        "normalize_embedding": (True,),
        "add_final_layer_norm": (False,),
        "static_position_embeddings": (False,),
    }
    heads: ClassVar[dict[str, str]] = {
        "AutoModel": "BartModel",
        "AutoModelForSeq2SeqLM": "BartForConditionalGeneration",
        "AutoModelForMaskedLM": "BartForConditionalGeneration",
        "AutoModelForPreTraining": "BartForConditionalGeneration",
        "AutoModelForCausalLM": "BartForCausalLM",
        "AutoModelForSequenceClassification": "BartForSequenceClassification",
        "AutoModelForQuestionAnswering": "BartForQuestionAnswering",
    }

    def __init__(
        self,
        vocab_size: int = 50265,
        max_position_embeddings: int = 1024,
        encoder_layers: int = 12,
        encoder_ffn_dim: int = 4096,
        encoder_attention_heads: int = 16,
        decoder_layers: int = 12,
        decoder_ffn_dim: int = 4096,
        decoder_attention_heads: int = 16,
        encoder_layerdrop: float = 0.0,
        decoder_layerdrop: float = 0.0,
        activation_function: str = "gelu",
        d_model: int = 1024,
        dropout: float = 0.1,
        attention_dropout: float = 0.0,
        activation_dropout: float = 0.0,
        init_std: float = 0.02,
        classifier_dropout: float = 0.0,
        scale_embedding: bool = False,
        use_cache: bool = True,
        pad_token_id: int | None = 1,
        bos_token_id: int | None = 0,
        eos_token_id: int | None = 2,
        is_encoder_decoder: bool = True,
        decoder_start_token_id: int | None = 2,
        forced_eos_token_id: int | None = 2,
        **kwargs: Any,
    ) -> None:
        kwargs["num_hidden_layers"] = encoder_layers
        if not kwargs.get("id2label"):
            kwargs.setdefault("num_labels", 3)
        super().__init__(
            pad_token_id=pad_token_id, bos_token_id=bos_token_id, eos_token_id=eos_token_id,
            is_encoder_decoder=is_encoder_decoder, decoder_start_token_id=decoder_start_token_id,
            forced_eos_token_id=forced_eos_token_id, **kwargs,
        )  # fmt: skip
        self.vocab_size = vocab_size
        self.max_position_embeddings = max_position_embeddings
        self.encoder_layers = encoder_layers
        self.encoder_ffn_dim = encoder_ffn_dim
        self.encoder_attention_heads = encoder_attention_heads
        self.decoder_layers = decoder_layers
        self.decoder_ffn_dim = decoder_ffn_dim
        self.decoder_attention_heads = decoder_attention_heads
        self.encoder_layerdrop = encoder_layerdrop
        self.decoder_layerdrop = decoder_layerdrop
        self.activation_function = activation_function
        self.d_model = d_model
        self.dropout = dropout
        self.attention_dropout = attention_dropout
        self.activation_dropout = activation_dropout
        self.init_std = init_std
        self.classifier_dropout = classifier_dropout
        self.scale_embedding = scale_embedding
        self.use_cache = use_cache
