"""A model that is ready to answer, and how a generation on it is started."""

import threading
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from typing import Any

from mistralrs_mlx.engine.constraints import Constraint
from mistralrs_mlx.engine.engine import Engine
from mistralrs_mlx.engine.memory import Budget
from mistralrs_mlx.engine.params import SamplingParams
from mistralrs_mlx.engine.post import Mailbox
from mistralrs_mlx.engine.reading import Medium
from mistralrs_mlx.engine.sequence import Sequence
from mistralrs_mlx.engine.worker import worker
from mistralrs_mlx.errors import MistralRsMlxError, ModelUnloaded, RequestError
from mistralrs_mlx.text.detokenizer import Detokenizer
from mistralrs_mlx.text.grammars import Grammars
from mistralrs_mlx.text.stops import StopMatcher
from mistralrs_mlx.text.template import ChatTemplate
from mistralrs_mlx.text.tokenizer import Tokenizer

from .boundaries import boundaries
from .events import End, Event, Failure, Piece
from .facts import Facts
from .progress import Progress
from .senses import Senses
from .sink import ChoiceSink

__all__ = ["Answer", "Generation", "Host", "UseText"]


@dataclass(frozen=True, kw_only=True)
class Generation:
    """What one request asks of a model, in tokens."""

    prompt: list[int]
    params: SamplingParams
    media: tuple[Medium, ...] = ()
    slot: int = 0  # of the adapter that goes with the media
    choices: int = 1
    max_tokens: int | None = None
    stops: tuple[str, ...] = ()
    ignore_eos: bool = False
    visible: frozenset[int] = frozenset()  # special tokens whose text is wanted
    continues: bool = False  # the text goes on after the prompt's, in the middle of a sentence
    constraint: Callable[[], Constraint] | None = None  # compiles the grammar of the answer


class Answer:
    """The events of one generation. Dropping it cancels the rest."""

    works = False  # beyond handing out what has come

    def __init__(self, sequences: list[Sequence], events: Mailbox[Event]) -> None:
        self._sequences, self._events = sequences, events
        self.choices = self._open = len(sequences)

    def __iter__(self) -> Iterator[Piece | None]:
        """Give events until every choice has ended, and None while there is none to give.

        An error that the engine met is raised.
        """
        try:
            while self._open > 0:
                while (event := self._next()) is None:
                    yield None
                self._open -= isinstance(event, End)
                yield event
        finally:  # also when the reader is interrupted
            self.cancel()

    def wait(self) -> None:
        """Block until there is an event."""
        worker().check()
        self._events.wait()

    async def ready(self) -> None:
        """Return once there is an event."""
        worker().check()
        await self._events.ready()

    def _next(self) -> Piece | None:
        event = self._events.get()
        if not isinstance(event, Failure):
            return event
        error = _as_value_error(event.error)
        try:
            raise error from (None if error is event.error else event.error)
        finally:  # its traceback has this frame, and callers' that know the model: no cycle here
            del error, event

    def end(self, choice: int) -> None:
        """Let one choice end where it is; its last event still comes."""
        self._sequences[choice].canceled = True

    def cancel(self) -> None:
        """Free the rows of whatever has not ended. Safe on any thread, any number of times."""
        self._open = 0
        for sequence in self._sequences:
            sequence.canceled = True

    def __del__(self) -> None:
        self.cancel()


