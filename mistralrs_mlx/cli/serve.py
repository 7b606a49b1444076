"""`mistralrs-mlx serve`: models behind OpenAI's HTTP routes."""

import argparse
import importlib.util
import socket
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mistralrs_mlx import Runner, Which

from .model import given, runner_of, which_of

if TYPE_CHECKING:
    from mistralrs_mlx.server import Config, Settings

__all__ = ["serve"]

NEEDED = ("msgspec", "starlette", "uvicorn")
OF_ONE_MODEL = ("quantized_file", "arch", "tok_model_id", "tokenizer", "dtype", "isq", "topology")


def serve(options: argparse.Namespace) -> None:
    """Load the models, say where they answer, and answer until Ctrl-C."""
    if not all(map(importlib.util.find_spec, NEEDED)):
        raise ValueError("serving needs more packages: pip install 'mistralrs-mlx[server]'")
    from mistralrs_mlx.server import read_config
    from mistralrs_mlx.server import serve as listen

    config = None if options.config is None else read_config(options.config)
    settings = _settings(options, config)
    _try_address(settings.host, settings.port)
    with _named(options) if config is None else _listed(options, config) as runner:
        print(f"http://{settings.host}:{settings.port}/v1", file=sys.stderr)
        for model in runner.list_models():
            print(f"  {model}", file=sys.stderr)
        listen(runner, settings)


def _settings(options: argparse.Namespace, config: "Config | None") -> "Settings":
    from mistralrs_mlx.server import Settings

    said = {} if config is None else given(host=config.server.host, port=config.server.port)
    said |= given(
        host=options.host,
        port=options.port,
        api_key=options.api_key,
        max_requests=options.max_requests,
        max_body=options.max_body,
        answer_seconds=options.answer_seconds,
        max_stored=options.max_stored,
        max_stored_bytes=options.max_stored_bytes,
    )
    return Settings(
        cors_origins=tuple(options.cors_origin or ()), media_urls=options.media_urls, **said
    )


def _try_address(host: str, port: int) -> None:
    """Find out that nobody can listen there before models are loaded for minutes."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ValueError(
            f"cannot listen on {host}:{port}: {reason}. Choose another --port or --host"
        ) from error


def _named(options: argparse.Namespace) -> Runner:
    """The models of the command line; what is said of a model holds for all of them."""
    first, *others = (_of(options, name) for name in options.model_id or [None])
    if others and options.quantized_file is not None:
        raise ValueError("--quantized-file goes with one model; name several in a --config file")
    runner = runner_of(first)
    for each in others:
        _add(runner, which_of(each), _ways(options))
    return runner


def _listed(options: argparse.Namespace, config: "Config") -> Runner:
    """The models of the file; the options of the engine go before what it says."""
    from mistralrs_mlx.server import which_of as which_of_entry

    _refuse_both(options)
    said, shared = config.runtime, config.shared
    ways = [
        given(
            in_situ_quant=model.quantization.isq,
            chat_template=options.chat_template or model.chat_template or said.chat_template,
            jinja_explicit=options.jinja_explicit or model.jinja_explicit or said.jinja_explicit,
        )
        for model in config.models
    ]
    settings = given(
        max_seqs=options.max_seqs or said.max_seqs,
        prefix_cache_n=said.prefix_cache_n,
        no_kv_cache=said.no_kv_cache,
        seed=shared.seed if options.seed is None else options.seed,
        token_source=options.token_source or shared.token_source,
    )
    source = settings.get("token_source", "cache")
    whiches = [which_of_entry(model, token_source=source) for model in config.models]
    runner = Runner(which=whiches[0], **settings, **ways[0])
    for which, way in zip(whiches[1:], ways[1:], strict=True):
        _add(runner, which, way)
    if config.default_model_id is not None:
        runner.set_default_model_id(config.default_model_id)
    return runner


def _of(options: argparse.Namespace, model: str | None) -> argparse.Namespace:
    return argparse.Namespace(**{**vars(options), "model_id": model})


def _ways(options: argparse.Namespace) -> dict[str, Any]:
    return given(
        in_situ_quant=options.isq,
        chat_template=options.chat_template,
        jinja_explicit=options.jinja_explicit,
    )


def _add(runner: Runner, which: Which, ways: dict[str, Any]) -> None:
    """Load a further model. Those before it are freed if that fails, as the process ends then."""
    try:
        runner.add_model(which, **ways)
    except BaseException:
        runner.close()
        raise


def _refuse_both(options: argparse.Namespace) -> None:
    names: Sequence[str] = [n for n in ("model_id", *OF_ONE_MODEL) if getattr(options, n)]
    if names:
        flags = ", ".join("--" + name.replace("_", "-") for name in names)
        raise ValueError(f"{flags}: with --config, models are described in that file")
