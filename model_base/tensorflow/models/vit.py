"""ViT (Dosovitskiy et al. 2020, arXiv:2010.11929) and its head.

Shape letters: B batch, C channels, Y and X pixels, P patches of an image, L = 1 + P tokens, H
hidden, N heads. Arguments that the head does not explain are those of ``TFViTMainLayer.call``.

Source: transformers 4.19.2, ``modeling_tf_vit.py`` (names, outputs, losses); interpolated
positions are PyTorch's.
"""

from typing import Any, ClassVar

import keras
import tensorflow as tf
from typing_extensions import override

from model_base import forward, outputs
from model_base.configs.vit import ViTConfig
from model_base.tensorflow import attention, layers, losses
from model_base.tensorflow.arguments import Flag, Maybe
from model_base.tensorflow.attention import Layout
from model_base.tensorflow.base import TFPreTrainedModel
from model_base.tensorflow.inputs import ImageInputs, keras_serializable, unpack_inputs
from model_base.tensorflow.layers import Layer, Tensor


class TFViTEmbeddings(Layer):
    """Patches and a token in front of them, with their positions."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__("embeddings")
        size, spread = config.hidden_size, config.initializer_range
        self.image_size = layers.height_and_width(config.image_size)
        self.patch_size = layers.height_and_width(config.patch_size)
        rows, columns = self.grid(*self.image_size)
        start = layers.Normal(stddev=spread)
        self.cls_token = self.variable("cls_token", (1, 1, size), start)
        shape = (1, 1 + rows * columns, size)
        self.position_embeddings = self.variable("position_embeddings", shape, start)
        projection = layers.Patches(
            "projection", config.num_channels, size, self.patch_size, spread
        )
        self.patch_embeddings = layers.Scope("patch_embeddings", [projection])
        self.dropout_p = config.hidden_dropout_prob

    def grid(self, height: Any, width: Any) -> tuple[Any, Any]:
        """Patches along each side of an image."""
        return height // self.patch_size[0], width // self.patch_size[1]

    @override
    def call(self, pixels_BCYX: Tensor, interpolate: bool, training: bool = False) -> Tensor:
        """Tokens ``[B, L, H]``."""
        positions = self.position_embeddings
        if interpolate:
            positions = self._interpolated(*tf.unstack(tf.shape(pixels_BCYX)[2:]))
        else:
            advice = ", others with interpolate_pos_encoding=True"
            pixels_BCYX = layers.of_size(pixels_BCYX, self.image_size, advice)
        patches_BPH = self.patch_embeddings.projection(pixels_BCYX)
        first_B1H = tf.repeat(self.cls_token, tf.shape(patches_BPH)[0], axis=0)
        tokens_BLH = tf.concat((first_B1H, patches_BPH), axis=1) + positions
        return layers.dropout(tokens_BLH, self.dropout_p, training)

    def _interpolated(self, height: Tensor, width: Tensor) -> Tensor:
        """``[1, L, H]``."""
        first, rest = self.position_embeddings[0, :1], self.position_embeddings[0, 1:]
        rest = layers.resized_grid(rest, self.grid(*self.image_size), self.grid(height, width))
        return tf.concat((first, rest), axis=0)[None]


class TFViTSelfAttention(Layer):
    """Projections and heads."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__("attention")
        size, spread = config.hidden_size, config.initializer_range
        self.size = forward.head_size(size, config.num_attention_heads)
        self.query, self.key, self.value = (
            layers.dense(name, size, size, spread, bias=config.qkv_bias)
            for name in ("query", "key", "value")
        )
        self.dropout_p = config.attention_probs_dropout_prob

    @override
    def call(self, hidden: Tensor, layer: int, layout: Layout) -> Tensor:
        """``[B, L, H]`` → ``[B, L, H]``, the heads side by side."""
        heads = (
            layers.split_heads(project(hidden), self.size)
            for project in (self.query, self.key, self.value)
        )
        return layout.attend(layer, *heads, scale=self.size**-0.5, dropout_p=self.dropout_p)


