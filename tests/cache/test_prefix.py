"""The prefix cache: a row that begins with what is known goes on as if it had computed it."""

from collections.abc import Sequence
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from mistralrs_mlx.cache.caches import Caches
from mistralrs_mlx.cache.layout import Attends, Packing
from mistralrs_mlx.cache.prefix import PrefixCache
from mistralrs_mlx.models.base import CausalLM
from tests.models.assemble import tiny
from tests.models.detweights import prompt
from tests.models.tiny import config

TEXT = prompt(60)
SMALL_BLOCK = 16
# Every kind of memory, and every mixture that there is.
KINDS: dict[str, tuple[str, dict[str, Any], int | None]] = {
    "full": ("LlamaForCausalLM", {}, None),
    "windowed": ("MistralForCausalLM", {}, None),
    "windowed and full": ("Gemma2ForCausalLM", {}, None),
    "quantized": ("Qwen3ForCausalLM", {"head_dim": 64}, 8),
    "quantized windowed": ("MistralForCausalLM", {"head_dim": 64}, 8),
    "latent": ("DeepseekV2ForCausalLM", {}, None),
    "quantized latent": ("DeepseekV2ForCausalLM", {"kv_lora_rank": 64}, 8),
    "states and full": ("Qwen3NextForCausalLM", {}, None),
    "mamba and full": ("GraniteMoeHybridForCausalLM", {}, None),
    "convolutions and full": ("Lfm2ForCausalLM", {}, None),
}


class Feeder:
    """A model with caches of one row each time, and a prefix cache beside them."""

    def __init__(self, model: CausalLM, kv_bits: int | None = None, **limits: int) -> None:
        self.model, self.kv_bits = model, kv_bits
        self.prefix = PrefixCache(**{"sequences": 16, "limit": 1 << 30, **limits})
        self.fresh()

    def fresh(self) -> None:
        packing = None if self.kv_bits is None else Packing(bits=self.kv_bits)
        self.caches = Caches(
            self.model.cache_layout(), packing=packing, block=SMALL_BLOCK, growth=4
        )

    def feed(self, row: int, tokens: Sequence[int]) -> np.ndarray:
        """The logits of a row's next tokens, in chunks as large as a window takes."""
        chunks = []
        for start in range(0, len(tokens), SMALL_BLOCK):
            chunk = list(tokens[start : start + SMALL_BLOCK])
            step = self.caches.step(row, row + 1, len(chunk))
            hidden = self.model.hidden(self.model.embed(mx.array([chunk])), step)
            chunks.append(np.array(self.model.head(hidden)[0].astype(mx.float32)))
        return np.concatenate(chunks)

    def begin(self, tokens: Sequence[int]) -> tuple[int, int]:
        """A new row for these tokens, and how many of them it knows."""
        row = self.caches.add(len(tokens))
        return row, self.prefix.restore(self.caches, row, tokens)


@pytest.fixture(params=KINDS)
def feeder(request: pytest.FixtureRequest) -> Feeder:
    architecture, changes, kv_bits = KINDS[request.param]
    return Feeder(tiny(config(architecture, **changes)), kv_bits)


def test_a_hit_goes_on_bit_for_bit_like_the_row_that_it_came_from(feeder: Feeder) -> None:
    row, _ = feeder.begin(TEXT)
    feeder.feed(row, TEXT[:40])
    feeder.prefix.store(feeder.caches, row, TEXT[:40])
    expected = feeder.feed(row, TEXT[40:])
    feeder.fresh()
    feeder.feed(feeder.caches.add(), [9, 8, 7])  # another row, so that this one has another slot
    row, known = feeder.begin(TEXT)
    assert known == 40
    assert (feeder.feed(row, TEXT[40:]) == expected).all()


def test_what_several_segments_hold_is_put_together_bit_for_bit(feeder: Feeder) -> None:
    row, _ = feeder.begin(TEXT)
    for start, stop in ((0, 5), (5, 22), (22, 27), (27, 50)):
        feeder.feed(row, TEXT[start:stop])
        feeder.prefix.store(feeder.caches, row, TEXT[:stop])
    expected = feeder.feed(row, TEXT[50:])
    assert len(feeder.prefix) == 1
    feeder.fresh()
    row, known = feeder.begin(TEXT)
    assert known == 50
    assert (feeder.feed(row, TEXT[50:]) == expected).all()


