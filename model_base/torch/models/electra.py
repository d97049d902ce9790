"""ELECTRA (Clark et al. 2020, arXiv:2003.10555) and its heads.

The generator fills masks, the discriminator (``ElectraForPreTraining``) tells which tokens were
filled.

Shape letters: B batch, L length, E embedding, H hidden, V vocabulary. ``[…]`` stands for the axes
of the tokens, which are the layout's: ``[B, L]`` padded, ``[T]`` packed. Arguments that a head
does not explain are those of ``post_norm.Encoder.forward``.

Source: transformers 4.19.2, ``modeling_electra.py`` (names, outputs, losses).
"""

# Calling a module is Any to the type checker; every forward here says what it returns.
# mypy: disable-error-code="no-any-return"

from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from model_base import forward, outputs
from model_base.configs.electra import ElectraConfig
from model_base.torch import heads, layers, post_norm
from model_base.torch.arguments import Flag, Maybe
from model_base.torch.base import PreTrainedModel
from model_base.torch.layouts import Layout
from model_base.torch.post_norm import PostNormLayer


class ElectraPreTrainedModel(PreTrainedModel):
    """What all ELECTRA models share: configuration, names, how weights start."""

    config_class: ClassVar[Any] = ElectraConfig
    base_model_prefix = "electra"
    supports_gradient_checkpointing: ClassVar[bool] = True
    _keys_to_ignore_on_load_unexpected: list[str] | None = [
        r"position_ids", r"electra\.embeddings_project\.weight",
        r"electra\.embeddings_project\.bias",
    ]  # fmt: skip


class ElectraModel(post_norm.Encoder, ElectraPreTrainedModel):
    """The trunk. An encoder, or a decoder if ``config.is_decoder``."""

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__(config)
        self.embeddings = post_norm.Embeddings(config, config.embedding_size)
        if config.embedding_size != config.hidden_size:
            self.embeddings_project = nn.Linear(config.embedding_size, config.hidden_size)
        blocks = (PostNormLayer(config, i) for i in range(config.num_hidden_layers))
        self.encoder: Any = nn.ModuleDict({"layer": nn.ModuleList(blocks)})
        self.gradient_checkpointing = False
        self.post_init()

    @override
    def embed(
        self, input_ids: Maybe, token_type_ids: Maybe, inputs_embeds: Maybe, layout: Layout
    ) -> Tensor:
        """``[…, H]`` of ids ``[…]``, or of embeddings ``[…, E]`` in their place."""
        hidden = super().embed(input_ids, token_type_ids, inputs_embeds, layout)
        return self.embeddings_project(hidden) if hasattr(self, "embeddings_project") else hidden


