"""One answer, printed as it comes."""

import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import cast

from mistralrs_mlx import (
    ChatCompletionChunkResponse,
    ChatCompletionRequest,
    Delta,
    Runner,
    Usage,
)

from .terminal import shown

__all__ = ["Answer", "Sampling", "show"]

Chunks = Iterable[ChatCompletionChunkResponse]
DIM, PLAIN = "\x1b[2m", "\x1b[0m"


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """What a request may ask of the sampler; None leaves it to the model."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_tokens: int | None = None
    enable_thinking: bool | None = None
    reasoning_effort: str | None = None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was said, and what it took; interrupted means that Ctrl-C ended it."""

    text: str
    usage: Usage | None
    interrupted: bool


def show(runner: Runner, messages: list[dict[str, str]], sampling: Sampling) -> Answer:
    """Ask, print the answer while it is made, and return it. Ctrl-C ends the answer only."""
    given = {name: value for name, value in asdict(sampling).items() if value is not None}
    request = ChatCompletionRequest(model="default", messages=messages, stream=True, **given)
    text: list[str] = []
    usage, ending, interrupted = None, None, False
    try:
        for chunk in cast(Chunks, runner.send_chat_completion_request(request)):
            usage = chunk.usage or usage
            ending = chunk.choices[0].finish_reason
            text.append(_print(chunk.choices[0].delta))
    except KeyboardInterrupt:  # leaving the loop drops the iterator, and with it the sequence
        interrupted = True
    print(flush=True)
    if ending == "length":
        print("(cut off: --max-tokens or the model's context is used up)", file=sys.stderr)
    return Answer(text="".join(text), usage=usage, interrupted=interrupted)


def _print(delta: Delta) -> str:
    """Print what is new, and return what belongs to the answer.

    Thoughts are dimmed on a terminal; elsewhere they go to stderr, as a file should get the answer.
    """
    thought, content = delta.reasoning_content or "", delta.content or ""
    if thought and sys.stdout.isatty():
        print(f"{DIM}{shown(thought, sys.stdout)}{PLAIN}", end="", flush=True)
    elif thought:
        print(shown(thought, sys.stderr), end="", flush=True, file=sys.stderr)
    print(shown(content, sys.stdout), end="", flush=True)
    return content
