"""Tiny configurations whose layers can be repeated, so that counts part into slope and rest."""

from collections.abc import Callable

import mlx.core as mx

from mistralrs_mlx.bench.counts import StepCounts, count_decode, watched
from mistralrs_mlx.engine.params import SamplingParams
from tests.bench.packing import packed
from tests.models.tiny import BASE, TINY

__all__ = ["counted", "line", "stepped"]

WIDE = {  # widths that can be packed
    "intermediate_size": 96,
    "kv_lora_rank": 64,
    "moe_intermediate_size": 64,
    "q_lora_rank": 32,
    "shared_expert_intermediate_size": 64,
    "shared_intermediate_size": 64,
}
PROMPTS = ((1, 2, 3), (4, 5, 6, 7, 8), (9, 10, 11, 12))


def counted(
    architecture: str,
    times: int,
    *,
    ragged: bool = False,
    window: int = 64,
    params: SamplingParams | None = None,
    compiled: bool = False,
) -> StepCounts:
    """Count a step of a model that has its tiny configuration's layers so many times."""
    facts = BASE | TINY[architecture]
    layers = facts["num_hidden_layers"]
    changes = {name: value for name, value in WIDE.items() if facts.get(name)}
    for name, value in facts.items():
        if isinstance(value, list) and len(value) == layers:
            changes[name] = value * times
    if facts.get("sliding_window"):
        changes["sliding_window"] = window
    if "mlp_only_layers" in facts:
        changes["mlp_only_layers"] = []
    model = packed(architecture, **changes, num_hidden_layers=layers * times)
    prompts = PROMPTS if ragged else PROMPTS[:1]
    return count_decode(model, model.vocab_size, prompts=prompts, params=params, compiled=compiled)


def line(architecture: str, *, ragged: bool = False) -> tuple[float, float]:
    """Dispatches of L layers as `slope * L + rest`."""
    layers = (BASE | TINY[architecture])["num_hidden_layers"]
    one, two = (counted(architecture, times, ragged=ragged).dispatches for times in (1, 2))
    return (two - one) / layers, 2 * one - two


def stepped(build: Callable[[], mx.array]) -> StepCounts:
    """Count a graph that is made and dispatched."""
    return watched(lambda: mx.async_eval(build()))
