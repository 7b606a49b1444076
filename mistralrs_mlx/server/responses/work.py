"""The work on a response: its chat, read to the end, whoever listens."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from functools import partial

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from mistralrs_mlx import ChatCompletionChunkResponse as Chunk
from mistralrs_mlx.server.chat import Chunks
from mistralrs_mlx.server.events import ALIVE, failing, named
from mistralrs_mlx.server.failure import Failure
from mistralrs_mlx.server.replies import metrics_of, runner_of, settings_of

from .answers import Answer, Tokens, tokens
from .events import Draft, Event
from .items import Item
from .recording import Recording
from .store import Kept, Store

__all__ = ["Work"]


class Work:
    """One response under way. What it was asked stays with it, for those that go on from it."""

    def __init__(
        self,
        request: Request,
        answer: Answer,
        *,
        before: tuple[Item, ...],
        asked: tuple[Item, ...],
        store: Store | None,
        recording: Recording | None = None,
    ) -> None:
        """Without a store, nothing is kept of it; without a recording, none of its events."""
        self._request, self._before, self._asked, self._store = request, before, asked, store
        self._recording = recording
        self._draft = Draft(answer)
        self._task: asyncio.Task[None] | None = None

    @property
    def kept(self) -> Kept:
        """What there is of it by now."""
        return Kept(
            answer=self._draft.answer,
            before=self._before,
            asked=self._asked,
            events=self._recording,
        )

    async def whole(self, chunks: Chunks, first: Chunk | None) -> Answer:
        """Read it to its end. Before that, nobody knows its id, so a broken one is not kept."""
        await self._read(chunks, first)
        if self._store is not None:
            self._store.keep(self.kept)
        return self.kept.answer

    async def told(self, chunks: Chunks, first: Chunk | None) -> AsyncGenerator[bytes]:
        """All of its events."""
        events = self._events(chunks, first)
        try:
            async for event in events:
                yield ALIVE if event is None else named(event)
        finally:
            await events.aclose()

    def begin(self) -> None:
        """Let others find it while it is under way."""
        if self._store is not None:
            self._store.begin(self._id, self)

    def close(self) -> None:
        """It is over, in whatever way; what there is of it is kept."""
        if not self._draft.ended:
            self._draft.cancel()
        if self._recording is not None:
            self._recording.end()
        if self._store is not None:
            self._store.end(self._id)

    def failed(self, failure: Failure) -> bytes:
        """The event with which it ends, as it has failed; none, if it had ended by then."""
        if self._draft.ended:
            return b""
        return named(self._draft.fail(failure))

    def go_on(self, chunks: Chunks, closing: ExitStack) -> None:
        """Read it in the background; `closing` is closed at the end."""
        self._task = asyncio.create_task(self._alone(chunks))
        # Not within the task: one that is canceled before it begins never runs.
        self._task.add_done_callback(lambda _: closing.close())

    async def cancel(self) -> None:
        """End it, if it is in the background; a stream ends when its reader leaves."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    @property
    def _id(self) -> str:
        return self._draft.answer.id

    async def _alone(self, chunks: Chunks) -> None:
        seconds = settings_of(self._request).answer_seconds
        if (failure := await failing(self._read(chunks, None), seconds)) is not None:
            self._noted(self._draft.fail(failure))

    async def _read(self, chunks: Chunks, first: Chunk | None) -> None:
        async for _ in self._events(chunks, first):
            pass

    async def _events(self, chunks: Chunks, first: Chunk | None) -> AsyncGenerator[Event | None]:
        """What there is to tell, and None whenever there is nothing for a while."""
        metrics, chunk = metrics_of(self._request), first
        try:
            for event in self._draft.begin():
                yield self._noted(event)
            while True:
                if chunk is None:
                    yield None
                else:
                    for event in self._draft.add(chunk):
                        yield self._noted(event)
                last = time.monotonic()
                chunk = await anext(chunks)
                if chunk is not None:
                    metrics.token_seconds.add(time.monotonic() - last)
        except StopAsyncIteration:
            for event in self._draft.end(await self._tokens()):
                yield self._noted(event)
        finally:
            await chunks.aclose()

    def _noted(self, event: Event) -> Event:
        """The event, which can be read again if it is to be."""
        if self._recording is not None:
            self._recording.add(named(event))
        return event

    async def _tokens(self) -> Tokens | None:
        """What it took, counted for all to see."""
        if (usage := self._draft.usage) is None:
            return None
        metrics_of(self._request).count_tokens(
            prompt=usage.prompt_tokens, completion=usage.completion_tokens
        )
        thought = "".join(self._draft.thoughts)
        model = self._draft.answer.model
        tokenize = partial(runner_of(self._request).tokenize_text, thought, False, model_id=model)
        return tokens(usage, thought=len(await run_in_threadpool(tokenize)) if thought else 0)
