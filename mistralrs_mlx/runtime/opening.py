"""From what a user names to a host that answers: files, texts, weights, engine."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar
from weakref import ref

import mlx.core as mx

from mistralrs_mlx.api.which import (
    Which,
    WhichEmbedding,
    WhichGGUF,
    WhichMultimodalPlain,
    WhichPlain,
)
from mistralrs_mlx.cache.caches import Caches
from mistralrs_mlx.cpu.compiling import wished
from mistralrs_mlx.cpu.policy import choose_policy, prepare
from mistralrs_mlx.engine.drafts import Drafter
from mistralrs_mlx.engine.engine import Engine
from mistralrs_mlx.engine.goal import Goal
from mistralrs_mlx.engine.memory import Budget, ledger
from mistralrs_mlx.engine.reading import Reading
from mistralrs_mlx.engine.worker import worker
from mistralrs_mlx.errors import ModelUnloaded
from mistralrs_mlx.layers.fusing import fuse
from mistralrs_mlx.loaders.assemble import Adapt
from mistralrs_mlx.loaders.borrowed import Borrowed
from mistralrs_mlx.loaders.checkpoint import Checkpoint
from mistralrs_mlx.loaders.embedders import LoadedEmbedder, load_embedder
from mistralrs_mlx.loaders.load import LoadedModel, LoadOptions, Policy, forget, load
from mistralrs_mlx.loaders.sentence_transformers import SentenceCheckpoint
from mistralrs_mlx.loaders.sources import embedding_checkpoint, gguf_checkpoint, plain_checkpoint
from mistralrs_mlx.models.base import CausalLM
from mistralrs_mlx.models.multimodal import MultimodalLM
from mistralrs_mlx.text.assets import TextAssets
from mistralrs_mlx.text.template import ChatTemplate
from mistralrs_mlx.text.template_source import template_source
from mistralrs_mlx.text.tokenizer import Tokenizer
from mistralrs_mlx.unbuilt import fields_of, refuse_unbuilt

from .caching import Caching
from .drafting import Drafting, check_vocabulary, draft_model, prompt_lookup
from .embedding import AnyHost, EmbeddingHost
from .facts import facts_of
from .host import Host
from .progress import Telling, Watcher, function_of, telling
from .senses import Senses, processor_of, reading_of

__all__ = ["Opening", "Place"]

log = logging.getLogger(__name__)

LoadedText = LoadedModel[CausalLM] | LoadedModel[Borrowed]
WhichText = WhichPlain | WhichGGUF | WhichMultimodalPlain
Loaded = TypeVar("Loaded")


class Place(Protocol):
    """Starts what takes memory, when there is room for it. On the thread that asks."""

    def __call__(self, start: Callable[[], Loaded], /) -> Loaded: ...


def _at_once(start: Callable[[], Loaded]) -> Loaded:
    return start()


@dataclass(frozen=True, kw_only=True)
class Opening:
    """All that is needed to load one model, again and again. Calling it does so."""

    which: Which
    max_seqs: int
    no_kv_cache: bool
    token_source: str
    chat_template: str | None
    jinja_explicit: str | None
    in_situ_quant: str | int | None
    seed: int
    progress: Watcher
    memory: Goal
    caching: Caching = Caching()  # noqa: RUF009 (frozen)
    drafting: Drafting = Drafting()  # noqa: RUF009 (frozen)
    told: Telling = Telling(None)  # noqa: RUF009 (of no load yet)
    place: Place = _at_once
    row: int = 0  # bytes that caches take at least, known from the last load

    @property
    def model_id(self) -> str:
        """What the answers of this model are signed with."""
        return _name(_built(self.which))

    def __call__(self, place: Place = _at_once) -> AnyHost:
        """Read the files, build the texts and load the weights on the engine's thread.

        `place` may start to load weights again after it was refused: files are read once.
        """
        with telling(self.progress) as told:
            return replace(self, told=told, place=place)._opened(_built(self.which))

    def knowing(self, host: AnyHost) -> "Opening":
        """The same, with what has been learned by it."""
        return replace(self, row=host.memory.row)

    def _opened(self, which: WhichText | WhichEmbedding) -> AnyHost:
        return self._embedding(which) if isinstance(which, WhichEmbedding) else self._text(which)

    def _text(self, which: WhichText) -> Host:
        checkpoint = self._checkpoint(which)
        # Texts first: a missing tokenizer should show before gigabytes have been read.
        tokenizer = Tokenizer.from_assets(checkpoint.text)
        template = self._template(checkpoint.text, tokenizer)
        senses = _senses(which, checkpoint, tokenizer)
        draft = self._draft_checkpoint(tokenizer)
        (loaded, engine), memory = self._counted(
            lambda memory: self._start(which, checkpoint, draft, memory)
        )
        generation_config = checkpoint.text.generation_config
        return Host(
            engine=engine,
            memory=memory,
            facts=facts_of("multimodal" if senses else "text", loaded, loaded.context_length),
            tokenizer=tokenizer,
            template=template,
            eos=tokenizer.eos_ids(
                None if template is None else template.text,
                generation_config,
                config_eos=checkpoint.config.get("eos_token_id"),
                eos_token=None if template is None else template.special_tokens.get("eos_token"),
            ),
            generation_config=generation_config,
            context_length=loaded.context_length,
            vocab_size=loaded.model.vocab_size,
            seed=self.seed,
            progress=function_of(self.progress),
            senses=None if senses is None else senses(loaded.model),
        )

    def _embedding(self, which: WhichEmbedding) -> EmbeddingHost:
        if self.chat_template is not None or self.jinja_explicit is not None:
            log.warning("%s: a chat template has no effect on embedding", self.model_id)
        checkpoint = embedding_checkpoint(
            which, token_source=self.token_source, told=self._stage("download")
        )
        tokenizer = Tokenizer.from_assets(checkpoint.encoder.text)
        loaded, memory = self._counted(
            lambda memory: self._start_embedder(which, checkpoint, memory)
        )
        self._tell(self.model_id, loaded.encoder)
        return EmbeddingHost(
            lambda: loaded.embedder,
            tokenizer,
            vocab_size=loaded.embedder.encoder.vocab_size,
            facts=facts_of("embedding", loaded.encoder, loaded.max_tokens),
            max_rows=self.max_seqs,
            lower_case=checkpoint.lower_case,
            memory=memory,
        )

    def _checkpoint(self, which: WhichText) -> Checkpoint:
        told = self._stage("download")
        if not isinstance(which, WhichGGUF):
            return plain_checkpoint(which, token_source=self.token_source, told=told)
        return gguf_checkpoint(which, token_source=self.token_source, told=told)

    def _template(self, text: TextAssets, tokenizer: Tokenizer) -> ChatTemplate | None:
        source = template_source(
            text, jinja_explicit=self.jinja_explicit, chat_template=self.chat_template
        )
        return None if source is None else ChatTemplate(source, tokenizer.special_tokens)

    def _draft_checkpoint(self, tokenizer: Tokenizer) -> Checkpoint | None:
        """The draft model's files, once it is clear that both models have the same tokens."""
        if self.drafting.which is None:
            return None
        checkpoint = self._checkpoint(_text_only(self.drafting.which))
        check_vocabulary(tokenizer, Tokenizer.from_assets(checkpoint.text))
        return checkpoint

    def _counted(self, start: Callable[[Budget], Loaded]) -> tuple[Loaded, Budget]:
        """What is started, with the memory that it takes; none if it fails."""

        def counted() -> tuple[Loaded, Budget]:
            memory = Budget(self.memory, ledger(), self.row)
            try:
                return start(memory), memory
            except BaseException as error:
                memory.close()
                forget(error)  # of a draft's failure, whose target had been loaded
                raise

        return self.place(lambda: worker().call(counted))

    def _start(
        self,
        which: WhichText,
        checkpoint: Checkpoint,
        draft: Checkpoint | None,
        memory: Budget,
    ) -> tuple[LoadedText, Engine]:
        loaded = self._loaded(which, checkpoint, memory)
        engine = Engine(
            loaded.model,
            max_seqs=self.max_seqs,
            kv_cache=not self.no_kv_cache,
            drafter=self._drafter(loaded.model, draft, memory),
            memory=memory,
            prefix=self.caching.prefix(_steady(loaded.model)),
            packing=self.caching.packing(loaded.model),
            reading=_reading(which, loaded.model),
            compiled=_compiles(loaded.model),
        )
        memory.check_weights(0)  # now that it is known how much room an answer needs
        self.told.check()
        worker().attach(engine)
        return loaded, engine

    def _drafter(
        self, target: CausalLM | Borrowed, draft: Checkpoint | None, memory: Budget
    ) -> Drafter | None:
        if draft is None or self.drafting.which is None:
            return prompt_lookup(target, self.drafting)
        loaded = self._loaded(_text_only(self.drafting.which), draft, memory)
        memory.learn_aside(loaded.model, lambda: Caches(loaded.model.cache_layout()))
        return draft_model(target, loaded.model, self.drafting)

    def _loaded(self, which: WhichText, checkpoint: Checkpoint, memory: Budget) -> LoadedText:
        options = LoadOptions(
            arch=None if isinstance(which, WhichGGUF) else which.arch,
            in_situ_quant=self.in_situ_quant,
            topology=which.topology,
            organization=which.organization,
            dtype=which.dtype,
        )
        loaded = load(
            checkpoint,
            options,
            policy=_policy(memory),
            progress=self._load_progress(),
            room=memory.check_weights,
        )
        memory.weights += loaded.nbytes
        if isinstance(loaded.model, CausalLM):
            fuse(loaded.model)
        self._tell(_name(which), loaded)
        return loaded

    def _start_embedder(
        self, which: WhichEmbedding, checkpoint: SentenceCheckpoint, memory: Budget
    ) -> LoadedEmbedder:
        options = LoadOptions(
            arch=which.arch,
            in_situ_quant=self.in_situ_quant,
            topology=which.topology,
            dtype=which.dtype,
        )
        loaded = load_embedder(
            checkpoint,
            options,
            policy=_policy(memory),
            progress=self._load_progress(),
            room=memory.check_weights,
        )
        memory.weights += loaded.encoder.nbytes
        fuse(loaded.embedder.encoder)
        return loaded

    def _tell(self, model_id: str, loaded: LoadedModel[Any]) -> None:
        said = (model_id, loaded.architecture, loaded.source, loaded.dtype)
        log.info("%s: %s of %s in %s, quantized layers: %s", *said, loaded.quantization)

    def _stage(self, stage: str) -> Callable[[int, int | None], None]:
        """Where a loader reports how far it is, in bytes."""
        return lambda done, total: self.told(stage, done, total)

    def _load_progress(self) -> Callable[[int, int, str], None]:
        told = self._stage("load")
        return lambda done, total, _: told(done, total)


