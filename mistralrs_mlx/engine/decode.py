"""One token a step for every running row, one step ahead of what has been read."""

from dataclasses import dataclass

import mlx.core as mx

from .choice import choose
from .rows import Rows
from .sampling import Sampled, Sampler
from .sequence import Sequence

__all__ = ["Decode"]


@dataclass(frozen=True)
class Flight:
    """A decode step that was dispatched and not read: whose tokens they will be, in order."""

    sequences: list[Sequence]
    sampled: Sampled


class Decode:
    """Decode steps of the running rows."""

    def __init__(self, rows: Rows, sampler: Sampler) -> None:
        self._rows, self._sampler = rows, sampler
        self._flight: Flight | None = None

    def may_run_ahead(self) -> bool:
        """Whether the next step can be built before the tokens of the last one are known."""
        flight, running = self._flight, self._rows.running
        if flight is None or flight.sequences != running:
            return False
        if any(sequence.row.needs_host_token for sequence in running):
            return False
        done = all(sequence.almost_done for sequence in running)
        return not done and not any(map(self._rows.outgrown, range(len(running))))

    def advance(self) -> None:
        """Dispatch a step for every running row; read the one before while the device works."""
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
                sequence.row.accept(tokens[row] if sequence.params.penalizes else 0)
        model, caches = self._rows.model, self._rows.caches
        step = caches.step(0, len(running), 1)
        hidden = model.hidden(model.embed(tokens[:, None]), step)
        sampled = choose(self._sampler, model.head(hidden)[:, 0], running)
        mx.async_eval(sampled.arrays, caches.arrays())
        return Flight(running, sampled)

    def _read(self, flight: Flight) -> None:
        """Wait for a step's tokens and hand them out. Rows that have left get none."""
        ahead = self._flight is not None
        for sequence, (token, logprob) in zip(flight.sequences, flight.sampled.read(), strict=True):
            if sequence.finish_reason is None:
                if not ahead:
                    sequence.row.accept(token)
                sequence.accept(token, logprob)
