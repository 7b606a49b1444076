"""`mistralrs-mlx bench`: what a model does on this machine, as a table and as JSON."""

import argparse
import json
import platform
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import mlx.core as mx
from rich.console import Console
from rich.table import Table

from mistralrs_mlx import Runner, __version__

from .measure import Batch, Single, batch, single
from .model import runner_of

__all__ = ["bench"]


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that one run has found."""

    version: str
    mlx: str
    system: str
    device: str
    model: str
    load_seconds: float
    load_peak_bytes: int  # of MLX, while loading
    loaded_bytes: int
    peak_bytes: int  # of MLX, while answering
    single: Single
    batches: list[Batch]
    step: dict[str, int]  # what a decode step of one row costs on any machine


def bench(options: argparse.Namespace) -> None:
    """Load the model that the options name, measure it, and print what was found."""
    if options.json is not None:
        Path(options.json).open("a").close()  # a wrong path should not show after minutes
    report = _measured(options)
    _print(report)
    if options.json is not None:
        Path(options.json).write_text(json.dumps(asdict(report), indent=1) + "\n", encoding="utf-8")


def _measured(options: argparse.Namespace) -> Report:
    mx.reset_peak_memory()
    began = time.perf_counter()
    with runner_of(options, prefix_cache_n=0, max_seqs=max(options.rows)) as runner:
        loaded = time.perf_counter() - began, mx.get_peak_memory(), mx.get_active_memory()
        mx.reset_peak_memory()
        alone = single(
            runner,
            prompt_tokens=options.prompt_tokens,
            tokens=options.tokens,
            rounds=options.rounds,
        )
        batches = [_batch(runner, rows, options) for rows in options.rows]
        return Report(
            version=__version__,
            mlx=version("mlx"),
            system=platform.platform(),
            device=str(mx.default_device()),
            model=runner.get_default_model_id() or "",
            load_seconds=loaded[0],
            load_peak_bytes=loaded[1],
            loaded_bytes=loaded[2],
            peak_bytes=mx.get_peak_memory(),
            single=alone,
            batches=batches,
            step=runner.step_counts(),
        )


def _batch(runner: Runner, rows: int, options: argparse.Namespace) -> Batch:
    return batch(runner, rows, tokens=min(options.tokens, 32), rounds=options.rounds)


def _print(report: Report) -> None:
    alone = report.single
    lines = [
        ("model", report.model),
        ("device", f"{report.device}, {report.system}"),
        ("load", f"{report.load_seconds:.1f} s, peak {_size(report.load_peak_bytes)}"),
        ("weights", _size(report.loaded_bytes)),
        ("peak while answering", _size(report.peak_bytes)),
        (f"prefill, {alone.prompt_tokens} tokens", _rate(alone.prefill_tokens_per_second)),
        ("first token after", f"{1000 * alone.first_token_seconds:.0f} ms"),
        (f"decode, {alone.tokens} tokens", _rate(alone.decode_tokens_per_second)),
    ]
    lines += [(f"{b.rows} at once", _rate(b.decode_tokens_per_second)) for b in report.batches]
    lines += [(f"{name} a step", str(count)) for name, count in report.step.items()]
    table = Table("what", "measured", title=f"mistralrs-mlx {report.version}, MLX {report.mlx}")
    for what, found in lines:
        table.add_row(what, found)
    Console().print(table)


def _rate(rate: float) -> str:
    return f"{rate:.1f} tokens/s"


def _size(count: int) -> str:
    return f"{count / 2**20:.0f} MiB"
