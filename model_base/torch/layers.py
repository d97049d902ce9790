"""Small layers, and mathematics without parameters, that architectures share.

Shape letters: B batch, L length, H hidden, N labels.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from typing_extensions import override

from model_base.activations import activation_kind

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "relu": F.relu,
    "silu": F.silu,
    "mish": F.mish,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "linear": lambda x: x,
}


class Activation(nn.Module):
    """The function that a configuration calls ``name``.

    Raises:
        UnsupportedConfig: the name is not known.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.kind = activation_kind(name)

    @override
    def forward(self, hidden: Tensor) -> Tensor:
        return ACTIVATIONS[self.kind](hidden)


class DropoutLinear(nn.Linear):
    """A linear layer with dropout before it."""

    def __init__(self, in_features: int, out_features: int, dropout_p: float) -> None:
        super().__init__(in_features, out_features)
        self.dropout = nn.Dropout(dropout_p)

    @override
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(self.dropout(input))


class Conv1D(nn.Module):
    """A linear layer whose weight is ``[in, out]``, as GPT-2 stores it."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(in_features, out_features))
        self.bias = nn.Parameter(torch.zeros(out_features))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Small normal weights, no bias."""
        nn.init.normal_(self.weight, std=0.02)
        nn.init.zeros_(self.bias)

    @override
    def forward(self, hidden: Tensor) -> Tensor:
        return F.linear(hidden, self.weight.T, self.bias)


class SequenceSummary(nn.Module):
    """One vector of a sequence's states, by the ``summary`` fields of a configuration.

    Args:
        config: ``summary_type`` says what is read: ``last``, ``first``, ``mean``, or the token
            that the caller names (``cls_index``); the others what becomes of it.
        num_labels: size of the result, if ``summary_proj_to_labels``.
    """

    def __init__(self, config: Any, num_labels: int) -> None:
        super().__init__()
        self.summary_type = config.summary_type
        size = num_labels if config.summary_proj_to_labels else config.hidden_size
        has_projection = config.summary_use_proj
        self.summary = nn.Linear(config.hidden_size, size) if has_projection else nn.Identity()
        self.activation = Activation(config.summary_activation or "linear")
        self.first_dropout = nn.Dropout(config.summary_first_dropout)
        self.last_dropout = nn.Dropout(getattr(config, "summary_last_dropout", 0.0))

    @override
    def forward(self, hidden: Tensor, index: Tensor | None = None) -> Tensor:
        """``[..., L, H]`` and int64 ``[...]`` (None: the last token) → ``[..., size]``."""
        if self.summary_type == "first":
            chosen = hidden[..., 0, :]
        elif self.summary_type == "mean":
            chosen = hidden.mean(-2)
        elif self.summary_type == "last" or index is None:
            chosen = hidden[..., -1, :]
        else:
            places = index[..., None, None].expand(*index.shape, 1, hidden.shape[-1])
            chosen = hidden.gather(-2, places).squeeze(-2)
        summary: Tensor = self.activation(self.summary(self.first_dropout(chosen)))
        dropped: Tensor = self.last_dropout(summary)
        return dropped


class RMSNorm(nn.Module):
    """Scale by the root mean square, computed in float32 (Zhang and Sennrich 2019).

    Args:
        size: of the last axis.
        eps: added to the mean square.
    """

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def reset_parameters(self) -> None:
        """Ones, as in a new model."""
        nn.init.ones_(self.weight)

    @override
    def forward(self, hidden: Tensor) -> Tensor:
        wide = hidden.float()
        scaled = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * scaled.to(hidden.dtype)


class ZeroCentredRMSNorm(RMSNorm):
    """RMSNorm whose weights are kept as their distance from one, and applied in float32."""

    @override
    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)

    @override
    def forward(self, hidden: Tensor) -> Tensor:
        wide = hidden.float()
        scaled = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return (scaled * (1.0 + self.weight.float())).to(hidden.dtype)


