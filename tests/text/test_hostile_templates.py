"""Templates whose author means harm: none takes the memory or the time of the machine."""

import tracemalloc
from contextlib import suppress
from itertools import pairwise

import pytest

from mistralrs_mlx.errors import TemplateError
from mistralrs_mlx.text import spending
from mistralrs_mlx.text.template import ChatTemplate
from mistralrs_mlx.text.template_source import TemplateSource

GROWING = (
    "{% set ns = namespace(x=START) %}{% for i in range(99) %}{% set ns.x = MORE %}{% endfor %}"
)


def render(text: str) -> str:
    source = TemplateSource(origin="tiny", templates={"default": text})
    return ChatTemplate(source, {}).render([{"role": "user", "content": "hello"}])


def growing(start: str, more: str) -> str:
    return GROWING.replace("START", start).replace("MORE", more) + "{{ ns.x | length }}"


@pytest.mark.parametrize(
    "text",
    [
        *("{{ 'x'.ljust(10**10) }}", "{{ 'x' | center(10**10) }}", "{{ 'x'.zfill(10**10) }}"),
        *("{{ '%10000000000d' % 1 }}", "{{ '%10000000000d' | format(1) }}", "{{ '%*d' % (9, 1) }}"),
        *("{{ '{:10000000000}'.format(1) }}", "{{ '{:{}}'.format(1, 10**10) }}"),
        "{{ ('%(a)s' * 100000) % {'a': 'x' * 100000} }}",
        *("{{ ('x' * 1000000) | replace('x', 'x' * 1000000) }}", "{{ 'x'.translate({120: 'y'}) }}"),
        *("{{ ('x' * 1000000).replace('x', 'x' * 1000000) }}", "{{ (1).to_bytes(10**10) }}"),
        *("{{ range(99999) | join('x' * 1000000) }}", "{{ ('x' * 1000000).join(range(99999)) }}"),
        *("{{ ('\\n' * 1000000) | indent(999) }}", "{{ range(9) | slice(10**10) | list }}"),
        *("{{ ((((10**64)**64)**64)**64)**64 }}", "{{ lipsum(n=100000) }}"),
        "{{ ([[1] * 100] * 100000) | sum(start=[]) }}",
        "{% for i in range(90000) %}{{ 'x' * 1000000 }}{% endfor %}",
        "{% macro m() %}{% for i in range(90000) %}{{ 'x' * 1000000 }}{% endfor %}{% endmacro %}"
        "{{ m() | length }}",
        "{% set x %}{% for i in range(90000) %}{{ 'x' * 1000000 }}{% endfor %}{% endset %}",
        *(growing("'xx'", "ns.x ~ ns.x"), growing("'xx'", "ns.x + ns.x")),
        *(growing("[1, 2]", "ns.x + ns.x"), growing("[1]", "[ns.x, ns.x]")),
        *(growing("10**64", "ns.x * ns.x"), growing("(1,)", "(ns.x, ns.x)")),
        *(growing("{}", "{'a': ns.x, 'b': ns.x}"), growing("{}", "dict(a=ns.x, b=ns.x)")),
        growing("[1]", "[ns.x] * 99"),
    ],
)
def test_no_template_makes_what_would_fill_the_memory(text: str) -> None:
    with pytest.raises(TemplateError) as refused:
        render(text)
    assert not isinstance(refused.value.__cause__, MemoryError)


def test_what_blocks_gather_is_bounded() -> None:
    text = "{% set x %}{% for i in range(9000) %}{{ 'x' * 1000000 }}{% endfor %}{% endset %}"
    tracemalloc.start()
    try:
        with pytest.raises(TemplateError):
            render(text)
        assert tracemalloc.get_traced_memory()[1] < 500 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "text",
    [
        "{% include '/etc/passwd' %}",
        "{% extends 'x' %}",
        "{% from 'x' import y %}",
        "{{ self.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ ('' | attr('__class__')).__mro__ }}",
        "{{ '{0.__class__.__mro__}'.format('') }}",
        "{{ raise_exception.__globals__.os }}",
        "{{ messages.append(1) }}",
    ],
)
def test_no_template_reaches_a_file_or_python(text: str) -> None:
    with suppress(TemplateError):
        assert render(text) == ""


def test_names_that_hold_names_are_not_written_without_end() -> None:
    names = [f"n{i}" for i in range(60)]
    made = "".join(f"{{% set {name} = namespace() %}}" for name in names)
    held = "".join(
        f"{{% set {one}.a = {two} %}}{{% set {one}.b = {two} %}}" for one, two in pairwise(names)
    )
    assert render(made + held + "{{ n0 }}") == "<Namespace>"


@pytest.mark.parametrize("name", ["_tick", "tick", "environment", "context", "concat"])
def test_no_template_renames_what_counts_its_steps(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(spending, "MOST_STEPS", 1000)
    with pytest.raises(TemplateError, match="no end after 1,000"):
        render(f"{{% set {name} = namespace %}}{{% for i in range(2000) %}}{{% endfor %}}")


def test_a_template_has_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spending, "MOST_SECONDS", 0.0)
    with pytest.raises(TemplateError, match="no end within 0 s"):
        render("{% for message in messages %}{% endfor %}")


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("{{ 'a' ~ 1 ~ none ~ nothing }}", "a1None"),
        ("{{ messages | join(', ', attribute='role') }}{{ ['b', 'c'] | join }}", "userbc"),
        ("{{ ', '.join(messages | map(attribute='role')) }}", "user"),
        ("{{ '%s-%05.1f' | format('a', 2) }}{{ '%(a)d%%' % {'a': 7} }}", "a-002.07%"),
        ("{{ '{{{:>3}}} {a}'.format('x', a=20260101) }}", "{  x} 20260101"),
        ("{{ 'In 20260101: {}'.format('x') }}", "In 20260101: x"),
        ("{{ 'a\nb' | indent(2) }}{{ 'x' | center(3) }}{{ 'x'.ljust(3) }}|", "a\n  b x x  |"),
        (
            "{{ [1, 2.5] | sum }}{{ 2 ** 8 }}{{ 'ab' * 2 }}{{ messages[:1] | length }}",
            "3.5256abab1",
        ),
        ("{% set x = [(1, 'a')] %}{% for n, t in x %}{{ n }}{{ t }}{% endfor %}", "1a"),
        ("{{ dict(context=1, function=2) }}", "{'context': 1, 'function': 2}"),
    ],
)
def test_what_chats_need_of_jinja_works_as_ever(text: str, prompt: str) -> None:
    assert render(text) == prompt


def test_a_long_conversation_may_be_gathered_piece_by_piece() -> None:
    source = TemplateSource(
        origin="tiny",
        templates={
            "default": "{% set ns = namespace(text='', said=[]) %}{% for m in messages %}"
            "{% set ns.text = ns.text + m.content %}{% set ns.said = ns.said + [m] %}"
            "{% endfor %}{{ ns.text }}{{ ns.said | length }}"
        },
    )
    talk = [{"role": "user", "content": "x" * 1000}] * 1000
    assert len(ChatTemplate(source, {}).render(talk)) == 1_000_004
