"""Text to ids and back, BOS, EOS and what tokenizer files say."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from mistralrs_mlx.errors import TokenizerError
from mistralrs_mlx.text.assets import TextAssets
from mistralrs_mlx.text.tokenizer import Tokenizer
from tests.text.tiny_tokenizers import CHATML, byte_level, metaspace, tokenizer, word_piece

KINDS = {"byte_level": byte_level(), "metaspace": metaspace(), "word_piece": word_piece()}
STRINGS = Path(__file__).parent / "data" / "smollm2_strings.json"


@pytest.mark.parametrize("kind", ["byte_level", "metaspace"])
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁")))
def test_text_survives_encoding_and_decoding(kind: str, text: str) -> None:
    made = tokenizer(KINDS[kind])
    assert made.decode(made.encode(text), skip_special_tokens=True) == text


def test_special_tokens_spelled_out_in_a_text_become_themselves() -> None:
    made = tokenizer(byte_level())
    ids = made.encode("<|im_start|>user", add_special_tokens=False)
    assert ids[0] == made.id("<|im_start|>")
    assert made.decode(ids, skip_special_tokens=False) == "<|im_start|>user"
    assert made.decode(ids, skip_special_tokens=True) == "user"


@pytest.mark.parametrize("kind", KINDS)
def test_ids_outside_the_vocabulary_decode_to_nothing(kind: str) -> None:
    made = tokenizer(KINDS[kind])
    ids = made.encode("the dog", add_special_tokens=False)
    assert made.decode([*ids, made.vocab_size, -1, 2**40], skip_special_tokens=False) == "the dog"
    assert made.token(-1) is made.token(made.vocab_size) is made.token(2**40) is None
    assert made.token_bytes(made.vocab_size) == b""


@pytest.mark.parametrize("kind", ["byte_level", "metaspace"])
def test_the_bytes_of_tokens_join_to_the_text(kind: str) -> None:
    made = tokenizer(KINDS[kind])
    ids = made.encode("café 🙂 naïve 你", add_special_tokens=False)
    assert b"".join(map(made.token_bytes, ids)).decode().strip() == "café 🙂 naïve 你"
    assert any(len(made.token_bytes(id)) == 1 for id in ids)


def test_fallback_tokens_are_single_bytes() -> None:
    made = tokenizer(metaspace())
    assert [made.token_bytes(3 + byte) for byte in range(256)] == [bytes([b]) for b in range(256)]
    assert made.token_bytes(made.id("</s>") or 0) == b"</s>"


def test_padding_and_truncation_of_the_file_are_off() -> None:
    inner = tokenizers.Tokenizer.from_str(byte_level())
    inner.enable_truncation(3)
    inner.enable_padding(length=50)
    assert tokenizer(inner.to_str()).encode("a b c d e f g h") == tokenizer(byte_level()).encode(
        "a b c d e f g h"
    )


@pytest.mark.parametrize("form", ["<s>", {"content": "<s>", "lstrip": False}])
def test_special_tokens_are_read_in_both_forms(form: object) -> None:
    made = tokenizer(metaspace(), bos_token=form, add_bos_token=True, eos_token=None)
    assert (made.bos_token, made.eos_token) == ("<s>", None)


def test_special_tokens_map_fills_what_the_config_lacks() -> None:
    assets = TextAssets(
        source="x",
        tokenizer_json=metaspace(),
        tokenizer_config={"bos_token": "<s>", "eos_token": None},
        special_tokens_map={"bos_token": "<old>", "eos_token": {"content": "</s>"}},
    )
    made = Tokenizer.from_assets(assets)
    assert (made.bos_token, made.eos_token) == ("<s>", "</s>")


def test_bos_is_never_doubled() -> None:
    made = tokenizer(metaspace(), bos_token="<s>")
    bos = made.id("<s>")
    assert made.encode_prompt("<s>the dog") == made.encode("<s>the dog", add_special_tokens=False)
    assert made.encode_prompt("the dog")[0] == bos
    assert made.encode_prompt("<s>the dog").count(bos) == 1


def test_bos_is_not_doubled_when_only_tokenizer_json_knows_it() -> None:
    made = tokenizer(metaspace())
    assert made.bos_token is None
    assert made.encode_prompt("<s>the dog").count(made.encode("")[0]) == 1


def test_eos_comes_from_config_template_and_generation_config() -> None:
    made = tokenizer(byte_level(), eos_token="<|endoftext|>")
    ids = made.eos_ids("...<|im_end|>...", {"eos_token_id": [7, 10**9]}, config_eos=9)
    assert ids == {made.id("<|endoftext|>"), made.id("<|im_end|>"), 7, 9}


def test_a_terminator_counts_only_if_template_and_vocabulary_have_it() -> None:
    made = tokenizer(byte_level(), eos_token="<|endoftext|>")
    eos = {made.id("<|endoftext|>")}
    assert made.eos_ids(None, {}) == eos
    assert made.eos_ids("<end_of_turn>", {}) == eos
    assert made.eos_ids("", {}, eos_token="<|im_end|>") == eos | {made.id("<|im_end|>")}


def test_harmony_messages_may_end_before_the_answer_does() -> None:
    marks = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>")
    made = tokenizer(byte_level(special=(*CHATML, *marks)))
    assert made.eos_ids("".join(marks), {}) == frozenset()
    assert made.eos_ids("<|user|><|end|>", {}) == {made.id("<|end|>")}


def test_an_eos_id_that_is_no_number_is_refused() -> None:
    with pytest.raises(TokenizerError, match=r"generation_config\.json"):
        tokenizer(byte_level()).eos_ids(None, {"eos_token_id": "</s>"})


def test_a_stop_string_is_a_stop_token_unless_longer_tokens_begin_with_it() -> None:
    made = tokenizer(byte_level())
    assert made.stop_token("<|im_end|>") == made.id("<|im_end|>")
    entries = [made.token_bytes(id).decode(errors="replace") for id in range(made.vocab_size)]
    longer = next(entry for entry in entries if len(entry) == 2 and entry.isalpha())
    assert made.stop_token(longer[0]) is None
    assert made.stop_token("<|im_end|> and more") is None


def test_a_missing_or_broken_tokenizer_says_what_to_do() -> None:
    with pytest.raises(TokenizerError, match=r"org/model has no tokenizer\.json.*tokenizer_json="):
        Tokenizer.from_assets(TextAssets(source="org/model"))
    with pytest.raises(TokenizerError, match=r"cannot be read.*tokenizer_json="):
        Tokenizer.from_assets(TextAssets(source="org/model", tokenizer_json='{"model": 1}'))


def test_a_panic_within_tokenizers_is_an_error_like_any_other() -> None:
    described = json.loads(byte_level())
    described["decoder"] = {"type": "Strip", "content": "a", "start": 1, "stop": 1}
    broken = tokenizer(json.dumps(described))
    with pytest.raises(TokenizerError, match=r"cannot be turned into text.*tokenizer_json="):
        broken.decode(broken.encode("a"))


def test_half_a_surrogate_pair_is_refused_and_shown() -> None:
    with pytest.raises(TokenizerError, match=r"not valid Unicode.*: '\\ud83d, see'"):
        tokenizer(byte_level()).encode("a long way from the start\ud83d, see")


def test_threads_share_a_tokenizer() -> None:
    made = tokenizer(metaspace(), bos_token="<s>")
    texts = [f"token number {i} of café 🙂" for i in range(200)]
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(made.encode_prompt, texts))
        assert list(pool.map(made.decode, ids)) == texts


def test_the_real_tokenizer_gives_the_known_ids(demo_gguf: Path) -> None:
    from mistralrs_mlx.loaders.gguf import load

    made = Tokenizer.from_assets(load(demo_gguf).text)
    for text, ids in json.loads(STRINGS.read_text(encoding="utf-8")):
        assert made.encode(text) == ids
        assert made.decode(ids, skip_special_tokens=False) == text
