"""Guesses at the next tokens of a text: what may guess, how far ahead, and the guess by copying."""

import math
from typing import Protocol

from .sequence import Sequence

__all__ = ["Drafter", "Pace", "Paces", "PromptLookup", "fills"]

WORTH = 1.4  # tokens a pass; with fewer a plain step is as fast
RATE = 0.25  # weight of the newest pass in an average
HOPE, PROBE = 2.0, 1.5  # tokens a pass that a new text is trusted with, and one that has rested
START = 3.0  # tokens that a first draft has
REST, LONGEST_REST = 32, 512  # tokens without drafts, doubled while probes fail
GRAMS = (3, 2)  # tokens that have to agree with an earlier place, the surest first


class Drafter(Protocol):
    """Proposes what may come next. A bad guess costs time, and never changes a text."""

    def wants(self, sequences: list[Sequence]) -> bool:
        """Whether to wait for the token in flight, which the sequences lack, so as to draft."""

    def propose(self, sequences: list[Sequence], most: list[int]) -> list[list[int]]:
        """For each sequence its likely next tokens, at most as many as `most` says, or none."""

    def learn(self, sequence: Sequence, drafted: int, kept: int) -> None:
        """Of a draft so many tokens were tried, and the pass gave `kept` tokens, 1 or more."""

    def clear(self) -> None:
        """Forget all sequences, and free what was remembered for them."""


class Pace:
    """How far ahead it pays to draft for one sequence, learned from what was kept."""

    def __init__(self) -> None:
        self._gain, self._run = HOPE, START  # averages: tokens a pass, right tokens in a row
        self._wakes, self._rest = 0, REST

    def length(self, sequence: Sequence) -> int:
        """How many tokens to draft now; 0 while it rests."""
        return 0 if len(sequence.tokens) < self._wakes else math.ceil(self._run)

    def learn(self, sequence: Sequence, drafted: int, kept: int) -> None:
        """Take the result of one pass with a draft into account."""
        right = 2 * drafted if kept > drafted else kept - 1  # it might have gone on
        self._run += RATE * (right - self._run)
        self._gain += RATE * (kept - self._gain)
        if self._gain < WORTH:
            self._wakes = len(sequence.tokens) + self._rest
            self._rest = min(2 * self._rest, LONGEST_REST)
            self._gain, self._run = PROBE, START
        elif self._gain > HOPE:
            self._rest = REST


class Paces:
    """A pace for each running sequence."""

    def __init__(self) -> None:
        self._paces: dict[Sequence, Pace] = {}

    def lengths(self, sequences: list[Sequence], most: list[int]) -> list[int]:
        """How many tokens to draft for each. Others than these are forgotten."""
        self._paces = {each: self._paces.get(each) or Pace() for each in sequences}
        pairs = zip(sequences, most, strict=True)
        return [min(self._paces[each].length(each), limit) for each, limit in pairs]

    def learn(self, sequence: Sequence, drafted: int, kept: int) -> None:
        self._paces[sequence].learn(sequence, drafted, kept)

    def clear(self) -> None:
        self._paces = {}


def fills(drafted: int, rows: int) -> bool:
    """Whether so many rows with a draft are worth what the others have to be padded with."""
    return drafted > 0 and 2 * drafted >= rows


class PromptLookup:
    """Drafts what came after the newest earlier place that reads like the end of the text."""

    def __init__(self, most: int) -> None:
        """`most` is the longest draft, in tokens."""
        self._most = most
        self._paces = Paces()
        self._texts: dict[Sequence, _Text] = {}

    def wants(self, sequences: list[Sequence]) -> bool:
        return fills(sum(map(bool, self._drafts(sequences, [1] * len(sequences)))), len(sequences))

    def propose(self, sequences: list[Sequence], most: list[int]) -> list[list[int]]:
        return self._drafts(sequences, [min(each, self._most) for each in most])

    def learn(self, sequence: Sequence, drafted: int, kept: int) -> None:
        self._paces.learn(sequence, drafted, kept)

    def clear(self) -> None:
        self._paces.clear()
        self._texts = {}

    def _drafts(self, sequences: list[Sequence], most: list[int]) -> list[list[int]]:
        lengths = self._paces.lengths(sequences, most)
        self._texts = {each: self._texts.get(each) or _Text(each) for each in sequences}
        pairs = zip(sequences, lengths, strict=True)
        return [self._texts[each].continuation(length) if length else [] for each, length in pairs]


class _Text:
    """The tokens of a sequence, and for each short run of them where it ended last."""

    def __init__(self, sequence: Sequence) -> None:
        self._sequence = sequence
        self._tokens: list[int] = []
        self._ends: dict[tuple[int, ...], int] = {}  # -> the place of the token that came after
        self._extend(sequence.prompt)

    def continuation(self, length: int) -> list[int]:
        """So many tokens that would repeat an earlier place, or none where there is none."""
        tokens = self._tokens
        self._extend(self._sequence.tokens[len(tokens) - len(self._sequence.prompt) :])
        for size in GRAMS:
            start = self._ends.get(tuple(tokens[-size:]))
            if start is not None:
                draft = tokens[start : start + length]
                for place in range(length - len(draft)):  # what repeats itself goes on doing so
                    draft.append(draft[place])
                return draft
        return []

    def _extend(self, new: list[int]) -> None:
        for token in new:
            place = len(self._tokens)
            for size in GRAMS:
                if place >= size:
                    self._ends[tuple(self._tokens[place - size :])] = place
            self._tokens.append(token)
