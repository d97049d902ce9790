"""SigLIP (Zhai et al. 2023, arXiv:2303.15343): its text half, its image half and both.

Shape letters: B batch, T texts, I images, C channels, Y and X pixels, P patches, L tokens, H
hidden, N heads. ``[…]`` stands for the axes of a text's tokens, which are the layout's.

Source: transformers 4.57.3, ``modeling_siglip.py`` (names, outputs, losses).
"""

# Calling a module is Any to the type checker; every forward here says what it returns.
# mypy: disable-error-code="no-any-return"

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from model_base import forward, outputs
from model_base.configs.siglip import SiglipConfig, SiglipTextConfig, SiglipVisionConfig
from model_base.errors import UnsupportedConfig
from model_base.torch import layers, layouts
from model_base.torch.arguments import Flag, Maybe
from model_base.torch.attention import Scoring
from model_base.torch.base import PreTrainedModel
from model_base.torch.layouts import Layout, PaddedMemory
from model_base.torch.multi_head import PreNormLayer, mlp, pre_norm_layers


class SiglipPreTrainedModel(PreTrainedModel):
    """What all SigLIP models share: names, how weights start."""

    config_class: ClassVar[Any] = SiglipConfig
    base_model_prefix = "siglip"
    supports_gradient_checkpointing: ClassVar[bool] = True
    _keys_to_ignore_on_load_unexpected: list[str] | None = [r"position_ids"]

    @override
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding | nn.Conv2d):
            layers.normal_init(module, module.weight[0].numel() ** -0.5)
        elif isinstance(module, nn.LayerNorm):
            layers.normal_init(module, 0.0)
        elif isinstance(module, PreNormLayer):
            for child in module.modules():
                if isinstance(child, nn.Linear):
                    nn.init.xavier_uniform_(child.weight)
        elif isinstance(module, SiglipPooling):
            nn.init.xavier_uniform_(module.probe)
        elif isinstance(module, SiglipPoolingAttention):
            nn.init.xavier_uniform_(module.in_proj_weight)
            nn.init.zeros_(module.in_proj_bias)
        elif isinstance(module, SiglipModel):
            nn.init.zeros_(module.logit_scale)
            nn.init.zeros_(module.logit_bias)


class SiglipTextEmbeddings(nn.Module):
    """Word and position embeddings."""

    def __init__(self, config: SiglipTextConfig) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embedding = nn.Embedding(config.max_position_embeddings, config.hidden_size)

    def forward(self, input_ids: Tensor, layout: Layout) -> Tensor:
        """``[…, H]`` of ids ``[…]``."""
        return self.token_embedding(input_ids) + self.position_embedding(layout.positions)


class SiglipVisionEmbeddings(nn.Module):
    """Patches with their positions."""

    def __init__(self, config: SiglipVisionConfig) -> None:
        super().__init__()
        size, side = config.hidden_size, config.patch_size
        self.grid = (config.image_size // side, config.image_size // side)
        self.patch_embedding = nn.Conv2d(config.num_channels, size, side, side)
        self.position_embedding = nn.Embedding(self.grid[0] * self.grid[1], size)

    def forward(self, pixels_BCYX: Tensor, interpolate: bool) -> Tensor:
        """``[B, P, H]``."""
        maps_BHYX = self.patch_embedding(pixels_BCYX.to(self.patch_embedding.weight.dtype))
        table_PH, grid = self.position_embedding.weight, (maps_BHYX.shape[2], maps_BHYX.shape[3])
        if interpolate:
            table_PH = layers.resized_grid(table_PH, self.grid, grid)
        elif grid != self.grid:
            raise ValueError(
                f"images of {grid[0]}*{grid[1]} patches do not fit positions for "
                f"{self.grid[0]}*{self.grid[1]}; accepted with interpolate_pos_encoding=True"
            )
        return maps_BHYX.flatten(2).transpose(1, 2) + table_PH


class SiglipPoolingAttention(nn.Module):
    """Attention whose three inner projections are one matrix, ``[3 · H, H]``."""

    def __init__(self, config: SiglipVisionConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.head_dim = forward.head_size(size, config.num_attention_heads)
        self.in_proj_weight = nn.Parameter(torch.empty(3 * size, size))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * size))
        self.out_proj = nn.Linear(size, size)

    def forward(self, query_B1H: Tensor, hidden_BPH: Tensor) -> Tensor:
        """``[B, 1, H]``."""
        states = (query_B1H, hidden_BPH, hidden_BPH)
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        query, key, value = (
            layers.split_heads(F.linear(of, weight, bias), self.head_dim)
            for of, weight, bias in zip(states, weights, biases, strict=True)
        )
        scoring = Scoring(self.head_dim**-0.5)
        return self.out_proj(PaddedMemory().attend(0, query, key, value, scoring).flatten(-2))


