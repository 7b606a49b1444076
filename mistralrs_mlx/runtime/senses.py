"""How a model that sees or hears is given pictures and sound."""

from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mistralrs_mlx.api.which import WhichMultimodalPlain
from mistralrs_mlx.engine.reading import ENCODER_CACHE, MediaReading
from mistralrs_mlx.errors import ConfigError
from mistralrs_mlx.loaders.checkpoint import Checkpoint
from mistralrs_mlx.loaders.load import entry_of
from mistralrs_mlx.models.multimodal import MultimodalLM
from mistralrs_mlx.text.tokenizer import Tokenizer

if TYPE_CHECKING:  # it brings NumPy, Pillow and soundfile
    from mistralrs_mlx.media.processing import Processor

__all__ = ["Senses", "processor_of", "reading_of"]


@dataclass(frozen=True, kw_only=True)
class Senses:
    """What makes arrays of media, and what goes with which kinds of them: a mode, an adapter."""

    processor: "Processor"
    mode_for: Callable[[Set[str]], str | None]  # that they are encoded in together
    slot_for: Callable[[Set[str]], int]
    max_edge: int | None = None  # pixels; longer edges are scaled down to it first


def processor_of(
    which: WhichMultimodalPlain, checkpoint: Checkpoint, tokenizer: Tokenizer
) -> "Processor":
    """What processes media for a checkpoint.

    Raises `ConfigError` where its files do not fit together, and for a model that reads only text.
    """
    if which.max_edge is not None and which.max_edge < 1:
        raise ConfigError(f"max_edge is {which.max_edge}; give a number of pixels, or None")
    entry = entry_of(checkpoint, which.arch)
    processor = entry.load_processor()
    if processor is None:
        raise ConfigError(f"{entry.name} reads only text; load it with Which.Plain")
    ids = {text: id for id, text in tokenizer.added.items()}
    return processor.from_config(checkpoint.preprocessor_config, ids.get)


def reading_of(which: WhichMultimodalPlain, model: MultimodalLM) -> MediaReading:
    """What encodes media for the engine. Raises `ConfigError`."""
    most = which.encoder_cache_memory_bytes
    if most is not None and most < 0:
        raise ConfigError(f"encoder_cache_memory_bytes is {most}; give a number of bytes, or 0")
    return MediaReading(model, most_bytes=ENCODER_CACHE if most is None else most)
