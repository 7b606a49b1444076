"""From the engine's tokens to pieces of text, on the engine's thread."""

from mistralrs_mlx.engine.logprobs import TokenLogprob
from mistralrs_mlx.engine.post import Mailbox
from mistralrs_mlx.engine.sequence import Timing
from mistralrs_mlx.text.detokenizer import Detokenizer
from mistralrs_mlx.text.stops import StopMatcher

from .events import End, Event, Failure, Piece
from .progress import Progress

__all__ = ["ChoiceSink"]


class ChoiceSink:
    """Turns one choice's tokens into text and stops it at a stop string.

    Matching here, and not where the answer is read, keeps the engine from overshooting.
    """

    def __init__(
        self,
        choice: int,
        events: Mailbox[Event],
        detokenizer: Detokenizer,
        stops: StopMatcher,
        progress: Progress | None = None,
    ) -> None:
        self._choice, self._events = choice, events
        self._detokenizer, self._stops, self._progress = detokenizer, stops, progress
        self._matched: str | None = None
        self._silent = True  # nothing has been told yet
        self._held = Piece(choice=choice, text="", logprob=None)  # waits for `finish`
        self._held_is_an_end = False  # a token that only ends the answer

    def prefilled(self, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress("prefill", done, total)

    def push(self, token: int, logprob: TokenLogprob | None, *, silent: bool, final: bool) -> bool:
        text = "" if silent else self._detokenizer.push(token)
        text, self._matched = self._stops.push(text)
        piece = Piece(choice=self._choice, text=text, logprob=logprob)
        if final or self._matched is not None:
            self._held, self._held_is_an_end = piece, silent
        elif text or silent or logprob is not None:
            self._tell(piece)
        return self._matched is not None

    def finish(self, reason: str, timing: Timing) -> None:
        text, logprob = self._held.text + self._rest(), self._held.logprob
        if text and (reason == "stop" or self._matched is not None):  # the end itself has no text
            own = None if self._held_is_an_end else logprob
            self._tell(Piece(choice=self._choice, text=text, logprob=own))
            text, logprob = "", logprob if self._held_is_an_end else None
        self._tell(
            End(
                choice=self._choice,
                text=text,
                logprob=logprob,
                reason="stop" if self._matched is not None else reason,
                stop_sequence=self._matched,
                timing=timing,
            )
        )

    def fail(self, error: Exception) -> None:
        self._events.put(Failure(choice=self._choice, error=error), now=True)

    def _tell(self, event: Piece) -> None:
        """Send it: the first at once, for the step may go on with the prompts of others."""
        self._events.put(event, now=self._silent)
        self._silent = False

    def _rest(self) -> str:
        """Half a character or half a stop string that will never be completed."""
        if self._matched is not None:
            return ""
        text, self._matched = self._stops.push(self._detokenizer.finish())
        return text if self._matched is not None else text + self._stops.flush()
