"""Every sampling argument of a request reaches the sampler, over what the model itself says."""

from types import SimpleNamespace
from typing import Any

import pytest

from mistralrs_mlx import ChatCompletionRequest, CompletionRequest
from mistralrs_mlx.engine.params import DryParams, SamplingParams
from mistralrs_mlx.runtime.choosing import sampling_params

OWN = {"temperature": 0.6, "top_k": 3, "top_p": 0.9, "min_p": 0.2, "repetition_penalty": 1.1}
GIVEN = {
    "temperature": 0.3,
    "top_k": 7,
    "top_p": 0.5,
    "min_p": 0.05,
    "presence_penalty": 0.4,
    "frequency_penalty": -0.5,
    "repetition_penalty": 1.3,
    "logit_bias": {4: 2.0},
    "seed": 5,
}


class Letters:
    """A tokenizer whose first token in a text is another one than in the middle."""

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        assert not add_special_tokens
        return [-ord(text[0]), *map(ord, text[1:])]


def params(own: dict[str, Any], request: Any = None, **asked: Any) -> SamplingParams:
    host = SimpleNamespace(generation_config=own, vocab_size=99, seed=0, tokenizer=Letters())
    return sampling_params(request or ChatCompletionRequest("Hi", "default", **asked), host, 0, 2)


def named(params: SamplingParams, names: dict[str, Any]) -> dict[str, Any]:
    return {name: getattr(params, name) for name in names}


@pytest.mark.parametrize("kind", [ChatCompletionRequest, CompletionRequest])
def test_every_argument_of_a_request_reaches_the_sampler(kind: Any) -> None:
    made = params(OWN, kind("Hi", "default", **GIVEN))
    assert named(made, GIVEN) == GIVEN
    assert made.top_logprobs == 2


def test_what_a_request_leaves_open_is_the_models_or_neutral() -> None:
    assert named(params(OWN), OWN) == OWN
    free = params({}, seed=0)
    assert free == SamplingParams(top_logprobs=2)


def test_every_argument_of_dry_reaches_the_sampler() -> None:
    asked = {"dry_multiplier": 0.8, "dry_base": 1.5, "dry_allowed_length": 4}
    made = params({}, **asked, dry_sequence_breakers=["x", "", "yz"])
    breakers = frozenset(map(ord, "xz"))
    assert made.dry == DryParams(
        multiplier=0.8, base=1.5, allowed_length=4, sequence_breakers=breakers
    )
    assert params({}, dry_base=1.5).dry is None
