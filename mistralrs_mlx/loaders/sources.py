"""From what a user selects to a checkpoint: local folders, the hub, GGUF files."""

from pathlib import Path

from mistralrs_mlx.api.which import (
    WhichEmbedding,
    WhichGGUF,
    WhichMultimodalPlain,
    WhichPlain,
)
from mistralrs_mlx.text.assets import TextAssets

from .checkpoint import Checkpoint
from .gguf import load as load_gguf
from .gguf.checkpoint import split_names
from .hub import Told, resolve, resolve_files
from .safetensors import load as load_safetensors
from .sentence_transformers import SentenceCheckpoint
from .sentence_transformers import load as load_sentence_transformers
from .texts import folder_texts

__all__ = ["embedding_checkpoint", "gguf_checkpoint", "plain_checkpoint"]

TEXTS = ("*.json", "*.jinja", "*.model")  # what a model's repository says about text


def plain_checkpoint(
    which: WhichPlain | WhichMultimodalPlain, *, token_source: str, told: Told | None
) -> Checkpoint:
    """Open a folder of safetensors, brought from the hub if there is none of this name."""
    folder = resolve(
        which.model_id, token_source=token_source, hf_cache_path=which.hf_cache_path, told=told
    )
    return load_safetensors(folder, source=which.model_id, tokenizer_json=which.tokenizer_json)


def embedding_checkpoint(
    which: WhichEmbedding, *, token_source: str, told: Told | None
) -> SentenceCheckpoint:
    """Open a folder that makes vectors, brought from the hub if there is none of this name."""
    folder = resolve(
        which.model_id, token_source=token_source, hf_cache_path=which.hf_cache_path, told=told
    )
    return load_sentence_transformers(
        folder, source=which.model_id, tokenizer_json=which.tokenizer_json
    )


def gguf_checkpoint(which: WhichGGUF, *, token_source: str, told: Told | None) -> Checkpoint:
    """Open GGUF files of a folder or of the hub, with the texts that go with them."""
    given = which.quantized_filename
    names = split_names(given) if isinstance(given, str) else given
    files = resolve_files(
        which.quantized_model_id,
        names,
        token_source=token_source,
        hf_cache_path=which.hf_cache_path,
        told=told,
    )
    return load_gguf(
        files,
        source=str(Path(which.quantized_model_id) / names[0]),
        texts=_texts(which, token_source),
        tokenizer_json=which.tokenizer_json,
    )


def _texts(which: WhichGGUF, token_source: str) -> TextAssets | None:
    """The texts of the model that `tok_model_id` names, which outrank the file's own."""
    if which.tok_model_id is None:
        return None
    folder = resolve(
        which.tok_model_id,
        token_source=token_source,
        hf_cache_path=which.hf_cache_path,
        patterns=TEXTS,
    )
    return folder_texts(folder, which.tok_model_id)
