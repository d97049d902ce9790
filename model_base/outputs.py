"""What models return, the same for every stack.

A ``ModelOutput`` is an ordered mapping without its None entries; it can be read by attribute,
by name, and by position as if it were a tuple.

Source: transformers 4.19.2, ``file_utils.ModelOutput`` and ``modeling_outputs.py``.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from typing_extensions import override


class ModelOutput(OrderedDict[str, Any]):
    """Base of all outputs; subclasses are dataclasses whose fields default to None.

    Attributes:
        per_sequence: names whose first axis is the sequence; every other tensor's first axes
            are those of the tokens. The packed layout is taken apart by this.
    """

    per_sequence: ClassVar[frozenset[str]] = frozenset({"pooler_output", "loss"})

    def __post_init__(self) -> None:
        self._take_pairs()
        for name in self.names():
            if (value := getattr(self, name)) is not None:
                super().__setitem__(name, value)

    def _take_pairs(self) -> None:
        """A mapping or pairs in place of the first field are all fields by name.

        So TensorFlow makes a structure again of which it has changed the tensors.
        """
        first, *others = self.names()
        given = getattr(self, first)
        if not isinstance(given, Mapping | Iterator) or any(getattr(self, n) for n in others):
            return
        super().__setattr__(first, None)
        for name, value in dict(given).items():
            super().__setattr__(name, value)

    @classmethod
    def names(cls) -> list[str]:
        """Names of all fields, in order."""
        return [field.name for field in fields(cls)]  # type: ignore[arg-type]  # subclasses are

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return super().__getitem__(key)
        return self.to_tuple()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        super().__setattr__(key, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self and value is not None:
            super().__setitem__(name, value)
        super().__setattr__(name, value)

    def __delitem__(self, *args: Any, **kwargs: Any) -> None:
        raise TypeError(f"entries of {type(self).__name__} cannot be deleted")

    def to_tuple(self) -> tuple[Any, ...]:
        """All values that are not None, in order."""
        return tuple(self.values())


@dataclass
class BaseModelOutput(ModelOutput):
    """``last_hidden_state [B, L, H]``; one hidden state per layer and the embeddings."""

    last_hidden_state: Any = None
    hidden_states: Any = None
    attentions: Any = None


@dataclass
class BaseModelOutputWithPooling(ModelOutput):
    """``last_hidden_state [B, L, H]``, ``pooler_output [B, H]``."""

    last_hidden_state: Any = None
    pooler_output: Any = None
    hidden_states: Any = None
    attentions: Any = None


@dataclass
class BaseModelOutputWithPoolingAndCrossAttentions(ModelOutput):
    """The trunk's output; ``pooler_output [B, H]``."""

    last_hidden_state: Any = None
    pooler_output: Any = None
    hidden_states: Any = None
    past_key_values: Any = None
    attentions: Any = None
    cross_attentions: Any = None


@dataclass
class MaskedLMOutput(ModelOutput):
    """``logits [B, L, V]``."""

    loss: Any = None
    logits: Any = None
    hidden_states: Any = None
    attentions: Any = None


@dataclass
class CausalLMOutputWithCrossAttentions(ModelOutput):
    """``logits [B, L, V]`` of the next token at each position."""

    loss: Any = None
    logits: Any = None
    past_key_values: Any = None
    hidden_states: Any = None
    attentions: Any = None
    cross_attentions: Any = None


@dataclass
class GPT2DoubleHeadsModelOutput(ModelOutput):
    """``logits [B, C, L, V]`` of the next token, ``mc_logits [B, C]`` of each choice."""

    per_sequence: ClassVar[frozenset[str]] = frozenset({"loss", "mc_loss", "mc_logits"})

    loss: Any = None
    mc_loss: Any = None
    logits: Any = None
    mc_logits: Any = None
    past_key_values: Any = None
    hidden_states: Any = None
    attentions: Any = None


@dataclass
class SequenceClassifierOutput(ModelOutput):
    """``logits [B, labels]``."""

    per_sequence: ClassVar[frozenset[str]] = frozenset({"loss", "logits"})

    loss: Any = None
    logits: Any = None
    hidden_states: Any = None
    attentions: Any = None


@dataclass
class ImageClassifierOutput(SequenceClassifierOutput):
    """``logits [B, labels]`` of images."""


@dataclass
class NextSentencePredictorOutput(SequenceClassifierOutput):
    """``logits [B, 2]``; 0 means the second sentence follows the first."""


@dataclass
class MultipleChoiceModelOutput(SequenceClassifierOutput):
    """``logits [B, choices]``."""


@dataclass
class TokenClassifierOutput(ModelOutput):
    """``logits [B, L, labels]``."""

    loss: Any = None
    logits: Any = None
    hidden_states: Any = None
    attentions: Any = None


@dataclass
class QuestionAnsweringModelOutput(ModelOutput):
    """``start_logits`` and ``end_logits`` ``[B, L]``."""

    loss: Any = None
    start_logits: Any = None
    end_logits: Any = None
    hidden_states: Any = None
    attentions: Any = None


@dataclass
class PreTrainingOutput(ModelOutput):
    """``prediction_logits [B, L, V]``, ``seq_relationship_logits [B, 2]``."""

    per_sequence: ClassVar[frozenset[str]] = frozenset({"loss", "seq_relationship_logits"})

    loss: Any = None
    prediction_logits: Any = None
    seq_relationship_logits: Any = None
    hidden_states: Any = None
    attentions: Any = None


