"""BERT (Devlin et al. 2018, arXiv:1810.04805) and its heads.

Shape letters: B batch, L length, H hidden, V vocabulary. ``[…]`` stands for the axes of the tokens,
which are the layout's: ``[B, L]`` padded, ``[T]`` packed. Arguments that a head does
not explain are those of ``post_norm.Encoder.forward``.

Source: transformers 4.19.2, ``modeling_bert.py`` (names, outputs, losses).
"""

# Calling a module is Any to the type checker; every forward here says what it returns.
# mypy: disable-error-code="no-any-return"

from typing import Any, ClassVar

from torch import Tensor, nn
from typing_extensions import override

from model_base import forward, outputs
from model_base.configs.bert import BertConfig
from model_base.torch import heads, layers, post_norm
from model_base.torch.arguments import Flag, Maybe
from model_base.torch.base import PreTrainedModel
from model_base.torch.layouts import Layout
from model_base.torch.post_norm import PostNormLayer


class BertPreTrainedModel(PreTrainedModel):
    """What all BERT models share: configuration, names, how weights start."""

    config_class: ClassVar[Any] = BertConfig
    base_model_prefix = "bert"
    supports_gradient_checkpointing: ClassVar[bool] = True
    _keys_to_ignore_on_load_unexpected: list[str] | None = [r"position_ids"]


def pooler(config: BertConfig) -> nn.Module:
    """What becomes of the first token, ``[B, H]`` → ``[B, H]``."""
    return layers.named(dense=nn.Linear(config.hidden_size, config.hidden_size), tanh=nn.Tanh())


class BertModel(post_norm.PooledEncoder, BertPreTrainedModel):
    """The trunk. An encoder, or a decoder if ``config.is_decoder``.

    Args:
        config: the configuration.
        add_pooling_layer: whether ``pooler_output`` is computed.
    """

    def __init__(self, config: BertConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        self.embeddings = post_norm.Embeddings(config, config.hidden_size)
        blocks = (PostNormLayer(config, i) for i in range(config.num_hidden_layers))
        self.encoder: Any = nn.ModuleDict({"layer": nn.ModuleList(blocks)})
        self.gradient_checkpointing = False
        self.pooler = pooler(config) if add_pooling_layer else None
        self.post_init()


def token_head(config: BertConfig) -> nn.Module:
    """Scores of the vocabulary, ``[…, H]`` → ``[…, V]``."""
    size = config.hidden_size
    transform = layers.named(
        dense=nn.Linear(size, size),
        activation=layers.Activation(config.hidden_act),
        LayerNorm=nn.LayerNorm(size, eps=config.layer_norm_eps),
    )
    decoder = nn.Linear(size, config.vocab_size)
    head = layers.named(transform=transform, decoder=decoder)
    head.bias = decoder.bias  # checkpoints know it by both names
    return head


class BertTokenPredictor(BertPreTrainedModel):
    """What the models with a vocabulary head share: its scores, access to its decoder."""

    cls: Any

    @override
    def get_output_embeddings(self) -> nn.Module:
        return self.cls.predictions.decoder

    @override
    def set_output_embeddings(self, value: Any) -> None:
        self.cls.predictions.decoder, self.cls.predictions.bias = value, value.bias

    def token_scores(self, hidden: Tensor) -> Tensor:
        """``[…, H]`` → ``[…, V]``."""
        return self.cls.predictions(hidden)


class BertForPreTraining(BertTokenPredictor):
    """Masked tokens and next sentence, as BERT was trained."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        self.cls = nn.ModuleDict({
            "predictions": token_head(config),
            "seq_relationship": nn.Linear(config.hidden_size, 2),
        })  # fmt: skip
        self.post_init()

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, token_type_ids: Maybe = None,
        position_ids: Maybe = None, head_mask: Maybe = None, inputs_embeds: Maybe = None,
        labels: Maybe = None, next_sentence_label: Maybe = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Logits ``[…, V]`` and ``[B, 2]``; a loss if both labels, ``[B, L]`` and ``[B]``, are."""
        trunk = self.bert(
            input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds,
            output_attentions=output_attentions, output_hidden_states=output_hidden_states,
            return_dict=True, layout=layout,
        )  # fmt: skip
        scores = self.token_scores(trunk.last_hidden_state)
        relation_B2 = self.cls.seq_relationship(trunk.pooler_output)
        relation_loss = layers.token_loss(relation_B2, next_sentence_label)
        loss = forward.total(layers.token_loss(scores, labels), relation_loss)
        output = outputs.PreTrainingOutput(loss, scores, relation_B2)
        return forward.finish(output, self.config, return_dict, trunk)


class BertForMaskedLM(heads.MaskedToken, BertTokenPredictor):
    """Masked tokens."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.cls = nn.ModuleDict({"predictions": token_head(config)})
        self.post_init()


class BertLMHeadModel(heads.NextTokenWithCrossAttention, BertTokenPredictor):
    """The next token; for configurations with ``is_decoder``."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.cls = nn.ModuleDict({"predictions": token_head(config)})
        self.post_init()


class BertForNextSentencePrediction(heads.Labeller, BertPreTrainedModel):
    """Whether the second sentence follows the first: logits ``[B, 2]``, labels int64 ``[B]``."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        self.cls = nn.ModuleDict({"seq_relationship": nn.Linear(config.hidden_size, 2)})
        self.post_init()

    @override
    def head(self, trunk: Any, labels: Maybe, layout: Layout | None) -> outputs.ModelOutput:
        logits_B2 = self.cls["seq_relationship"](trunk.pooler_output)
        return outputs.NextSentencePredictorOutput(layers.token_loss(logits_B2, labels), logits_B2)


def classifier(config: BertConfig, num_labels: int) -> nn.Linear:
    """With dropout before it: at its own rate, or the hidden states'."""
    rate = config.classifier_dropout
    rate = config.hidden_dropout_prob if rate is None else rate
    return layers.DropoutLinear(config.hidden_size, num_labels, rate)


class BertForSequenceClassification(heads.Labeller, BertPreTrainedModel):
    """A label for each text, or a number: logits ``[B, labels]``, labels as ``sequence_loss``."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.bert = BertModel(config)
        self.classifier = classifier(config, config.num_labels)
        self.post_init()

    @override
    def head(self, trunk: Any, labels: Maybe, layout: Layout | None) -> outputs.ModelOutput:
        logits = self.classifier(trunk.pooler_output)
        loss = layers.sequence_loss(logits, labels, self.config)
        return outputs.SequenceClassifierOutput(loss, logits)


class BertForTokenClassification(heads.Labeller, BertPreTrainedModel):
    """A label for each token: logits ``[…, labels]``, labels int64 ``[B, L]``, -100 for none."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.bert = BertModel(config, add_pooling_layer=False)
        self.classifier = classifier(config, config.num_labels)
        self.post_init()

    @override
    def head(self, trunk: Any, labels: Maybe, layout: Layout | None) -> outputs.ModelOutput:
        logits = self.classifier(trunk.last_hidden_state)
        return outputs.TokenClassifierOutput(layers.token_loss(logits, labels), logits)


class BertForMultipleChoice(heads.Chooser, BertPreTrainedModel):
    """Which of several continuations; inputs are ``[B, choices, L]``."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        self.classifier = classifier(config, 1)
        self.post_init()

    @override
    def score(self, trunk: Any) -> Tensor:
        return self.classifier(trunk.pooler_output)


class BertForQuestionAnswering(heads.SpanFinder, BertPreTrainedModel):
    """Where an answer starts and ends."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.bert = BertModel(config, add_pooling_layer=False)
        self.qa_outputs = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()
