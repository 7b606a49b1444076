"""Which sequences have memory, and where: the one home of rows and their order."""

from collections.abc import Iterator

from mistralrs_mlx.cache.caches import Caches
from mistralrs_mlx.cache.layout import Packing

from .model import LanguageModel
from .reading import Reading
from .sequence import Sequence
from .sharing import Sharing

__all__ = ["Rows"]


class Rows:
    """Running sequences, in order, have rows [0, len); the one in prefill has the next row."""

    def __init__(
        self,
        model: LanguageModel,
        *,
        keeps: bool = True,
        sharing: Sharing | None = None,
        reading: Reading | None = None,
        packing: Packing | None = None,
    ) -> None:
        """`keeps` says whether what was computed for a token is used for the next ones.

        With `sharing` it is used for later sequences, too; with `packing` it takes less memory.
        A model that sees or hears needs a `reading` of its own.
        """
        self.model, self.keeps, self._packing = model, keeps, packing
        self.sharing = Sharing(None) if sharing is None else sharing
        self.reading = Reading(model) if reading is None else reading
        self.running: list[Sequence] = []
        self.prefilling: Sequence | None = None
        self.caches = self.fresh_caches()

    def __len__(self) -> int:
        return len(self.running)

    def fresh_caches(self) -> Caches:
        return Caches(self.model.cache_layout(), packing=self._packing)

    def members(self) -> Iterator[Sequence]:
        """Every sequence that has a row."""
        yield from self.running
        if self.prefilling is not None:
            yield self.prefilling

    def open(self, sequence: Sequence) -> None:
        """Give a sequence a row for its prefill."""
        self.prefilling = sequence
        row = self.caches.add(len(sequence.known))
        self.sharing.begin(self.caches, row, sequence)

    def join(self, family: list[Sequence]) -> None:
        """The prefill is done: let these run on its row and on copies of it."""
        row, self.prefilling = len(self.running), None
        for _ in family[1:]:
            self.caches.copy(row)
        if not family:
            self.caches.pop()
        self.running.extend(family)

    def stop_prefill(self, *, failed: bool = False) -> Sequence:
        """Take the row of the prefill away. What has `failed` is of no use to others."""
        sequence, self.prefilling = self.prefilling, None
        assert sequence is not None
        if not failed:
            self.sharing.keep(self.caches, len(self.running), sequence)
        self.caches.pop()
        return sequence

    def close(self, row: int) -> Sequence:
        """Free a running row: the last running one moves in, then the one in prefill behind it."""
        last = len(self.running) - 1
        closed = self.running[row]
        if closed.finish_reason != "error":
            self.sharing.keep(self.caches, row, closed)
        self.caches.move(last, row)
        if self.prefilling is not None:
            self.caches.move(last + 1, last)
        self.caches.pop()
        self.running[row] = self.running[last]
        self.running.pop()
        return closed

    def clear(self) -> None:
        """Take all rows away. The arenas' memory comes back."""
        self.running, self.prefilling = [], None
        self.caches = self.fresh_caches()

    def outgrown(self, row: int) -> bool:
        """Whether what a row remembers is of no use for its next token.

        Beyond its trained length LongRoPE turns keys by other frequencies, so that those in the
        cache are wrong.
        """
        if not self.keeps:
            return True
        border = self.model.rope_border
        if border is None:
            return False
        return self.caches.lengths[row] == border and self.caches.prompts[row] <= border
