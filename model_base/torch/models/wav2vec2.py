"""Wav2Vec2 (Baevski et al. 2020, arXiv:2006.11477) and its heads.

Shape letters: B batch, S samples, L frames, C channels, K width of a convolution, H hidden, V
vocabulary.

Source: transformers 4.19.2, ``modeling_wav2vec2.py`` (names, outputs, losses).
"""

# Calling a module is Any to the type checker; every forward here says what it returns.
# mypy: disable-error-code="no-any-return"

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from model_base import forward, outputs
from model_base.configs.wav2vec2 import Wav2Vec2Config
from model_base.torch import layers, layouts
from model_base.torch.arguments import Flag, Maybe
from model_base.torch.base import PreTrainedModel
from model_base.torch.layouts import Layout
from model_base.torch.multi_head import MultiHeadAttention


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of ``[B, C, L]``."""

    @override
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.transpose(1, 2)).transpose(1, 2)


def feature_layer(config: Wav2Vec2Config, layer: int) -> nn.Module:
    """One of the layers that turn samples into frames, ``[B, C, L]`` → ``[B, C, L]``."""
    channels, size = config.conv_dim[layer - 1] if layer else 1, config.conv_dim[layer]
    conv = nn.Conv1d(
        channels, size, config.conv_kernel[layer], config.conv_stride[layer], bias=config.conv_bias
    )
    parts: dict[str, nn.Module] = {"conv": conv}
    if config.feat_extract_norm == "layer":
        parts["layer_norm"] = ChannelNorm(size)
    elif layer == 0:
        parts["layer_norm"] = nn.GroupNorm(size, size)
    return layers.named(**parts, activation=layers.Activation(config.feat_extract_activation))


class PositionalConv(nn.Module):
    """A grouped convolution whose weight is a direction and a length for each place.

    Source: Salimans and Kingma 2016 (weight normalisation).
    """

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__()
        size, width = config.hidden_size, config.num_conv_pos_embeddings
        self.groups = config.num_conv_pos_embedding_groups
        self.weight_g = nn.Parameter(torch.empty(1, 1, width))
        self.weight_v = nn.Parameter(torch.empty(size, size // self.groups, width))
        self.bias = nn.Parameter(torch.empty(size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Normal directions, of their own length."""
        size, _, width = self.weight_v.shape
        nn.init.normal_(self.weight_v, std=2 * (width * size) ** -0.5)
        self.weight_g.data.copy_(self._lengths().detach())
        nn.init.zeros_(self.bias)

    def _lengths(self) -> Tensor:
        return self.weight_v.square().sum((0, 1), keepdim=True).sqrt()

    def forward(self, hidden_BHL: Tensor) -> Tensor:
        """``[B, H, L]``."""
        weight = self.weight_v * (self.weight_g / self._lengths())
        width = weight.shape[-1]
        out = F.conv1d(hidden_BHL, weight, self.bias, padding=width // 2, groups=self.groups)
        return out[..., : hidden_BHL.shape[-1]]  # an even width makes a frame too many


class Wav2Vec2Layer(nn.Module):
    """Attention, then feed-forward, the sum normalised after each."""

    def __init__(self, config: Wav2Vec2Config, layer: int) -> None:
        super().__init__()
        size, eps = config.hidden_size, config.layer_norm_eps
        self.attention = MultiHeadAttention(
            size, config.num_attention_heads, layer, config.attention_dropout
        )
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.layer_norm = nn.LayerNorm(size, eps=eps)
        self.feed_forward = layers.named(
            intermediate_dense=nn.Linear(size, config.intermediate_size),
            activation=layers.Activation(config.hidden_act),
            intermediate_dropout=nn.Dropout(config.activation_dropout),
            output_dense=nn.Linear(config.intermediate_size, size),
            output_dropout=nn.Dropout(config.hidden_dropout),
        )
        self.final_layer_norm = nn.LayerNorm(size, eps=eps)

    def forward(self, hidden: Tensor, layout: Layout) -> Tensor:
        """``[B, L, H]`` → ``[B, L, H]``."""
        hidden = self.layer_norm(hidden + self.dropout(self.attention(hidden, layout)))
        return self.final_layer_norm(hidden + self.feed_forward(hidden))


class Wav2Vec2StableLayer(Wav2Vec2Layer):
    """The same, of normalised states."""

    @override
    def forward(self, hidden: Tensor, layout: Layout) -> Tensor:
        hidden = hidden + self.dropout(self.attention(self.layer_norm(hidden), layout))
        return hidden + self.feed_forward(self.final_layer_norm(hidden))


class Wav2Vec2Encoder(nn.Module):
    """Positions, then layers; the norm stands before them, or behind if they are stable."""

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__()
        self.pos_conv_embed = layers.named(
            conv=PositionalConv(config),
            activation=layers.Activation(config.feat_extract_activation),
        )
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.is_stable, self.layerdrop = config.do_stable_layer_norm, config.layerdrop
        kind = Wav2Vec2StableLayer if self.is_stable else Wav2Vec2Layer
        self.layers = nn.ModuleList(kind(config, i) for i in range(config.num_hidden_layers))
        self.gradient_checkpointing = False

    def forward(self, hidden: Tensor, layout: Layout) -> tuple[Tensor, ...]:
        """The states ``[B, L, H]`` before each layer and after the last."""
        hidden = hidden + self.pos_conv_embed(hidden.transpose(1, 2)).transpose(1, 2)
        if not self.is_stable:
            hidden = self.layer_norm(hidden)
        states = layers.run_layers(
            self.layers, self.dropout(hidden), layout,
            recompute=self.gradient_checkpointing and self.training,
            skip_p=self.layerdrop if self.training else 0.0,
        )  # fmt: skip
        return (*states[:-1], self.layer_norm(states[-1])) if self.is_stable else states


class Wav2Vec2PreTrainedModel(PreTrainedModel):
    """What all Wav2Vec2 models share: configuration, names, how weights start."""

    config_class: ClassVar[Any] = Wav2Vec2Config
    base_model_prefix = "wav2vec2"
    main_input_name = "input_values"
    supports_gradient_checkpointing: ClassVar[bool] = True

    @override
    def _init_weights(self, module: nn.Module) -> None:
        layers.normal_init(module, self.config.initializer_range)
        if isinstance(module, nn.Conv1d):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, PositionalConv):
            module.reset_parameters()
        elif isinstance(module, Wav2Vec2Model) and hasattr(module, "masked_spec_embed"):
            nn.init.uniform_(module.masked_spec_embed)

    @override
    def example_inputs(self, batch_size: int, sequence_length: int) -> dict[str, Tensor]:
        """Samples ``[B, S]``, as many as make ``sequence_length`` frames."""
        count = self.config.num_samples(sequence_length)
        return {"input_values": torch.zeros(batch_size, count)}

    def freeze_feature_encoder(self) -> None:
        """Do not train the layers that turn samples into frames."""
        trunk: Any = self.base_model
        trunk.feature_extractor.requires_grad_(False)

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        """How many frames so many samples make, int64 of any shape."""
        config = self.config
        for width, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
            lengths = torch.div(lengths - width, stride, rounding_mode="floor") + 1
        return lengths

    def frame_mask(self, attention_mask_BS: Tensor, num_frames: int) -> Tensor:
        """A mask over frames ``[B, L]`` of one over samples; True keeps a frame."""
        lengths_B = self.frame_lengths(attention_mask_BS.sum(-1))
        return torch.arange(num_frames, device=lengths_B.device) < lengths_B[:, None]


