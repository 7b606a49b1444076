"""What one engine keeps for later prompts, and gives up when running ones need the memory."""

from mistralrs_mlx.cache.prefix import PrefixCache

from .reading import Reading

__all__ = ["Kept"]


class Kept:
    """Encoded media, which go first, and the columns of earlier sequences."""

    def __init__(self, prefix: PrefixCache | None, reading: Reading) -> None:
        self._prefix, self._reading = prefix, reading

    @property
    def nbytes(self) -> int:
        return self._reading.nbytes + self._prefix_bytes

    @property
    def limit(self) -> int:
        """Bytes that it may take at most."""
        return self._reading.limit + (0 if self._prefix is None else self._prefix.limit)

    @limit.setter
    def limit(self, nbytes: int) -> None:
        if self._prefix is not None:
            self._prefix.limit = max(0, nbytes - self._reading.nbytes)

    def shrink(self, to_bytes: int) -> None:
        """Keep at most so many bytes."""
        self._reading.shrink(max(0, to_bytes - self._prefix_bytes))
        if self._prefix is not None:
            self._prefix.shrink(max(0, to_bytes - self._reading.nbytes))

    @property
    def _prefix_bytes(self) -> int:
        return 0 if self._prefix is None else self._prefix.nbytes
