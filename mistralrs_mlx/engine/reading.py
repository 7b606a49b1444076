"""What a pass reads: tokens, and in a model that also sees or hears, media in their places."""

from collections import OrderedDict
from collections.abc import Mapping, Set
from collections.abc import Sequence as Many
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from weakref import WeakKeyDictionary

import mlx.core as mx

from mistralrs_mlx.errors import RequestError

from .model import LanguageModel

if TYPE_CHECKING:
    import numpy as np

    from .sequence import Sequence

__all__ = ["ENCODER_CACHE", "MediaModel", "MediaReading", "Medium", "Reading"]

ENCODER_CACHE = 512 << 20  # bytes

Key = tuple[str, str | None]  # a digest, and the mode


@dataclass(frozen=True, kw_only=True, eq=False)
class Medium:
    """A picture or clip in a prompt."""

    kind: str
    start: int  # position of its first placeholder
    tokens: int  # placeholders, one after the other
    digest: str  # the same for what looks the same
    arrays: "Mapping[str, np.ndarray]"

    @property
    def stop(self) -> int:
        return self.start + self.tokens


class MediaModel(LanguageModel, Protocol):
    """What the engine asks of a model that also sees or hears."""

    whole_media: bool  # whether all of a medium must be in one pass

    def adapter_for(self, kinds: Set[str]) -> str | None:
        """The mode in which media of these kinds are encoded together."""

    def slot_for(self, kinds: Set[str]) -> int:
        """The adapter slot for rows with media of these kinds."""

    def adapt(self, slots: Many[int] | None) -> None:
        """Choose the adapter slot of each row of the passes to come; None: no adapter."""

    def encode(self, kind: str, arrays: Mapping[str, mx.array], adapter: str | None) -> mx.array:
        """One medium as (tokens, D) embeddings."""


class Reading:
    """Reads prompts of a model that knows only text."""

    def __init__(self, model: LanguageModel) -> None:
        self._model = model

    limit = 0  # bytes of what is remembered beyond a prompt

    @property
    def nbytes(self) -> int:
        """Bytes of what is remembered beyond a prompt."""
        return 0

    def embed(self, sequence: "Sequence", start: int, tokens: list[int]) -> mx.array:
        """The embeddings (1, L, D) of a chunk of a prompt that begins at `start`."""
        return self._model.embed(mx.array([tokens]))

    def pause(self, sequence: "Sequence", start: int, stop: int) -> int:
        """Where a chunk [start, stop) of a prompt should end instead."""
        return stop

    def adapt(self, sequences: Many["Sequence"]) -> None:
        """Prepare the model for a pass over rows of these sequences, in order."""

    def shrink(self, to_bytes: int) -> None:
        """Forget what can be made again until at most so many bytes are left."""


class MediaReading(Reading):
    """Reads prompts with media. What has been encoded is remembered by its digest."""

    def __init__(self, model: MediaModel, *, most_bytes: int = ENCODER_CACHE) -> None:
        super().__init__(model)
        self._media_model, self.limit = model, most_bytes
        self._known: OrderedDict[Key, mx.array] = OrderedDict()
        # What chunks to come need as well; one that is canceled in the middle never asks again.
        self._held: WeakKeyDictionary[Sequence, tuple[Medium, mx.array]] = WeakKeyDictionary()

    @property
    def nbytes(self) -> int:
        return sum(rows.nbytes for rows in self._known.values())

    def embed(self, sequence: "Sequence", start: int, tokens: list[int]) -> mx.array:
        embeddings, stop = super().embed(sequence, start, tokens), start + len(tokens)
        shown = [each for each in sequence.media if each.start < stop and each.stop > start]
        if not shown:
            return embeddings
        kinds = {each.kind for each in sequence.media}
        mode = self._media_model.adapter_for(kinds)
        pieces, done = [], start
        for medium in sorted(shown, key=lambda each: each.start):
            first, last = max(medium.start, start), min(medium.stop, stop)
            rows = self._rows(sequence, medium, mode)
            if medium.stop > stop:
                self._held[sequence] = medium, rows  # a chunk ends in one medium at most
            pieces += [
                embeddings[:, done - start : first - start],
                rows[None, first - medium.start : last - medium.start],
            ]
            done = last
        pieces.append(embeddings[:, done - start :])
        return mx.concatenate([piece.astype(embeddings.dtype) for piece in pieces], axis=1)

    def pause(self, sequence: "Sequence", start: int, stop: int) -> int:
        if not self._media_model.whole_media:
            return stop
        for medium in sequence.media:
            if medium.start < stop < medium.stop:
                return medium.start if medium.start > start else medium.stop
        return stop

    def adapt(self, sequences: Many["Sequence"]) -> None:
        slots = [each.slot for each in sequences]
        self._media_model.adapt(slots if any(slots) else None)

    def shrink(self, to_bytes: int) -> None:
        while self._known and self.nbytes > to_bytes:
            self._known.popitem(last=False)

    def _rows(self, sequence: "Sequence", medium: Medium, mode: str | None) -> mx.array:
        """The rows (tokens, D) of a medium, encoded now if they are not at hand."""
        held, rows = self._held.pop(sequence, (None, None))
        if rows is not None and held is medium:
            return rows
        key = medium.digest, mode
        known = self._known.pop(key, None)
        found = self._encode(medium, mode) if known is None else known
        if found.nbytes <= self.limit:  # one that is too large would only drive out the others
            self._known[key] = found
            self.shrink(self.limit)
        return found

    def _encode(self, medium: Medium, mode: str | None) -> mx.array:
        arrays = {name: mx.array(array) for name, array in medium.arrays.items()}
        rows = self._media_model.encode(medium.kind, arrays, mode)
        mx.eval(rows)  # one after the other: their number must not cost memory
        if len(rows) != medium.tokens:
            raise RequestError(
                f"{medium.kind} at token {medium.start}: the prompt holds {medium.tokens} "
                f"placeholders, the encoder made {len(rows)}"
            )
        return rows
