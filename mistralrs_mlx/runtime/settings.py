"""What a `Runner` was made with, by argument, as the parts that act on it."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mistralrs_mlx.api.checks import PATH, TEXT, Rule, either, mistyped, rule, whole
from mistralrs_mlx.engine.goal import Goal, checked_goal

from .caching import checked_caching
from .drafting import checked_drafting
from .opening import Opening
from .roster import Roster
from .search import checked_search
from .semantic import embedding_gemma
from .tools import checked_callbacks
from .toolset import Toolset

__all__ = ["checked", "further_opening", "opening_of", "toolset_of"]

log = logging.getLogger(__name__)

Given = Mapping[str, Any]
PLAIN = (
    "which",
    "max_seqs",
    "no_kv_cache",
    "token_source",
    "chat_template",
    "jinja_explicit",
    "in_situ_quant",
    "progress",
)
MEMORY = ("pa_gpu_mem", "pa_gpu_mem_usage", "pa_ctxt_len")
CACHING = ("no_kv_cache", "pa_blk_size", "pa_cache_type", "paged_attn", "no_paged_attn")
DRAFTING = ("which_draft", "speculative_gamma", "prompt_lookup", "no_kv_cache")
OWN = (  # of the first model alone
    "num_device_layers",
    "chat_template",
    "jinja_explicit",
    "in_situ_quant",
    "which_draft",
    "speculative_gamma",
)
FLAG, NUMBER, FILE = rule(bool), rule(int | None), either(PATH, rule(type(None)))


def _watcher(name: str, value: Any) -> Any:
    if value is None or value is False or callable(value):
        return value
    raise mistyped(name, "a function, False or None", value)


TYPES: Mapping[str, Rule] = {  # of those that nothing else checks
    "max_seqs": whole(1),
    "no_kv_cache": FLAG,
    "prefix_cache_n": NUMBER,
    "token_source": TEXT,
    "chat_template": FILE,
    "jinja_explicit": FILE,
    "no_paged_attn": FLAG,
    "paged_attn": FLAG,
    "seed": NUMBER,
    "enable_search": FLAG,
    "speculative_gamma": NUMBER,
    "prompt_lookup": whole(),
    "progress": Rule(expected="a function, False or None", accept=_watcher),
}


def checked(given: Given) -> dict[str, Any]:
    """The arguments of a `Runner`, each of its type.

    Raises `TypeError` for another one and `ValueError` for a number out of its range.
    """
    return {name: _accepted(name, value) for name, value in given.items()}


def opening_of(given: Given) -> Opening:
    """How the model is loaded. Raises `ValueError` for what cannot be, or not together."""
    if given["num_device_layers"] is not None:
        log.warning("num_device_layers has no effect: Apple's memory is one")
    return Opening(
        seed=given["seed"] or 0,
        memory=checked_goal(given["memory_goal"], **_picked(given, MEMORY)),
        caching=checked_caching(given["prefix_cache_n"], **_picked(given, CACHING)),
        drafting=checked_drafting(given["which"], **_picked(given, DRAFTING)),
        **_picked(given, PLAIN),
    )


def further_opening(first: Given, memory: Goal, own: Given) -> Opening:
    """How a model is loaded that joins the first one: its own options, else those of the first."""
    given = {**first, **dict.fromkeys(OWN), **{n: v for n, v in own.items() if v is not None}}
    if own["which_draft"] is not None and own["prompt_lookup"] is None:
        given["prompt_lookup"] = 0
    given |= dict.fromkeys(("memory_goal", *MEMORY))
    return replace(opening_of(checked(given)), memory=memory)


def toolset_of(given: Given, opening: Opening, roster: Roster) -> Toolset:
    """The tools that are run here, the web search among them."""
    return Toolset(
        callbacks=checked_callbacks(given["tool_callbacks"]),
        search=checked_search(
            given["enable_search"],
            given["search_embedding_model"],
            given["search_callback"],
            embedder=roster.aside(embedding_gemma(opening)),
        ),
    )


def _accepted(name: str, value: Any) -> Any:
    return TYPES[name].accept(name, value) if name in TYPES else value


def _picked(given: Given, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: given[name] for name in names}
