"""A client's body -> a request of the package. What cannot be honoured is refused by its name."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from mistralrs_mlx import (
    ApproximateUserLocation,
    ChatCompletionRequest,
    CompletionRequest,
    RequestedFile,
    WebSearchOptions,
    WebSearchUserLocation,
)

from .bodies import ChatBody, CompletionBody, JsonObject, JsonSchema, Sampled, WebSearch
from .failure import Failure

__all__ = ["chat_request", "completion_requests", "made", "refused"]

Made = TypeVar("Made")
SAME = [  # fields of bodies and requests that have one name and one meaning
    *("temperature", "top_p", "top_k", "min_p", "logit_bias", "presence_penalty"),
    *("frequency_penalty", "repetition_penalty", "dry_multiplier", "dry_base"),
    *("dry_allowed_length", "dry_sequence_breakers", "truncate_sequence", "ignore_eos", "adapter"),
]
SAME_IN_CHATS = [
    *("logprobs", "top_logprobs", "tool_choice", "max_tool_rounds", "session_id"),
    *("enable_code_execution", "enable_shell", "agent_permission", "code_execution_permission"),
]
# What a field may say without asking for anything that is not here.
NEUTRAL: Mapping[str, tuple[tuple[object, ...], str]] = {
    "store": ((False,), "nothing is kept"),
    "parallel_tool_calls": ((True,), "a model decides itself how many calls it makes"),
    "modalities": (([], ["text"]), "answers are texts"),
    "verbosity": (("medium",), "no model has it; say in the prompt how long answers should be"),
    "audio": ((), "answers are texts"),
    "prediction": ((), "no answer is predicted; Runner(prompt_lookup=...) copies from the prompt"),
    "functions": ((), "it is out of date; use `tools`"),
    "function_call": ((), "it is out of date; use `tool_choice`"),
}
REMOTE = ("http://", "https://")
MOST = {  # entries of lists whose every entry costs time, some at each token
    "prompt": 256,
    "tools": 1024,
    "stop": 64,
    "dry_sequence_breakers": 256,
    "logit_bias": 1 << 20,  # more than any vocabulary has
}
U64 = 1 << 64


def made(make: Callable[..., Made], **fields: Any) -> Made:
    """The object of these fields. A type that is wrong is the client's error here, too."""
    try:
        return make(**fields)
    except (TypeError, OverflowError) as error:
        raise Failure(400, str(error)) from None


def chat_request(body: ChatBody, *, media_urls: bool = False) -> ChatCompletionRequest:
    """What the chat body asks for."""
    _refuse_neighbours(body)
    _refuse_many("tools", body.tools)
    _check_media(body.messages, media_urls=media_urls)
    tools, choice = _tools(body)
    fields = _sampling(body) | _given(body, SAME_IN_CHATS) | _thinking(body)
    if choice is not None:
        fields["tool_choice"] = choice
    if body.web_search_options is not None:
        fields["web_search_options"] = _search(body.web_search_options)
    if body.files:
        fields["files"] = [made(RequestedFile, **each) for each in body.files]
    return made(
        ChatCompletionRequest,
        messages=body.messages,
        model=body.model or "default",
        max_tokens=_limit(body),
        stream=bool(body.stream),
        tool_schemas=tools,
        **fields,
    )


def completion_requests(body: CompletionBody) -> list[CompletionRequest]:
    """What the completion body asks for: a request for each prompt."""
    _check_streaming(body)
    _refuse_many("prompt", body.prompt)
    if body.logprobs is not None:
        raise refused("logprobs", "completions have none; chats do")
    best_of = body.best_of or 1
    wanted = body.n or 1
    if body.best_of is not None and best_of < wanted:
        raise Failure(400, f"best_of={best_of} is less than n={wanted}", parameter="best_of")
    fields = _sampling(body) | _given(body, ["suffix"]) | {"n_choices": max(wanted, best_of)}
    return [
        made(
            CompletionRequest,
            prompt=prompt,
            model=body.model or "default",
            best_of=wanted if best_of > wanted else None,
            echo_prompt=bool(body.echo),
            max_tokens=body.max_tokens,
            **fields,
        )
        for prompt in _prompts(body)
    ]


def refused(name: str, reason: str) -> Failure:
    """The failure of a field that asks for what is not there."""
    return Failure(400, f"{name} is not supported: {reason}", parameter=name, code="unsupported")


def _sampling(body: Sampled) -> dict[str, Any]:
    for name in ("stop", "dry_sequence_breakers", "logit_bias"):
        _refuse_many(name, getattr(body, name))
    fields = _given(body, SAME) | _grammar(body)
    if body.n is not None:
        fields["n_choices"] = body.n
    if body.stop is not None:
        fields["stop_seqs"] = body.stop
    if body.seed is not None:
        fields["seed"] = body.seed % U64
    return fields


def _given(body: Sampled, names: list[str]) -> dict[str, Any]:
    found = ((name, getattr(body, name)) for name in names)
    return {name: value for name, value in found if value is not None}


