"""The engine and its prefix cache: what is known is not computed again, and nobody can tell."""

from typing import Any

import mlx.core as mx
import pytest

from mistralrs_mlx.cache.caches import Caches
from mistralrs_mlx.cache.layout import Memory, Packing
from mistralrs_mlx.cache.prefix import PrefixCache
from mistralrs_mlx.cache.step import Step
from mistralrs_mlx.engine.drafts import PromptLookup
from mistralrs_mlx.engine.engine import Engine
from mistralrs_mlx.engine.params import SamplingParams
from mistralrs_mlx.engine.rows import Rows
from mistralrs_mlx.engine.sequence import Sequence
from mistralrs_mlx.models.base import CausalLM
from tests.models.assemble import tiny
from tests.models.detweights import prompt
from tests.models.tiny import LONG_FACTOR, SHORT_FACTOR, config

from .toy import VOCAB, Reader, Toy, continuation, finish, sequence

KINDS: dict[str, tuple[str, dict[str, Any], Packing | None]] = {
    "full": ("LlamaForCausalLM", {}, None),
    "windowed": ("MistralForCausalLM", {}, None),
    "windowed and full": ("Gemma2ForCausalLM", {}, None),
    "quantized": ("Qwen3ForCausalLM", {"head_dim": 64}, Packing(bits=8)),
    "quantized windowed": ("MistralForCausalLM", {"head_dim": 64}, Packing(bits=8)),
    "latent": ("DeepseekV2ForCausalLM", {}, None),
    "quantized latent": ("DeepseekV2ForCausalLM", {"kv_lora_rank": 64}, Packing(bits=8)),
    "delta rule and full": ("Qwen3NextForCausalLM", {}, None),
    "mamba and full": ("GraniteMoeHybridForCausalLM", {}, None),
    "convolutions and full": ("Lfm2ForCausalLM", {}, None),
}
TALK = prompt(2000)


class Counted:
    """A model that counts the tokens it computes."""

    def __init__(self, model: CausalLM) -> None:
        self.model, self.computed = model, 0
        self.logits: list[mx.array] = []

    @property
    def rope_border(self) -> int | None:
        return self.model.rope_border

    def cache_layout(self) -> list[Memory]:
        return self.model.cache_layout()

    def embed(self, tokens: mx.array) -> mx.array:
        self.computed += tokens.size
        return self.model.embed(tokens)

    def hidden(self, embeddings: mx.array, step: Step) -> mx.array:
        return self.model.hidden(embeddings, step)

    def head(self, hidden: mx.array) -> mx.array:
        self.logits.append(self.model.head(hidden))
        return self.logits[-1]


class Talk:
    """A model behind an engine with a prefix cache."""

    def __init__(
        self, model: Any, *, n: int = 16, steady: int | None = None, **options: Any
    ) -> None:
        self.model = Counted(model)
        self.prefix = PrefixCache(sequences=n, limit=1 << 30, steady=steady) if n else None
        self.engine = Engine(self.model, max_seqs=4, prefix=self.prefix, **options)
        self.packing = options.get("packing")

    def start(self, tokens: list[int], limit: int = 8, **options: Any) -> Sequence:
        each = Sequence(
            prompt=tokens,
            params=SamplingParams(temperature=0.0),
            sink=Reader(),
            limit=limit,
            stop_tokens=frozenset(),
            vocab_size=256,
            **options,
        )
        self.engine.submit(each)
        return each

    def say(self, tokens: list[int], limit: int = 8, **options: Any) -> Sequence:
        each = self.start(tokens, limit, **options)
        finish(self.engine)
        assert each.sink.error is None
        return each


@pytest.fixture(params=KINDS)
def talk(request: pytest.FixtureRequest) -> Talk:
    architecture, changes, packing = KINDS[request.param]
    return Talk(tiny(config(architecture, **changes)), packing=packing)


def cold(talk: Talk, tokens: list[int], limit: int = 8) -> list[int]:
    """What the same model says without any memory of earlier sequences."""
    engine = Engine(talk.model, max_seqs=1, packing=talk.packing)
    each = sequence(tokens, limit)
    engine.submit(each)
    finish(engine)
    return each.tokens


@pytest.mark.parametrize(
    "architecture",
    ["Gemma2ForCausalLM", "LlamaForCausalLM", "Lfm2ForCausalLM", "Qwen3NextForCausalLM"],
)
def test_a_second_turn_of_a_long_talk_computes_the_new_text_only(architecture: str) -> None:
    talk = Talk(tiny(config(architecture)))
    first = talk.say(TALK)
    talk.model.computed = 0
    second = talk.say([*TALK, *first.tokens, 9, 8, 7, 6, 5])
    # The last token of the first answer was never fed; each token but the last is fed once.
    assert talk.model.computed == 1 + 5 + (len(second.tokens) - 1)
    assert second.timing.cached_tokens == len(second.prompt) - 6


