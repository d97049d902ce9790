"""model_base: the base classes that Transformers 4.19 documents, for three frameworks.

Every public name is importable from here and is looked up when it is first used, so that
``import model_base`` imports no framework (PEP 562).
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_MODULES: dict[str, tuple[str, ...]] = {
    "model_base.errors": (
        "CheckpointMismatch", "CheckpointNotFound", "CheckpointUnreadable", "ConfigNotFound",
        "ConfigUnreadable", "CorruptCheckpoint", "HubUnavailable", "ModelBaseError",
        "UnsafeCheckpoint", "UnsupportedConfig",
    ),
    "model_base.configs.base": ("PretrainedConfig",),
    "model_base.configs.bert": ("BertConfig",),
    "model_base.configs.llama": ("LlamaConfig",),
    "model_base.configs.t5": ("T5Config",),
    "model_base.auto": (
        "AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoModelForMaskedLM",
        "AutoModelForMultipleChoice", "AutoModelForNextSentencePrediction",
        "AutoModelForPreTraining", "AutoModelForQuestionAnswering",
        "AutoModelForSeq2SeqLM", "AutoModelForSequenceClassification",
        "AutoModelForTokenClassification",
    ),
    "model_base.checkpoints.sharding": ("convert_file_size_to_int",),
    "model_base.outputs": ("ModelOutput",),
    "model_base.torch.base": ("PreTrainedModel", "no_init_weights"),
    "model_base.torch.module_utils": (
        "ModuleUtilsMixin", "get_parameter_device", "get_parameter_dtype",
    ),
    "model_base.torch.loading": ("load_sharded_checkpoint",),
    "model_base.torch.pruning": ("find_pruneable_heads_and_indices", "prune_linear_layer"),
    "model_base.torch.models.bert": (
        "BertForMaskedLM", "BertForMultipleChoice", "BertForNextSentencePrediction",
        "BertForPreTraining", "BertForQuestionAnswering", "BertForSequenceClassification",
        "BertForTokenClassification", "BertLMHeadModel", "BertModel", "BertPreTrainedModel",
    ),
    "model_base.torch.models.llama": (
        "LlamaForCausalLM", "LlamaForSequenceClassification", "LlamaModel", "LlamaPreTrainedModel",
    ),
    "model_base.torch.models.t5": (
        "T5EncoderModel", "T5ForConditionalGeneration", "T5Model", "T5PreTrainedModel",
    ),
}  # fmt: skip

_HOME = {name: module for module, names in _MODULES.items() for name in names}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