def _policy(memory: Budget) -> Policy | None:
    if mx.default_device().type == mx.gpu:
        return None

    def cpu_policy(parameters: int) -> Adapt:
        prepare()
        chosen = choose_policy(parameters, memory.room())
        if chosen.form == "dense":
            memory.check_weights(4 * parameters)
        return chosen.adapt

    return cpu_policy


def _name(which: WhichText | WhichEmbedding) -> str:
    return which.quantized_model_id if isinstance(which, WhichGGUF) else which.model_id


def _compiles(model: CausalLM | Borrowed) -> bool:
    """Whether decode steps are compiled: where that is fast, and keys do not turn by lengths."""
    if not isinstance(model, CausalLM) or model.config.rope_spec.kind == "dynamic":
        return False
    return wished(default=mx.default_device().type == mx.gpu)


def _senses(
    which: WhichText, checkpoint: Checkpoint, tokenizer: Tokenizer
) -> Callable[[Any], Senses] | None:
    """What makes a host see and hear, once there is a model; None for those that read only text."""
    if not isinstance(which, WhichMultimodalPlain):
        return None
    processor = processor_of(which, checkpoint, tokenizer)

    def senses(model: MultimodalLM) -> Senses:
        known = ref(model)  # an old traceback may keep the senses, but not the weights with them
        return Senses(
            processor=processor,
            mode_for=lambda kinds: _there(known).adapter_for(kinds),
            slot_for=lambda kinds: _there(known).slot_for(kinds),
            max_edge=which.max_edge,
        )

    return senses


def _there(known: "ref[MultimodalLM]") -> MultimodalLM:
    model = known()
    if model is None:
        raise ModelUnloaded("the model was unloaded meanwhile: ask again")
    return model


def _reading(which: WhichText, model: CausalLM | Borrowed) -> Reading | None:
    if isinstance(which, WhichMultimodalPlain) and isinstance(model, MultimodalLM):
        return reading_of(which, model)
    return None


def _steady(model: CausalLM | Borrowed) -> int | None:
    return model.config.rope_spec.steady if isinstance(model, CausalLM) else None


def _text_only(which: Which) -> WhichText:
    built = _built(which)
    assert not isinstance(built, WhichEmbedding)
    return built


def _built(which: Which) -> WhichText | WhichEmbedding:
    """The selector, if models of its kind can be loaded with all that it asks for."""
    if not isinstance(which, Which):
        raise TypeError(f"which must be a Which, such as Which.Plain(...), not {which!r}")
    if not isinstance(which, WhichText | WhichEmbedding):
        raise NotImplementedError(
            f"{type(which).__qualname__}: this kind of model is not built yet"
        )
    refuse_unbuilt("Which", fields_of(which))
    return which
