"""ViT (Dosovitskiy et al. 2020, arXiv:2010.11929) and its heads.

Shape letters: B batch, C channels, Y and X pixels, P patches of an image, L = 1 + P tokens, H
hidden, N heads. Arguments that a head does not explain are those of ``ViTModel.forward``.

Source: transformers 4.19.2, ``modeling_vit.py`` (names, outputs, losses); the size of interpolated
positions is that of 4.57.3.
"""

# Calling a module is Any to the type checker; every forward here says what it returns.
# mypy: disable-error-code="no-any-return"

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from model_base import forward, outputs
from model_base.configs.vit import ViTConfig
from model_base.torch import layers, layouts, pruning
from model_base.torch.arguments import Flag, Maybe
from model_base.torch.attention import Scoring
from model_base.torch.base import PreTrainedModel
from model_base.torch.layouts import Layout


def height_and_width(size: Any) -> tuple[int, int]:
    """Of a size that may be one number."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


class ViTEmbeddings(nn.Module):
    """Patches and a token in front of them, with their positions."""

    def __init__(self, config: ViTConfig, use_mask_token: bool) -> None:
        super().__init__()
        size = config.hidden_size
        self.image_size = height_and_width(config.image_size)
        self.patch_size = height_and_width(config.patch_size)
        count = self.grid(*self.image_size)[0] * self.grid(*self.image_size)[1]
        self.cls_token = nn.Parameter(torch.zeros(1, 1, size))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, size)) if use_mask_token else None
        projection = nn.Conv2d(config.num_channels, size, self.patch_size, self.patch_size)
        self.patch_embeddings: Any = nn.ModuleDict({"projection": projection})
        self.position_embeddings = nn.Parameter(torch.zeros(1, 1 + count, size))
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Patches along each side of an image."""
        return height // self.patch_size[0], width // self.patch_size[1]

    def forward(self, pixels_BCYX: Tensor, masked_BP: Maybe, interpolate: bool) -> Tensor:
        """Tokens ``[B, L, H]``; masked patches are replaced by the mask token."""
        projection = self.patch_embeddings.projection
        patches_BPH = projection(pixels_BCYX.to(projection.weight.dtype)).flatten(2).transpose(1, 2)
        if masked_BP is not None and self.mask_token is not None:
            patches_BPH = torch.where(masked_BP[..., None].bool(), self.mask_token, patches_BPH)
        first_B1H = self.cls_token.expand(len(patches_BPH), -1, -1)
        tokens_BLH = torch.cat([first_B1H, patches_BPH], dim=1)
        return self.dropout(tokens_BLH + self._positions(pixels_BCYX, interpolate))

    def _positions(self, pixels_BCYX: Tensor, interpolate: bool) -> Tensor:
        size = (pixels_BCYX.shape[2], pixels_BCYX.shape[3])
        if size == self.image_size:
            return self.position_embeddings
        if not interpolate:
            raise ValueError(
                f"images of {size[0]}*{size[1]} pixels do not fit positions for "
                f"{self.image_size[0]}*{self.image_size[1]}; accepted with "
                "interpolate_pos_encoding=True"
            )
        first, rest = self.position_embeddings[0, :1], self.position_embeddings[0, 1:]
        rest = layers.resized_grid(rest, self.grid(*self.image_size), self.grid(*size))
        return torch.cat([first, rest])[None]


