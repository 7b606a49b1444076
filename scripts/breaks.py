"""The places at which `scripts.sabotage` breaks the code, and the tests that should notice."""

import shutil
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BREAKS", "ROOT", "Break"]

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Break:
    """One place to break, by text that stands there once, and the tests that should notice."""

    name: str
    path: str
    right: str
    wrong: str
    tests: str  # arguments of pytest

    def make(self, tree: Path) -> None:
        """Write the broken file into a tree."""
        file = tree / "mistralrs_mlx" / self.path
        text = file.read_text()
        if text.count(self.right) != 1:
            raise LookupError(f"{self.name}: {self.path} has no or several {self.right!r}")
        file.write_text(text.replace(self.right, self.wrong))

    def mend(self, tree: Path) -> None:
        """Take it back."""
        whole = ROOT / "mistralrs_mlx" / self.path
        shutil.copyfile(whole, tree / "mistralrs_mlx" / self.path)


GOLDEN, ROWS = "tests/models/test_golden.py", "tests/engine"
LEAVING = "tests/runtime/test_roster.py tests/runtime/test_least_used.py"
BREAKS = [
    Break(
        "a rope that forgets the offset",
        "layers/rope.py",
        "return self.turn(x, step.offset)",
        "return self.turn(x, 0)",
        "tests/layers/test_rope.py",
    ),
    Break(
        "LongRoPE's border is off by one",
        "layers/rope.py",
        "[end > self.trained for end in step.ends]",
        "[end >= self.trained for end in step.ends]",
        "tests/layers/test_rope.py tests/models/test_phi3.py",
    ),
    Break(
        "keys and values swap places",
        "layers/attention.py",
        "(self.q_proj(x), self.k_proj(x), self.v_proj(x))",
        "(self.q_proj(x), self.v_proj(x), self.k_proj(x))",
        GOLDEN,
    ),
    Break(
        "a softcap is dropped",
        "layers/attention.py",
        "scale=self.scale, softcap=self.softcap)",
        "scale=self.scale, softcap=None)",
        f"{GOLDEN} -k gemma2",
    ),
    Break(
        "norms of queries and keys are dropped",
        "layers/attention.py",
        "if self.normed:\n            q, k = self",
        "if not self.normed:\n            q, k = self",
        f"{GOLDEN} -k qwen3",
    ),
    Break(
        "experts' gate and up swap places",
        "layers/moe.py",
        "gate, up = mx.split(self",
        "up, gate = mx.split(self",
        "tests/layers/test_moe.py",
    ),
    Break(
        "experts are weighted alike",
        "layers/moe.py",
        "return y.astype(mx.float32) * weights",
        "return y.astype(mx.float32) * weights.mean()",
        "tests/layers/test_moe.py",
    ),
    Break(
        "a window is one token too wide",
        "cache/span.py",
        "(key > query - window)",
        "(key >= query - window)",
        "tests/cache",
    ),
    Break(
        "a chunk sees its own future through a window",
        "cache/span.py",
        "(key <= query)",
        "(key <= last)",
        "tests/cache",
    ),
    Break(
        "unequal rows stand where the first one does",
        "cache/step.py",
        "offsets[0] if same else mx.array(offsets, mx.int32)",
        "offsets[0]",
        f"{GOLDEN} -k 'llama and unequal'",
    ),
    Break(
        "all rows write where the first one does",
        "cache/span.py",
        "(mx.broadcast_to(columns[:, None, :, None], shape),)",
        "(mx.broadcast_to(columns[:1, None, :, None], shape),)",
        "tests/cache tests/engine/test_compiled.py",
    ),
    Break(
        "a copied row is another one",
        "cache/columns.py",
        "mx.take(self.buffer, mx.array([source]), axis=0)",
        "mx.take(self.buffer, mx.array([0]), axis=0)",
        f"tests/cache {ROWS}",
    ),
    Break(
        "prompts share what another adapter computed",
        "engine/sharing.py",
        "return sequence.salt, self._border",
        "return (), self._border",
        f"{ROWS}/test_prefix.py tests/runtime/test_prefix.py tests/runtime/test_media.py",
    ),
    Break(
        "a freed slot's state reaches the next row",
        "cache/caches.py",
        "layer.clear(row)",
        "pass",
        "tests/cache/test_caches.py",
    ),
    Break(
        "the host tells prompts of different adapters not apart",
        "runtime/host.py",
        "salt=(generation.slot,)",
        "salt=()",
        "tests/runtime/test_host.py",
    ),
    Break(
        "drafts need no room",
        "engine/engine.py",
        "stride=WIDEST if drafter else 1",
        "stride=1",
        f"{ROWS}/test_draft_memory.py",
    ),
    Break(
        "min_p is lost on the way to the sampler",
        "runtime/choosing.py",
        'min_p=_first(request.min_p, _number(defaults, "min_p"), 0.0),',
        "",
        "tests/runtime/test_choosing.py",
    ),
    Break(
        "the presence penalty is dropped",
        "engine/penalties.py",
        " - (counts > 0) * presence",
        "",
        "tests/engine/test_penalties.py",
    ),
    Break(
        "the repetition penalty forgets the prompt",
        "engine/penalties.py",
        "mx.where(tallies > 0, weakened, logits)",
        "mx.where(counts > 0, weakened, logits)",
        "tests/engine/test_penalties.py",
    ),
    Break(
        "DRY counts from one token later",
        "engine/penalties.py",
        "if length >= allowed and",
        "if length > allowed and",
        "tests/engine/test_penalties.py",
    ),
    Break(
        "every token is drawn with the same noise",
        "engine/sampling.py",
        "divmod(derived_seed(self._stream, self.position), 1 << 32)",
        "divmod(derived_seed(self._stream, 0), 1 << 32)",
        "tests/engine/test_sampling.py",
    ),
    Break(
        "all choices of a request say the same",
        "engine/sampling.py",
        "self._stream = derived_seed(params.seed, choice)",
        "self._stream = derived_seed(params.seed, 0)",
        "tests/engine/test_sampling.py tests/runtime/test_runner.py",
    ),
    Break(
        "grammars bind nobody",
        "engine/choice.py",
        "if any(each.row.constrained for each in sequences):",
        "if False:",
        "tests/engine/test_constraints.py",
    ),
    Break(
        "logprobs lose their total",
        "engine/logprobs.py",
        "mx.take_along_axis(scores, tokens[:, None], axis=-1) - total",
        "mx.take_along_axis(scores, tokens[:, None], axis=-1)",
        "tests/engine/test_logprobs.py",
    ),
    Break(
        "the wrong row moves into a freed slot",
        "engine/rows.py",
        "self.running[row] = self.running[last]",
        "self.running[row] = self.running[0]",
        f"{ROWS}/test_engine.py",
    ),
    Break(
        "a stop string is found only within one piece",
        "text/stops.py",
        "cut = len(text) - max((stop.matched for stop in self._stops), default=0)",
        "cut = len(text)",
        "tests/text/test_stops.py",
    ),
    Break(
        "special tokens show",
        "text/detokenizer.py",
        'return "" if token in self._hidden else',
        "return",
        "tests/text/test_detokenizer.py",
    ),
    Break(
        "an adapter's factor is dropped",
        "layers/lora.py",
        "self._scales[name] = update.scale",
        "self._scales[name] = 1.0",
        "tests/layers/test_lora.py",
    ),
    Break(
        "packed weights lose their biases",
        "quant/packed.py",
        "biases=biases[0] if biases else None",
        "biases=mx.zeros_like(biases[0]) if biases else None",
        "tests/quant",
    ),
    Break(
        "an image is too dark",
        "models/phi4mm/processor.py",
        "/ 255 - np.float32(0.5)",
        "/ 255 - np.float32(0.6)",
        "tests/models/test_phi4mm_processor.py",
    ),
    Break(
        "a prompt counts once for every choice",
        "runtime/usage.py",
        "prompt = sum(timings[0].prompt_tokens for timings in rounds)",
        "prompt = sum(each.prompt_tokens for timings in rounds for each in timings)",
        "tests/runtime/test_usage.py tests/runtime/test_runner.py",
    ),
    Break(
        "GGUF's rows of queries keep llama.cpp's order",
        "loaders/gguf/checkpoint.py",
        "if family.permuted:",
        "if False:",
        "tests/loaders/test_gguf_checkpoint.py tests/loaders/test_gguf_families.py",
    ),
    Break(
        "a drafted token is kept unchecked",
        "engine/verify.py",
        "self._forget(row, lengths[row] + max(kept, 1))",
        "self._forget(row, lengths[row] + max(kept, 2))",
        f"{ROWS}/test_speculation.py",
    ),
    Break(
        "a refused request keeps its place in the gate",
        "server/gate.py",
        "self.inside -= count",
        "self.inside -= count - 1",
        "tests/server/test_limits.py",
    ),
    Break(
        "the server asks nobody for a key",
        "server/guard.py",
        "if refusal is None:",
        "if True:",
        "tests/server/test_limits.py tests/server/test_routes.py",
    ),
    Break(
        "a sound in a request may name a file",
        "text/messages.py",
        'case _ if name == "input_audio":',
        'case None if name == "input_audio":',
        "tests/server/test_hostile.py",
    ),
    Break(
        "the steps of a template are not counted",
        "text/spending.py",
        "self._steps += 1",
        "self._steps += 0",
        "tests/text/test_hostile_templates.py -k renames",
    ),
    Break(
        "tokens beyond the vocabulary reach the model",
        "runtime/fitting.py",
        "if (worst := max(tokens)) >= vocab_size:",
        "if (worst := max(tokens)) >= 1 << 40:",
        "tests/runtime/test_hostile_models.py",
    ),
    Break(
        "eviction takes the model that was used last",
        "runtime/vacating.py",
        "sorted(others, key=Entry.in_use)",
        "sorted(others, key=Entry.in_use, reverse=True)",
        LEAVING,
    ),
    Break(
        "eviction unloads a model whose answers run",
        "runtime/entry.py",
        "host.await_rest()",
        "pass",
        LEAVING,
    ),
    Break(
        "eviction unloads a model that a request has just found",
        "runtime/entry.py",
        "self._changed.wait_for(lambda: not self._users)",
        "pass",
        LEAVING,
    ),
    Break(
        "eviction waits behind all who come later",
        "runtime/entry.py",
        "not self.loading and not self._pauses",
        "not self.loading",
        LEAVING,
    ),
    Break(
        "eviction unloads models though that is not enough",
        "runtime/vacating.py",
        "return [] if missing > 0 else chosen",
        "return chosen",
        LEAVING,
    ),
    Break(
        "eviction leaves no room to answer",
        "engine/memory.py",
        "if (missing := want + row - room) > 0:",
        "if (missing := want - room) > 0:",
        LEAVING,
    ),
    Break(
        "a load lets go of its turn before its model is there",
        "runtime/roster.py",
        "until.enter_context(self._turns)",
        "pass",
        LEAVING,
    ),
    Break(
        "weights are put where running answers still have caches",
        "engine/memory.py",
        "if want > self._hard():",
        "if False:",
        LEAVING,
    ),
    Break(
        "quantizing anew cuts running answers off",
        "runtime/roster.py",
        "(entry), self._turns, entry.paused():",
        "(entry), self._turns:",
        "tests/runtime/test_re_isq.py",
    ),
    Break(
        "a type that could not be loaded stays",
        "runtime/roster.py",
        "with self._unloaded_if_it_fails(entry), self._turns, ",
        "entry.opening = opening\n        with self._unloaded_if_it_fails(entry), self._turns, ",
        "tests/runtime/test_re_isq.py",
    ),
    Break(
        "packed heads hand on the type of their scales",
        "layers/latent.py",
        ").astype(x.dtype)  # scales may be finer than the input",
        ")",
        "tests/bench/test_metal_limits.py",
    ),
    Break(
        "tokens are counted in a type that Metal does not scatter",
        "engine/penalties.py",
        "empty = mx.zeros(vocab, mx.int32)",
        "empty = mx.zeros(vocab, mx.int64)",
        "tests/bench/test_metal_limits.py",
    ),
    Break(
        "a GPU's late error stays for the next request",
        "engine/engine.py",
        "abandon()  # the step after the one that failed",
        "",
        "tests/engine/test_engine.py",
    ),
]
