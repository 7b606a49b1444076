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
        chunk = known[rows.caches.lengths[row] :][:budget]
        step = rows.caches.step(row, row + 1, len(chunk))
        hidden = rows.model.hidden(rows.model.embed(mx.array([chunk])), step)
        if rows.caches.lengths[row] < len(known):
            mx.eval(hidden, rows.caches.arrays())
            self._tell(sequence, rows.caches.lengths[row])
        else:
            logits = rows.model.head(hidden[:, -1:])[:, 0]
            mx.eval(logits, rows.caches.arrays())
            self._tell(sequence, len(known))
            self._join(sequence, logits)
        return len(chunk)

    def _tell(self, sequence: Sequence, done: int) -> None:
        if not sequence.tokens:
            sequence.sink.prefilled(done, len(sequence.known))

    def _join(self, sequence: Sequence, logits: mx.array) -> None:
        family = [each for each in sequence.family if not each.canceled]
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
