"""How a runner guesses ahead: what was asked for, checked, and the drafter that comes of it."""

import logging
from dataclasses import dataclass

from mistralrs_mlx.api.which import Which, WhichEmbedding
from mistralrs_mlx.cache.layout import Recurs
from mistralrs_mlx.engine.draft_model import DraftModel
from mistralrs_mlx.engine.drafts import Drafter, PromptLookup
from mistralrs_mlx.errors import ConfigError
from mistralrs_mlx.loaders.borrowed import Borrowed
from mistralrs_mlx.models.base import CausalLM
from mistralrs_mlx.text.tokenizer import Tokenizer

__all__ = ["Drafting", "check_vocabulary", "checked_drafting", "draft_model", "prompt_lookup"]

log = logging.getLogger(__name__)

GAMMA = 32  # mistral.rs's
REQUIRED = "This is required for speculative decoding."


@dataclass(frozen=True, kw_only=True)
class Drafting:
    """A draft model and how far it runs ahead, or how many tokens are copied, or neither."""

    which: Which | None = None
    gamma: int = GAMMA
    lookup: int = 0


def checked_drafting(
    which: Which,
    *,
    which_draft: Which | None,
    speculative_gamma: int | None,
    prompt_lookup: int,
    no_kv_cache: bool,
) -> Drafting:
    """What the arguments of a `Runner` ask for; raises `ConfigError` for what cannot be."""
    gamma = GAMMA if speculative_gamma is None else speculative_gamma
    if gamma < 1:
        raise ConfigError(f"speculative_gamma is {gamma}; a draft has 1 token or more")
    if which_draft is not None and prompt_lookup:
        raise ConfigError("which_draft and prompt_lookup both draft tokens; give one of them")
    if no_kv_cache and (which_draft is not None or prompt_lookup):
        raise ConfigError(
            "no_kv_cache and speculative decoding exclude each other; give one of them"
        )
    if which_draft is not None and WhichEmbedding in (type(which), type(which_draft)):
        raise ConfigError(f"Target and draft models' category do not match. {REQUIRED}")
    if which_draft is None and speculative_gamma is not None:
        log.warning("speculative_gamma has no effect without which_draft")
    return Drafting(which=which_draft, gamma=gamma, lookup=prompt_lookup)


def check_vocabulary(target: Tokenizer, draft: Tokenizer) -> None:
    """Refuse a draft model whose tokens are not those of the other one."""
    one, other = target.vocabulary, draft.vocabulary
    if one != other:
        differing = len(one.items() ^ other.items())
        raise ConfigError(
            f"Target and draft models' tokenizer vocab do not match. {REQUIRED} They have "
            f"{len(one)} and {len(other)} tokens, and {differing} entries are not in both. "
            "Choose a draft model of the same family"
        )


def draft_model(
    target: CausalLM | Borrowed, draft: CausalLM | Borrowed, drafting: Drafting
) -> Drafter:
    """What drafts for the target by another model; raises `ConfigError` if either cannot."""
    for role, model in (("target", target), ("draft", draft)):
        if (reason := _reason_against(model)) is not None:
            raise ConfigError(f"which_draft: the {role} model cannot take tokens back: {reason}")
    return DraftModel(draft, most=drafting.gamma, context=draft.context_length)


def prompt_lookup(target: CausalLM | Borrowed, drafting: Drafting) -> Drafter | None:
    """What drafts for the target by copying, if that was asked for and can be."""
    if not drafting.lookup:
        return None
    if (reason := _reason_against(target)) is not None:
        log.warning("prompt_lookup has no effect: the model cannot take tokens back: %s", reason)
        return None
    return PromptLookup(drafting.lookup)


def _reason_against(model: CausalLM | Borrowed) -> str | None:
    """Why several tokens in one pass would not be the same as one after the other."""
    if any(isinstance(memory, Recurs) for memory in model.cache_layout()):
        return "some of its layers carry a state from token to token"
    if isinstance(model, CausalLM) and model.config.rope_spec.kind == "dynamic":
        return "its positions depend on the length of the text (dynamic NTK)"
    return None
