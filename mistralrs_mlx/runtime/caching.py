"""What a runner's caches hold and how: what was asked for, checked."""

from dataclasses import dataclass

import mlx.core as mx

from mistralrs_mlx.api.enums import PagedCacheType
from mistralrs_mlx.cache.caches import Caches
from mistralrs_mlx.cache.layout import Packing
from mistralrs_mlx.cache.prefix import PrefixCache
from mistralrs_mlx.engine.model import LanguageModel
from mistralrs_mlx.errors import ConfigError

__all__ = ["Caching", "checked_caching"]

BLOCK_SIZES = (8, 16, 32)
GROUPS = (64, 32)  # numbers that are packed together, the cheaper first
PREFIX_BYTES = 4 << 30


@dataclass(frozen=True, kw_only=True)
class Caching:
    """How many sequences are remembered when they have ended, and whether columns are packed."""

    sequences: int = 16
    packed: bool = False

    def prefix(self, steady: int | None) -> PrefixCache | None:
        """A fresh prefix cache; None if nothing is to be remembered."""
        if not self.sequences:
            return None
        return PrefixCache(sequences=self.sequences, limit=PREFIX_BYTES, steady=steady)

    def packing(self, model: LanguageModel) -> Packing | None:
        """How this model's columns are packed, if they are to be. Raises `ConfigError`."""
        if not self.packed:
            return None
        for group_size in GROUPS:
            packing = Packing(bits=8, group_size=group_size)
            if _fits(model, packing):
                return packing
        raise ConfigError(
            "pa_cache_type f8e4m3: this model's keys or values have a length that is no multiple "
            f"of {GROUPS[-1]}, so they cannot be packed; leave pa_cache_type at auto"
        )


def checked_caching(
    prefix_cache_n: int | None,
    *,
    no_kv_cache: bool,
    pa_blk_size: int | None,
    pa_cache_type: PagedCacheType | str | None,
    paged_attn: bool,
    no_paged_attn: bool,
) -> Caching:
    """What the arguments of a `Runner` ask for; raises `ConfigError` for what cannot be."""
    if paged_attn and no_paged_attn:
        raise ConfigError("paged_attn and no_paged_attn are mutually exclusive; give one of them")
    if paged_attn and no_kv_cache:
        raise ConfigError("paged_attn and no_kv_cache exclude each other; give one of them")
    if pa_blk_size is not None and pa_blk_size not in BLOCK_SIZES:
        raise ConfigError(f"pa_blk_size is {pa_blk_size!r}; it may be 8, 16 or 32")
    packed = _packed(pa_cache_type)
    if no_kv_cache:
        return Caching(sequences=0)
    return Caching(sequences=prefix_cache_n or 0, packed=packed)


def _packed(kind: PagedCacheType | str | None) -> bool:
    if kind is None or kind == PagedCacheType.Auto:
        return False
    if kind == PagedCacheType.F8E4M3:
        return True
    raise ConfigError(f"pa_cache_type is {kind!r}; it may be auto or f8e4m3")


def _fits(model: LanguageModel, packing: Packing) -> bool:
    """See by a pass that is built and not computed."""
    caches = Caches(model.cache_layout(), packing=packing)
    caches.add(1)
    try:
        model.hidden(model.embed(mx.array([[0]])), caches.step(0, 1, 1))
    except ValueError:
        return False
    return True
