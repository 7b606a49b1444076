"""A response as it grows, and the events that tell of it, in OpenAI's order."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal

from msgspec.structs import replace

from mistralrs_mlx import ChatCompletionChunkResponse, ChunkChoice, ToolCallResponse, Usage
from mistralrs_mlx.server.answers import Token, logprob_of
from mistralrs_mlx.server.failure import Failure

from .answers import Answer, Incomplete, ResponseError, Tokens
from .items import (
    FunctionCall,
    Item,
    MessageItem,
    OutputText,
    Reasoning,
    ReasoningText,
    Status,
    item_id,
)

__all__ = ["Draft", "Event"]

Event = dict[str, Any]
Kind = Literal["output_text", "reasoning_text"]


@dataclass
class _Growing:
    """The item that is being said: words for the reader, or thoughts."""

    kind: Kind
    index: int
    id: str
    pieces: list[str] = field(default_factory=list)
    tokens: list[Token] = field(default_factory=list)

    @property
    def part(self) -> OutputText | ReasoningText:
        text = "".join(self.pieces)
        if self.kind == "reasoning_text":
            return ReasoningText(text=text)
        return OutputText(text=text, annotations=[], logprobs=list(self.tokens))

    def item(self, status: Status) -> Item:
        """The item as it is by now; it has its part from the first piece on."""
        part = self.part if self.pieces else None
        if self.kind == "reasoning_text":
            thoughts = [part] if isinstance(part, ReasoningText) else []
            return Reasoning(id=self.id, summary=[], content=thoughts, status=status)
        words = [part] if isinstance(part, OutputText) else []
        return MessageItem(id=self.id, role="assistant", content=[*words], status=status)

    def place(self) -> Event:
        """Where in the response its part is."""
        return {"item_id": self.id, "output_index": self.index, "content_index": 0}


class Draft:
    """A response from its begin to its end. Whatever is told of it carries the next number."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._items: list[Item] = []
        self._open: _Growing | None = None
        self._numbers = count()
        self._waiting: list[Token] = []  # whose text has not come yet
        self._finish: str | None = None
        self.thoughts: list[str] = []
        self.usage: Usage | None = None

    @property
    def answer(self) -> Answer:
        """The response as it is by now."""
        growing = [] if self._open is None else [self._open.item("in_progress")]
        return replace(self._answer, output=[*self._items, *growing])

    @property
    def ended(self) -> bool:
        """Whether it has its last status."""
        return self._answer.status not in ("queued", "in_progress")

    def begin(self) -> Iterator[Event]:
        """It is made, and being worked on."""
        self._answer = replace(self._answer, status="in_progress")
        yield self._event("created", response=self.answer)
        yield self._event("in_progress", response=self.answer)

    def add(self, chunk: ChatCompletionChunkResponse) -> Iterator[Event]:
        """What a chunk says."""
        (choice,) = chunk.choices
        self.usage = chunk.usage or self.usage
        if choice.delta.reasoning_content:
            self._waiting.clear()
            self.thoughts.append(choice.delta.reasoning_content)
            yield from self._grow("reasoning_text", choice.delta.reasoning_content)
        if choice.logprobs is not None and not choice.delta.reasoning_content:
            self._waiting.append(logprob_of(choice.logprobs))
        if choice.delta.content:
            yield from self._grow("output_text", choice.delta.content)
        if choice.finish_reason is not None:
            yield from self._finished(choice)

    def end(self, tokens: Tokens | None) -> Iterator[Event]:
        """It has ended; why, the last chunk has said."""
        if self._finish is None or self._finish == "canceled":
            yield self.fail(Failure(500, "the answer was canceled: its model was taken away"))
            return
        if not self._items:
            yield from self._opened("output_text")
            yield from self._closed("completed")
        cut = self._finish == "length"
        self._answer = replace(
            self._answer,
            status="incomplete" if cut else "completed",
            completed_at=None if cut else int(time.time()),
            incomplete_details=Incomplete(reason="max_output_tokens") if cut else None,
            usage=tokens,
        )
        yield self._event(self._answer.status, response=self.answer)

    def fail(self, failure: Failure) -> Event:
        """It has ended with an error."""
        code = "server_error" if failure.status >= 500 else "invalid_prompt"
        error = ResponseError(code=code, message=failure.message)
        self._break_off("failed", error)
        return self._event("failed", response=self.answer)

    def cancel(self) -> None:
        """Nobody wants it any more."""
        self._break_off("cancelled")

    def _break_off(
        self, status: Literal["failed", "cancelled"], error: ResponseError | None = None
    ) -> None:
        if self._open is not None:
            self._items.append(self._open.item("incomplete"))
            self._open = None
        self._answer = replace(self._answer, status=status, error=error)

    def _event(self, kind: str, **more: Any) -> Event:
        return {"type": f"response.{kind}", "sequence_number": next(self._numbers), **more}

    def _grow(self, kind: Kind, text: str) -> Iterator[Event]:
        if self._open is None or self._open.kind != kind:
            yield from self._closed("completed")
            yield from self._opened(kind)
            self._drop_marks(text)
        assert self._open is not None
        self._open.pieces.append(text)
        more: Event = {"delta": text}
        if kind == "output_text":
            self._open.tokens += self._waiting
            more["logprobs"], self._waiting = self._waiting, []
        yield self._event(f"{kind}.delta", **self._open.place(), **more)

    def _drop_marks(self, text: str) -> None:
        """Forget waiting tokens that came before this text: marks of the end of thoughts."""
        length, missing = len(text.encode()), 0
        while missing < len(self._waiting) and length > 0:
            missing += 1
            length -= len(self._waiting[-missing].bytes or ())
        self._waiting = self._waiting[len(self._waiting) - missing :]

    def _opened(self, kind: Kind) -> Iterator[Event]:
        id = item_id("rs" if kind == "reasoning_text" else "msg")
        self._open = growing = _Growing(kind=kind, index=len(self._items), id=id)
        item = growing.item("in_progress")
        yield self._event("output_item.added", output_index=growing.index, item=item)
        yield self._event("content_part.added", **growing.place(), part=growing.part)

    def _closed(self, status: Status) -> Iterator[Event]:
        if (growing := self._open) is None:
            return
        place, part = growing.place(), growing.part
        if not growing.pieces:
            growing.pieces.append("")
        done: Event = {"text": part.text}
        if isinstance(part, OutputText):
            done["logprobs"] = part.logprobs
        yield self._event(f"{growing.kind}.done", **place, **done)
        yield self._event("content_part.done", **place, part=part)
        yield from self._done(growing.index, growing.item(status))

    def _done(self, index: int, item: Item) -> Iterator[Event]:
        self._items.append(item)
        self._open = None
        yield self._event("output_item.done", output_index=index, item=item)

    def _finished(self, choice: ChunkChoice) -> Iterator[Event]:
        """Close what is open. Calls are known only when all has been said."""
        self._finish = choice.finish_reason
        yield from self._closed("incomplete" if self._finish == "length" else "completed")
        for call in choice.delta.tool_calls or []:
            yield from self._called(call)

    def _called(self, call: ToolCallResponse) -> Iterator[Event]:
        id, index = item_id("fc"), len(self._items)
        function = call.function
        item = FunctionCall(
            id=id, call_id=call.id, name=function.name, arguments="", status="in_progress"
        )
        yield self._event("output_item.added", output_index=index, item=item)
        place: Event = {"item_id": id, "output_index": index}
        yield self._event("function_call_arguments.delta", **place, delta=function.arguments)
        yield self._event(
            "function_call_arguments.done",
            **place,
            name=function.name,
            arguments=function.arguments,
        )
        yield from self._done(
            index, replace(item, arguments=function.arguments, status="completed")
        )
