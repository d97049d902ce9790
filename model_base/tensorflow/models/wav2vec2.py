"""Wav2Vec2 (Baevski et al. 2020, arXiv:2006.11477) and its head.

Shape letters: B batch, S samples, L frames, C channels, K width of a convolution, H hidden, N
heads, V vocabulary.

Source: transformers 4.19.2, ``modeling_tf_wav2vec2.py`` (names, outputs, losses).
"""

import warnings
from typing import Any, ClassVar

import keras
import tensorflow as tf
from typing_extensions import override

from model_base import forward, outputs
from model_base.configs.wav2vec2 import Wav2Vec2Config
from model_base.tensorflow import attention, layers
from model_base.tensorflow.arguments import Flag, Maybe
from model_base.tensorflow.attention import Layout
from model_base.tensorflow.base import TFPreTrainedModel
from model_base.tensorflow.inputs import keras_serializable, unpack_inputs
from model_base.tensorflow.layers import Layer, Tensor
from model_base.tensorflow.multi_head import MultiHeadAttention

_EPS = 1e-5
"""Of the norms between convolutions, whatever the configuration says."""


class TFWav2Vec2Conv(Layer):
    """A convolution without padding: ``kernel [K, in, out]``, ``bias [out]``."""

    def __init__(self, channels: int, size: int, width: int, stride: int, *, bias: bool) -> None:
        super().__init__("conv")
        self.stride = stride
        start = layers.Normal(stddev=(2 / (channels * width)) ** 0.5)
        self.kernel = self.variable("kernel", (width, channels, size), start)
        self.bias = self.variable("bias", (size,)) if bias else None

    @override
    def call(self, hidden_BSC: Tensor) -> Tensor:
        """``[B, S, in]`` → ``[B, L, out]``."""
        frames_BLC = tf.nn.conv1d(hidden_BSC, self.kernel, self.stride, "VALID")
        return frames_BLC if self.bias is None else frames_BLC + self.bias


class TFWav2Vec2GroupNorm(Layer):
    """Normalisation of each channel over its frames: ``gamma [C]``, ``beta [C]``."""

    def __init__(self, size: int) -> None:
        super().__init__("layer_norm")
        self.gamma = self.variable("gamma", (size,), "ones")
        self.beta = self.variable("beta", (size,))

    @override
    def call(self, hidden_BLC: Tensor) -> Tensor:
        """``[B, L, C]``."""
        mean_B1C, variance_B1C = tf.nn.moments(hidden_BLC, [1], keepdims=True)
        return tf.nn.batch_normalization(
            hidden_BLC, mean_B1C, variance_B1C, self.beta, self.gamma, _EPS
        )


class TFWav2Vec2ConvLayer(Layer):
    """One of the layers that turn samples into frames; most have no norm."""

    def __init__(self, config: Wav2Vec2Config, layer: int) -> None:
        super().__init__(f"conv_layers.{layer}")
        channels, size = config.conv_dim[layer - 1] if layer else 1, config.conv_dim[layer]
        width, stride = config.conv_kernel[layer], config.conv_stride[layer]
        self.conv = TFWav2Vec2Conv(channels, size, width, stride, bias=config.conv_bias)
        self.layer_norm = None
        if config.feat_extract_norm == "layer":
            self.layer_norm = layers.layer_norm("layer_norm", size, _EPS)
        elif layer == 0:
            self.layer_norm = TFWav2Vec2GroupNorm(size)
        self.activation = layers.activation(config.feat_extract_activation)

    @override
    def call(self, hidden_BSC: Tensor) -> Tensor:
        """``[B, S, in]`` → ``[B, L, out]``."""
        frames_BLC = self.conv(hidden_BSC)
        return self.activation(self.layer_norm(frames_BLC) if self.layer_norm else frames_BLC)


class TFWav2Vec2FeatureEncoder(Layer):
    """All of them."""

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__("feature_extractor")
        self.conv_layers = [TFWav2Vec2ConvLayer(config, i) for i in range(len(config.conv_dim))]

    @override
    def call(self, samples_BS: Tensor) -> Tensor:
        """``[B, S]`` → ``[B, L, C]``."""
        hidden_BLC = samples_BS[..., None]
        for layer in self.conv_layers:
            hidden_BLC = layer(hidden_BLC)
        return hidden_BLC


