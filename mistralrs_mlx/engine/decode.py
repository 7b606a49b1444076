"""One token a step for every running row, one step ahead of what has been read; or a draft."""

from dataclasses import dataclass

import mlx.core as mx

from .choice import choose
from .compiled import CompiledPass
from .drafts import Drafter
from .rows import Rows
from .sampling import Sampled, Sampler
from .sequence import Sequence
from .verify import Verify

__all__ = ["Decode"]

COPIED = 64 << 20  # bytes of arenas that a GPU copies while the host prepares a step


@dataclass(frozen=True)
class Flight:
    """A decode step that was dispatched and not read: whose tokens they will be, in order."""

    sequences: list[Sequence]
    sampled: Sampled


class Decode:
    """Decode steps of the running rows."""

    def __init__(
        self,
        rows: Rows,
        sampler: Sampler,
        drafter: Drafter | None = None,
        *,
        compiled: bool = False,
    ) -> None:
        self._rows, self._sampler = rows, sampler
        self._verify = None if drafter is None else Verify(rows, drafter)
        self._compiled = CompiledPass(rows) if compiled else None
        self._flight: Flight | None = None
        self._copied = COPIED if mx.default_device().type == mx.gpu else 0

    def may_run_ahead(self) -> bool:
        """Whether the next step can be built before the tokens of the last one are known."""
        flight, running = self._flight, self._rows.running
        if flight is None or flight.sequences != running:
            return False
        if any(sequence.row.needs_host_token for sequence in running):
            return False
        if self._verify is not None and self._verify.wanted():
            return False
        done = all(sequence.almost_done for sequence in running)
        return not done and not any(map(self._rows.outgrown, range(len(running))))

    def advance(self) -> None:
        """Dispatch a step for every running row; read the one before while the device works.

        Where nothing is in flight and a draft can be had, verify that instead.
        """
        if self._flight is None and self._verify is not None and self._verify.advance():
            return
        before, self._flight = self._flight, self._dispatch()
        if before is not None:
            self._read(before)

    def settle(self) -> None:
        """Read the step in flight, if there is one."""
        flight, self._flight = self._flight, None
        if flight is not None:
            self._read(flight)

    def forget(self) -> None:
        """Drop the step in flight: nobody waits for its tokens."""
        self._flight = None

    def _dispatch(self) -> Flight:
        """Start one decode step, on tokens that the host may not know yet."""
        running = list(self._rows.running)
        for sequence in running:
            sequence.look_ahead()
        if self._flight is None:
            tokens = mx.array([sequence.last for sequence in running])
        else:
            tokens = self._flight.sampled.tokens
            for row, sequence in enumerate(running):
                # Rows without penalties only count: the host saves a node for each.
                sequence.row.accept(tokens[row] if sequence.params.penalizes else 0)
        self._rows.reading.adapt(running)
        sampled = choose(self._sampler, self._logits(tokens), running)
        self._settle_writes()
        mx.async_eval(sampled.arrays, self._rows.caches.arrays())
        return Flight(running, sampled)

    def _logits(self, tokens: mx.array) -> mx.array:
        """Feed (B,) tokens, one to each row -> logits (B, V)."""
        if self._compiled is not None:
            return self._compiled(tokens)
        model, caches = self._rows.model, self._rows.caches
        step = caches.step(0, tokens.size, 1)
        hidden = model.hidden(model.embed(tokens[:, None]), step)
        return model.head(hidden)[:, 0]

    def _settle_writes(self) -> None:
        """Wait for the step in flight where that costs less than what it would have us copy.

        What a pending step still reads is not donated: the next one would copy the arenas to write
        a column. A GPU, though, stands still while the host hands it the next step.
        """
        if self._flight is None or (self._copied and self._rows.caches.nbytes <= self._copied):
            return
        mx.synchronize()

    def _read(self, flight: Flight) -> None:
        """Wait for a step's tokens and hand them out. Rows that have left get none."""
        accepted = self._flight is not None  # by the dispatch of the step that followed
        for sequence, (token, logprob) in zip(flight.sequences, flight.sampled.read(), strict=True):
            if sequence.finish_reason is None:
                if not accepted:
                    sequence.row.accept(token)
                sequence.accept(token, logprob)
