"""Prompts and the context that they have to fit into."""

from mistralrs_mlx.api.requests import ChatCompletionRequest, CompletionRequest
from mistralrs_mlx.errors import RequestError

from .host import Host

__all__ = ["fitted", "refuse_unknown"]


def fitted(
    prompt: list[int], host: Host, request: ChatCompletionRequest | CompletionRequest
) -> list[int]:
    """The prompt, or with `truncate_sequence` as much of its end as leaves room to answer."""
    if not prompt:
        raise RequestError("Received an empty prompt. Give at least one message or character")
    refuse_unknown(prompt, host.vocab_size)
    if len(prompt) <= host.context_length:
        return prompt
    if not request.truncate_sequence:
        raise RequestError(
            f"Prompt sequence length is greater than {host.context_length}, perhaps consider "
            f"using `truncate_sequence`? It has {len(prompt)} tokens"
        )
    kept = max(1, host.context_length - (request.max_tokens or 1))
    return prompt[-kept:]


def refuse_unknown(tokens: list[int], vocab_size: int) -> None:
    """Refuse tokens for which the model has no row: it would read memory that is not its own."""
    if (worst := max(tokens)) >= vocab_size:
        raise RequestError(
            f"the tokenizer made the token {worst} of this text, and the model's vocabulary ends "
            f"at {vocab_size - 1}: the two do not belong together. Give another tokenizer_json="
        )
