"""Grammars: what is written under one follows it, whatever the vocabulary and whoever chooses."""

import json
import random
import re
import sys
from collections.abc import Callable
from functools import cache

import jsonschema
import llguidance
import pytest
import tokenizers
from tokenizers import decoders, models

from mistralrs_mlx.api.validation import Grammar, GrammarKind
from mistralrs_mlx.errors import MissingExtra, RequestError
from mistralrs_mlx.text.grammars import GrammarConstraint, Grammars
from mistralrs_mlx.text.tokenizer import Tokenizer

from .random_schemas import random_schema
from .tiny_tokenizers import byte_level, metaspace, tokenizer, word_piece

Vocabulary = Callable[[], tuple[Tokenizer, Grammars]]
CHATML_EOS = ("<|im_end|>", "<|endoftext|>")
SENTENCE = "the quick größe, naïve {tokens}: 1 234 😀\n  2"


@cache
def byte_grammars() -> tuple[Tokenizer, Grammars]:
    return bound(tokenizer(byte_level()), *CHATML_EOS)


@cache
def piece_grammars() -> tuple[Tokenizer, Grammars]:
    return bound(tokenizer(metaspace()), "</s>")


def bound(made: Tokenizer, *eos: str) -> tuple[Tokenizer, Grammars]:
    return made, Grammars(made, [made.id(token) for token in eos])


def compiled(kind: GrammarKind, text: str, *, ignore_eos: bool = False) -> GrammarConstraint:
    return byte_grammars()[1].compile(Grammar(kind=kind, text=text), ignore_eos=ignore_eos)


def allowed(constraint: GrammarConstraint) -> list[int]:
    bits = int.from_bytes(constraint.mask(), "little")
    return [token for token in range(bits.bit_length()) if bits >> token & 1]


def written(constraint: GrammarConstraint, made: Tokenizer, seed: int = 0) -> list[int] | None:
    """Tokens drawn at random with a bias to come to an end, which in 600 tokens they should."""
    chance, tokens = random.Random(seed), []
    spelled = [made.token_bytes(id) for id in range(made.vocab_size)]
    while len(tokens) < 600:
        choices = allowed(constraint)
        ends = [id for id in choices if spelled[id][:1] in (b'"', b"}", b"]")]
        solid = [id for id in choices if spelled[id].strip()]
        token = chance.choice((chance.random() < 0.5 and ends) or solid or choices)
        if token in made.special_ids:
            return tokens
        tokens.append(token)
        constraint.accept(token)
        if constraint.finished:
            return tokens
    return None


def follow(constraint: GrammarConstraint, made: Tokenizer, *names: str) -> None:
    """Go on by these tokens, each of which has to be allowed."""
    for name in names:
        token = made.id(name)
        assert token in allowed(constraint), name
        constraint.accept(token)


@pytest.mark.parametrize("seed", range(200))
def test_what_is_written_by_a_schema_is_valid_by_it(seed: int) -> None:
    made, grammars = byte_grammars()
    schema = random_schema(random.Random(seed))
    text = json.dumps(schema)
    tokens = written(grammars.compile(Grammar(kind="json_schema", text=text)), made, seed)
    assert tokens is not None
    jsonschema.Draft202012Validator(schema).validate(json.loads(made.decode(tokens)))


@pytest.mark.parametrize("vocabulary", [byte_grammars, piece_grammars])
@pytest.mark.parametrize("seed", range(5))
def test_the_text_that_is_read_is_the_one_the_grammar_saw(
    vocabulary: Vocabulary, seed: int
) -> None:
    made, grammars = vocabulary()
    constraint = grammars.compile(Grammar(kind="regex", text=re.escape(SENTENCE)))
    tokens = written(constraint, made, seed)
    assert made.decode(tokens) == SENTENCE


@pytest.mark.parametrize("vocabulary", [byte_grammars, piece_grammars])
def test_a_text_that_is_forced_has_the_tokens_that_the_model_knows_it_by(
    vocabulary: Vocabulary,
) -> None:
    made, grammars = vocabulary()
    constraint = grammars.compile(Grammar(kind="regex", text="x the tokens tokenizer; one by one"))
    known = made.encode("x the tokens tokenizer; one by one", False)
    tokens = written(constraint, made)
    assert tokens[-8:] == known[-8:]
    assert len(tokens) <= len(known) + 1


