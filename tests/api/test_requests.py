"""Requests check their arguments as they are made, keep what they were given, and can be read."""

import copy
import dataclasses
import math
import pickle
from typing import Any

import numpy as np
import pytest

from mistralrs_mlx import (
    AgentPermission,
    ChatCompletionRequest,
    CodeExecutionPermission,
    CompletionRequest,
    EmbeddingRequest,
    LoraAdapterGeneration,
    ResponseMessage,
    ToolChoice,
)
from mistralrs_mlx.api.checks import OutOfRange
from mistralrs_mlx.errors import RequestError


def chat(**arguments: Any) -> ChatCompletionRequest:
    return ChatCompletionRequest(**{"messages": "Hi", "model": "default", **arguments})


def test_a_request_can_be_read() -> None:
    request = chat(max_tokens=5, temperature=0, stop_seqs="END")
    assert (request.max_tokens, request.temperature, request.stop_seqs) == (5, 0.0, ["END"])
    assert repr(request) == (
        "ChatCompletionRequest(messages='Hi', model='default', max_tokens=5, "
        "stop_seqs=['END'], temperature=0.0)"
    )


def test_a_request_keeps_its_messages_when_the_list_changes() -> None:
    messages = [{"role": "user", "content": "Hi"}]
    request = chat(messages=messages)
    messages.append({"role": "user", "content": "Ho"})
    assert request.messages == [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize("messages", [None, ({"role": "user"},), {"role": "user"}, 3])
def test_messages_are_a_string_or_a_list_of_dicts(messages: Any) -> None:
    with pytest.raises(TypeError, match=r"^Expected a string or list of dicts\.$"):
        chat(messages=messages)


def test_a_message_of_another_kind_is_pointed_at() -> None:
    said = ResponseMessage(content="Hi", role="assistant", tool_calls=None, reasoning_content=None)
    with pytest.raises(TypeError, match=r"of dicts\. messages\[1\] is a ResponseMessage; give \{"):
        chat(messages=[{"role": "user", "content": "Ho"}, said])


def test_a_request_survives_copies_and_pickles() -> None:
    request = chat(tool_choice="auto", adapter=LoraAdapterGeneration("ab" * 32), seed=3)
    for other in (copy.deepcopy(request), pickle.loads(pickle.dumps(request))):
        assert (other.tool_choice, other.seed) == (ToolChoice.Auto, 3)
        assert other.adapter.generation == "ab" * 32


def test_a_request_is_equal_only_to_itself() -> None:
    assert len({chat(), chat()}) == 2


def test_a_request_cannot_be_changed() -> None:
    with pytest.raises(AttributeError, match="not writable"):
        chat().max_tokens = 3


def test_a_request_can_be_varied() -> None:
    request = dataclasses.replace(chat(seed=1, max_tokens=5), stream=True)
    assert (request.seed, request.max_tokens, request.stream) == (1, 5, True)


def test_unset_switches_are_off() -> None:
    request = chat(stream=None, truncate_sequence=None)
    assert (request.stream, request.truncate_sequence) == (False, False)


def test_numbers_may_come_from_numpy() -> None:
    request = chat(max_tokens=np.int64(3), temperature=np.float32(0.5), logit_bias={np.int32(1): 2})
    assert (request.max_tokens, request.temperature) == (3, 0.5)
    assert request.logit_bias == {1: 2.0}


@pytest.mark.parametrize(
    ("given", "kept"), [(np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]), (range(2), [0, 1])]
)
def test_arrays_and_ranges_serve_as_lists(given: Any, kept: Any) -> None:
    assert EmbeddingRequest(given).input == kept
    assert chat(stop_seqs=np.array(["a", "b"])).stop_seqs == ["a", "b"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"max_tokens": 0}, r"max_tokens must be at least 1\. Found 0\."),
        ({"max_tokens": -4}, r"max_tokens must be at least 1\. Found -4\."),
        ({"max_tokens": 2**64}, "max_tokens must be at most"),
        ({"n_choices": 0}, r"Number of choices must be greater than 0\."),
        ({"top_k": -1}, r"top_k must be at least 0\. Found -1\."),
        ({"logit_bias": {-1: 1.0}}, "logit_bias's key must be at least 0"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_a_number_out_of_range_is_both_errors(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(OutOfRange, match=words) as caught:
        chat(**arguments)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, OverflowError)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"temperature": math.nan}, r"temperature must be a finite number\. Found nan\."),
        ({"temperature": math.inf}, r"temperature must be a finite number\. Found inf\."),
        ({"top_p": math.nan}, "top_p must be a finite number"),
        ({"repetition_penalty": 0}, r"repetition_penalty must be greater than 0\. Found 0\."),
        ({"logit_bias": {1: math.nan}}, r"logit_bias\[1\] must be a finite number or -inf"),
        (
            {"reasoning_effort": "minimal"},
            "invalid reasoning effort `minimal`; "
            "expected one of: off, none, low, medium, high, xhigh, max",
        ),
        ({"tool_choice": "maybe"}, "tool_choice: found 'maybe'; expected 'auto', 'none'"),
        ({"agent_permission": "maybe"}, "'maybe' is no AgentPermission; expected one of: auto"),
    ],
)
def test_a_value_that_cannot_be_right_is_named(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        chat(**arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_tokens": "5"},
        {"max_tokens": 5.0},
        {"temperature": "hot"},
        {"logprobs": 1},
        {"stream": "yes"},
        {"stop_seqs": [1]},
        {"logit_bias": [(1, 2.0)]},
        {"tool_schemas": "{}"},
        {"tool_schemas": [3]},
        {"tool_choice": 1},
        {"agent_permission": 1},
        {"grammar": 3},
        {"adapter": 3},
        {"agent_approval_callback": "yes"},
        {"files": ["a.csv"]},
        {"model": None},
        {"maximum": 3},
    ],
)
def test_a_value_of_the_wrong_type_is_a_type_error(arguments: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=next(iter(arguments))):
        chat(**arguments)


