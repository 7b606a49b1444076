"""What a notebook shows of answers and models, as HTML.

All that a model has written is escaped: it cannot run anything in the reader's page, and shows as
it is.
"""

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .agents import AgenticToolCallRecord
    from .details import ModelDetails
    from .responses import ChatCompletionResponse, Choice, CompletionResponse, Usage

__all__ = ["answer_html", "completion_html", "models_html", "models_text", "usage_html"]

TEXT = "white-space:pre-wrap;max-width:60em;margin:0.3em 0"
ASIDE = "opacity:0.65"
ENDINGS = {"length": "cut off by max_tokens", "canceled": "canceled"}  # that one should be told of


def answer_html(answer: "ChatCompletionResponse") -> str:
    """The thoughts folded, the text, the calls of tools, and in one line what it took."""
    parts = [_run(each) for each in answer.agentic_tool_calls or []]
    for choice in answer.choices:
        parts += _numbered(choice.index, len(answer.choices))
        parts += _choice(choice)
    endings = [choice.finish_reason for choice in answer.choices]
    return "".join([*parts, _footer(answer.usage, endings)])


def completion_html(answer: "CompletionResponse") -> str:
    """The text of every choice, and in one line what it took."""
    parts: list[str] = []
    for choice in answer.choices:
        parts += _numbered(choice.index, len(answer.choices))
        parts.append(_text(choice.text))
    endings = [choice.finish_reason for choice in answer.choices]
    return "".join([*parts, _footer(answer.usage, endings)])


def models_text(models: "Sequence[ModelDetails]") -> str:
    """Id, status and size of every model, on one line."""
    return ", ".join(f"{each.model_id!r}: {each.status}, {_size(each)}" for each in models)


def models_html(models: "Sequence[ModelDetails]") -> str:
    """Id, status, size and kind of every model."""
    return _table(
        ["model", "status", "in memory", "architecture", "quantization"],
        [
            [each.model_id, each.status, _size(each), each.architecture, each.quantization]
            for each in models
        ],
    )


def usage_html(usage: "Usage") -> str:
    """Tokens, seconds and speed of the prompt and of the answer."""
    cached = usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else 0
    known = f" ({cached} known before)" if cached else ""
    prompt = (usage.total_prompt_time_sec, usage.avg_prompt_tok_per_sec)
    answer = (usage.total_completion_time_sec, usage.avg_compl_tok_per_sec)
    return _table(
        ["", "tokens", "seconds", "tokens/s"],
        [
            ["prompt", f"{usage.prompt_tokens}{known}", *(f"{each:.2f}" for each in prompt)],
            ["answer", f"{usage.completion_tokens}", *(f"{each:.2f}" for each in answer)],
        ],
    )


def _size(model: "ModelDetails") -> str:
    held = model.weights_bytes + model.caches_bytes + model.kept_bytes
    return f"{held / 1e9:.2f} GB" if held >= 1e9 else f"{held / 1e6:.1f} MB"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of texts."""
    lines = [f"<tr>{_cells('th', head)}</tr>", *(f"<tr>{_cells('td', row)}</tr>" for row in rows)]
    return f"<table>{''.join(lines)}</table>"


def _cells(tag: str, texts: Sequence[str]) -> str:
    return "".join(f"<{tag}>{escape(each)}</{tag}>" for each in texts)


def _choice(choice: "Choice") -> Iterator[str]:
    message = choice.message
    if message.reasoning_content:
        thoughts = _text(message.reasoning_content)
        yield f'<details style="{ASIDE}"><summary>Thinking</summary>{thoughts}</details>'
    if message.content:
        yield _text(message.content)
    for call in message.tool_calls or []:
        yield _code(f"{call.function.name}({call.function.arguments})")


def _run(call: "AgenticToolCallRecord") -> str:
    said = _code(f"{call.name}({call.arguments})")
    return (
        f'<details style="{ASIDE}"><summary>{said}</summary>{_text(call.result_content)}</details>'
    )


def _numbered(index: int, choices: int) -> list[str]:
    return [f"<b>{index + 1}.</b>"] if choices > 1 else []


def _text(text: str) -> str:
    return f'<div style="{TEXT}">{escape(text)}</div>'


def _code(text: str) -> str:
    return f'<code style="white-space:pre-wrap">{escape(text)}</code> '


def _footer(usage: "Usage", endings: Sequence[str]) -> str:
    said = [
        f"{usage.prompt_tokens} + {usage.completion_tokens} tokens",
        f"{usage.total_time_sec:.2f} s",
        f"{usage.avg_compl_tok_per_sec:.1f} tokens/s",
        *(ENDINGS[each] for each in dict.fromkeys(endings) if each in ENDINGS),
    ]
    return f'<small style="{ASIDE}">{escape(" · ".join(said))}</small>'
