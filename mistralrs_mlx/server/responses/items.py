"""The items of a response's conversation, as OpenAI has them, and the chat messages they make."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import msgspec

from mistralrs_mlx.server.answers import Token, fresh_id
from mistralrs_mlx.server.failure import Failure

__all__ = [
    "FunctionCall",
    "FunctionCallOutput",
    "Item",
    "MessageItem",
    "OutputText",
    "Reasoning",
    "ReasoningText",
    "item_id",
    "messages_of",
    "read_items",
    "refuse_twins",
]

Status = Literal["in_progress", "completed", "incomplete"]
Cache = dict[str, Any] | None  # where a cache should begin; ours finds out itself


class Form(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """The base of items and their parts. They are read and sent in one form."""


class InputText(Form, frozen=True, kw_only=True, tag="input_text"):
    """Words of the user's."""

    text: str
    prompt_cache_breakpoint: Cache = None


class InputImage(Form, frozen=True, kw_only=True, tag="input_image"):
    """A picture. `detail` has no other value: the model's own processor chooses the size."""

    image_url: str
    detail: Literal["auto", "high"] | None = None
    file_id: None = None
    prompt_cache_breakpoint: Cache = None


class Sound(Form, frozen=True, kw_only=True):
    """Sound that came along."""

    data: str
    format: Literal["mp3", "wav"]


class InputAudio(Form, frozen=True, kw_only=True, tag="input_audio"):
    """A clip of sound."""

    input_audio: Sound


class ChatText(Form, frozen=True, kw_only=True, tag="text"):
    """Words, as a chat has them; mistral.rs takes the parts of a chat here as well."""

    text: str


class Address(Form, frozen=True, kw_only=True):
    """Where a picture or a clip is."""

    url: str


class ChatImage(Form, frozen=True, kw_only=True, tag="image_url"):
    """A picture, as a chat has it."""

    image_url: Address


class ChatAudio(Form, frozen=True, kw_only=True, tag="audio_url"):
    """A clip of sound, as a chat has it."""

    audio_url: Address


class OutputText(Form, frozen=True, kw_only=True, tag="output_text"):
    """Words of the model's."""

    text: str
    annotations: list[dict[str, Any]] | None = None
    logprobs: list[Token] | None = None


class Refusal(Form, frozen=True, kw_only=True, tag="refusal"):
    """Words in which a model declined; no model here has a channel of its own for them."""

    refusal: str


class ReasoningText(Form, frozen=True, kw_only=True, tag="reasoning_text"):
    """What the model thought."""

    text: str


class SummaryText(Form, frozen=True, kw_only=True, tag="summary_text"):
    """What a service tells of a model's thoughts."""

    text: str


Media = InputImage | InputAudio | ChatImage | ChatAudio
Part = InputText | ChatText | OutputText | Refusal | Media


class MessageItem(Form, frozen=True, kw_only=True, tag="message"):
    """What somebody says. Once read, it has an id and a list of parts."""

    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[Part]
    id: str | None = None
    status: Status | None = None
    phase: str | None = None


class FunctionCall(Form, frozen=True, kw_only=True, tag="function_call"):
    """A call that the model makes; `arguments` is JSON."""

    call_id: str
    name: str
    arguments: str
    id: str | None = None
    status: Status | None = None
    namespace: None = None
    caller: None = None


class FunctionCallOutput(Form, frozen=True, kw_only=True, tag="function_call_output"):
    """What a call gave."""

    call_id: str
    output: str | list[InputText]
    id: str | None = None
    status: Status | None = None
    name: str | None = None
    namespace: None = None
    caller: None = None


class Reasoning(Form, frozen=True, kw_only=True, tag="reasoning"):
    """What the model thinks before it answers. Nothing of it is hidden, so nothing encrypted."""

    summary: list[SummaryText] | None = None
    content: list[ReasoningText] | None = None
    id: str | None = None
    status: Status | None = None
    encrypted_content: None = None


class ItemReference(Form, frozen=True, kw_only=True, tag="item_reference"):
    """An item of a response that is kept."""

    id: str


Item = MessageItem | FunctionCall | FunctionCallOutput | Reasoning
PREFIXES: Mapping[type, str] = {
    MessageItem: "msg",
    FunctionCall: "fc",
    FunctionCallOutput: "fco",
    Reasoning: "rs",
}


def item_id(prefix: str) -> str:
    """An id that nothing else has, in OpenAI's form."""
    return fresh_id(prefix).replace("-", "_")


def read_items(
    given: str | list[dict[str, Any]], kept: Callable[[], Mapping[str, Item]]
) -> tuple[Item, ...]:
    """The items of an `input`, each with an id. `kept` has those that may be referred to."""
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    if not given:
        raise Failure(400, "input is empty; give a text, or at least one item", parameter="input")
    read = [_read(index, each) for index, each in enumerate(given)]
    known = kept() if any(isinstance(each, ItemReference) for each in read) else {}
    return tuple(_referred(each, known) for each in read)


def refuse_twins(items: Iterable[Item]) -> None:
    """Refuse items that are there twice, such as those that an earlier response has, too."""
    seen: set[str | None] = set()
    for item in items:
        if item.id in seen:
            message = f"item `{item.id}` is there twice; leave out what is kept already"
            raise Failure(400, message, parameter="input", code="duplicate_item")
        seen.add(item.id)


