"""Text arrives in whole characters and sums up to what decoding everything gives."""

import random
import time

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from mistralrs_mlx.text.detokenizer import Detokenizer
from mistralrs_mlx.text.tokenizer import Tokenizer
from tests.text.tiny_tokenizers import byte_level, metaspace, tokenizer, word_piece

KINDS = {
    "byte_level": tokenizer(byte_level()),
    "metaspace": tokenizer(metaspace()),
    "word_piece": tokenizer(word_piece()),
}
SPOKEN = "The quick café, 你好 — 👨‍👩‍👧‍👦 naïve Größe\n  done 🙂"


def pushed(made: Tokenizer, ids: list[int], skip: bool = True) -> list[str]:
    detokenizer = Detokenizer(made, skip_special_tokens=skip)
    return [*(detokenizer.push(id) for id in ids), detokenizer.finish()]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("skip", [True, False])
@settings(max_examples=1000, deadline=None)
@given(ids=st.lists(st.integers(-1, 405), max_size=40))
def test_pieces_add_up_to_the_whole_decode(kind: str, skip: bool, ids: list[int]) -> None:
    made = KINDS[kind]
    assert "".join(pushed(made, ids, skip)) == made.decode(ids, skip_special_tokens=skip)


@settings(max_examples=1000, deadline=None)
@given(ids=st.lists(st.integers(0, 299), max_size=40), skip=st.booleans())
def test_byte_level_text_is_what_tokenizers_decodes(ids: list[int], skip: bool) -> None:
    inner = tokenizers.Tokenizer.from_str(byte_level())
    whole = inner.decode(ids, skip_special_tokens=skip)
    assert KINDS["byte_level"].decode(ids, skip_special_tokens=skip) == whole


CHARACTERS = st.characters(exclude_categories=["Cs"]).map(lambda c: [3 + b for b in c.encode()])
PIECES = st.integers(259, 399).map(lambda id: [id]) | st.integers(0, 2).map(lambda id: [id])


@settings(max_examples=1000, deadline=None)
@given(runs=st.lists(CHARACTERS | PIECES, max_size=12), skip=st.booleans())
def test_fallback_text_is_what_tokenizers_decodes(runs: list[list[int]], skip: bool) -> None:
    """Of whole characters: one broken byte costs tokenizers all bytes beside it, and us just it."""
    ids = [id for run in runs for id in run]
    whole = tokenizers.Tokenizer.from_str(metaspace()).decode(ids, skip_special_tokens=skip)
    assert KINDS["metaspace"].decode(ids, skip_special_tokens=skip) == whole


@pytest.mark.parametrize("kind", ["byte_level", "metaspace"])
def test_half_a_character_is_never_shown(kind: str) -> None:
    made = KINDS[kind]
    pieces = pushed(made, made.encode(SPOKEN, add_special_tokens=False))
    assert "\ufffd" not in "".join(pieces)
    assert "".join(pieces) == SPOKEN
    assert pieces.count("") > 10  # many tokens are parts of characters


@pytest.mark.parametrize("kind", ["byte_level", "metaspace"])
def test_a_character_cut_off_by_the_end_shows_only_then(kind: str) -> None:
    made = KINDS[kind]
    ids = made.encode("a🙂", add_special_tokens=False)[:-1]
    *pieces, last = pushed(made, ids)
    assert "".join(pieces) == "a"
    assert last == "\ufffd"


def test_a_special_token_inside_a_character_does_not_break_it() -> None:
    made = KINDS["byte_level"]
    first, *rest = made.encode("🙂")
    end = made.id("<|im_end|>")
    assert end is not None
    assert "".join(pushed(made, [first, end, *rest])) == "🙂"


def test_the_first_word_loses_its_space_and_the_others_keep_it() -> None:
    made = KINDS["metaspace"]
    ids = made.encode("the dog", add_special_tokens=False)
    assert made.token_bytes(ids[0]).startswith(b" ")
    assert "".join(pushed(made, ids + ids)) == "the dog the dog"


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_that_continues_a_prompt_keeps_its_space(kind: str) -> None:
    made = KINDS[kind]
    prompt, whole = (made.encode(text, add_special_tokens=False) for text in ("the", "the dog"))
    detokenizer = Detokenizer(made, after=prompt[-1])
    pieces = [detokenizer.push(id) for id in whole[len(prompt) :]]
    assert "".join([*pieces, detokenizer.finish()]) == " dog"


def test_a_metaspace_decoder_drops_no_mark_behind_a_prompt() -> None:
    inner = tokenizers.Tokenizer.from_str(metaspace())
    inner.decoder = tokenizers.decoders.Metaspace()
    made = Tokenizer(inner, {})
    prompt, whole = (made.encode(text, add_special_tokens=False) for text in ("the", "the dog"))
    detokenizer = Detokenizer(made, after=prompt[-1])
    assert "".join(map(detokenizer.push, whole[len(prompt) :])) == " dog"


def test_metaspace_decoders_drop_every_mark_of_the_first_token() -> None:
    inner = tokenizers.Tokenizer.from_str(metaspace())
    inner.decoder = tokenizers.decoders.Metaspace()
    made = Tokenizer(inner, {})
    generator = random.Random(0)
    for _ in range(500):
        ids = generator.choices(range(259, 400), k=5)
        assert "".join(pushed(made, ids)) == made.decode(ids) == inner.decode(ids)


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_costs_the_same_at_the_end_of_a_long_text(kind: str) -> None:
    made = KINDS[kind]
    detokenizer = Detokenizer(made)
    ids = made.encode("the dog " * 4000, add_special_tokens=False)
    part = len(ids) // 4
    first, last = (_seconds(detokenizer, ids[at : at + part]) for at in (0, len(ids) - part))
    assert last < 3 * first + 0.05


def _seconds(detokenizer: Detokenizer, ids: list[int]) -> float:
    begun = time.process_time()
    for id in ids:
        detokenizer.push(id)
    return time.process_time() - begun