def test_odd_values_that_mistral_rs_takes_are_taken() -> None:
    request = chat(temperature=-1, top_p=0, top_k=0, min_p=2, logit_bias={1: -math.inf})
    assert request.temperature == -1.0


@pytest.mark.parametrize(
    ("given", "kept"), [(" NONE ", "off"), ("max", "xhigh"), ("High", "high"), (None, None)]
)
def test_reasoning_effort_has_one_spelling(given: str | None, kept: str | None) -> None:
    assert chat(reasoning_effort=given).reasoning_effort == kept


def test_effort_and_thinking_must_agree() -> None:
    with pytest.raises(ValueError, match="`off` conflicts with enable_thinking=true"):
        chat(reasoning_effort="none", enable_thinking=True)
    with pytest.raises(ValueError, match="`high` conflicts with enable_thinking=false"):
        chat(reasoning_effort="high", enable_thinking=False)
    assert chat(reasoning_effort="low", enable_thinking=True).reasoning_effort == "low"


def test_permissions_of_either_kind_are_the_same() -> None:
    request = chat(agent_permission=CodeExecutionPermission.Ask, code_execution_permission="deny")
    assert request.agent_permission is AgentPermission.Ask
    assert request.code_execution_permission is CodeExecutionPermission.Deny


def test_adapters_of_early_examples_are_refused_by_name() -> None:
    with pytest.raises(NotImplementedError, match=r"adapters=\[\.\.\.\].*adapter='alias'"):
        chat(adapters=["a"])


def test_a_completion_may_rank_or_not() -> None:
    assert CompletionRequest("Hi", "default").best_of == 1
    assert CompletionRequest("Hi", "default", best_of=None).best_of is None
    with pytest.raises(ValueError, match="best_of must be at least 1"):
        CompletionRequest("Hi", "default", best_of=0)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ([], ValueError, "embedding input sequence must not be empty"),
        ([[]], ValueError, "token list must contain at least one element"),
        ([1, -1], ValueError, "token value -1 is outside the allowed unsigned 32-bit range"),
        ([[2**32]], ValueError, "token value 4294967296 is outside"),
        (["a", 1], TypeError, "embedding input must be a string, list"),
        ({"a"}, TypeError, "embedding input must be a string, list"),
        ([1.5], TypeError, "embedding input must be a string, list"),
    ],
)
def test_what_cannot_be_embedded_is_refused(given: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        EmbeddingRequest(given)
