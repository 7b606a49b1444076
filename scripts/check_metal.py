"""What only a Mac can tell: run everything on Metal, compare it, and print a report for an issue.

make check-metal                                     # on a Mac, five minutes
python -m scripts.check_metal --device cpu --quick   # tries this script where there is no Mac
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import mlx.core as mx

from mistralrs_mlx import ChatCompletionRequest, Runner, demo_model
from scripts.metal_kernels import kernels

__all__ = ["Check", "kernel_checks", "main", "report"]

ROOT = Path(__file__).parents[1]
NOT_HERE = 2
GOLDENS = ("tests/models/test_golden.py", "tests/embedding/test_golden.py")
QUESTION, ANSWER = "What is the capital of France?", "The capital of France is Paris."
STORY = "Tell me a story about a lighthouse."
LEFT = 2**20  # bytes that may stay when a model is gone


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    passed: bool
    found: str


Look = Callable[[], Iterator[Check]]


def main(argv: list[str] | None = None) -> int:
    """Look at everything; 0 if all is well, 1 if not, 2 where there is no Metal to look at."""
    options = _options(argv)
    if options.device == "gpu" and not mx.is_available(mx.gpu):
        print(
            "This is for Macs: MLX has no Metal here. `--device cpu` runs the same on the CPU.",
            file=sys.stderr,
        )
        return NOT_HERE
    device = mx.gpu if options.device == "gpu" else mx.cpu
    mx.set_default_device(device)
    checks = list(_all(mx.Device(device), quick=options.quick))
    text = report(checks)
    print(text)
    if options.out is not None:
        options.out.write_text(text, encoding="utf-8")
    return 0 if all(check.passed for check in checks) else 1


def report(checks: list[Check]) -> str:
    """What was found, in Markdown."""
    failed = sum(not check.passed for check in checks)
    rows = [
        f"| {'ok' if check.passed else '**FAILED**'} | {check.name} | {check.found} |"
        for check in checks
    ]
    verdict = f"{failed} of {len(checks)} failed" if failed else f"all {len(checks)} are well"
    return "\n".join(
        [f"## mistralrs-mlx on Metal: {verdict}", "", "| | | |", "|---|---|---|", *rows]
    )


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--device", choices=["gpu", "cpu"], default="gpu")
    parser.add_argument("--quick", action="store_true", help="leave out what takes minutes")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the report there, too")
    return parser.parse_args(argv)


def _all(device: mx.Device, *, quick: bool) -> Iterator[Check]:
    looks: list[tuple[str, Look]] = [
        ("machine", partial(_machine, device)),
        ("fused kernels", partial(kernel_checks, device)),
        ("memory", partial(_memory, device)),
        ("arenas", _arenas),
        ("an answer", _answer),
    ]
    if not quick:
        looks += [("compiled steps", _compiled), ("goldens", _goldens), ("speed", _speed)]
    for name, look in looks:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            yield from look()
        except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
            yield Check(name=name, passed=False, found=f"{type(error).__name__}: {error}")


def _machine(device: mx.Device) -> Iterator[Check]:
    info = mx.device_info()
    yield Check(
        name="versions",
        passed=True,
        found=f"mlx {version('mlx')}, Python {platform.python_version()}, {platform.platform()}",
    )
    yield Check(
        name="device",
        passed=mx.default_device() == device,
        found=f"{mx.default_device()}, {info.get('device_name', platform.machine())}",
    )


def kernel_checks(device: mx.Device) -> Iterator[Check]:
    """One line for each kind of kernel: its worst case, or all that fail."""
    mx.random.seed(0)
    found: dict[str, list[tuple[float, str, bool]]] = {}
    for name, error, allowed in kernels(device):
        line = f"{name}: {error:.1e}, allowed {allowed:.0e}"
        found.setdefault(name.split()[0], []).append((error / allowed, line, error <= allowed))
    for kind, cases in found.items():
        failed = [line for _, line, passed in cases if not passed]
        worst = max(cases)[1]
        told = "; ".join(failed) if failed else f"{len(cases)} cases, the worst is {worst}"
        yield Check(name=kind, passed=not failed, found=told)


def _memory(device: mx.Device) -> Iterator[Check]:
    """Memory comes back, limits hold while a model is there, what does not fit is refused."""
    before = mx.get_active_memory()
    with Runner(which=demo_model()):
        held = mx.get_active_memory() - before
        wired = _wired(device)
    left = mx.get_active_memory() - before
    yield Check(
        name="memory comes back", passed=left < LEFT, found=f"{held >> 20} MiB, then {left} bytes"
    )
    told = "a CPU has none" if wired is None else f"{wired >> 20} MiB while a model is loaded"
    yield Check(name="wired limit", passed=wired != 0, found=told)
    try:
        Runner(which=demo_model(), memory_goal="10MiB")
    except ValueError as error:
        yield Check(name="what does not fit is refused", passed=True, found=str(error))
    else:
        yield Check(name="what does not fit is refused", passed=False, found="it was loaded")


def _arenas() -> Iterator[Check]:
    """Once a step has been waited for, the next one writes into its arena and copies nothing."""
    arena = mx.zeros((1, 8, 2**15, 128))
    mx.eval(arena)
    arena[:, :, 5:6] = 1.0
    mx.async_eval(arena, arena[:, :, :9].sum())
    mx.synchronize()
    mx.reset_peak_memory()
    before = mx.get_active_memory()
    arena[:, :, 6:7] = 1.0
    mx.eval(arena)
    copied = mx.get_peak_memory() - before
    yield Check(
        name="a column is written in place",
        passed=copied < arena.nbytes // 2,
        found=f"{arena.nbytes >> 20} MiB, of which {copied >> 20} were copied",
    )


def _wired(device: mx.Device) -> int | None:
    """The limit that is set now; None where there is none to set."""
    if device.type != mx.gpu:
        return None
    limit = mx.set_wired_limit(0)
    mx.set_wired_limit(limit)
    return limit


def _answer() -> Iterator[Check]:
    with Runner(which=demo_model()) as runner:
        request = ChatCompletionRequest(
            model="default", messages=QUESTION, max_tokens=32, temperature=0
        )
        said = runner.send_chat_completion_request(request).choices[0].message.content
    yield Check(name="the demo model answers", passed=said == ANSWER, found=str(said))


def _compiled() -> Iterator[Check]:
    """Compiled steps say what plain ones do."""
    said = {way: _run(*_program("run", "-i", STORY), way=way).stdout for way in ("on", "off")}
    same = said["on"] == said["off"] != ""
    yield Check(name="compiled steps", passed=same, found="the same words" if same else str(said))


def _goldens() -> Iterator[Check]:
    """Tiny models of all families against transformers' logits, by the tests of the package."""
    options = ["-v", "-p", "no:cacheprovider"]
    done = _run(sys.executable, "-m", "pytest", *options, *GOLDENS, check=False)
    found = done.stdout.strip().splitlines()[-1] if done.returncode == 0 else done.stdout[-3000:]
    yield Check(name="goldens", passed=done.returncode == 0, found=found)


def _speed() -> Iterator[Check]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.json"
        _run(*_program("bench", "--rows", "1,8", "--json", str(path)))
        told = json.loads(path.read_text(encoding="utf-8"))
    alone, batch = told["single"], told["batches"][-1]
    yield Check(
        name="speed, demo model",
        passed=True,
        found=f"decode {alone['decode_tokens_per_second']:.0f} tokens/s, prefill "
        f"{alone['prefill_tokens_per_second']:.0f}, {batch['rows']} at once "
        f"{batch['decode_tokens_per_second']:.0f}",
    )


def _program(command: str, *arguments: str) -> list[str]:
    settings = ["--temperature", "0", "--max-tokens", "64"] if command == "run" else []
    return [sys.executable, "-m", "mistralrs_mlx", command, *settings, *arguments]


def _run(*command: str, way: str = "", check: bool = True) -> "subprocess.CompletedProcess[str]":
    """Run a program of this repository; `way` turns compiled steps on or off."""
    settings = {"MISTRALRS_MLX_COMPILE": way} if way else {}
    environment = os.environ | settings
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=check
    )


if __name__ == "__main__":
    sys.exit(main())
