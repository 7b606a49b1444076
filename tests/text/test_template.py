"""Chat templates see what Hugging Face shows them, are confined, and fail with a reason."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from mistralrs_mlx.errors import TemplateError
from mistralrs_mlx.text import spending
from mistralrs_mlx.text.messages import conversation
from mistralrs_mlx.text.template import ChatTemplate
from mistralrs_mlx.text.template_source import TemplateSource

HELLO = [{"role": "user", "content": "hello"}]
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


def template(text: str, **named: str) -> ChatTemplate:
    source = TemplateSource(origin="tiny", templates={"default": text, **named})
    noon = datetime(2026, 11, 22, 12, tzinfo=UTC)
    return ChatTemplate(source, TOKENS, now=lambda: noon)


def tool(**parameters: object) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "parameters": parameters}}


def render(text: str, messages: list[dict[str, Any]] = HELLO, **options: Any) -> str:
    return template(text).render(messages, **options)


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        (
            "{{ bos_token }}{{ messages[0]['content'] }}{{ eos_token }}{{ unk_token }}",
            "<s>hello</s>",
        ),
        ("{{ add_generation_prompt }}", "True"),
        ("{{ date_string }}", "22, November, 2026"),
        ("{{ strftime_now('%d %b %Y') }}", "22 Nov 2026"),
        (
            "{{ tools is none }} {{ xml_tools is defined }}{{ builtin_tools is defined }}",
            "True FalseFalse",
        ),
        ("{{ reasoning_effort is defined }}{{ reasoning_strength is defined }}", "FalseFalse"),
        ("{{ nothing }}|{{ messages[0].nothing }}", "|"),
    ],
)
def test_templates_see_their_variables(text: str, prompt: str) -> None:
    assert render(text) == prompt


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("  {% if true %}\n  a\n  {% endif %}\n b", "  a\n b"),
        ("{% for c in 'abc' %}{% if c == 'b' %}{% continue %}{% endif %}{{ c }}{% endfor %}", "ac"),
        ("{% for c in 'abc' %}{% if c == 'b' %}{% break %}{% endif %}{{ c }}{% endfor %}", "a"),
        (
            "{% set s = namespace(n=0) %}{% for c in 'ab' %}{% set s.n = s.n + 1 %}{% endfor %}"
            "{{ s.n }}",
            "2",
        ),
        ("{% for m in messages[::-1] %}{{ m.content.strip().split('l')[-1] }}{% endfor %}", "o"),
        ("{% macro f(x, y='!') %}{{ x + y }}{% endmacro %}{{ f('a') }}{{ f('b', y='?') }}", "a!b?"),
        ("{{ 'x' is string and {} is mapping and [] is iterable }}{{ x is defined }}", "TrueFalse"),
        ("{% for k, v in {'b': 1, 'a': 2}.items() %}{{ k }}{{ v }}{% endfor %}", "b1a2"),
        ("{% for k, v in {'b': 1}|items %}{{ k }}{{ v }}{% endfor %}", "b1"),
        (
            "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') "
            "| list }}",
            "['hello']",
        ),
        ("{% generation %}{{ 'a' }}\n{%- endgeneration %}", "a"),
        ("{% set x %}a{% endset %}{{ x }}", "a"),
        ("{{ range(3, -1, -1) | list }}", "[3, 2, 1, 0]"),
        (
            "{% for m in messages %}{{ loop.last }}{{ loop.previtem is defined }}{% endfor %}",
            "TrueFalse",
        ),
        ("{{ 'abc'.startswith(('a', 'x')) }}{{ 'a' ~ 1 }}{{ 'a-b'.replace('-', '') }}", "Truea1ab"),
    ],
)
def test_templates_have_the_jinja_of_hugging_face(text: str, prompt: str) -> None:
    assert render(text) == prompt


@pytest.mark.parametrize(
    ("call", "json"),
    [
        ("tojson", '{"b": "<é> & \'", "a": [1, 2.5, null, true]}'),
        ("tojson(indent=1)", '{\n "b": "<é> & \'",\n "a": [\n  1,\n  2.5,\n  null,\n  true\n ]\n}'),
        ("tojson(separators=(',', ':'))", '{"b":"<é> & \'","a":[1,2.5,null,true]}'),
        ("tojson(ensure_ascii=True)", '{"b": "<\\u00e9> & \'", "a": [1, 2.5, null, true]}'),
        ("tojson(sort_keys=True)", '{"a": [1, 2.5, null, true], "b": "<é> & \'"}'),
    ],
)
def test_json_keeps_order_and_escapes_nothing_for_html(call: str, json: str) -> None:
    message = {"role": "user", "content": "x", "data": {"b": "<é> & '", "a": [1, 2.5, None, True]}}
    assert render(f"{{{{ messages[0].data | {call} }}}}", [message]) == json


@pytest.mark.parametrize(
    ("enable", "effort", "seen"),
    [
        (None, None, "True||"),
        (False, None, "False||"),
        (None, "off", "False|off|off"),
        (None, "high", "True|high|high"),
    ],
)
def test_thinking_is_on_unless_switched_off(
    enable: bool | None, effort: str | None, seen: str
) -> None:
    text = "{{ enable_thinking }}|{{ reasoning_effort }}|{{ reasoning_strength }}"
    assert render(text, enable_thinking=enable, reasoning_effort=effort) == seen


def test_tools_come_under_three_names_and_in_mistral_rs_order() -> None:
    made = tool(zeta=1, additionalProperties=False, alpha=2, required=[], type="object")
    browser = {"type": "function", "function": {"name": "browser"}}
    text = "{{ tools[0].function.parameters | list }}{{ xml_tools == tools }}{{ builtin_tools }}"
    prompt = render(text, tools=[made, browser])
    assert prompt == "['type', 'required', 'additionalProperties', 'alpha', 'zeta']True['browser']"


def test_tools_choose_the_template_for_them() -> None:
    made = template("plain", tool_use="tools: {{ tools | length }}")
    assert made.render(HELLO) == "plain"
    assert made.render(HELLO, tools=[tool()]) == "tools: 1"


def test_tools_need_a_template_for_them_if_there_is_a_choice() -> None:
    with pytest.raises(
        TemplateError, match="named default, rag; this request needs one named tool"
    ):
        template("plain", rag="rag").render(HELLO, tools=[tool()])
    assert render("plain", tools=[tool()]) == "plain"


def test_an_only_template_serves_all_requests() -> None:
    source = TemplateSource(origin="x", templates={"tool_use": "{{ tools | length if tools }}"})
    made = ChatTemplate(source, TOKENS)
    assert (made.render(HELLO), made.render(HELLO, tools=[tool()])) == ("", "1")


def test_templates_that_read_only_parts_are_given_parts() -> None:
    text = "{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}"
    assert render(text) == "hello"
    assert render("{{ messages[0].content is string }}") == "True"


def test_arguments_of_calls_suit_templates_of_both_kinds() -> None:
    function = {"name": "f", "arguments": '{"a": 1}'}
    messages = conversation(
        [{"role": "assistant", "tool_calls": [{"function": function}]}]
    ).messages
    path = "messages[0].tool_calls[0].function.arguments"
    text = f"{{{{ '<' + {path} + '>' }}}} {{{{ {path} | tojson }}}} {{{{ {path}.items() | list }}}}"
    assert render(text, list(messages)) == """<{"a": 1}> {"a": 1} [('a', 1)]"""


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("{{ 'none' if messages[0].content is none else 'x' + messages[0].content }}", "none"),
        ("{{ 'x' + messages[0].content }}", "x"),
        ("{{ 'missing' if messages[0].content is not defined }}", "missing"),
    ],
)
def test_a_message_that_only_calls_tools_suits_every_template(text: str, prompt: str) -> None:
    call = {"function": {"name": "f", "arguments": "{}"}}
    messages = conversation([{"role": "assistant", "tool_calls": [call]}]).messages
    assert render(text, list(messages)) == prompt


def test_templates_may_join_lists_to_the_messages() -> None:
    text = "{{ ([{'content': 'first'}] + messages) | map(attribute='content') | join(',') }}"
    assert template(text).render(conversation("hello").messages) == "first,hello"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{{ raise_exception('no system role') }}", "refused these messages: no system role"),
        ("\n\n{{ missing.attribute }}", "uses what is undefined in line 3: 'missing' is undefined"),
        ("a\n{{ 'x' + none }}", "failed in line 2: can only concatenate str"),
        ("{{ missing | tojson }}", "failed in line 1: Object of type Undefined is not JSON"),
        ("{{ ''.__class__.__mro__ }}", "attribute '__class__' of 'str' object is unsafe"),
        ("{{ messages.append(1) }}", "failed in line 1"),
        ("{{ 1 // 0 }}", "failed"),
        ("{{ {} | tojson(indent=300) }}", "at most 256"),
    ],
)
def test_a_failing_template_says_what_and_where(text: str, problem: str) -> None:
    with pytest.raises(TemplateError, match=re.escape(problem)):
        render(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
            "no end after 10,000",
        ),
        (
            "{% macro f(n) %}{{ f(n - 1) if n }}{{ f(n - 1) if n }}{% endmacro %}{{ f(90) }}",
            "no end",
        ),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "recursion"),
        ("{% for a in range(10 ** 9) %}{% endfor %}", "Range too big"),
        ("{{ 'a' * 1000000000 }}", "more than a million"),
        ("{{ [1] * 1000000000 }}", "more than a million"),
        ("{{ 9 ** 999999999 }}", "to the power"),
    ],
)
def test_a_template_cannot_work_without_end(
    monkeypatch: pytest.MonkeyPatch, text: str, problem: str
) -> None:
    monkeypatch.setattr(spending, "MOST_STEPS", 10_000)
    with pytest.raises(TemplateError, match=problem):
        render("{% if messages[0].content == 'hello' %}" + text + "{% endif %}")


def test_a_syntax_error_is_found_at_once_with_its_line() -> None:
    with pytest.raises(TemplateError, match="template of tiny has an error in line 2: "):
        template("a\n{% if %}")


def test_the_text_of_all_templates_can_be_searched() -> None:
    assert "<think>" in template("a", tool_use="<think>").text


def test_tokens_of_a_template_file_go_first() -> None:
    source = TemplateSource(
        origin="x", templates={"default": "{{ bos_token }}{{ eos_token }}"},
        special_tokens={"eos_token": "<end>"},
    )  # fmt: skip
    assert ChatTemplate(source, TOKENS).render(HELLO) == "<s><end>"
