"""Events of the engine -> the response objects of the API."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from mistralrs_mlx.api.responses import (
    CalledFunction,
    ChatCompletionChunkResponse,
    ChatCompletionResponse,
    Choice,
    ChunkChoice,
    CompletionChoice,
    CompletionChunkChoice,
    CompletionChunkResponse,
    CompletionResponse,
    Delta,
    Logprobs,
    ResponseLogprob,
    ResponseMessage,
    ToolCallResponse,
    TopLogprob,
)
from mistralrs_mlx.engine.logprobs import TokenLogprob
from mistralrs_mlx.engine.sequence import Timing
from mistralrs_mlx.errors import Canceled
from mistralrs_mlx.text.parsers.calls import ToolCall
from mistralrs_mlx.text.tokenizer import Tokenizer

from .chat import Chat, Update
from .events import End, Piece
from .host import Answer
from .usage import usage

__all__ = [
    "ChatCollector",
    "CompletionCollector",
    "Heading",
    "chat_chunks",
    "completion_chunks",
]


@dataclass(frozen=True, kw_only=True)
class Heading:
    """What all chunks of one answer share."""

    id: str
    model: str
    session_id: str | None = None
    created: int = field(default_factory=lambda: int(time.time()))


@dataclass
class _Draft:
    """One choice as it grows."""

    texts: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: tuple[ToolCall, ...] = ()
    logprobs: list[TokenLogprob] = field(default_factory=list)
    finish_reason: str = "stop"
    end: End | None = None

    @property
    def text(self) -> str:
        return "".join(self.texts)

    @property
    def score(self) -> float:
        """The logarithm of how likely the whole choice was."""
        return sum(entry.logprob for entry in self.logprobs)

    @property
    def ended(self) -> End:
        assert self.end is not None
        return self.end

    def add(self, update: Update) -> None:
        self.texts.append(update.deltas.content)
        self.reasoning.append(update.deltas.reasoning)
        self.calls += update.deltas.calls
        if update.logprob is not None:
            self.logprobs.append(update.logprob)
        if update.end is not None:
            self.end, self.finish_reason = update.end, update.deltas.finish_reason or "stop"


class ChatCollector:
    """A chat answer from its updates; of several rounds, what the last one says."""

    def __init__(self, choices: int) -> None:
        self._round = -1
        self._choices, self._drafts = choices, list[_Draft]()

    def add(self, update: Update) -> None:
        if update.round != self._round:
            self._round, self._drafts = update.round, [_Draft() for _ in range(self._choices)]
        self._drafts[update.choice].add(update)

    def response(
        self, chat: Chat, heading: Heading, tokenizer: Tokenizer, *, logprobs: bool
    ) -> ChatCompletionResponse:
        """The whole answer, once all of it has been added."""
        if not self._drafts:
            raise Canceled("the answer was canceled")
        return ChatCompletionResponse(
            id=heading.id,
            choices=[
                _choice(index, draft, tokenizer, logprobs=logprobs)
                for index, draft in enumerate(self._drafts)
            ],
            created=heading.created,
            model=heading.model,
            usage=usage(chat.rounds),
            agentic_tool_calls=chat.records or None,
            session_id=heading.session_id,
        )


def chat_chunks(
    chat: Chat, heading: Heading, tokenizer: Tokenizer, *, choices: int, logprobs: bool
) -> Iterator[ChatCompletionChunkResponse | None]:
    """Give a chat answer chunk by chunk, as its tokens come; None while none has come."""
    ended = 0
    for update in chat.updates():
        if update is None:
            yield None
            continue
        ended += update.end is not None
        yield ChatCompletionChunkResponse(
            id=heading.id,
            choices=[_chunk_choice(update, tokenizer, logprobs=logprobs)],
            created=heading.created,
            model=heading.model,
            usage=usage(chat.rounds) if ended == choices else None,
            session_id=heading.session_id,
        )


class CompletionCollector:
    """A completion from its events, without reasoning or tools."""

    def __init__(self, choices: int) -> None:
        self._drafts = [_Draft() for _ in range(choices)]

    def add(self, event: Piece) -> None:
        draft = self._drafts[event.choice]
        draft.texts.append(event.text)
        if event.logprob is not None:
            draft.logprobs.append(event.logprob)
        if isinstance(event, End):
            draft.end = event

    def response(
        self, heading: Heading, *, best_of: int | None, prefix: str, suffix: str
    ) -> CompletionResponse:
        """The `best_of` likeliest choices, or all in order, once all has been added."""
        drafts = self._drafts
        timings = [draft.ended.timing for draft in drafts]
        if best_of is not None and best_of < len(drafts):
            drafts = sorted(drafts, key=lambda draft: -draft.score)[:best_of]
        choices = [
            CompletionChoice(
                finish_reason=draft.ended.reason,
                index=index,
                text=prefix + draft.text + suffix,
            )
            for index, draft in enumerate(drafts)
        ]
        return CompletionResponse(
            id=heading.id,
            choices=choices,
            created=heading.created,
            model=heading.model,
            usage=usage([timings]),
        )


def completion_chunks(
    answer: Answer, heading: Heading, *, prefix: str, suffix: str
) -> Iterator[CompletionChunkResponse | None]:
    """Give a completion piece by piece, and None while no piece has come.

    A choice begins with `prefix` and ends with `suffix`.
    """
    timings: list[Timing] = []
    begun: set[int] = set()
    for event in answer:
        if event is None:
            yield None
            continue
        text = event.text if event.choice in begun else prefix + event.text
        begun.add(event.choice)
        ended = isinstance(event, End)
        if isinstance(event, End):
            timings.append(event.timing)
            text += suffix
        if text or ended:
            choice = CompletionChunkChoice(
                text=text,
                index=event.choice,
                finish_reason=event.reason if isinstance(event, End) else None,
            )
            yield CompletionChunkResponse(
                id=heading.id,
                choices=[choice],
                created=heading.created,
                model=heading.model,
                usage=usage([timings]) if ended and len(timings) == answer.choices else None,
            )


def _choice(index: int, draft: _Draft, tokenizer: Tokenizer, *, logprobs: bool) -> Choice:
    return Choice(
        finish_reason=draft.finish_reason,
        stop_sequence=draft.ended.stop_sequence,
        index=index,
        message=ResponseMessage(
            content=None if draft.calls and not draft.text else draft.text,
            tool_calls=_calls(draft.calls),
            reasoning_content="".join(draft.reasoning) or None,
        ),
        logprobs=_logprobs(draft, tokenizer) if logprobs else None,
    )


def _chunk_choice(update: Update, tokenizer: Tokenizer, *, logprobs: bool) -> ChunkChoice:
    deltas, end = update.deltas, update.end
    # A model that reasons says nothing to the reader for a while; all others always say a text.
    content = None if update.splits_reasoning and not deltas.content else deltas.content
    # The token that stops an answer has no text, and so its chunk has no logprob.
    shown = update.logprob if logprobs and not (end and end.reason == "stop") else None
    return ChunkChoice(
        finish_reason=deltas.finish_reason if end else None,
        stop_sequence=end.stop_sequence if end else None,
        index=update.choice,
        delta=Delta(
            content=content,
            tool_calls=_calls(deltas.calls),
            reasoning_content=deltas.reasoning or None,
        ),
        logprobs=_logprob(shown, tokenizer) if shown is not None else None,
    )


def _calls(calls: tuple[ToolCall, ...]) -> list[ToolCallResponse] | None:
    return [
        ToolCallResponse(
            index=index,
            id=call.id,
            function=CalledFunction(name=call.name, arguments=call.arguments),
        )
        for index, call in enumerate(calls)
    ] or None


def _logprobs(draft: _Draft, tokenizer: Tokenizer) -> Logprobs:
    return Logprobs(content=[_logprob(entry, tokenizer) for entry in draft.logprobs])


def _logprob(entry: TokenLogprob, tokenizer: Tokenizer) -> ResponseLogprob:
    raw = tokenizer.token_bytes(entry.token)
    return ResponseLogprob(
        token=raw.decode(errors="replace"),
        logprob=entry.logprob,
        bytes=list(raw),
        top_logprobs=[
            TopLogprob(
                token=token,
                logprob=value,
                bytes=tokenizer.token_bytes(token).decode(errors="replace"),
            )
            for token, value in entry.top
        ],
    )