@pytest.mark.parametrize("vocabulary", [byte_grammars, piece_grammars])
def test_a_name_of_a_special_token_is_spelled_with_ordinary_ones(vocabulary: Vocabulary) -> None:
    made, grammars = vocabulary()
    named = made.token(min(made.special_ids))
    tokens = written(grammars.compile(Grammar(kind="regex", text=re.escape(named))), made)
    assert made.special_ids.isdisjoint(tokens)
    assert made.decode(tokens) == named


def test_a_lark_grammar_names_special_tokens() -> None:
    made = byte_grammars()[0]
    constraint = compiled("lark", 'start: <|im_start|> "1" <|im_end|> "2"')
    follow(constraint, made, "<|im_start|>", "1", "<|im_end|>", "2")
    assert constraint.finished


def test_added_tokens_in_angle_brackets_count_as_special() -> None:
    inner = tokenizers.Tokenizer.from_str(byte_level())
    inner.add_tokens(["<think>", "plain"])
    made, grammars = bound(Tokenizer(inner, {}), *CHATML_EOS)
    lark = grammars.compile(Grammar(kind="lark", text='start: <think> "plain"'))
    follow(lark, made, "<think>", "plain")
    free = grammars.compile(Grammar(kind="regex", text="(?s:.)*"))
    assert made.id("<think>") not in allowed(free)
    assert made.id("plain") in allowed(free)


def test_an_llguidance_object_may_hold_several_grammars() -> None:
    grammars = [
        {"lark_grammar": 'start: "<" @number ">"'},
        {"name": "number", "json_schema": {"type": "integer", "minimum": 7, "maximum": 8}},
    ]
    constraint = compiled("llguidance", json.dumps({"grammars": grammars}))
    text = byte_grammars()[0].decode(written(constraint, byte_grammars()[0]))
    assert text in ("<7>", "<8>")


def test_every_end_token_is_allowed_where_the_text_is_complete_and_nowhere_else() -> None:
    made = byte_grammars()[0]
    eos = {made.id(token) for token in CHATML_EOS}
    constraint = compiled("regex", "ab?")
    assert eos.isdisjoint(allowed(constraint))
    follow(constraint, made, "a")
    assert set(allowed(constraint)) == eos | {made.id("b")}
    assert not constraint.finished
    follow(constraint, made, "b")
    assert constraint.finished


def test_ends_that_are_ignored_come_only_when_nothing_else_can() -> None:
    made = byte_grammars()[0]
    constraint = compiled("regex", "ab?", ignore_eos=True)
    follow(constraint, made, "a")
    assert allowed(constraint) == [made.id("b")]
    follow(constraint, made, "b")
    assert constraint.finished


def test_an_end_token_that_the_grammar_names_is_not_ignored() -> None:
    constraint = compiled("lark", 'start: <|im_end|> "a"', ignore_eos=True)
    follow(constraint, byte_grammars()[0], "<|im_end|>", "a")
    assert constraint.finished


def test_an_empty_text_is_finished_at_once_where_ends_are_ignored() -> None:
    constraint = compiled("regex", "", ignore_eos=True)
    assert not allowed(constraint)
    assert constraint.finished


def test_a_model_without_an_end_token_ends_with_the_grammar() -> None:
    made = byte_grammars()[0]
    constraint = Grammars(made, []).compile(Grammar(kind="regex", text="ab?"))
    follow(constraint, made, "a")
    assert allowed(constraint) == [made.id("b")]
    follow(constraint, made, "b")
    assert constraint.finished


def test_end_tokens_beyond_the_vocabulary_do_not_count() -> None:
    made = byte_grammars()[0]
    constraint = Grammars(made, [2, 10**6]).compile(Grammar(kind="regex", text="ab?"))
    follow(constraint, made, "a")
    assert allowed(constraint) == [2, made.id("b")]


