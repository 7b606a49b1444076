"""From logits to tokens, for a batch whose rows each sample in their own way.

Order: DRY, presence and frequency, repetition, biases, grammar mask, temperature, top-k, top-p,
min-p, choice. Nothing here waits for the device, and no row's token depends on its neighbours.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import mlx.core as mx

from .logprobs import LazyLogprobs, TokenLogprob, leaders
from .params import SamplingParams, derived_seed
from .penalties import Offsets, Penalties, Repeats, biases, counted, penalize, tally

__all__ = ["Sampled", "Sampler", "SamplerRow"]

LOWEST = 2.0**-33  # half the smallest step of 32 random bits: noise stays finite
OFF = 2.0  # a top-p that no cumulative mass reaches
TINIEST = 1e-30  # float32 would take a smaller top-p for 0, and nothing would be left

Mask = mx.array | None


class SamplerRow:
    """What the sampler must know of one sequence: its parameters, its noise, tokens to penalize.

    Made on any thread, used on the engine's.
    """

    def __init__(
        self,
        params: SamplingParams,
        prompt: Sequence[int],
        vocab: int,
        *,
        choice: int = 0,
        constrained: bool = False,
    ) -> None:
        self.params, self.constrained = params, constrained
        self.position = 0  # how many tokens it has accepted
        self._vocab = vocab
        self._stream = derived_seed(params.seed, choice)
        self._prompt = frozenset(prompt if params.repetition_penalty != 1 else ())
        self._tally: mx.array | None = None
        dry = params.dry if params.avoids_repeats else None
        self._repeats = None if dry is None else Repeats(dry, prompt)

    @property
    def needs_host_token(self) -> bool:
        """Whether `accept` must be given each token as an int before the next one is sampled."""
        return self.constrained or self._repeats is not None

    @property
    def key(self) -> tuple[int, int]:
        """The two words from which the noise of the next token comes."""
        return divmod(derived_seed(self._stream, self.position), 1 << 32)

    @property
    def tally(self) -> mx.array:
        """How often each token has occurred, (V,) as `penalties.tally` writes it."""
        if self._tally is None:
            self._tally = tally(self._prompt, self._vocab)
        return self._tally

    @property
    def repeat_costs(self) -> dict[int, float]:
        """What to add to the logits of tokens that would continue a repetition."""
        return {} if self._repeats is None else self._repeats.costs()

    def accept(self, token: int | mx.array) -> None:
        """Go on by one token: an int, or an array () that need not have been evaluated yet."""
        if self._repeats is not None:
            if not isinstance(token, int):
                raise TypeError("a row with a DRY penalty accepts ints, not arrays")
            self._repeats.append(token)
        if self.params.penalizes:
            self._tally = counted(self.tally, token)
        self.position += 1

    def ahead(self, tokens: Sequence[int]) -> "list[SamplerRow]":
        """Itself, and what it would be after the first of these tokens, the first two, ..."""
        rows = [self]
        for token in tokens:
            rows.append(rows[-1].twin())
            rows[-1].accept(token)
        return rows

    def twin(self) -> "SamplerRow":
        """One with the same past, to go on by other tokens."""
        twin = copy.copy(self)
        twin._repeats = None if self._repeats is None else self._repeats.copy()
        return twin


@dataclass(frozen=True, kw_only=True, eq=False)
class Sampled:
    """The tokens of one step, not yet evaluated."""

    tokens: mx.array  # (B,) int32
    logprobs: LazyLogprobs | None = None

    @property
    def arrays(self) -> list[mx.array]:
        """Everything to evaluate, for `mx.async_eval`."""
        return [self.tokens, *(self.logprobs.arrays if self.logprobs else ())]

    def read(self) -> list[tuple[int, TokenLogprob | None]]:
        """Wait once, then give each row's token and, where asked for, its logprob."""
        mx.eval(self.arrays)
        tokens: Any = self.tokens.tolist()
        logprobs = self.logprobs.read(tokens) if self.logprobs else [None] * len(tokens)
        return list(zip(tokens, logprobs, strict=True))


