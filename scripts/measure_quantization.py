"""Measure size, speed and perplexity of the demo model in every width, for docs/quantization.md.

Size and speed are those of packed weights, as a Mac holds them. Perplexity is that of a text which
no model knows by heart, the decisions in docs/adr; a CPU finds it sooner with unpacked weights.
"""

import json
import os
import platform
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import mlx.core as mx
import numpy as np

from mistralrs_mlx import CompletionRequest, Runner, demo_model

__all__ = ["MEASURED", "Row"]

ROOT = Path(__file__).parents[1]
MEASURED = Path(__file__).with_name("measured") / "quantization.json"
TYPES = (None, "8", "6", "5", "4", "3", "2")
WINDOW, WINDOWS = 512, 2
TOKENS, ROUNDS = 16, 2
WEIGHTS = "MISTRALRS_MLX_CPU_WEIGHTS"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way to hold the weights; None is as the file has them."""

    isq: str | None
    megabytes: float
    decode_tokens_per_second: float
    perplexity: float


def main() -> None:
    rows = [_row(isq) for isq in TYPES]
    told = {"machine": f"{platform.system()}, {mx.device_info()['device_name']}"}
    MEASURED.parent.mkdir(exist_ok=True)
    MEASURED.write_text(
        json.dumps(told | {"rows": [asdict(row) for row in rows]}, indent=1) + "\n",
        encoding="utf-8",
    )
    print(f"wrote {MEASURED.relative_to(ROOT)}; make docs puts it into the page", file=sys.stderr)


def _row(isq: str | None) -> Row:
    os.environ[WEIGHTS] = "packed"
    before = mx.get_active_memory()
    with _runner(isq) as runner:
        size, speed = mx.get_active_memory() - before, _speed(runner)
    os.environ[WEIGHTS] = "dense"
    with _runner(isq) as runner:
        perplexity = _perplexity(runner)
    row = Row(
        isq=isq,
        megabytes=round(size / 1e6, 1),
        decode_tokens_per_second=round(speed, 1),
        perplexity=round(perplexity, 2),
    )
    print(row, file=sys.stderr)
    return row


def _runner(isq: str | None) -> Runner:
    return Runner(which=demo_model(), in_situ_quant=isq, prefix_cache_n=0)


def _speed(runner: Runner) -> float:
    """Tokens a second of one row, without its prompt."""
    request = CompletionRequest(
        model="default", prompt="Once", max_tokens=TOKENS, temperature=0, ignore_eos=True
    )
    seconds = []
    for _ in range(ROUNDS + 1):
        began = time.perf_counter()
        runner.send_completion_request(request)
        seconds.append(time.perf_counter() - began)
    return TOKENS / median(seconds[1:])


def _perplexity(runner: Runner) -> float:
    pages = sorted((ROOT / "docs" / "adr").glob("00*.md"))[:12]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    tokens = runner.tokenize_text(text, add_special_tokens=False)
    losses = [_losses(runner, tokens[at * WINDOW : (at + 1) * WINDOW]) for at in range(WINDOWS)]
    return float(np.exp(np.concatenate(losses).mean()))


def _losses(runner: Runner, tokens: list[int]) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """How unlikely each token but the first was, in natural logarithms."""
    logits = runner.logits(tokens)[:-1].astype(np.float64)
    logits -= logits.max(-1, keepdims=True)
    chosen = np.take_along_axis(logits, np.array(tokens[1:])[:, None], axis=-1)[:, 0]
    losses: np.ndarray[tuple[int], np.dtype[np.float64]] = np.log(np.exp(logits).sum(-1)) - chosen
    return losses


if __name__ == "__main__":
    main()
