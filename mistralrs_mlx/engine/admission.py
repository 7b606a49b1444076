"""Who may begin, and whether rows may grow: asked before anything is allocated."""

import logging

from mistralrs_mlx.cache.forecast import Extent
from mistralrs_mlx.errors import RequestError

from .memory import Budget
from .rows import Rows
from .sequence import Sequence

__all__ = ["Admission"]

log = logging.getLogger(__name__)

MARGIN = 256  # tokens of an answer that memory is set aside for when it begins


class Admission:
    """Knows what the rows will need. Without a `Budget` everything fits."""

    def __init__(self, rows: Rows, memory: Budget | None, *, stride: int = 1) -> None:
        """`stride` is the most tokens that one step adds to a row."""
        self._rows, self._memory, self._stride = rows, memory, stride
        self._granted: Extent | None = None

    def may_begin(self, sequence: Sequence) -> bool:
        """Whether there is memory for it and its siblings now.

        Raises `RequestError` if there will not be any, whatever ends before it.
        """
        memory = self._memory
        if memory is None:
            return True
        family = [*sequence.family]
        self._check_ever(memory, family)
        if self._set_aside_for(memory, [*self._rows.running, *family]):
            return True
        if self._rows.running or memory.waits_for_others():
            return False
        self._rows.clear()  # arenas may be larger than this one needs
        if self._set_aside_for(memory, family):
            return True
        raise self._refusal(memory, len(family), max(map(_needed, family)))

    def step_fits(self) -> bool:
        """Whether the arenas may grow as the next step wants them to."""
        rows, memory = self._rows, self._memory
        if memory is None or not rows.running:
            return True
        columns = max(rows.caches.lengths[: len(rows)]) + self._stride
        count = len(rows)
        if rows.prefilling is not None:
            columns = max(columns, _needed(rows.prefilling))
            count += len(rows.prefilling.family)
        return self._set_aside(memory, count, columns)

    def shortage(self) -> RequestError:
        """Why the only running row may not grow, once `step_fits` has said so."""
        assert self._memory is not None
        return self._refusal(self._memory, 1, self._rows.caches.lengths[0] + self._stride)

    def check_logits(self, tokens: int) -> None:
        """Raise unless the logits of a prompt of so many tokens, and its caches, have room."""
        if self._memory is not None:
            extra = 2 * 4 * tokens * self._memory.vocab_size  # in float32, as parts and as a whole
            self._memory.check_aside(self._fresh(1, tokens), columns=tokens, extra=extra)

    def rest(self) -> None:
        """No rows are left."""
        self._granted = None
        if self._memory is not None:
            self._memory.rest()

    def _set_aside_for(self, memory: Budget, members: list[Sequence]) -> bool:
        """Set aside what these need at first, if it is there; the arenas grow to that at once."""
        columns = max(map(_needed, members))
        there = self._set_aside(memory, len(members), columns)
        if there:
            self._rows.caches.reserve(columns)
        return there

    def _set_aside(self, memory: Budget, rows: int, columns: int) -> bool:
        """Set aside what arenas of this size take, in place of what was granted before."""
        caches = self._rows.caches
        extent = caches.extent(rows, columns)
        if extent != self._granted:
            now = caches.extent(0, 0)
            if not memory.grant(now, extent, rows=rows, columns=columns):
                return False
            self._granted = extent
        return True

    def _check_ever(self, memory: Budget, family: list[Sequence]) -> None:
        rows, columns = len(family), max(map(_needed, family))
        memory.check_ever(self._fresh(rows, columns), rows=rows, columns=columns)

    def _refusal(self, memory: Budget, rows: int, columns: int) -> RequestError:
        want = memory.want(self._fresh(rows, columns), rows, columns)
        return memory.refusal(want, rows, columns)

    def _fresh(self, rows: int, columns: int) -> Extent:
        return self._rows.fresh_caches().extent(rows, columns)


def _needed(sequence: Sequence) -> int:
    """Tokens that a row is given room for at first."""
    left = max(0, sequence.limit - len(sequence.tokens))
    return len(sequence.prompt) + len(sequence.tokens) + min(left, MARGIN)