def test_sequences_that_part_in_the_middle_each_find_their_own(feeder: Feeder) -> None:
    texts = [TEXT, TEXT[:20] + TEXT[:19:-1], TEXT[:30] + [3] * 30]
    expected = []
    for text in texts:
        row = feeder.caches.add(len(text))
        for start, stop in ((0, 20), (20, 30), (30, 50)):
            feeder.feed(row, text[start:stop])
            feeder.prefix.store(feeder.caches, row, text[:stop])
        expected.append(feeder.feed(row, text[50:]))
    feeder.fresh()
    for text, logits in zip(texts, expected, strict=True):
        row, known = feeder.begin(text)
        assert known == 50
        assert (feeder.feed(row, text[50:]) == logits).all()


def test_a_prompt_that_is_known_to_its_end_computes_its_last_token(feeder: Feeder) -> None:
    row, _ = feeder.begin(TEXT)
    feeder.feed(row, TEXT[:30])
    feeder.prefix.store(feeder.caches, row, TEXT[:30])
    feeder.feed(row, TEXT[30:40])
    feeder.prefix.store(feeder.caches, row, TEXT[:40])
    row, known = feeder.begin(TEXT[:40])
    assert known == (30 if feeder.caches.recurs else 39)
    logits, cold = feeder.feed(row, TEXT[known:40]), Feeder(feeder.model, feeder.kv_bits)
    expected = cold.feed(cold.caches.add(40), TEXT[:40])[known:]
    assert np.abs(logits - expected).max() < 1e-4


def stored(
    prefix: PrefixCache, caches: Caches, tokens: list[int], salt: tuple[int, ...] = ()
) -> None:
    """Remember a row of these tokens, all of whose keys and values are 1."""
    row = caches.add(len(tokens))
    ones = mx.ones((1, 2, len(tokens), 8))
    step = caches.step(row, row + 1, len(tokens))
    for layer in step.caches:
        layer.attend(ones, ones, ones, step, scale=1.0)
    prefix.store(caches, row, tokens, salt)
    caches.pop()


def plain(**limits: int) -> tuple[PrefixCache, Caches]:
    prefix = PrefixCache(**{"sequences": 16, "limit": 1 << 20, **limits})
    return prefix, Caches([Attends()], growth=4)


def known(prefix: PrefixCache, tokens: list[int], salt: tuple[int, ...] = ()) -> int:
    caches = Caches([Attends()], growth=4)
    return prefix.restore(caches, caches.add(), tokens, salt)


COLUMN = 2 * 2 * 8 * 4  # bytes: keys and values, heads, dims, float32


def test_what_sequences_have_in_common_is_held_once() -> None:
    prefix, caches = plain()
    stored(prefix, caches, [1] * 20)
    stored(prefix, caches, [*[1] * 15, *[2] * 5])
    stored(prefix, caches, [*[1] * 15, *[3] * 5])
    assert prefix.nbytes == 30 * COLUMN
    assert [known(prefix, [*[1] * 15, *[end] * 9]) for end in (1, 2, 3, 4)] == [20, 20, 20, 15]


def test_a_sequence_that_grows_is_one_sequence() -> None:
    prefix, caches = plain(sequences=1)
    for length in (4, 9, 30):
        stored(prefix, caches, list(range(length)))
    assert (len(prefix), prefix.nbytes) == (1, 30 * COLUMN)


def test_a_sequence_that_another_begins_with_is_one_of_its_own() -> None:
    prefix, caches = plain(sequences=1)
    for length in (20, 10):
        stored(prefix, caches, [1] * length)
    assert (prefix.nbytes, known(prefix, [1] * 30)) == (10 * COLUMN, 10)


def test_the_oldest_sequence_is_forgotten_first_but_not_what_others_share() -> None:
    prefix, caches = plain(sequences=2)
    for end in (2, 3, 4):
        stored(prefix, caches, [1, 1, 1, end, end])
    assert [known(prefix, [1, 1, 1, end, end, 0]) for end in (2, 3, 4)] == [3, 5, 5]
    assert prefix.nbytes == 7 * COLUMN


