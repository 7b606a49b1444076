"""What can be asked of a model. Requests are immutable, and checked as they are made.

What depends on the model, and what mistral.rs refuses only when a request is sent (grammars and
tool schemas), is checked by `validation` and by the `Runner`.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY
from typing import Annotated, Any

from mistralrs_mlx.errors import RequestError

from .adapters import LoraAdapterGeneration
from .agents import AgentToolApproval, AgentToolApprovalDecision, ShellSkillMount
from .checks import TEXT, U32, Rule, bias, items, mistyped, number, unbuilt, whole
from .enums import AgentPermission, CodeExecutionPermission, ToolChoice
from .files import InputFile, RequestedFile
from .search import WebSearchOptions
from .tools import CHOICE, SOURCE, ToolSource
from .values import Accepts, Value, default

__all__ = ["ChatCompletionRequest", "CompletionRequest", "EmbeddingRequest"]

EFFORTS = {
    "off": "off",
    "none": "off",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "xhigh",
}


def _messages(name: str, value: Any) -> str | list[dict[str, Any]]:
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise TypeError("Expected a string or list of dicts.")
    for index, one in enumerate(value):
        if not isinstance(one, Mapping):
            raise TypeError(
                f"Expected a string or list of dicts. messages[{index}] is a {type(one).__name__}; "
                "give {'role': ..., 'content': ...}"
            )
    return [dict(one) for one in value]


def _strings(name: str, value: Any) -> list[str]:
    given = [value] if isinstance(value, str) else items(value)
    if given is None:
        raise mistyped(name, "a string or a list of strings", value)
    return [TEXT.accept(f"{name}[{index}]", one) for index, one in enumerate(given)]


def _effort(name: str, value: Any) -> str:
    effort = EFFORTS.get(TEXT.accept(name, value).strip().lower())
    if effort is None:
        raise RequestError(
            f"invalid reasoning effort `{value}`; expected one of: {', '.join(EFFORTS)}"
        )
    return effort


def _grammar(name: str, value: Any) -> Any:
    if not isinstance(value, str | dict | type):
        raise mistyped(name, "a string, a dict or a pydantic model", value)
    return value


def _false_unless_given(name: str, value: Any) -> bool:
    if not isinstance(value, bool | None):
        raise mistyped(name, "True or False", value)
    return bool(value)


def _embedding_input(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return value
    given = items(value)
    if given is None:
        raise TypeError(EMBEDDABLE)
    if not given:
        raise RequestError("embedding input sequence must not be empty")
    if all(isinstance(one, str) for one in given):
        return given
    rows = [row for row in map(items, given) if row is not None]
    return [_tokens(row) for row in rows] if len(rows) == len(given) else _tokens(given)


def _tokens(given: Sequence[Any]) -> list[int]:
    if not given:
        raise RequestError("token list must contain at least one element")
    try:
        tokens = [operator.index(one) for one in given]
    except TypeError:
        raise TypeError(EMBEDDABLE) from None
    outside = next((token for token in tokens if not 0 <= token <= U32), None)
    if outside is not None:
        raise RequestError(f"token value {outside} is outside the allowed unsigned 32-bit range")
    return tokens


EMBEDDABLE = "embedding input must be a string, list[str], list[int], or list[list[int]]"
ADAPTERS = (
    "adapters=[...]: switching static adapters per request is not built; load them with "
    "Which.Lora(adapters=[...]) and choose one with adapter='alias'"
)

# What each kind of field takes, and what it then holds.
Choices = Annotated[int, whole(1, message="Number of choices must be greater than 0.")]
MaxTokens = Annotated[int, whole(1, message="max_tokens must be at least 1.")]
BestOf = Annotated[int, whole(1)]
Repetition = Annotated[float, number(above=0)]
LogitBias = dict[Annotated[int, whole(0, U32)], Annotated[float, bias()]]
Flag = Accepts[
    bool | None, Annotated[bool, Rule(expected="True or False", accept=_false_unless_given)]
]
Strings = Accepts[
    Sequence[str] | str | None,
    Annotated[list[str], Rule(expected="strings", accept=_strings)] | None,
]
Messages = Accepts[
    str | Sequence[Mapping[str, Any]],
    Annotated[str | list[dict[str, Any]], Rule(expected="messages", accept=_messages)],
]
Grammar = Annotated[
    str | dict[str, Any] | type,
    Rule(expected="a grammar", accept=_grammar),
]
Tools = Accepts[Sequence[ToolSource] | None, list[Annotated[ToolSource, SOURCE]] | None]
Choice = Accepts[
    ToolChoice | str | Mapping[str, Any] | None,
    Annotated[ToolChoice | str | dict[str, Any], CHOICE] | None,
]
Approval = Callable[[AgentToolApproval], bool | AgentToolApprovalDecision]
Effort = Annotated[str, Rule(expected="a reasoning effort", accept=_effort)]
Embeddable = Annotated[
    str | list[str] | list[int] | list[list[int]],
    Rule(expected="texts or tokens", accept=_embedding_input),
]


class ChatCompletionRequest(Value):
    """A conversation to continue. Unset sampling settings are the model's own, or mistral.rs's.

    What is wrong raises `ValueError` or `TypeError` here, before anything is asked.

    Args:
        messages: A list of messages in OpenAI's form, or a text, which is one message of the user.
        model: Free text that nothing reads, as in mistral.rs; the `model_id` of `Runner`'s methods
            chooses among models.
        logprobs: Return how likely each token was, in natural logarithms.
        n_choices: How many answers to the one prompt.
        logit_bias: Added to the logits of token ids; minus infinity forbids one.
        top_logprobs: How many likely tokens to tell beside each, with `logprobs`; 1 unless given.
        max_tokens: The most tokens of an answer. Unset: until its end, or that of the context.
        presence_penalty: Taken off the logit of every token that the answer has already; 0 unless
            given.
        frequency_penalty: The same, times how often; 0 unless given.
        repetition_penalty: Above 1, tokens of prompt and answer become less likely by this factor.
            Unset: the model's own, or 1.
        stop_seqs: A text, or several, that ends the answer and is not part of it.
        temperature: 0 takes the likeliest token. Unset: what the model's `generation_config.json`
            says, or 1.
        top_p: Draw from the likeliest tokens that have so much probability together. Unset: the
            model's own, or 1, which is all.
        top_k: Draw from so many tokens; 0 is no limit. Unset: the model's own, or 0.
        stream: Return an iterator of chunks instead of the whole answer.
        grammar: Holds the answer to a form: a text, a dict or a pydantic class, of the kind that
            `grammar_type` says.
        grammar_type: `regex`, `lark`, `json_schema` or `llguidance`; goes with `grammar`.
        min_p: Drop tokens less likely than this share of the likeliest. Unset: the model's own, or
            0, which drops none.
        tool_schemas: Tools as JSON text, dicts or Python functions.
        tool_choice: `ToolChoice.Auto`, `ToolChoice.NoTools`, `"required"`, or one tool as `{"type":
            "function", "function": {"name": ...}}`.
        dry_multiplier: Strength of DRY, which makes repeating a passage unlikely; off unless given.
        dry_base: How fast DRY grows with the length of the passage; 1.75 unless given.
        dry_allowed_length: Shorter repetitions, in tokens, cost nothing; 2 unless given.
        dry_sequence_breakers: Texts at which a passage ends; line end, `:`, `"` and `*` unless
            given.
        web_search_options: Let the model search the web.
        enable_thinking: Whether a model that can think does; unset lets it.
        truncate_sequence: Drop the beginning of a prompt that is too long, instead of refusing it.
        reasoning_effort: `off`, `low`, `medium`, `high` or `xhigh`, for templates that know it.
        max_tool_rounds: How often tools are run before the answer; 256 unless given, 0 returns the
            calls.
        tool_dispatch_url: Where calls of tools without a callback are sent.
        enable_code_execution: Let the model run code. Not built yet: code execution.
        enable_shell: Let the model run commands. Not built yet: a shell.
        shell_skills: Folders that its shell sees. Not built yet: a shell.
        agent_permission: Whether acts of the model are asked about first. Not built yet: agents.
        agent_approval_callback: Whom to ask. Not built yet: agents.
        code_execution_permission: The same for code alone. Not built yet: code execution.
        session_id: A session to continue. Not built yet: sessions.
        files: Files that the model is to make. Not built yet: files.
        input_files: Files that the model may read. Not built yet: files.
        ignore_eos: Go on after the model's end token.
        adapter: The adapter that answers. Not built yet: LoRA adapters.
        seed: Extension: decides this request's draws, alone or in any batch, whatever else the
            `Runner` is doing.
        adapters: Early era: adapters by request. Refused; see `adapter`.
    """

    messages: Messages
    model: str
    logprobs: bool = False
    n_choices: Choices = 1
    logit_bias: LogitBias | None = None
    top_logprobs: int | None = None
    max_tokens: MaxTokens | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: Repetition | None = None
    stop_seqs: Strings = default(None)
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stream: Flag = default(False)
    grammar: Grammar | None = None
    grammar_type: str | None = None
    min_p: float | None = None
    tool_schemas: Tools = default(None)
    tool_choice: Choice = default(None)
    dry_multiplier: float | None = None
    dry_base: float | None = None
    dry_allowed_length: int | None = None
    dry_sequence_breakers: Strings = default(None)
    web_search_options: WebSearchOptions | None = None
    enable_thinking: bool | None = None
    truncate_sequence: Flag = default(False)
    reasoning_effort: Effort | None = None
    max_tool_rounds: int | None = None
    tool_dispatch_url: str | None = None
    enable_code_execution: bool = False
    enable_shell: bool = False
    shell_skills: list[ShellSkillMount] | None = None
    agent_permission: Accepts[
        AgentPermission | CodeExecutionPermission | str | None, AgentPermission | None
    ] = default(None)
    agent_approval_callback: Approval | None = None
    code_execution_permission: Accepts[
        CodeExecutionPermission | AgentPermission | str | None, CodeExecutionPermission | None
    ] = default(None)
    session_id: str | None = None
    files: list[RequestedFile] | None = None
    input_files: list[InputFile] | None = None
    ignore_eos: bool = False
    _: KW_ONLY
    adapter: str | LoraAdapterGeneration | None = None
    seed: int | None = None
    adapters: Annotated[None, unbuilt(ADAPTERS)] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        thinks = self.reasoning_effort != "off"
        if self.reasoning_effort and self.enable_thinking not in (None, thinks):
            raise RequestError(
                f"reasoning effort `{self.reasoning_effort}` conflicts with "
                f"enable_thinking={'false' if thinks else 'true'}"
            )


class CompletionRequest(Value):
    """A text to continue as it stands, without a chat template.

    Arguments that are not listed here are those of `ChatCompletionRequest`.

    Args:
        prompt: The text to continue.
        best_of: Return the best of `n_choices`: so many by probability, or all with None.
        echo_prompt: Put the prompt before the answer.
        tool_schemas: Refused: no template would show them to the model.
        tool_choice: Refused, like `tool_schemas`.
        suffix: A text to put behind the answer.
    """

    prompt: str
    model: str
    best_of: BestOf | None = 1
    echo_prompt: bool = False
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: Repetition | None = None
    logit_bias: LogitBias | None = None
    max_tokens: MaxTokens | None = None
    n_choices: Choices = 1
    stop_seqs: Strings = default(None)
    temperature: float | None = None
    top_p: float | None = None
    suffix: str | None = None
    top_k: int | None = None
    grammar: Grammar | None = None
    grammar_type: str | None = None
    min_p: float | None = None
    tool_schemas: Tools = default(None)
    tool_choice: Choice = default(None)
    dry_multiplier: float | None = None
    dry_base: float | None = None
    dry_allowed_length: int | None = None
    dry_sequence_breakers: Strings = default(None)
    truncate_sequence: Flag = default(False)
    ignore_eos: bool = False
    _: KW_ONLY
    adapter: str | LoraAdapterGeneration | None = None
    seed: int | None = None
    adapters: Annotated[None, unbuilt(ADAPTERS)] = None


class EmbeddingRequest(Value):
    """Texts, or the tokens of texts, to turn into vectors: one or many.

    Args:
        input: A text, a list of texts, the tokens of a text, or a list of such.
        truncate_sequence: Drop the end of a text that is too long, instead of refusing it.
    """

    input: Embeddable
    truncate_sequence: bool = False
