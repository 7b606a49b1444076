"""mistralrs_mlx, through its public interface."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from protocol import Single, serve

from mistralrs_mlx import CompletionRequest, CompletionResponse, Runner, Which


class Ours:
    def __init__(self, model: str) -> None:
        path = Path(model)
        which = Which.GGUF(quantized_model_id=str(path.parent), quantized_filename=path.name)
        self._runner = Runner(which=which, prefix_cache_n=0)

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

    def many(self, texts: list[str], tokens: int) -> float:
        began = time.perf_counter()
        with ThreadPoolExecutor(len(texts)) as threads:
            list(threads.map(lambda text: self._continued(text, tokens), texts))
        return time.perf_counter() - began

    def _continued(self, text: str, tokens: int) -> CompletionResponse:
        return self._runner.send_completion_request(
            CompletionRequest(
                model="default", prompt=text, max_tokens=tokens, temperature=0, ignore_eos=True
            )
        )


if __name__ == "__main__":
    serve(Ours)