class Wav2Vec2Model(Wav2Vec2PreTrainedModel):
    """The trunk."""

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__(config)
        count, size = len(config.conv_dim), config.conv_dim[-1]
        blocks = nn.ModuleList(feature_layer(config, i) for i in range(count))
        self.feature_extractor: Any = nn.ModuleDict({"conv_layers": blocks})
        self.feature_projection: Any = layers.named(
            layer_norm=nn.LayerNorm(size, eps=config.layer_norm_eps),
            projection=nn.Linear(size, config.hidden_size),
            dropout=nn.Dropout(config.feat_proj_dropout),
        )
        if config.mask_time_prob > 0 or config.mask_feature_prob > 0:
            self.masked_spec_embed = nn.Parameter(torch.empty(config.hidden_size))
        self.encoder = Wav2Vec2Encoder(config)
        self.post_init()

    def _features(self, samples_BS: Tensor) -> Tensor:
        """``[B, L, C]``."""
        blocks: Any = self.feature_extractor.conv_layers
        hidden_BCL = samples_BS.to(blocks[0].conv.weight.dtype)[:, None]
        for block in blocks:
            hidden_BCL = block(hidden_BCL)
        return hidden_BCL.transpose(1, 2)

    def _augmented(self, hidden_BLH: Tensor, masked_BL: Maybe, mask_BL: Maybe) -> Tensor:
        """Spans of frames, and in training of channels, replaced (Park et al. 2019)."""
        config, (count, length, size) = self.config, hidden_BLH.shape
        if not config.apply_spec_augment:
            return hidden_BLH
        if masked_BL is None and self.training and config.mask_time_prob > 0:
            lengths = [length] * count if mask_BL is None else mask_BL.sum(-1).tolist()
            masked_BL = layers.random_spans(
                lengths, length, config.mask_time_prob, config.mask_time_length,
                config.mask_time_min_masks,
            )  # fmt: skip
        if masked_BL is not None:
            masked_BL = masked_BL.bool().to(hidden_BLH.device)
            embed_H = self.masked_spec_embed.to(hidden_BLH.dtype)
            hidden_BLH = torch.where(masked_BL[..., None], embed_H, hidden_BLH)
        if self.training and config.mask_feature_prob > 0:
            masked_BH = layers.random_spans(
                [size] * count, size, config.mask_feature_prob, config.mask_feature_length,
                config.mask_feature_min_masks,
            )  # fmt: skip
            hidden_BLH = hidden_BLH.masked_fill(masked_BH[:, None].to(hidden_BLH.device), 0)
        return hidden_BLH

    def forward(
        self, input_values: Maybe = None, attention_mask: Maybe = None,
        mask_time_indices: Maybe = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None,
    ) -> Any:  # fmt: skip
        """Compute hidden states.

        Args:
            input_values: samples, ``[B, S]``.
            attention_mask: ``[B, S]``; 1 keeps a sample, 0 hides it; ones first.
            mask_time_indices: ``[B, L]``; 1 replaces a frame by the embedding of masked ones.
            output_attentions: return the attention weights of each layer.
            output_hidden_states: return the hidden states of each layer.
            return_dict: return a ``ModelOutput``, else a tuple.

        Raises:
            ValueError: no samples, or a mask of another shape.
        """
        if input_values is None:
            raise ValueError("input_values is missing; accepted: samples [B, S]")
        config, features_BLC = self.config, self._features(input_values)
        normed_BLC = self.feature_projection.layer_norm(features_BLC)
        hidden = self.feature_projection.dropout(self.feature_projection.projection(normed_BLC))
        mask_BL = None
        if attention_mask is not None:
            if attention_mask.shape != input_values.shape:
                raise ValueError(
                    f"attention_mask is {list(attention_mask.shape)}; accepted: as input_values, "
                    f"{list(input_values.shape)}"
                )
            mask_BL = self.frame_mask(attention_mask, hidden.shape[1])
        hidden = self._augmented(hidden, mask_time_indices, mask_BL)
        if mask_BL is not None:
            hidden = hidden * mask_BL[..., None]
        layout = layouts.layout_for(
            self, hidden[..., 0], None, mask_BL, None,
            keep_weights=forward.chosen(output_attentions, config.output_attentions),
        )  # fmt: skip
        states = self.encoder(hidden, layout)
        keep_states = forward.chosen(output_hidden_states, config.output_hidden_states)
        output = outputs.Wav2Vec2BaseModelOutput(
            states[-1], normed_BLC, states if keep_states else None, layouts.weights_of(layout)
        )
        return forward.finish(output, config, return_dict)


