"""Continuous batching for one model: chunks of a prompt, and one token a step for every row."""

from collections import deque

import mlx.core as mx

from .decode import Decode
from .model import LanguageModel
from .prefill import Prefill
from .rows import Rows
from .sampling import Sampler
from .sequence import Sequence

__all__ = ["Engine"]

PREFILL_BUDGET = 512  # prompt tokens between two decode steps


class Engine:
    """Serves sequences on one model. Every method but `submit` runs on the engine's thread."""

    def __init__(
        self,
        model: LanguageModel,
        *,
        max_seqs: int,
        prefill_budget: int = PREFILL_BUDGET,
        kv_cache: bool = True,
    ) -> None:
        """Without a `kv_cache` every token is computed from the whole text before it."""
        self.model, self.max_seqs = model, max_seqs
        self._waiting: deque[Sequence] = deque()
        self._rows = Rows(model, keeps=kv_cache)
        sampler = Sampler()
        self._prefill = Prefill(self._rows, sampler)
        self._decode = Decode(self._rows, sampler)
        self._budget = min(prefill_budget, self._rows.caches.longest_pass or prefill_budget)

    @property
    def busy(self) -> bool:
        """Whether a step would do anything."""
        return bool(self._waiting or self._rows.running or self._rows.prefilling)

    def submit(self, sequence: Sequence) -> None:
        """Queue a sequence and its siblings. Safe on any thread."""
        self._waiting.append(sequence)

    def step(self) -> None:
        """Prefill within the budget, then decode one token for every running row."""
        self._drop_canceled()
        self._prefill_some()
        try:
            self._decode_one()
        except Exception as error:  # rows share the pass, so nobody can tell whose fault it was
            self._fail_running(error)
        if not self.busy:
            self._rows.clear()

    def abort(self, error: Exception) -> None:
        """End every sequence with an error and free their memory."""
        ended = [*self._waiting, *self._rows.members()]
        self._waiting.clear()
        self._clear()
        for sequence in ended:
            _fail(sequence.family, error)

    def logits(self, tokens: list[int]) -> mx.array:
        """Logits of a whole prompt, (L, V), in a cache of its own."""
        caches = self._rows.fresh_caches()
        caches.add(len(tokens))
        chunks = []
        for start in range(0, len(tokens), self._budget):
            chunk = tokens[start : start + self._budget]
            step = caches.step(0, 1, len(chunk))
            hidden = self.model.hidden(self.model.embed(mx.array([chunk])), step)
            chunks.append(self.model.head(hidden)[0].astype(mx.float32))
            mx.eval(chunks[-1])
        return mx.concatenate(chunks)

    def _drop_canceled(self) -> None:
        for sequence in [s for s in self._waiting if s.abandoned]:
            self._waiting.remove(sequence)
            _cancel(sequence.family)
        prefilling = self._rows.prefilling
        if prefilling is not None and prefilling.abandoned:
            _cancel(self._rows.stop_prefill().family)
        _cancel([s for s in self._rows.running if s.canceled])
        self._retire()

    def _prefill_some(self) -> None:
        """Spend the budget: the rest of the prompt under way, then whoever waits."""
        budget = self._budget
        while budget > 0 and (self._rows.prefilling is not None or self._admit()):
            assert self._rows.prefilling is not None
            family = self._rows.prefilling.family
            try:
                budget -= self._prefill.advance(budget)
            except Exception as error:  # whatever went wrong is this sequence's alone
                if self._rows.prefilling is not None:
                    self._rows.stop_prefill()
                _fail(family, error)
                budget -= 1  # a queue of prompts that fail must not hold up the others
            self._retire()

    def _admit(self) -> bool:
        """Let the first that waits begin its prefill, if there is room for it."""
        if not self._waiting:
            return False
        rows = len(self._waiting[0].family)
        if self._rows.running and len(self._rows) + rows > self.max_seqs:
            return False
        sequence = self._waiting.popleft()
        sequence.begin()
        self._rows.open(sequence)
        return True

    def _decode_one(self) -> None:
        """A token for every running row, dispatched before the one before it is read if it can."""
        if not self._decode.may_run_ahead():
            self._decode.settle()
            self._retire()
            self._recompute_outgrown()
        if self._rows.running:
            self._decode.advance()
            self._retire()

    def _recompute_outgrown(self) -> None:
        """Send rows whose memory is of no use any more back to prefill, with all they know.

        The few that cross a border go first; without a cache all of them take turns.
        """
        outgrown = [row for row in range(len(self._rows)) if self._rows.outgrown(row)]
        closed = [self._rows.close(row) for row in reversed(outgrown)][::-1]
        if self._rows.keeps:
            self._waiting.extendleft(reversed(closed))
        else:
            self._waiting.extend(closed)

    def _fail_running(self, error: Exception) -> None:
        failed = self._rows.running
        if self._rows.prefilling is not None:
            self._waiting.appendleft(self._rows.prefilling)
        self._clear()
        _fail(failed, error)

    def _retire(self) -> None:
        """Free the rows of sequences that have ended."""
        for row in reversed(range(len(self._rows))):
            if self._rows.running[row].finish_reason is not None:
                self._rows.close(row)
        if not self._rows.running:
            self._decode.forget()

    def _clear(self) -> None:
        self._decode.forget()
        self._rows.clear()


def _fail(sequences: list[Sequence], error: Exception) -> None:
    for each in sequences:
        if each.finish_reason is None:
            each.fail(error)


def _cancel(sequences: list[Sequence]) -> None:
    for each in sequences:
        each.end("canceled")
