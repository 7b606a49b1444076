"""The metadata of a GGUF file -> a tokenizer.json.

Two kinds of vocabulary cover nearly all language models: GPT-2's byte-level BPE, whose merges the
file lists, and SentencePiece's BPE, whose merges follow from the scores of the pieces.
"""

import json

from mistralrs_mlx.errors import TokenizerError
from mistralrs_mlx.loaders.tokenizer_parts import (
    Json,
    added_token,
    byte_pairs,
    described,
    framed,
    merges,
)

from .fields import Fields
from .splitting import SPLITTINGS, Splitting
from .vocabulary import Kind, Vocabulary

__all__ = ["tokenizer_config", "tokenizer_json"]

_SPACE = "\u2581"  # SentencePiece's mark
_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
# Phi-3's tokens that leave the space after them alone, while all its others swallow it.
_KEEP_SPACE = {"<unk>", "<s>", "<|endoftext|>"}
_INSTEAD = (
    "Give the id of a model that has the same tokenizer as tok_model_id=, or the path of its "
    "tokenizer.json as tokenizer_json="
)


def tokenizer_json(fields: Fields, vocabulary: Vocabulary, *, strips: bool = False) -> str:
    """Return the text of a tokenizer.json. With `strips`, special tokens swallow spaces."""
    ready = fields.find("tokenizer.huggingface.json", str)
    if ready is not None:
        return ready
    match vocabulary.model:
        case "gpt2":
            parts = _byte_level(fields, vocabulary)
        case "llama":
            parts = _sentencepiece(fields, vocabulary)
        case other:
            raise TokenizerError(
                f'{fields.path} has a tokenizer of the kind "{other}", which cannot be rebuilt; '
                f"gpt2 and llama can. {_INSTEAD}"
            )
    strips = strips and vocabulary.model == "llama"
    whole = described(
        added_tokens=_added(vocabulary, strips),
        post_processor=_frame(vocabulary, tokenizer_config(fields, vocabulary)),
        **parts,
    )
    return json.dumps(whole, ensure_ascii=False)


def tokenizer_config(fields: Fields, vocabulary: Vocabulary) -> Json:
    """Return what tokenizer_config.json would say about special tokens."""
    known = SPLITTINGS.get(fields.find("tokenizer.ggml.pre", str) or "default")
    begins = vocabulary.model == "llama" or (known is not None and known.begins)
    said = fields.find("tokenizer.ggml.add_bos_token", bool)
    return {
        **vocabulary.named(),
        "add_bos_token": begins if said is None else said,
        "add_eos_token": bool(fields.find("tokenizer.ggml.add_eos_token", bool)),
    }


def _splitting(fields: Fields) -> Splitting:
    name = fields.find("tokenizer.ggml.pre", str) or "default"
    if name not in SPLITTINGS:
        raise TokenizerError(
            f'{fields.path} has the pre-tokenizer "{name}"; known are '
            f"{', '.join(sorted(SPLITTINGS))}. {_INSTEAD}"
        )
    return SPLITTINGS[name]


def _byte_level(fields: Fields, vocabulary: Vocabulary) -> Json:
    splitting = _splitting(fields)
    listed = fields.strings("tokenizer.ggml.merges")
    if listed is None:
        raise TokenizerError(f"{fields.path} lacks tokenizer.ggml.merges. {_INSTEAD}")
    cuts = [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
        for pattern in splitting.patterns
    ]
    level = {"add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    return {
        "normalizer": {"type": "NFC"} if splitting.composes else None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [*cuts, {"type": "ByteLevel", **level}],
        },
        "decoder": {"type": "ByteLevel", **level},
        "model": byte_pairs(
            _ids(vocabulary),
            [merge.split(" ", 1) for merge in listed],
            ignore_merges=splitting.whole_words,
        ),
    }


def _sentencepiece(fields: Fields, vocabulary: Vocabulary) -> Json:
    said = fields.find("tokenizer.ggml.add_space_prefix", bool)
    prefixed = said is None or said
    mark: list[Json] = [{"type": "Replace", "pattern": {"String": " "}, "content": _SPACE}]
    unmark: list[Json] = [
        {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if prefixed:
        mark.insert(0, {"type": "Prepend", "prepend": _SPACE})
        unmark.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return {
        "normalizer": {"type": "Sequence", "normalizers": mark},
        "pre_tokenizer": None,
        "decoder": {"type": "Sequence", "decoders": unmark},
        "model": byte_pairs(
            _ids(vocabulary),
            _merges_by_score(vocabulary),
            unk_token=vocabulary.named().get("unk_token"),
            fuse_unk=True,
            byte_fallback=set(_BYTES) <= set(vocabulary.tokens),
        ),
    }


def _ids(vocabulary: Vocabulary) -> dict[str, int]:
    return {token: id for id, token in enumerate(vocabulary.tokens)}


def _merges_by_score(vocabulary: Vocabulary) -> list[list[str]]:
    """Every way to put a piece together out of two, the piece with the highest score first.

    Pieces of equal score are merged in the order of their ids, as the scores of a converter that
    did not know them are all the same.
    """
    ids = {
        token: id
        for id, token in enumerate(vocabulary.tokens)
        if vocabulary.kinds[id] in (Kind.NORMAL, Kind.USER_DEFINED)
    }
    order = sorted(ids.items(), key=lambda item: (-vocabulary.scores[item[1]], item[1]))
    return merges((piece for piece, _ in order), ids)


def _added(vocabulary: Vocabulary, strips: bool) -> list[Json]:
    return [
        added_token(id, token, special=special, rstrip=strips and token not in _KEEP_SPACE)
        for id, special in vocabulary.added().items()
        for token in (vocabulary.tokens[id],)
    ]


def _frame(vocabulary: Vocabulary, config: Json) -> Json | None:
    """What encoding puts before and after a text."""
    bos, eos = (
        (vocabulary.tokens[vocabulary.roles[role]], vocabulary.roles[role])
        if config[f"add_{role}_token"] and role in vocabulary.roles
        else None
        for role in ("bos", "eos")
    )
    return framed(bos, eos)
