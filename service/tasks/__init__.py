"""Tasks: texts and ids to work, arrays to answers. ``build_task`` picks one by its name."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from service.core.errors import UnsupportedInput
from service.core.messages import Inputs, ModelFacts
from service.core.work import WorkItem, WorkResult
from service.tasks.base import Task
from service.tasks.context import TaskContext
from service.tasks.feature_extraction import FeatureExtraction
from service.tasks.fill_mask import FillMask
from service.tasks.question_answering import QuestionAnswering
from service.tasks.text_classification import TextClassification
from service.tasks.token_classification import TokenClassification

__all__ = ["TASKS", "TaskContext", "UnknownTask", "build_task"]

TASKS: Mapping[str, Callable[[TaskContext], Task]] = {
    FeatureExtraction.name: FeatureExtraction,
    FillMask.name: FillMask,
    QuestionAnswering.name: QuestionAnswering,
    TextClassification.name: TextClassification,
    TokenClassification.name: TokenClassification,
}


class UnknownTask:
    """Stands for a task that is not in ``TASKS``, or not on texts: its model takes raw tensors.

    Attributes:
        task: huggingface_hub's name of the task.
        inputs: the raw tensors that the model needs.
    """

    name: ClassVar[str] = "unknown"

    def __init__(self, task: str, inputs: Sequence[str]) -> None:
        self.task = task
        self.inputs = inputs

    def prepare(self, inputs: Inputs, parameters: Mapping[str, Any]) -> Sequence[WorkItem]:
        """Refuse.

        Raises:
            UnsupportedInput: always.
        """
        del inputs, parameters
        raise UnsupportedInput(
            f"this model does {self.task!r} and takes no texts or token ids, only raw tensors by "
            f"name: {', '.join(self.inputs)}; tasks on texts: {', '.join(TASKS)}"
        )

    def finish(
        self,
        results: Sequence[WorkResult],
        work: Sequence[WorkItem],
        parameters: Mapping[str, Any],
    ) -> Any:
        """Never reached, since nothing can be prepared.

        Raises:
            UnsupportedInput: always.
        """
        del results, work, parameters
        raise UnsupportedInput(f"task {self.task!r} has no answers on texts")


def build_task(name: str, folder: Path, facts: ModelFacts) -> Task:
    """Bind a task to a loaded model.

    Args:
        name: huggingface_hub's task name.
        folder: the model's files: config, tokenizer, sentence-transformers' settings.
        facts: of the loaded model.

    Raises:
        UnsupportedModule: a sentence-transformers module is not implemented.
        UnsupportedTokenizer: the tokenizer cannot be honoured.
        UnreadableFile: a settings file is malformed.
    """
    task = TASKS.get(name)
    if task is None or set(facts.inputs) - {"input_ids"}:
        return UnknownTask(name, facts.inputs)
    return task(TaskContext.from_folder(folder, facts))
