"""A request's sampling arguments, over the model's own defaults -> `SamplingParams`."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from mistralrs_mlx.engine.params import DryParams, SamplingParams, derived_seed
from mistralrs_mlx.errors import RequestError
from mistralrs_mlx.text.tokenizer import Tokenizer

from .host import Host

__all__ = ["sampling_params"]

BREAKERS = ("\n", ":", '"', "*")


class Sampling(Protocol):
    """What chat and completion requests have in common."""

    @property
    def temperature(self) -> float | None: ...
    @property
    def top_k(self) -> int | None: ...
    @property
    def top_p(self) -> float | None: ...
    @property
    def min_p(self) -> float | None: ...
    @property
    def presence_penalty(self) -> float | None: ...
    @property
    def frequency_penalty(self) -> float | None: ...
    @property
    def repetition_penalty(self) -> float | None: ...
    @property
    def logit_bias(self) -> Mapping[int, float] | None: ...
    @property
    def dry_multiplier(self) -> float | None: ...
    @property
    def dry_base(self) -> float | None: ...
    @property
    def dry_allowed_length(self) -> int | None: ...
    @property
    def dry_sequence_breakers(self) -> Sequence[str] | None: ...
    @property
    def seed(self) -> int | None: ...


def sampling_params(
    request: Sampling, host: Host, number: int, top_logprobs: int | None
) -> SamplingParams:
    """What the request says, else generation_config.json, else the neutral value."""
    defaults = host.generation_config
    bias = request.logit_bias or {}
    forbidden = _forbidden(bias, _suppressed(defaults), host.vocab_size)
    seed = derived_seed(host.seed, number) if request.seed is None else request.seed
    return SamplingParams(
        temperature=_temperature(request.temperature, defaults),
        top_k=_first(request.top_k, _number(defaults, "top_k"), 0),
        top_p=_first(request.top_p, _number(defaults, "top_p"), 1.0),
        min_p=_first(request.min_p, _number(defaults, "min_p"), 0.0),
        presence_penalty=_first(request.presence_penalty, 0.0),
        frequency_penalty=_first(request.frequency_penalty, 0.0),
        repetition_penalty=_first(
            request.repetition_penalty, _number(defaults, "repetition_penalty"), 1.0
        ),
        logit_bias={token: value for token, value in bias.items() if value != -math.inf},
        suppress_tokens=forbidden,
        dry=_dry(request, host.tokenizer),
        seed=seed,
        top_logprobs=top_logprobs,
    )


def _forbidden(
    bias: Mapping[int, float], suppressed: Sequence[int], vocab_size: int
) -> tuple[int, ...]:
    """Tokens that may never come: a bias of minus infinity says so, too."""
    tokens = {*suppressed, *(token for token, value in bias.items() if value == -math.inf)}
    if sum(0 <= token < vocab_size for token in tokens) == vocab_size:
        raise RequestError("logit_bias forbids every token; leave at least one")
    return tuple(sorted(tokens))


def _first(*values: Any) -> Any:
    return next(value for value in values if value is not None)


def _temperature(wish: float | None, defaults: Mapping[str, Any]) -> float:
    if wish is not None:
        return wish
    if defaults.get("do_sample") is False:
        return 0.0
    return float(_first(_number(defaults, "temperature"), 1.0))


def _number(defaults: Mapping[str, Any], name: str) -> float | None:
    """What generation_config.json says, if it is a number or nothing."""
    value = defaults.get(name)
    if value is not None and type(value) not in (int, float):
        raise RequestError(
            f"generation_config.json says {name}={value!r}, which is no number. Give your own"
        )
    return value


def _suppressed(defaults: Mapping[str, Any]) -> Sequence[int]:
    """The tokens that generation_config.json forbids."""
    value = defaults.get("suppress_tokens") or ()
    if not isinstance(value, list | tuple) or not all(type(each) is int for each in value):
        raise RequestError(
            f"generation_config.json says suppress_tokens={value!r:.60}; it should be a list of "
            "token ids. Mend the file"
        )
    return value


def _dry(request: Sampling, tokenizer: Tokenizer) -> DryParams | None:
    if request.dry_multiplier is None:
        return None
    breakers = request.dry_sequence_breakers
    strings = BREAKERS if breakers is None else breakers
    # After a letter, as in running text: some vocabularies begin a text with another token.
    ends = (tokenizer.encode(f"a{text}", add_special_tokens=False)[-1] for text in strings if text)
    return DryParams(
        multiplier=request.dry_multiplier,
        base=_first(request.dry_base, 1.75),
        allowed_length=_first(request.dry_allowed_length, 2),
        sequence_breakers=frozenset(ends),
    )
