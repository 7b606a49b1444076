"""`mistralrs-mlx run`: one answer, or a chat."""

import argparse
import sys

from .answer import Sampling, show
from .chat import Chat
from .model import runner_of

__all__ = ["run"]


def run(options: argparse.Namespace) -> None:
    """Load the model that the options name, then answer or chat."""
    prompt = _prompt(options)
    sampling = _sampling(options)
    runner = runner_of(options)
    if prompt is None:
        Chat(runner, sampling).loop()
        return
    answer = show(runner, [{"role": "user", "content": prompt}], sampling)
    if answer.interrupted:
        raise KeyboardInterrupt
    print(answer.usage, file=sys.stderr)


def _prompt(options: argparse.Namespace) -> str | None:
    """The text to answer, or None where somebody sits at a terminal to chat."""
    if options.input is None and sys.stdin.isatty():
        return None
    text = _piped() if options.input is None else str(options.input)
    if not text.strip():
        raise ValueError("nothing to answer: give -i TEXT, pipe a text in, or run in a terminal")
    return text


def _piped() -> str:
    text = sys.stdin.read().strip()
    try:
        text.encode()
    except UnicodeEncodeError as error:  # Python reads other bytes as surrogates
        raise ValueError(
            f"the text that is piped in is not UTF-8 after {error.start} characters. Convert it "
            "first, as with iconv -t UTF-8"
        ) from None
    return text


def _sampling(options: argparse.Namespace) -> Sampling:
    return Sampling(
        temperature=options.temperature,
        top_p=options.top_p,
        top_k=options.top_k,
        max_tokens=options.max_tokens,
        enable_thinking=options.thinking,
        reasoning_effort=options.reasoning_effort,
    )
