"""A tekken.json becomes a tokenizer that gives the same tokens."""

import base64
import json
import random
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from mistralrs_mlx.errors import CheckpointError, TokenizerError
from mistralrs_mlx.loaders.tekken import convert
from mistralrs_mlx.loaders.texts import folder_texts
from mistralrs_mlx.text.tokenizer import Tokenizer

PATTERN = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PLAIN = r"[^\r\n\w]?[^\W\d_]+|\d| ?[^\s\w]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+|_"  # in Python's terms
WORDS = ["th", "he", "the", "in", " t", " th", " the", "  ", "    ", "\n\n", "aa", "aaa", "ing",
         "é", "éé", "中", "👍", "er", "her", "ther"]  # fmt: skip
BITS = ["t", "h", "e", "i", "n", "g", "r", " ", "  ", "\n", "a", "é", "中", "👍", "7", "."]
RESERVED = 30
HARD = json.loads(
    (Path(__file__).parents[1] / "text" / "data" / "smollm2_strings.json").read_text()
)


def ranked() -> list[bytes]:
    return [*(bytes([byte]) for byte in range(256)), *(word.encode() for word in WORDS)]


def tekken(**config: Any) -> dict[str, Any]:
    """Return the content of a file."""
    vocab = [
        {"rank": rank, "token_bytes": base64.b64encode(token).decode(), "token_str": None}
        for rank, token in enumerate(ranked())
    ]
    settings = {
        "pattern": PATTERN,
        "num_vocab_tokens": len(vocab),
        "default_vocab_size": len(vocab) + RESERVED,
        "default_num_special_tokens": RESERVED,
        "version": "v3",
    }
    return {"config": {**settings, **config}, "vocab": vocab}


def tokenizer(folder: Path, content: object) -> Tokenizer:
    (folder / "tekken.json").write_text(json.dumps(content))
    return Tokenizer.from_assets(folder_texts(folder, "tiny"))


def by_rank(text: str) -> list[int]:
    """Merge the two neighbours that make the token of lowest rank, in every piece of a text.

    A piece that is a token is not taken apart.
    """
    ranks = {token: rank for rank, token in enumerate(ranked())}
    found = []
    for match in re.finditer(PLAIN, text):
        piece = match[0].encode()
        parts = [piece] if piece in ranks else [bytes([byte]) for byte in piece]
        while True:
            joined = [ranks.get(a + b) for a, b in pairwise(parts)]
            best = min((rank for rank in joined if rank is not None), default=None)
            if best is None:
                break
            place = joined.index(best)
            parts[place : place + 2] = [parts[place] + parts[place + 1]]
        found += [RESERVED + ranks[part] for part in parts]
    return found


def test_tokens_are_merged_by_rank(tmp_path: Path) -> None:
    made = tokenizer(tmp_path, tekken())
    for _ in range(2000):
        text = "".join(random.choices(BITS, k=random.randrange(40)))
        assert made.encode(text, add_special_tokens=False) == by_rank(text), text


def test_every_text_comes_back(tmp_path: Path) -> None:
    made = tokenizer(tmp_path, tekken())
    for text, _ in HARD:
        assert made.decode(made.encode(text)) == text


def test_special_tokens_come_before_all_others(tmp_path: Path) -> None:
    made = tokenizer(tmp_path, tekken())
    ids = made.encode("[INST]the[/INST]<SPECIAL_20></s>")
    assert ids == [1, 3, RESERVED + 256 + WORDS.index("the"), 4, 20, 2]
    assert made.special_ids == set(range(RESERVED))
    assert (made.bos_token, made.eos_token) == ("<s>", "</s>")


def test_a_file_may_name_its_special_tokens(tmp_path: Path) -> None:
    named = [{"rank": 0, "token_str": "<s>", "is_control": True},
             {"rank": 2, "token_str": "[THINK]", "is_control": True}]  # fmt: skip
    made = tokenizer(tmp_path, {**tekken(), "special_tokens": named})
    assert made.encode("[THINK]<SPECIAL_1>t") == [0, 2, 1, RESERVED + ord("t")]
    assert made.eos_token is None


def test_bos_begins_every_text_once(tmp_path: Path) -> None:
    made = tokenizer(tmp_path, tekken())
    assert made.encode_prompt("t") == made.encode_prompt("<s>t") == [1, RESERVED + ord("t")]


def test_tokens_past_the_size_of_the_vocabulary_are_left_out(tmp_path: Path) -> None:
    made = tokenizer(tmp_path, tekken(default_vocab_size=RESERVED + 256 + 2))
    tokens = [made.token(id) for id in made.encode("the", add_special_tokens=False)]
    assert tokens == ["th", "e"]
    assert made.vocab_size == RESERVED + 258


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"config": {}}, "KeyError: 'default_num_special_tokens'"),
        ({"vocab": [{"rank": 0, "token_bytes": "?"}]}, "Error"),
        ({"vocab": []}, "its vocabulary is not one of 276 tokens"),
        ({"vocab": tekken()["vocab"][1:]}, "its vocabulary is not one of 276 tokens"),
        ({"vocab": None}, "TypeError"),
        ({"special_tokens": [{"rank": 30, "token_str": "x"}]}, "do not fit into 30 places"),
        ({"special_tokens": [{"rank": n, "token_str": "x"} for n in (0, 1)]}, "do not fit"),
        ({"special_tokens": ["x"]}, "TypeError"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_a_reason(
    change: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(TokenizerError, match=problem):
        convert({**tekken(), **change}, tmp_path / "tekken.json")


def test_a_file_that_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tekken.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"tekken\.json is damaged"):
        folder_texts(tmp_path, "tiny")