class SiglipPooling(nn.Module):
    """A learned query over all patches, then feed-forward."""

    def __init__(self, config: SiglipVisionConfig) -> None:
        super().__init__()
        self.probe = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        self.attention = SiglipPoolingAttention(config)
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = mlp(config)

    def forward(self, hidden_BPH: Tensor) -> Tensor:
        """``[B, H]``."""
        pooled_B1H = self.attention(self.probe.expand(len(hidden_BPH), -1, -1), hidden_BPH)
        return (pooled_B1H + self.mlp(self.layernorm(pooled_B1H)))[:, 0]


class SiglipTextTransformer(SiglipPreTrainedModel):
    """The text half; every token sees the whole text."""

    config_class: ClassVar[Any] = SiglipTextConfig

    def __init__(self, config: SiglipTextConfig) -> None:
        super().__init__(config)
        self.embeddings = SiglipTextEmbeddings(config)
        self.encoder: Any = pre_norm_layers(config)
        self.gradient_checkpointing = False
        self.final_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.head = nn.Linear(config.hidden_size, config.projection_size)
        self.post_init()

    @override
    def get_input_embeddings(self) -> nn.Module:
        return self.embeddings.token_embedding

    @override
    def set_input_embeddings(self, value: Any) -> None:
        self.embeddings.token_embedding = value

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, position_ids: Maybe = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Compute hidden states; the pooled one is the last column's, padding or not.

        Args:
            input_ids: int64 ``[B, L]``, or ``[T]`` with a packed ``layout``.
            attention_mask: ``[B, L]`` or ``[B, L, L]``; 1 keeps a token, 0 hides it.
            position_ids: ``[B, L]``.
            output_attentions: return the attention weights of each layer.
            output_hidden_states: return the hidden states of each layer.
            return_dict: return a ``ModelOutput``, else a tuple.
            layout: how tokens lie in memory; replaces mask and positions.

        Raises:
            ValueError: no ids; a ``layout`` with an argument that it replaces.
        """
        if input_ids is None:
            raise ValueError("input_ids is missing; accepted: ids of a text")
        config = self.config
        layout = layouts.layout_for(
            self, input_ids, layout, attention_mask, position_ids,
            keep_weights=forward.chosen(output_attentions, config.output_attentions),
        )  # fmt: skip
        states = layers.run_layers(
            self.encoder.layers, self.embeddings(input_ids, layout), layout,
            recompute=self.gradient_checkpointing and self.training,
        )  # fmt: skip
        hidden = self.final_layer_norm(states[-1])
        keep_states = forward.chosen(output_hidden_states, config.output_hidden_states)
        output = outputs.BaseModelOutputWithPooling(
            hidden,
            self.head(layout.last_tokens(hidden)),
            states if keep_states else None,
            layouts.weights_of(layout),
        )
        return forward.finish(output, config, return_dict)


class SiglipVisionTransformer(SiglipPreTrainedModel):
    """The image half."""

    config_class: ClassVar[Any] = SiglipVisionConfig
    main_input_name = "pixel_values"

    def __init__(self, config: SiglipVisionConfig) -> None:
        super().__init__(config)
        self.embeddings = SiglipVisionEmbeddings(config)
        self.encoder: Any = pre_norm_layers(config)
        self.gradient_checkpointing = False
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.head = SiglipPooling(config) if config.vision_use_head else None
        self.post_init()

    def forward(
        self, pixel_values: Maybe = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, interpolate_pos_encoding: bool = False,
        return_dict: Flag = None,
    ) -> Any:  # fmt: skip
        """Compute hidden states.

        Args:
            pixel_values: images, ``[B, C, Y, X]``.
            output_attentions: return the attention weights of each layer.
            output_hidden_states: return the hidden states of each layer.
            interpolate_pos_encoding: accept images of another size than the configuration's.
            return_dict: return a ``ModelOutput``, else a tuple.

        Raises:
            ValueError: no images, or images of another size.
        """
        if pixel_values is None:
            raise ValueError("pixel_values is missing; accepted: images [B, C, Y, X]")
        config, embedded = self.config, self.embeddings(pixel_values, interpolate_pos_encoding)
        layout = layouts.layout_for(
            self, embedded[..., 0], None, None, None,
            keep_weights=forward.chosen(output_attentions, config.output_attentions),
        )  # fmt: skip
        states = layers.run_layers(
            self.encoder.layers, embedded, layout,
            recompute=self.gradient_checkpointing and self.training,
        )  # fmt: skip
        hidden_BPH = self.post_layernorm(states[-1])
        keep_states = forward.chosen(output_hidden_states, config.output_hidden_states)
        output = outputs.BaseModelOutputWithPooling(
            hidden_BPH,
            self.head(hidden_BPH) if self.head is not None else None,
            states if keep_states else None,
            layouts.weights_of(layout),
        )
        return forward.finish(output, config, return_dict)


class SiglipTextModel(SiglipPreTrainedModel):
    """The text half alone; its forward is that of ``SiglipTextTransformer``."""

    config_class: ClassVar[Any] = SiglipTextConfig

    def __init__(self, config: SiglipTextConfig) -> None:
        super().__init__(config)
        self.text_model = SiglipTextTransformer(config)
        self.post_init()

    @override
    def get_input_embeddings(self) -> nn.Module:
        return self.text_model.get_input_embeddings()

    @override
    def set_input_embeddings(self, value: Any) -> None:
        self.text_model.set_input_embeddings(value)

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, position_ids: Maybe = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Hidden states ``[…, H]``, and the features of each text."""
        return self.text_model(
            input_ids, attention_mask, position_ids, output_attentions, output_hidden_states,
            return_dict, layout,
        )  # fmt: skip


