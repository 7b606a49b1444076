"""`Runner`: loads models and answers requests, as mistral.rs documents it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Self

from mistralrs_mlx.api.checks import TEXT, U32, rule, whole
from mistralrs_mlx.api.details import ModelDetails
from mistralrs_mlx.api.notebook import models_html, models_text
from mistralrs_mlx.api.requests import (
    ChatCompletionRequest,
    CompletionRequest,
    EmbeddingRequest,
)
from mistralrs_mlx.api.responses import CompletionResponse
from mistralrs_mlx.api.which import Which
from mistralrs_mlx.runtime.completions import (
    answer_completion,
    answer_completion_async,
    stream_completion,
)
from mistralrs_mlx.runtime.embedding import answer_embedding, text_host
from mistralrs_mlx.runtime.host import Host, UseText
from mistralrs_mlx.runtime.managing import ManagingMethods
from mistralrs_mlx.runtime.progress import Watcher
from mistralrs_mlx.runtime.requests import (
    answer_chat,
    answer_chat_async,
    count_prompt_tokens,
    prompt_logits,
    step_counts,
)
from mistralrs_mlx.runtime.roster import Roster
from mistralrs_mlx.runtime.settings import checked, opening_of, toolset_of
from mistralrs_mlx.runtime.streamer import CompletionStreamer
from mistralrs_mlx.unbuilt import UnbuiltMethods, refuse_unbuilt

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Runner"]

TOKENS = rule(list[Annotated[int, whole(0, U32)]])
Answered = Any
"""`ChatCompletionResponse`, or with `stream=True` a `ChatCompletionStreamer` of chunks.

