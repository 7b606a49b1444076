"""An engine with mistral.rs's Python interface: mistral.rs itself, or ours."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

from protocol import Single

__all__ = ["Api"]


class Api:
    """A model behind a package's `Runner`, without its prefix cache."""

    def __init__(self, package: ModuleType, model: str, *, threads: bool) -> None:
        """`threads` says whether several threads may ask the `Runner` at once."""
        path = Path(model)
        which = package.Which.GGUF(
            quantized_model_id=str(path.parent), quantized_filename=path.name
        )
        self._package, self._threads = package, threads
        self._runner = package.Runner(which=which, prefix_cache_n=0)

    def one(self, text: str, tokens: int) -> Single:
        answer = self._continued(text, tokens)
        usage = answer.usage
        return Single(
            prompt_tokens=usage.prompt_tokens,
            tokens=usage.completion_tokens,
            prompt_seconds=usage.total_prompt_time_sec,
            seconds=usage.total_completion_time_sec,
            text=answer.choices[0].text,
        )

    def many(self, texts: list[str], tokens: int) -> float | None:
        if not self._threads:
            return None
        began = time.perf_counter()
        with ThreadPoolExecutor(len(texts)) as threads:
            list(threads.map(lambda text: self._continued(text, tokens), texts))
        return time.perf_counter() - began

    def _continued(self, text: str, tokens: int) -> Any:
        request = self._package.CompletionRequest(
            model="default", prompt=text, max_tokens=tokens, temperature=0.0, ignore_eos=True
        )
        return self._runner.send_completion_request(request)
