"""Drafts on real architectures: every kind of cache goes back to what was kept."""

from collections.abc import Callable

import pytest

from mistralrs_mlx.cache.caches import Caches
from mistralrs_mlx.cache.layout import Memory, Packing
from mistralrs_mlx.engine.draft_model import DraftModel
from mistralrs_mlx.engine.drafts import Drafter, PromptLookup
from mistralrs_mlx.engine.engine import Engine
from mistralrs_mlx.engine.params import SamplingParams
from mistralrs_mlx.engine.sequence import Sequence
from mistralrs_mlx.models.base import CausalLM
from tests.models.assemble import tiny
from tests.models.tiny import config

from .toy import Reader, finish

ARCHITECTURES = {
    "full": ("LlamaForCausalLM", None),
    "windowed": ("MistralForCausalLM", None),
    "windowed and full": ("Gemma3ForCausalLM", None),
    "latent": ("DeepseekV2ForCausalLM", None),
    "packed": ("Qwen3ForCausalLM", Packing(bits=8, group_size=32)),
    "packed and windowed": ("MistralForCausalLM", Packing(bits=8, group_size=32)),
}


@pytest.fixture(autouse=True)
def _short_rings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rings that come round after 24 tokens."""

    def caches(layout: list[Memory], **options: Packing | None) -> Caches:
        return Caches(layout, block=16, growth=8, **options)

    monkeypatch.setattr("mistralrs_mlx.engine.rows.Caches", caches)
    monkeypatch.setattr("mistralrs_mlx.engine.draft_model.Caches", caches)


def answers(model: CausalLM, packing: Packing | None, drafter: Drafter | None) -> list[list[int]]:
    """Four texts of different lengths, cold and warm, that come one after the other."""
    engine = Engine(model, max_seqs=3, prefill_budget=16, drafter=drafter, packing=packing)
    given = [text(i, length) for i, length in enumerate((3, 40, 17, 9))]
    for each in given:
        engine.submit(each)
        engine.step()
    finish(engine)
    return [each.tokens for each in given]


def text(number: int, length: int) -> Sequence:
    return Sequence(
        prompt=[(7 + number + 3 * (i % 5)) % 200 for i in range(length)],
        params=SamplingParams(temperature=float(number % 2), seed=number, top_k=20),
        sink=Reader(),
        limit=36 - 5 * number,
        stop_tokens=frozenset(),
        vocab_size=256,
    )


def by_lookup(model: CausalLM) -> Drafter:
    return PromptLookup(7)


def by_itself(model: CausalLM) -> Drafter:
    return DraftModel(model, most=5, context=4096)


def by_another(model: CausalLM) -> Drafter:
    return DraftModel(tiny(config("MistralForCausalLM")), most=5, context=4096)


@pytest.mark.parametrize("made", [by_lookup, by_itself, by_another])
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_drafts_change_no_token(kind: str, made: Callable[[CausalLM], Drafter]) -> None:
    architecture, packing = ARCHITECTURES[kind]
    model = tiny(config(architecture))
    plain = answers(model, packing, None)
    assert answers(model, packing, made(model)) == plain
