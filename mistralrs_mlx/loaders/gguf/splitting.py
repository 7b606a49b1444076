"""`tokenizer.ggml.pre` -> how a text is cut before byte-level BPE merges the pieces.

The patterns are those of the models' published tokenizer.json. What a pattern does not match stays
a piece of its own.
"""

from dataclasses import dataclass

__all__ = ["SPLITTINGS", "Splitting"]


@dataclass(frozen=True, kw_only=True)
class Splitting:
    """The patterns, applied one after the other, and what else goes by the name of one."""

    patterns: tuple[str, ...]
    composes: bool = False  # text is brought into the normal form C
    whole_words: bool = False  # a piece that is in the vocabulary is never taken apart
    begins: bool = False  # texts begin with BOS where the file does not say


_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_SIGNS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_ONE_DIGIT = rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}|{_SIGNS}|{_SPACES}"
_THREE_DIGITS = rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}{{1,3}}|{_SIGNS}|{_SPACES}"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_PATHS = r" ?[^\s\p{L}\p{N}]+[\r\n/]*"


def _cased(suffix: str, digits: str) -> str:
    """Words that end where lower case turns to upper."""
    start = r"[^\r\n\p{L}\p{N}]?"
    words = rf"{start}{_UPPER}*{_LOWER}+{suffix}|{start}{_UPPER}+{_LOWER}*{suffix}"
    return rf"{words}|{digits}|{_PATHS}|{_SPACES}"


_DEEPSEEK = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_gpt2 = Splitting(patterns=(_GPT2,))
_digits = Splitting(patterns=(r"\p{N}", _GPT2))
_llama3 = Splitting(patterns=(_THREE_DIGITS,), whole_words=True, begins=True)
_tiktoken = Splitting(patterns=(_THREE_DIGITS,))
_qwen2 = Splitting(patterns=(_ONE_DIGIT,), composes=True)
_one_digit = Splitting(patterns=(_ONE_DIGIT,))
_gpt4o = Splitting(patterns=(_cased(rf"{_CONTRACTIONS}?", r"\p{N}{1,3}"),))
_deepseek3 = Splitting(patterns=(r"\p{N}{1,3}", "[一-龥\u3040-\u309f\u30a0-\u30ff]+", _DEEPSEEK))

SPLITTINGS: dict[str, Splitting] = {
    # llama.cpp's stand-in where the converter did not know the tokenizer
    "default": Splitting(
        patterns=(r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]"),
    ),
    "chatglm-bpe": _tiktoken,
    "command-r": _digits,
    "dbrx": _tiktoken,
    "deepseek-coder": Splitting(
        patterns=(r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", r"\p{N}"),
    ),
    "deepseek-llm": Splitting(
        patterns=(
            r"[\r\n]",
            r"\s?[\p{Lu}\p{Ll}\p{Lt}]+",
            r"\s?[!-/:-~！-／：-～‘-‟　-。]+",  # noqa: RUF001 (full width on purpose)
            r"\s+$",
            "[一-龥ࠀ-一가-퟿]+",
            r"\p{N}+",
        ),
    ),
    "deepseek-r1-qwen": _one_digit,
    "deepseek-v3": _deepseek3,
    "exaone": _digits,
    "falcon3": _llama3,
    "glm4": _tiktoken,
    "gpt-2": _gpt2,
    "gpt-4o": _gpt4o,
    "hunyuan": _one_digit,
    "hunyuan-dense": _deepseek3,
    "lfm2": _llama3,
    "llama-bpe": _llama3,
    "llama-v3": _llama3,
    "llama3": _llama3,
    "llama4": _gpt4o,
    "megrez": _one_digit,
    "mpt": _gpt2,
    "olmo": _gpt2,
    "phi-2": _gpt2,
    "pixtral": _llama3,
    "qwen2": _qwen2,
    "qwen35": Splitting(
        patterns=(
            rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
            rf"| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_SPACES}",
        ),
        composes=True,
    ),
    "refact": _digits,
    "smaug-bpe": _tiktoken,
    "smollm": _digits,
    "stablelm2": _one_digit,
    "starcoder": _digits,
    "tekken": Splitting(patterns=(_cased("", r"\p{N}"),), whole_words=True, begins=True),
}
