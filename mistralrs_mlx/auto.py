"""Which selector a checkpoint wants: the command line's and the server's `auto`."""

from pathlib import Path
from typing import Any

from mistralrs_mlx.api.which import Which
from mistralrs_mlx.errors import UnsupportedArchitecture
from mistralrs_mlx.loaders.hub import resolve
from mistralrs_mlx.loaders.sentence_transformers import MODULES
from mistralrs_mlx.loaders.texts import read_json
from mistralrs_mlx.models.registry import EMBEDDING, MULTIMODAL, of_config

__all__ = ["auto_which"]

CONFIG = "config.json"
_SELECTORS = {EMBEDDING: Which.Embedding, MULTIMODAL: Which.MultimodalPlain}


def auto_which(
    model_id: str,
    *,
    token_source: str = "cache",
    hf_cache_path: str | None = None,
    **settings: Any,
) -> Which:
    """`Which.Plain`, `Which.MultimodalPlain` or `Which.Embedding`, as the checkpoint's files say.

    `model_id` is a folder or an id of the hub, of which only these files are brought;
    `token_source` is that of `Runner`, and `settings` are the selector's. What is not known here is
    a `Which.Plain`: loading it says what is wrong. Raises `ValueError` if there is no such model.
    """
    folder = resolve(
        model_id,
        token_source=token_source,
        hf_cache_path=hf_cache_path,
        patterns=(CONFIG, MODULES),
    )
    selector: Any = _SELECTORS.get(_kind(folder), Which.Plain)
    which: Which = selector(model_id=model_id, hf_cache_path=hf_cache_path, **settings)
    return which


def _kind(folder: Path) -> str:
    """What the model is for, as its architecture says, or sentence-transformers' list of parts."""
    if (folder / MODULES).is_file():
        return EMBEDDING
    if not (folder / CONFIG).is_file():
        return "text"
    try:
        return of_config(read_json(folder / CONFIG)).kind
    except UnsupportedArchitecture:
        return "text"
