"""The embedded default model: small enough to try everything with, real enough to answer."""

from mistralrs_mlx.api.which import Which, WhichGGUF
from mistralrs_mlx.loaders.demo import demo_path
from mistralrs_mlx.runtime.progress import Watcher, telling

__all__ = ["demo_model"]


def demo_model(progress: Watcher = None) -> WhichGGUF:
    """SmolLM2-135M-Instruct in 4 bits (98 MB, Apache-2.0), brought once into the user's cache.

    `progress` is that of `Runner`; a function is told `("download", done, total)` in bytes. Raises
    `ValueError` without a network if the file is not in the cache yet.
    """

    with telling(progress) as told:
        path = demo_path(lambda done, total: told("download", done, total))
    return Which.GGUF(quantized_model_id=str(path.parent), quantized_filename=path.name)
