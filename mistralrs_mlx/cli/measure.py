"""Timings of a loaded model, through the public interface alone."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median

from mistralrs_mlx import CompletionRequest, CompletionResponse, Runner

__all__ = ["Batch", "Single", "batch", "single"]

TEXT = "The old lighthouse stood at the edge of the sea, and every evening its keeper climbed up. "


@dataclass(frozen=True, kw_only=True)
class Single:
    """One request at a time, medians over the rounds."""

    prompt_tokens: int
    tokens: int
    first_token_seconds: float
    prefill_tokens_per_second: float
    decode_tokens_per_second: float


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Several requests at once: what all of them together decode."""

    rows: int
    decode_tokens_per_second: float


def single(runner: Runner, *, prompt_tokens: int, tokens: int, rounds: int) -> Single:
    """Answer one long prompt after the other; the first round warms up and does not count."""
    prompt = _prompt(runner, prompt_tokens)
    usages = [
        _continued(runner, f"{number} {prompt}", tokens).usage for number in range(rounds + 1)
    ]
    counted = usages[1:]
    return Single(
        prompt_tokens=counted[0].prompt_tokens,
        tokens=tokens,
        first_token_seconds=median(each.total_prompt_time_sec for each in counted),
        prefill_tokens_per_second=median(each.avg_prompt_tok_per_sec for each in counted),
        decode_tokens_per_second=median(
            (tokens - 1) / max(each.total_completion_time_sec, 1e-3) for each in counted
        ),
    )


def batch(runner: Runner, rows: int, *, tokens: int, rounds: int) -> Batch:
    """Decode so many rows at once. What one token each takes is prefill, and taken off."""
    steps = tokens - 1
    spent = [_seconds(runner, rows, tokens) - _seconds(runner, rows, 1) for _ in range(rounds)]
    return Batch(rows=rows, decode_tokens_per_second=rows * steps / max(median(spent), 1e-3))


def _prompt(runner: Runner, tokens: int) -> str:
    """A text of about so many tokens."""
    ids: Sequence[int] = runner.tokenize_text(TEXT * (1 + tokens // 8), add_special_tokens=False)
    return runner.detokenize_text(ids[: max(1, tokens - 1)])


def _seconds(runner: Runner, rows: int, tokens: int) -> float:
    texts = [f"{number}. {TEXT}" for number in range(rows)]
    began = time.perf_counter()
    with ThreadPoolExecutor(rows) as threads:
        list(threads.map(lambda text: _continued(runner, text, tokens), texts))
    return time.perf_counter() - began


def _continued(runner: Runner, text: str, tokens: int) -> CompletionResponse:
    return runner.send_completion_request(
        CompletionRequest(
            model="default", prompt=text, max_tokens=tokens, temperature=0, ignore_eos=True
        )
    )
