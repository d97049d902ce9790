"""Chat templates: messages to the text that a model was taught to continue.

A template is code of whoever published the model. It runs in Jinja's immutable sandbox, without
the operations by which a short template makes a huge text, and against a clock.

Source: transformers 4.57.3, ``chat_template_utils.py`` (what templates may call).
"""

import datetime
import json
import math
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import FrameType
from typing import Any

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment
from typing_extensions import override

_FAILURES = (
    jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError,
    MemoryError, RuntimeError, SyntaxError,
)  # fmt: skip
"""What a template can end in; ``RecursionError`` is a ``RuntimeError``."""
MAX_TEMPLATE_CHARS = 2**20
MAX_OUTPUT_CHARS = 16 * 2**20
MAX_SECONDS = 2.0
MAX_MORE_BYTES = 256 * 2**20
"""By which the process may grow while a template is rendered."""
_GROWING = frozenset({
    "format", "format_map", "ljust", "rjust", "center", "zfill", "expandtabs", "translate",
    "encode",
})  # fmt: skip
_GROWING_FILTERS = ("center", "format", "indent", "xmlattr", "sum", "batch", "slice")
"""What makes a text of any length of a number in the template, or of a few calls unseen."""


class ChatTemplateError(ValueError):
    """Raised when a template cannot be rendered, or refuses the messages."""


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox, less what grows without limit."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    @override
    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "+" and hasattr(left, "__len__") and hasattr(right, "__len__"):
            _check_size(len(left) + len(right))
            return left + right
        if not (isinstance(left, int | float) and isinstance(right, int | float)):
            raise ChatTemplateError(
                f"the template uses {operator!r} on something else than numbers"
            )
        if operator == "**" and (abs(left) > 2**16 or abs(right) > 64):
            raise ChatTemplateError("the template raises a number to a huge power")
        return super().call_binop(context, operator, left, right)

    @override
    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, str | bytes) and attr in _GROWING:
            return False
        return super().is_safe_attribute(obj, attr, value)

    @override
    def call(self, context: Any, obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a function or a method of a value; what comes back is bounded."""
        owner = getattr(obj, "__self__", None)
        if isinstance(owner, str):  # replace and join make a text of several
            sizes = [len(owner), *(_total(argument) for argument in args)]
            name = getattr(obj, "__name__", "")
            _check_size(math.prod(sizes) if name == "replace" else sum(sizes) * (1 + len(owner)))
        result = super().call(context, obj, *args, **kwargs)
        if isinstance(result, str | bytes | list | tuple | dict):
            _check_size(len(result))
        return result


def _check_size(size: int) -> None:
    if size > MAX_OUTPUT_CHARS:
        raise ChatTemplateError(f"the template makes more than {MAX_OUTPUT_CHARS} characters")


def _total(argument: Any) -> int:
    """Characters in a text, or in the texts of a list."""
    if isinstance(argument, str):
        return max(len(argument), 1)
    if isinstance(argument, list | tuple):
        return sum(len(item) if isinstance(item, str) else 1 for item in argument)
    return 1


def render(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    add_generation_prompt: bool = False,
    tools: Sequence[Any] | None = None,
    documents: Sequence[Any] | None = None,
    **variables: Any,
) -> str:
    """Render messages with a model's template.

    Args:
        template: Jinja source.
        messages: ``{"role", "content"}`` and whatever else the template knows.
        add_generation_prompt: end with what precedes the model's answer.
        tools: functions that the model may call, as JSON schemas.
        documents: texts to answer from.
        variables: other names for the template, such as special tokens.

    Raises:
        ChatTemplateError: the template is too long, is no Jinja, takes too long or makes too
            much, or itself refuses the messages; its words are in the message. A message is
            no mapping with a role, and with content or tool calls.
    """
    if len(template) > MAX_TEMPLATE_CHARS:
        raise ChatTemplateError(
            f"the template has {len(template)} characters; accepted: up to {MAX_TEMPLATE_CHARS}"
        )
    for index, message in enumerate(messages):
        _check_message(index, message)
    try:
        parts = _compiled(template).generate(
            messages=messages, add_generation_prompt=add_generation_prompt, tools=tools,
            documents=documents, **variables,
        )  # fmt: skip
        return _collected(parts)
    except ChatTemplateError:
        raise
    except _FAILURES as error:
        raise ChatTemplateError(f"the chat template failed: {error}") from error


def _check_message(index: int, message: Any) -> None:
    """Refuse what a template would write nothing of, without an error."""
    if not isinstance(message, Mapping):
        seen = f"a {type(message).__name__}"
    elif "role" not in message or not message.keys() & {"content", "tool_calls"}:
        seen = f"a mapping with {sorted(message)}"
    else:
        return
    raise ChatTemplateError(
        f"message {index} is {seen}; accepted: a mapping with role, and content or tool_calls"
    )


def _collected(parts: Any) -> str:
    """The whole text, within the limits of time and size."""
    deadline = time.monotonic() + MAX_SECONDS
    most = _peak_bytes() + MAX_MORE_BYTES

    def watch(frame: FrameType, event: str, argument: Any) -> Any:
        if time.monotonic() > deadline:
            raise ChatTemplateError(f"the template takes longer than {MAX_SECONDS} s")
        if _peak_bytes() > most:
            raise ChatTemplateError(f"the template takes more than {MAX_MORE_BYTES} bytes")
        return watch

    before = sys.gettrace()
    texts, size = [], 0
    sys.settrace(watch)  # of this thread; a template's loops are Python lines
    try:
        for text in parts:
            texts.append(text)
            size += len(text)
            if size > MAX_OUTPUT_CHARS:
                raise ChatTemplateError(
                    f"the template makes more than {MAX_OUTPUT_CHARS} characters"
                )
    finally:
        sys.settrace(before)
    return "".join(texts)


@lru_cache(maxsize=32)
def _compiled(template: str) -> jinja2.Template:
    environment = _Environment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols], autoescape=False
    )
    for name in _GROWING_FILTERS:
        del environment.filters[name]
    environment.filters["tojson"] = _to_json
    environment.filters["replace"] = _replace
    environment.filters["join"] = _join
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = _now
    return environment.from_string(template)


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None) -> str:
    if indent is not None and not 0 <= indent <= 16:
        raise ChatTemplateError(f"tojson's indent is {indent}; accepted: 0 to 16")
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)


def _replace(text: Any, old: str, new: str, count: int = -1) -> str:
    source = str(text)
    _check_size(source.count(old) * len(new) + len(source))
    return source.replace(old, new, -1 if count is None else count)


def _join(values: Any, between: str = "", attribute: str | None = None) -> str:
    items = [value[attribute] if attribute else value for value in values]
    texts = [str(item) for item in items]
    _check_size(sum(map(len, texts)) + len(between) * len(texts))
    return between.join(texts)


def _peak_bytes() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _refuse(message: str) -> None:
    raise ChatTemplateError(str(message))


def _now(form: str) -> str:
    return datetime.datetime.now().astimezone().strftime(form[:100])
