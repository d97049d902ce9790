"""CLIP (Radford et al. 2021, arXiv:2103.00020): its text half, its image half and both.

Shape letters: B batch, T texts, I images, C channels, Y and X pixels, L tokens, H hidden, D width
of the common space. ``[…]`` stands for the axes of a text's tokens, which are the layout's.

Source: transformers 4.19.2, ``modeling_clip.py`` (names, outputs, losses).
"""

# Calling a module is Any to the type checker; every forward here says what it returns.
# mypy: disable-error-code="no-any-return"

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from model_base import forward, outputs
from model_base.configs.clip import CLIPConfig, CLIPTextConfig, CLIPVisionConfig
from model_base.torch import layers, layouts
from model_base.torch.arguments import Flag, Maybe
from model_base.torch.base import PreTrainedModel
from model_base.torch.layouts import Layout
from model_base.torch.multi_head import PreNormLayer, pre_norm_layers


class CLIPPreTrainedModel(PreTrainedModel):
    """What all CLIP models share: names, how weights start."""

    config_class: ClassVar[Any] = CLIPConfig
    base_model_prefix = "clip"
    supports_gradient_checkpointing: ClassVar[bool] = True
    _keys_to_ignore_on_load_unexpected: list[str] | None = [r"position_ids"]

    @override
    def _init_weights(self, module: nn.Module) -> None:
        config, factor = self.config, getattr(self.config, "initializer_factor", 1.0)
        layers.normal_init(module, 0.02 * factor)
        if isinstance(module, CLIPVisionEmbeddings):
            module.class_embedding.data.normal_(0.0, len(module.class_embedding) ** -0.5 * factor)
        elif isinstance(module, PreNormLayer) and hasattr(config, "num_hidden_layers"):
            width = config.hidden_size**-0.5 * factor
            deep = width * (2 * config.num_hidden_layers) ** -0.5
            attn: Any = module.self_attn
            mlp: Any = module.mlp
            for linear in (attn.q_proj, attn.k_proj, attn.v_proj, mlp.fc2):
                linear.weight.data.normal_(0.0, deep)
            attn.out_proj.weight.data.normal_(0.0, width)
            mlp.fc1.weight.data.normal_(0.0, (2 * config.hidden_size) ** -0.5 * factor)
        elif isinstance(module, CLIPModel):
            module.logit_scale.data.fill_(config.logit_scale_init_value)


class CLIPTextEmbeddings(nn.Module):
    """Word and position embeddings."""

    def __init__(self, config: CLIPTextConfig) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embedding = nn.Embedding(config.max_position_embeddings, config.hidden_size)

    def forward(self, input_ids: Tensor, layout: Layout) -> Tensor:
        """``[…, H]`` of ids ``[…]``."""
        return self.token_embedding(input_ids) + self.position_embedding(layout.positions)


