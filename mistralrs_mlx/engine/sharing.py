"""What sequences take over from earlier ones, and leave for later ones."""

from collections.abc import Hashable

from mistralrs_mlx.cache.caches import Caches
from mistralrs_mlx.cache.prefix import PrefixCache

from .sequence import Sequence

__all__ = ["Sharing"]


class Sharing:
    """Decides which tokens of which sequences are the same; the prefix cache holds them."""

    def __init__(self, prefix: PrefixCache | None, *, border: int | None = None) -> None:
        """Rows on the other side of the `border` turn their keys differently."""
        self._prefix, self._border = prefix, border
        self._steady = None if prefix is None else prefix.steady

    def begin(self, caches: Caches, row: int, sequence: Sequence) -> None:
        """Let a fresh row begin with what is known of its sequence."""
        known = len(sequence.known)
        if self._prefix is None or not self._may_share(known):
            return
        found = self._prefix.restore(caches, row, sequence.keys, self._salt(sequence, known))
        if not sequence.tokens:
            for each in sequence.family:
                each.timing.cached_tokens = found

    def keep(self, caches: Caches, row: int, sequence: Sequence, length: int | None = None) -> None:
        """Remember what a row knows, or its first `length` tokens."""
        prompt = caches.prompts[row]
        if self._prefix is None or not self._may_share(prompt):
            return
        most = min(caches.lengths[row], len(sequence.known))
        length = most if length is None else length
        if self._steady is not None:
            length = min(length, self._steady)
        if length <= most and not (caches.recurs and length < caches.lengths[row]):
            self._prefix.store(caches, row, sequence.keys[:length], self._salt(sequence, prompt))

    def clear(self) -> None:
        """Forget everything."""
        if self._prefix is not None:
            self._prefix.clear()

    def pause(self, caches: Caches, sequence: Sequence, start: int, stop: int) -> int:
        """Where a chunk [start, stop) of a prompt has to end, so that states can be kept there."""
        if self._prefix is None or not caches.recurs:
            return stop
        return min((at for at in sequence.boundaries if start < at < stop), default=stop)

    def passed(self, caches: Caches, row: int, sequence: Sequence, start: int) -> None:
        """Remember the boundaries that a chunk from `start` on has reached."""
        if not caches.forgets:
            return
        for at in sequence.boundaries:
            if start < at <= caches.lengths[row]:
                self.keep(caches, row, sequence, at)

    def _may_share(self, length: int) -> bool:
        return self._steady is None or length <= self._steady

    def _salt(self, sequence: Sequence, length: int) -> Hashable:
        return sequence.salt, self._border is not None and length > self._border
