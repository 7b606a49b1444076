"""A compiled decode step gives what a plain one gives, for every architecture and any rows."""

from collections.abc import Callable, Iterator
from typing import Any

import mlx.core as mx
import pytest

from mistralrs_mlx.bench.metal import fuses
from mistralrs_mlx.cache.fused import fused
from mistralrs_mlx.cache.layout import Packing
from mistralrs_mlx.engine.compiled import CompiledPass
from mistralrs_mlx.engine.engine import Engine
from mistralrs_mlx.engine.reading import MediaReading
from mistralrs_mlx.models.base import CausalLM
from mistralrs_mlx.models.multimodal import MultimodalLM
from tests.engine.toy import finish, sequence
from tests.models.assemble import tiny
from tests.models.detweights import prompt
from tests.models.tiny import LONG_FACTOR, SHORT_FACTOR, TINY, config

LENGTHS = (3, 21, 9)
SOME = ["LlamaForCausalLM", "Gemma2ForCausalLM", "Phi3ForCausalLM", "Qwen3NextForCausalLM"]


@pytest.fixture
def compiling() -> Iterator[None]:
    """Compiled functions are called and not traced anew; kernels are fused if there is a g++."""
    was = fuses()
    mx.enable_compile()
    yield
    if not was:
        mx.disable_compile()


@pytest.fixture
def tracing() -> Iterator[None]:
    """Compiled functions are traced anew in every call."""
    was = fuses()
    mx.disable_compile()
    yield
    if was:
        mx.enable_compile()


def answers(model: CausalLM, *, compiled: bool, limits=(30, 12, 18), **changes) -> list[list[int]]:
    engine = Engine(model, max_seqs=2, prefill_budget=16, compiled=compiled, **changes)
    prompts = [prompt(length) for length in LENGTHS]
    waiting = [
        sequence([token % model.vocab_size for token in text], limit=limit)
        for text, limit in zip(prompts, limits, strict=True)
    ]
    for each in waiting:
        engine.submit(each)
    finish(engine)
    return [each.tokens for each in waiting]


def counting(hidden: Callable[..., mx.array], passes: list[int]) -> Callable[..., mx.array]:
    """The same, noting how many tokens a row has in each pass that Python sees."""

    def counted(embeddings: mx.array, step: Any) -> mx.array:
        passes.append(embeddings.shape[1])
        return hidden(embeddings, step)

    return counted


@pytest.mark.parametrize("name", TINY)
def test_tokens_are_those_of_plain_steps(name: str, tracing: None) -> None:
    model = tiny(config(name))
    assert answers(model, compiled=True) == answers(model, compiled=False)


@pytest.mark.parametrize("name", SOME)
def test_a_function_made_for_one_step_serves_the_next_ones(name: str, compiling: None) -> None:
    model, passes = tiny(config(name)), []
    model.hidden = counting(model.hidden, passes)
    plain = answers(model, compiled=False)
    stepwise = passes.count(1)
    passes.clear()
    assert answers(model, compiled=True) == plain
    assert passes.count(1) <= stepwise / 4  # a few sizes of the batch, twice each at most


def test_packed_columns_and_logprobs_of_sampled_rows_are_the_same(compiling: None) -> None:
    model = tiny(config("LlamaForCausalLM", head_dim=64))
    packed = {"packing": Packing(bits=8, group_size=64)}
    assert answers(model, compiled=True, **packed) == answers(model, compiled=False, **packed)


def test_arenas_are_written_in_place(compiling: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "rope", mx.fast.rope)  # tables for wide heads would be counted
    model = tiny(config("LlamaForCausalLM", head_dim=512))
    engine = Engine(model, max_seqs=1, compiled=True)
    engine.submit(sequence(prompt(3), limit=200))
    for _ in range(20):
        engine.step()
    engine._decode.may_run_ahead = lambda: False  # what a step in flight reads is not donated
    mx.synchronize()
    held = mx.get_active_memory()
    mx.reset_peak_memory()
    for _ in range(20):
        engine.step()
    arenas = engine._rows.caches.nbytes
    assert mx.get_peak_memory() - held < arenas / 8  # there are four


def test_nothing_of_ended_sequences_is_held(compiling: None) -> None:
    model = tiny(config("LlamaForCausalLM"))
    engine = Engine(model, max_seqs=2, compiled=True)
    mx.synchronize()
    before = mx.get_active_memory()
    for _ in range(3):
        engine.submit(sequence(prompt(40), limit=20))
        finish(engine)
    mx.synchronize()
    assert mx.get_active_memory() - before < 4096


def one_by_one(model: CausalLM, *asked: tuple[int, int], compiled: bool) -> list[list[int]]:
    """Answers to prompts of these lengths with adapters of these slots, by one engine."""
    reading = MediaReading(model) if isinstance(model, MultimodalLM) else None
    engine = Engine(model, max_seqs=1, compiled=compiled, reading=reading)
    told = []
    for length, slot in asked:
        text = [token % model.vocab_size for token in prompt(length)]
        told.append(sequence(text, limit=12, slot=slot))
        engine.submit(told[-1])
        finish(engine)
    return [each.tokens for each in told]


def test_rows_beyond_a_border_have_a_function_of_their_own(compiling: None) -> None:
    scaling = {"type": "longrope", "short_factor": SHORT_FACTOR, "long_factor": LONG_FACTOR}
    model = tiny(config("Phi3ForCausalLM", rope_scaling=scaling))
    border = model.rope_border
    assert border is not None
    asked = (border // 2, 0), (border + 9, 0), (border // 2, 0)
    assert one_by_one(model, *asked, compiled=True) == one_by_one(model, *asked, compiled=False)


def test_few_functions_are_kept_however_many_sizes_there_were(
    tracing: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mistralrs_mlx.engine.compiled.MOST", 1)
    kept = []
    remember = CompiledPass._remember
    monkeypatch.setattr(
        CompiledPass,
        "_remember",
        lambda self, *new: (remember(self, *new), kept.append(len(self._functions))),
    )
    model = tiny(config("LlamaForCausalLM"))
    assert answers(model, compiled=True) == answers(model, compiled=False)
    assert len(kept) > 1
    assert set(kept) == {1}


def test_every_adapter_has_a_function_of_its_own(compiling: None) -> None:
    model = tiny(config("Phi4MMForCausalLM"))
    asked = (9, 0), (9, 1), (9, 2)
    plain = one_by_one(model, *asked, compiled=False)
    assert len({tuple(tokens) for tokens in plain}) == 3
    assert one_by_one(model, *asked, compiled=True) == plain
