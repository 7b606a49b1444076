"""What may be said on the command line; the names are mistral.rs's where it has one."""

import argparse
import os

from mistralrs_mlx import __version__

RUN = """With -i, or with text piped in, run gives one answer; otherwise it opens a chat.

  mistralrs-mlx run -i 'Why is the sky blue?'
  mistralrs-mlx run -m mlx-community/Qwen3-4B-4bit
  mistralrs-mlx run -m Qwen/Qwen3-4B --isq 4 --temperature 0.7
  mistralrs-mlx run --gguf ~/models/phi-3.5-mini.gguf"""

SERVE = """Routes are OpenAI's. Only this machine may ask, unless --host says otherwise.

  mistralrs-mlx serve
  mistralrs-mlx serve -m Qwen/Qwen3-4B -m Qwen/Qwen3-0.6B --isq 4
  mistralrs-mlx serve --config models.toml --host 0.0.0.0 --api-key SECRET"""
API_KEY = "MISTRALRS_MLX_API_KEY"


def parser() -> argparse.ArgumentParser:
    """The whole grammar of `mistralrs-mlx`."""
    top = argparse.ArgumentParser(
        prog="mistralrs-mlx", description="The Python API of mistral.rs, running on Apple's MLX."
    )
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run",
        help="answer a prompt, or chat",
        description=RUN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _model(run.add_argument_group("model"))
    _engine(run.add_argument_group("engine"))
    _request(run.add_argument_group("request"))
    serve = commands.add_parser(
        "serve",
        help="answer over HTTP",
        description=SERVE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _model(serve.add_argument_group("model"), several=True)
    _engine(serve.add_argument_group("engine"))
    _listening(serve.add_argument_group("listening"))
    bench = commands.add_parser("bench", help="measure a model on this machine")
    _model(bench.add_argument_group("model"))
    _engine(bench.add_argument_group("engine"))
    _measuring(bench.add_argument_group("measuring"))
    doctor = commands.add_parser("doctor", help="show versions, device, memory, what is missing")
    doctor.add_argument("--json", action="store_true", help="the same as JSON")
    return top


def _model(group: argparse._ArgumentGroup, *, several: bool = False) -> None:
    more = "; several may be named" if several else ""
    group.add_argument(
        "-m",
        "--model-id",
        metavar="MODEL",
        action="append" if several else "store",
        help=f"a folder or a hub id; 'demo', the default, is a small model at hand{more}",
    )
    group.add_argument(
        "-f",
        "--quantized-file",
        "--gguf",
        metavar="FILE",
        help="a GGUF file: a path, or with -m a name in that folder or hub repository",
    )
    group.add_argument(
        "-a",
        "--arch",
        help="architecture, where config.json does not tell",
    )
    group.add_argument(
        "--tok-model-id", metavar="MODEL", help="where a GGUF file's tokenizer and template are"
    )
    group.add_argument("-t", "--tokenizer", metavar="FILE", help="a tokenizer.json to use instead")
    group.add_argument("--dtype", choices=["auto", "bf16", "f16", "f32"])
    group.add_argument(
        "--isq", metavar="TYPE", help="quantize while loading: 2 3 4 5 6 8, AFQ4, Q4K, ..."
    )
    group.add_argument("--topology", metavar="FILE", help="YAML with a quantization for each layer")
    group.add_argument("--hf-cache", metavar="FOLDER", help="where hub downloads are kept")
    group.add_argument(
        "--token-source", metavar="SOURCE", help="cache, none, literal:TOKEN, env:NAME or path:FILE"
    )


def _engine(group: argparse._ArgumentGroup) -> None:
    group.add_argument("-c", "--chat-template", metavar="FILE", help="a template to use instead")
    group.add_argument("-j", "--jinja-explicit", metavar="FILE", help="a .jinja file, above all")
    group.add_argument("--max-seqs", type=int, metavar="N", help="how many answers at once")
    group.add_argument("--seed", type=int, metavar="N")


def _listening(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--config", metavar="FILE", help="models.toml, in place of -m")
    group.add_argument("--host", help="127.0.0.1, the default, is this machine alone")
    group.add_argument("-p", "--port", type=int, metavar="N", help="1234 by default")
    group.add_argument(
        "--api-key",
        metavar="KEY",
        default=os.environ.get(API_KEY) or None,
        help=f"what clients must show; by default that of ${API_KEY}, which no process list shows",
    )
    group.add_argument(
        "--cors-origin",
        action="append",
        metavar="ORIGIN",
        help="let pages of this origin ask, or of any with '*'; several may be named",
    )
    group.add_argument(
        "--media-urls", action="store_true", help="let requests have this machine fetch http URLs"
    )
    group.add_argument(
        "--max-requests", type=_count, metavar="N", help="answers that run or wait; 64 by default"
    )
    group.add_argument("--max-body", type=_count, metavar="BYTES", help="64 MiB by default")
    group.add_argument(
        "--answer-seconds", type=float, metavar="S", help="that one may take; 3600 by default"
    )
    group.add_argument(
        "--max-stored", type=_count, metavar="N", help="responses that are kept; 1000 by default"
    )
    group.add_argument(
        "--max-stored-bytes", type=_count, metavar="BYTES", help="256 MiB by default"
    )


def _measuring(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--prompt-tokens", type=_count, default=300, metavar="N")
    group.add_argument("--tokens", type=_count, default=64, metavar="N", help="to generate")
    group.add_argument("--rounds", type=_count, default=3, metavar="N", help="medians are told")
    group.add_argument(
        "--rows",
        type=lambda text: [_count(each) for each in text.split(",")],
        default=[1, 2, 4, 8, 16],
        metavar="N,N,...",
        help="how many answers at once",
    )
    group.add_argument("--json", metavar="FILE", help="write what was found")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return int(text)


def _request(group: argparse._ArgumentGroup) -> None:
    group.add_argument("-i", "--input", metavar="TEXT", help="the prompt of a single answer")
    group.add_argument("--temperature", type=float, metavar="T")
    group.add_argument("--top-p", type=float, metavar="P")
    group.add_argument("--top-k", type=int, metavar="K")
    group.add_argument("--max-tokens", type=int, metavar="N")
    group.add_argument(
        "--thinking",
        nargs="?",
        const=True,
        type=_boolean,
        metavar="true|false",
        help="let a model that can think do so, or not",
    )
    group.add_argument("--reasoning-effort", metavar="EFFORT", help="off, low, medium, high, xhigh")


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text == "true"
