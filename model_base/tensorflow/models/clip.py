"""CLIP (Radford et al. 2021, arXiv:2103.00020): its text half, its image half and both.

Shape letters: B batch, T texts, I images, C channels, Y and X pixels, L tokens, H hidden, D width
of the common space.

Source: transformers 4.19.2, ``modeling_tf_clip.py`` (names, outputs, losses).
"""

from typing import Any, ClassVar

import keras
import tensorflow as tf
from typing_extensions import override

from model_base import forward, outputs
from model_base.configs.clip import CLIPConfig, CLIPTextConfig, CLIPVisionConfig
from model_base.tensorflow import attention, layers
from model_base.tensorflow.arguments import Flag, Maybe
from model_base.tensorflow.attention import Layout
from model_base.tensorflow.base import TFPreTrainedModel
from model_base.tensorflow.embeddings import EmbeddingsMixin
from model_base.tensorflow.inputs import (
    ImageInputs,
    example_images,
    image_signature,
    keras_serializable,
    unpack_inputs,
)
from model_base.tensorflow.layers import Layer, Tensor
from model_base.tensorflow.multi_head import MultiHeadAttention


class TFCLIPTextEmbeddings(Layer):
    """Word and position embeddings."""

    def __init__(self, config: CLIPTextConfig) -> None:
        super().__init__("embeddings")
        size, spread = config.hidden_size, 0.02 * config.initializer_factor
        self.token_embedding = layers.Embedding(
            "token_embedding", config.vocab_size, size, spread, table="weight"
        )
        self.position_embedding = layers.Embedding(
            "position_embedding", config.max_position_embeddings, size, spread
        )

    @override
    def call(self, input_ids: Tensor, position_ids: Tensor) -> Tensor:
        """``[B, L, H]`` of ids ``[B, L]``."""
        return self.token_embedding(input_ids) + self.position_embedding(position_ids)


