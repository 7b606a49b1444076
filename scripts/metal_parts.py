"""Parts of models, in real sizes, on a device in some type against the CPU in float32."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_map

from mistralrs_mlx.cache.caches import Caches
from mistralrs_mlx.cache.kv import KVCache, QuantizedKVCache
from mistralrs_mlx.cache.latent import LatentCache
from mistralrs_mlx.cache.layout import Attends, Compresses, Packing
from mistralrs_mlx.engine.logprobs import LazyLogprobs
from mistralrs_mlx.engine.params import SamplingParams
from mistralrs_mlx.engine.sampling import Sampler, SamplerRow
from mistralrs_mlx.layers.frequencies import periods
from mistralrs_mlx.layers.latent import LatentAttention, LatentSizes
from mistralrs_mlx.layers.moe import Experts, gated
from mistralrs_mlx.layers.recurrent import gated_delta, state_space, unit
from mistralrs_mlx.layers.rope import RoPE
from mistralrs_mlx.models.towers.conformer import Conformer, ConformerConfig
from mistralrs_mlx.models.towers.siglip import Siglip, SiglipConfig

__all__ = ["COARSE", "parts"]

Part = Callable[..., mx.array]
ROWS = (40, 3, 90)  # tokens that rows of an arena have: a ragged batch
LONG = 1000
PACKED = "arena of 8 bits"
COARSE = {PACKED: 3e-2}  # where a number lies between two codes, devices may round it apart
VOCAB = 151_936


def parts() -> Iterator[tuple[str, Part, list[mx.array]]]:
    """A name, a function of arrays, and arrays for it in float32."""
    yield from _positions()
    yield from _arenas()
    yield from _mixers()
    yield from _towers()
    yield from _choices()


def _positions() -> Iterator[tuple[str, Part, list[mx.array]]]:
    """Some of a head turned, by tables, from a place of its own in each row."""
    for turned, length, traditional in product((64, 128), (1, 5), (False, True)):
        rope = RoPE(periods(turned, 1e6), traditional=traditional)

        def turn(x: mx.array, rope: RoPE = rope) -> mx.array:
            return rope.turn(x[:, :6], mx.array([3, 4000, 77]))  # queries and keys of a product

        kind = "neighbours" if traditional else "halves"
        yield f"positions {turned} of 128, {length} new, {kind}", turn, [_normal(3, 8, length, 128)]


def _arenas() -> Iterator[tuple[str, Part, list[mx.array]]]:
    """Rows of unequal length that get a token each, then four, through a window or none."""
    for dims, window in product((64, 80, 96, 128, 256), (None, 32)):
        yield f"arena {dims}, window {window}", partial(_attended, window), _heads(dims)
    yield "arena with sinks", partial(_attended, 32, sinks=mx.arange(8) / 4), _heads(64)
    yield "arena with a cap", partial(_attended, None, softcap=30.0), _heads(128)
    packing = Packing(bits=8)
    yield PACKED, partial(_attended, None, packing=packing), _heads(128)
    long = [_normal(1, heads, 5000, 128) for heads in (8, 2, 2)]
    yield "arena of 5000 columns", partial(_attended, None, rows=(4990,)), long


def _attended(
    window: int | None,
    q: mx.array,
    k: mx.array,
    v: mx.array,
    *,
    rows: tuple[int, ...] = ROWS,
    packing: Packing | None = None,
    sinks: mx.array | None = None,
    softcap: float | None = None,
) -> mx.array:
    caches = Caches([Attends(window)], packing=packing)
    layer, outs = caches.layers[0], []
    assert isinstance(layer, KVCache | QuantizedKVCache)
    sinks = None if sinks is None else sinks.astype(q.dtype)

    def attend(start: int, stop: int, places: list[slice]) -> None:
        step = caches.step(start, stop, places[0].stop - places[0].start)
        mine, keys, values = (
            mx.stack([x[start + i, :, place] for i, place in enumerate(places)]) for x in (q, k, v)
        )
        scale = q.shape[-1] ** -0.5
        out = layer.attend(mine, keys, values, step, scale=scale, sinks=sinks, softcap=softcap)
        outs.append(out.flatten())

    for row, length in enumerate(rows):
        caches.add(length)
        if length > LONG:  # nobody looks at it while it comes
            layer.store(k[:, :, :length], v[:, :, :length], caches.step(row, row + 1, length))
        else:
            attend(row, row + 1, [slice(0, length)])
    attend(0, len(rows), [slice(length, length + 1) for length in rows])
    attend(0, len(rows), [slice(length + 1, length + 5) for length in rows])
    return mx.concatenate(outs)


def _mixers() -> Iterator[tuple[str, Part, list[mx.array]]]:
    """Latent attention, experts, and what recurs."""
    sizes = LatentSizes(latent=512, query=None, plain=128, rotary=64, value=128)
    rope = RoPE(periods(64, 1e4), traditional=True)
    latent = partial(LatentAttention, 256, 4, sizes, rope, scale=192**-0.5)
    yield "latent attention", _weighted(latent, _compressed), [_normal(1, 60, 256)]
    experts = partial(Experts, 4, 256, 192, gated(nn.silu))
    for rows in (3, 40):  # sorted from 64 picks on
        weights, chosen = mx.ones((rows, 2)) / 2, mx.arange(2 * rows).reshape(rows, 2) % 4
        work = partial(_routed, weights, chosen.astype(mx.uint32))
        yield f"experts, {rows} rows", _weighted(experts, work), [_normal(rows, 1, 256)]
    for length in (1, 100):
        keys, values = ((1, heads, length, 128) for heads in (4, 8))
        decay, rate = -mx.abs(_normal(*values[:3])) / 4, mx.sigmoid(_normal(*values[:3]))
        state = _normal(1, 8, 128, 128)
        arrays = [unit(_normal(*keys)), unit(_normal(*keys)), _normal(*values), decay, rate, state]
        yield f"delta rule, {length} new", _flat(gated_delta), arrays
        x, b, c = _normal(*values), _normal(*keys), _normal(*keys)
        yield (
            f"state space, {length} new",
            _flat(state_space),
            [x, rate, -rate[0, :, 0], b, c, state],
        )


def _compressed(layer: nn.Module, x: mx.array) -> mx.array:
    """A prefill of most tokens, then one by one."""
    caches = Caches([Compresses()])
    caches.add(x.shape[1])
    assert isinstance(caches.layers[0], LatentCache)
    pieces = mx.split(x, [x.shape[1] - 2, x.shape[1] - 1], axis=1)
    outs = [layer(each, caches.step(0, 1, each.shape[1]), caches.layers[0]) for each in pieces]
    return mx.concatenate(outs, axis=1)


def _routed(weights: mx.array, chosen: mx.array, layer: nn.Module, x: mx.array) -> mx.array:
    y: mx.array = layer(x, weights, chosen)
    return y


def _towers() -> Iterator[tuple[str, Part, list[mx.array]]]:
    """One layer of each encoder, in its published width."""
    seen = mx.ones((1, 4, 4), mx.bool_)
    sight = partial(Siglip, SiglipConfig(image_size=56), layers=1)
    work = _weighted(sight, lambda tower, x: tower(x, seen))
    yield "picture encoder", work, [_normal(1, 56, 56, 3)]
    hearing = partial(Conformer, ConformerConfig(num_blocks=1))
    yield "sound encoder", _weighted(hearing, lambda tower, x: tower(x)), [_normal(88, 80)]


def _choices() -> Iterator[tuple[str, Part, list[mx.array]]]:
    """Tokens of a real vocabulary, drawn in every way: the same on all devices."""
    logits = mx.round(_normal(4, VOCAB) * 8) / 4  # with ties, and the same in any type
    ways = {
        "greedy": SamplingParams(temperature=0.0),
        "warm": SamplingParams(temperature=0.8, seed=1),
        "cut": SamplingParams(temperature=0.8, seed=1, top_k=50, top_p=0.9, min_p=0.02),
        "penalized": SamplingParams(seed=1, frequency_penalty=0.5, repetition_penalty=1.2),
    }
    for name, params in ways.items():
        rows = [SamplerRow(params, [1, 2, 3], VOCAB, choice=choice) for choice in range(4)]

        def draw(logits: mx.array, rows: list[SamplerRow] = rows) -> mx.array:
            return Sampler()(logits, rows).tokens.astype(mx.float32)

        yield f"choice, {name}", draw, [logits]
    yield "choice, logprobs", _reported, [logits]


def _reported(logits: mx.array) -> mx.array:
    scores, tokens = logits.astype(mx.float32), mx.array([5, 6, 7, 8])
    found = LazyLogprobs.of(scores, tokens, {0: 20, 1: 3, 2: 0, 3: 5})
    assert found.top is not None
    return mx.concatenate([found.chosen[:, None], found.top[0], found.top[1]], axis=1)


def _weighted(build: Callable[[], nn.Module], work: Callable[..., mx.array]) -> Part:
    """Let a module work whose weights are the same on all devices, in its input's type."""
    module = build()
    weights = tree_map(_like, module.parameters())

    def part(x: mx.array) -> mx.array:
        module.update(tree_map(lambda array: array.astype(x.dtype), weights))
        return work(module, x)

    return part


def _like(array: mx.array) -> mx.array:
    """A weight of this shape under which numbers keep their size."""
    fan: int = array[0].size if array.ndim > 1 else 1
    return mx.multiply(_normal(*array.shape), fan**-0.5)


def _flat(function: Callable[..., tuple[mx.array, mx.array]]) -> Part:
    """What a token gives, and what it leaves behind."""
    return lambda *arrays: mx.concatenate([each.flatten() for each in function(*arrays)])


def _heads(dims: int) -> list[mx.array]:
    return [_normal(3, heads, 100, dims) for heads in (8, 2, 2)]


def _normal(*shape: int) -> mx.array:
    with mx.stream(mx.cpu):
        made = mx.random.normal(shape)
        mx.eval(made)
        return made
