"""Configurations: one file an architecture, with its weight rules and its heads.

To add one: a file beside this and an entry in ``CONFIGS``.
"""

from model_base.configs.albert import AlbertConfig
from model_base.configs.bart import BartConfig
from model_base.configs.base import PretrainedConfig
from model_base.configs.bert import BertConfig
from model_base.configs.clip import CLIPConfig, CLIPTextConfig, CLIPVisionConfig
from model_base.configs.distilbert import DistilBertConfig
from model_base.configs.electra import ElectraConfig
from model_base.configs.gemma2 import Gemma2Config
from model_base.configs.gemma3 import Gemma3TextConfig
from model_base.configs.gpt2 import GPT2Config
from model_base.configs.gpt_neox import GPTNeoXConfig
from model_base.configs.llama import LlamaConfig
from model_base.configs.mistral import MistralConfig
from model_base.configs.modernbert import ModernBertConfig
from model_base.configs.opt import OPTConfig
from model_base.configs.qwen2 import Qwen2Config
from model_base.configs.qwen3 import Qwen3Config
from model_base.configs.roberta import CamembertConfig, RobertaConfig, XLMRobertaConfig
from model_base.configs.siglip import SiglipConfig, SiglipTextConfig, SiglipVisionConfig
from model_base.configs.t5 import T5Config
from model_base.configs.vit import ViTConfig
from model_base.configs.wav2vec2 import Wav2Vec2Config
from model_base.configs.whisper import WhisperConfig

CONFIGS: tuple[type[PretrainedConfig], ...] = (
    AlbertConfig,
    BartConfig,
    BertConfig,
    CamembertConfig,
    DistilBertConfig,
    ElectraConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    ModernBertConfig,
    OPTConfig,
    Qwen2Config,
    Qwen3Config,
    RobertaConfig,
    T5Config,
    CLIPConfig,
    CLIPTextConfig,
    CLIPVisionConfig,
    SiglipConfig,
    SiglipTextConfig,
    SiglipVisionConfig,
    ViTConfig,
    Wav2Vec2Config,
    WhisperConfig,
    XLMRobertaConfig,
)