def messages_of(items: Iterable[Item], instructions: str | None = None) -> list[dict[str, Any]]:
    """The messages of a chat. What the model thought, said and called in one go becomes one."""
    found: list[dict[str, Any]] = []
    if instructions:
        found.append({"role": "system", "content": instructions})
    called: set[str] = set()
    reached = 0
    for item in items:
        if isinstance(item, FunctionCallOutput):
            found.append(_result(item, called))
        elif isinstance(item, MessageItem) and item.role != "assistant":
            _hear(found, item)
        else:
            stage = _stage(item)
            if not (found and found[-1]["role"] == "assistant" and _follows(stage, reached)):
                found.append({"role": "assistant", "content": ""})
            reached = stage
            _speak(found[-1], item)
            if isinstance(item, FunctionCall):
                called.add(item.call_id)
    return found


def _read(index: int, given: Mapping[str, Any]) -> Item | ItemReference:
    kind = given.get("type")
    if kind is None:  # both may leave it out
        kind = "item_reference" if given.keys() <= {"id", "type"} else "message"
    try:
        item: Item | ItemReference = msgspec.convert(
            {**given, "type": kind},
            type=MessageItem | FunctionCall | FunctionCallOutput | Reasoning | ItemReference,
        )
    except msgspec.ValidationError as error:
        place = f"input[{index}]"
        message = str(error).replace("`$", f"`$.{place}")
        if place not in message:
            message = f"{message} - at `$.{place}`"
        raise Failure(400, message, parameter=place) from None
    return item if isinstance(item, ItemReference) else _completed(item)


def _completed(item: Item) -> Item:
    """The item with an id and a status, and with parts where there was a text."""
    item = msgspec.structs.replace(
        item, id=item.id or item_id(PREFIXES[type(item)]), status=item.status or "completed"
    )
    if isinstance(item, MessageItem) and isinstance(item.content, str):
        text = item.content
        said = OutputText(text=text, annotations=[]) if item.role == "assistant" else None
        item = msgspec.structs.replace(item, content=[said or InputText(text=text)])
    return item


def _referred(item: Item | ItemReference, known: Mapping[str, Item]) -> Item:
    if not isinstance(item, ItemReference):
        return item
    if item.id not in known:
        message = f"item `{item.id}` was not found among the responses that are kept"
        raise Failure(404, message, parameter="input", code="item_not_found")
    return known[item.id]


def _stage(item: Item) -> int:
    """How far into a turn of the model's an item comes."""
    return [Reasoning, MessageItem, FunctionCall].index(type(item))


def _follows(stage: int, reached: int) -> bool:
    """Whether an item belongs to the turn that has got so far. One may have several calls."""
    return stage > reached or stage == reached == _CALLS


_CALLS = 2


def _speak(turn: dict[str, Any], item: Item) -> None:
    """Add to the model's turn."""
    if isinstance(item, Reasoning):
        shown = item.content or item.summary or []
        turn["reasoning_content"] = "\n".join(part.text for part in shown)
    elif isinstance(item, FunctionCall):
        function = {"name": item.name, "arguments": item.arguments}
        call = {"id": item.call_id, "type": "function", "function": function}
        turn.setdefault("tool_calls", []).append(call)
        turn["content"] = turn["content"] or None
    elif isinstance(item, MessageItem):
        turn["content"] = "".join(_words(part) for part in item.content)


def _hear(found: list[dict[str, Any]], item: MessageItem) -> None:
    """Add what the model is told. Many templates want all of a system's words first, in one."""
    role = "user" if item.role == "user" else "system"
    content = _content(item)
    first = found[0] if found else {}
    if role == first.get("role") == "system" and len(found) == 1:
        first["content"] = f"{first['content']}\n\n{content}"
    else:
        found.append({"role": role, "content": content})


def _content(item: MessageItem) -> str | list[dict[str, Any]]:
    if item.role == "user" and any(isinstance(one, Media) for one in item.content):
        return [_part(one) for one in item.content]
    return " ".join(_words(one) for one in item.content)


def _part(part: Part | str) -> dict[str, Any]:
    if isinstance(part, InputImage):
        return {"type": "image_url", "image_url": {"url": part.image_url}}
    if isinstance(part, InputAudio | ChatImage | ChatAudio):
        chat: dict[str, Any] = msgspec.to_builtins(part)
        return chat
    return {"type": "text", "text": _words(part)}


def _words(part: Part | str) -> str:
    if isinstance(part, InputText | ChatText | OutputText):
        return part.text
    if isinstance(part, Refusal):
        return part.refusal
    raise Failure(400, "pictures and sound go into messages of the user", parameter="input")


def _result(item: FunctionCallOutput, called: set[str]) -> dict[str, Any]:
    if item.call_id not in called:
        message = f"there is no function_call `{item.call_id}` before its output"
        raise Failure(400, message, parameter="input")
    said = item.output
    text = said if isinstance(said, str) else "\n".join(part.text for part in said)
    return {"role": "tool", "tool_call_id": item.call_id, "content": text}
