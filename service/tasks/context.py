"""What a task knows about its model: facts, tokenizer, labels, pooling."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from model_base.auto import AutoConfig
from model_base.tokenization.settings import TokenizerNotFound
from service.core.messages import ModelFacts
from service.tasks.sentence_transformers import (
    SentenceTransformersConfig,
    read_sentence_transformers,
)
from service.tasks.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class TaskContext:
    """One loaded model, as its tasks see it.

    Attributes:
        facts: what the worker reported.
        tokenizer: None when the folder holds none; token ids are still accepted then.
        sentence_transformers: settings of ``modules.json``; None without that file.
        labels: name by index.
        problem_type: ``regression``, ``single_label_classification``,
            ``multi_label_classification`` or None.
        vocab_size: ids are below it; None for models without a vocabulary.
        num_token_types: 0 for models that do not tell one text of a pair from the other.
    """

    facts: ModelFacts
    tokenizer: Tokenizer | None = None
    sentence_transformers: SentenceTransformersConfig | None = None
    labels: Mapping[int, str] = field(default_factory=dict)
    problem_type: str | None = None
    vocab_size: int | None = None
    num_token_types: int = 0

    @classmethod
    def from_folder(cls, folder: Path, facts: ModelFacts) -> "TaskContext":
        """Read a model's folder.

        Raises:
            UnsupportedModule: of sentence-transformers' settings.
            UnsupportedTokenizer: there is a tokenizer, and it cannot be honoured.
            UnreadableFile: a settings file is malformed.
            ConfigNotFound, ConfigUnreadable, UnsupportedConfig: of config.json.
        """
        modules = read_sentence_transformers(folder)
        if modules is not None:
            folder = modules.folder
        config = AutoConfig.from_pretrained(folder)
        return cls(
            facts=facts,
            tokenizer=_read_tokenizer(folder, facts, modules),
            sentence_transformers=modules,
            labels=config.id2label,
            problem_type=config.problem_type,
            vocab_size=getattr(config, "vocab_size", None),
            num_token_types=getattr(config, "type_vocab_size", 0),
        )

    @property
    def is_pooled(self) -> bool:
        """True when the model gives one vector a text."""
        return self.sentence_transformers is not None or self.facts.pooling is not None

    def label(self, index: int) -> str:
        """Name of a label; ``LABEL_<index>`` when the config gives none."""
        return self.labels.get(index, f"LABEL_{index}")


def _read_tokenizer(
    folder: Path, facts: ModelFacts, modules: SentenceTransformersConfig | None
) -> Tokenizer | None:
    try:
        return Tokenizer.from_folder(
            folder,
            facts.max_length,
            max_seq_length=modules.max_length if modules else None,
            lower_case=modules.do_lower_case if modules else False,
        )
    except TokenizerNotFound:
        return None
