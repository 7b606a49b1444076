"""What every decoder-only model shares: configuration, the stack of layers, the head."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, ClassVar, Protocol, Self, Union, cast, get_args, get_origin, get_type_hints

import mlx.core as mx
import mlx.nn as nn

from mistralrs_mlx.cache.layout import Attends, Memory
from mistralrs_mlx.cache.step import Step
from mistralrs_mlx.errors import ConfigError
from mistralrs_mlx.layers.activations import Activation, activation
from mistralrs_mlx.layers.attention import Norm
from mistralrs_mlx.layers.block import Layer
from mistralrs_mlx.layers.rope import Rope, make_rope
from mistralrs_mlx.layers.scaling import RopeSpec

from .weights import LEFTOVERS, Rule, Tie

__all__ = [
    "FULL",
    "LINEAR",
    "SLIDING",
    "CausalLM",
    "Config",
    "Decoder",
    "DecoderConfig",
    "TokenEmbedding",
]

FULL, SLIDING, LINEAR = "full_attention", "sliding_attention", "linear_attention"


@dataclass(frozen=True, kw_only=True)
class Config:
    """A typed view of a config.json, under its own names. Unknown keys are ignored."""

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Read the fields. A null counts as absent where the field cannot be None."""
        hints = get_type_hints(cls)
        given = {
            f.name: raw[f.name]
            for f in fields(cls)
            if f.name in raw and (raw[f.name] is not None or _admits(hints[f.name], None))
        }
        needed = [f.name for f in fields(cls) if f.default is f.default_factory is MISSING]
        if missing := [name for name in needed if name not in given]:
            raise ConfigError(f"{cls.__name__}: config.json lacks {', '.join(missing)}")
        return cls(**{name: cls._value(name, hints[name], v) for name, v in given.items()})

    @classmethod
    def _value(cls, name: str, hint: Any, value: Any) -> Any:
        if is_dataclass(hint) and isinstance(value, Mapping):
            return cast(type[Config], hint).from_dict(value)
        if not _admits(hint, value):
            raise ConfigError(f"{cls.__name__}: {name} must be {_spoken(hint)}, not {value!r}")
        if isinstance(value, int) and name in _MOST and value > _MOST[name]:
            raise ConfigError(f"{cls.__name__}: {name} is {value}; at most {_MOST[name]} is read")
        if name.endswith(_SMALL) and isinstance(value, int | float) and not 0 < value < 1:
            raise ConfigError(f"{cls.__name__}: {name} is {value}; it must lie between 0 and 1")
        return value


@dataclass(frozen=True, kw_only=True)
class DecoderConfig(Config):
    """The fields that nearly every decoder has."""

    known_kinds: ClassVar[tuple[str, ...]] = (FULL, SLIDING)  # that `layer_types` may name

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    max_position_embeddings: int
    num_key_value_heads: int | None = None  # None: as many as there are attention heads
    head_dim: int | None = None  # None: hidden_size / num_attention_heads
    hidden_act: str = "silu"
    rms_norm_eps: float = 1e-6
    tie_word_embeddings: bool = False
    rope_theta: float = 10_000.0
    rope_scaling: dict[str, Any] | None = None
    rope_parameters: dict[str, Any] | None = None  # what newer files call rope_scaling
    original_max_position_embeddings: int | None = None
    partial_rotary_factor: float = 1.0
    layer_types: list[str] | None = None  # newer files name each layer's kind

    def __post_init__(self) -> None:
        self._check_sizes()

    @property
    def kv_heads(self) -> int:
        return self.num_key_value_heads or self.num_attention_heads

    @property
    def head_size(self) -> int:
        return self.head_dim or self.hidden_size // self.num_attention_heads

    @property
    def activation(self) -> Activation:
        return activation(self.hidden_act)

    @property
    def rope_spec(self) -> RopeSpec:
        """The positions of the whole model; those with several kinds read their own."""
        return RopeSpec.read(
            self.head_size,
            self.rope_scaling or self.rope_parameters,
            theta=self.rope_theta,
            maximum=self.max_position_embeddings,
            trained=self.original_max_position_embeddings,
            partial=self.partial_rotary_factor,
        )

    def rope(self) -> Rope:
        return make_rope(self.rope_spec)

    def norm(self) -> Norm:
        """A norm over the residual stream."""
        return nn.RMSNorm(self.hidden_size, eps=self.rms_norm_eps)

    def attends(self, window: int | None) -> Attends:
        """Attention through a window, which is none at all if the context fits into it."""
        return Attends(None if window is None or window >= self.rope_spec.reach else window)

    @property
    def usual_kinds(self) -> list[str]:
        """What each layer does where `layer_types` does not say it."""
        return [FULL] * self.num_hidden_layers

    def kinds(self) -> list[str]:
        """What each layer does, in order."""
        kinds = self.usual_kinds if self.layer_types is None else self.layer_types
        if len(kinds) != self.num_hidden_layers or {*kinds} - {*self.known_kinds}:
            raise ConfigError(
                f"{type(self).__name__}: layer_types must name {' or '.join(self.known_kinds)} "
                f"for each of {self.num_hidden_layers} layers, not {kinds}"
            )
        return kinds

    def windowed(self, window: int | None) -> list[Memory]:
        """Memory of layers of which the sliding ones look through this window."""
        memories = {FULL: self.attends(None), SLIDING: self.attends(window)}
        return [memories[kind] for kind in self.kinds()]

    def _check_sizes(self) -> None:
        named = type(self).__name__
        sizes = {f.name: getattr(self, f.name) for f in fields(self) if f.name in _SIZES}
        for name, size in sizes.items():
            if size is not None and size <= 0:
                raise ConfigError(f"{named}: {name} must be positive, not {size}")
        if self.num_attention_heads % self.kv_heads:
            raise ConfigError(
                f"{named}: num_attention_heads {self.num_attention_heads} is not a multiple of "
                f"num_key_value_heads {self.kv_heads}"
            )
        if self.head_dim is None and self.hidden_size % self.num_attention_heads:
            raise ConfigError(
                f"{named}: hidden_size {self.hidden_size} is not a multiple of "
                f"num_attention_heads {self.num_attention_heads}, and head_dim is not given"
            )