@dataclass(frozen=True, kw_only=True)
class Host:
    """One loaded model with its texts. Every method may be called from any thread."""

    engine: Engine
    memory: Budget
    facts: Facts
    tokenizer: Tokenizer
    template: ChatTemplate | None
    eos: frozenset[int]
    generation_config: dict[str, Any]
    context_length: int
    vocab_size: int
    seed: int
    progress: Progress | None = None
    senses: Senses | None = None  # of a model that sees or hears
    _numbers: "count[int]" = field(default_factory=lambda: count(1))
    _counting: threading.Lock = field(default_factory=threading.Lock)

    @property
    def busy(self) -> bool:
        """Whether it answers. On the engine's thread."""
        return self.engine.busy

    @property
    def rested(self) -> float:
        """When its last answer ended."""
        return self.engine.rested

    def await_rest(self) -> None:
        """Return once all that was asked is answered."""
        worker().await_rest(self.engine)

    @cached_property
    def grammars(self) -> Grammars:
        """What compiles grammars for this model; raises `MissingExtra` without llguidance."""
        return Grammars(self.tokenizer, self.eos)

    def token_id(self, text: str) -> int | None:
        """The id of a text that is one special token, for grammars."""
        return self.grammars.token_id(text)

    def next_number(self) -> int:
        """1, 2, ...: the identity of a request, and what its seed derives from."""
        with self._counting:
            return next(self._numbers)

    def start(self, generation: Generation) -> Answer:
        """Queue a generation and return, once its grammar is compiled if it has one.

        What is wrong with the grammar is raised where the answer is read.
        """
        events = Mailbox[Event](worker().post)
        sequences = [self._sequence(generation, i, events) for i in range(generation.choices)]
        sequences[0].siblings = sequences[1:]
        if generation.constraint is None or _constrained(sequences[0], generation.constraint):
            _submitted(sequences[0], worker().send(lambda: self.engine.submit(sequences[0])))
        return Answer(sequences, events)

    def close(self, reason: str) -> "Future[None]":
        """End what runs with an error that says why, and step the engine no more."""
        return worker().send(lambda: self._close(reason))

    def _close(self, reason: str) -> None:
        worker().detach(self.engine)
        self.engine.close(ModelUnloaded(reason))

    def _sequence(self, generation: Generation, choice: int, events: Mailbox[Event]) -> Sequence:
        ids = {stop: self.tokenizer.stop_token(stop) for stop in generation.stops}
        stop_tokens = {token for token in ids.values() if token is not None}
        strings = [stop for stop, token in ids.items() if token is None]
        room = max(1, self.context_length - len(generation.prompt))
        after = generation.prompt[-1] if generation.continues else None
        detokenizer = Detokenizer(self.tokenizer, after=after, visible=generation.visible)
        sink = ChoiceSink(choice, events, detokenizer, StopMatcher(strings), self.progress)
        return Sequence(
            prompt=generation.prompt,
            params=generation.params,
            sink=sink,
            limit=min(generation.max_tokens or room, room),
            stop_tokens=frozenset(stop_tokens | (set() if generation.ignore_eos else self.eos)),
            silent_tokens=self.eos,
            vocab_size=self.vocab_size,
            choice=choice,
            media=generation.media,
            slot=generation.slot,
            salt=(generation.slot,),
            prompt_keys=_keys(generation),
            boundaries=boundaries(generation.prompt, self.tokenizer.special_ids),
        )


UseText = Callable[[], AbstractContextManager[tuple[Host, str]]]
"""`with use() as (host, id):` a model that stays while the block starts a generation on it."""


def _keys(generation: Generation) -> list[Hashable] | None:
    """The prompt's tokens, those of media told apart by what they show."""
    if not generation.media:
        return None
    keys: list[Hashable] = list(generation.prompt)
    for medium in generation.media:
        keys[medium.start : medium.stop] = [medium.digest] * medium.tokens
    return keys


def _constrained(first: Sequence, compiled: Callable[[], Constraint]) -> bool:
    """Hold a sequence and its siblings to a grammar, or fail it if that is none."""
    try:
        first.constrain(compiled())
    except MistralRsMlxError as error:
        first.fail(error)
        return False
    return True


def _submitted(first: Sequence, sent: "Future[None]") -> None:
    """Fail a sequence that the engine's thread will never see: there is none any more."""
    if sent.done() and (error := sent.exception()) is not None:
        assert isinstance(error, Exception)
        for each in first.family:
            each.fail(error)


def _as_value_error(error: Exception) -> Exception:
    """Every failure of an answer is a `ValueError`, as in mistral.rs."""
    if isinstance(error, MistralRsMlxError | NotImplementedError):
        return error
    return RequestError(f"the model failed while answering: {type(error).__name__}: {error}")
