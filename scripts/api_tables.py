"""The generated parts of docs/api.md: signatures and docstrings as Markdown tables."""

import inspect
import re
from collections.abc import Callable
from typing import Any

import mistralrs_mlx
from mistralrs_mlx import (
    Architecture,
    ChatCompletionRequest,
    CompletionRequest,
    EmbeddingArchitecture,
    EmbeddingRequest,
    ModelDetails,
    MultimodalArchitecture,
    Runner,
    WebSearchOptions,
    Which,
)
from mistralrs_mlx import errors as every_error
from mistralrs_mlx.api import responses
from mistralrs_mlx.api.described import arguments
from mistralrs_mlx.api.wire import WireEnum, members
from mistralrs_mlx.models.registry import TABLE
from mistralrs_mlx.unbuilt import UnbuiltMethods

__all__ = ["PAGES", "REQUESTS", "SELECTORS", "fragments", "words"]

PAGES = {
    "prefix_cache_n": "[caching](caching.md)",
    "chat_template": "[templates](chat-templates.md)",
    "in_situ_quant": "[which to choose](quantization.md), [all names](isq.md)",
    "memory_goal": "[memory](memory.md)",
    "pa_cache_type": "[caching](caching.md)",
    "enable_search": "[web search](tools.md#web-search)",
    "search_callback": "[web search](tools.md#web-search)",
    "tool_callbacks": "[tools](tools.md#tools-that-the-runner-runs)",
    "speculative_gamma": "[speculation](speculation.md)",
    "prompt_lookup": "[speculation](speculation.md)",
    "grammar": "[structured output](tools.md#structured-output)",
    "tool_schemas": "[tools](tools.md#tools)",
    "web_search_options": "[web search](tools.md#web-search)",
    "tool_dispatch_url": "[tools](tools.md#tools-that-the-runner-runs)",
}
"""Where a page has more to say of an argument than its docstring."""
SELECTORS = (Which.Plain, Which.GGUF, Which.MultimodalPlain, Which.Embedding)
OTHERS = (
    *("Lora", "XLora", "LoraGGUF", "XLoraGGUF", "GGML", "LoraGGML", "XLoraGGML"),
    *("DiffusionPlain", "Speech"),
)
REQUESTS = (ChatCompletionRequest, CompletionRequest, EmbeddingRequest, WebSearchOptions)
MODULE = re.compile(r"\b(?:[a-z_]+\.)+(?=[A-Z])|\b(?:collections\.abc|typing|os|numpy)\.")
UNBUILT = re.compile(r"(Not built yet: .+\.)$")


def fragments() -> dict[str, str]:
    """Every generated part, by the name that a page calls it by."""
    return {
        "selectors": "\n".join(_section(kind) for kind in SELECTORS),
        "other selectors": ", ".join(f"`Which.{name}`" for name in OTHERS),
        "architectures": _architectures(Architecture),
        "multimodal architectures": _architectures(MultimodalArchitecture),
        "embedding architectures": _architectures(EmbeddingArchitecture),
        "runner arguments": _parameters(Runner),
        "runner methods": _methods(models=False),
        "model methods": _methods(models=True),
        "unbuilt methods": ", ".join(f"`{name}`" for name in _public(UnbuiltMethods)),
        **{f"request {kind.__name__}": _parameters(kind) for kind in REQUESTS},
        "responses": "\n".join(_record(getattr(responses, name)) for name in responses.__all__),
        "model details": _record(ModelDetails),
        "errors": _errors(),
        "names": ", ".join(f"`{name}`" for name in sorted(mistralrs_mlx.__all__)),
    }


def words(kind: type, name: str) -> str | None:
    """What a parameter of a class means, as the docstrings say it."""
    homes = [kind]
    if kind is CompletionRequest:
        homes.append(ChatCompletionRequest)
    found = (arguments(home).get(name) for home in homes)
    return next((" ".join(said.split()) for said in found if said), None)


def _section(kind: type) -> str:
    path = kind.__qualname__
    return f"### `{path}`\n\n{_told(kind)}\n\n{_parameters(kind)}\n"


