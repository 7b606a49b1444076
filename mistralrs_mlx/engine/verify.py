"""Drafted tokens and the one pass that tells how many of them the sampler chooses as well.

A row's noise depends on its seed and its token count alone. So each place of a draft is sampled
just as a plain step would sample it, and what is kept is what plain steps would have given.
"""

import mlx.core as mx

from .drafts import Drafter, fills
from .logprobs import TokenLogprob
from .rows import Rows
from .sampling import Sampled, Sampler
from .sequence import Sequence

__all__ = ["WIDEST", "Verify"]

WIDEST = 64  # tokens a row in one pass

Choice = tuple[int, TokenLogprob | None]


class Verify:
    """Steps of the running rows that bring as many tokens as a drafter guesses rightly."""

    def __init__(self, rows: Rows, drafter: Drafter) -> None:
        self._rows, self._drafter = rows, drafter
        self._sampler = Sampler()  # not the one of plain steps, whose plan is of another size

    def wanted(self) -> bool:
        """Whether there may be a draft, once the token in flight is known."""
        return self._drafter.wants(self._rows.running)

    def advance(self) -> bool:
        """Give every running row at least one token; False, and nothing done, without a draft."""
        running = list(self._rows.running)
        drafts = self._drafts(running)
        if not any(drafts):
            return False
        lengths = self._rows.caches.lengths[: len(running)]
        sampled = self._pass(running, drafts)
        mx.eval(sampled.arrays, self._rows.caches.arrays())
        read = iter(sampled.read())
        for row, (sequence, draft) in enumerate(zip(running, drafts, strict=True)):
            kept = _taken(sequence, draft, [next(read) for _ in range(len(draft) + 1)])
            # What ends before it takes a token keeps one in its row, which is freed next.
            self._forget(row, lengths[row] + max(kept, 1))
            if draft:
                self._drafter.learn(sequence, len(draft), kept)
        return True

    def _drafts(self, running: list[Sequence]) -> list[list[int]]:
        """What is tried for each row. All are padded to one width, and padding must not prevail."""
        widest = self._widest()
        most = [min(_room(sequence), widest) for sequence in running]
        drafting = sum(limit > 0 for limit in most)
        if not fills(drafting, len(most)):
            return []
        drafts = self._drafter.propose(running, most)
        width = _worth([len(draft) for draft in drafts])
        return [draft[:width] for draft in drafts]

    def _widest(self) -> int:
        """The longest draft that harms no row, its own or a shorter one's that is padded."""
        caches, border = self._rows.caches, self._rows.model.rope_border
        rooms = [min(caches.longest_pass or WIDEST, WIDEST) - 1]
        for row in range(len(self._rows)):
            if border is not None and caches.prompts[row] <= border:
                rooms.append(border - caches.lengths[row] - 1)
        return max(0, min(rooms))

    def _pass(self, running: list[Sequence], drafts: list[list[int]]) -> Sampled:
        """Choose a token after the last known one of each row, and after each of its draft."""
        for sequence in running:
            sequence.look_ahead()
        width = max(map(len, drafts)) + 1
        tokens = [
            [sequence.last, *draft, *[0] * (width - 1 - len(draft))]
            for sequence, draft in zip(running, drafts, strict=True)
        ]
        places = [  # that are no padding, in the flattened pass
            row * width + i for row, draft in enumerate(drafts) for i in range(len(draft) + 1)
        ]
        model, caches = self._rows.model, self._rows.caches
        self._rows.reading.adapt(running)
        step = caches.step(0, len(running), width)
        hidden = model.hidden(model.embed(mx.array(tokens)), step)
        logits = model.head(hidden.flatten(0, 1)[mx.array(places)][None])[0]
        return self._choose(logits, running, drafts)

    def _choose(
        self, logits: mx.array, running: list[Sequence], drafts: list[list[int]]
    ) -> Sampled:
        """Logits (places, V) -> a token for each place, sampled as if all before it were kept."""
        masks: list[mx.array | None] | None = None
        if any(each.row.constrained for each in running):
            mx.async_eval(logits)  # the device works while the masks are awaited
            masks = [
                mask
                for each, draft in zip(running, drafts, strict=True)
                for mask in [each.mask(), *[None] * len(draft)]
            ]
        pairs = zip(running, drafts, strict=True)
        rows = [row for each, draft in pairs for row in each.row.ahead(draft)]
        return self._sampler(logits, rows, masks)

    def _forget(self, row: int, length: int) -> None:
        """Take back what a row remembers of a wrong draft and of padding."""
        if not self._rows.caches.trim(row, length):
            raise RuntimeError(
                f"a row of {self._rows.caches.lengths[row]} cannot go back to {length}"
            )


def _room(sequence: Sequence) -> int:
    """How many tokens may be drafted, so that those and one more are still within the limit."""
    if sequence.row.needs_host_token:
        return 0
    return max(0, sequence.limit - len(sequence.tokens) - 1)


def _worth(lengths: list[int]) -> int:
    """The greatest width at which drafts of these lengths make up half of what is padded to it."""
    widths = range(max(lengths), 0, -1)
    rows = len(lengths)
    return next((w for w in widths if fills(sum(min(n, w) for n in lengths), rows * w)), 0)


def _taken(sequence: Sequence, draft: list[int], chosen: list[Choice]) -> int:
    """Hand on what was chosen while the draft agrees, and the token where it does not."""
    kept = 0
    for drafted, (token, logprob) in zip([*draft, None], chosen, strict=True):
        if sequence.finish_reason is not None:
            break
        sequence.row.accept(token)
        sequence.accept(token, logprob)
        kept += 1
        if token != drafted:  # as the last one always is: nothing was drafted behind the draft
            break
    return kept
