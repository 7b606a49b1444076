# ruff: noqa: E501 - rows of tables
"""Whatever a model writes and however it arrives: no exception, and the same answer."""

import logging
import random
import time

import pytest

from mistralrs_mlx.text.parsers.atem import ATEM
from mistralrs_mlx.text.parsers.harmony import HARMONY
from mistralrs_mlx.text.parsers.reasoning import THINK, ReasoningFormat
from tests.text.parsers.fuzzing import TOOLS, Case, answer, cases, pieces

SHORT = 40  # characters
# (what comes first, what is repeated for ever, how the model reasons)
ENDLESS: list[tuple[str, str, ReasoningFormat | None]] = [
    ("", "<", None), ("", "<tool_call>", None), ('<tool_call>"', "</tool_call>", None), ("", "{", None),
    ('{"', "a", None), ('{"a":"', "\\", None), ('{"name":"f","arguments":{"a":', "[", None), ("[", " ", None),
    ("", " ", THINK), ("<think></think>", " ", THINK), ("", "<think></think>", THINK), ("```", "`", None),
    ("", "[TOOL_CALLS]f{}", None), ("<function=f>", "<parameter=a>", None), ("", "<function=", None),
    ("<tool_call><function=f>", "<parameter=a></tool_call>", None), ("<|tool_call_start|>[f(", "a=[", None),
    ('<tool_call>{"name":"f","arguments":{"a":"', '</tool_call>"', None), ("", "<|channel|>", HARMONY),
    ("<|tool_call>call:f{", 'a:"b,', None), ("<|tool_call_start|>[f(", 'a="\\', None),
    ("<|channel|>commentary to=functions.f", "<|message|>{", HARMONY), ("<|python_tag|>", "{};", None),
    (" to=f<|message|><atem:function_calls>", '<atem:invoke name="f">', ATEM),
]  # fmt: skip


def check(seed: int, count: int, *, fine: int, exhaustive: int) -> None:
    """Cut all answers at random, some into single characters, some once at every place.

    Short ones are always cut into characters, of the others one in `fine`.
    """
    rng = random.Random(seed)
    for number, case in enumerate(cases(seed, count)):
        text = case.text
        cuts = [pieces(text, rng)]
        if len(text) <= SHORT or number % fine == 0:
            cuts.append(list(text))
        if number % exhaustive == 0:
            cuts += [[text[:place], text[place:]] for place in range(1, len(text))]
        whole = answer(case, [text])
        for parts in cuts:
            assert answer(case, parts) == whole, (case, parts)


@pytest.fixture(autouse=True)
def _few_words(caplog: pytest.LogCaptureFixture) -> None:
    """Keep thousands of warnings about unknown tools from being recorded."""
    caplog.set_level(logging.ERROR, "mistralrs_mlx.text.parsers")


def test_how_100_000_answers_are_cut_does_not_matter() -> None:
    check(seed=1, count=100_000, fine=20, exhaustive=500)


@pytest.mark.slow
def test_no_cut_of_any_answer_matters() -> None:
    check(seed=2, count=20_000, fine=1, exhaustive=5)


def test_the_fuzzed_answers_are_worth_it() -> None:
    """They hold calls, text and reasoning, alone and together."""
    kinds = set()
    for case in cases(3, 1000):
        read = answer(case, [case.text])
        kinds.add((bool(read.content.strip()), bool(read.reasoning), bool(read.calls)))
    assert len(kinds) == 8


@pytest.mark.parametrize(("first", "unit", "reasoning"), ENDLESS)
@pytest.mark.parametrize("size", [0, 40])
def test_time_grows_with_the_text_alone(
    first: str, unit: str, reasoning: ReasoningFormat | None, size: int
) -> None:
    small, large = (seconds(first + unit * n, reasoning, size) for n in (500, 8_000))
    assert large < 100 * small + 0.05  # the square would be 256 times as much


def seconds(text: str, reasoning: ReasoningFormat | None, size: int) -> float:
    """Of this thread, to take an answer apart in pieces of a size, or whole."""
    case = Case(text=text, reasoning=reasoning, prompt="", tools=TOOLS)
    step = size or len(text)
    parts = [text[start : start + step] for start in range(0, len(text), step)]
    begin = time.thread_time()
    answer(case, parts)
    return time.thread_time() - begin