def _parameters(kind: type) -> str:
    rows = ["| parameter | type | default | |", "|---|---|---|---|"]
    found = list(inspect.signature(kind).parameters.values())
    positional = sum(each.kind is not each.KEYWORD_ONLY for each in found)
    for place, each in enumerate(found):
        only = "Keyword only. " if place == positional and place else ""
        rows.append(
            f"| `{each.name}` | {_type(each.annotation)} | {_default(each)} "
            f"| {only}{_meaning(kind, each.name)} |"
        )
    return "\n".join(rows)


def _meaning(kind: type, name: str) -> str:
    """Its words, and the page that has more of them."""
    meaning = UNBUILT.sub(r"*\1*", words(kind, name) or "")
    return f"{meaning.removesuffix('.')}: {PAGES[name]}." if name in PAGES else meaning


def _type(annotation: Any) -> str:
    name = annotation.__name__ if isinstance(annotation, type) else repr(annotation)
    name = MODULE.sub("", name).replace("NoneType", "None")
    name = re.sub(r"Optional\[(.+)\]$", r"\1 | None", name)
    name = re.sub(r"^Union\[(.+)\]$", lambda found: _alternatives(found[1]), name)
    return f"`{name}`".replace("|", "\\|")


def _alternatives(names: str) -> str:
    """`str, dict[str, Any], None` -> `str | dict[str, Any] | None`."""
    return re.sub(r",\s*(?![^\[]*\])", " | ", names)


def _default(parameter: inspect.Parameter) -> str:
    if parameter.default is parameter.empty:
        return "needed"
    return "unset" if "factory" in repr(parameter.default) else f"`{parameter.default!r}`"


def _architectures(enum: type[WireEnum]) -> str:
    """Members, and what `config.json` says for those that are here."""
    rows = ["| member | as a string | runs here as |", "|---|---|---|"]
    for each in members(enum):
        here = [f"`{entry.name}`" for entry in TABLE if entry.member == repr(each)]
        rows.append(f"| `{each!r}` | `{each.value}` | {', '.join(here) or 'not yet'} |")
    return "\n".join(rows)


def _methods(*, models: bool) -> str:
    """Those that manage models, or all others that are built."""
    found = {**_public(Runner)}
    for name in _public(UnbuiltMethods):
        del found[name]
    return "\n".join(
        f"#### `{name}{_signature(method)}`\n\n{_told(method)}\n"
        for name, method in found.items()
        if models == ("model" in name and not name.startswith("send_"))
    )


def _public(kind: type) -> dict[str, Callable[..., Any]]:
    return {
        name: member
        for base in reversed(kind.__mro__[:-1])
        for name, member in vars(base).items()
        if inspect.isfunction(member) and not name.startswith("_")
    }


def _signature(method: Callable[..., Any]) -> str:
    """As one writes a call: names, and defaults where there are any."""
    parts, only = [], False
    for each in list(inspect.signature(method).parameters.values())[1:]:
        if each.kind is each.KEYWORD_ONLY and not only:
            parts.append("*")
            only = True
        needed = each.default is each.empty
        parts.append(each.name if needed else f"{each.name}={each.default!r}")
    return f"({', '.join(parts)})"


def _record(kind: type) -> str:
    rows = [
        f"| `{each.name}` | {_type(each.annotation)} |"
        for each in inspect.signature(kind).parameters.values()
    ]
    return "\n".join(
        [f"### `{kind.__name__}`", "", _told(kind), "", "| field | type |", "|---|---|", *rows, ""]
    )


def _errors() -> str:
    """Those that can be imported from the package, with what each is as well."""
    rows = ["| error | is also | when |", "|---|---|---|"]
    for name in every_error.__all__:
        if name in mistralrs_mlx.__all__:
            kind = getattr(every_error, name)
            parents = ", ".join(f"`{each.__name__}`" for each in kind.__bases__)
            rows.append(f"| `{name}` | {parents} | {_told(kind).splitlines()[0]} |")
    return "\n".join(rows)


def _told(documented: Any) -> str:
    """Its docstring, as paragraphs, without the arguments."""
    return (inspect.getdoc(documented) or "").partition("\n\nArgs:\n")[0]
