"""models.toml: several models and how to serve them, in mistral.rs's form.

default_model_id = "Qwen/Qwen3-4B"

[runtime]
max_seqs = 16

[server]
port = 1234

[[models]]
model_id = "Qwen/Qwen3-4B"
[models.quantization]
isq = "4"

[[models]]
model_id = "google/embeddinggemma-300m"
kind = "embedding"
"""

import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from mistralrs_mlx import Which, auto_which

__all__ = ["Config", "ModelEntry", "read_config", "which_of"]

Positive = Annotated[int, Meta(ge=1)]


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of all tables. What is not in them is refused by its name."""


class Format(Table, frozen=True, kw_only=True):
    """[models.format]: how the files are laid out."""

    format: Literal["plain", "gguf"] | None = None
    quantized_file: str | None = None
    tok_model_id: str | None = None


class Quantization(Table, frozen=True, kw_only=True):
    """[models.quantization]: what to do to the weights while they are loaded."""

    isq: str | int | None = None


class ModelEntry(Table, frozen=True, kw_only=True):
    """[[models]]: one model."""

    model_id: str
    kind: Literal["auto", "text", "multimodal", "embedding"] = "auto"
    tokenizer: str | None = None
    arch: str | None = None
    dtype: str = "auto"
    topology: str | None = None
    hf_cache: str | None = None
    chat_template: str | None = None
    jinja_explicit: str | None = None
    format: Format = Format()
    quantization: Quantization = Quantization()


class Global(Table, frozen=True, kw_only=True):
    """[global]."""

    seed: int | None = None
    token_source: str | None = None


class Runtime(Table, frozen=True, kw_only=True):
    """[runtime]: what holds for all models."""

    max_seqs: Positive | None = None
    prefix_cache_n: int | None = None
    no_kv_cache: bool | None = None
    chat_template: str | None = None
    jinja_explicit: str | None = None


class Listening(Table, frozen=True, kw_only=True):
    """[server]. Options of the command line go before it."""

    host: str | None = None
    port: int | None = None


class Config(Table, frozen=True, kw_only=True):
    """The whole file."""

    models: Annotated[list[ModelEntry], Meta(min_length=1)]
    command: Literal["serve"] = "serve"
    default_model_id: str | None = None
    shared: Global = msgspec.field(name="global", default=Global())
    runtime: Runtime = Runtime()
    server: Listening = Listening()


def read_config(path: str) -> Config:
    """Read the file. Raises `ValueError` for what is wrong in it, `OSError` where it is not."""
    try:
        found = tomllib.loads(Path(path).expanduser().read_text(encoding="utf-8"))
        config = msgspec.convert(found, Config)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ValueError(f"{path}: {error}") from error
    known = [model.model_id for model in config.models]
    if config.default_model_id not in (None, *known):
        raise ValueError(
            f"{path}: default_model_id is {config.default_model_id!r}; it must be one of "
            + ", ".join(map(repr, known))
        )
    return config


def which_of(model: ModelEntry, *, token_source: str = "cache") -> Which:
    """What to load for an entry; the token is for a repository that must say itself what it is."""
    form = model.format
    if form.format == "gguf" or form.quantized_file is not None:
        return _gguf(model)
    if form.tok_model_id is not None:
        raise ValueError(f"{model.model_id}: tok_model_id goes with a GGUF file")
    kinds: dict[str, Callable[..., Which]] = {
        "text": Which.Plain,
        "embedding": Which.Embedding,
        "multimodal": Which.MultimodalPlain,
        "auto": partial(auto_which, token_source=token_source),
    }
    named = "text" if model.kind == "auto" and model.arch is not None else model.kind
    return kinds[named](
        model_id=model.model_id,
        arch=model.arch,
        tokenizer_json=model.tokenizer,
        topology=model.topology,
        dtype=model.dtype,
        hf_cache_path=model.hf_cache,
    )


def _gguf(model: ModelEntry) -> Which:
    if model.format.quantized_file is None:
        raise ValueError(f"{model.model_id}: name the GGUF file: format.quantized_file")
    if model.arch is not None or model.kind in ("embedding", "multimodal"):
        raise ValueError(f"{model.model_id}: a GGUF file says itself what it is")
    return Which.GGUF(
        quantized_model_id=model.model_id,
        quantized_filename=model.format.quantized_file,
        tok_model_id=model.format.tok_model_id,
        tokenizer_json=model.tokenizer,
        topology=model.topology,
        dtype=model.dtype,
        hf_cache_path=model.hf_cache,
    )
