"""What must hold for every architecture: how tokens are fed never changes what they mean."""

from types import SimpleNamespace
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from mistralrs_mlx.cache.prefix import PrefixCache
from mistralrs_mlx.cache.state import StateCache
from mistralrs_mlx.layers.fusing import fuse
from mistralrs_mlx.models.base import CausalLM
from tests.models.assemble import Rows, tiny
from tests.models.detweights import prompt
from tests.models.tiny import TINY, config

TOLERANCE = 1e-4
TEXT = prompt(50)
WINDOWED = {
    "Gemma2ForCausalLM": {},
    "Gemma3ForCausalLM": {},
    "GptOssForCausalLM": {},
    "MistralForCausalLM": {},
    "MixtralForCausalLM": {},
    "Phi3ForCausalLM": {"sliding_window": 8},
    "PhimoeForCausalLM": {},
    "Qwen2ForCausalLM": {},
    "Qwen3ForCausalLM": {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
    "Qwen3MoeForCausalLM": {"use_sliding_window": True, "sliding_window": 8},
    "SmolLM3ForCausalLM": {"use_sliding_window": True, "sliding_window": 8},
    "Starcoder2ForCausalLM": {},
}

PACKABLE = {"head_dim": 64, "kv_lora_rank": 64}  # 64 numbers are packed together
NO_CHOICE = {"num_local_experts": 2, "num_experts_per_tok": 2}  # of experts


@pytest.fixture(scope="module", params=TINY)
def model(request: pytest.FixtureRequest) -> CausalLM:
    return tiny(config(request.param))


def apart(one: np.ndarray, two: np.ndarray) -> float:
    return float(np.abs(one - two).max())


def test_single_tokens_are_one_prefill(model: CausalLM) -> None:
    whole = Rows(model).alone(TEXT)
    assert apart(Rows(model).alone(TEXT, *[1] * 50), whole) <= TOLERANCE


@pytest.mark.parametrize("architecture", TINY)
def test_layers_that_are_put_together_say_the_same(architecture: str) -> None:
    apiece, joined = tiny(config(architecture)), tiny(config(architecture))
    fuse(joined)
    assert apart(Rows(joined).alone(TEXT), Rows(apiece).alone(TEXT)) <= TOLERANCE


@pytest.mark.parametrize("chunks", [(1, 49), (7, 7, 36), (20, 1, 1, 28), (49, 1)])
def test_chunks_are_the_whole(model: CausalLM, chunks: tuple[int, ...]) -> None:
    assert apart(Rows(model).alone(TEXT, *chunks), Rows(model).alone(TEXT)) <= TOLERANCE


def test_a_full_ring_goes_on_as_if_it_were_endless(model: CausalLM) -> None:
    long = prompt(600)  # the ring of an 8-token window holds 256 columns
    whole = Rows(model, block=600).alone(long)
    assert apart(Rows(model, block=64).alone(long, *[60] * 10), whole) <= TOLERANCE


def test_a_row_does_not_see_its_neighbours(model: CausalLM) -> None:
    lengths, together = (3, 21, 10), Rows(model)
    for row, length in enumerate(lengths):
        together.alone(TEXT[row : row + length])
    more = [TEXT[row + length :][:5] for row, length in enumerate(lengths)]
    steps = [together.feed(*([token] for token in tokens)) for tokens in zip(*more, strict=True)]
    ragged = np.concatenate(steps, axis=1)
    for row, length in enumerate(lengths):
        alone = Rows(model).alone(TEXT[row : row + length + 5])
        assert apart(ragged[row], alone[length:]) <= TOLERANCE


def test_a_row_does_not_notice_who_joins_and_leaves(model: CausalLM) -> None:
    rows, expected = Rows(model), Rows(model).alone(TEXT)
    rows.alone([9, 8, 7])
    row = rows.caches.add(len(TEXT))
    first = rows.feed(TEXT[:20], start=row)[0]
    rows.alone([5, 6])
    second = rows.feed([4] * 10, TEXT[20:30], [3] * 10)[1]
    rows.caches.remove(0)
    third = rows.feed([2] * 20, TEXT[30:])[1]
    assert apart(np.concatenate([first, second, third]), expected) <= TOLERANCE


class PlainCache:
    """Attention over a whole prompt, the slow, obvious way."""

    def __init__(self, window: int | None) -> None:
        self.window = window

    def attend(
        self,
        q: mx.array,
        k: mx.array,
        v: mx.array,
        step: Any,
        *,
        scale: float,
        sinks: mx.array | None = None,
        softcap: float | None = None,
    ) -> mx.array:
        k, v = (mx.repeat(x, q.shape[1] // x.shape[1], axis=1) for x in (k, v))
        back = mx.arange(q.shape[2])[:, None] - mx.arange(q.shape[2])
        seen = (back >= 0) & (back < (self.window or q.shape[2]))
        scores = q @ k.swapaxes(-1, -2) * scale
        if softcap is not None:
            scores = softcap * mx.tanh(scores / softcap)
        scores = mx.where(seen, scores, -mx.inf)
        if sinks is None:
            return mx.softmax(scores, axis=-1) @ v
        column = mx.broadcast_to(sinks[:, None, None], (*scores.shape[:-1], 1))
        return mx.softmax(mx.concatenate([scores, column], axis=-1), axis=-1)[..., :-1] @ v


@pytest.mark.parametrize("architecture", WINDOWED)
def test_a_windowed_cache_is_full_attention_under_a_window_mask(architecture: str) -> None:
    model = tiny(config(architecture, **WINDOWED[architecture]))
    windows = [memory.window for memory in model.cache_layout()]
    assert 8 in windows
    caches = [PlainCache(window) for window in windows]
    step: Any = SimpleNamespace(offset=0, offsets=[0], ends=[50], caches=caches)
    plain = model.head(model.hidden(model.embed(mx.array([TEXT])), step))
    assert apart(Rows(model).alone(TEXT, 13, 30, *[1] * 7), np.array(plain[0])) <= TOLERANCE


@pytest.mark.parametrize("architecture", TINY)
def test_an_8_bit_cache_says_nearly_the_same(architecture: str) -> None:
    raw = config(architecture, **PACKABLE, **NO_CHOICE)
    if architecture.startswith("Phi"):  # whose factors are for another head_dim
        raw["rope_scaling"] = None
    model = tiny(raw)
    dense, packed = (Rows(model, kv_bits=bits).alone(TEXT, 30, *[1] * 20) for bits in (None, 8))
    worst = np.abs(dense - packed).max(-1)
    assert 0 < np.median(worst) < 0.1 * dense.std()  # a router may choose another expert once


@pytest.mark.parametrize("architecture", TINY)
@pytest.mark.parametrize("half", [mx.bfloat16, mx.float16], ids=str)
def test_half_precision_stays_half_precision(architecture: str, half: mx.Dtype) -> None:
    raw = config(architecture)
    model, exact = tiny(raw, half), tiny(raw)
    rows = Rows(model)
    rows.caches.add()
    x, step = model.embed(mx.array([TEXT])), rows.caches.step(0, 1, len(TEXT))
    for layer, cache in zip(model.model.layers, step.caches, strict=True):
        x = layer(x, step, cache)
        assert x.dtype == half
    hidden = model.model.norm(x)
    assert model.head(hidden).dtype == hidden.dtype == half
    for cache in rows.caches.layers:
        sums = len(cache.arrays()) - 1 if isinstance(cache, StateCache) else 0
        dtypes = [array.dtype for array in cache.arrays()]
        assert dtypes == [half] * (len(dtypes) - sums) + [mx.float32] * sums
    logits, expected = Rows(model).alone(TEXT), Rows(exact).alone(TEXT)
    sizes = np.linalg.norm(logits, axis=-1) * np.linalg.norm(expected, axis=-1)
    cosines = (logits * expected).sum(-1) / sizes
    assert np.median(cosines) > 0.999  # a router may choose another expert for a token or two


def test_a_prompt_that_is_known_goes_on_as_if_it_were_new(model: CausalLM) -> None:
    known, prefix = Rows(model), PrefixCache(sequences=4, limit=1 << 30)
    known.alone(TEXT[:30])
    prefix.store(known.caches, 0, TEXT[:30], ())
    again = Rows(model)
    row = again.caches.add(len(TEXT))
    assert prefix.restore(again.caches, row, TEXT, ()) == 30
    cold = Rows(model).alone(TEXT, 30, 20)[30:]
    assert np.array_equal(again.feed(TEXT[30:])[0], cold)
