"""The iterators that streamed requests return."""

import asyncio
from collections.abc import Iterator
from typing import Generic, Self, TypeVar

from mistralrs_mlx.api.responses import ChatCompletionChunkResponse, CompletionChunkResponse

from .waiting import Over, Source, following, next_or_over

__all__ = ["ChatCompletionStreamer", "CompletionStreamer"]

Chunk = TypeVar("Chunk")


class _Streamer(Iterator[Chunk], Generic[Chunk]):
    """Gives the chunks of one answer, which is generated ahead whether or not anyone reads.

    It works with `for` and with `async for`. Closing it, leaving its `with` block or dropping the
    last reference cancels the answer.
    """

    def __init__(self, chunks: Iterator[Chunk | None], source: Source) -> None:
        self._chunks, self._source = chunks, source

    def __next__(self) -> Chunk:
        try:
            chunk = next_or_over(self._chunks, self._source)
        except BaseException:  # an error, or the user's Ctrl-C: nobody reads on
            self.close()
            raise
        if isinstance(chunk, Over):
            raise StopIteration
        return chunk

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        try:
            await asyncio.sleep(0)  # others get their turn even if all chunks are there already
            chunk = await following(self._chunks, self._source)
        except BaseException:  # the task may have been canceled
            self.close()
            raise
        if isinstance(chunk, Over):
            raise StopAsyncIteration
        return chunk

    def close(self) -> None:
        """Cancel what has not been generated yet. Further chunks do not come."""
        self._source.cancel()
        self._chunks = iter(())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self._source.cancel()


class ChatCompletionStreamer(_Streamer[ChatCompletionChunkResponse]):
    """What a streamed `ChatCompletionRequest` returns."""


class CompletionStreamer(_Streamer[CompletionChunkResponse]):
    """What a streamed `CompletionRequest` returns."""