def test_a_second_turn_is_answered_as_if_it_were_the_first(talk: Talk) -> None:
    first = talk.say(TALK[:200])
    second = talk.say([*first.known, 9, 8, 7, 6, 5])
    assert second.timing.cached_tokens == 207
    assert second.tokens == cold(talk, second.prompt)


def test_what_follows_a_boundary_may_change(talk: Talk) -> None:
    talk.say(TALK[:400], 1, boundaries=(100, 350))
    talk.model.computed = 0
    for length in (350, 100):
        each = talk.say([*TALK[:length], *[3] * 20], 4)
        assert each.timing.cached_tokens == length
        assert talk.model.computed == 23
        assert each.tokens == cold(talk, each.prompt, 4)
        talk.model.computed = 0


def test_a_prompt_is_known_while_its_answer_still_runs(talk: Talk) -> None:
    first = talk.start(TALK[:300], limit=30, boundaries=(200,))
    talk.engine.step()
    second = talk.start([*TALK[:200], *[5] * 20], limit=4)
    talk.engine.step()
    assert second.timing.cached_tokens == 200
    finish(talk.engine)
    assert second.tokens == cold(talk, second.prompt, 4)
    assert first.tokens == cold(talk, first.prompt, 30)


def test_logits_after_a_hit_are_those_of_a_cold_run_bit_for_bit(talk: Talk) -> None:
    # Both compute 50 tokens after 250; other shapes may round otherwise.
    talk.say(TALK[:250], 1)
    hit = talk.say(TALK[:300], 1)
    assert hit.timing.cached_tokens == 250
    other = Talk(talk.model.model, n=0, prefill_budget=250, packing=talk.packing)
    other.say(TALK[:300], 1)
    assert mx.array_equal(talk.model.logits[-1], other.model.logits[-1])


@pytest.mark.parametrize("window", [None, 6])
def test_a_crowd_with_one_beginning_gets_the_tokens_of_each_alone(window: int | None) -> None:
    toy, system = Toy(window), [5, 4, 3, 2, 1] * 8
    talk = Talk(toy, prefill_budget=16)
    crowd = [talk.start([*system, *range(i, 2 * i)], limit=5 + i) for i in range(1, 9)]
    finish(talk.engine)
    assert [each.tokens for each in crowd] == [
        continuation(toy, each.prompt, each.limit) for each in crowd
    ]
    assert all(each.timing.cached_tokens >= 39 for each in crowd[1:]) or window


def test_choices_know_alike_and_each_leaves_its_end() -> None:
    toy = Toy()
    talk = Talk(toy)
    talk.say([1, 2, 3, 4])
    params = SamplingParams(temperature=1.0, seed=3)
    first = sequence([1, 2, 3, 4, 5], limit=6, params=params)
    first.siblings = [sequence([1, 2, 3, 4, 5], limit=6, params=params, choice=1)]
    family = [first, *first.siblings]
    talk.engine.submit(first)
    finish(talk.engine)
    assert [each.timing.cached_tokens for each in family] == [4, 4]
    for each in family:
        assert talk.say(each.known, 1).timing.cached_tokens == 10


def test_a_canceled_answer_and_a_canceled_prompt_are_remembered() -> None:
    talk = Talk(Toy(), prefill_budget=8)
    answer, prefill = talk.start([1] * 6, 50), talk.start([2] * 40, 50)
    talk.engine.step()
    talk.engine.step()
    for each in (answer, prefill):
        each.canceled = True
    finish(talk.engine)
    assert talk.say([2] * 40, 1).timing.cached_tokens >= 8
    assert talk.say([*answer.known, 7], 1).timing.cached_tokens >= 7


def test_what_failed_is_not_remembered() -> None:
    toy = Toy()
    talk = Talk(toy, prefill_budget=8)
    broken = talk.start([1] * 30)
    talk.engine.step()
    toy.broken = True
    talk.engine.step()
    toy.broken = False
    assert broken.sink.error is not None
    assert len(talk.prefix) == 0
    assert talk.say([1] * 30).tokens == continuation(toy, [1] * 30, 8)


def test_an_aborted_engine_forgets_everything() -> None:
    talk = Talk(Toy())
    talk.say([1, 2, 3])
    assert talk.prefix.nbytes > 0
    talk.engine.abort(RuntimeError("closed"))
    assert (talk.prefix.nbytes, len(talk.prefix)) == (0, 0)


def test_rows_of_either_side_of_a_border_share_nothing_with_the_other() -> None:
    toy = Toy(rope_border=10)
    talk = Talk(toy)
    for length, cached in ((8, 0), (9, 8), (12, 0), (13, 12), (7, 6)):
        each = talk.say([3] * length, 1)
        assert each.timing.cached_tokens == cached
        assert each.tokens == continuation(toy, each.prompt, 1)