class Wav2Vec2ForCTC(Wav2Vec2PreTrainedModel):
    """Scores of characters for each frame (connectionist temporal classification)."""

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__(config)
        self.wav2vec2 = Wav2Vec2Model(config)
        self.dropout = nn.Dropout(config.final_dropout)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size)
        self.post_init()

    def forward(
        self, input_values: Maybe = None, attention_mask: Maybe = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, labels: Maybe = None,
    ) -> Any:  # fmt: skip
        """Logits ``[B, L, V]``; labels int64 ``[B, characters]``, -100 behind the last.

        Raises:
            ValueError: a label that the vocabulary has not.
        """
        if labels is not None and int(labels.max()) >= self.config.vocab_size:
            raise ValueError(
                f"labels hold {int(labels.max())}; accepted: below {self.config.vocab_size}"
            )
        trunk = self.wav2vec2(
            input_values, attention_mask, None, output_attentions, output_hidden_states, True
        )
        logits = self.lm_head(self.dropout(trunk.last_hidden_state))
        loss = None
        if labels is not None and input_values is not None:
            mask_BS = torch.ones_like(input_values) if attention_mask is None else attention_mask
            loss = self._loss(logits, self.frame_lengths(mask_BS.sum(-1).long()), labels)
        output = outputs.CausalLMOutput(loss, logits)
        return forward.finish(output, self.config, return_dict, trunk)

    def _loss(self, logits_BLV: Tensor, lengths_B: Tensor, labels: Tensor) -> Tensor:
        is_label = labels >= 0
        logs_LBV = logits_BLV.log_softmax(-1, dtype=torch.float32).transpose(0, 1)
        with torch.backends.cudnn.flags(enabled=False):  # its kernel is not deterministic
            return F.ctc_loss(
                logs_LBV, labels[is_label], lengths_B, is_label.sum(-1),
                blank=self.config.pad_token_id, reduction=self.config.ctc_loss_reduction,
                zero_infinity=self.config.ctc_zero_infinity,
            )  # fmt: skip


