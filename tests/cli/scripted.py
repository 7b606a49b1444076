"""A runner that says what a test told it to say."""

from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any

__all__ = ["ScriptedRunner", "words"]


def words(text: str, *, usage: Any = "Usage { }", interrupt: bool = False) -> Iterator[Any]:
    """The chunks of an answer, word by word; usage comes with the last, or Ctrl-C in its place."""
    for word in text.split(" "):
        yield chunk(content=word + " ")
    if interrupt:
        raise KeyboardInterrupt
    yield chunk(content="", usage=usage)


def chunk(
    *,
    content: str | None,
    reasoning: str | None = None,
    usage: Any = None,
    finish_reason: str | None = None,
) -> Any:
    delta = SimpleNamespace(content=content, reasoning_content=reasoning)
    choice = SimpleNamespace(delta=delta, finish_reason=finish_reason)
    return SimpleNamespace(choices=[choice], usage=usage)


class ScriptedRunner:
    """Takes the place of `Runner`: keeps how it was made and asked, and answers from `script`."""

    def __init__(self, script: Iterable[Any] = ()) -> None:
        self.script = list(script)
        self.made: dict[str, Any] = {}
        self.asked: list[Any] = []

    def __call__(self, **arguments: Any) -> "ScriptedRunner":
        self.made = arguments
        return self

    def send_chat_completion_request(self, request: Any) -> Iterator[Any]:
        self.asked.append(request)
        answer = self.script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Iterator) else words(answer)