def test_a_sequence_that_comes_again_is_the_newest() -> None:
    prefix, caches = plain(sequences=2)
    for first in (1, 2, 1, 3):
        stored(prefix, caches, [first] * 4)
    assert [known(prefix, [first] * 9) for first in (1, 2, 3)] == [4, 0, 4]


def test_bytes_are_limited_and_can_be_claimed_back() -> None:
    prefix, caches = plain(limit=25 * COLUMN)
    for first in (1, 2, 3):
        stored(prefix, caches, [first] * 10)
    assert prefix.nbytes == 20 * COLUMN
    prefix.shrink(15 * COLUMN)
    assert [known(prefix, [first] * 20) for first in (1, 2, 3)] == [0, 0, 10]
    prefix.clear()
    assert (prefix.nbytes, len(prefix)) == (0, 0)


def test_a_sequence_beyond_the_limit_does_not_drive_out_the_others() -> None:
    prefix, caches = plain(limit=25 * COLUMN)
    stored(prefix, caches, [1] * 10)
    stored(prefix, caches, [2] * 40)
    assert [known(prefix, [first] * 50) for first in (1, 2)] == [10, 0]


def test_a_sequence_that_grows_beyond_the_limit_does_not_drive_out_the_others() -> None:
    prefix, caches = plain(limit=25 * COLUMN)
    stored(prefix, caches, [1] * 10)
    for length in (14, 28):
        stored(prefix, caches, [2] * length)
    assert [known(prefix, [first] * 50) for first in (1, 2)] == [10, 0]
    assert prefix.nbytes == 10 * COLUMN


def test_another_salt_shares_nothing() -> None:
    prefix, caches = plain()
    stored(prefix, caches, [1] * 10, salt=(7,))
    assert [known(prefix, [1] * 20, salt) for salt in ((), (7,), (8,))] == [0, 10, 0]


def test_keys_that_are_no_tokens_tell_images_apart() -> None:
    prefix, caches = plain()
    stored(prefix, caches, [1, (5, "cat"), (5, "cat"), 2])
    assert known(prefix, [1, (5, "cat"), (5, "cat"), 2, 3]) == 4
    assert known(prefix, [1, (5, "dog"), (5, "dog"), 2, 3]) == 1


def test_what_is_kept_shares_no_memory_with_the_arena() -> None:
    prefix, caches = PrefixCache(sequences=4, limit=1 << 30), Caches([Attends()], growth=4096)
    tokens = list(range(100))
    stored(prefix, caches, tokens)
    del caches
    mx.clear_cache()
    before = mx.get_active_memory()
    prefix.clear()
    assert (
        100 <= (before - mx.get_active_memory()) / COLUMN < 200
    )  # MLX may hand out larger buffers


