"""RoBERTa (Liu et al. 2019, arXiv:1907.11692) and its heads; XLM-RoBERTa and CamemBERT.

Shape letters: B batch, L length, H hidden, V vocabulary. ``[…]`` stands for the axes of the tokens,
which are the layout's: ``[B, L]`` padded, ``[T]`` packed. Arguments that a head does
not explain are those of ``post_norm.Encoder.forward``.

Source: transformers 4.19.2, ``modeling_roberta.py`` (names, outputs, losses).
"""

# Calling a module is Any to the type checker; every forward here says what it returns.
# mypy: disable-error-code="no-any-return"

from typing import Any, ClassVar

from torch import Tensor, nn
from typing_extensions import override

from model_base import outputs
from model_base.configs.roberta import CamembertConfig, RobertaConfig, XLMRobertaConfig
from model_base.torch import heads, layers, post_norm
from model_base.torch.arguments import Maybe
from model_base.torch.base import PreTrainedModel
from model_base.torch.layouts import Layout
from model_base.torch.post_norm import PostNormLayer


class RobertaPreTrainedModel(PreTrainedModel):
    """What all RoBERTa models share: configuration, names, how weights start."""

    config_class: ClassVar[Any] = RobertaConfig
    base_model_prefix = "roberta"
    supports_gradient_checkpointing: ClassVar[bool] = True
    _keys_to_ignore_on_load_unexpected: list[str] | None = [r"position_ids", r"pooler"]


