"""Race mlx_lm.server over HTTP on the same weights: `python benchmarks/serve.py [--rounds 5]`.

The demo model's weights are written as float32 into a folder that both servers load. In every round
so many clients at once have each a text continued, by one server after the other; what counts is
the median of the ratios within a round, since a machine's speed changes from minute to minute. No
two texts begin alike, so that nothing comes from a cache of prompts.
"""

import argparse
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import mlx.core as mx
from compare import SLOWING, STORY
from mlx.utils import tree_flatten

from mistralrs_mlx import Which, demo_model
from mistralrs_mlx.cpu.linear import unpacked
from mistralrs_mlx.loaders.load import load
from mistralrs_mlx.loaders.sources import gguf_checkpoint

CLIENTS = (1, 4, 8, 16)
ANSWER = 24  # tokens
PATIENCE = 600.0  # seconds for a server to start, and for an answer
ROUTED = """
from mistralrs_mlx.cpu.blas import bind_openblas
bind_openblas()
from mlx_lm.server import main
main()
"""
THEIRS = ("--model", "{model}", "--port", "{port}", "--log-level", "ERROR")
ENGINES = {
    "ours": ("-m", "mistralrs_mlx", "serve", "-m", "{model}", "-p", "{port}"),
    "mlx_lm.server": ("-m", "mlx_lm", "server", *THEIRS),
    "mlx_lm.server, our BLAS": ("-c", ROUTED, *THEIRS),
}


@dataclass(frozen=True, kw_only=True)
class Answered:
    """One answer: seconds until its first token and until its last, and how many tokens."""

    first: float
    seconds: float
    tokens: int


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What so many clients at once found: tokens per second of all, and the wait of each."""

    rate: float
    first: float


def export(model: Path, folder: Path) -> None:
    """Write a GGUF file's weights as float32, in the form that the hub has."""
    which = Which.GGUF(quantized_model_id=str(model.parent), quantized_filename=model.name)
    checkpoint = gguf_checkpoint(which, token_source="none", told=lambda *_: None)
    weights: dict[str, mx.array] = {}
    for path, layer in load(checkpoint).model.named_modules():
        if "scales" in layer:
            weights[f"{path}.weight"] = unpacked(layer)
        elif not layer.children():
            weights |= {f"{path}.{name}": x for name, x in tree_flatten(layer.parameters())}
    weights = {name: x.astype(mx.float32) for name, x in weights.items()}
    mx.save_safetensors(str(folder / "model.safetensors"), weights, {"format": "mlx"})
    text = checkpoint.text
    settings = text.tokenizer_config | {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "chat_template": text.chat_template,
    }
    (folder / "tokenizer.json").write_text(text.tokenizer_json or "", encoding="utf-8")
    for name, content in (
        ("config.json", checkpoint.config | {"torch_dtype": "float32"}),
        ("tokenizer_config.json", settings),
        ("generation_config.json", text.generation_config),
    ):
        (folder / name).write_text(json.dumps(content), encoding="utf-8")


