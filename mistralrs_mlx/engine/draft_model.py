"""Guesses by a second, smaller model that reads the same texts."""

from dataclasses import dataclass, field
from typing import Any

import mlx.core as mx

from mistralrs_mlx.cache.caches import Caches

from .drafts import Paces, fills
from .model import LanguageModel
from .sampling import Sampler
from .sequence import Sequence
from .verify import WIDEST

__all__ = ["DraftModel"]

BUDGET = 512  # tokens of texts that it reads between two drafts


@dataclass(eq=False)
class _Reader:
    """What a row of the draft model has seen: `read` tokens of the text, then what it drafted."""

    sequence: Sequence
    read: int = 0
    drafted: list[int] = field(default_factory=list)

    @property
    def missing(self) -> int:
        """Tokens of the text that it has not read."""
        return len(self.sequence.prompt) + len(self.sequence.tokens) - self.read

    def compare(self, held: int) -> None:
        """Of the `held` tokens in the cache, find those that are the text's."""
        text = self.sequence.known
        for token in self.drafted:
            if self.read >= len(text) or token != text[self.read]:
                break
            self.read += 1
        self.read = min(self.read, held, len(text) - 1)
        self.drafted = []


class DraftModel:
    """Drafts what a small model would say, drawn with the noise of the row that it drafts for.

    Where both models find the same tokens likely, the same noise chooses the same token.
    """

    def __init__(
        self, model: LanguageModel, *, most: int, context: int, budget: int = BUDGET
    ) -> None:
        """`most` is the longest draft, `context` the longest text that the model is made for."""
        self._model, self._most, self._context = model, min(most, WIDEST), context
        self._sampler, self._paces = Sampler(), Paces()
        self.clear()
        self._budget = min(budget, self._caches.longest_pass or budget)

    def wants(self, sequences: list[Sequence]) -> bool:
        return any(self._lengths(sequences, [self._most] * len(sequences)))

    def propose(self, sequences: list[Sequence], most: list[int]) -> list[list[int]]:
        self._let_go(set(sequences))
        wanted = {
            each: length
            for each, length in zip(sequences, self._lengths(sequences, most), strict=True)
            if length
        }
        self._take_in(wanted)
        for row, reader in enumerate(self._readers):
            reader.compare(self._caches.lengths[row])
            self._cut(row, reader.read)
        self._catch_up(wanted)
        ready = {reader.sequence for reader in self._readers if reader.missing <= 2}
        drafts = self._drafts({each: n for each, n in wanted.items() if each in ready})
        return [drafts.get(each, []) for each in sequences]

    def learn(self, sequence: Sequence, drafted: int, kept: int) -> None:
        self._paces.learn(sequence, drafted, kept)

    def clear(self) -> None:
        self._paces.clear()
        self._readers: list[_Reader] = []
        self._caches = Caches(self._model.cache_layout())

    def _lengths(self, sequences: list[Sequence], most: list[int]) -> list[int]:
        """How many tokens to draft for each; none for anyone, if it would be for a few only."""
        rooms = [
            max(0, min(limit, self._most, self._context - len(each.prompt) - len(each.tokens)))
            for each, limit in zip(sequences, most, strict=True)
        ]
        lengths = self._paces.lengths(sequences, rooms)
        worth = fills(sum(map(bool, lengths)), len(lengths))
        return lengths if worth else [0] * len(lengths)

    def _let_go(self, stay: set[Sequence]) -> None:
        """Close the rows of those that have left, and of those that outgrew what it remembers."""
        border = self._model.rope_border
        for row in reversed(range(len(self._readers))):
            reader, begun = self._readers[row], self._caches.prompts[row]
            outgrown = border is not None and begun <= border < reader.read + reader.missing
            if outgrown or reader.sequence not in stay:
                self._caches.remove(row)
                self._readers[row] = self._readers[-1]
                self._readers.pop()

    def _take_in(self, wanted: dict[Sequence, int]) -> None:
        known = {reader.sequence for reader in self._readers}
        for each in wanted:
            if each not in known:
                self._readers.append(_Reader(each))
                self._caches.add(len(each.prompt) + len(each.tokens))

    def _catch_up(self, wanted: dict[Sequence, int]) -> None:
        """Read texts up to their last token but one, within the budget."""
        budget = self._budget
        for row, reader in enumerate(self._readers):
            if reader.sequence in wanted and not reader.read:
                self._copy_prompt(row)
            if reader.sequence in wanted and reader.missing > 2 and budget:
                chunk = reader.sequence.known[reader.read : -1][:budget]
                hidden = self._pass(mx.array([chunk]), row, row + 1)
                mx.eval(hidden, self._caches.arrays())
                reader.read += len(chunk)
                budget -= len(chunk)

    def _copy_prompt(self, row: int) -> None:
        """Begin a row with what has been read of its prompt for another choice."""
        prompt = self._readers[row].sequence.prompt
        for source, other in enumerate(self._readers):
            if other.read and other.sequence.prompt is prompt:
                self._caches.move(source, row)
                self._readers[row].read = min(other.read, len(prompt))
                self._cut(row, self._readers[row].read)
                return

    def _drafts(self, wanted: dict[Sequence, int]) -> dict[Sequence, list[int]]:
        """Draft for some rows; the others go along, and forget it."""
        if not wanted:
            return {}
        fed = max(reader.missing for reader in self._readers if reader.sequence in wanted)
        feed = [[0] * fed for _ in self._readers]
        for row, reader in enumerate(self._readers):
            if reader.sequence in wanted:  # the last token, and the one before if any row lacks it
                feed[row] = reader.sequence.known[-fed:]
                self._cut(row, self._caches.lengths[row] + reader.missing - fed)
        drafted = self._draw(mx.array(feed), max(wanted.values()))
        for row, reader in enumerate(self._readers):
            if reader.sequence in wanted:
                reader.read, reader.drafted = reader.read + reader.missing, drafted[row]
            else:
                self._cut(row, reader.read)
        return {
            reader.sequence: reader.drafted[: wanted[reader.sequence]]
            for reader in self._readers
            if reader.sequence in wanted
        }

    def _draw(self, feed: mx.array, count: int) -> list[list[int]]:
        """Tokens (rows, 1 or 2) that come first -> `count` further ones for each row."""
        rows = [reader.sequence.row.twin() for reader in self._readers]
        vocab = self._readers[0].sequence.vocab_size
        drawn = []
        for _ in range(count):
            hidden = self._pass(feed, 0, len(rows))
            logits = _fitted(self._model.head(hidden[:, -1:])[:, 0], vocab)
            tokens = self._sampler(logits, rows).tokens
            mx.async_eval(tokens, self._caches.arrays())
            for i, row in enumerate(rows):
                row.accept(tokens[i] if row.params.penalizes else 0)
            drawn.append(tokens)
            feed = tokens[:, None]
        found: Any = mx.stack(drawn, axis=1).tolist()
        return list(found)

    def _pass(self, tokens: mx.array, start: int, stop: int) -> mx.array:
        step = self._caches.step(start, stop, tokens.shape[1])
        return self._model.hidden(self._model.embed(tokens), step)

    def _cut(self, row: int, length: int) -> None:
        if not self._caches.trim(row, length):
            raise RuntimeError(f"the draft model cannot go back to token {length} of row {row}")


def _fitted(logits: mx.array, vocab: int) -> mx.array:
    """Logits (B, ...) as wide as the other model's: noise is drawn for a width."""
    missing = max(0, vocab - logits.shape[-1])
    return mx.pad(logits[:, :vocab], [(0, 0), (0, missing)], constant_values=-mx.inf)
