"""Race other engines on the same weights: `python benchmarks/compare.py [--rounds 5]`.

Each engine lives in a process of its own, and in every round all of them answer the same questions
one after the other; what counts is the median of the ratios within a round, since a machine's
speed changes from minute to minute. Engines that are not installed are left out; one that lives in
another environment is named with --python, as in --python mistral_rs=/path/to/python.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from mistralrs_mlx import demo_model

PEERS = Path(__file__).parent / "peers"
SLOWING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # force kernels made for older processors
STORY = "The old lighthouse stood at the edge of the sea, and every evening its keeper climbed up. "
SHORT, PROMPT, LONG = STORY[:31], STORY * 2, STORY * 15  # about 8, 40 and 300 tokens
ROWS, ANSWER, BATCHED = 8, 24, 12


@dataclass(frozen=True)
class Engine:
    """A program to race, and what its environment says."""

    script: str
    environment: tuple[tuple[str, str], ...] = ()


BARE = (("MISTRALRS_MLX_CPU_WEIGHTS", "packed"), ("MISTRALRS_MLX_BLAS", "off"))
CORES = (("MISTRALRS_MLX_CPU_THREADS", str(os.cpu_count() or 1)),)
ENGINES = {
    "ours": Engine("ours"),
    "ours, all cores": Engine("ours", CORES),
    "ours, packed, no BLAS": Engine("ours", BARE),
    "mlx-lm": Engine("mlx_lm_packed"),
    "mlx-lm, dense, our BLAS": Engine("mlx_lm_dense"),
    "mistral.rs": Engine("mistral_rs"),
    "llama.cpp": Engine("llama_cpp_python"),
}
# what is compared, who with whom, and what we want at least
FIGURES = [
    ("decode", "ours", "mlx-lm", 4.0),
    ("decode", "ours", "mistral.rs", 1.4),
    ("decode", "ours, all cores", "mlx-lm", None),
    ("decode", "ours, all cores", "mistral.rs", None),
    ("decode", "ours", "llama.cpp", None),
    ("decode", "ours, all cores", "llama.cpp", None),
    ("prefill", "ours", "mlx-lm", 25.0),
    ("prefill", "ours", "mistral.rs", 8.0),
    ("prefill", "ours", "llama.cpp", 0.9),
    ("prefill", "ours, all cores", "llama.cpp", None),
    (f"decode of {ROWS} rows", "ours", "mlx-lm", 12.0),
    (f"decode of {ROWS} rows", "ours", "mlx-lm, dense, our BLAS", 1.3),
    ("decode", "ours, packed, no BLAS", "mlx-lm", 1.0),
    ("prefill", "ours, packed, no BLAS", "mlx-lm", 1.0),
]


class Running:
    """An engine's process."""

    def __init__(self, engine: Engine, python: str, model: str) -> None:
        environment = {k: v for k, v in os.environ.items() if k not in SLOWING}
        self._process = subprocess.Popen(
            [python, str(PEERS / f"{engine.script}.py"), model],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**environment, **dict(engine.environment)},
        )

    def answer(self) -> Any:
        """The next thing it says; None when it has died."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return json.loads(line) if line else None

    def ask(self, **question: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return self.answer()

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


def measured(engine: Running) -> dict[str, float | None]:
    """Tokens per second of everything that is compared, once."""
    short = engine.ask(text=PROMPT, tokens=ANSWER)
    long = engine.ask(text=LONG, tokens=1)
    texts = [f"{number}. {SHORT}" for number in range(ROWS)]  # short: their reading is taken off
    first, all_of_it = (engine.ask(texts=texts, tokens=n) for n in (1, 1 + BATCHED))
    steps = None if first is None else all_of_it - first
    return {
        "decode": (short["tokens"] - 1) / short["seconds"],
        "prefill": long["prompt_tokens"] / long["prompt_seconds"],
        f"decode of {ROWS} rows": ROWS * BATCHED / steps if steps and steps > 0 else None,
    }


def race(
    model: str, rounds: int, pythons: dict[str, str], names: list[str]
) -> dict[str, list[dict[str, Any]]]:
    """Rates of every engine that runs, round by round."""
    started = {
        name: Running(engine, pythons.get(engine.script, sys.executable), model)
        for name, engine in ENGINES.items()
        if name in names
    }
    ready = {name: each for name, each in started.items() if each.answer() == "ready"}
    try:  # what is done once is done now; whoever dies of it is left out
        running = {
            name: each
            for name, each in ready.items()
            if each.ask(text=PROMPT, tokens=2) is not None
        }
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in running}
        for number in range(rounds):
            for name, each in running.items():
                found[name].append(measured(each))
                print(f"round {number + 1}: {name}: {_spoken(found[name][-1])}", file=sys.stderr)
    finally:
        for each in started.values():
            each.stop()
    return found


def table(found: dict[str, list[dict[str, Any]]]) -> str:
    """Markdown: the rates, then the ratios that we hold ourselves to."""
    lines = ["| engine | decode | prefill | decode of 8 rows |", "|---|--:|--:|--:|"]
    for name, rounds in found.items():
        lines.append(f"| {name} | {' | '.join(_median(rounds, what) for what in rounds[0])} |")
    lines += ["", "| figure | of | against | ratio | range | wanted |", "|---|---|---|--:|--:|--:|"]
    for what, us, them, wanted in FIGURES:
        pairs = zip(found.get(us, []), found.get(them, []), strict=False)
        ratios = sorted(a[what] / b[what] for a, b in pairs if a[what] and b[what])
        if ratios:
            numbers = f"{median(ratios):.2f} | {ratios[0]:.2f} to {ratios[-1]:.2f}"
            lines.append(f"| {what} | {us} | {them} | {numbers} | {wanted or ''} |")
    return "\n".join(lines)


def _median(rounds: list[dict[str, Any]], what: str) -> str:
    values = [each[what] for each in rounds if each[what] is not None]
    return f"{median(values):.1f}" if values else ""


def _spoken(rates: dict[str, float | None]) -> str:
    return ", ".join(f"{what} {rate:.1f}" for what, rate in rates.items() if rate is not None)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--model", help="a GGUF file; the demo model unless said")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--python", action="append", default=[], metavar="PEER=PATH")
    options.add_argument("--skip", action="append", default=[], choices=ENGINES)
    options.add_argument("--json", type=Path, metavar="FILE", help="keep all that was measured")
    given = options.parse_args()
    demo = demo_model()
    model = given.model or str(Path(demo.quantized_model_id) / str(demo.quantized_filename))
    names = [name for name in ENGINES if name not in given.skip]
    pythons = dict(each.split("=", 1) for each in given.python)
    found = race(model, given.rounds, pythons, names)
    if given.json:
        machine = {"system": platform.platform(), "python": platform.python_version()}
        given.json.write_text(json.dumps({"machine": machine, "rounds": found}, indent=1))
    print(table(found))


if __name__ == "__main__":
    main()