def test_a_row_that_crossed_a_border_is_known_beyond_it_only() -> None:
    scaling = {"type": "longrope", "short_factor": SHORT_FACTOR, "long_factor": LONG_FACTOR}
    talk = Talk(tiny(config("Phi3ForCausalLM", rope_scaling=scaling)))
    crossed = talk.say(TALK[:60], 10)
    assert crossed.tokens == cold(talk, TALK[:60], 10)
    short, long = [*crossed.known[:62], 1], [*crossed.known, 1]
    assert talk.say(short, 1).timing.cached_tokens == 62
    for text in (long, short):
        each = talk.say(text, 1)
        assert each.tokens == cold(talk, text, 1)
    assert talk.say([*long, 2], 1).timing.cached_tokens == len(long)


def test_keys_that_turn_as_the_length_says_are_not_shared() -> None:
    scaling = {"rope_type": "dynamic", "factor": 2.0}
    model = tiny(config("LlamaForCausalLM", rope_scaling=scaling, max_position_embeddings=50))
    talk = Talk(model, steady=model.config.rope_spec.steady)
    first = talk.say(TALK[:45], 20)
    for length, cached in ((48, 45), (60, 0), (62, 0), (50, 49)):
        text = first.known[:length]
        each = talk.say(text, 1)
        assert (each.timing.cached_tokens > 0) == (cached > 0)
        assert each.tokens == cold(talk, text, 1)


def test_without_a_cache_nothing_is_remembered() -> None:
    talk = Talk(Toy(), kv_cache=False)
    talk.say([1, 2, 3])
    assert talk.say([1, 2, 3, 4], 1).timing.cached_tokens == 0


def test_another_salt_or_another_picture_shares_nothing() -> None:
    talk = Talk(Toy())
    text = [1, 2, 2, 3]
    talk.say(text, 1, prompt_keys=[1, (2, "cat"), (2, "cat"), 3], salt=("lora",))
    for keys, salt, cached in (
        (None, (), 0),
        ([1, (2, "dog"), (2, "dog"), 3], ("lora",), 1),
        ([1, (2, "cat"), (2, "cat"), 3], ("lora",), 3),
    ):
        each = talk.say(text, 1, prompt_keys=keys, salt=salt)
        assert each.timing.cached_tokens == cached


def test_penalties_and_tokens_after_a_hit_are_those_without_it() -> None:
    toy = Toy()
    params = SamplingParams(temperature=0.8, seed=5, presence_penalty=1.5, repetition_penalty=1.2)
    ends = []
    for n in (0, 16):
        talk = Talk(toy, n=n)
        for text in ([7, 8, 9], [7, 8, 9, 10, 11]):
            each = sequence(text, limit=VOCAB // 2, params=params)
            talk.engine.submit(each)
            finish(talk.engine)
        ends.append(each.tokens)
    assert ends[0] == ends[1]


class Slow(Toy):
    """A toy whose passes can take a while, so that one is under way when the next thing is done."""

    def __init__(self) -> None:
        super().__init__()
        self.slow, self.wide = False, mx.ones((600, 600))
        mx.eval(self.wide, self.table, self.turn, self.out)

    def hidden(self, embeddings: mx.array, step: Step) -> mx.array:
        out = super().hidden(embeddings, step)
        if self.slow:
            out = out + ((self.wide + embeddings.sum()) @ self.wide).sum() * 0
        return out


def test_a_row_that_joins_copies_no_arena(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Slow()
    monkeypatch.setattr(Rows, "fresh_caches", lambda _: Caches(toy.cache_layout(), growth=1 << 18))
    talk = Talk(toy)
    talk.say([2] * 30, 1)
    waiting = [talk.start([1] * 30, 50), talk.start([3] * 30, 2)]  # room for two rows, and one goes
    for toy.slow in (False, False, False, True):
        talk.engine.step()
    toy.slow = False
    arenas, before = talk.engine._rows.caches.nbytes, mx.get_active_memory()
    assert len(talk.engine._rows) == 1
    mx.reset_peak_memory()
    waiting.append(talk.start([2] * 31, 9))
    talk.engine.step()
    assert waiting[-1].timing.cached_tokens == 30
    assert mx.get_peak_memory() - before < arenas / 4


@pytest.mark.parametrize("window", [None, 6])
def test_drafts_that_were_rejected_are_not_remembered(window: int | None) -> None:
    toy = Toy(window)
    talk = Talk(toy, drafter=PromptLookup(6))
    text = [1, 2, 3, 4] * 5
    for _ in range(4):
        each = talk.say(text, 25)
        assert each.tokens == continuation(toy, text, 25)
        text = [*each.known, 1, 2, 3]
    assert each.timing.cached_tokens >= len(each.prompt) - 4
