"""From what a user names to a host that answers: files, texts, weights, engine."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mlx.core as mx

from mistralrs_mlx.api.which import Which, WhichEmbedding, WhichGGUF, WhichPlain
from mistralrs_mlx.cpu.policy import choose_policy, prepare
from mistralrs_mlx.engine.engine import Engine
from mistralrs_mlx.engine.worker import worker
from mistralrs_mlx.errors import RequestError
from mistralrs_mlx.layers.fusing import fuse
from mistralrs_mlx.loaders.assemble import Adapt
from mistralrs_mlx.loaders.borrowed import Borrowed
from mistralrs_mlx.loaders.checkpoint import Checkpoint
from mistralrs_mlx.loaders.embedders import LoadedEmbedder, load_embedder
from mistralrs_mlx.loaders.load import LoadedModel, LoadOptions, Policy, load
from mistralrs_mlx.loaders.sentence_transformers import SentenceCheckpoint
from mistralrs_mlx.loaders.sources import embedding_checkpoint, gguf_checkpoint, plain_checkpoint
from mistralrs_mlx.models.base import CausalLM
from mistralrs_mlx.text.assets import TextAssets
from mistralrs_mlx.text.template import ChatTemplate
from mistralrs_mlx.text.template_source import template_source
from mistralrs_mlx.text.tokenizer import Tokenizer
from mistralrs_mlx.unbuilt import fields_of, refuse_unbuilt

from .embedding import AnyHost, EmbeddingHost
from .host import Host
from .progress import Progress

__all__ = ["Opening"]

log = logging.getLogger(__name__)


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
    progress: Progress | None

    @property
    def model_id(self) -> str:
        """What the answers of this model are signed with."""
        which = _built(self.which)
        return which.quantized_model_id if isinstance(which, WhichGGUF) else which.model_id

    def __call__(self) -> AnyHost:
        """Read the files, build the texts and load the weights on the engine's thread."""
        which = _built(self.which)
        if self.max_seqs < 1:
            raise RequestError(f"max_seqs is {self.max_seqs}; at least one sequence has to run")
        return self._embedding(which) if isinstance(which, WhichEmbedding) else self._text(which)

    def _text(self, which: WhichPlain | WhichGGUF) -> Host:
        checkpoint = self._checkpoint(which)
        # Texts first: a missing tokenizer should show before gigabytes have been read.
        tokenizer = Tokenizer.from_assets(checkpoint.text)
        template = self._template(checkpoint.text, tokenizer)
        loaded, engine = worker().call(lambda: self._start(which, checkpoint))
        self._tell(loaded)
        generation_config = checkpoint.text.generation_config
        return Host(
            engine=engine,
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
            progress=self.progress,
        )

    def _embedding(self, which: WhichEmbedding) -> EmbeddingHost:
        if self.chat_template is not None or self.jinja_explicit is not None:
            log.warning("%s: a chat template has no effect on embedding", self.model_id)
        checkpoint = embedding_checkpoint(
            which, token_source=self.token_source, told=self._stage("download")
        )
        tokenizer = Tokenizer.from_assets(checkpoint.encoder.text)
        loaded = worker().call(lambda: self._start_embedder(which, checkpoint))
        self._tell(loaded.encoder)
        return EmbeddingHost(
            loaded.embedder,
            tokenizer,
            context_length=loaded.max_tokens,
            max_rows=self.max_seqs,
            lower_case=checkpoint.lower_case,
        )

    def _checkpoint(self, which: WhichPlain | WhichGGUF) -> Checkpoint:
        told = self._stage("download")
        if isinstance(which, WhichPlain):
            return plain_checkpoint(which, token_source=self.token_source, told=told)
        return gguf_checkpoint(which, token_source=self.token_source, told=told)

    def _template(self, text: TextAssets, tokenizer: Tokenizer) -> ChatTemplate | None:
        source = template_source(
            text, jinja_explicit=self.jinja_explicit, chat_template=self.chat_template
        )
        return None if source is None else ChatTemplate(source, tokenizer.special_tokens)

    def _start(
        self, which: WhichPlain | WhichGGUF, checkpoint: Checkpoint
    ) -> tuple[LoadedModel[CausalLM] | LoadedModel[Borrowed], Engine]:
        options = LoadOptions(
            arch=which.arch if isinstance(which, WhichPlain) else None,
            in_situ_quant=self.in_situ_quant,
            topology=which.topology,
            organization=which.organization,
            dtype=which.dtype,
        )
        loaded = load(checkpoint, options, policy=_policy(), progress=self._load_progress())
        if isinstance(loaded.model, CausalLM):
            fuse(loaded.model)
        engine = Engine(loaded.model, max_seqs=self.max_seqs, kv_cache=not self.no_kv_cache)
        worker().attach(engine)
        return loaded, engine

    def _start_embedder(
        self, which: WhichEmbedding, checkpoint: SentenceCheckpoint
    ) -> LoadedEmbedder:
        options = LoadOptions(
            arch=which.arch,
            in_situ_quant=self.in_situ_quant,
            topology=which.topology,
            dtype=which.dtype,
        )
        progress = self._load_progress()
        loaded = load_embedder(checkpoint, options, policy=_policy(), progress=progress)
        fuse(loaded.embedder.encoder)
        return loaded

    def _tell(self, loaded: LoadedModel[Any]) -> None:
        said = (self.model_id, loaded.architecture, loaded.source, loaded.dtype)
        log.info("%s: %s of %s in %s, quantized layers: %s", *said, loaded.quantization)

    def _stage(self, stage: str) -> Callable[[int, int | None], None]:
        """Where a loader reports how far it is, in bytes."""

        def told(done: int, total: int | None) -> None:
            if self.progress is not None:
                self.progress(stage, done, total)

        return told

    def _load_progress(self) -> Callable[[int, int, str], None]:
        told = self._stage("load")
        return lambda done, total, _: told(done, total)


def _policy() -> Policy | None:
    return None if mx.default_device().type == mx.gpu else _cpu_policy


def _cpu_policy(parameters: int) -> Adapt:
    prepare()
    return choose_policy(parameters).adapt


def _built(which: Which) -> WhichPlain | WhichGGUF | WhichEmbedding:
    """The selector, if models of its kind can be loaded with all that it asks for."""
    if not isinstance(which, Which):
        raise TypeError(f"which must be a Which, such as Which.Plain(...), not {which!r}")
    if not isinstance(which, WhichPlain | WhichGGUF | WhichEmbedding):
        raise NotImplementedError(f"{type(which).__name__}: this kind of model is not built yet")
    refuse_unbuilt("Which", fields_of(which))
    return which