class TokenEmbedding(Protocol):
    """A table of token embeddings, dense or quantized."""

    def __call__(self, tokens: mx.array, /) -> mx.array: ...

    def as_linear(self, x: mx.array, /) -> mx.array: ...


class Decoder(nn.Module):
    """Token embeddings, layers, final norm: the part under `model.` in a checkpoint."""

    def __init__(self, config: DecoderConfig, layers: Sequence[Layer], norm: Norm) -> None:
        super().__init__()
        self.embed_tokens: TokenEmbedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = list(layers)
        self.norm = norm

    def __call__(self, embeddings: mx.array, step: Step) -> mx.array:
        """(B, L, D) -> (B, L, D)"""
        x = embeddings
        for layer, cache in zip(self.layers, step.caches, strict=True):
            x = layer(x, step, cache)
        return self.norm(x)


class CausalLM(nn.Module):
    """A decoder with a head over the vocabulary. Subclasses take their config and make the layers.

    Parameters live under the paths that Hugging Face gives them, once `rules` are applied.
    """

    config_class: ClassVar[type[DecoderConfig]]
    names: ClassVar[tuple[Rule, ...]] = ()  # from checkpoint names to parameter paths
    dense: ClassVar[tuple[str, ...]] = ()  # patterns of module paths that are never quantized
    precise: ClassVar[tuple[str, ...]] = ()  # patterns of parameters that stay in float32
    config: DecoderConfig

    def __init__(self, config: DecoderConfig, layers: Sequence[Layer]) -> None:
        super().__init__()
        self.config = config
        self.model = Decoder(config, layers, config.norm())
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """The model that a config.json describes, with random weights that nothing computes."""
        build = cast(Callable[[DecoderConfig], Self], cls)
        return build(cls.config_class.from_dict(raw))

    @property
    def vocab_size(self) -> int:
        return self.config.vocab_size

    @property
    def context_length(self) -> int:
        """The longest sequence, in tokens, that the model is made for."""
        return self.config.rope_spec.reach

    @property
    def rope_border(self) -> int | None:
        """The length at which remembered keys become wrong and must be computed again."""
        return self.config.rope_spec.border

    @property
    def rules(self) -> tuple[Rule, ...]:
        """From the names of a checkpoint to the parameters of this model."""
        tied = (Tie("lm_head.weight", "model.embed_tokens.weight"),)
        return (*LEFTOVERS, *self.names, *(tied if self.config.tie_word_embeddings else ()))

    def embed(self, tokens: mx.array) -> mx.array:
        """(B, L) token ids -> (B, L, D)"""
        return self.model.embed_tokens(tokens)

    def hidden(self, embeddings: mx.array, step: Step) -> mx.array:
        """(B, L, D) -> (B, L, D), the final norm applied"""
        return self.model(embeddings, step)

    def head(self, hidden: mx.array) -> mx.array:
        """(B, L, D) -> logits (B, L, V)"""
        if self.config.tie_word_embeddings:
            return self.model.embed_tokens.as_linear(hidden)
        return self.lm_head(hidden)

    def cache_layout(self) -> list[Memory]:
        """What each layer remembers, in order."""
        return [Attends()] * self.config.num_hidden_layers


_SIZES = {
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
    "original_max_position_embeddings",
    "sliding_window",
    "sliding_window_pattern",
    "no_rope_layer_interval",
    "query_pre_attn_scalar",
}
_SMALL = ("eps", "epsilon")  # what norms add to a variance
# Without these a file could have us build for hours before anybody looks at its tensors.
_MOST = {
    "vocab_size": 1 << 24,
    "hidden_size": 1 << 20,
    "intermediate_size": 1 << 24,
    "num_hidden_layers": 1 << 12,
    "num_nextn_predict_layers": 1 << 6,
    "num_attention_heads": 1 << 16,
    "head_dim": 1 << 16,
}


def _admits(hint: Any, value: object) -> bool:
    """Whether a value read from JSON fits a field's annotation."""
    if hint is Any:
        return True
    kind, inner = get_origin(hint) or hint, get_args(hint)
    if kind in (Union, UnionType):
        return any(_admits(option, value) for option in inner)
    if kind is list:
        return isinstance(value, list) and all(_admits(inner[0], item) for item in value)
    if isinstance(value, bool):
        return kind is bool
    if kind is float:
        return isinstance(value, int | float)
    return isinstance(value, NoneType if kind is None else kind)


def _spoken(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint)
