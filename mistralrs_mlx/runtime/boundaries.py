"""Where the messages of a prompt end: later prompts may be the same up to there."""

from collections.abc import Set
from itertools import pairwise

__all__ = ["boundaries"]

NEAR = 8  # tokens: marks closer together than this are those between the same two messages
SHORTEST = 16  # tokens: a shorter beginning is not worth a boundary


def boundaries(prompt: list[int], marks: Set[int]) -> tuple[int, ...]:
    """Lengths of the prompt's beginning after its first message and before its last two.

    Special tokens mark the turns. What stands between an end of a turn and the next text, such as a
    role, may change from one prompt to the next, so the first of several marks counts.

    >>> boundaries([1, *[7] * 20, 2, 7, 1, *[7] * 30, 2, 7, 1, 7], {1, 2})
    (22, 55)
    """
    after = [place + 1 for place, token in enumerate(prompt) if token in marks]
    first = after[:1] + [here for before, here in pairwise(after) if here - before > NEAR]
    useful = [length for length in first if SHORTEST <= length < len(prompt)]
    return tuple(sorted({*useful[:1], *useful[-2:]}))
