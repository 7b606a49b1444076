"""How a mistake is told: on one line, on standard error, without a traceback."""

import re
import sys

from .terminal import shown

__all__ = ["MISTAKES", "complain"]

MISTAKES = (ValueError, OSError, NotImplementedError)  # the user's; any other error is ours
# Messages name what Python takes; here the same is an option.
OPTIONS = {
    "chat_template=": "--chat-template",
    "hf_cache_path=": "--hf-cache",
    "in_situ_quant=": "--isq",
    "jinja_explicit=": "--jinja-explicit",
    "perhaps consider using `truncate_sequence`?": "shorten it, or /clear a long chat.",
    "quantized_filename of Which.GGUF": "--gguf",
    "tok_model_id=": "--tok-model-id",
    "token_source=": "--token-source",
    "tokenizer_json=": "--tokenizer",
    "Which.GGUF": "--gguf",
}
NAMED = re.compile(rf"\b({'|'.join(map(re.escape, OPTIONS))})(['\"\w/]?)")


def complain(error: Exception) -> None:
    """Say what went wrong, in the words of the command line."""
    said = " ".join(_text(error).split()) or type(error).__name__
    print(f"mistralrs-mlx: {shown(NAMED.sub(_option, said), sys.stderr)}", file=sys.stderr)


def _text(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _option(found: re.Match[str]) -> str:
    return f"{OPTIONS[found[1]]} {found[2]}".rstrip()