class RobertaModel(post_norm.PooledEncoder, RobertaPreTrainedModel):
    """The trunk. An encoder, or a decoder if ``config.is_decoder``.

    Args:
        config: the configuration.
        add_pooling_layer: whether ``pooler_output`` is computed.
    """

    def __init__(self, config: RobertaConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        self.embeddings = post_norm.Embeddings(config, config.hidden_size, config.pad_token_id)
        blocks = (PostNormLayer(config, i) for i in range(config.num_hidden_layers))
        self.encoder: Any = nn.ModuleDict({"layer": nn.ModuleList(blocks)})
        self.gradient_checkpointing = False
        size = config.hidden_size
        pooler = layers.named(dense=nn.Linear(size, size), tanh=nn.Tanh())
        self.pooler = pooler if add_pooling_layer else None
        self.post_init()

    @override
    def positions(self, input_ids: Maybe, position_ids: Maybe, past_key_values: Any) -> Maybe:
        """Rows of the table count from its first; without them padding is not counted: -1 there."""
        if position_ids is not None:
            return position_ids - self.embeddings.first_row
        if input_ids is None:
            return None
        past = past_key_values[0][0].shape[2] if past_key_values is not None else 0
        is_text = (input_ids != self.config.pad_token_id).long()
        return (is_text.cumsum(dim=1) + past) * is_text - 1


def token_head(config: RobertaConfig) -> nn.Module:
    """Scores of the vocabulary, ``[…, H]`` → ``[…, V]``."""
    size = config.hidden_size
    decoder = nn.Linear(size, config.vocab_size)
    head = layers.named(
        dense=nn.Linear(size, size),
        activation=layers.Activation("gelu"),
        layer_norm=nn.LayerNorm(size, eps=config.layer_norm_eps),
        decoder=decoder,
    )
    head.bias = decoder.bias  # checkpoints know it by both names
    return head


class RobertaTokenPredictor(RobertaPreTrainedModel):
    """What the models with a vocabulary head share: the trunk, the head, access to its decoder."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        self.roberta = RobertaModel(config, add_pooling_layer=False)
        self.lm_head: Any = token_head(config)
        self.post_init()

    @override
    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head.decoder

    @override
    def set_output_embeddings(self, value: Any) -> None:
        self.lm_head.decoder, self.lm_head.bias = value, value.bias

    def token_scores(self, hidden: Tensor) -> Tensor:
        """``[…, H]`` → ``[…, V]``."""
        return self.lm_head(hidden)


class RobertaForMaskedLM(heads.MaskedToken, RobertaTokenPredictor):
    """Masked tokens."""


class RobertaForCausalLM(heads.NextTokenWithCrossAttention, RobertaTokenPredictor):
    """The next token; for configurations with ``is_decoder``."""


def dropout_of(config: RobertaConfig) -> float:
    """A classifier's rate: its own, or the hidden states'."""
    own = config.classifier_dropout
    return config.hidden_dropout_prob if own is None else own


class RobertaForSequenceClassification(heads.FirstTokenLabeller, RobertaPreTrainedModel):
    """A label for each text, or a number, read at its first token."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.roberta = RobertaModel(config, add_pooling_layer=False)
        size, rate = config.hidden_size, dropout_of(config)
        self.classifier = layers.named(
            dense=layers.DropoutLinear(size, size, rate),
            tanh=nn.Tanh(),
            out_proj=layers.DropoutLinear(size, config.num_labels, rate),
        )
        self.post_init()


class RobertaForTokenClassification(heads.Labeller, RobertaPreTrainedModel):
    """A label for each token: logits ``[…, labels]``, labels int64 ``[B, L]``, -100 for none."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.roberta = RobertaModel(config, add_pooling_layer=False)
        rate = dropout_of(config)
        self.classifier = layers.DropoutLinear(config.hidden_size, config.num_labels, rate)
        self.post_init()

    @override
    def head(self, trunk: Any, labels: Maybe, layout: Layout | None) -> outputs.ModelOutput:
        logits = self.classifier(trunk.last_hidden_state)
        return outputs.TokenClassifierOutput(layers.token_loss(logits, labels), logits)


class RobertaForMultipleChoice(heads.Chooser, RobertaPreTrainedModel):
    """Which of several continuations; inputs are ``[B, choices, L]``."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        self.roberta = RobertaModel(config)
        rate = config.hidden_dropout_prob
        self.classifier = layers.DropoutLinear(config.hidden_size, 1, rate)
        self.post_init()

    @override
    def score(self, trunk: Any) -> Tensor:
        return self.classifier(trunk.pooler_output)


class RobertaForQuestionAnswering(heads.SpanFinder, RobertaPreTrainedModel):
    """Where an answer starts and ends."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.roberta = RobertaModel(config, add_pooling_layer=False)
        self.qa_outputs = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()


class XLMRobertaPreTrainedModel(RobertaPreTrainedModel):
    """What all XLM-RoBERTa models share."""

    config_class: ClassVar[Any] = XLMRobertaConfig


class XLMRobertaModel(RobertaModel):
    """XLM-RoBERTa: the trunk."""

    config_class: ClassVar[Any] = XLMRobertaConfig


class XLMRobertaForMaskedLM(RobertaForMaskedLM):
    """XLM-RoBERTa: masked tokens."""

    config_class: ClassVar[Any] = XLMRobertaConfig


class XLMRobertaForCausalLM(RobertaForCausalLM):
    """XLM-RoBERTa: the next token; for configurations with ``is_decoder``."""

    config_class: ClassVar[Any] = XLMRobertaConfig


class XLMRobertaForSequenceClassification(RobertaForSequenceClassification):
    """XLM-RoBERTa: a label for each text, or a number."""

    config_class: ClassVar[Any] = XLMRobertaConfig


class XLMRobertaForTokenClassification(RobertaForTokenClassification):
    """XLM-RoBERTa: a label for each token."""

    config_class: ClassVar[Any] = XLMRobertaConfig


class XLMRobertaForMultipleChoice(RobertaForMultipleChoice):
    """XLM-RoBERTa: which of several continuations."""

    config_class: ClassVar[Any] = XLMRobertaConfig


class XLMRobertaForQuestionAnswering(RobertaForQuestionAnswering):
    """XLM-RoBERTa: where an answer starts and ends."""

    config_class: ClassVar[Any] = XLMRobertaConfig


class CamembertPreTrainedModel(RobertaPreTrainedModel):
    """What all CamemBERT models share."""

    config_class: ClassVar[Any] = CamembertConfig


class CamembertModel(RobertaModel):
    """CamemBERT: the trunk."""

    config_class: ClassVar[Any] = CamembertConfig


class CamembertForMaskedLM(RobertaForMaskedLM):
    """CamemBERT: masked tokens."""

    config_class: ClassVar[Any] = CamembertConfig


class CamembertForCausalLM(RobertaForCausalLM):
    """CamemBERT: the next token; for configurations with ``is_decoder``."""

    config_class: ClassVar[Any] = CamembertConfig


class CamembertForSequenceClassification(RobertaForSequenceClassification):
    """CamemBERT: a label for each text, or a number."""

    config_class: ClassVar[Any] = CamembertConfig


class CamembertForTokenClassification(RobertaForTokenClassification):
    """CamemBERT: a label for each token."""

    config_class: ClassVar[Any] = CamembertConfig


class CamembertForMultipleChoice(RobertaForMultipleChoice):
    """CamemBERT: which of several continuations."""

    config_class: ClassVar[Any] = CamembertConfig


class CamembertForQuestionAnswering(RobertaForQuestionAnswering):
    """CamemBERT: where an answer starts and ends."""

    config_class: ClassVar[Any] = CamembertConfig
