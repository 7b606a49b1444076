"""One chat request: its prompt, its rounds of generation, and what each says."""

import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from mistralrs_mlx.api.agents import AgenticToolCallRecord
from mistralrs_mlx.api.requests import ChatCompletionRequest
from mistralrs_mlx.api.tools import ToolUse
from mistralrs_mlx.api.validation import (
    Grammar,
    chat_messages,
    stop_strings,
    validate_grammar,
    validate_tool_choice,
)
from mistralrs_mlx.engine.logprobs import TokenLogprob
from mistralrs_mlx.engine.sequence import Timing
from mistralrs_mlx.errors import MissingExtra, MistralRsMlxError, RequestError
from mistralrs_mlx.text.assembler import Assembler, Deltas
from mistralrs_mlx.text.parsers.calls import ToolCall
from mistralrs_mlx.text.parsers.forced import call_grammar
from mistralrs_mlx.text.parsers.formats import call_format, visible_marks
from mistralrs_mlx.text.parsers.reasoning import reasoning_format

from .choosing import sampling_params
from .events import End
from .host import Answer, Generation, Host, UseText
from .prompts import chat_prompt
from .tools import Callbacks, follow_up, offered_tools, run_calls

__all__ = ["Chat", "Update"]

MOST_ROUNDS = 256
ANY_CALL = ToolUse(mode="auto")


@dataclass(frozen=True, kw_only=True)
class Update:
    """What one more token, or the end of a choice, adds to an answer."""

    round: int
    choice: int
    deltas: Deltas
    splits_reasoning: bool
    logprob: TokenLogprob | None
    end: End | None  # set once for every choice of the last round


@dataclass
class _Spoken:
    """What a round with tools has said, for the messages of the next one."""

    content: list[str] = field(default_factory=list)
    calls: tuple[ToolCall, ...] = ()