def example_images(config: SiglipVisionConfig, batch_size: int) -> Tensor:
    """Images ``[B, C, Y, X]``."""
    return torch.zeros(batch_size, config.num_channels, config.image_size, config.image_size)


class SiglipVisionModel(SiglipPreTrainedModel):
    """The image half alone; its forward is that of ``SiglipVisionTransformer``."""

    config_class: ClassVar[Any] = SiglipVisionConfig
    main_input_name = "pixel_values"

    def __init__(self, config: SiglipVisionConfig) -> None:
        super().__init__(config)
        self.vision_model = SiglipVisionTransformer(config)
        self.post_init()

    @override
    def get_input_embeddings(self) -> nn.Module:
        return self.vision_model.embeddings.patch_embedding

    @override
    def example_inputs(self, batch_size: int, sequence_length: int) -> dict[str, Tensor]:
        """Images ``[B, C, Y, X]``; a sequence is as long as the image has patches."""
        return {"pixel_values": example_images(self.config, batch_size)}

    def forward(
        self, pixel_values: Maybe = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, interpolate_pos_encoding: bool = False,
        return_dict: Flag = None,
    ) -> Any:  # fmt: skip
        """Hidden states ``[B, P, H]``, and the features of each image."""
        return self.vision_model(
            pixel_values, output_attentions, output_hidden_states, interpolate_pos_encoding,
            return_dict,
        )  # fmt: skip


