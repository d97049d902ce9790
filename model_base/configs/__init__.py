"""Configurations: one file an architecture, with its weight rules and its heads.

To add one: a file beside this and an entry in ``CONFIGS``.
"""

from model_base.configs.base import PretrainedConfig
from model_base.configs.bert import BertConfig
from model_base.configs.llama import LlamaConfig
from model_base.configs.t5 import T5Config

CONFIGS: tuple[type[PretrainedConfig], ...] = (
    BertConfig,
    LlamaConfig,
    T5Config,
)
