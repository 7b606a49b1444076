"""The model that the command line names."""

import argparse
from pathlib import Path
from typing import Any

import mistralrs_mlx
from mistralrs_mlx import Runner, Which, auto_which

__all__ = ["given", "runner_of", "which_of"]

DEMO = "demo"


def runner_of(options: argparse.Namespace, **defaults: Any) -> Runner:
    """Load it. The `defaults` hold where the options say nothing."""
    which = which_of(options)
    settings = defaults | given(
        chat_template=options.chat_template,
        jinja_explicit=options.jinja_explicit,
        in_situ_quant=options.isq,
        max_seqs=options.max_seqs,
        seed=options.seed,
        token_source=options.token_source,
    )
    return Runner(which=which, **settings)


def which_of(options: argparse.Namespace) -> Which:
    """What to load."""
    return _gguf(options) if _is_gguf(options) else _plain(options)


def _is_gguf(options: argparse.Namespace) -> bool:
    return options.quantized_file is not None or options.model_id in (None, DEMO)


def _plain(options: argparse.Namespace) -> Which:
    if options.tok_model_id is not None:
        raise ValueError("--tok-model-id goes with a GGUF file: name one with --gguf")
    settings = given(
        arch=options.arch,
        tokenizer_json=options.tokenizer,
        topology=options.topology,
        dtype=options.dtype,
        hf_cache_path=options.hf_cache,
    )
    if options.arch is None:
        where = given(token_source=options.token_source)
        return auto_which(options.model_id, **where, **settings)
    try:
        return Which.Plain(model_id=options.model_id, **settings)
    except ValueError as error:  # it may be one of those that also see and hear
        try:
            return Which.MultimodalPlain(model_id=options.model_id, **settings)
        except ValueError:
            raise error from None


def _gguf(options: argparse.Namespace) -> Which:
    if options.arch is not None:
        raise ValueError("--arch does not go with a GGUF file, which names its architecture")
    folder, name = _location(options)
    settings = given(
        tok_model_id=options.tok_model_id,
        tokenizer_json=options.tokenizer,
        topology=options.topology,
        dtype=options.dtype,
        hf_cache_path=options.hf_cache,
    )
    return Which.GGUF(quantized_model_id=folder, quantized_filename=name, **settings)


def _location(options: argparse.Namespace) -> tuple[str, str | list[str]]:
    """The folder or hub id of a GGUF file, and its name there."""
    if options.quantized_file is None:
        demo = mistralrs_mlx.demo_model()
        return demo.quantized_model_id, demo.quantized_filename
    if options.model_id is not None:
        return options.model_id, options.quantized_file
    path = Path(options.quantized_file).expanduser()
    return str(path.parent), path.name


def given(**settings: Any) -> dict[str, Any]:
    """The settings that were made; the others keep the API's own defaults."""
    return {name: value for name, value in settings.items() if value is not None}