class CLIPVisionEmbeddings(nn.Module):
    """Patches and a token in front of them, with their positions."""

    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__()
        size, side = config.hidden_size, config.patch_size
        self.image_size = config.image_size
        self.class_embedding = nn.Parameter(torch.zeros(size))
        self.patch_embedding = nn.Conv2d(config.num_channels, size, side, side, bias=False)
        self.position_embedding = nn.Embedding(1 + (config.image_size // side) ** 2, size)

    def forward(self, pixels_BCYX: Tensor) -> Tensor:
        """``[B, L, H]``."""
        if (size := tuple(pixels_BCYX.shape[2:])) != (self.image_size, self.image_size):
            raise ValueError(f"images of {size} pixels; accepted: {self.image_size} in height and "
                             "width")  # fmt: skip
        pixels_BCYX = pixels_BCYX.to(self.patch_embedding.weight.dtype)
        patches_BPH = self.patch_embedding(pixels_BCYX).flatten(2).transpose(1, 2)
        first_B1H = self.class_embedding.expand(len(patches_BPH), 1, -1)
        return torch.cat([first_B1H, patches_BPH], dim=1) + self.position_embedding.weight


class CLIPTextPreTrainedModel(CLIPPreTrainedModel):
    """What models of the text half share."""

    config_class: ClassVar[Any] = CLIPTextConfig
    text_model: Any

    @property
    @override
    def is_causal(self) -> bool:
        return True

    @override
    def get_input_embeddings(self) -> nn.Module:
        return self.text_model.get_input_embeddings()

    @override
    def set_input_embeddings(self, value: Any) -> None:
        self.text_model.set_input_embeddings(value)


class CLIPTextTransformer(CLIPTextPreTrainedModel):
    """The text half."""

    def __init__(self, config: CLIPTextConfig) -> None:
        super().__init__(config)
        self.embeddings = CLIPTextEmbeddings(config)
        self.encoder: Any = pre_norm_layers(config)
        self.gradient_checkpointing = False
        self.final_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
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
        """Compute hidden states.

        Args:
            input_ids: int64 ``[B, L]``, or ``[T]`` with a packed ``layout``.
            attention_mask: ``[B, L]`` or ``[B, L, L]``; 1 keeps a token, 0 hides it.
            position_ids: ``[B, L]``.
            output_attentions: return the attention weights of each layer.
            output_hidden_states: return the hidden states of each layer.
            return_dict: return a ``ModelOutput``, else a tuple.
            layout: how tokens lie in memory; replaces mask and positions; the end of a text is then
                its last token.

        Raises:
            ValueError: no ids; a ``layout`` with an argument that it replaces.
        """
        if input_ids is None:
            raise ValueError("input_ids is missing; accepted: ids of a text")
        config, given = self.config, layout
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
            self._ends(hidden, input_ids) if given is None else layout.last_tokens(hidden),
            states if keep_states else None,
            layouts.weights_of(layout),
        )
        return forward.finish(output, config, return_dict)

    def _ends(self, hidden_BLH: Tensor, ids_BL: Tensor) -> Tensor:
        """The states of the first end token, ``[B, H]``."""
        end = self.config.eos_token_id
        is_largest = end == 2  # what 4.19 wrote, whatever the vocabulary
        places_B = (ids_BL if is_largest else (ids_BL == end).int()).argmax(dim=-1)
        return hidden_BLH[torch.arange(len(ids_BL), device=ids_BL.device), places_B]


class CLIPVisionPreTrainedModel(CLIPPreTrainedModel):
    """What models of the image half share."""

    config_class: ClassVar[Any] = CLIPVisionConfig
    main_input_name = "pixel_values"

    @override
    def example_inputs(self, batch_size: int, sequence_length: int) -> dict[str, Tensor]:
        """Images ``[B, C, Y, X]``; a sequence is as long as the image has patches."""
        return {"pixel_values": example_images(self.config, batch_size)}


def example_images(config: CLIPVisionConfig, batch_size: int) -> Tensor:
    """Images ``[B, C, Y, X]``."""
    return torch.zeros(batch_size, config.num_channels, config.image_size, config.image_size)


class CLIPVisionTransformer(CLIPVisionPreTrainedModel):
    """The image half."""

    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__(config)
        size, eps = config.hidden_size, config.layer_norm_eps
        self.embeddings = CLIPVisionEmbeddings(config)
        self.pre_layrnorm = nn.LayerNorm(size, eps=eps)
        self.encoder: Any = pre_norm_layers(config)
        self.gradient_checkpointing = False
        self.post_layernorm = nn.LayerNorm(size, eps=eps)
        self.post_init()

    def forward(
        self, pixel_values: Maybe = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None,
    ) -> Any:  # fmt: skip
        """Compute hidden states; the pooled one is the first token's, normalised.

        Args:
            pixel_values: images, ``[B, C, Y, X]``.
            output_attentions: return the attention weights of each layer.
            output_hidden_states: return the hidden states of each layer.
            return_dict: return a ``ModelOutput``, else a tuple.

        Raises:
            ValueError: no images, or images of another size.
        """
        if pixel_values is None:
            raise ValueError("pixel_values is missing; accepted: images [B, C, Y, X]")
        config, embedded = self.config, self.pre_layrnorm(self.embeddings(pixel_values))
        layout = layouts.layout_for(
            self, embedded[..., 0], None, None, None,
            keep_weights=forward.chosen(output_attentions, config.output_attentions),
        )  # fmt: skip
        states = layers.run_layers(
            self.encoder.layers, embedded, layout,
            recompute=self.gradient_checkpointing and self.training,
        )  # fmt: skip
        keep_states = forward.chosen(output_hidden_states, config.output_hidden_states)
        output = outputs.BaseModelOutputWithPooling(
            states[-1],
            self.post_layernorm(layout.first_tokens(states[-1])),
            states if keep_states else None,
            layouts.weights_of(layout),
        )
        return forward.finish(output, config, return_dict)


class CLIPTextModel(CLIPTextPreTrainedModel):
    """The text half alone; its forward is that of ``CLIPTextTransformer``."""

    def __init__(self, config: CLIPTextConfig) -> None:
        super().__init__(config)
        self.text_model = CLIPTextTransformer(config)
        self.post_init()

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, position_ids: Maybe = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Hidden states ``[…, H]``, and those of the end tokens ``[B, H]``."""
        return self.text_model(
            input_ids, attention_mask, position_ids, output_attentions, output_hidden_states,
            return_dict, layout,
        )  # fmt: skip


class CLIPTextModelWithProjection(CLIPTextModel):
    """The text half with its projection."""

    def __init__(self, config: CLIPTextConfig) -> None:
        super().__init__(config)
        self.text_projection = nn.Linear(config.hidden_size, config.projection_dim, bias=False)
        self.post_init()

    @override
    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, position_ids: Maybe = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Features ``[B, D]`` of texts."""
        trunk = super().forward(
            input_ids, attention_mask, position_ids, output_attentions, output_hidden_states,
            return_dict=True, layout=layout,
        )  # fmt: skip
        output = outputs.CLIPTextModelOutput(self.text_projection(trunk.pooler_output))
        return forward.finish(output, self.config, return_dict, trunk)


class CLIPVisionModel(CLIPVisionPreTrainedModel):
    """The image half alone; its forward is that of ``CLIPVisionTransformer``."""

    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__(config)
        self.vision_model = CLIPVisionTransformer(config)
        self.post_init()

    @override
    def get_input_embeddings(self) -> nn.Module:
        return self.vision_model.embeddings.patch_embedding

    def forward(
        self, pixel_values: Maybe = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None,
    ) -> Any:  # fmt: skip
        """Hidden states ``[B, L, H]``, and the pooled ones ``[B, H]``."""
        return self.vision_model(pixel_values, output_attentions, output_hidden_states, return_dict)


class CLIPVisionModelWithProjection(CLIPVisionModel):
    """The image half with its projection."""

    def __init__(self, config: CLIPVisionConfig) -> None:
        super().__init__(config)
        self.visual_projection = nn.Linear(config.hidden_size, config.projection_dim, bias=False)
        self.post_init()

    @override
    def forward(
        self, pixel_values: Maybe = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None,
    ) -> Any:  # fmt: skip
        """Features ``[B, D]`` of images."""
        trunk = super().forward(pixel_values, output_attentions, output_hidden_states, True)
        output = outputs.CLIPVisionModelOutput(self.visual_projection(trunk.pooler_output))
        return forward.finish(output, self.config, return_dict, trunk)


class CLIPModel(CLIPPreTrainedModel):
    """Texts and images in one space."""

    def __init__(self, config: CLIPConfig) -> None:
        super().__init__(config)
        text, vision, width = config.text_config, config.vision_config, config.projection_dim
        self.text_model = CLIPTextTransformer(text)
        self.vision_model = CLIPVisionTransformer(vision)
        self.visual_projection = nn.Linear(vision.hidden_size, width, bias=False)
        self.text_projection = nn.Linear(text.hidden_size, width, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(float(config.logit_scale_init_value)))
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
        return_dict: Flag = None,
    ) -> Tensor:  # fmt: skip
        """Features ``[B, D]`` of texts, not normalised."""
        trunk = self.text_model(input_ids, attention_mask, position_ids, return_dict=True)
        return self.text_projection(trunk.pooler_output)

    def get_image_features(
        self, pixel_values: Maybe = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None,
    ) -> Tensor:  # fmt: skip
        """Features ``[B, D]`` of images, not normalised."""
        trunk = self.vision_model(pixel_values, return_dict=True)
        return self.visual_projection(trunk.pooler_output)

    def forward(
        self, input_ids: Maybe = None, pixel_values: Maybe = None, attention_mask: Maybe = None,
        position_ids: Maybe = None, return_loss: Flag = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None,
    ) -> Any:  # fmt: skip
        """How well each text fits each image.

        Args:
            input_ids: int64 ``[T, L]``; with mask and positions as in ``CLIPTextTransformer``.
            pixel_values: images, ``[I, C, Y, X]``.
            attention_mask: ``[T, L]``.
            position_ids: ``[T, L]``.
            return_loss: the texts belong to the images, one by one: return the contrastive loss.
            output_attentions: return the attention weights of each layer.
            output_hidden_states: return the hidden states of each layer.
            return_dict: return a ``ModelOutput``, else a tuple.
        """
        keep = {"output_attentions": output_attentions,
                "output_hidden_states": output_hidden_states}  # fmt: skip
        text = self.text_model(input_ids, attention_mask, position_ids, return_dict=True, **keep)
        image = self.vision_model(pixel_values, return_dict=True, **keep)
        text_TD = F.normalize(self.text_projection(text.pooler_output), dim=-1)
        image_ID = F.normalize(self.visual_projection(image.pooler_output), dim=-1)
        scores_TI = text_TD @ image_ID.t() * self.logit_scale.exp()
        output = outputs.CLIPOutput(
            contrastive_loss(scores_TI) if return_loss else None,
            scores_TI.t(), scores_TI, text_TD, image_ID, text, image,
        )  # fmt: skip
        return forward.finish(output, self.config, return_dict)


def contrastive_loss(scores_TI: Tensor) -> Tensor:
    """Mean cross entropy of finding each text's image and each image's text."""
    own = torch.arange(len(scores_TI), device=scores_TI.device)
    return (F.cross_entropy(scores_TI, own) + F.cross_entropy(scores_TI.t(), own)) / 2
