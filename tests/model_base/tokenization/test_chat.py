"""Chat templates: what they may use, and what ends in an error instead of harm."""

import resource
from typing import Any

import pytest

from model_base.tokenization import chat
from model_base.tokenization.chat import ChatTemplateError, render

MESSAGES = [{"role": "user", "content": "Hi <b> ä"}, {"role": "assistant", "content": "Hello"}]
TEMPLATE = """{%- for message in messages %}
    {%- if message['role'] == 'system' %}{% continue %}{% endif %}
    {{- bos_token + message['role'] + ': ' + message['content'] + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}assistant: {% endif %}"""


def test_messages_become_the_text_that_the_template_makes() -> None:
    text = render(TEMPLATE, MESSAGES, add_generation_prompt=True, bos_token="<s>")
    assert text == "<s>user: Hi <b> ä\n<s>assistant: Hello\nassistant: "


def test_json_keeps_letters_and_is_not_escaped() -> None:
    assert render("{{ messages[0] | tojson }}", MESSAGES) == (
        '{"role": "user", "content": "Hi <b> ä"}'
    )


def test_a_template_may_refuse_messages_in_its_own_words() -> None:
    with pytest.raises(ChatTemplateError, match="^roles must alternate$"):
        render("{{ raise_exception('roles must alternate') }}", MESSAGES)


def test_the_date_is_there() -> None:
    assert len(render("{{ strftime_now('%Y-%m-%d') }}", [])) == 10


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update(role='x') }}",
        "{{ raise_exception.__globals__.os }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
        "{{ self.__init__.__globals__ }}",
        "{{ 'a' * 10**9 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ '%0999999999d' % 1 }}",
        "{{ '{:>999999999}'.format(1) }}",
        "{{ 'a'.center(999999999) }}",
        "{{ 'a' | center(999999999) }}",
        "{{ messages | tojson(indent=999999999) }}",
        "{{ [1] | map('center', 9) | list }}",
        "{% for i in range(999999999) %}{% endfor %}",
        "{% include 'secrets' %}",
        "{% for",
        "{{ ''.encode().zfill(3000000000) | length }}",
        "{{ 'a'.encode().center(5000000000) }}",
        "{{ [1] | batch(999999999, 'x') | list }}",
        "{% break %}",
        "{% for i in '12' %}" * 25 + "{% endfor %}" * 25,
        "{{ messages[0].content.nothing.more }}",
        "{{ 1 / 0 }}",
    ],
)
def test_what_reaches_out_or_grows_ends_in_our_error(template: str) -> None:
    with pytest.raises(ChatTemplateError):
        render(template, [dict(m) for m in MESSAGES])


@pytest.mark.parametrize(
    "step",
    [
        "{% set ns.x = ns.x + ns.x %}",
        "{% set ns.x = ns.x ~ ns.x %}",
        "{% set ns.x = [ns.x, ns.x] | join %}",
        "{% set ns.x = ns.x.replace('a', ns.x) %}",
        "{% set ns.x = ns.x | replace('a', ns.x) %}",
        "{% set ns.x = ns.x.join([ns.x, ns.x, ns.x]) %}",
        "{% set ns.x = ns.x.translate({97: ns.x}) %}",
    ],
)
def test_a_text_that_grows_is_stopped_before_it_fills_the_memory(step: str) -> None:
    template = "{% set ns = namespace(x='a' ~ 'a') %}{% for i in range(60) %}" + step
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ChatTemplateError):
        render(template + "{% endfor %}", [])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # KiB


def test_an_endless_template_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "MAX_SECONDS", 0.05)
    loop = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    with pytest.raises(ChatTemplateError, match=r"takes longer than 0\.05 s"):
        render(loop, [])


def test_a_template_that_writes_too_much_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "MAX_OUTPUT_CHARS", 100)
    with pytest.raises(ChatTemplateError, match="more than 100 characters"):
        render("{% for i in range(99) %}{{ 'abc' }}{% endfor %}", [])


def test_a_template_over_the_limit_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "MAX_TEMPLATE_CHARS", 10)
    with pytest.raises(ChatTemplateError, match="11 characters; accepted: up to 10"):
        render("x" * 11, [])


@pytest.mark.parametrize("value", [None, {"other": "x"}])
def test_without_a_template_the_error_says_what_to_give(value: Any, tiny_bert: Any) -> None:
    from dataclasses import replace

    from model_base import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    tokenizer.settings = replace(tokenizer.settings, chat_template=value)
    with pytest.raises(ChatTemplateError, match="give chat_template"):
        tokenizer.apply_chat_template(MESSAGES)
