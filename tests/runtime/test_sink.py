"""What becomes of an answer's tokens: pieces of text, and an end that says why."""

from collections.abc import Callable
from typing import Any

import pytest

from mistralrs_mlx.engine.logprobs import TokenLogprob
from mistralrs_mlx.engine.post import Mailbox, Post
from mistralrs_mlx.engine.sequence import Timing
from mistralrs_mlx.runtime.events import End, Piece
from mistralrs_mlx.runtime.sink import ChoiceSink
from mistralrs_mlx.text.stops import StopMatcher

ONE, TWO = (TokenLogprob(token=n, logprob=-n, top=()) for n in (1, 2))


class Said:
    """A detokenizer: the text of every token is given, and what comes of half a character."""

    def __init__(self, *texts: str, rest: str = "") -> None:
        self.texts, self.rest = iter(texts), rest

    def push(self, _: int) -> str:
        return next(self.texts)

    def finish(self) -> str:
        return self.rest


def told(said: Said, *tokens: tuple[Any, bool], reason: str, stops: str = "STOP") -> list[Any]:
    """Events of tokens, each with a logprob and whether it is silent; the last is final."""
    events = Mailbox[Any](Post())
    sink = ChoiceSink(0, events, said, StopMatcher([stops]))
    for place, (logprob, silent) in enumerate(tokens, start=1):
        sink.push(place, logprob, silent=silent, final=place == len(tokens))
    sink.finish(reason, Timing(prompt_tokens=1))
    return list(iter(events.get, None))


@pytest.mark.parametrize("told_by", ["push", "finish", "fail"])
def test_what_an_answer_begins_with_waits_for_no_step_to_end(told_by: str) -> None:
    post = Post()
    events = Mailbox[Any](post)
    sink = ChoiceSink(0, events, Said("a", "b"), StopMatcher([]))
    begin: dict[str, Callable[[], object]] = {
        "push": lambda: sink.push(1, None, silent=False, final=False),
        "finish": lambda: sink.finish("canceled", Timing(prompt_tokens=1)),
        "fail": lambda: sink.fail(ValueError()),
    }
    with post.held():
        begin[told_by]()
        assert events.get() is not None
        sink.push(2, None, silent=False, final=False)
        assert told_by == "fail" or events.get() is None


def test_a_held_text_does_not_take_the_logprob_of_the_end() -> None:
    _, piece, end = told(Said("ST"), (ONE, False), (TWO, True), reason="stop")
    assert (piece.text, piece.logprob, end.text, end.logprob) == ("ST", None, "", TWO)


def test_the_last_text_of_a_stopped_answer_takes_its_own_logprob() -> None:
    piece, end = told(Said("Hi"), (ONE, False), reason="stop")
    assert (piece.text, piece.logprob, end.text, end.logprob) == ("Hi", ONE, "", None)


def test_a_stop_that_the_last_half_character_completes_ends_the_answer() -> None:
    said = Said("so", "", rest="\ufffd")
    piece, end = told(said, (None, False), (None, False), reason="length", stops="o\ufffd")
    assert isinstance(piece, Piece)
    assert isinstance(end, End)
    assert (piece.text, end.text, end.reason, end.stop_sequence) == ("s", "", "stop", "o\ufffd")


def test_an_end_that_is_ignored_is_a_piece_without_text() -> None:
    pieces = told(Said("a", "b"), (None, False), (None, True), (None, False), reason="length")
    assert [each.text for each in pieces] == ["a", "", "b"]