@contextmanager
def serving(name: str, folder: Path) -> Iterator[str]:
    """The address of an engine's server in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    places = {"model": str(folder), "port": str(port)}
    environment = {k: v for k, v in os.environ.items() if k not in SLOWING}
    process = subprocess.Popen(
        [sys.executable, *(part.format(**places) for part in ENGINES[name])],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment | {"HF_HUB_OFFLINE": "1"},
    )
    url = f"http://127.0.0.1:{port}/v1"
    try:
        if not _answers(url, process):
            raise SystemExit(f"{name} does not answer")
        yield url
    finally:
        process.kill()
        process.wait()


def _answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    """Whether the server comes to life."""
    end = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < end:
        try:
            return httpx.get(f"{url}/models").status_code == 200
        except httpx.TransportError:
            time.sleep(0.2)
    return False


def asked(client: httpx.Client, model: str, text: str, together: threading.Barrier) -> Answered:
    """Have a text continued, all clients at once, and see when its tokens come."""
    body = _body(model, text) | {"stream": True, "stream_options": {"include_usage": True}}
    together.wait()
    began, first, tokens = time.perf_counter(), 0.0, 0
    with client.stream("POST", "completions", json=body) as answer:
        answer.raise_for_status()
        for line in answer.iter_lines():
            if not line.startswith("data: {"):
                continue
            first = first or time.perf_counter() - began
            usage = json.loads(line[6:]).get("usage")
            tokens = usage["completion_tokens"] if usage else tokens
    return Answered(first=first, seconds=time.perf_counter() - began, tokens=tokens)


def said(url: str, model: str) -> str:
    """A whole answer, by which one sees that the weights are the same."""
    answer = httpx.post(f"{url}/completions", json=_body(model, STORY), timeout=PATIENCE)
    return str(answer.raise_for_status().json()["choices"][0]["text"]).strip()


def _body(model: str, text: str) -> dict[str, Any]:
    return {"model": model, "prompt": text, "max_tokens": ANSWER, "temperature": 0}


def measured(url: str, model: str, texts: list[str]) -> Measured:
    """What as many clients as there are texts find."""
    together = threading.Barrier(len(texts))
    with (
        httpx.Client(base_url=url, timeout=PATIENCE, limits=httpx.Limits()) as client,
        ThreadPoolExecutor(len(texts)) as threads,
    ):
        answers = list(threads.map(lambda text: asked(client, model, text, together), texts))
    seconds = max(each.seconds for each in answers)
    rate = sum(each.tokens for each in answers) / seconds
    return Measured(rate=rate, first=median(each.first for each in answers))


def race(
    folder: Path, rounds: int, clients: list[int], names: list[str]
) -> dict[int, dict[str, list[Measured]]]:
    """What every server did for every number of clients, round by round."""
    found: dict[int, dict[str, list[Measured]]] = {n: {name: [] for name in names} for n in clients}
    with ExitStack() as stack:
        urls = {name: stack.enter_context(serving(name, folder)) for name in names}
        answers = {said(url, str(folder)) for url in urls.values()}  # what is done once is done now
        if len(answers) > 1:
            raise SystemExit(f"the servers do not say the same: {answers}")
        for number, count in ((r, n) for r in range(1, rounds + 1) for n in clients):
            for name, url in urls.items():
                texts = [f"{number}.{count}.{each}: {STORY * 2}" for each in range(count)]
                found[count][name].append(measured(url, str(folder), texts))
                print(f"round {number}: {name}: {count}: {found[count][name][-1]}", file=sys.stderr)
    return found


def table(found: dict[int, dict[str, list[Measured]]]) -> str:
    """Markdown: what each server did, and how ours compares within a round."""
    lines = [
        "| clients | server | tokens/s | first token, s | ours faster | ours sooner |",
        "|--:|---|--:|--:|--:|--:|",
    ]
    for count, servers in found.items():
        for name, rounds in servers.items():
            rate, first = (median(getattr(r, what) for r in rounds) for what in ("rate", "first"))
            pairs = list(zip(servers["ours"], rounds, strict=True))
            faster = _ratio([ours.rate / theirs.rate for ours, theirs in pairs])
            sooner = _ratio([theirs.first / ours.first for ours, theirs in pairs])
            ratios = " | " if name == "ours" else f"{faster} | {sooner}"
            lines.append(f"| {count} | {name} | {rate:.1f} | {first:.2f} | {ratios} |")
    return "\n".join(lines)


def _ratio(ratios: list[float]) -> str:
    return f"{median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--clients", type=int, action="append", metavar="N")
    options.add_argument("--skip", action="append", default=[], choices=list(ENGINES)[1:])
    options.add_argument("--json", type=Path, metavar="FILE", help="keep all that was measured")
    given = options.parse_args()
    demo = demo_model()
    model = Path(demo.quantized_model_id) / str(demo.quantized_filename)
    names = [name for name in ENGINES if name not in given.skip]
    with tempfile.TemporaryDirectory() as folder:
        export(model, Path(folder))
        found = race(Path(folder), given.rounds, given.clients or list(CLIENTS), names)
    if given.json:
        given.json.write_text(json.dumps(_kept(found), indent=1))
    print(table(found))


def _kept(found: dict[int, dict[str, list[Measured]]]) -> dict[str, Any]:
    rounds = {
        str(count): {name: [asdict(each) for each in rounds] for name, rounds in servers.items()}
        for count, servers in found.items()
    }
    machine = {"system": platform.platform(), "python": platform.python_version()}
    return {"machine": machine, "clients": rounds}


if __name__ == "__main__":
    main()
