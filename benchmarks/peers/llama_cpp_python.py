"""llama.cpp through llama-cpp-python, on all cores."""

import os
import time

from llama_cpp import Llama
from protocol import Single, serve


class LlamaCpp:
    def __init__(self, model: str) -> None:
        threads = os.cpu_count()
        self._llama = Llama(
            model, n_ctx=2048, n_threads=threads, n_threads_batch=threads, verbose=False
        )

    def one(self, text: str, tokens: int) -> Single:
        llama = self._llama
        prompt = llama.tokenize(text.encode(), add_bos=False, special=True)
        llama.reset()
        began = time.perf_counter()
        llama.eval(prompt)
        ids = [llama.sample(temp=0)]
        first = time.perf_counter()
        for _ in range(tokens - 1):
            llama.eval(ids[-1:])
            ids.append(llama.sample(temp=0))
        ended = time.perf_counter()
        return Single(
            prompt_tokens=len(prompt),
            tokens=len(ids),
            prompt_seconds=first - began,
            seconds=ended - first,
            text=llama.detokenize(ids).decode(errors="replace"),
        )

    def many(self, texts: list[str], tokens: int) -> None:
        """The bindings have no batches."""


if __name__ == "__main__":
    serve(LlamaCpp)