Types cannot tell which, as it depends on the request's value; a union would make every script
that type-checks ask first.
"""


class Runner(ManagingMethods, UnbuiltMethods):
    """Holds a model and answers requests on it, from any number of threads at once.

    `with Runner(...) as runner:` frees the memory at the end of the block. Arguments are those
    of all eras of mistral.rs. Making one raises `ValueError` for whatever cannot be loaded, and
    `NotImplementedError` for an argument that is not built yet.

    Args:
        which: What to load: `Which.Plain(...)`, `Which.GGUF(...)`, `demo_model()`, ...
        max_seqs: How many answers run at once; others wait.
        no_kv_cache: Compute everything anew for each token: for tests of caches.
        prefix_cache_n: How many sequences are remembered, so that prompts which begin alike
            cost less; 0 or None remembers none.
        token_source: Where the hub's token is: `cache`, `none`, `literal:TOKEN`, `env:NAME`,
            `path:FILE`.
        mtp_model: A model that guesses several tokens. Not built yet: multi-token prediction.
        mtp_n_predict: How many tokens it guesses. Not built yet: multi-token prediction.
        chat_template: A Jinja template, a file with one (`.jinja` or `.json`), or the name of a
            bundled one.
        jinja_explicit: A `.jinja` file that goes before all others.
        num_device_layers: No effect but a warning: a Mac has one memory.
        in_situ_quant: Quantize while loading: `"4"`, `"Q4K"`, `"AFQ8"` and others.
        anymoe_config: Experts made of several models. Not built yet: AnyMoE.
        memory_goal: What models may take: a fraction, an amount or tokens, as `0.8`, `"12GiB"`,
            `"65536tokens"`.
        pa_blk_size: 8, 16 or 32; no effect, as there are no pages.
        pa_cache_type: `PagedCacheType.F8E4M3` holds keys and values in 8 bits.
        no_paged_attn: No effect: memory grows with sequences, without pages.
        paged_attn: The same.
        seed: Decides all draws of requests that have none of their own; 0 if not given.
        enable_search: Search the web for requests with `web_search_options`.
        search_embedding_model: `"embedding_gemma"`: what ranks the results.
        search_callback: A search of your own, from a query to a list of dicts with `title`,
            `description`, `url` and `content`.
        tool_callbacks: Functions by the name of their tool, which the `Runner` calls for the
            model as `function(name, arguments)`; each returns a string.
        mcp_client_config: MCP servers whose tools the model may call. Not built yet: MCP.
        code_execution_config: How code of the model is run. Not built yet: code execution.
        shell_config: How commands of the model are run. Not built yet: a shell.
        speculative_gamma: Early era: how many tokens the draft model guesses.
        which_draft: Early era: a smaller model that guesses.
        prompt_lookup: Extension: up to so many tokens are copied from the text where it repeats
            itself, and checked in one pass; 0 is off.
        pa_gpu_mem: Early era: MiB for the caches of this runner.
        pa_gpu_mem_usage: Early era: `memory_goal` as a fraction.
        pa_ctxt_len: Early era: `memory_goal` in tokens.
        progress: Extension: None shows a bar on a terminal or in a notebook if it takes longer
            than a second, False none. A function `progress(stage, done, total)` is told
            instead, of a `"download"` and a `"load"` in bytes and of a `"prefill"` in tokens;
            it may be called from another thread.
    """

    def __init__(  # noqa: PLR0913, PLR0917 (mistral.rs's signature)
        self,
        which: Which,
        max_seqs: int = 32,
        no_kv_cache: bool = False,
        prefix_cache_n: int | None = 16,
        token_source: str = "cache",
        mtp_model: str | None = None,
        mtp_n_predict: int | None = None,
        chat_template: str | None = None,
        jinja_explicit: str | None = None,
        num_device_layers: Sequence[str] | None = None,
        in_situ_quant: str | int | None = None,
        anymoe_config: Any = None,
        memory_goal: str | float | None = None,
        pa_blk_size: int | None = None,
        pa_cache_type: Any = None,
        no_paged_attn: bool = False,
        paged_attn: bool = False,
        seed: int | None = None,
        enable_search: bool = False,
        search_embedding_model: str | None = None,
        search_callback: Callable[[str], Any] | None = None,
        tool_callbacks: dict[str, Callable[[str, dict[str, Any]], str]] | None = None,
        mcp_client_config: Any = None,
        code_execution_config: Any = None,
        shell_config: Any = None,
        *,
        speculative_gamma: int | None = None,
        which_draft: Which | None = None,
        prompt_lookup: int = 0,
        pa_gpu_mem: int | None = None,
        pa_gpu_mem_usage: float | None = None,
        pa_ctxt_len: int | None = None,
        progress: Watcher = None,
    ) -> None:
        self._roster = Roster()
        given = checked({name: value for name, value in locals().items() if name != "self"})
        refuse_unbuilt("Runner", given)
        opening = opening_of(given)
        self._given, self._memory = given, opening.memory
        self._tools = toolset_of(given, opening, self._roster)
        self._roster.add(opening.model_id, opening)

    def send_chat_completion_request(
        self, request: ChatCompletionRequest, model_id: str | None = None
    ) -> Answered:
        """Answer a chat: whole, or with `stream=True` as an iterator of chunks.

        Errors of the arguments are raised here; those of a streamed answer that show only while
        it is generated, by the iterator. All are `ValueError`s.
        """
        return answer_chat(self._using(model_id), request, self._tools)

    async def chat(self, request: ChatCompletionRequest, model_id: str | None = None) -> Answered:
        """`send_chat_completion_request` for asyncio: the event loop goes on meanwhile.

        With `stream=True` it gives a stream for `async for`. Canceling the task cancels the answer.
        """
        return await answer_chat_async(self._using(model_id), request, self._tools)

    def send_completion_request(
        self, request: CompletionRequest, model_id: str | None = None
    ) -> CompletionResponse:
        """Continue a text, without a chat template."""
        return answer_completion(self._using(model_id), request)

    def stream_completion_request(
        self, request: CompletionRequest, model_id: str | None = None
    ) -> CompletionStreamer:
        """`send_completion_request` piece by piece, as an extension: an iterator of chunks.

        A request with `best_of` below `n_choices` is refused: the best are known only at the end.
        """
        return stream_completion(self._using(model_id), request)

    async def complete(
        self, request: CompletionRequest, model_id: str | None = None
    ) -> CompletionResponse:
        """`send_completion_request` for asyncio. Canceling the task cancels the answer."""
        return await answer_completion_async(self._using(model_id), request)

    def count_prompt_tokens(
        self, request: ChatCompletionRequest, model_id: str | None = None
    ) -> int:
        """How many tokens the prompt of a chat has, template, tools and media included.

        An extension; nothing is generated. It is what `usage.prompt_tokens` of the answer will say,
        unless tools that are run here make it ask again.
        """
        with self._using(model_id)() as (host, known_as):
            return count_prompt_tokens(host, known_as, request, self._tools)

    def send_embedding_request(
        self, request: EmbeddingRequest, model_id: str | None = None
    ) -> list[list[float]]:
        """A vector for each input, in order. Prefixes that a model wants are the caller's to add.

        With `truncate_sequence` an input that is too long loses its end. A text model embeds too,
        as an extension: the state of the last token, at length one.
        """
        with self._roster.use(model_id) as (host, _):
            return answer_embedding(host, request)

    def send_chat_completion_request_to_model(
        self, request: ChatCompletionRequest, model_id: str
    ) -> Answered:
        """As `send_chat_completion_request`, by the model of this id."""
        return self.send_chat_completion_request(request, model_id)

    def send_completion_request_to_model(
        self, request: CompletionRequest, model_id: str
    ) -> CompletionResponse:
        """As `send_completion_request`, by the model of this id."""
        return self.send_completion_request(request, model_id)

    def logits(
        self, prompt: str | Sequence[int], model_id: str | None = None
    ) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
        """The logits of a prompt, (tokens, vocabulary) in float32: for evaluation.

        Row i rates what may follow token i. A text is encoded with the model's special tokens.
        """
        with self._using(model_id)() as (host, _):
            given = prompt if isinstance(prompt, str) else TOKENS.accept("prompt", prompt)
            return prompt_logits(host, given)

    def step_counts(self, model_id: str | None = None) -> dict[str, int]:
        """What a decode step of one row costs on any machine: for evaluation.

        `dispatches`: kernels that run on the device; `primitives`: nodes that the host builds;
        `waits`: times that the host waits for the device.
        """
        with self._using(model_id)() as (host, _):
            return step_counts(host)

    def tokenize_text(
        self,
        text: str,
        add_special_tokens: bool = True,
        enable_thinking: bool | None = None,
        model_id: str | None = None,
    ) -> list[int]:
        """The token ids of a text. `enable_thinking` has no meaning for a plain text."""
        accepted = TEXT.accept("text", text)
        return self._roster.host(model_id).tokenizer.encode(accepted, add_special_tokens)

    def detokenize_text(
        self, tokens: Sequence[int], skip_special_tokens: bool = True, model_id: str | None = None
    ) -> str:
        """The text of token ids; ids outside the vocabulary have none."""
        accepted = TOKENS.accept("tokens", tokens)
        return self._roster.host(model_id).tokenizer.decode(accepted, skip_special_tokens)

    def max_sequence_length(self, model_id: str | None = None) -> int | None:
        """The most tokens, prompt and answer together, that the model was made for."""
        return self._roster.host(model_id).context_length

    def close(self) -> None:
        """Free all memory. What is being answered ends with an error.

        A later request loads its model again.
        """
        self._roster.close()

    def __repr__(self) -> str:
        return f"Runner({models_text(self._details())})"

    def _repr_html_(self) -> str:
        return models_html(self._details())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self._roster.release()  # may run on any thread, even the engine's: it must not wait

    def _details(self) -> list[ModelDetails]:
        return [self.model_details(each) for each in self.list_models()]

    def _using(self, model_id: str | None) -> UseText:
        """How to have a model that answers texts, loaded if need be, while a request begins."""
        return partial(self._texts, model_id)

    @contextmanager
    def _texts(self, model_id: str | None) -> Iterator[tuple[Host, str]]:
        with self._roster.use(model_id) as (host, known_as):
            yield text_host(host, known_as), known_as

    def _find(self, model_id: str | None) -> tuple[Host, str]:
        """The host of a model, which may be unloaded at any time, and the id of its answers."""
        with self._texts(model_id) as found:
            return found