class ScaledEmbedding(nn.Embedding):
    """Embeddings times ``scale``, which is rounded to their dtype."""

    def __init__(self, rows: int, size: int, padding_idx: int | None, scale: float) -> None:
        super().__init__(rows, size, padding_idx)
        self.scale = scale

    @override
    def forward(self, input: Tensor) -> Tensor:
        return scaled(super().forward(input), self.scale)


class GatedMLP(nn.Module):
    """``down(act(gate(x)) · up(x))`` (Shazeer 2020, arXiv:2002.05202)."""

    def __init__(self, size: int, inner_size: int, activation: str, *, bias: bool = False) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(size, inner_size, bias)
        self.up_proj = nn.Linear(size, inner_size, bias)
        self.down_proj = nn.Linear(inner_size, size, bias)
        self.act_fn = Activation(activation)

    @override
    def forward(self, hidden: Tensor) -> Tensor:
        inner: Tensor = self.act_fn(self.gate_proj(hidden)) * self.up_proj(hidden)
        output: Tensor = self.down_proj(inner)
        return output


def scaled(hidden: Tensor, scale: float) -> Tensor:
    """``hidden`` times ``scale``, which is rounded to its dtype."""
    return hidden * torch.tensor(scale, dtype=hidden.dtype, device="cpu").item()


def softcapped(values: Tensor, cap: float | None) -> Tensor:
    """Values kept between ``-cap`` and ``cap`` by tanh; as they are without a cap."""
    return values if cap is None else (values / cap).tanh() * cap


def split_heads(hidden: Tensor, size: int) -> Tensor:
    """``[…, N · D]`` → ``[…, N, D]``, heads of ``size`` D."""
    return hidden.view(*hidden.shape[:-1], -1, size)


def named(**modules: nn.Module) -> nn.Sequential:
    """Modules one after another, under these names."""
    return nn.Sequential(OrderedDict(modules))


def token_loss(logits: Tensor, labels: Tensor | None) -> Tensor | None:
    """Mean cross entropy over tokens; labels of -100 do not count. ``[..., N]`` and ``[...]``."""
    if labels is None:
        return None
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1))


_PACKED_LABELS = "labels given with a packed layout; accepted: with padded batches"


def next_token_loss(logits_BLN: Tensor, labels_BL: Tensor | None) -> Tensor | None:
    """Mean cross entropy of each token given those before it.

    Raises:
        ValueError: labels of packed tokens, whose sequences it cannot tell apart.
    """
    if labels_BL is None:
        return None
    if logits_BLN.dim() < 3:
        raise ValueError(_PACKED_LABELS)
    return token_loss(logits_BLN[:, :-1], labels_BL[:, 1:])


def shift_right(labels_BL: Tensor, start_id: int | None, pad_id: int | None) -> Tensor:
    """Decoder ids of labels: a start in front, the last left out, padding where there is none.

    Raises:
        ValueError: one of the two ids is None, or labels of packed tokens.
    """
    if labels_BL.dim() < 2:
        raise ValueError(_PACKED_LABELS)
    if start_id is None or pad_id is None:
        raise ValueError("config needs decoder_start_token_id and pad_token_id to shift labels")
    shifted = labels_BL.roll(1, dims=-1)
    shifted[..., 0] = start_id
    return shifted.masked_fill(shifted == -100, pad_id)


def sequence_loss(logits_BN: Tensor, labels: Tensor | None, config: Any) -> Tensor | None:
    """Loss of a sequence classifier, by ``config.problem_type``, which it sets if it is None.

    One label means regression (mean squared error), integer labels cross entropy, others
    several independent labels (binary cross entropy).

    Source: transformers 4.19.2, ``BertForSequenceClassification.forward``.
    """
    if labels is None:
        return None
    if config.problem_type is None:
        is_class = labels.dtype in (torch.long, torch.int)
        one = "single_label_classification" if is_class else "multi_label_classification"
        config.problem_type = "regression" if config.num_labels == 1 else one
    if config.problem_type == "regression":
        return F.mse_loss(logits_BN.squeeze(-1), labels.reshape(logits_BN.squeeze(-1).shape))
    if config.problem_type == "single_label_classification":
        return F.cross_entropy(logits_BN, labels.reshape(-1))
    return F.binary_cross_entropy_with_logits(logits_BN, labels)


