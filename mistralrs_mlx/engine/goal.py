"""How much memory a user allows: the arguments of all eras of mistral.rs, as one value."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from mistralrs_mlx.errors import RequestError

__all__ = ["Goal", "checked_goal"]

UNITS = {
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
}
FORMS = 'It may be a fraction such as 0.9, an amount such as "4GiB", or "65536tokens"'
AMOUNT = re.compile(r"(\d+(?:\.\d+)?) *([kmgt]i?b)", re.IGNORECASE)
TOKENS = re.compile(r"(\d+) *tokens?", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What limits the memory of a runner. One field, or none, is set beside the share."""

    share: float = 0.9  # of the device's memory, for all that all models of the process hold
    total: int | None = None  # bytes for weights, live caches and what is kept of earlier ones
    caches: int | None = None  # bytes for the same without the weights
    tokens: int | None = None  # for each model, caches for so many tokens in one row


def checked_goal(
    goal: str | float | None = None,
    *,
    pa_gpu_mem: int | None = None,
    pa_gpu_mem_usage: float | None = None,
    pa_ctxt_len: int | None = None,
) -> Goal:
    """The goal that these arguments of `Runner` ask for; at most one may be given.

    >>> checked_goal("4GiB").total, checked_goal("65536tokens").tokens, checked_goal(0.5).share
    (4294967296, 65536, 0.5)
    """
    given = {
        "memory_goal": goal,
        "pa_gpu_mem": pa_gpu_mem,
        "pa_gpu_mem_usage": pa_gpu_mem_usage,
        "pa_ctxt_len": pa_ctxt_len,
    }
    _refuse_several(given)
    if goal is not None:
        return _parsed(goal) if isinstance(goal, str) else Goal(share=_share("memory_goal", goal))
    if pa_gpu_mem is not None:
        return Goal(caches=_positive("pa_gpu_mem", pa_gpu_mem) * 2**20)
    if pa_gpu_mem_usage is not None:
        return Goal(share=_share("pa_gpu_mem_usage", pa_gpu_mem_usage))
    if pa_ctxt_len is not None:
        return Goal(tokens=_positive("pa_ctxt_len", pa_ctxt_len))
    return Goal()


def _refuse_several(given: Mapping[str, object]) -> None:
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise RequestError(f"{' and '.join(named)} are mutually exclusive; give one of them")


def _parsed(text: str) -> Goal:
    stripped = text.strip()
    if found := TOKENS.fullmatch(stripped):
        return Goal(tokens=_some(text, int(found[1])))
    if found := AMOUNT.fullmatch(stripped):
        return Goal(total=_some(text, int(float(found[1]) * UNITS[found[2].lower()])))
    try:
        share = float(stripped)
    except ValueError:
        raise RequestError(
            f"memory_goal={text!r}: KV capacity must start with a positive integer. {FORMS}"
        ) from None
    return Goal(share=_share("memory_goal", share))


def _some(text: str, amount: int) -> int:
    if amount < 1:
        raise RequestError(f"memory_goal={text!r} leaves no room at all. {FORMS}")
    return amount


def _share(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"argument {name!r} must be a number, found {value!r}")
    if not (math.isfinite(value) and 0 < value <= 1):
        raise RequestError(
            f"{name}={value!r}: GPU memory utilization must be finite and in (0, 1]. {FORMS}"
            if name == "memory_goal"
            else f"{name}={value!r}: GPU memory utilization must be finite and in (0, 1]"
        )
    return float(value)


def _positive(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"argument {name!r} must be an int, found {value!r}")
    if value < 1:
        raise RequestError(f"{name}={value}; it must be at least 1")
    return value