class TFViTOutput(Layer):
    """The end of each half of a layer."""

    def __init__(self, config: ViTConfig, size_in: int) -> None:
        super().__init__("output")
        self.dense = layers.dense("dense", size_in, config.hidden_size, config.initializer_range)
        self.dropout_p = config.hidden_dropout_prob

    @override
    def call(self, hidden: Tensor, training: bool = False) -> Tensor:
        """``[B, L, size_in]`` → ``[B, L, H]``."""
        return layers.dropout(self.dense(hidden), self.dropout_p, training)


class TFViTAttention(Layer):
    """Attention with its output projection."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__("attention")
        self.attention = TFViTSelfAttention(config)
        self.output_layer = TFViTOutput(config, config.hidden_size)

    @override
    def call(self, hidden: Tensor, layer: int, layout: Layout, training: bool = False) -> Tensor:
        """``[B, L, H]`` → ``[B, L, H]``."""
        return self.output_layer(self.attention(hidden, layer, layout), training=training)


class TFViTLayer(Layer):
    """Attention, then feed-forward, each of normalised states and added to them."""

    def __init__(self, config: ViTConfig, name: str) -> None:
        super().__init__(name)
        size, inner, eps = config.hidden_size, config.intermediate_size, config.layer_norm_eps
        self.attention = TFViTAttention(config)
        inner_dense = layers.dense("dense", size, inner, config.initializer_range)
        self.intermediate = layers.Scope("intermediate", [inner_dense])
        self.activation = layers.activation(config.hidden_act)
        self.output_layer = TFViTOutput(config, inner)
        self.layernorm_before = layers.layer_norm("layernorm_before", size, eps)
        self.layernorm_after = layers.layer_norm("layernorm_after", size, eps)

    @override
    def call(self, hidden: Tensor, layer: int, layout: Layout, training: bool = False) -> Tensor:
        """``[B, L, H]`` → ``[B, L, H]``, as layer number ``layer``."""
        hidden += self.attention(self.layernorm_before(hidden), layer, layout, training=training)
        inner = self.activation(self.intermediate.dense(self.layernorm_after(hidden)))
        return hidden + self.output_layer(inner, training=training)


class TFViTEncoder(Layer):
    """The layers, one after another."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__("encoder")
        self.layer = [TFViTLayer(config, f"layer_._{i}") for i in range(config.num_hidden_layers)]

    @override
    def call(self, hidden: Tensor, layout: Layout, training: bool = False) -> tuple[Tensor, ...]:
        """The states before each layer and after the last, ``[B, L, H]`` each."""
        states = [hidden]
        for number, layer in enumerate(self.layer):
            states.append(layer(states[-1], number, layout, training=training))
        return tuple(states)


