"""Parameter-free mathematics that architectures share.

Shape letters: B batch, L length, H hidden, N labels.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_base.activations import activation_kind
from model_base.outputs import ModelOutput

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


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """The function that a configuration calls ``name``.

    Raises:
        UnsupportedConfig: the name is not known.
    """
    return ACTIVATIONS[activation_kind(name)]


def token_loss(logits: Tensor, labels: Tensor | None) -> Tensor | None:
    """Mean cross entropy over tokens; labels of -100 do not count. ``[..., N]`` and ``[...]``."""
    if labels is None:
        return None
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1))


def next_token_loss(logits_BLN: Tensor, labels_BL: Tensor | None) -> Tensor | None:
    """Mean cross entropy of each token given those before it."""
    if labels_BL is None:
        return None
    return token_loss(logits_BLN[:, :-1], labels_BL[:, 1:])


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


def finish(
    output: ModelOutput, config: Any, return_dict: bool | None, trunk: ModelOutput | None = None
) -> Any:
    """The output as it was asked for: itself, or the tuple of what is not None.

    Args:
        trunk: hidden states, attentions and caches that the trunk returned are passed on.
    """
    for name, value in (trunk or {}).items():
        if name not in ("last_hidden_state", "pooler_output"):
            output[name] = value
    return output if chosen(return_dict, config.use_return_dict) else output.to_tuple()


def chosen(argument: bool | None, default: bool) -> bool:
    """An optional argument of a forward, or the configuration's value."""
    return default if argument is None else argument


def normal_init(module: nn.Module, spread: float) -> None:
    """Normal weights for linear layers and embeddings, zero biases and padding, unit norms."""
    if isinstance(module, nn.Linear | nn.Embedding):
        module.weight.data.normal_(0.0, spread)
    if isinstance(module, nn.Embedding) and module.padding_idx is not None:
        module.weight.data[module.padding_idx].zero_()
    if isinstance(module, nn.LayerNorm):
        module.weight.data.fill_(1.0)
    if isinstance(module, nn.Linear | nn.LayerNorm) and module.bias is not None:
        module.bias.data.zero_()
