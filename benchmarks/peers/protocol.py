"""How `compare.py` talks to an engine in a process of its own: a line of JSON each way.

An engine answers two questions. `one` continues a text and tells what it took; `many` continues
several texts at once and tells the seconds of the whole.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Protocol, TextIO

__all__ = ["Peer", "Single", "serve"]


@dataclass(frozen=True, kw_only=True)
class Single:
    """One text continued greedily, one token after the other."""

    prompt_tokens: int
    tokens: int
    prompt_seconds: float  # until the first token is there
    seconds: float  # from the first token to the last
    text: str


class Peer(Protocol):
    """An engine with its model loaded."""

    def one(self, text: str, tokens: int) -> Single:
        """Continue a text by so many tokens, come what may."""

    def many(self, texts: list[str], tokens: int) -> float | None:
        """The seconds that as many tokens for each of these take; None: it cannot."""


def serve(load: Callable[[str], Peer]) -> None:
    """Load the model that the command line names, then answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # engines chat, some of them below Python
    peer = load(sys.argv[1])
    _say(answers, "ready")
    for line in sys.stdin:
        question = json.loads(line)
        if "text" in question:
            _say(answers, asdict(peer.one(question["text"], question["tokens"])))
        else:
            _say(answers, peer.many(question["texts"], question["tokens"]))


def _say(answers: TextIO, what: object) -> None:
    print(json.dumps(what), file=answers, flush=True)
