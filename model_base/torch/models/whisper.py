"""Whisper (Radford et al. 2022, arXiv:2212.04356), encoder, decoder and both, and its heads.

Shape letters: B batch, M mel bins, T columns of the spectrogram, S = T / 2 frames, L tokens of the
decoder, H hidden, N heads, V vocabulary. ``[…]`` stands for the axes of the tokens, which are the
layout's. Arguments that a head does not explain are those of ``WhisperModel.forward``.

Source: transformers 4.57.3, ``modeling_whisper.py`` (names, outputs, losses).
"""

# Calling a module is Any to the type checker; every forward here says what it returns.
# mypy: disable-error-code="no-any-return"

import copy
import math
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from model_base import forward, outputs
from model_base.configs.whisper import WhisperConfig
from model_base.torch import layers, layouts
from model_base.torch.arguments import Flag, Maybe
from model_base.torch.base import PreTrainedModel
from model_base.torch.layouts import Layout, Memory
from model_base.torch.multi_head import MultiHeadAttention


class SinusoidPositions(nn.Embedding):
    """Sines and cosines of the position, stored and not trained."""

    def __init__(self, count: int, size: int) -> None:
        super().__init__(count, size)
        self.requires_grad_(False)

    @override
    def reset_parameters(self) -> None:
        """Wave lengths from 2π to 20000π, in geometric progression."""
        count, size = self.weight.shape
        rates = torch.exp(-math.log(10000) / (size // 2 - 1) * torch.arange(size // 2))
        angles = torch.arange(count)[:, None] * rates
        self.weight.data.copy_(torch.cat([angles.sin(), angles.cos()], dim=1))


class WhisperLayer(nn.Module):
    """Attention, in a decoder also over the encoder, feed-forward; each of normalised states."""

    def __init__(self, config: WhisperConfig, layer: int) -> None:
        super().__init__()
        size, is_decoder = config.d_model, config.is_decoder
        count = config.decoder_attention_heads if is_decoder else config.encoder_attention_heads
        inner = config.decoder_ffn_dim if is_decoder else config.encoder_ffn_dim

        def attention() -> MultiHeadAttention:
            return MultiHeadAttention(size, count, layer, config.attention_dropout, key_bias=False)

        self.self_attn = attention()
        self.self_attn_layer_norm = nn.LayerNorm(size)
        if is_decoder:
            self.encoder_attn = attention()
            self.encoder_attn_layer_norm = nn.LayerNorm(size)
        self.activation_fn = layers.Activation(config.activation_function)
        self.fc1 = nn.Linear(size, inner)
        self.fc2 = nn.Linear(inner, size)
        self.final_layer_norm = nn.LayerNorm(size)
        self.dropout = nn.Dropout(config.dropout)
        self.activation_dropout = nn.Dropout(config.activation_dropout)

    def forward(
        self, hidden: Tensor, layout: Layout, memory: Memory | None, states: Maybe
    ) -> Tensor:
        """``[…, H]`` → ``[…, H]``; the encoder's states are ``[B, S, H]``."""
        update = self.self_attn(self.self_attn_layer_norm(hidden), layout)
        hidden = hidden + self.dropout(update)
        if memory is not None and states is not None:
            update = self.encoder_attn.over(self.encoder_attn_layer_norm(hidden), memory, states)
            hidden = hidden + self.dropout(update)
        inner = self.activation_fn(self.fc1(self.final_layer_norm(hidden)))
        return layers.finite(hidden + self.dropout(self.fc2(self.activation_dropout(inner))))


class WhisperPreTrainedModel(PreTrainedModel):
    """What all Whisper models share: configuration, names, how weights start."""

    config_class: ClassVar[Any] = WhisperConfig
    base_model_prefix = "model"
    main_input_name = "input_features"
    supports_gradient_checkpointing: ClassVar[bool] = True

    @override
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, SinusoidPositions):
            module.reset_parameters()
        else:
            layers.normal_init(module, self.config.init_std)

    @override
    def example_inputs(self, batch_size: int, sequence_length: int) -> dict[str, Tensor]:
        """A spectrogram ``[B, M, T]``, always as long, and as many tokens for the decoder."""
        features, ids = example_features(self.config, batch_size), (batch_size, sequence_length)
        return {
            "input_features": features,
            "decoder_input_ids": torch.zeros(ids, dtype=torch.long),
        }


def example_features(config: WhisperConfig, batch_size: int) -> Tensor:
    """Spectrograms ``[B, M, T]``."""
    return torch.zeros(batch_size, config.num_mel_bins, 2 * config.max_source_positions)


class WhisperEncoder(WhisperPreTrainedModel):
    """The encoder; the model it is in initialises it."""

    def __init__(self, config: WhisperConfig) -> None:
        config = copy.deepcopy(config)
        config.is_decoder, config.is_encoder_decoder = False, False
        super().__init__(config)
        size = config.d_model
        self.conv1 = nn.Conv1d(config.num_mel_bins, size, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(size, size, kernel_size=3, stride=2, padding=1)
        self.embed_positions = SinusoidPositions(config.max_source_positions, size)
        self.layers = nn.ModuleList(WhisperLayer(config, i) for i in range(config.encoder_layers))
        self.layer_norm = nn.LayerNorm(size)
        self.dropout = nn.Dropout(config.dropout)
        self.gradient_checkpointing = False

    @override
    def get_input_embeddings(self) -> nn.Module:
        return self.conv1

    def forward(
        self, input_features: Maybe = None, attention_mask: Maybe = None, head_mask: Maybe = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None,
    ) -> Any:  # fmt: skip
        """Compute hidden states ``[B, S, H]``.

        Args:
            input_features: log-mel spectrograms, ``[B, M, T]``, silence behind the end.
            attention_mask: ignored, as silence is heard.
            head_mask: ``[N]`` or ``[layers, N]``.
            output_attentions: return the attention weights of each layer.
            output_hidden_states: return the hidden states of each layer.
            return_dict: return a ``ModelOutput``, else a tuple.

        Raises:
            ValueError: no spectrogram, or one of another length than the configuration's.
        """
        config, wanted = self.config, 2 * self.config.max_source_positions
        if input_features is None or input_features.shape[-1] != wanted:
            seen = None if input_features is None else input_features.shape[-1]
            raise ValueError(f"input_features of length {seen}; accepted: {wanted}")
        hidden_BHT = F.gelu(self.conv1(input_features.to(self.conv1.weight.dtype)))
        hidden = F.gelu(self.conv2(hidden_BHT)).transpose(1, 2) + self.embed_positions.weight
        layout = layouts.layout_for(
            self, hidden[..., 0], None, None, None, head_mask,
            keep_weights=forward.chosen(output_attentions, config.output_attentions),
        )  # fmt: skip
        states = layers.run_layers(
            self.layers, self.dropout(hidden), layout, None, None,
            recompute=self.gradient_checkpointing and self.training,
            skip_p=config.encoder_layerdrop if self.training else 0.0,
        )  # fmt: skip
        states = (*states[:-1], self.layer_norm(states[-1]))
        keep_states = forward.chosen(output_hidden_states, config.output_hidden_states)
        output = outputs.BaseModelOutput(
            states[-1], states if keep_states else None, layouts.weights_of(layout)
        )
        return forward.finish(output, config, return_dict)


class WhisperDecoder(WhisperPreTrainedModel):
    """The decoder; the model it is in initialises it."""

    main_input_name = "input_ids"

    def __init__(self, config: WhisperConfig) -> None:
        config = copy.deepcopy(config)
        config.is_decoder, config.is_encoder_decoder = True, False
        config.num_hidden_layers = config.decoder_layers
        super().__init__(config)
        size = config.d_model
        self.embed_tokens = nn.Embedding(config.vocab_size, size, config.pad_token_id)
        self.embed_positions = nn.Embedding(config.max_target_positions, size)
        self.layers = nn.ModuleList(WhisperLayer(config, i) for i in range(config.decoder_layers))
        self.layer_norm = nn.LayerNorm(size)
        self.dropout = nn.Dropout(config.dropout)
        self.gradient_checkpointing = False

    @override
    def get_input_embeddings(self) -> nn.Module:
        return self.embed_tokens

    @override
    def set_input_embeddings(self, value: Any) -> None:
        self.embed_tokens = value

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None,
        encoder_hidden_states: Maybe = None, head_mask: Maybe = None,
        cross_attn_head_mask: Maybe = None, past_key_values: Any = None,
        inputs_embeds: Maybe = None, position_ids: Maybe = None, use_cache: Flag = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Compute hidden states.

        Args:
            input_ids: int64 ``[B, L]``.
            attention_mask: ``[B, L]`` or ``[B, L, L]``; 1 keeps a token, 0 hides it.
            encoder_hidden_states: ``[B, S, H]``.
            head_mask: ``[N]`` or ``[layers, N]``.
            cross_attn_head_mask: the same for attention over the encoder.
            past_key_values: for each layer own and encoder's keys and values.
            inputs_embeds: ``[…, H]`` in place of ``input_ids``.
            position_ids: ``[B, L]``; None counts from the length of the cache.
            use_cache: return ``past_key_values``; the default is the config's.
            output_attentions: return the attention weights of each layer.
            output_hidden_states: return the hidden states of each layer.
            return_dict: return a ``ModelOutput``, else a tuple.
            layout: how tokens lie in memory; replaces mask, positions, cache and head mask.

        Raises:
            ValueError: both or neither of ``input_ids`` and ``inputs_embeds``; a ``layout`` with
                an argument that it replaces.
        """
        config, tokens = self.config, forward.tokens_of(input_ids, inputs_embeds)
        keep_weights = forward.chosen(output_attentions, config.output_attentions)
        keep_cache = forward.chosen(use_cache, config.use_cache)
        layout = layouts.layout_for(
            self, tokens, layout, attention_mask, position_ids, head_mask, past_key_values,
            keep_weights=keep_weights, keep_cache=keep_cache,
        )  # fmt: skip
        memory = layouts.memory_for(
            self, encoder_hidden_states, None, layouts=(layout, None),
            head_mask=cross_attn_head_mask, past_key_values=past_key_values,
            keep_weights=keep_weights, keep_cache=keep_cache,
        )  # fmt: skip
        words = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        states = layers.run_layers(
            self.layers, self.dropout(words + self.embed_positions(layout.positions)), layout,
            memory, encoder_hidden_states,
            recompute=self.gradient_checkpointing and self.training,
            skip_p=config.decoder_layerdrop if self.training else 0.0,
        )  # fmt: skip
        states = (*states[:-1], self.layer_norm(states[-1]))
        keep_states = forward.chosen(output_hidden_states, config.output_hidden_states)
        output = outputs.BaseModelOutputWithPastAndCrossAttentions(
            states[-1],
            layouts.cache_of(layout, memory),
            states if keep_states else None,
            layouts.weights_of(layout),
            layouts.weights_of(memory),
        )
        return forward.finish(output, config, return_dict)


class WhisperModel(WhisperPreTrainedModel):
    """Encoder and decoder; the hidden states of the decoder."""

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__(config)
        self.encoder = WhisperEncoder(config)
        self.decoder = WhisperDecoder(config)
        self.post_init()

    @override
    def get_input_embeddings(self) -> nn.Module:
        return self.decoder.embed_tokens

    @override
    def set_input_embeddings(self, value: Any) -> None:
        self.decoder.embed_tokens = value

    def get_encoder(self) -> nn.Module:
        """The encoder."""
        return self.encoder

    def get_decoder(self) -> nn.Module:
        """The decoder."""
        return self.decoder

    def freeze_encoder(self) -> None:
        """Do not train the encoder."""
        self.encoder.requires_grad_(False)

    def _augmented(self, features_BMT: Tensor, mask_BT: Maybe) -> Tensor:
        """In training, random spans of columns and of bins are silent (Park et al. 2019)."""
        config, (count, bins, length) = self.config, features_BMT.shape
        if not self.training or not config.apply_spec_augment:
            return features_BMT
        if config.mask_time_prob > 0:
            lengths = [length] * count if mask_BT is None else mask_BT.sum(-1).tolist()
            spans_BT = layers.random_spans(
                lengths, length, config.mask_time_prob, config.mask_time_length,
                config.mask_time_min_masks,
            )  # fmt: skip
            features_BMT = features_BMT.masked_fill(spans_BT[:, None].to(features_BMT.device), 0)
        if config.mask_feature_prob > 0:
            spans_BM = layers.random_spans(
                [bins] * count, bins, config.mask_feature_prob, config.mask_feature_length,
                config.mask_feature_min_masks,
            )  # fmt: skip
            features_BMT = features_BMT.masked_fill(spans_BM[..., None].to(features_BMT.device), 0)
        return features_BMT

    def forward(
        self, input_features: Maybe = None, attention_mask: Maybe = None,
        decoder_input_ids: Maybe = None, decoder_attention_mask: Maybe = None,
        head_mask: Maybe = None, decoder_head_mask: Maybe = None,
        cross_attn_head_mask: Maybe = None, encoder_outputs: Any = None,
        past_key_values: Any = None, decoder_inputs_embeds: Maybe = None,
        decoder_position_ids: Maybe = None, use_cache: Flag = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None,
    ) -> Any:  # fmt: skip
        """Hidden states ``[B, L, H]`` of the decoder.

        Args:
            input_features: log-mel spectrograms, ``[B, M, T]``, silence behind the end.
            attention_mask: ``[B, T]``; where spans may be made silent in training, else ignored.
            decoder_input_ids: int64 ``[B, L]``; with the others named so as in ``WhisperDecoder``.
            decoder_attention_mask: ``[B, L]``.
            head_mask: of the encoder, ``[N]`` or ``[layers, N]``.
            decoder_head_mask: of the decoder.
            cross_attn_head_mask: of the decoder's attention over the encoder.
            encoder_outputs: what the encoder returned before, in place of its inputs.
            past_key_values: of the decoder.
            decoder_inputs_embeds: ``[B, L, H]``.
            decoder_position_ids: ``[B, L]``.
            use_cache: return ``past_key_values``.
            output_attentions: return the attention weights of each layer.
            output_hidden_states: return the hidden states of each layer.
            return_dict: return a ``ModelOutput``, else a tuple.
        """
        keep = {"output_attentions": output_attentions,
                "output_hidden_states": output_hidden_states}  # fmt: skip
        if encoder_outputs is None:
            if input_features is not None:
                input_features = self._augmented(input_features, attention_mask)
            encoder_outputs = self.encoder(
                input_features, head_mask=head_mask, return_dict=True, **keep
            )
        encoder_outputs = forward.encoder_output(encoder_outputs)
        decoded = self.decoder(
            decoder_input_ids, decoder_attention_mask, encoder_outputs[0], decoder_head_mask,
            cross_attn_head_mask, past_key_values, decoder_inputs_embeds, decoder_position_ids,
            use_cache, return_dict=True, **keep,
        )  # fmt: skip
        output = forward.seq2seq_output(decoded, encoder_outputs)
        return forward.finish(output, self.config, return_dict)


class WhisperForConditionalGeneration(WhisperPreTrainedModel):
    """Encoder, decoder, and the scores of the next token."""

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__(config)
        self.model = WhisperModel(config)
        self.proj_out = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.post_init()

    @override
    def get_output_embeddings(self) -> nn.Module:
        return self.proj_out

    @override
    def set_output_embeddings(self, value: Any) -> None:
        self.proj_out = value

    def forward(
        self, input_features: Maybe = None, attention_mask: Maybe = None,
        decoder_input_ids: Maybe = None, decoder_attention_mask: Maybe = None,
        head_mask: Maybe = None, decoder_head_mask: Maybe = None,
        cross_attn_head_mask: Maybe = None, encoder_outputs: Any = None,
        past_key_values: Any = None, decoder_inputs_embeds: Maybe = None,
        decoder_position_ids: Maybe = None, labels: Maybe = None, use_cache: Flag = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None,
    ) -> Any:  # fmt: skip
        """Logits ``[B, L, V]``; labels int64 ``[B, L]``, -100 for none.

        Without ids for the decoder the labels make them.
        """
        config = self.config
        if labels is not None and decoder_input_ids is None and decoder_inputs_embeds is None:
            decoder_input_ids = layers.shift_right(
                labels, config.decoder_start_token_id, config.pad_token_id
            )
        trunk = self.model(
            input_features, attention_mask, decoder_input_ids, decoder_attention_mask, head_mask,
            decoder_head_mask, cross_attn_head_mask, encoder_outputs, past_key_values,
            decoder_inputs_embeds, decoder_position_ids, use_cache, output_attentions,
            output_hidden_states, return_dict=True,
        )  # fmt: skip
        scores = self.proj_out(trunk.last_hidden_state)
        output = outputs.Seq2SeqLMOutput(layers.token_loss(scores, labels), scores)
        return forward.finish(output, config, return_dict, trunk)


class WhisperForAudioClassification(WhisperPreTrainedModel):
    """A label for each recording, of the mean of the encoder's frames."""

    layer_weights: nn.Parameter

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__(config)
        self.encoder = WhisperEncoder(config)
        if config.use_weighted_layer_sum:
            self.layer_weights = nn.Parameter(torch.ones(1 + config.encoder_layers))
        self.projector = nn.Linear(config.d_model, config.classifier_proj_size)
        self.classifier = nn.Linear(config.classifier_proj_size, config.num_labels)
        self.post_init()

    @override
    def example_inputs(self, batch_size: int, sequence_length: int) -> dict[str, Tensor]:
        """Spectrograms ``[B, M, T]``, always as long."""
        return {"input_features": example_features(self.config, batch_size)}

    def forward(
        self, input_features: Maybe = None, head_mask: Maybe = None, encoder_outputs: Any = None,
        labels: Maybe = None, output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None,
    ) -> Any:  # fmt: skip
        """Logits ``[B, labels]``; labels int64 ``[B]``."""
        is_weighted = self.config.use_weighted_layer_sum
        if encoder_outputs is None:
            encoder_outputs = self.encoder(
                input_features, None, head_mask, output_attentions,
                True if is_weighted else output_hidden_states, return_dict=True,
            )  # fmt: skip
        encoder_outputs = forward.encoder_output(encoder_outputs)
        hidden = encoder_outputs[0]
        if is_weighted:
            weights = self.layer_weights.softmax(-1).view(-1, 1, 1, 1)
            hidden = (torch.stack(encoder_outputs.hidden_states) * weights).sum(0)
        logits = self.classifier(self.projector(hidden).mean(dim=1))
        output = outputs.SequenceClassifierOutput(layers.token_loss(logits, labels), logits)
        return forward.finish(output, self.config, return_dict, encoder_outputs)