class ElectraForPreTraining(ElectraPreTrainedModel):
    """The discriminator: which tokens are not those of the text."""

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__(config)
        self.electra = ElectraModel(config)
        self.discriminator_predictions = layers.named(
            dense=nn.Linear(config.hidden_size, config.hidden_size),
            activation=layers.Activation(config.hidden_act),
            dense_prediction=nn.Linear(config.hidden_size, 1),
        )
        self.post_init()

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, token_type_ids: Maybe = None,
        position_ids: Maybe = None, head_mask: Maybe = None, inputs_embeds: Maybe = None,
        labels: Maybe = None, output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Logits ``[…]``; labels ``[B, L]``, 1 where a token was replaced, 0 where not."""
        trunk = self.electra(
            input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds,
            output_attentions=output_attentions, output_hidden_states=output_hidden_states,
            return_dict=True, layout=layout,
        )  # fmt: skip
        logits = self.discriminator_predictions(trunk.last_hidden_state).squeeze(-1)
        loss = None
        if labels is not None:
            weight = None if attention_mask is None else attention_mask == 1
            loss = binary_loss(logits, labels, weight)
        output = outputs.ElectraForPreTrainingOutput(loss, logits)
        return forward.finish(output, self.config, return_dict, trunk)


def binary_loss(logits: Tensor, labels: Tensor, kept: Maybe) -> Tensor:
    """Mean binary cross entropy over the tokens that are kept; None keeps all."""
    if kept is not None:
        logits, labels = logits[kept], labels[kept]
    return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))


class ElectraTokenPredictor(ElectraPreTrainedModel):
    """What the models with a vocabulary head share: the trunk, the head, access to its end."""

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__(config)
        self.electra = ElectraModel(config)
        size = config.embedding_size
        self.generator_predictions = layers.named(
            dense=nn.Linear(config.hidden_size, size),
            activation=layers.Activation("gelu"),
            LayerNorm=nn.LayerNorm(size, eps=config.layer_norm_eps),
        )
        self.generator_lm_head: Any = nn.Linear(size, config.vocab_size)
        self.post_init()

    @override
    def get_output_embeddings(self) -> nn.Module:
        return self.generator_lm_head

    @override
    def set_output_embeddings(self, value: Any) -> None:
        self.generator_lm_head = value

    def token_scores(self, hidden: Tensor) -> Tensor:
        """``[…, H]`` → ``[…, V]``."""
        return self.generator_lm_head(self.generator_predictions(hidden))


class ElectraForMaskedLM(heads.Labeller, ElectraTokenPredictor):
    """The generator: logits ``[…, V]`` of masked tokens, labels int64 ``[B, L]``, -100 for none."""

    @override
    def head(self, trunk: Any, labels: Maybe, layout: Layout | None) -> outputs.ModelOutput:
        scores = self.token_scores(trunk.last_hidden_state)
        return outputs.MaskedLMOutput(layers.token_loss(scores, labels), scores)


class ElectraForCausalLM(heads.NextTokenWithCrossAttention, ElectraTokenPredictor):
    """The next token; for configurations with ``is_decoder``."""


def dropout_of(config: ElectraConfig) -> float:
    """A classifier's rate: its own, or the hidden states'."""
    own = config.classifier_dropout
    return config.hidden_dropout_prob if own is None else own


class ElectraForSequenceClassification(heads.FirstTokenLabeller, ElectraPreTrainedModel):
    """A label for each text, or a number, read at its first token."""

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.electra = ElectraModel(config)
        size, rate = config.hidden_size, dropout_of(config)
        self.classifier = layers.named(
            dense=layers.DropoutLinear(size, size, rate),
            activation=layers.Activation("gelu"),
            out_proj=layers.DropoutLinear(size, config.num_labels, rate),
        )
        self.post_init()


class ElectraForTokenClassification(heads.Labeller, ElectraPreTrainedModel):
    """A label for each token: logits ``[…, labels]``, labels int64 ``[B, L]``, -100 for none."""

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.electra = ElectraModel(config)
        rate = dropout_of(config)
        self.classifier = layers.DropoutLinear(config.hidden_size, config.num_labels, rate)
        self.post_init()

    @override
    def head(self, trunk: Any, labels: Maybe, layout: Layout | None) -> outputs.ModelOutput:
        logits = self.classifier(trunk.last_hidden_state)
        return outputs.TokenClassifierOutput(layers.token_loss(logits, labels), logits)


class ElectraForMultipleChoice(heads.Chooser, ElectraPreTrainedModel):
    """Which of several continuations; inputs are ``[B, choices, L]``."""

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__(config)
        self.electra = ElectraModel(config)
        size, rate = config.hidden_size, config.summary_last_dropout
        self.sequence_summary = layers.named(
            summary=nn.Linear(size, size),
            activation=layers.Activation(config.summary_activation),
            dropout=nn.Dropout(rate),
        )
        self.classifier = nn.Linear(size, 1)
        self.post_init()

    @override
    def score(self, trunk: Any) -> Tensor:
        return self.classifier(self.sequence_summary(trunk.last_hidden_state[:, 0]))


class ElectraForQuestionAnswering(heads.SpanFinder, ElectraPreTrainedModel):
    """Where an answer starts and ends."""

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.electra = ElectraModel(config)
        self.qa_outputs = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()