class SiglipModel(SiglipPreTrainedModel):
    """Texts and images in one space."""

    def __init__(self, config: SiglipConfig) -> None:
        super().__init__(config)
        if not config.vision_config.vision_use_head:
            raise UnsupportedConfig("vision_use_head", False, "True, for texts beside images")
        self.text_model = SiglipTextTransformer(config.text_config)
        self.vision_model = SiglipVisionTransformer(config.vision_config)
        self.logit_scale = nn.Parameter(torch.zeros(1))
        self.logit_bias = nn.Parameter(torch.zeros(1))
        self.post_init()

    @override
    def get_input_embeddings(self) -> nn.Module:
        return self.text_model.get_input_embeddings()

    @override
    def resize_token_embeddings(self, new_num_tokens: int | None = None) -> nn.Module:
        """Of the text half."""
        return self.text_model.resize_token_embeddings(new_num_tokens)

    @override
    def example_inputs(self, batch_size: int, sequence_length: int) -> dict[str, Tensor]:
        inputs = super().example_inputs(batch_size, sequence_length)
        return {**inputs, "pixel_values": example_images(self.config.vision_config, batch_size)}

    def get_text_features(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, position_ids: Maybe = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
    ) -> Tensor:  # fmt: skip
        """Features ``[B, H]`` of texts, not normalised."""
        trunk = self.text_model(input_ids, attention_mask, position_ids, return_dict=True)
        return trunk.pooler_output

    def get_image_features(
        self, pixel_values: Maybe = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, interpolate_pos_encoding: bool = False,
    ) -> Tensor:  # fmt: skip
        """Features ``[B, H]`` of images, not normalised."""
        trunk = self.vision_model(
            pixel_values, interpolate_pos_encoding=interpolate_pos_encoding, return_dict=True
        )
        return trunk.pooler_output

    def forward(
        self, input_ids: Maybe = None, pixel_values: Maybe = None, attention_mask: Maybe = None,
        position_ids: Maybe = None, return_loss: Flag = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, interpolate_pos_encoding: bool = False,
        return_dict: Flag = None,
    ) -> Any:  # fmt: skip
        """How well each text fits each image; each score is the logit of a yes or no.

        Args:
            input_ids: int64 ``[T, L]``; with mask and positions as in ``SiglipTextTransformer``.
            pixel_values: images, ``[I, C, Y, X]``.
            attention_mask: ``[T, L]``.
            position_ids: ``[T, L]``.
            return_loss: the texts belong to the images, one by one: return the sigmoid loss.
            output_attentions: return the attention weights of each layer.
            output_hidden_states: return the hidden states of each layer.
            interpolate_pos_encoding: accept images of another size than the configuration's.
            return_dict: return a ``ModelOutput``, else a tuple.
        """
        keep = {"output_attentions": output_attentions,
                "output_hidden_states": output_hidden_states}  # fmt: skip
        text = self.text_model(input_ids, attention_mask, position_ids, return_dict=True, **keep)
        image = self.vision_model(
            pixel_values, interpolate_pos_encoding=interpolate_pos_encoding, return_dict=True,
            **keep,
        )  # fmt: skip
        text_TH = F.normalize(text.pooler_output, dim=-1)
        image_IH = F.normalize(image.pooler_output, dim=-1)
        scores_TI = text_TH @ image_IH.t() * self.logit_scale.exp() + self.logit_bias
        output = outputs.SiglipOutput(
            sigmoid_loss(scores_TI) if return_loss else None,
            scores_TI.t(), scores_TI, text_TH, image_IH, text, image,
        )  # fmt: skip
        return forward.finish(output, self.config, return_dict)


def sigmoid_loss(scores_TI: Tensor) -> Tensor:
    """Cross entropy of whether a text belongs to an image, summed over images, mean of texts."""
    is_own = torch.eye(len(scores_TI), device=scores_TI.device, dtype=scores_TI.dtype)
    return -F.logsigmoid((2 * is_own - 1) * scores_TI).sum(-1).mean()


class SiglipForImageClassification(SiglipPreTrainedModel):
    """A label for each image, or a number, of the mean of its patches."""

    main_input_name = "pixel_values"

    def __init__(self, config: SiglipConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.vision_model = SiglipVisionTransformer(config.vision_config)
        size = config.vision_config.hidden_size
        self.classifier = nn.Linear(size, config.num_labels) if config.num_labels else nn.Identity()
        self.post_init()

    @override
    def example_inputs(self, batch_size: int, sequence_length: int) -> dict[str, Tensor]:
        return {"pixel_values": example_images(self.config.vision_config, batch_size)}

    def forward(
        self, pixel_values: Maybe = None, labels: Maybe = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, interpolate_pos_encoding: bool = False,
        return_dict: Flag = None,
    ) -> Any:  # fmt: skip
        """Logits ``[B, labels]``; labels as ``layers.sequence_loss`` takes them."""
        trunk = self.vision_model(
            pixel_values, output_attentions, output_hidden_states, interpolate_pos_encoding, True
        )
        logits = self.classifier(trunk.last_hidden_state.mean(dim=1))
        loss = layers.sequence_loss(logits, labels, self.config)
        output = outputs.ImageClassifierOutput(loss, logits)
        return forward.finish(output, self.config, return_dict, trunk)
