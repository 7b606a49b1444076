"""A request's messages, checked and brought to the form that chat templates read."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from mistralrs_mlx.api.responses import ToolCallResponse
from mistralrs_mlx.errors import RequestError

__all__ = ["Conversation", "MediaPart", "Placement", "conversation", "refuse_media"]

_KINDS = ("image", "audio", "video")  # also the order in which a message's media are placed
_PART_TYPES = {
    "image_url": "image", "audio_url": "audio", "video_url": "video",
    "image": "image", "audio": "audio", "video": "video", "input_audio": "audio",
}  # fmt: skip


class Placement(StrEnum):
    """How media show in the messages that a template reads."""

    KEEP = "keep"  # a list of typed parts, media first: the template writes the placeholders
    FLATTEN = "flatten"  # only text, where the placeholders are, or will be put


@dataclass(frozen=True, kw_only=True)
class MediaPart:
    """A picture, sound or film in a message."""

    kind: str  # image | audio | video
    source: object  # a URL, path or data URL; or the thing itself: bytes, a PIL image, an array
    message: int  # the place of its message in the conversation


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """Messages as templates read them, and the media in the order the model will see them."""

    messages: tuple[dict[str, Any], ...]
    media: tuple[MediaPart, ...]


def conversation(messages: object, *, placement: Placement = Placement.FLATTEN) -> Conversation:
    """Check messages: one text from the user, or a list of dicts like OpenAI's.

    >>> conversation("Hi").messages
    ({'role': 'user', 'content': 'Hi'},)
    """
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    if not isinstance(messages, list) or not all(isinstance(each, dict) for each in messages):
        raise TypeError("Expected a string or list of dicts.")
    read = [_message(index, each, placement) for index, each in enumerate(messages)]
    media = tuple(part for _, parts in read for part in parts)
    return Conversation(messages=tuple(message for message, _ in read), media=media)


def refuse_media(conversation: Conversation, model: str) -> None:
    """Raise `RequestError` if there are media, for a model that reads only text."""
    if conversation.media:
        part = conversation.media[0]
        raise RequestError(
            f"Message {part.message} has a part of type {part.kind}, but {model} reads only text. "
            "Remove the part, or load a multimodal model with Which.MultimodalPlain"
        )


class _Arguments(dict[str, Any]):
    """Arguments of a tool call: a mapping that also reads as the JSON text it was given as.

    Most templates want the mapping; DeepSeek's and some others join the text to their own.
    """

    def __init__(self, text: str, arguments: Mapping[str, Any]) -> None:
        super().__init__(arguments)
        self._text = text

    def __str__(self) -> str:
        return self._text

    def __add__(self, after: str) -> str:
        return self._text + after

    def __radd__(self, before: str) -> str:
        return before + self._text


def _message(
    index: int, message: Mapping[str, Any], placement: Placement
) -> tuple[dict[str, Any], list[MediaPart]]:
    role = message.get("role")
    if not isinstance(role, str):
        raise RequestError(f'Message {index} has no `role`; give one, such as "user"')
    more = {k: v for k, v in message.items() if k not in ("role", "content") and v is not None}
    calls = more.pop("tool_calls", None)
    if calls:
        more["tool_calls"] = _tool_calls(index, calls)
    content = message.get("content")
    if content is None and not calls:
        raise RequestError(
            f"Message {index} has no `content`; only one with `tool_calls` may do without"
        )
    if content is None:
        return {"role": role, **more}, []
    if isinstance(content, str):
        return {"role": role, "content": content, **more}, []
    texts, media = _parts(index, content)
    if media and role != "user":
        raise RequestError(
            f"Role for an {media[0].kind} message must be `user`, but it is `{role}`"
        )
    return {"role": role, "content": _content(texts, media, placement), **more}, media


def _content(
    texts: Sequence[str], media: Sequence[MediaPart], placement: Placement
) -> str | list[dict[str, str]]:
    """Join the texts, and put them after the media if these are kept."""
    text = " ".join(texts)
    if placement == Placement.FLATTEN or not media:
        return text
    parts: list[dict[str, str]] = [{"type": part.kind} for part in media]
    return [*parts, {"type": "text", "text": text}] if texts else parts


def _parts(index: int, content: object) -> tuple[list[str], list[MediaPart]]:
    if not isinstance(content, list):
        raise RequestError(
            f"`content` of message {index} is a {type(content).__name__}; it should be a text or a "
            "list of parts"
        )
    read = [_part(index, part) for part in content]
    media = [part for part in read if isinstance(part, MediaPart)]
    media.sort(key=lambda part: _KINDS.index(part.kind))
    return [part for part in read if isinstance(part, str)], media


def _part(index: int, part: object) -> str | MediaPart:
    if isinstance(part, dict):
        name = part.get("type", "text")
        if isinstance(name, str) and name in _PART_TYPES:
            source = _source(name, part)
            return MediaPart(kind=_PART_TYPES[name], source=source, message=index)
        if isinstance(part.get("text"), str):
            return str(part["text"])
    raise RequestError(
        f"Message {index} has a part {str(part)[:60]}; it should be "
        '{"type": "text", "text": ...} or one of the types ' + ", ".join(_PART_TYPES)
    )


def _source(name: str, part: Mapping[str, Any]) -> object:
    """Return a URL, or the thing itself, from where the part's type keeps it."""
    value = part.get(name)
    match value:
        case {"data": str(data), "format": str(form)} if name == "input_audio":
            return f"data:audio/{form};base64,{data}"
        case _ if name == "input_audio":  # brings its sound, and never names a file or a server
            raise RequestError(_unreadable(name))
        case {"url": str(url)}:
            return url.strip()
        case str(url):
            return url.strip()
    by_url = name.endswith("_url")
    other = part.get("url", part.get("path")) if value is None and not by_url else value
    if other is None or isinstance(other, dict) or by_url:
        raise RequestError(_unreadable(name))
    return other


def _unreadable(name: str) -> str:
    if name == "input_audio":
        return '`input_audio` must be an object {"data": <base64>, "format": "wav"}'
    if name.endswith("_url"):
        return f"`{name}` must be a string or an object with a `url`"
    return f"A part of type `{name}` needs the {name}, its path or its URL under `{name}`"


def _tool_calls(index: int, calls: object) -> list[dict[str, Any]]:
    """Read calls in OpenAI's form, or as an answer brought them."""
    kinds = (dict, ToolCallResponse)
    if not isinstance(calls, list) or not all(isinstance(call, kinds) for call in calls):
        raise RequestError(f"`tool_calls` of message {index} must be a list of objects")
    return [_tool_call(call) for call in calls]


def _tool_call(call: dict[str, Any] | ToolCallResponse) -> dict[str, Any]:
    if isinstance(call, ToolCallResponse):
        called = {"name": call.function.name, "arguments": call.function.arguments}
        call = {"id": call.id, "type": "function", "function": called}
    function = call.get("function")
    if not isinstance(function, dict) or "arguments" not in function:
        return call
    return {**call, "function": {**function, "arguments": _arguments(function["arguments"])}}


def _arguments(arguments: object) -> object:
    """Turn a JSON text into what it says; what is not an object stays as it was."""
    try:
        text = (
            arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        )
        text = text.strip() or "{}"
        parsed = json.loads(text)
    except (TypeError, ValueError):
        return arguments
    return _Arguments(text, parsed) if isinstance(parsed, dict) else arguments