def span_loss(
    start_BL: Tensor, end_BL: Tensor, starts: Tensor | None, ends: Tensor | None
) -> Tensor | None:
    """Mean of the cross entropies of the two ends; positions beyond the text do not count."""
    if starts is None or ends is None:
        return None
    length = start_BL.shape[1]
    losses = [
        F.cross_entropy(logits, positions.reshape(-1).clamp(0, length), ignore_index=length)
        for logits, positions in ((start_BL, starts), (end_BL, ends))
    ]
    return torch.stack(losses).mean()


def finite(hidden: Tensor) -> Tensor:
    """The same, but float16 stays below its largest value."""
    if hidden.dtype != torch.float16:
        return hidden
    limit = torch.finfo(torch.float16).max - 1000
    return hidden.clamp(-limit, limit)


def normal_init(module: nn.Module, spread: float) -> None:
    """Normal weights for projections, embeddings and convolutions; zero biases, unit norms."""
    if isinstance(module, nn.Linear | nn.Embedding | nn.Conv1d | nn.Conv2d | Conv1D):
        module.weight.data.normal_(0.0, spread)
    if isinstance(module, nn.Embedding) and module.padding_idx is not None:
        module.weight.data[module.padding_idx].zero_()
    if isinstance(module, nn.LayerNorm) and module.elementwise_affine:
        module.weight.data.fill_(1.0)
    with_bias = nn.Linear | nn.LayerNorm | nn.Conv1d | nn.Conv2d | Conv1D
    if isinstance(module, with_bias) and module.bias is not None:
        module.bias.data.zero_()


def random_spans(
    lengths: Sequence[int], size: int, probability: float, span: int, least: int
) -> Tensor:
    """Random spans of each row, bool ``[rows, size]``, True inside them (SpecAugment).

    Args:
        lengths: of each row, the part in which spans may lie.
        size: of all rows.
        probability: share of a row that spans would cover if they did not overlap.
        span: length of one.
        least: fewest spans of a row, if it has room for them.
    """
    spans = torch.zeros(len(lengths), size, dtype=torch.bool, device="cpu")
    chance = float(torch.rand((), device="cpu"))
    for row, length in zip(spans, lengths, strict=True):
        places = max(length - span + 1, 0)
        count = min(max(int(probability * length / span + chance), least), size // span, places)
        starts = torch.randperm(places, device="cpu")[:count]
        row[(starts[:, None] + torch.arange(span, device="cpu")).flatten()] = True
    return spans


def resized_grid(table_PH: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Embeddings of a grid's places, rows first, for a grid of another height and width."""
    grid = table_PH.view(*old, -1).permute(2, 0, 1)[None]
    grid = F.interpolate(grid, size=new, mode="bicubic", align_corners=False)
    return grid[0].permute(1, 2, 0).flatten(0, 1)


def run_layers(
    layers: Iterable[Callable[..., Any]],
    hidden: Tensor,
    *args: Any,
    recompute: bool,
    skip_p: float = 0.0,
) -> tuple[Tensor, ...]:
    """The states before each layer and after the last.

    Args:
        layers: each is called ``layer(hidden, *args)`` and returns the next hidden state.
        hidden: what the first gets.
        args: the other arguments of each.
        recompute: compute a layer again in the backward pass instead of keeping its activations.
        skip_p: probability of skipping a layer, for training (Fan et al. 2019, LayerDrop).
    """
    states = [hidden]
    for layer in layers:
        if skip_p and float(torch.rand((), device="cpu")) < skip_p:
            states.append(states[-1])
        elif recompute:
            states.append(checkpoint(layer, states[-1], *args, use_reentrant=False))
        else:
            states.append(layer(states[-1], *args))
    return tuple(states)