@pytest.mark.parametrize(
    ("tokens", "salt", "reason"),
    [
        ([1, 2, 3, 4, 9], (), "4 of 5 tokens: all but the last"),
        ([1, 2, 8, 4, 9], (), "2 of 5 tokens: differs at token 2"),
        ([1, 2, (5, "cat"), 4, 9], (), "2 of 5 tokens: other media at token 2"),
        ([8, 2, 3], (), "0 of 3 tokens: no entry"),
        ([6, 6, 6], (), "0 of 3 tokens: evicted from token 0 on"),
        ([1, 2, 3], (7,), "0 of 3 tokens: known for another adapter or context only"),
    ],
)
def test_the_log_says_why_no_more_was_found(
    tokens: list[int], salt: tuple[int, ...], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    prefix, caches = plain(sequences=1)
    stored(prefix, caches, [6, 6, 6])
    stored(prefix, caches, [1, 2, 3, 4])
    with caplog.at_level("DEBUG", logger="mistralrs_mlx.cache.prefix"):
        known(prefix, tokens, salt)
    assert caplog.messages == [f"prefix cache: {reason}"]


def test_the_log_says_that_no_boundary_was_stored(caplog: pytest.LogCaptureFixture) -> None:
    feeder = Feeder(tiny(config("Lfm2ForCausalLM")))
    row, _ = feeder.begin(TEXT)
    feeder.feed(row, TEXT[:40])
    feeder.prefix.store(feeder.caches, row, TEXT[:40])
    with caplog.at_level("DEBUG", logger="mistralrs_mlx.cache.prefix"):
        feeder.begin([*TEXT[:30], 1, 2])
    said = "0 of 32 tokens: 30 are known, but no boundary is stored from 0 on"
    assert caplog.messages == [f"prefix cache: {said}"]


def test_of_one_long_talk_few_states_are_kept() -> None:
    feeder = Feeder(tiny(config("Lfm2ForCausalLM")))
    row, _ = feeder.begin(TEXT)
    for length in range(5, 61, 5):
        feeder.feed(row, TEXT[length - 5 : length])
        feeder.prefix.store(feeder.caches, row, TEXT[:length])
    found = [feeder.begin([*TEXT[:length], 0])[1] for length in range(5, 61, 5)]
    assert found == [5] * 9 + [50, 55, 60]


def test_a_long_window_keeps_its_last_columns_only() -> None:
    long = prompt(400)
    feeder = Feeder(tiny(config("MistralForCausalLM")))
    row, _ = feeder.begin(long)
    feeder.feed(row, long)
    feeder.prefix.store(feeder.caches, row, long)
    assert feeder.prefix.nbytes == 2 * 2 * 2 * 9 * 32 * 4  # layers, k and v, heads, columns, dims


def test_a_window_that_an_older_sequence_did_not_need_is_filled_in() -> None:
    feeder = Feeder(tiny(config("MistralForCausalLM")))
    for text, lengths in ((TEXT, (60,)), ([*TEXT[:30], *[7] * 20], (30, 34))):
        row = feeder.caches.add(len(text))
        for start, stop in zip((0, *lengths), lengths, strict=False):
            feeder.feed(row, text[start:stop])
        feeder.prefix.store(feeder.caches, row, text[: lengths[-1]])
    expected = feeder.feed(1, [7] * 5)
    feeder.fresh()
    row, count = feeder.begin([*TEXT[:30], *[7] * 20])
    assert count == 34
    assert (feeder.feed(row, [7] * 5) == expected).all()


def test_where_a_window_is_not_covered_nothing_begins() -> None:
    feeder = Feeder(tiny(config("Gemma2ForCausalLM")))
    row, _ = feeder.begin(TEXT)
    feeder.feed(row, TEXT)
    feeder.prefix.store(feeder.caches, row, TEXT)
    for length, count in ((60, 60), (59, 59), (58, 0), (30, 0)):
        row, known = feeder.begin([*TEXT[:length], 1, 2])
        assert known == count
        cold = feeder.caches.add()
        expected = feeder.feed(cold, [*TEXT[:length], 1, 2])
        assert (
            np.abs(feeder.feed(row, [*TEXT[known:length], 1, 2])[-2:] - expected[-2:]).max() < 1e-4
        )


def test_a_text_shorter_than_a_window_is_known_at_every_length() -> None:
    feeder = Feeder(tiny(config("MistralForCausalLM")))
    row, _ = feeder.begin(TEXT[:7])
    feeder.feed(row, TEXT[:7])
    feeder.prefix.store(feeder.caches, row, TEXT[:7])
    assert [feeder.begin([*TEXT[:n], 1, 2])[1] for n in range(1, 8)] == [1, 2, 3, 4, 5, 6, 7]


def test_columns_that_a_row_never_had_are_not_remembered() -> None:
    feeder = Feeder(tiny(config("MistralForCausalLM")))
    row, _ = feeder.begin(TEXT)
    feeder.feed(row, TEXT[:40])
    feeder.prefix.store(feeder.caches, row, TEXT[:40])
    row, known = feeder.begin(TEXT)
    feeder.prefix.clear()
    feeder.prefix.store(feeder.caches, row, TEXT[:40])
    # The same prompt again would need the column before the window that was put in.
    assert (known, feeder.begin(TEXT[:40])[1], feeder.begin(TEXT[:41])[1]) == (40, 0, 40)