class TFCLIPVisionEmbeddings(Layer):
    """Patches and a token in front of them, with their positions."""

    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__("embeddings")
        size, side, factor = config.hidden_size, config.patch_size, config.initializer_factor
        self.image_size = config.image_size
        start = layers.Normal(stddev=size**-0.5 * factor)
        self.class_embedding = self.variable("class_embedding", (size,), start)
        self.patch_embedding = layers.Patches(
            "patch_embedding", config.num_channels, size, (side, side), 0.02 * factor, bias=False
        )
        rows = 1 + (config.image_size // side) ** 2
        self.position_embedding = layers.Embedding("position_embedding", rows, size, 0.02 * factor)

    @override
    def call(self, pixels_BCYX: Tensor) -> Tensor:
        """``[B, L, H]``."""
        pixels_BCYX = layers.of_size(pixels_BCYX, (self.image_size, self.image_size))
        patches_BPH = self.patch_embedding(pixels_BCYX)
        first_B1H = tf.repeat(self.class_embedding[None, None], tf.shape(patches_BPH)[0], axis=0)
        return tf.concat((first_B1H, patches_BPH), axis=1) + self.position_embedding.table


class TFCLIPEncoderLayer(Layer):
    """Attention, then feed-forward, each of normalised states and added to them."""

    def __init__(self, config: Any, name: str) -> None:
        super().__init__(name)
        size, inner, eps = config.hidden_size, config.intermediate_size, config.layer_norm_eps
        width = size**-0.5 * config.initializer_factor
        deep = width * (2 * config.num_hidden_layers) ** -0.5
        self.self_attn = MultiHeadAttention(
            "self_attn", size, config.num_attention_heads, config.attention_dropout, deep
        )
        self.layer_norm1 = layers.layer_norm("layer_norm1", size, eps)
        self.mlp = layers.Scope("mlp", [
            layers.dense("fc1", size, inner, (2 * size) ** -0.5 * config.initializer_factor),
            layers.dense("fc2", inner, size, deep),
        ])  # fmt: skip
        self.activation = layers.activation(config.hidden_act)
        self.layer_norm2 = layers.layer_norm("layer_norm2", size, eps)

    @override
    def call(self, hidden: Tensor, layer: int, layout: Layout) -> Tensor:
        """``[B, L, H]`` → ``[B, L, H]``, as layer number ``layer``."""
        hidden += self.self_attn(self.layer_norm1(hidden), layer, layout)
        return hidden + self.mlp.fc2(self.activation(self.mlp.fc1(self.layer_norm2(hidden))))


class TFCLIPEncoder(Layer):
    """The layers, one after another."""

    def __init__(self, config: Any) -> None:
        super().__init__("encoder")
        count = config.num_hidden_layers
        self.layers = [TFCLIPEncoderLayer(config, f"layers_._{i}") for i in range(count)]

    @override
    def call(self, hidden: Tensor, layout: Layout) -> tuple[Tensor, ...]:
        """The states before each layer and after the last, ``[B, L, H]`` each."""
        states = [hidden]
        for number, layer in enumerate(self.layers):
            states.append(layer(states[-1], number, layout))
        return tuple(states)


class TFCLIPTextTransformer(Layer):
    """The text half."""

    def __init__(self, config: CLIPTextConfig) -> None:
        super().__init__("text_model")
        self.config = config
        self.embeddings = TFCLIPTextEmbeddings(config)
        self.encoder = TFCLIPEncoder(config)
        self.final_layer_norm = layers.layer_norm(
            "final_layer_norm", config.hidden_size, config.layer_norm_eps
        )

    @override
    def call(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, position_ids: Maybe = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, training: bool = False,
    ) -> Any:  # fmt: skip
        """Compute hidden states; the pooled ones are those of the end tokens.

        Args:
            input_ids: integers ``[B, L]``.
            attention_mask: ``[B, L]`` or ``[B, L, L]``; 1 keeps a token, 0 hides it.
            position_ids: ``[B, L]``.
            output_attentions: return the attention weights of each layer.
            output_hidden_states: return the hidden states of each layer.
            return_dict: return a ``ModelOutput``, else a tuple.
            training: whether dropout is on.

        Raises:
            ValueError: no ids.
        """
        if input_ids is None:
            raise ValueError("input_ids is missing; accepted: ids of a text")
        config, input_ids = self.config, tf.convert_to_tensor(input_ids)
        layout = attention.layout_for(
            config, input_ids, attention_mask, causal=True, training=training,
            keep_weights=forward.chosen(output_attentions, config.output_attentions),
        )  # fmt: skip
        if position_ids is None:
            position_ids = attention.positions(input_ids, None)
        states = self.encoder(self.embeddings(input_ids, position_ids), layout)
        hidden = self.final_layer_norm(states[-1])
        keep_states = forward.chosen(output_hidden_states, config.output_hidden_states)
        output = outputs.BaseModelOutputWithPooling(
            hidden,
            tf.gather(hidden, self._ends(input_ids), axis=1, batch_dims=1),
            states if keep_states else None,
            layout.kept_weights,
        )
        return forward.finish(output, config, return_dict)

    def _ends(self, ids_BL: Tensor) -> Tensor:
        """The place of the first end token, ``[B]``."""
        end = self.config.eos_token_id
        is_largest = end == 2  # what 4.19 wrote, whatever the vocabulary
        return tf.argmax(ids_BL if is_largest else tf.cast(ids_BL == end, tf.int32), axis=-1)


class TFCLIPVisionTransformer(Layer):
    """The image half."""

    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__("vision_model")
        self.config = config
        size, eps = config.hidden_size, config.layer_norm_eps
        self.embeddings = TFCLIPVisionEmbeddings(config)
        self.pre_layrnorm = layers.layer_norm("pre_layrnorm", size, eps)
        self.encoder = TFCLIPEncoder(config)
        self.post_layernorm = layers.layer_norm("post_layernorm", size, eps)

    @override
    def call(
        self, pixel_values: Maybe = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None, training: bool = False,
    ) -> Any:  # fmt: skip
        """Compute hidden states; the pooled one is the first token's, normalised.

        Args:
            pixel_values: images, ``[B, C, Y, X]``.
            output_attentions: return the attention weights of each layer.
            output_hidden_states: return the hidden states of each layer.
            return_dict: return a ``ModelOutput``, else a tuple.
            training: whether dropout is on.

        Raises:
            ValueError: no images, or images of another size.
        """
        if pixel_values is None:
            raise ValueError("pixel_values is missing; accepted: images [B, C, Y, X]")
        config, embedded = self.config, self.pre_layrnorm(self.embeddings(pixel_values))
        layout = attention.layout_for(
            config, embedded[..., 0], None, training=training,
            keep_weights=forward.chosen(output_attentions, config.output_attentions),
        )  # fmt: skip
        states = self.encoder(embedded, layout)
        keep_states = forward.chosen(output_hidden_states, config.output_hidden_states)
        output = outputs.BaseModelOutputWithPooling(
            states[-1],
            self.post_layernorm(states[-1][:, 0]),
            states if keep_states else None,
            layout.kept_weights,
        )
        return forward.finish(output, config, return_dict)


@keras_serializable
class TFCLIPTextMainLayer(Layer):
    """The text half under the name that it has in both."""

    config_class: ClassVar[Any] = CLIPTextConfig

    def __init__(self, config: CLIPTextConfig, name: str = "clip") -> None:
        super().__init__(name)
        self.config = config
        self.text_model = TFCLIPTextTransformer(config)

    def get_input_embeddings(self) -> layers.Embedding:
        """The words' embeddings."""
        return self.text_model.embeddings.token_embedding

    @override
    def call(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, position_ids: Maybe = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, training: bool = False,
    ) -> Any:  # fmt: skip
        """As ``TFCLIPTextTransformer.call``."""
        return self.text_model(
            input_ids, attention_mask, position_ids, output_attentions, output_hidden_states,
            return_dict, training=training,
        )  # fmt: skip


@keras_serializable
class TFCLIPVisionMainLayer(Layer):
    """The image half under the name that it has in both."""

    config_class: ClassVar[Any] = CLIPVisionConfig

    def __init__(self, config: CLIPVisionConfig, name: str = "clip") -> None:
        super().__init__(name)
        self.config = config
        self.vision_model = TFCLIPVisionTransformer(config)

    def get_input_embeddings(self) -> Layer:
        """The projection of patches."""
        return self.vision_model.embeddings.patch_embedding

    @override
    def call(
        self, pixel_values: Maybe = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None, training: bool = False,
    ) -> Any:  # fmt: skip
        """As ``TFCLIPVisionTransformer.call``."""
        return self.vision_model(
            pixel_values, output_attentions, output_hidden_states, return_dict, training=training
        )


@keras_serializable
class TFCLIPMainLayer(Layer):
    """Both halves, and the space in which they meet."""

    config_class: ClassVar[Any] = CLIPConfig

    def __init__(self, config: CLIPConfig, name: str = "clip") -> None:
        super().__init__(name)
        self.config = config
        text, vision, width = config.text_config, config.vision_config, config.projection_dim
        self.text_model = TFCLIPTextTransformer(text)
        self.vision_model = TFCLIPVisionTransformer(vision)
        self.visual_projection, self.text_projection = (
            layers.dense(
                name, half.hidden_size, width,
                half.hidden_size**-0.5 * half.initializer_factor, bias=False,
            )
            for name, half in (("visual_projection", vision), ("text_projection", text))
        )  # fmt: skip
        start = keras.initializers.Constant(config.logit_scale_init_value)
        self.logit_scale = self.variable("logit_scale", (1,), start)

    def get_input_embeddings(self) -> layers.Embedding:
        """The words' embeddings."""
        return self.text_model.embeddings.token_embedding

    def text_features(
        self, input_ids: Maybe, attention_mask: Maybe, position_ids: Maybe, **kwargs: Any
    ) -> tuple[Any, Tensor]:
        """What the text half returns, and features ``[T, D]``."""
        half = self.text_model(input_ids, attention_mask, position_ids, return_dict=True, **kwargs)
        return half, self.text_projection(half.pooler_output)

    def image_features(self, pixel_values: Maybe, **kwargs: Any) -> tuple[Any, Tensor]:
        """What the image half returns, and features ``[I, D]``."""
        half = self.vision_model(pixel_values, return_dict=True, **kwargs)
        return half, self.visual_projection(half.pooler_output)

    @override
    def call(
        self, input_ids: Maybe = None, pixel_values: Maybe = None, attention_mask: Maybe = None,
        position_ids: Maybe = None, return_loss: Flag = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None, training: bool = False,
    ) -> Any:  # fmt: skip
        """How well each text fits each image.

        Args:
            input_ids: integers ``[T, L]``; with mask and positions as in
                ``TFCLIPTextTransformer``.
            pixel_values: images, ``[I, C, Y, X]``.
            attention_mask: ``[T, L]``.
            position_ids: ``[T, L]``.
            return_loss: the texts belong to the images, one by one: return the contrastive loss.
            output_attentions: return the attention weights of each layer.
            output_hidden_states: return the hidden states of each layer.
            return_dict: return a ``ModelOutput``, else a tuple.
            training: whether dropout is on.
        """
        asked = {"output_attentions": output_attentions,
                 "output_hidden_states": output_hidden_states, "training": training}  # fmt: skip
        text, text_TD = self.text_features(input_ids, attention_mask, position_ids, **asked)
        image, image_ID = self.image_features(pixel_values, **asked)
        text_TD, image_ID = (
            states / tf.norm(states, axis=-1, keepdims=True) for states in (text_TD, image_ID)
        )
        scores_TI = tf.matmul(text_TD, image_ID, transpose_b=True) * tf.exp(self.logit_scale)
        output = outputs.CLIPOutput(
            contrastive_loss(scores_TI) if return_loss else None,
            tf.transpose(scores_TI), scores_TI, text_TD, image_ID, text, image,
        )  # fmt: skip
        return forward.finish(output, self.config, return_dict)


def contrastive_loss(scores_TI: Tensor) -> Tensor:
    """Mean cross entropy of finding each text's image and each image's text."""
    own = tf.range(tf.shape(scores_TI)[0])
    both = (
        tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(own, scores))
        for scores in (scores_TI, tf.transpose(scores_TI))
    )
    return sum(both) / 2.0


