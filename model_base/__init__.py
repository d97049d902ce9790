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
        "ConfigUnreadable", "CorruptCheckpoint", "HubConflict", "HubUnavailable",
        "ModelBaseError", "UnsafeCheckpoint", "UnsupportedConfig",
    ),
    "model_base.configs.base": ("PretrainedConfig",),
    "model_base.configs.albert": ("AlbertConfig",),
    "model_base.configs.bart": ("BartConfig",),
    "model_base.configs.bert": ("BertConfig",),
    "model_base.configs.distilbert": ("DistilBertConfig",),
    "model_base.configs.electra": ("ElectraConfig",),
    "model_base.configs.gemma2": ("Gemma2Config",),
    "model_base.configs.gemma3": ("Gemma3TextConfig",),
    "model_base.configs.gpt2": ("GPT2Config",),
    "model_base.configs.gpt_neox": ("GPTNeoXConfig",),
    "model_base.configs.llama": ("LlamaConfig",),
    "model_base.configs.mistral": ("MistralConfig",),
    "model_base.configs.modernbert": ("ModernBertConfig",),
    "model_base.configs.opt": ("OPTConfig",),
    "model_base.configs.qwen2": ("Qwen2Config",),
    "model_base.configs.qwen3": ("Qwen3Config",),
    "model_base.configs.roberta": ("CamembertConfig", "RobertaConfig", "XLMRobertaConfig"),
    "model_base.configs.t5": ("T5Config",),
    "model_base.configs.clip": ("CLIPConfig", "CLIPTextConfig", "CLIPVisionConfig"),
    "model_base.configs.siglip": ("SiglipConfig", "SiglipTextConfig", "SiglipVisionConfig"),
    "model_base.configs.vit": ("ViTConfig",),
    "model_base.configs.wav2vec2": ("Wav2Vec2Config",),
    "model_base.configs.whisper": ("WhisperConfig",),
    "model_base.auto": (
        "AutoConfig", "AutoModel", "AutoModelForAudioClassification", "AutoModelForCTC",
        "AutoModelForCausalLM", "AutoModelForImageClassification",
        "AutoModelForMaskedImageModeling", "AutoModelForMaskedLM",
        "AutoModelForMultipleChoice", "AutoModelForNextSentencePrediction",
        "AutoModelForPreTraining", "AutoModelForQuestionAnswering",
        "AutoModelForSeq2SeqLM", "AutoModelForSequenceClassification", "AutoModelForSpeechSeq2Seq",
        "AutoModelForTokenClassification", "AutoModelForZeroShotImageClassification",
        "TFAutoModel", "TFAutoModelForCausalLM", "TFAutoModelForImageClassification",
        "TFAutoModelForMaskedLM", "TFAutoModelForMultipleChoice",
        "TFAutoModelForNextSentencePrediction", "TFAutoModelForPreTraining",
        "TFAutoModelForQuestionAnswering", "TFAutoModelForSeq2SeqLM",
        "TFAutoModelForSequenceClassification", "TFAutoModelForTokenClassification",
    ),
    "model_base.tokenization.auto": ("AutoTokenizer",),
    "model_base.tokenization.base": (
        "BatchEncoding", "PreTrainedTokenizer", "PreTrainedTokenizerFast",
    ),
    "model_base.checkpoints.sharding": ("convert_file_size_to_int",),
    "model_base.hub.push": ("PushToHubMixin",),
    "model_base.outputs": ("ModelOutput",),
    "model_base.tensorflow.base": ("TFPreTrainedModel",),
    "model_base.tensorflow.inputs": (
        "booleans_processing", "input_processing", "keras_serializable", "unpack_inputs",
    ),
    "model_base.tensorflow.losses": (
        "TFCausalLanguageModelingLoss", "TFMaskedLanguageModelingLoss", "TFMultipleChoiceLoss",
        "TFNextSentencePredictionLoss", "TFQuestionAnsweringLoss", "TFSequenceClassificationLoss",
        "TFTokenClassificationLoss",
    ),
    "model_base.tensorflow.module_utils": ("TFModelUtilsMixin",),
    "model_base.tensorflow.models.bert": (
        "TFBertForMaskedLM", "TFBertForMultipleChoice", "TFBertForNextSentencePrediction",
        "TFBertForPreTraining", "TFBertForQuestionAnswering", "TFBertForSequenceClassification",
        "TFBertForTokenClassification", "TFBertLMHeadModel", "TFBertMainLayer", "TFBertModel",
        "TFBertPreTrainedModel",
    ),
    "model_base.tensorflow.models.roberta": (
        "TFCamembertForCausalLM", "TFCamembertForMaskedLM", "TFCamembertForMultipleChoice",
        "TFCamembertForQuestionAnswering", "TFCamembertForSequenceClassification",
        "TFCamembertForTokenClassification", "TFCamembertModel", "TFRobertaForCausalLM",
        "TFRobertaForMaskedLM", "TFRobertaForMultipleChoice", "TFRobertaForQuestionAnswering",
        "TFRobertaForSequenceClassification", "TFRobertaForTokenClassification",
        "TFRobertaMainLayer", "TFRobertaModel", "TFRobertaPreTrainedModel",
        "TFXLMRobertaForCausalLM", "TFXLMRobertaForMaskedLM", "TFXLMRobertaForMultipleChoice",
        "TFXLMRobertaForQuestionAnswering", "TFXLMRobertaForSequenceClassification",
        "TFXLMRobertaForTokenClassification", "TFXLMRobertaModel",
    ),
    "model_base.tensorflow.models.distilbert": (
        "TFDistilBertForMaskedLM", "TFDistilBertForMultipleChoice",
        "TFDistilBertForQuestionAnswering", "TFDistilBertForSequenceClassification",
        "TFDistilBertForTokenClassification", "TFDistilBertMainLayer", "TFDistilBertModel",
        "TFDistilBertPreTrainedModel",
    ),
    "model_base.tensorflow.models.vit": (
        "TFViTForImageClassification", "TFViTMainLayer", "TFViTModel", "TFViTPreTrainedModel",
    ),
    "model_base.tensorflow.models.albert": (
        "TFAlbertForMaskedLM", "TFAlbertForMultipleChoice", "TFAlbertForPreTraining",
        "TFAlbertForQuestionAnswering", "TFAlbertForSequenceClassification",
        "TFAlbertForTokenClassification", "TFAlbertMainLayer", "TFAlbertModel",
        "TFAlbertPreTrainedModel",
    ),
    "model_base.tensorflow.models.electra": (
        "TFElectraForMaskedLM", "TFElectraForMultipleChoice", "TFElectraForPreTraining",
        "TFElectraForQuestionAnswering", "TFElectraForSequenceClassification",
        "TFElectraForTokenClassification", "TFElectraMainLayer", "TFElectraModel",
        "TFElectraPreTrainedModel",
    ),
    "model_base.tensorflow.models.gpt2": (
        "TFGPT2DoubleHeadsModel", "TFGPT2ForSequenceClassification", "TFGPT2LMHeadModel",
        "TFGPT2MainLayer", "TFGPT2Model", "TFGPT2PreTrainedModel",
    ),
    "model_base.tensorflow.models.clip": (
        "TFCLIPMainLayer", "TFCLIPModel", "TFCLIPPreTrainedModel", "TFCLIPTextModel",
        "TFCLIPVisionModel",
    ),
    "model_base.tensorflow.models.t5": (
        "TFT5EncoderModel", "TFT5ForConditionalGeneration", "TFT5MainLayer", "TFT5Model",
        "TFT5PreTrainedModel",
    ),
    "model_base.tensorflow.models.wav2vec2": (
        "TFWav2Vec2ForCTC", "TFWav2Vec2MainLayer", "TFWav2Vec2Model", "TFWav2Vec2PreTrainedModel",
    ),
    "model_base.tensorflow.models.bart": (
        "TFBartForConditionalGeneration", "TFBartMainLayer", "TFBartModel",
        "TFBartPretrainedModel",
    ),
    "model_base.torch.base": ("PreTrainedModel", "no_init_weights"),
    "model_base.torch.module_utils": (
        "ModuleUtilsMixin", "get_parameter_device", "get_parameter_dtype",
    ),
    "model_base.torch.loading": ("load_sharded_checkpoint",),
    "model_base.torch.pruning": (
        "find_pruneable_heads_and_indices", "prune_conv1d_layer", "prune_linear_layer",
    ),
    "model_base.torch.models.albert": (
        "AlbertForMaskedLM", "AlbertForMultipleChoice", "AlbertForPreTraining",
        "AlbertForQuestionAnswering", "AlbertForSequenceClassification",
        "AlbertForTokenClassification", "AlbertModel", "AlbertPreTrainedModel",
    ),
    "model_base.torch.models.bart": (
        "BartForCausalLM", "BartForConditionalGeneration", "BartForQuestionAnswering",
        "BartForSequenceClassification", "BartModel", "BartPreTrainedModel",
    ),
    "model_base.torch.models.bert": (
        "BertForMaskedLM", "BertForMultipleChoice", "BertForNextSentencePrediction",
        "BertForPreTraining", "BertForQuestionAnswering", "BertForSequenceClassification",
        "BertForTokenClassification", "BertLMHeadModel", "BertModel", "BertPreTrainedModel",
    ),
    "model_base.torch.models.distilbert": (
        "DistilBertForMaskedLM", "DistilBertForMultipleChoice", "DistilBertForQuestionAnswering",
        "DistilBertForSequenceClassification", "DistilBertForTokenClassification",
        "DistilBertModel", "DistilBertPreTrainedModel",
    ),
    "model_base.torch.models.electra": (
        "ElectraForCausalLM", "ElectraForMaskedLM", "ElectraForMultipleChoice",
        "ElectraForPreTraining", "ElectraForQuestionAnswering", "ElectraForSequenceClassification",
        "ElectraForTokenClassification", "ElectraModel", "ElectraPreTrainedModel",
    ),
    "model_base.torch.models.gemma2": (
        "Gemma2ForCausalLM", "Gemma2ForSequenceClassification", "Gemma2Model",
        "Gemma2PreTrainedModel",
    ),
    "model_base.torch.models.gemma3": (
        "Gemma3ForCausalLM", "Gemma3PreTrainedModel", "Gemma3TextForSequenceClassification",
        "Gemma3TextModel",
    ),
    "model_base.torch.models.gpt2": (
        "GPT2DoubleHeadsModel", "GPT2ForSequenceClassification", "GPT2ForTokenClassification",
        "GPT2LMHeadModel", "GPT2Model", "GPT2PreTrainedModel",
    ),
    "model_base.torch.models.gpt_neox": (
        "GPTNeoXForCausalLM", "GPTNeoXForSequenceClassification", "GPTNeoXModel",
        "GPTNeoXPreTrainedModel",
    ),
    "model_base.torch.models.llama": (
        "LlamaForCausalLM", "LlamaForSequenceClassification", "LlamaModel", "LlamaPreTrainedModel",
    ),
    "model_base.torch.models.mistral": (
        "MistralForCausalLM", "MistralForSequenceClassification", "MistralModel",
        "MistralPreTrainedModel",
    ),
    "model_base.torch.models.modernbert": (
        "ModernBertForMaskedLM", "ModernBertForMultipleChoice", "ModernBertForQuestionAnswering",
        "ModernBertForSequenceClassification", "ModernBertForTokenClassification",
        "ModernBertModel", "ModernBertPreTrainedModel",
    ),
    "model_base.torch.models.opt": (
        "OPTForCausalLM", "OPTForSequenceClassification", "OPTModel", "OPTPreTrainedModel",
    ),
    "model_base.torch.models.qwen2": (
        "Qwen2ForCausalLM", "Qwen2ForSequenceClassification", "Qwen2ForTokenClassification",
        "Qwen2Model", "Qwen2PreTrainedModel",
    ),
    "model_base.torch.models.qwen3": (
        "Qwen3ForCausalLM", "Qwen3ForSequenceClassification", "Qwen3ForTokenClassification",
        "Qwen3Model", "Qwen3PreTrainedModel",
    ),
    "model_base.torch.models.roberta": (
        "CamembertForCausalLM", "CamembertForMaskedLM", "CamembertForMultipleChoice",
        "CamembertForQuestionAnswering", "CamembertForSequenceClassification",
        "CamembertForTokenClassification", "CamembertModel", "CamembertPreTrainedModel",
        "RobertaForCausalLM", "RobertaForMaskedLM", "RobertaForMultipleChoice",
        "RobertaForQuestionAnswering", "RobertaForSequenceClassification",
        "RobertaForTokenClassification", "RobertaModel", "RobertaPreTrainedModel",
        "XLMRobertaForCausalLM", "XLMRobertaForMaskedLM", "XLMRobertaForMultipleChoice",
        "XLMRobertaForQuestionAnswering", "XLMRobertaForSequenceClassification",
        "XLMRobertaForTokenClassification", "XLMRobertaModel", "XLMRobertaPreTrainedModel",
    ),
    "model_base.torch.models.t5": (
        "T5EncoderModel", "T5ForConditionalGeneration", "T5Model", "T5PreTrainedModel",
    ),
    "model_base.torch.models.clip": (
        "CLIPModel", "CLIPPreTrainedModel", "CLIPTextModel", "CLIPTextModelWithProjection",
        "CLIPVisionModel", "CLIPVisionModelWithProjection",
    ),
    "model_base.torch.models.siglip": (
        "SiglipForImageClassification", "SiglipModel", "SiglipPreTrainedModel", "SiglipTextModel",
        "SiglipVisionModel",
    ),
    "model_base.torch.models.vit": (
        "ViTForImageClassification", "ViTForMaskedImageModeling", "ViTModel", "ViTPreTrainedModel",
    ),
    "model_base.torch.models.wav2vec2": (
        "Wav2Vec2ForCTC", "Wav2Vec2ForSequenceClassification", "Wav2Vec2Model",
        "Wav2Vec2PreTrainedModel",
    ),
    "model_base.torch.models.whisper": (
        "WhisperForAudioClassification", "WhisperForConditionalGeneration", "WhisperModel",
        "WhisperPreTrainedModel",
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
