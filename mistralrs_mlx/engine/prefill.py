"""Prompts, a chunk at a time."""

import mlx.core as mx

from .choice import choose
from .rows import Rows
from .sampling import Sampler
from .sequence import Sequence

__all__ = ["Prefill"]


class Prefill:
    """Computes the prompt of the sequence that is in prefill, and its first token."""

    def __init__(self, rows: Rows, sampler: Sampler) -> None:
        self._rows, self._sampler = rows, sampler

    def advance(self, budget: int) -> int:
        """Compute at most `budget` more tokens of the prompt, and say how many it were.

        With the last one the sequence and its siblings run, each with a first token.
        """
        rows, sequence = self._rows, self._rows.prefilling
        assert sequence is not None
        row, known = len(rows), sequence.known
        done = rows.caches.lengths[row]
        end = rows.sharing.pause(rows.caches, sequence, done, min(done + budget, len(known)))
        chunk = known[done : rows.reading.pause(sequence, done, end)]
        rows.reading.adapt([sequence])
        step = rows.caches.step(row, row + 1, len(chunk))
        hidden = rows.model.hidden(rows.reading.embed(sequence, done, chunk), step)
        mx.synchronize()  # arenas that a decode step still reads would be copied to be written
        if rows.caches.lengths[row] < len(known):
            mx.eval(hidden, rows.caches.arrays())
            self._tell(sequence, rows.caches.lengths[row])
            rows.sharing.passed(rows.caches, row, sequence, done)
        else:
            logits = rows.model.head(hidden[:, -1:])[:, 0]
            mx.eval(logits, rows.caches.arrays())
            self._tell(sequence, len(known))
            self._join(sequence, logits)
            if rows.prefilling is None and len(rows) > row:
                rows.sharing.passed(rows.caches, row, sequence, done)
                rows.sharing.keep(rows.caches, row, sequence)
        return len(chunk)

    def _tell(self, sequence: Sequence, done: int) -> None:
        if not sequence.tokens:
            sequence.sink.prefilled(done, len(sequence.known))

    def _join(self, sequence: Sequence, logits: mx.array) -> None:
        family = [each for each in sequence.family if not each.canceled]
        for each in sequence.family:
            if each.canceled:
                each.end("canceled")
        self._rows.join(family)
        for each in family:
            each.timing.started = sequence.timing.started
            self._first_token(logits, each)
        sequence.siblings = []

    def _first_token(self, logits: mx.array, sequence: Sequence) -> None:
        token, logprob = choose(self._sampler, logits, [sequence]).read()[0]
        if sequence.finish_reason is None:
            sequence.row.accept(token)
            sequence.accept(token, logprob)