@pytest.mark.parametrize("pattern", ["(?s:.)*", "[^a]*"])
def test_nothing_beyond_the_vocabulary_is_allowed(pattern: str) -> None:
    constraint = compiled("regex", pattern)
    assert max(allowed(constraint)) < byte_grammars()[0].vocab_size
    assert len(constraint.mask()) % 4 == 0


def test_a_copy_goes_on_by_itself() -> None:
    made = byte_grammars()[0]
    first = compiled("regex", "a(bc|de)")
    follow(first, made, "a")
    second = first.copy()
    follow(first, made, "b", "c")
    follow(second, made, "d")
    assert first.finished
    assert allowed(second) == [made.id("e")]


def test_a_token_that_may_not_come_is_an_error_of_the_next_mask() -> None:
    constraint = compiled("regex", "abc")
    constraint.accept(byte_grammars()[0].id("z"))
    assert not constraint.finished
    with pytest.raises(RequestError, match=r"cannot go on in its grammar: .*satisfy") as caught:
        constraint.mask()
    assert "verbose" not in str(caught.value)


def three_letters() -> tuple[Tokenizer, Grammars]:
    inner = tokenizers.Tokenizer(models.BPE(vocab={"a": 0, "b": 1, "<e>": 2}, merges=[]))
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens(["<e>"])
    return bound(Tokenizer(inner, {}), "<e>")


def test_a_grammar_that_the_vocabulary_cannot_spell_is_a_dead_end() -> None:
    constraint = three_letters()[1].compile(Grammar(kind="regex", text="a(c|d)"))
    constraint.accept(0)
    with pytest.raises(RequestError, match="none of the model's tokens can come next"):
        constraint.mask()


def test_a_grammar_that_only_the_vocabulary_ends_is_finished() -> None:
    constraint = three_letters()[1].compile(Grammar(kind="regex", text="ac*"), ignore_eos=True)
    constraint.accept(0)
    assert not constraint.finished
    assert not allowed(constraint)
    assert constraint.finished


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("regex", "(a", "Invalid grammar. .*unclosed group"),
        ("lark", "start: foo", "Invalid grammar. .*unknown name"),
        ("lark", "start: <|nope|>", "Invalid grammar. .*unknown special token"),
        ("lark", '{"grammars": []}', "Invalid grammar. "),
        ("json_schema", '{"type": "thing"}', "Invalid grammar. Invalid type: thing"),
        ("json_schema", '{"minimum": NaN}', "Failed to parse JSON schema: "),
        ("json_schema", "[1]", "Invalid grammar. schema must be an object or boolean"),
        ("llguidance", '{"grammars": 3}', "Failed to parse JSON llguidance object: .*sequence"),
        ("llguidance", '{"grammars": [{}]}', "Invalid grammar. grammar must have"),
    ],
)
def test_what_is_no_grammar_is_refused(kind: GrammarKind, text: str, words: str) -> None:
    with pytest.raises(RequestError, match="(?s)" + words):
        compiled(kind, text)


@pytest.mark.parametrize("place", ["http://127.0.0.1:9/x.json", "file:///etc/passwd"])
def test_no_schema_is_brought_from_elsewhere(place: str) -> None:
    with pytest.raises(RequestError, match="not present in a registry"):
        compiled("json_schema", json.dumps({"$ref": place}))


def test_a_tokenizer_whose_tokens_have_no_bytes_is_refused() -> None:
    with pytest.raises(RequestError, match="use another model"):
        Grammars(tokenizer(word_piece()), [])


def test_without_llguidance_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(MissingExtra, match=r"pip install 'mistralrs-mlx\[grammar\]'"):
        Grammars(byte_grammars()[0], [])


def test_the_vocabulary_is_sorted_once_and_only_when_a_grammar_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[object] = []
    build = llguidance.LLTokenizer
    monkeypatch.setattr(llguidance, "LLTokenizer", lambda *a, **k: made.append(1) or build(*a, **k))
    grammars = Grammars(byte_grammars()[0], [2])
    assert not made
    for text in ("a", "b"):
        grammars.compile(Grammar(kind="regex", text=text))
    assert len(made) == 1
