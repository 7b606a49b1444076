"""Continuous batching for one model: chunks of a prompt, and one token a step for every row."""

import logging
import time
from collections import deque

import mlx.core as mx

from mistralrs_mlx.cache.layout import Packing
from mistralrs_mlx.cache.prefix import PrefixCache
from mistralrs_mlx.errors import RequestError

from .admission import Admission
from .decode import Decode
from .device import abandon
from .drafts import Drafter
from .kept import Kept
from .memory import Budget
from .model import LanguageModel
from .prefill import Prefill
from .reading import Reading
from .rows import Rows
from .sampling import Sampler
from .sequence import Sequence
from .sharing import Sharing
from .verify import WIDEST

__all__ = ["Engine"]

log = logging.getLogger(__name__)

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
        drafter: Drafter | None = None,
        prefix: PrefixCache | None = None,
        memory: Budget | None = None,
        packing: Packing | None = None,
        reading: Reading | None = None,
        compiled: bool = False,
    ) -> None:
        """Without a `kv_cache` every token is computed from the whole text before it.

        A `drafter` needs that cache, and a model whose layers all can forget what came last.
        In `prefix` sequences find what earlier ones had in common with them. What `memory` has no
        room for waits, or is refused; without one everything fits. A model that sees or hears
        needs a `reading` of its own. `compiled` decode steps cost the host less; models whose keys
        turn as their rows' lengths say cannot have them.
        """
        self._model, self.max_seqs = model, max_seqs
        self._closed: Exception | None = None
        self.rested = 0.0  # when it last came to rest, by the monotonic clock
        self._waiting: deque[Sequence] = deque()
        sharing = Sharing(prefix if kv_cache else None, border=model.rope_border)
        self._rows = Rows(model, keeps=kv_cache, sharing=sharing, reading=reading, packing=packing)
        sampler = Sampler()
        self._prefill = Prefill(self._rows, sampler)
        self._drafter = drafter
        self._decode = Decode(self._rows, sampler, drafter, compiled=compiled)
        self._memory = memory
        self._admission = Admission(self._rows, memory, stride=WIDEST if drafter else 1)
        if memory is not None:
            memory.learn(model, self._rows.fresh_caches(), self._kept(prefix if kv_cache else None))
        self._budget = min(prefill_budget, self._rows.caches.longest_pass or prefill_budget)

    @property
    def model(self) -> LanguageModel:
        """What answers. Raises once the engine is closed."""
        if self._closed is not None:
            raise self._closed
        return self._model

    @property
    def busy(self) -> bool:
        """Whether a step would do anything."""
        if self._closed is not None:
            return False
        return bool(self._waiting or self._rows.running or self._rows.prefilling)

    def submit(self, sequence: Sequence) -> None:
        """Queue a sequence and its siblings. Safe on any thread."""
        if self._closed is not None:
            _fail(sequence.family, self._closed)
        else:
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
            self._clear()
            self.rested = time.monotonic()

    def abort(self, error: Exception) -> None:
        """End every sequence with an error and free their memory."""
        ended = [*self._waiting, *self._rows.members()]
        self._waiting.clear()
        self._clear()
        self._rows.sharing.clear()
        for sequence in ended:
            _fail(sequence.family, error)

    def close(self, error: Exception) -> None:
        """End every sequence with an error, and let go of the model: the engine is not used again.

        Others may hold the engine for long, such as the traceback that a notebook keeps.
        """
        if self._closed is not None:
            return
        self.abort(error)
        if self._memory is not None:
            self._memory.close()
        self._closed = error
        del self._model, self._rows, self._prefill, self._drafter, self._decode, self._admission

    def logits(self, tokens: list[int]) -> mx.array:
        """Logits of a whole prompt, (L, V), in a cache of its own."""
        model = self.model
        self._admission.check_logits(len(tokens))
        caches = self._rows.fresh_caches()
        self._rows.reading.adapt([])
        caches.add(len(tokens))
        chunks = []
        for start in range(0, len(tokens), self._budget):
            chunk = tokens[start : start + self._budget]
            step = caches.step(0, 1, len(chunk))
            hidden = model.hidden(model.embed(mx.array([chunk])), step)
            chunks.append(model.head(hidden)[0].astype(mx.float32))
            mx.eval(chunks[-1])
        return mx.concatenate(chunks)

    def _kept(self, prefix: PrefixCache | None) -> Kept | None:
        """What can be given up for running rows, if there is anything."""
        reading = self._rows.reading
        return Kept(prefix, reading) if prefix is not None or reading.limit else None

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
                    self._rows.stop_prefill(failed=True)
                _fail(family, error)
                budget -= 1  # a queue of prompts that fail must not hold up the others
            self._retire()

    def _admit(self) -> bool:
        """Let the first that waits begin its prefill, if there is room for it."""
        while self._waiting:
            rows = len(self._waiting[0].family)
            if self._rows.running and len(self._rows) + rows > self.max_seqs:
                return False
            try:
                if not self._admission.may_begin(self._waiting[0]):
                    return False
            except RequestError as error:
                self._refuse(self._waiting.popleft(), error)
                continue
            sequence = self._waiting.popleft()
            sequence.begin()
            self._rows.open(sequence)
            return True
        return False

    def _refuse(self, sequence: Sequence, error: RequestError) -> None:
        """End what has no room; an answer that has begun is worth more than an error."""
        if sequence.tokens:
            log.warning("an answer ends after %d tokens: %s", len(sequence.tokens), error)
            sequence.end("length")
        else:
            # Without the frames of this thread, which know the model: readers may keep an error.
            _fail(sequence.family, error.with_traceback(None))

    def _decode_one(self) -> None:
        """A token for every running row, dispatched before the one before it is read if it can."""
        if not self._decode.may_run_ahead():
            self._decode.settle()
            self._retire()
            self._recompute_outgrown()
        self._make_room()
        if self._rows.running:
            self._decode.advance()
            self._retire()

    def _make_room(self) -> None:
        """While the next step has no room, let the youngest row wait and be computed again.

        The last one ends where it is.
        """
        if self._admission.step_fits():
            return
        self._decode.settle()
        self._retire()
        while not self._admission.step_fits():
            if self._rows.caches.fit():
                continue
            if self._rows.prefilling is not None:
                self._waiting.appendleft(self._rows.stop_prefill())
            elif len(self._rows) > 1:
                started = [sequence.timing.started for sequence in self._rows.running]
                self._waiting.appendleft(self._rows.close(started.index(max(started))))
            else:
                self._refuse(self._rows.running[0], self._admission.shortage())
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
        abandon()  # the step after the one that failed
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
        if self._drafter is not None:
            self._drafter.clear()
        self._admission.rest()


def _fail(sequences: list[Sequence], error: Exception) -> None:
    for each in sequences:
        if each.finish_reason is None:
            each.fail(error)


def _cancel(sequences: list[Sequence]) -> None:
    for each in sequences:
        each.end("canceled")