@keras_serializable
class TFViTMainLayer(Layer):
    """The trunk.

    Args:
        config: the configuration.
        add_pooling_layer: whether ``pooler_output`` is computed.
        name: in checkpoints.
    """

    config_class: ClassVar[Any] = ViTConfig

    def __init__(
        self, config: ViTConfig, add_pooling_layer: bool = True, name: str = "vit"
    ) -> None:
        super().__init__(name)
        self.config = config
        size, spread = config.hidden_size, config.initializer_range
        self.embeddings = TFViTEmbeddings(config)
        self.encoder = TFViTEncoder(config)
        self.layernorm = layers.layer_norm("layernorm", size, config.layer_norm_eps)
        self.pooler = None
        if add_pooling_layer:
            dense = layers.dense("dense", size, config.pooler_output_size, spread)
            self.pooler = layers.Scope("pooler", [dense])
        self.pooler_activation = layers.activation(config.pooler_act)

    def get_input_embeddings(self) -> Layer:
        """The projection of patches."""
        return self.embeddings.patch_embeddings

    @override
    def call(
        self, pixel_values: Maybe = None, head_mask: Maybe = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, interpolate_pos_encoding: Flag = None,
        return_dict: Flag = None, training: bool = False,
    ) -> Any:  # fmt: skip
        """Compute hidden states.

        Args:
            pixel_values: images, ``[B, C, Y, X]``.
            head_mask: ``[N]`` or ``[layers, N]``.
            output_attentions: return the attention weights of each layer.
            output_hidden_states: return the hidden states of each layer.
            interpolate_pos_encoding: accept images of another size than the configuration's.
            return_dict: return a ``ModelOutput``, else a tuple.
            training: whether dropout is on.

        Raises:
            ValueError: no images, or images of another size.
        """
        if pixel_values is None:
            raise ValueError("pixel_values is missing; accepted: images [B, C, Y, X]")
        config = self.config
        embedded = self.embeddings(pixel_values, bool(interpolate_pos_encoding), training=training)
        layout = attention.layout_for(
            config, embedded[..., 0], None, head_mask, training=training,
            keep_weights=forward.chosen(output_attentions, config.output_attentions),
        )  # fmt: skip
        states = self.encoder(embedded, layout, training=training)
        hidden = self.layernorm(states[-1])
        keep_states = forward.chosen(output_hidden_states, config.output_hidden_states)
        output = outputs.BaseModelOutputWithPooling(
            hidden,
            self._pooled(hidden[:, 0]) if self.pooler else None,
            states if keep_states else None,
            layout.kept_weights,
        )
        return forward.finish(output, config, return_dict)

    def _pooled(self, first_BH: Tensor) -> Tensor:
        return self.pooler_activation(self.pooler.dense(first_BH))  # type: ignore[union-attr]


class TFViTPreTrainedModel(ImageInputs, TFPreTrainedModel):
    """What all ViT models share: configuration, names, images as inputs."""

    config_class: ClassVar[Any] = ViTConfig
    base_model_prefix = "vit"


class TFViTModel(TFViTPreTrainedModel):
    """The trunk as a model."""

    def __init__(
        self, config: ViTConfig, *inputs: Any, add_pooling_layer: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.vit = TFViTMainLayer(config, add_pooling_layer=add_pooling_layer)

    @unpack_inputs
    @override
    def call(
        self, pixel_values: Maybe = None, head_mask: Maybe = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, interpolate_pos_encoding: Flag = None,
        return_dict: Flag = None, training: bool = False,
    ) -> Any:  # fmt: skip
        """Hidden states; the arguments are ``TFViTMainLayer.call``'s."""
        return self.vit(
            pixel_values, head_mask, output_attentions, output_hidden_states,
            interpolate_pos_encoding, return_dict, training=training,
        )  # fmt: skip


class TFViTForImageClassification(losses.TFSequenceClassificationLoss, TFViTPreTrainedModel):
    """A label for each image, or a number."""

    def __init__(self, config: ViTConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.vit = TFViTMainLayer(config, add_pooling_layer=False)
        size, spread = config.hidden_size, config.initializer_range
        self.classifier = (
            layers.dense("classifier", size, config.num_labels, spread)
            if config.num_labels
            else keras.layers.Identity(name="classifier")
        )

    @unpack_inputs
    @override
    def call(
        self, pixel_values: Maybe = None, head_mask: Maybe = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, interpolate_pos_encoding: Flag = None,
        return_dict: Flag = None, labels: Maybe = None, training: bool = False,
    ) -> Any:  # fmt: skip
        """Logits ``[B, labels]``, and a loss if there are labels ``[B]``."""
        trunk = self.vit(
            pixel_values, head_mask, output_attentions, output_hidden_states,
            interpolate_pos_encoding, return_dict=True, training=training,
        )  # fmt: skip
        logits = self.classifier(trunk.last_hidden_state[:, 0])
        loss = None if labels is None else self.hf_compute_loss(labels, logits)
        output = outputs.ImageClassifierOutput(loss, logits)
        return forward.finish(output, self.config, return_dict, trunk)