@dataclass
class AlbertForPreTrainingOutput(ModelOutput):
    """``prediction_logits [B, L, V]``, ``sop_logits [B, 2]``: 1 means the order was changed."""

    per_sequence: ClassVar[frozenset[str]] = frozenset({"loss", "sop_logits"})

    loss: Any = None
    prediction_logits: Any = None
    sop_logits: Any = None
    hidden_states: Any = None
    attentions: Any = None


@dataclass
class ElectraForPreTrainingOutput(ModelOutput):
    """``logits [B, L]``: above 0 for a token that was replaced."""

    loss: Any = None
    logits: Any = None
    hidden_states: Any = None
    attentions: Any = None


@dataclass
class BaseModelOutputWithPast(ModelOutput):
    """A decoder's output; of each layer keys and values ``[B, N, S, D]``."""

    last_hidden_state: Any = None
    past_key_values: Any = None
    hidden_states: Any = None
    attentions: Any = None


@dataclass
class BaseModelOutputWithPastAndCrossAttentions(ModelOutput):
    """An encoder's or a decoder's output within an encoder-decoder."""

    last_hidden_state: Any = None
    past_key_values: Any = None
    hidden_states: Any = None
    attentions: Any = None
    cross_attentions: Any = None


@dataclass
class CausalLMOutputWithPast(ModelOutput):
    """``logits [B, L, V]``."""

    loss: Any = None
    logits: Any = None
    past_key_values: Any = None
    hidden_states: Any = None
    attentions: Any = None


@dataclass
class SequenceClassifierOutputWithPast(ModelOutput):
    """``logits [B, labels]``."""

    per_sequence: ClassVar[frozenset[str]] = frozenset({"logits", "loss"})
    loss: Any = None
    logits: Any = None
    past_key_values: Any = None
    hidden_states: Any = None
    attentions: Any = None


@dataclass
class Seq2SeqModelOutput(ModelOutput):
    """An encoder-decoder's output; of each layer four tensors, the last two the encoder's."""

    last_hidden_state: Any = None
    past_key_values: Any = None
    decoder_hidden_states: Any = None
    decoder_attentions: Any = None
    cross_attentions: Any = None
    encoder_last_hidden_state: Any = None
    encoder_hidden_states: Any = None
    encoder_attentions: Any = None


@dataclass
class Seq2SeqLMOutput(ModelOutput):
    """``logits [B, L, V]`` of the decoder's tokens."""

    loss: Any = None
    logits: Any = None
    past_key_values: Any = None
    decoder_hidden_states: Any = None
    decoder_attentions: Any = None
    cross_attentions: Any = None
    encoder_last_hidden_state: Any = None
    encoder_hidden_states: Any = None
    encoder_attentions: Any = None


@dataclass
class Seq2SeqSequenceClassifierOutput(ModelOutput):
    """``logits [B, labels]``; the rest as ``Seq2SeqModelOutput``."""

    per_sequence: ClassVar[frozenset[str]] = frozenset({"loss", "logits"})

    loss: Any = None
    logits: Any = None
    past_key_values: Any = None
    decoder_hidden_states: Any = None
    decoder_attentions: Any = None
    cross_attentions: Any = None
    encoder_last_hidden_state: Any = None
    encoder_hidden_states: Any = None
    encoder_attentions: Any = None


@dataclass
class Seq2SeqQuestionAnsweringModelOutput(ModelOutput):
    """``start_logits`` and ``end_logits`` ``[B, L]``; the rest as ``Seq2SeqModelOutput``."""

    loss: Any = None
    start_logits: Any = None
    end_logits: Any = None
    past_key_values: Any = None
    decoder_hidden_states: Any = None
    decoder_attentions: Any = None
    cross_attentions: Any = None
    encoder_last_hidden_state: Any = None
    encoder_hidden_states: Any = None
    encoder_attentions: Any = None


@dataclass
class CLIPTextModelOutput(ModelOutput):
    """``text_embeds [B, D]``, ``last_hidden_state [B, L, H]``."""

    per_sequence: ClassVar[frozenset[str]] = frozenset({"text_embeds"})

    text_embeds: Any = None
    last_hidden_state: Any = None
    hidden_states: Any = None
    attentions: Any = None


@dataclass
class CLIPVisionModelOutput(ModelOutput):
    """``image_embeds [B, D]``, ``last_hidden_state [B, L, H]``."""

    per_sequence: ClassVar[frozenset[str]] = frozenset({"image_embeds"})

    image_embeds: Any = None
    last_hidden_state: Any = None
    hidden_states: Any = None
    attentions: Any = None


@dataclass
class CLIPOutput(ModelOutput):
    """Scores ``[images, texts]`` and ``[texts, images]``, features, and the halves' outputs."""

    loss: Any = None
    logits_per_image: Any = None
    logits_per_text: Any = None
    text_embeds: Any = None
    image_embeds: Any = None
    text_model_output: Any = None
    vision_model_output: Any = None

    @override
    def to_tuple(self) -> tuple[Any, ...]:
        """All values that are not None, in order; the halves' as tuples."""
        values = super().to_tuple()
        return tuple(v.to_tuple() if isinstance(v, ModelOutput) else v for v in values)


@dataclass
class SiglipOutput(CLIPOutput):
    """As ``CLIPOutput``; each score is the logit of a yes or no."""


@dataclass
class Wav2Vec2BaseModelOutput(ModelOutput):
    """``last_hidden_state [B, L, H]`` of frames, ``extract_features [B, L, C]`` before them."""

    last_hidden_state: Any = None
    extract_features: Any = None
    hidden_states: Any = None
    attentions: Any = None


@dataclass
class CausalLMOutput(ModelOutput):
    """``logits [B, L, V]``."""

    loss: Any = None
    logits: Any = None
    hidden_states: Any = None
    attentions: Any = None