class Wav2Vec2ForSequenceClassification(Wav2Vec2PreTrainedModel):
    """A label for each recording, of the mean of its frames."""

    layer_weights: nn.Parameter

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__(config)
        self.wav2vec2 = Wav2Vec2Model(config)
        if config.use_weighted_layer_sum:
            self.layer_weights = nn.Parameter(torch.ones(1 + config.num_hidden_layers))
        self.projector = nn.Linear(config.hidden_size, config.classifier_proj_size)
        self.classifier = nn.Linear(config.classifier_proj_size, config.num_labels)
        self.post_init()

    def forward(
        self, input_values: Maybe = None, attention_mask: Maybe = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, labels: Maybe = None,
    ) -> Any:  # fmt: skip
        """Logits ``[B, labels]``; labels int64 ``[B]``."""
        is_weighted = self.config.use_weighted_layer_sum
        trunk = self.wav2vec2(
            input_values, attention_mask, None, output_attentions,
            True if is_weighted else output_hidden_states, return_dict=True,
        )  # fmt: skip
        hidden = trunk.last_hidden_state
        if is_weighted:
            weights = self.layer_weights.softmax(-1).view(-1, 1, 1, 1)
            hidden = (torch.stack(trunk.hidden_states) * weights).sum(0)
        projected = self.projector(hidden)
        if attention_mask is None:
            pooled = projected.mean(dim=1)
        else:
            mask_BL1 = self.frame_mask(attention_mask, hidden.shape[1])[..., None]
            pooled = (projected * mask_BL1).sum(dim=1) / mask_BL1.sum(dim=1)
        logits = self.classifier(pooled)
        output = outputs.SequenceClassifierOutput(layers.token_loss(logits, labels), logits)
        return forward.finish(output, self.config, return_dict, trunk)
