"""Messages -> the text of a prompt, by a chat template."""

import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import jinja2

from mistralrs_mlx.errors import TemplateError

from .sandbox import Sandbox
from .spending import spending
from .template_source import TemplateSource

__all__ = ["ChatTemplate"]

# Tools that Llama 3 and GPT-OSS know by name and their templates announce in words of their own.
_BUILTIN_TOOLS = (
    "browser", "python", "code_interpreter", "web_search", "brave_search", "wolfram_alpha",
)  # fmt: skip
_SCHEMA_ORDER = ("type", "properties", "required", "additionalProperties")
# What a template may run into besides Jinja's own errors: it can call any method of a str or dict.
_FAILURES = (
    jinja2.TemplateError, ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError,
    TypeError, ValueError,
)  # fmt: skip
_PROBE = "a message to try"


class ChatTemplate:
    """A compiled chat template, or several that go by name: `default` and `tool_use`."""

    def __init__(
        self,
        source: TemplateSource,
        special_tokens: Mapping[str, str],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Compile all templates; the tokens that `source` names go before `special_tokens`."""
        self.origin = source.origin
        self.text = "\n".join(source.templates.values())
        self.special_tokens = {**special_tokens, **source.special_tokens}
        self._now = now
        sandbox = Sandbox()
        sandbox.globals["strftime_now"] = lambda form: now().strftime(form)
        self._templates = {
            name: _compiled(sandbox, text, source.origin) for name, text in source.templates.items()
        }
        self._wants_parts = self._reads_only_parts()

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        enable_thinking: bool | None = None,
        reasoning_effort: str | None = None,
        add_generation_prompt: bool = True,
    ) -> str:
        """Return the prompt.

        `tools` are OpenAI's `{"type": "function", "function": {...}}`. `reasoning_effort` is one of
        "off", "low", "medium", "high", "xhigh". `enable_thinking=None` follows it; thinking is on
        if neither is given.
        """
        template = self._choose(bool(tools))
        think = reasoning_effort != "off" if enable_thinking is None else enable_thinking
        efforts = ("reasoning_effort", "reasoning_strength") if reasoning_effort else ()
        variables = {
            "add_generation_prompt": add_generation_prompt,
            "enable_thinking": think,
            **dict.fromkeys(efforts, reasoning_effort),
            **_tool_variables([_ordered(tool) for tool in tools]),
        }
        return self._render_first(template, self._readings(messages), variables)

    def _readings(self, messages: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
        """Return the forms in which to offer the messages.

        A message that only calls tools has no content. Templates want it missing, none or empty:
        DeepSeek's looks for none, where Qwen3's fails.
        """
        given = [_in_parts(message) if self._wants_parts else message for message in messages]
        if all(message.get("content") is not None for message in given):
            return [given]
        return [given, *([_filled(message, empty) for message in given] for empty in (None, ""))]

    def _render_first(
        self,
        template: jinja2.Template,
        readings: Sequence[list[Mapping[str, Any]]],
        variables: Mapping[str, Any],
    ) -> str:
        """Render the first form of the messages that the template can read."""
        for messages in readings[:-1]:
            with suppress(TemplateError):
                return self._render(template, {**variables, "messages": messages})
        return self._render(template, {**variables, "messages": readings[-1]})

    def _render(self, template: jinja2.Template, variables: Mapping[str, Any]) -> str:
        tokens = {"bos_token": "", "eos_token": "", "unk_token": ""} | self.special_tokens
        date = self._now().strftime("%d, %B, %Y")
        try:
            with spending():
                return template.render({**tokens, "date_string": date, **variables})
        except TemplateError:
            raise
        except _FAILURES as error:
            raise TemplateError(_explained(error, self.origin)) from error

    def _choose(self, with_tools: bool) -> jinja2.Template:
        names = self._templates
        wanted = "tool_use" if with_tools else "default"
        if wanted in names:
            return names[wanted]
        if len(names) == 1:
            return next(iter(names.values()))
        raise TemplateError(
            f"The chat templates of {self.origin} are named {', '.join(names)}; this request needs "
            f"one named {wanted}. Give a template as chat_template= or jinja_explicit="
        )

    def _reads_only_parts(self) -> bool:
        """Tell whether a template prints a message only if it is a list of typed parts.

        Templates of some vision models loop over `message["content"]` and lose plain text.
        """
        plain = {"role": "user", "content": _PROBE}
        return _PROBE not in self._tried(plain) and _PROBE in self._tried(_in_parts(plain))

    def _tried(self, message: Mapping[str, Any]) -> str:
        template = self._templates.get("default", next(iter(self._templates.values())))
        variables = {"add_generation_prompt": True, "enable_thinking": True, **_tool_variables([])}
        try:
            return self._render(template, {**variables, "messages": [message]})
        except TemplateError:
            return ""


def _compiled(sandbox: Sandbox, text: str, origin: str) -> jinja2.Template:
    try:
        with spending():
            return sandbox.from_string(text)
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(
            f"The chat template of {origin} has an error in line {error.lineno}: {error.message}"
        ) from error
    except RecursionError as error:
        raise TemplateError(f"The chat template of {origin} is nested too deeply") from error


def _explained(error: Exception, origin: str) -> str:
    """Say what went wrong in a template, and where."""
    lines = [
        f.lineno for f in traceback.extract_tb(error.__traceback__) if "<template>" in f.filename
    ]
    place = f" in line {lines[-1]}" if lines else ""
    kind = "uses what is undefined" if isinstance(error, jinja2.UndefinedError) else "failed"
    return f"The chat template of {origin} {kind}{place}: {error}"


def _in_parts(message: Mapping[str, Any]) -> Mapping[str, Any]:
    content = message.get("content")
    if not isinstance(content, str):
        return message
    return {**message, "content": [{"type": "text", "text": content}]}


def _filled(message: Mapping[str, Any], empty: str | None) -> Mapping[str, Any]:
    return message if message.get("content") is not None else {**message, "content": empty}


def _tool_variables(tools: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what templates know about tools.

    `tools` is none rather than undefined when there are none, as templates on the hub expect.
    `xml_tools` is SmolLM3's name for them.
    """
    if not tools:
        return {"tools": None, "documents": None}
    names = (tool.get("function", {}).get("name") for tool in tools)
    builtin = [name for name in names if name in _BUILTIN_TOOLS]
    variables = {"tools": tools, "xml_tools": tools, "documents": None}
    return variables | ({"builtin_tools": builtin} if builtin else {})


def _ordered(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """Put the keys of a tool's parameters in the order mistral.rs gives them."""
    function = tool.get("function")
    if not isinstance(function, Mapping) or not isinstance(function.get("parameters"), Mapping):
        return tool
    schema = function["parameters"]
    keys: Iterable[str] = [key for key in _SCHEMA_ORDER if key in schema]
    keys = [*keys, *sorted(schema.keys() - set(keys))]
    return {**tool, "function": {**function, "parameters": {key: schema[key] for key in keys}}}
