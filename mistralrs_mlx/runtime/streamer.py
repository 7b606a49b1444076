"""The iterators that streamed requests return."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Generic, Self, TypeVar

from mistralrs_mlx.api.responses import ChatCompletionChunkResponse, CompletionChunkResponse

__all__ = ["ChatCompletionStreamer", "CompletionStreamer"]

Chunk = TypeVar("Chunk")


class _Streamer(Iterator[Chunk], Generic[Chunk]):
    """Gives the chunks of one answer, which is generated ahead whether or not anyone reads.

    It works with `for` and with `async for`. Closing it, leaving its `with` block or dropping the
    last reference cancels the answer.
    """

    def __init__(self, chunks: Iterator[Chunk], cancel: Callable[[], None]) -> None:
        self._chunks, self._cancel = chunks, cancel

    def __next__(self) -> Chunk:
        try:
            return next(self._chunks)
        except BaseException:  # the end, an error, or the user's Ctrl-C: nobody reads on
            self._cancel()
            raise

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        try:
            chunk = await asyncio.to_thread(next, self, None)  # a thread that only waits
        except asyncio.CancelledError:
            self._cancel()
            raise
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    def close(self) -> None:
        """Cancel what has not been generated yet. Further chunks do not come."""
        self._cancel()
        self._chunks = iter(())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self._cancel()


class ChatCompletionStreamer(_Streamer[ChatCompletionChunkResponse]):
    """What a streamed `ChatCompletionRequest` returns."""


class CompletionStreamer(_Streamer[CompletionChunkResponse]):
    """What a streamed `CompletionRequest` returns."""