class TFCLIPPreTrainedModel(TFPreTrainedModel):
    """What all CLIP models share: names."""

    config_class: ClassVar[Any] = CLIPConfig
    base_model_prefix = "clip"


class TFCLIPTextModel(TFCLIPPreTrainedModel):
    """The text half alone."""

    config_class: ClassVar[Any] = CLIPTextConfig
    serving_inputs: ClassVar[tuple[str, ...]] = ("input_ids", "attention_mask")

    def __init__(self, config: CLIPTextConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.clip = TFCLIPTextMainLayer(config)

    @unpack_inputs
    @override
    def call(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, position_ids: Maybe = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, training: bool = False,
    ) -> Any:  # fmt: skip
        """Hidden states ``[B, L, H]``, and those of the end tokens ``[B, H]``."""
        return self.clip(
            input_ids, attention_mask, position_ids, output_attentions, output_hidden_states,
            return_dict, training=training,
        )  # fmt: skip


class TFCLIPVisionModel(ImageInputs, TFCLIPPreTrainedModel):
    """The image half alone."""

    config_class: ClassVar[Any] = CLIPVisionConfig

    def __init__(self, config: CLIPVisionConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.clip = TFCLIPVisionMainLayer(config)

    @unpack_inputs
    @override
    def call(
        self, pixel_values: Maybe = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None, training: bool = False,
    ) -> Any:  # fmt: skip
        """Hidden states ``[B, L, H]``, and the pooled ones ``[B, H]``."""
        return self.clip(
            pixel_values, output_attentions, output_hidden_states, return_dict, training=training
        )


class TFCLIPModel(TFCLIPPreTrainedModel):
    """Texts and images in one space."""

    serving_inputs: ClassVar[tuple[str, ...]] = ("input_ids", "attention_mask")

    def __init__(self, config: CLIPConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.clip = TFCLIPMainLayer(config)

    @property
    @override
    def dummy_inputs(self) -> dict[str, Tensor]:
        """Three texts and three images."""
        return {**super().dummy_inputs, **example_images(self.config.vision_config)}

    @property
    @override
    def input_signature(self) -> dict[str, Any]:
        """Texts and images."""
        return {**super().input_signature, **image_signature()}

    @override
    def serving_output(self, output: Any) -> dict[str, Tensor]:
        """The output as tensors by name; without what the halves returned."""
        return {name: tensor for name, tensor in output.items() if tf.is_tensor(tensor)}

    @override
    def resize_token_embeddings(self, new_num_tokens: int | None = None) -> Any:
        """Of the text half."""
        half = EmbeddingsMixin()
        half.config, half.base_layer = self.config.text_config, self.clip
        return half.resize_token_embeddings(new_num_tokens)

    @unpack_inputs
    def get_text_features(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, position_ids: Maybe = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, training: bool = False,
    ) -> Tensor:  # fmt: skip
        """Features ``[B, D]`` of texts, not normalised."""
        text = (input_ids, attention_mask, position_ids)
        return self.clip.text_features(*text, training=training)[1]

    @unpack_inputs
    def get_image_features(
        self, pixel_values: Maybe = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None, training: bool = False,
    ) -> Tensor:  # fmt: skip
        """Features ``[B, D]`` of images, not normalised."""
        return self.clip.image_features(pixel_values, training=training)[1]

    @unpack_inputs
    @override
    def call(
        self, input_ids: Maybe = None, pixel_values: Maybe = None, attention_mask: Maybe = None,
        position_ids: Maybe = None, return_loss: Flag = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None, training: bool = False,
    ) -> Any:  # fmt: skip
        """Scores and features; the arguments are ``TFCLIPMainLayer.call``'s."""
        return self.clip(
            input_ids, pixel_values, attention_mask, position_ids, return_loss, output_attentions,
            output_hidden_states, return_dict, training=training,
        )  # fmt: skip