class TFWav2Vec2PositionalConv(Layer):
    """A grouped convolution whose weight is a direction and a length for each place.

    Each group is convolved by itself, as TensorFlow has no gradient of them together on a CPU.

    Source: Salimans and Kingma 2016 (weight normalisation).
    """

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__("conv")
        size, self.width = config.hidden_size, config.num_conv_pos_embeddings
        self.groups = config.num_conv_pos_embedding_groups
        length = 2 * (size / (self.groups * self.width)) ** 0.5
        self.weight_g = self.variable(
            "weight_g", (self.width, 1, 1), keras.initializers.Constant(length)
        )
        self.weight_v = self.variable(
            "weight_v", (size, size // self.groups, self.width),
            layers.Normal(stddev=2 * (self.width * size) ** -0.5),
        )  # fmt: skip
        self.bias = self.variable("bias", (size,))

    @override
    def call(self, hidden_BLH: Tensor) -> Tensor:
        """``[B, L, H]``."""
        direction_KCH = tf.transpose(self.weight_v, (2, 1, 0))
        length_K11 = tf.norm(direction_KCH, axis=(1, 2), keepdims=True)
        kernel_KCH = direction_KCH * (self.weight_g / length_K11)
        around = [[0, 0], [self.width // 2, (self.width - 1) // 2], [0, 0]]
        parts = tf.split(tf.pad(hidden_BLH, around), self.groups, axis=-1)
        kernels = tf.split(kernel_KCH, self.groups, axis=-1)
        frames = (
            tf.nn.conv1d(part, kernel, 1, "VALID")
            for part, kernel in zip(parts, kernels, strict=True)
        )
        return tf.concat(list(frames), axis=-1) + self.bias


class TFWav2Vec2FeedForward(Layer):
    """Two projections with an activation between them."""

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__("feed_forward")
        size, inner, spread = config.hidden_size, config.intermediate_size, config.initializer_range
        self.intermediate_dense = layers.dense("intermediate_dense", size, inner, spread)
        self.activation = layers.activation(config.hidden_act)
        self.output_dense = layers.dense("output_dense", inner, size, spread)
        self.inner_dropout_p, self.dropout_p = config.activation_dropout, config.hidden_dropout

    @override
    def call(self, hidden: Tensor, training: bool = False) -> Tensor:
        """``[B, L, H]`` → ``[B, L, H]``."""
        inner = self.activation(self.intermediate_dense(hidden))
        inner = layers.dropout(inner, self.inner_dropout_p, training)
        return layers.dropout(self.output_dense(inner), self.dropout_p, training)


class TFWav2Vec2EncoderLayer(Layer):
    """Attention, then feed-forward, the sum normalised after each."""

    def __init__(self, config: Wav2Vec2Config, name: str) -> None:
        super().__init__(name)
        size, eps = config.hidden_size, config.layer_norm_eps
        self.attention = MultiHeadAttention(
            "attention", size, config.num_attention_heads, config.attention_dropout,
            config.initializer_range,
        )  # fmt: skip
        self.layer_norm = layers.layer_norm("layer_norm", size, eps)
        self.feed_forward = TFWav2Vec2FeedForward(config)
        self.final_layer_norm = layers.layer_norm("final_layer_norm", size, eps)
        self.dropout_p = config.hidden_dropout

    @override
    def call(self, hidden: Tensor, layer: int, layout: Layout, training: bool = False) -> Tensor:
        """``[B, L, H]`` → ``[B, L, H]``, as layer number ``layer``."""
        attended = layers.dropout(self.attention(hidden, layer, layout), self.dropout_p, training)
        hidden = self.layer_norm(hidden + attended)
        return self.final_layer_norm(hidden + self.feed_forward(hidden, training=training))


class TFWav2Vec2EncoderLayerStableLayerNorm(TFWav2Vec2EncoderLayer):
    """The same, of normalised states."""

    @override
    def call(self, hidden: Tensor, layer: int, layout: Layout, training: bool = False) -> Tensor:
        attended = self.attention(self.layer_norm(hidden), layer, layout)
        hidden += layers.dropout(attended, self.dropout_p, training)
        return hidden + self.feed_forward(self.final_layer_norm(hidden), training=training)


class TFWav2Vec2Encoder(Layer):
    """Positions, then layers; the norm stands before them, or behind if they are stable."""

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__("encoder")
        conv = TFWav2Vec2PositionalConv(config)
        self.pos_conv_embed = layers.Scope("pos_conv_embed", [conv])
        self.activation = layers.activation(config.feat_extract_activation)
        self.layer_norm = layers.layer_norm("layer_norm", config.hidden_size, config.layer_norm_eps)
        self.dropout_p, self.layerdrop = config.hidden_dropout, config.layerdrop
        self.is_stable = config.do_stable_layer_norm
        kind = TFWav2Vec2EncoderLayerStableLayerNorm if self.is_stable else TFWav2Vec2EncoderLayer
        self.layer = [kind(config, f"layers.{i}") for i in range(config.num_hidden_layers)]

    @override
    def call(self, hidden: Tensor, layout: Layout, training: bool = False) -> tuple[Tensor, ...]:
        """The states before each layer and after the last, ``[B, L, H]`` each."""
        hidden += self.activation(self.pos_conv_embed.conv(hidden))
        if not self.is_stable:
            hidden = self.layer_norm(hidden)
        states = [layers.dropout(hidden, self.dropout_p, training)]
        for number, layer in enumerate(self.layer):
            after = layer(states[-1], number, layout, training=training)
            if training and self.layerdrop:  # Fan et al. 2019
                after = tf.where(tf.random.uniform(()) < self.layerdrop, states[-1], after)
            states.append(after)
        if self.is_stable:
            states[-1] = self.layer_norm(states[-1])
        return tuple(states)


def random_spans(rows: Tensor, size: Tensor, probability: float, span: int, least: int) -> Tensor:
    """Random spans of each row, bool ``[rows, size]``, True inside them (SpecAugment).

    Args:
        rows: how many.
        size: of each.
        probability: share of a row that spans would cover if they did not overlap.
        span: length of one.
        least: fewest spans of a row, if it has room for them.
    """
    places = tf.maximum(size - span + 1, 0)
    count = probability * tf.cast(size, tf.float32) / span + tf.random.uniform(())
    count = tf.minimum(tf.maximum(tf.cast(count, tf.int32), least), size // span)
    starts = tf.math.top_k(tf.random.uniform((rows, places)), count).indices[..., None]
    place = tf.range(size)
    return tf.reduce_any((place >= starts) & (place < starts + span), axis=1)


@keras_serializable
class TFWav2Vec2MainLayer(Layer):
    """The trunk."""

    config_class: ClassVar[Any] = Wav2Vec2Config

    def __init__(self, config: Wav2Vec2Config, name: str = "wav2vec2") -> None:
        super().__init__(name)
        self.config = config
        size, channels = config.hidden_size, config.conv_dim[-1]
        self.feature_extractor = TFWav2Vec2FeatureEncoder(config)
        self.feature_projection = layers.Scope("feature_projection", [
            layers.layer_norm("layer_norm", channels, config.layer_norm_eps),
            layers.dense("projection", channels, size, config.initializer_range),
        ])  # fmt: skip
        self.encoder = TFWav2Vec2Encoder(config)
        self.masked_spec_embed = self.variable("masked_spec_embed", (size,), "uniform")

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        """How many frames so many samples make, integers of any shape."""
        for width, stride in zip(self.config.conv_kernel, self.config.conv_stride, strict=True):
            lengths = (lengths - width) // stride + 1
        return lengths

    @override
    def call(
        self, input_values: Maybe = None, attention_mask: Maybe = None,
        token_type_ids: Maybe = None, position_ids: Maybe = None, head_mask: Maybe = None,
        inputs_embeds: Maybe = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None, training: bool = False,
    ) -> Any:  # fmt: skip
        """Compute hidden states.

        Args:
            input_values: samples, ``[B, S]``.
            attention_mask: ``[B, S]``; 1 keeps a sample, 0 hides it; ones first.
            token_type_ids: accepted and not used, as in 4.19.
            position_ids: not used either.
            head_mask: ``[N]`` or ``[layers, N]``.
            inputs_embeds: not used either.
            output_attentions: return the attention weights of each layer.
            output_hidden_states: return the hidden states of each layer.
            return_dict: return a ``ModelOutput``, else a tuple.
            training: whether dropout is on, and spans are masked.

        Raises:
            ValueError: no samples, or a mask of another shape.
        """
        if input_values is None:
            raise ValueError("input_values is missing; accepted: samples [B, S]")
        config, samples_BS = self.config, tf.cast(input_values, tf.float32)
        normed_BLC = self.feature_projection.layer_norm(self.feature_extractor(samples_BS))
        hidden = self.feature_projection.projection(normed_BLC)
        hidden = layers.dropout(hidden, config.feat_proj_dropout, training)
        if training and config.apply_spec_augment:
            hidden = self._augmented(hidden)
        mask_BL = self._frame_mask(attention_mask, samples_BS, tf.shape(hidden)[1])
        if mask_BL is not None:
            hidden *= mask_BL[..., None]
        layout = attention.layout_for(
            config, hidden[..., 0], mask_BL, head_mask, training=training,
            keep_weights=forward.chosen(output_attentions, config.output_attentions),
        )  # fmt: skip
        states = self.encoder(hidden, layout, training=training)
        keep_states = forward.chosen(output_hidden_states, config.output_hidden_states)
        output = outputs.Wav2Vec2BaseModelOutput(
            states[-1], normed_BLC, states if keep_states else None, layout.kept_weights
        )
        return forward.finish(output, config, return_dict)

    def _frame_mask(self, mask_BS: Maybe, samples_BS: Tensor, num_frames: Tensor) -> Maybe:
        """``[B, L]``, 1 for frames of the samples that are kept; None without a mask."""
        if mask_BS is None:
            return None
        mask_BS = tf.cast(mask_BS, tf.int32)
        if not mask_BS.shape.is_compatible_with(samples_BS.shape):
            raise ValueError(
                f"attention_mask is {list(mask_BS.shape)}; accepted: as input_values, "
                f"{list(samples_BS.shape)}"
            )
        lengths_B = self.frame_lengths(tf.reduce_sum(mask_BS, axis=-1))
        return tf.sequence_mask(lengths_B, num_frames, tf.float32)

    def _augmented(self, hidden_BLH: Tensor) -> Tensor:
        """Spans of frames and of channels replaced (Park et al. 2019)."""
        config, (count, length, size) = self.config, tf.unstack(tf.shape(hidden_BLH))
        if config.mask_time_prob > 0:
            masked_BL = random_spans(
                count, length, config.mask_time_prob, config.mask_time_length,
                config.mask_time_min_masks,
            )  # fmt: skip
            hidden_BLH = tf.where(masked_BL[..., None], self.masked_spec_embed, hidden_BLH)
        if config.mask_feature_prob > 0:
            masked_BH = random_spans(
                count, size, config.mask_feature_prob, config.mask_feature_length,
                config.mask_feature_min_masks,
            )  # fmt: skip
            hidden_BLH = tf.where(masked_BH[:, None], 0.0, hidden_BLH)
        return hidden_BLH


class TFWav2Vec2PreTrainedModel(TFPreTrainedModel):
    """What all Wav2Vec2 models share: configuration, names, sound as inputs."""

    config_class: ClassVar[Any] = Wav2Vec2Config
    base_model_prefix = "wav2vec2"
    main_input_name = "input_values"
    # PyTorch has it only where a configuration masks; without masking no call reads it.
    _keys_to_ignore_on_load_missing: list[str] | None = [r"masked_spec_embed"]

    @property
    @override
    def dummy_inputs(self) -> dict[str, Tensor]:
        """A second of silence, float32 ``[1, 16000]``."""
        return {name: make((1, 16000)) for name, make in
                (("input_values", tf.zeros), ("attention_mask", tf.ones))}  # fmt: skip

    @property
    @override
    def input_signature(self) -> dict[str, Any]:
        """Samples; the others are integers, and types of tokens are not used, as in 4.19."""
        names = ("input_values", "attention_mask", "token_type_ids")
        dtypes = (tf.float32, tf.int32, tf.int32)
        return {
            name: tf.TensorSpec([None, None], dtype, name=name)
            for name, dtype in zip(names, dtypes, strict=True)
        }

    @override
    def get_input_embeddings(self) -> layers.Embedding:
        """Not for sound, nor what is built on it: their setter, and other sizes.

        Raises:
            NotImplementedError: there is no table of words.
        """
        raise NotImplementedError(f"{type(self).__name__} reads sound: it has no tokens to embed")

    def freeze_feature_encoder(self) -> None:
        """Do not train the layers that turn samples into frames."""
        self.wav2vec2.feature_extractor.trainable = False

    def freeze_feature_extractor(self) -> None:
        """The same; deprecated."""
        warnings.warn("use freeze_feature_encoder", FutureWarning, stacklevel=2)
        self.freeze_feature_encoder()


class TFWav2Vec2Model(TFWav2Vec2PreTrainedModel):
    """The trunk as a model."""

    def __init__(self, config: Wav2Vec2Config, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.wav2vec2 = TFWav2Vec2MainLayer(config)

    @unpack_inputs
    @override
    def call(
        self, input_values: Maybe = None, attention_mask: Maybe = None,
        token_type_ids: Maybe = None, position_ids: Maybe = None, head_mask: Maybe = None,
        inputs_embeds: Maybe = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None, training: bool = False,
    ) -> Any:  # fmt: skip
        """Hidden states; the arguments are ``TFWav2Vec2MainLayer.call``'s."""
        return self.wav2vec2(
            input_values, attention_mask, None, None, head_mask, None, output_attentions,
            output_hidden_states, return_dict, training=training,
        )  # fmt: skip


class TFWav2Vec2ForCTC(TFWav2Vec2PreTrainedModel):
    """Scores of characters for each frame (connectionist temporal classification)."""

    def __init__(self, config: Wav2Vec2Config, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.wav2vec2 = TFWav2Vec2MainLayer(config)
        self.lm_head = layers.DropoutDense(
            "lm_head", config.hidden_size, config.vocab_size, config.final_dropout,
            config.initializer_range,
        )  # fmt: skip

    @unpack_inputs
    @override
    def call(
        self, input_values: Maybe = None, attention_mask: Maybe = None,
        token_type_ids: Maybe = None, position_ids: Maybe = None, head_mask: Maybe = None,
        inputs_embeds: Maybe = None, output_attentions: Flag = None, labels: Maybe = None,
        output_hidden_states: Flag = None, return_dict: Flag = None, training: bool = False,
    ) -> Any:  # fmt: skip
        """Logits ``[B, L, V]``; labels ``[B, characters]``, -100 behind the last.

        Raises:
            ValueError: a label that the vocabulary has not; in a graph, InvalidArgumentError.
        """
        trunk = self.wav2vec2(
            input_values, attention_mask, None, None, head_mask, None, output_attentions,
            output_hidden_states, return_dict=True, training=training,
        )  # fmt: skip
        logits = self.lm_head(trunk.last_hidden_state, training=training)
        loss = None
        if labels is not None:
            mask_BS = tf.ones_like(input_values) if attention_mask is None else attention_mask
            lengths_B = tf.reduce_sum(tf.cast(mask_BS, tf.int32), axis=-1)
            loss = self._loss(labels, logits, self.wav2vec2.frame_lengths(lengths_B))
        output = outputs.CausalLMOutput(loss, logits)
        return forward.finish(output, self.config, return_dict, trunk)

    def _loss(self, labels: Tensor, logits_BLV: Tensor, lengths_B: Tensor) -> Tensor:
        """Of each recording ``[B]``, or their sum, or their plain mean."""
        config, labels = self.config, tf.cast(labels, tf.int32)
        if tf.executing_eagerly() and (found := int(tf.reduce_max(labels))) >= config.vocab_size:
            raise ValueError(f"labels hold {found}; accepted: below {config.vocab_size}")
        tf.debugging.assert_less(labels, config.vocab_size)
        loss_B = tf.nn.ctc_loss(
            labels, logits_BLV, tf.reduce_sum(tf.cast(labels >= 0, tf.int32), axis=-1), lengths_B,
            logits_time_major=False, blank_index=config.pad_token_id,
        )  # fmt: skip
        reductions = {"sum": tf.reduce_sum, "mean": tf.reduce_mean, "none": tf.identity}
        return reductions[config.ctc_loss_reduction](loss_B)
