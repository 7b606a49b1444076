"""What the engine's thread tells the thread that reads an answer."""

from dataclasses import dataclass

from mistralrs_mlx.engine.logprobs import TokenLogprob
from mistralrs_mlx.engine.sequence import Timing

__all__ = ["End", "Event", "Failure", "Piece"]


@dataclass(frozen=True, kw_only=True)
class Piece:
    """The text that one more token has completed: possibly none."""

    choice: int
    text: str
    logprob: TokenLogprob | None


@dataclass(frozen=True, kw_only=True)
class End(Piece):
    """A choice is complete. Its last token's text and whatever was held back come with it."""

    reason: str
    stop_sequence: str | None
    timing: Timing


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The answer has ended by an error."""

    choice: int
    error: Exception


Event = Piece | Failure