class Sampler:
    """Samples one token for every row of a batch at once."""

    def __init__(self, *, compiled: bool | None = None) -> None:
        """`compiled` fuses the arithmetic, as it does by default on a GPU."""
        fused = mx.default_device() == mx.gpu if compiled is None else compiled
        self._draw = mx.compile(_draw) if fused else _draw
        self._penalize = mx.compile(penalize) if fused else penalize
        self._plan: _Plan | None = None

    def __call__(
        self, logits: mx.array, rows: Sequence[SamplerRow], masks: Sequence[Mask] | None = None
    ) -> Sampled:
        """Logits (B, V) of any float type -> tokens (B,). The rows stay as they are.

        A mask says which tokens a row may choose: bool (V,), or 32 tokens to an integer, lowest
        bit first. It must allow at least one. Logprobs are of the distribution before masks.
        """
        plan = self._plan_for(rows, logits.shape[-1])
        logits = self._penalized(logits, rows, plan)
        allowed = _masked(logits, masks)
        if plan.greedy:
            tokens = _argmax(allowed)
        else:
            keys = mx.array([row.key for row in rows], mx.uint32)
            tokens = self._draw(allowed, keys, plan.temperature, plan.cuts, plan.draws)
        return Sampled(tokens=tokens, logprobs=_logprobs(logits, tokens, plan))

    def candidates(
        self, logits: mx.array, rows: Sequence[SamplerRow], masks: Sequence[Mask] | None = None
    ) -> mx.array:
        """Scores (B, V), -inf where a token cannot be chosen; their softmax is what is sampled.

        Greedy rows choose the largest.
        """
        plan = self._plan_for(rows, logits.shape[-1])
        allowed = _masked(self._penalized(logits, rows, plan), masks)
        return _filtered(_tempered(allowed, plan.temperature), plan.cuts)

    def _plan_for(self, rows: Sequence[SamplerRow], vocab: int) -> "_Plan":
        """The plan of these rows' parameters; from one step to the next it rarely changes."""
        params = [row.params for row in rows]
        if self._plan is None or not self._plan.fits(params, vocab):
            self._plan = _Plan.of(params, vocab)
        return self._plan

    def _penalized(self, logits: mx.array, rows: Sequence[SamplerRow], plan: "_Plan") -> mx.array:
        """DRY, penalties and biases; in float32 if there are any."""
        if plan.repeats and (costs := Offsets.of([row.repeat_costs for row in rows], plan.vocab)):
            logits = costs.added(logits)
        if plan.penalties:
            unseen = mx.zeros(plan.vocab, mx.int32)
            tallies = [row.tally if row.params.penalizes else unseen for row in rows]
            logits = self._penalize(logits.astype(mx.float32), mx.stack(tallies), plan.penalties)
        return plan.biases.added(logits) if plan.biases else logits


class _Head(NamedTuple):
    """What top-k and top-p need: arrays (B, 1), and how many scores to sort."""

    width: int
    top_k: mx.array
    top_p: mx.array
    exempt: mx.array  # whether the row has neither

    @staticmethod
    def of(params: Sequence[SamplingParams], vocab: int) -> "_Head | None":
        """The top-k and top-p of a batch, or None where no row has any."""
        ks = [min(each.top_k or vocab, vocab) for each in params]
        ps = [max(each.top_p, TINIEST) if 0 < each.top_p < 1 else OFF for each in params]
        exempt = [
            each.greedy or (k == vocab and p == OFF)
            for each, k, p in zip(params, ks, ps, strict=True)
        ]
        if all(exempt):
            return None
        widest = max(k for k, spared in zip(ks, exempt, strict=True) if not spared)
        width = min(vocab, 1 << (widest - 1).bit_length())  # few widths, so that few are compiled
        ks = [min(k, width) for k in ks]
        return _Head(width, _column(ks, mx.int32), _column(ps), _column(exempt, mx.bool_))

    def keeps(self, scores: mx.array) -> mx.array:
        """Scores (B, V) -> whether top-k and then top-p leave them in."""
        top = scores if self.width == scores.shape[-1] else mx.topk(scores, self.width, axis=-1)
        top = mx.sort(top, axis=-1)[:, ::-1]
        mass = mx.exp(top - top[:, :1])
        before = mx.cumsum(mass, axis=-1, inclusive=False)
        whole = mx.take_along_axis(before + mass, self.top_k - 1, axis=-1)
        kept = (mx.arange(self.width) < self.top_k) & (before < self.top_p * whole)
        count = kept.sum(axis=-1, keepdims=True)
        last = mx.take_along_axis(top, count - 1, axis=-1)
        return leaders(scores, last, count) | self.exempt


