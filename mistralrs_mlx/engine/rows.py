"""Which sequences have memory, and where: the one home of rows and their order."""

from collections.abc import Iterator

from mistralrs_mlx.cache.caches import Caches

from .model import LanguageModel
from .sequence import Sequence

__all__ = ["Rows"]


class Rows:
    """Running sequences, in order, have rows [0, len); the one in prefill has the next row."""

    def __init__(self, model: LanguageModel, *, keeps: bool = True) -> None:
        """`keeps` says whether what was computed for a token is used for the next ones."""
        self.model, self.keeps = model, keeps
        self.running: list[Sequence] = []
        self.prefilling: Sequence | None = None
        self.caches = self.fresh_caches()

    def __len__(self) -> int:
        return len(self.running)

    def fresh_caches(self) -> Caches:
        return Caches(self.model.cache_layout())

    def members(self) -> Iterator[Sequence]:
        """Every sequence that has a row."""
        yield from self.running
        if self.prefilling is not None:
            yield self.prefilling

    def open(self, sequence: Sequence) -> None:
        """Give a sequence a row for its prefill."""
        self.prefilling = sequence
        self.caches.add(len(sequence.known))

    def join(self, family: list[Sequence]) -> None:
        """The prefill is done: let these run on its row and on copies of it."""
        row, self.prefilling = len(self.running), None
        for _ in family[1:]:
            self.caches.copy(row)
        if not family:
            self.caches.pop()
        self.running.extend(family)

    def stop_prefill(self) -> Sequence:
        """Take the row of the prefill away."""
        sequence, self.prefilling = self.prefilling, None
        assert sequence is not None
        self.caches.pop()
        return sequence

    def close(self, row: int) -> Sequence:
        """Free a running row: the last running one moves in, then the one in prefill behind it."""
        last = len(self.running) - 1
        closed = self.running[row]
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
