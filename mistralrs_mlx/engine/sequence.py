"""One generation on its way through the engine."""

import time
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Protocol

import mlx.core as mx

from mistralrs_mlx.errors import MistralRsMlxError

from .constraints import Constraint, Guide
from .logprobs import TokenLogprob
from .params import SamplingParams
from .reading import Medium
from .sampling import SamplerRow

__all__ = ["Sequence", "Sink", "Timing"]


class Sink(Protocol):
    """Who reads a sequence's tokens. Called on the engine's thread: be quick."""

    def prefilled(self, done: int, total: int) -> None:
        """So many tokens of the prompt have been computed."""

    def push(self, token: int, logprob: TokenLogprob | None, *, silent: bool, final: bool) -> bool:
        """Take a token; a `silent` one has no text, after a `final` one comes `finish`.

        True ends the sequence: its text has reached a stop string.
        """

    def finish(self, reason: str, timing: "Timing") -> None:
        """The sequence has ended: `stop`, `length` or `canceled`."""

    def fail(self, error: Exception) -> None:
        """The sequence has ended by an error."""


@dataclass
class Timing:
    """When a sequence did what, in seconds of `time.perf_counter`, and how many tokens."""

    prompt_tokens: int
    completion_tokens: int = 0
    cached_tokens: int = 0  # of the prompt, taken from an earlier sequence
    started: float = 0.0  # its first chunk began
    first_token: float = 0.0
    ended: float = 0.0


@dataclass(eq=False)
class Sequence:
    """A prompt, how to continue it, and what has come of it so far."""

    prompt: list[int]
    params: SamplingParams
    sink: Sink
    limit: int  # the most tokens to generate
    stop_tokens: frozenset[int]  # they end it, without a text of their own
    vocab_size: int
    silent_tokens: frozenset[int] = frozenset()  # no text either, but they do not end it
    choice: int = 0  # which of a request's choices
    siblings: "list[Sequence]" = field(default_factory=list)  # further choices of this prompt
    tokens: list[int] = field(default_factory=list)  # generated
    finish_reason: str | None = None
    canceled: bool = False  # set by any thread
    guide: Guide | None = None  # says what may come next, where not everything may
    prompt_keys: list[Hashable] | None = None  # what tells tokens apart, where ids do not suffice
    media: tuple[Medium, ...] = ()  # pictures and clips that the prompt has placeholders for
    slot: int = 0  # of the adapter that its passes use
    salt: tuple[Hashable, ...] = ()  # sequences of another one share nothing with it
    boundaries: tuple[int, ...] = ()  # lengths of the prompt at which others may part from it

    def __post_init__(self) -> None:
        self.timing = Timing(prompt_tokens=len(self.prompt))
        self.row = SamplerRow(self.params, self.prompt, self.vocab_size, choice=self.choice)

    @property
    def family(self) -> "list[Sequence]":
        """Itself and the further choices of its prompt, until they run on their own."""
        return [self, *self.siblings]

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits for any choice of its prompt."""
        return all(each.canceled for each in self.family)

    @property
    def known(self) -> list[int]:
        """Every token so far: what a prefill must compute."""
        return self.prompt + self.tokens

    @property
    def keys(self) -> list[Hashable]:
        """One for each known token, equal where a token and what it shows are equal."""
        return [*(self.prompt if self.prompt_keys is None else self.prompt_keys), *self.tokens]

    @property
    def last(self) -> int:
        """The newest token: what a decode step feeds."""
        return self.tokens[-1] if self.tokens else self.prompt[-1]

    @property
    def almost_done(self) -> bool:
        """Whether its next token is the last one that it may have."""
        return len(self.tokens) + 1 >= self.limit

    def constrain(self, constraint: Constraint) -> None:
        """Hold it and its siblings to this, each from here on by itself. Before it is submitted."""
        copies = [constraint.copy() for _ in self.siblings]
        for each, own in zip([self, *self.siblings], [constraint, *copies], strict=True):
            each.guide, each.row.constrained = Guide(own), True

    def begin(self) -> None:
        """Its first chunk is about to run."""
        if not self.timing.started:
            self.timing.started = time.perf_counter()

    def accept(self, token: int, logprob: TokenLogprob | None) -> None:
        """Append a sampled token, tell the sink, and see whether this was the last one."""
        if not self.tokens:
            self.timing.first_token = time.perf_counter()
        self.tokens.append(token)
        self.timing.completion_tokens += 1
        stops = token in self.stop_tokens
        silent = stops or token in self.silent_tokens
        complete = stops or self._completes(token)
        final = complete or len(self.tokens) >= self.limit
        matched = self.sink.push(token, logprob, silent=silent, final=final)
        if complete or matched:
            self.end("stop")
        elif final:
            self.end("length")

    def look_ahead(self) -> None:
        """Let another thread find out which tokens may come next, if not all may."""
        if self.guide is not None:
            self.guide.look_ahead()

    def mask(self) -> mx.array | None:
        """Which tokens may come next, as the sampler takes it; None for all.

        If none may, the sequence is over when this returns, and what it samples is not to be used.
        """
        if self.guide is None:
            return None
        try:
            mask = self.guide.mask()
        except MistralRsMlxError as error:
            self.fail(error)
            return None
        if self.guide.finished:
            self.end("stop")
            return None
        return mask

    def end(self, reason: str) -> None:
        """Finish for a reason that is no error."""
        self.finish_reason = reason
        self.timing.ended = time.perf_counter()
        self.sink.finish(reason, self.timing)

    def fail(self, error: Exception) -> None:
        """Finish by an error."""
        self.finish_reason = "error"
        self.sink.fail(error)

    def _completes(self, token: int) -> bool:
        """Whether nothing may come after this token."""
        if self.guide is None:
            return False
        self.guide.accept(token)
        return self.guide.finished