class ViTSelfAttention(nn.Module):
    """Projections and heads."""

    def __init__(self, config: ViTConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        size = config.hidden_size
        self.num_attention_heads = config.num_attention_heads
        self.attention_head_size = forward.head_size(size, config.num_attention_heads)
        self.query, self.key, self.value = (
            nn.Linear(size, size, config.qkv_bias) for _ in range(3)
        )
        self.dropout_p = config.attention_probs_dropout_prob

    def forward(self, hidden: Tensor, layout: Layout) -> Tensor:
        """``[B, L, N · D]``, the heads side by side."""
        query, key, value = (
            layers.split_heads(project(hidden), self.attention_head_size)
            for project in (self.query, self.key, self.value)
        )
        dropout_p = self.dropout_p if self.training else 0.0
        scoring = Scoring(self.attention_head_size**-0.5, dropout_p=dropout_p)
        return layout.attend(self.layer, query, key, value, scoring).flatten(-2)


class ViTAttention(nn.Module):
    """Attention with its output projection; heads can be pruned."""

    def __init__(self, config: ViTConfig, layer: int) -> None:
        super().__init__()
        self.attention = ViTSelfAttention(config, layer)
        self.output = projection(config, config.hidden_size)
        self.pruned_heads: set[int] = set()

    def forward(self, hidden: Tensor, layout: Layout) -> Tensor:
        """``[B, L, H]`` → ``[B, L, H]``."""
        return self.output(self.attention(hidden, layout))

    def prune_heads(self, heads: Iterable[int]) -> None:
        """Remove heads, by original number."""
        self.pruned_heads = pruning.prune_attention(
            self.attention, ("query", "key", "value"), self.output, heads, self.pruned_heads
        )


def projection(config: ViTConfig, in_features: int) -> nn.Module:
    """The end of each half of a layer."""
    return layers.named(
        dense=nn.Linear(in_features, config.hidden_size),
        dropout=nn.Dropout(config.hidden_dropout_prob),
    )


class ViTLayer(nn.Module):
    """Attention, then feed-forward, each of normalised states and added to them."""

    def __init__(self, config: ViTConfig, layer: int) -> None:
        super().__init__()
        size, eps = config.hidden_size, config.layer_norm_eps
        self.attention = ViTAttention(config, layer)
        self.intermediate = layers.named(
            dense=nn.Linear(size, config.intermediate_size),
            activation=layers.Activation(config.hidden_act),
        )
        self.output = projection(config, config.intermediate_size)
        self.layernorm_before = nn.LayerNorm(size, eps=eps)
        self.layernorm_after = nn.LayerNorm(size, eps=eps)

    def forward(self, hidden: Tensor, layout: Layout) -> Tensor:
        """``[B, L, H]`` → ``[B, L, H]``."""
        hidden = hidden + self.attention(self.layernorm_before(hidden), layout)
        return hidden + self.output(self.intermediate(self.layernorm_after(hidden)))


class ViTPreTrainedModel(PreTrainedModel):
    """What all ViT models share: configuration, names, how weights start."""

    config_class: ClassVar[Any] = ViTConfig
    base_model_prefix = "vit"
    main_input_name = "pixel_values"
    supports_gradient_checkpointing: ClassVar[bool] = True

    @override
    def _init_weights(self, module: nn.Module) -> None:
        spread = self.config.initializer_range
        layers.normal_init(module, spread)
        if isinstance(module, ViTEmbeddings):
            module.cls_token.data.normal_(0.0, spread)
            module.position_embeddings.data.normal_(0.0, spread)

    @override
    def resize_token_embeddings(self, new_num_tokens: int | None = None) -> nn.Module:
        """Not for images.

        Raises:
            NotImplementedError: there is no vocabulary.
        """
        raise NotImplementedError(f"{type(self).__name__} reads images: it has no tokens to resize")

    @override
    def example_inputs(self, batch_size: int, sequence_length: int) -> dict[str, Tensor]:
        """Images ``[B, C, Y, X]``; a sequence is as long as the image has patches."""
        size = height_and_width(self.config.image_size)
        return {"pixel_values": torch.zeros(batch_size, self.config.num_channels, *size)}


class ViTModel(ViTPreTrainedModel):
    """The trunk.

    Args:
        config: the configuration.
        add_pooling_layer: whether ``pooler_output`` is computed.
        use_mask_token: whether patches can be masked.
    """

    def __init__(
        self, config: ViTConfig, add_pooling_layer: bool = True, use_mask_token: bool = False
    ) -> None:
        super().__init__(config)
        self.embeddings = ViTEmbeddings(config, use_mask_token)
        blocks = (ViTLayer(config, i) for i in range(config.num_hidden_layers))
        self.encoder: Any = nn.ModuleDict({"layer": nn.ModuleList(blocks)})
        self.gradient_checkpointing = False
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.pooler = self._pooler(config) if add_pooling_layer else None
        self.post_init()

    @staticmethod
    def _pooler(config: ViTConfig) -> nn.Module:
        return layers.named(
            dense=nn.Linear(config.hidden_size, config.pooler_output_size),
            activation=layers.Activation(config.pooler_act),
        )

    @override
    def get_input_embeddings(self) -> nn.Module:
        return self.embeddings.patch_embeddings

    def _prune_heads(self, heads_to_prune: Mapping[int, Iterable[int]]) -> None:
        for layer, numbers in heads_to_prune.items():
            self.encoder.layer[layer].attention.prune_heads(numbers)

    def forward(
        self, pixel_values: Maybe = None, bool_masked_pos: Maybe = None, head_mask: Maybe = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        interpolate_pos_encoding: Flag = None, return_dict: Flag = None,
    ) -> Any:  # fmt: skip
        """Compute hidden states.

        Args:
            pixel_values: images, ``[B, C, Y, X]``.
            bool_masked_pos: ``[B, P]``; 1 replaces a patch by the mask token.
            head_mask: ``[N]`` or ``[layers, N]``.
            output_attentions: return the attention weights of each layer.
            output_hidden_states: return the hidden states of each layer.
            interpolate_pos_encoding: accept images of another size than the configuration's.
            return_dict: return a ``ModelOutput``, else a tuple.

        Raises:
            ValueError: no images, or images of another size.
        """
        if pixel_values is None:
            raise ValueError("pixel_values is missing; accepted: images [B, C, Y, X]")
        config = self.config
        embedded = self.embeddings(pixel_values, bool_masked_pos, bool(interpolate_pos_encoding))
        layout = layouts.layout_for(
            self, embedded[..., 0], None, None, None, head_mask,
            keep_weights=forward.chosen(output_attentions, config.output_attentions),
        )  # fmt: skip
        states = layers.run_layers(
            self.encoder.layer, embedded, layout,
            recompute=self.gradient_checkpointing and self.training,
        )  # fmt: skip
        hidden = self.layernorm(states[-1])
        keep_states = forward.chosen(output_hidden_states, config.output_hidden_states)
        output = outputs.BaseModelOutputWithPooling(
            hidden,
            self.pooler(layout.first_tokens(hidden)) if self.pooler else None,
            states if keep_states else None,
            layouts.weights_of(layout),
        )
        return forward.finish(output, config, return_dict)


class ViTForImageClassification(ViTPreTrainedModel):
    """A label for each image, or a number."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.vit = ViTModel(config, add_pooling_layer=False)
        self.classifier = (
            nn.Linear(config.hidden_size, config.num_labels) if config.num_labels else nn.Identity()
        )
        self.post_init()

    def forward(
        self, pixel_values: Maybe = None, head_mask: Maybe = None, labels: Maybe = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        interpolate_pos_encoding: Flag = None, return_dict: Flag = None,
    ) -> Any:  # fmt: skip
        """Logits ``[B, labels]``; labels as ``layers.sequence_loss`` takes them."""
        trunk = self.vit(
            pixel_values, None, head_mask, output_attentions, output_hidden_states,
            interpolate_pos_encoding, return_dict=True,
        )  # fmt: skip
        logits = self.classifier(trunk.last_hidden_state[:, 0])
        loss = layers.sequence_loss(logits, labels, self.config)
        output = outputs.ImageClassifierOutput(loss, logits)
        return forward.finish(output, self.config, return_dict, trunk)


class ViTForMaskedImageModeling(ViTPreTrainedModel):
    """The pixels of masked patches (Xie et al. 2021, SimMIM)."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__(config)
        self.vit = ViTModel(config, add_pooling_layer=False, use_mask_token=True)
        channels = config.encoder_stride**2 * config.num_channels
        self.decoder = nn.Sequential(
            nn.Conv2d(config.hidden_size, channels, kernel_size=1),
            nn.PixelShuffle(config.encoder_stride),
        )
        self.post_init()

    def forward(
        self, pixel_values: Maybe = None, bool_masked_pos: Maybe = None, head_mask: Maybe = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        interpolate_pos_encoding: Flag = None, return_dict: Flag = None,
    ) -> Any:  # fmt: skip
        """The image, ``logits [B, C, Y, X]``; a loss over the masked patches if there are any."""
        trunk = self.vit(
            pixel_values, bool_masked_pos, head_mask, output_attentions, output_hidden_states,
            interpolate_pos_encoding, return_dict=True,
        )  # fmt: skip
        height, width = self.vit.embeddings.grid(*pixel_values.shape[2:])  # type: ignore[union-attr]  # the trunk refuses None
        patches_BHP = trunk.last_hidden_state[:, 1:].transpose(1, 2)
        pixels_BCYX = self.decoder(patches_BHP.reshape(*patches_BHP.shape[:2], height, width))
        loss = None
        if bool_masked_pos is not None and pixel_values is not None:
            masked_BYX = bool_masked_pos.view(-1, height, width)
            for axis, side in enumerate(self.vit.embeddings.patch_size, start=1):
                masked_BYX = masked_BYX.repeat_interleave(side, axis)
            error = F.l1_loss(pixel_values, pixels_BCYX, reduction="none")
            count = masked_BYX.sum() + 1e-5
            loss = (error * masked_BYX[:, None]).sum() / count / self.config.num_channels
        output = outputs.MaskedLMOutput(loss, pixels_BCYX)
        return forward.finish(output, self.config, return_dict, trunk)
