"""How many answers run or wait at once; whoever comes beyond that is asked to come again."""

from collections.abc import Iterator
from contextlib import contextmanager

from .failure import Failure

__all__ = ["Gate"]

RETRY_SECONDS = 2


class Gate:
    """Counts answers. Used on the event loop's thread alone."""

    def __init__(self, *, most: int, most_at_once: int) -> None:
        self._most, self._most_at_once = most, min(most, most_at_once)
        self.inside = 0

    @contextmanager
    def answers(self, count: int) -> Iterator[None]:
        """Let so many answers of one request in. Raises `Failure` with 400 or 429."""
        if count > self._most_at_once:
            message = f"{count} answers are too many for one request; ask for {self._most_at_once}"
            raise Failure(400, message, parameter="n")
        if self.inside + count > self._most:
            raise Failure(
                429,
                f"{self.inside} answers are under way, and no more than {self._most} may be",
                code="too_many_requests",
                headers={"Retry-After": str(RETRY_SECONDS)},
            )
        self.inside += count
        try:
            yield
        finally:
            self.inside -= count