def _grammar(body: Sampled) -> dict[str, Any]:
    """What holds the answer to a form: the grammar or the format, but not both."""
    form = body.response_format
    if body.grammar is not None:
        if isinstance(form, JsonObject | JsonSchema):
            raise refused("grammar", "it does not go with response_format; send one of them")
        return {"grammar": body.grammar.value, "grammar_type": body.grammar.type}
    if isinstance(form, JsonObject):
        return {"grammar": {"type": "object"}, "grammar_type": "json_schema"}
    if isinstance(form, JsonSchema):
        schema = form.json_schema.schema
        return {
            "grammar": {"type": "object"} if schema is None else schema,
            "grammar_type": "json_schema",
        }
    return {}


def _thinking(body: ChatBody) -> dict[str, Any]:
    """How long to think, said directly or among the template's arguments."""
    found = {}
    for name in ("enable_thinking", "reasoning_effort"):
        direct = getattr(body, name)
        within = body.chat_template_kwargs and getattr(body.chat_template_kwargs, name)
        if direct is not None and within is not None and direct != within:
            raise Failure(
                400,
                f"{name} is {direct!r}, but {within!r} in chat_template_kwargs",
                parameter="chat_template_kwargs",
            )
        if (said := within if direct is None else direct) is not None:
            found[name] = said
    return found


def _limit(body: ChatBody) -> int | None:
    old, new = body.max_tokens, body.max_completion_tokens
    if old is not None and new is not None and old != new:
        raise Failure(
            400,
            f"max_tokens is {old}, but max_completion_tokens is {new}; send one of them",
            parameter="max_completion_tokens",
        )
    return old if new is None else new


def _tools(body: ChatBody) -> tuple[list[dict[str, Any]] | None, Any]:
    """The tools to offer, and what the choice among them comes to."""
    choice = body.tool_choice
    if not isinstance(choice, dict) or choice.get("type") != "allowed_tools":
        return body.tools or None, None
    match choice.get("allowed_tools", choice):
        case {"mode": "auto" | "required" as mode, "tools": list(allowed)}:
            names = {_name(tool) for tool in allowed}
            offered = [tool for tool in body.tools or [] if _name(tool) in names]
            return offered or None, mode
    raise Failure(
        400, "allowed_tools needs a `mode`, auto or required, and `tools`", parameter="tool_choice"
    )


def _name(tool: object) -> str:
    match tool:
        case {"function": {"name": str(name)}} | {"type": "function", "name": str(name)}:
            return name  # mistral.rs's clients name the allowed ones in the second way
    raise Failure(400, 'a tool is {"type": "function", "function": {"name": ...}}')


def _search(body: WebSearch) -> WebSearchOptions:
    location = None
    if body.user_location is not None:
        place = body.user_location.approximate
        location = WebSearchUserLocation.approximate(
            ApproximateUserLocation(
                city=place.city, country=place.country, region=place.region, timezone=place.timezone
            )
        )
    return WebSearchOptions(
        search_context_size=body.search_context_size,
        user_location=location,
        search_description=body.search_description,
        extract_description=body.extract_description,
    )


def _prompts(body: CompletionBody) -> list[str]:
    if isinstance(body.prompt, str):
        return [body.prompt]
    texts = [prompt for prompt in body.prompt if isinstance(prompt, str)]
    if len(texts) < len(body.prompt):
        raise refused("prompt", "completions continue texts, not lists of tokens")
    if not texts:
        raise refused("prompt", "there is none in the list")
    return texts


def _refuse_neighbours(body: ChatBody) -> None:
    """Refuse what asks for something that no model here does."""
    _check_streaming(body)
    for name, (neutral, reason) in NEUTRAL.items():
        value = getattr(body, name)
        if value is not None and value not in neutral:
            raise refused(name, reason)
    if body.top_logprobs is not None and not body.logprobs:
        raise refused("top_logprobs", "it needs logprobs=true")


def _check_streaming(body: Sampled) -> None:
    if body.stream_options is not None and not body.stream:
        raise refused("stream_options", "it goes only with stream=true")


def _refuse_many(name: str, given: object) -> None:
    count = len(given) if isinstance(given, list | dict) else 0
    if count > MOST[name]:
        message = f"{name} has {count} entries; at most {MOST[name]} are taken"
        raise Failure(400, message, parameter=name)


def _check_media(messages: object, *, media_urls: bool) -> None:
    """Let through what a client brings along; a path would have us read our own files to it."""
    if not isinstance(messages, list):
        return
    for message in messages:
        content = message.get("content")
        for part in content if isinstance(content, list) else []:
            if isinstance(part, dict):
                _check_part(part, media_urls=media_urls)


def _check_part(part: Mapping[str, Any], *, media_urls: bool) -> None:
    kind = part.get("type", "text")
    if kind in ("text", "input_audio"):  # which have no URL
        return
    if kind not in ("image_url", "audio_url", "video_url"):
        raise Failure(400, f"a part of type {kind!r} is not understood", parameter="messages")
    given = part.get(kind)
    url = given.get("url") if isinstance(given, dict) else given
    start = url.strip()[:8].lower() if isinstance(url, str) else ""
    if start.startswith("data:") or (media_urls and start.startswith(REMOTE)):
        return
    wanted = "a data: URL"
    hint = ", or an http(s) one" if media_urls else "; --media-urls lets the server fetch others"
    raise Failure(400, f"{kind} must be {wanted}{hint}", parameter="messages")