class Chat:
    """A request that is being answered. Tools that have callbacks are run between rounds."""

    def __init__(
        self,
        use: UseText,
        host: Host,
        model_id: str,
        request: ChatCompletionRequest,
        callbacks: Callbacks,
    ) -> None:
        """Check everything that can be checked, and start the first round on this host.

        `use` gives one for each of the others: while tools run, the model may be unloaded.
        """
        self._use, self._model_id, self._request = use, model_id, request
        self.number = host.next_number()
        tool_use = validate_tool_choice(request)
        self._tools = offered_tools(request, callbacks)
        self._callbacks = callbacks if self._tools else {}
        if self._callbacks and request.n_choices > 1:
            raise RequestError(
                "tools that are run here (tool_callbacks, tool_dispatch_url, web_search_options) "
                "answer one choice; n_choices must be 1"
            )
        self._grammar = validate_grammar(request)
        self._limit = MOST_ROUNDS if request.max_tool_rounds is None else request.max_tool_rounds
        self._messages = chat_messages(request)
        self._canceling, self._canceled = threading.Lock(), False
        self.rounds: list[list[Timing]] = []  # of every finished choice
        self.records: list[AgenticToolCallRecord] = []
        self._round = 0
        self._answer: Answer | None = None
        self._failure: MistralRsMlxError | None = None
        try:
            self._start(host, tool_use)
        except MissingExtra:
            raise
        except MistralRsMlxError as error:  # of a stream, where it is read: as mistral.rs does
            if not request.stream:
                raise
            self._failure = error

    @property
    def session_id(self) -> str | None:
        """Set where tools are run here, as mistral.rs does for agents."""
        return str(uuid.uuid4()) if self._callbacks else None

    @property
    def works(self) -> bool:
        """Whether tools run between its updates."""
        return bool(self._callbacks)

    def wait(self) -> None:
        """Block until `updates` has more to give."""
        assert self._answer is not None
        self._answer.wait()

    async def ready(self) -> None:
        """Return once `updates` has more to give."""
        assert self._answer is not None
        await self._answer.ready()

    def cancel(self) -> None:
        """Give up. Safe on any thread, any number of times."""
        with self._canceling:
            self._canceled = True
            if self._answer is not None:
                self._answer.cancel()

    def updates(self) -> Iterator[Update | None]:
        """Give what is said as it is said, round after round; None while nothing is."""
        if self._failure is not None:
            raise self._failure
        while self._answer is not None:
            spoken = _Spoken()
            yield from self._one_round(spoken, self._answer)
            if not self._runs(spoken.calls):
                return
            records = run_calls(spoken.calls, self._callbacks, self._round)
            self.records += records
            self._messages = [
                *_listed(self._messages),
                *follow_up("".join(spoken.content), spoken.calls, records),
            ]
            with self._use() as (host, _), self._canceling:
                if self._canceled:
                    return
                self._round += 1
                # A call that must be made was made: from now on the model may answer.
                self._start(host, ANY_CALL)
            del host

    def _one_round(self, spoken: _Spoken, answer: Answer) -> Iterator[Update | None]:
        self.rounds.append([])
        for event in answer:
            if event is None:
                yield None
                continue
            assembler = self._assemblers[event.choice]
            deltas = assembler.push(event.text)
            if not isinstance(event, End):
                if assembler.answered:
                    answer.end(event.choice)
                yield from self._update(event.choice, deltas, event.logprob, spoken)
                continue
            ended = assembler.finish(_reason(event, assembler))
            deltas = _joined(deltas, ended)
            self.rounds[-1].append(event.timing)
            if self._runs(deltas.calls):
                spoken.calls = deltas.calls
                deltas = Deltas(content=deltas.content, reasoning=deltas.reasoning)
                yield from self._update(event.choice, deltas, event.logprob, spoken)
            else:
                yield from self._update(event.choice, deltas, event.logprob, spoken, event)

    def _update(
        self,
        choice: int,
        deltas: Deltas,
        logprob: TokenLogprob | None,
        spoken: _Spoken,
        end: End | None = None,
    ) -> Iterator[Update]:
        spoken.content.append(deltas.content)
        if end is not None or deltas.content or deltas.reasoning or logprob is not None:
            yield Update(
                round=self._round,
                choice=choice,
                deltas=deltas,
                splits_reasoning=self._assemblers[choice].splits_reasoning,
                logprob=logprob,
                end=end,
            )

    def _runs(self, calls: tuple[ToolCall, ...]) -> bool:
        """Whether these calls are run here: all have a callback, and there are rounds left."""
        known = bool(calls) and all(call.name in self._callbacks for call in calls)
        return known and self._round < self._limit and not self._canceled

    def _start(self, host: Host, use: ToolUse) -> None:
        """Start a round: one prompt, and a fresh assembler for every choice."""
        request = self._request
        template = "" if host.template is None else host.template.text
        reasoning = reasoning_format(template)
        prompt = chat_prompt(host, self._model_id, request, self._messages, self._tools)
        grammar = self._grammar or self._forced(host, template, prompt.text, use)
        compiled = (
            None
            if grammar is None
            else partial(host.grammars.compile, grammar, ignore_eos=request.ignore_eos)
        )
        marks = visible_marks(reasoning, tools=bool(self._tools))
        visible = (id for id, text in host.tokenizer.added.items() if text in marks)
        generation = Generation(
            prompt=prompt.tokens,
            media=prompt.media,
            slot=prompt.slot,
            params=sampling_params(request, host, self.number, _top_logprobs(request)),
            choices=request.n_choices,
            max_tokens=request.max_tokens,
            stops=tuple(stop_strings(request)),
            ignore_eos=request.ignore_eos,
            visible=frozenset(visible),
            constraint=compiled,
        )
        self._assemblers = [
            Assembler(reasoning, self._tools, prompt=prompt.text) for _ in range(request.n_choices)
        ]
        self._answer = host.start(generation)

    def _forced(self, host: Host, template: str, rendered: str, use: ToolUse) -> Grammar | None:
        """What holds the answer to a call, if one is required, or calls to strict schemas."""
        text = call_grammar(
            call_format(template),
            self._tools,
            use,
            token_id=host.token_id,
            reasoning=reasoning_format(template),
            prompt=rendered,
        )
        return None if text is None else Grammar(kind="lark", text=text)


def _listed(messages: list[dict[str, Any]] | str) -> list[dict[str, Any]]:
    """Messages as they were given, media and all."""
    return [{"role": "user", "content": messages}] if isinstance(messages, str) else messages


def _reason(event: End, assembler: Assembler) -> str:
    """Why a choice ended; one that was ended since its calls were complete has simply stopped."""
    return "stop" if assembler.answered and event.reason == "canceled" else event.reason


def _joined(first: Deltas, last: Deltas) -> Deltas:
    return Deltas(
        content=first.content + last.content,
        reasoning=first.reasoning + last.reasoning,
        calls=last.calls,
        finish_reason=last.finish_reason,
    )


def _top_logprobs(request: ChatCompletionRequest) -> int | None:
    """How many likely tokens to report beside each: one by default, None without logprobs."""
    if not request.logprobs:
        return None
    return 1 if request.top_logprobs is None else request.top_logprobs
