"""What a task knows about its model: facts, tokenizer, labels, pooling."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.core.messages import ModelFacts
from service.tasks.json_files import UnreadableFile, read_object
from service.tasks.sentence_transformers import (
    SentenceTransformersConfig,
    read_sentence_transformers,
)
from service.tasks.tokenizer import Tokenizer
from service.tasks.tokenizer_files import TokenizerNotFound

_MAX_LABELS = 1_000_000


@dataclass(frozen=True, slots=True)
class TaskContext:
    """One loaded model, as its tasks see it.

    Attributes:
        facts: what the worker reported.
        tokenizer: None when the folder holds none; token ids are still accepted then.
        sentence_transformers: settings of ``modules.json``; None without that file.
        labels: by index; empty when the config names none.
        problem_type: ``regression``, ``single_label_classification``,
            ``multi_label_classification`` or None.
        vocab_size: ids are below it; None when the config does not say.
        num_token_types: 0 for models that do not tell one text of a pair from the other.
    """

    facts: ModelFacts
    tokenizer: Tokenizer | None = None
    sentence_transformers: SentenceTransformersConfig | None = None
    labels: tuple[str, ...] = ()
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
        """
        modules = read_sentence_transformers(folder)
        if modules is not None:
            folder = modules.folder
        config = read_object(folder / "config.json")
        return cls(
            facts=facts,
            tokenizer=_read_tokenizer(folder, facts, modules),
            sentence_transformers=modules,
            labels=_labels(config),
            problem_type=config.get("problem_type"),
            vocab_size=_count(config, "vocab_size"),
            num_token_types=_count(config, "type_vocab_size") or 0,
        )

    @property
    def is_pooled(self) -> bool:
        """True when the model gives one vector a text."""
        return self.sentence_transformers is not None or self.facts.pooling is not None

    def label(self, index: int) -> str:
        """Name of a label; ``LABEL_<index>`` when the config gives none."""
        return self.labels[index] if index < len(self.labels) else f"LABEL_{index}"


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


def _labels(config: Mapping[str, Any]) -> tuple[str, ...]:
    """``id2label`` as a tuple; gaps are named ``LABEL_<index>``."""
    try:
        names = {int(index): str(name) for index, name in (config.get("id2label") or {}).items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise UnreadableFile("config.json", "id2label must map numbers to names") from error
    if names and not 0 <= min(names) <= max(names) < _MAX_LABELS:
        raise UnreadableFile("config.json", f"id2label must stay within 0 and {_MAX_LABELS}")
    return tuple(names.get(i, f"LABEL_{i}") for i in range(max(names, default=-1) + 1))


def _count(config: Mapping[str, Any], key: str) -> int | None:
    value = config.get(key)
    if value is not None and (type(value) is not int or value < 0):
        raise UnreadableFile("config.json", f"{key}={value!r}, not a whole number from 0")
    return value