class _Cuts(NamedTuple):
    """Which tokens a batch does not consider; None where no row asks."""

    head: _Head | None
    min_p: mx.array | None  # (B, 1) logarithms

    @staticmethod
    def of(params: Sequence[SamplingParams], vocab: int) -> "_Cuts":
        floors = [math.log(each.min_p) if 0 < each.min_p < 1 else -math.inf for each in params]
        min_p = _column(floors) if max(floors) > -math.inf else None
        return _Cuts(_Head.of(params, vocab), min_p)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Plan:
    """What to do for a batch, derived from its rows' parameters alone."""

    params: list[SamplingParams]
    vocab: int
    repeats: bool  # whether any row has a DRY penalty
    penalties: Penalties | None
    biases: Offsets | None
    temperature: mx.array  # (B, 1); 1 in greedy rows
    cuts: _Cuts
    greedy: bool  # whether all rows are
    draws: mx.array | None  # (B, 1), which rows are not greedy, unless none is
    asked: dict[int, int]  # row -> how many likeliest tokens to report

    @staticmethod
    def of(params: list[SamplingParams], vocab: int) -> "_Plan":
        greedy = [each.greedy for each in params]
        return _Plan(
            params=params,
            vocab=vocab,
            repeats=any(each.avoids_repeats for each in params),
            penalties=Penalties.of(params),
            biases=Offsets.of([biases(each) for each in params], vocab),
            temperature=_column([1.0 if each.greedy else each.temperature for each in params]),
            cuts=_Cuts.of(params, vocab),
            greedy=all(greedy),
            draws=_column([not each for each in greedy], mx.bool_) if any(greedy) else None,
            asked={i: n for i, each in enumerate(params) if (n := each.top_logprobs) is not None},
        )

    def fits(self, params: list[SamplingParams], vocab: int) -> bool:
        """Whether this is the plan for a batch of such rows."""
        same = len(params) == len(self.params) and vocab == self.vocab
        return same and all(a is b for a, b in zip(params, self.params, strict=True))


def _masked(logits: mx.array, masks: Sequence[Mask] | None) -> mx.array:
    if masks is None or all(mask is None for mask in masks):
        return logits
    vocab = logits.shape[-1]
    return mx.where(mx.stack([_allowed(mask, vocab) for mask in masks]), logits, -mx.inf)


def _allowed(mask: Mask, vocab: int) -> mx.array:
    """A row's mask as bool (V,); what it does not reach is forbidden."""
    if mask is None:
        return mx.ones(vocab, mx.bool_)
    if mask.dtype != mx.bool_:
        bits = mask.view(mx.uint32)[:, None] >> mx.arange(32, dtype=mx.uint32)
        mask = (bits & 1).astype(mx.bool_).flatten()
    return mx.pad(mask[:vocab], (0, max(0, vocab - mask.size)))


def _tempered(logits: mx.array, temperature: mx.array) -> mx.array:
    return logits.astype(mx.float32) / temperature


def _filtered(scores: mx.array, cuts: _Cuts) -> mx.array:
    """Put -inf where top-k, top-p or min-p leave a token out."""
    kept = None if cuts.head is None else cuts.head.keeps(scores)
    if cuts.min_p is not None:
        likely = scores - scores.max(axis=-1, keepdims=True) > cuts.min_p
        kept = likely if kept is None else kept & likely
    return scores if kept is None else mx.where(kept, scores, -mx.inf)


def _draw(
    logits: mx.array, keys: mx.array, temperature: mx.array, cuts: _Cuts, draws: mx.array | None
) -> mx.array:
    """Draw from the softmax of what the cuts leave: the largest, once Gumbel noise is added."""
    scores = _filtered(_tempered(logits, temperature), cuts)
    noise = -mx.log(_exponential(keys, logits.shape[-1]))
    return _argmax(scores + (noise if draws is None else mx.where(draws, noise, 0)))


def _exponential(keys: mx.array, vocab: int) -> mx.array:
    """Exponential noise (B, V), each row from its own key. Finite, and precise near zero."""

    def uniform(key: mx.array) -> mx.array:
        return mx.random.uniform(-LOWEST, -1.0, (vocab,), key=key)

    return -mx.log1p(mx.vmap(uniform)(keys))


def _logprobs(logits: mx.array, tokens: mx.array, plan: _Plan) -> LazyLogprobs | None:
    if not plan.asked:
        return None
    return LazyLogprobs.of(_tempered(logits, plan.temperature), tokens, plan.asked)


def _argmax(scores: mx.array) -> mx.array:
    return mx.argmax(scores, axis=-1).view(mx.int32)


def _column(values: list[Any], dtype: mx.Dtype = mx.float32) -> mx.array:
    return mx.array(values, dtype)[:, None]
