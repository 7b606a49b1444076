"""From a chat's messages to the tokens of its prompt, and media at their places."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mistralrs_mlx.api.requests import ChatCompletionRequest
from mistralrs_mlx.api.tools import ToolSchema
from mistralrs_mlx.engine.reading import Medium
from mistralrs_mlx.errors import RequestError
from mistralrs_mlx.text.messages import Placement, conversation, refuse_media

from .fitting import fitted, refuse_unknown
from .host import Host
from .senses import Senses

if TYPE_CHECKING:
    from mistralrs_mlx.media.types import Media

__all__ = ["Prompt", "chat_prompt"]

Messages = list[dict[str, Any]] | str


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What a chat asks of the model."""

    text: str  # before media took the place of their placeholders
    tokens: list[int]
    media: tuple[Medium, ...] = ()
    slot: int = 0  # of the adapter that goes with the media


def chat_prompt(
    host: Host,
    model_id: str,
    request: ChatCompletionRequest,
    messages: Messages,
    tools: Sequence[ToolSchema],
) -> Prompt:
    """Render the messages, read their media, tokenize. Raises `RequestError` naming what is wrong.

    Media are read and processed here, on the caller's thread.
    """
    if host.senses is not None:
        return _with_media(host, host.senses, request, messages, tools)
    talk = conversation(messages)
    refuse_media(talk, model_id)
    text = _rendered(host, request, messages, talk.messages, tools)
    return Prompt(text=text, tokens=fitted(host.tokenizer.encode_prompt(text), host, request))


def _with_media(
    host: Host,
    senses: Senses,
    request: ChatCompletionRequest,
    messages: Messages,
    tools: Sequence[ToolSchema],
) -> Prompt:
    """Also where there are none: placeholders without a medium have to be refused."""
    from mistralrs_mlx.media.placeholders import expand, mark
    from mistralrs_mlx.media.processing import prepare

    processor = senses.processor
    keeps = processor.template_places
    talk = conversation(messages, placement=Placement.KEEP if keeps else Placement.FLATTEN)
    ready = prepare(
        talk.messages,
        talk.media,
        processor,
        max_edge=senses.max_edge,
        room=host.context_length,
    )
    text = mark(_rendered(host, request, messages, ready.messages, tools), processor.placeholders)
    prompt = expand(host.tokenizer.encode_prompt(text), ready.media, processor.placeholders)
    if not prompt.media:
        return Prompt(text=text, tokens=fitted(prompt.tokens, host, request))
    _refuse_long(len(prompt.tokens), host.context_length)
    refuse_unknown(prompt.tokens, host.vocab_size)
    kinds = {medium.kind for medium in prompt.media}
    mode = senses.mode_for(kinds)
    placed = zip(prompt.media, prompt.starts, strict=True)
    return Prompt(
        text=text,
        tokens=prompt.tokens,
        media=tuple(_medium(medium, start, mode) for medium, start in placed),
        slot=senses.slot_for(kinds),
    )


def _refuse_long(tokens: int, context: int) -> None:
    if tokens > context:
        raise RequestError(
            f"the prompt has {tokens} tokens with its media, and the model's context is {context}; "
            "`truncate_sequence` does not cut media. Send fewer or smaller ones"
        )


def _medium(media: "Media", start: int, mode: str | None) -> Medium:
    return Medium(
        kind=media.kind,
        start=start,
        tokens=media.tokens,
        digest=f"{media.digest} {mode}",  # in another mode it is encoded to something else
        arrays=media.arrays,
    )


def _rendered(
    host: Host,
    request: ChatCompletionRequest,
    given: Messages | None,
    messages: Sequence[dict[str, Any]],
    tools: Sequence[ToolSchema],
) -> str:
    if host.template is not None:
        return host.template.render(
            messages,
            tools=[tool.openai() for tool in tools],
            enable_thinking=request.enable_thinking,
            reasoning_effort=request.reasoning_effort,
        )
    if isinstance(given, str):
        return given
    raise RequestError(
        "Received messages for a model which does not have a chat template. Either use a "
        "different model, give one as chat_template=, or pass a single string as the prompt"
    )
