"""The methods of `Runner` that manage its models."""

import logging
from dataclasses import replace
from typing import Any

from mistralrs_mlx.api.details import ModelDetails
from mistralrs_mlx.api.enums import PagedCacheType
from mistralrs_mlx.api.which import Which
from mistralrs_mlx.engine.goal import Goal
from mistralrs_mlx.quant.isq import isq

from .details import details_of
from .progress import Watcher
from .roster import Roster
from .settings import further_opening

__all__ = ["ManagingMethods"]

log = logging.getLogger(__name__)


class ManagingMethods:
    """Which models there are, which are in memory, and what they are like."""

    _roster: Roster
    _given: dict[str, Any]  # what the first model was loaded with
    _memory: Goal  # which all models share

    def add_model(  # noqa: PLR0913 (the options of the first model)
        self,
        which: Which,
        model_id: str | None = None,
        *,
        in_situ_quant: str | int | None = None,
        chat_template: str | None = None,
        jinja_explicit: str | None = None,
        max_seqs: int | None = None,
        no_kv_cache: bool | None = None,
        prefix_cache_n: int | None = None,
        token_source: str | None = None,
        pa_cache_type: PagedCacheType | str | None = None,
        seed: int | None = None,
        speculative_gamma: int | None = None,
        which_draft: Which | None = None,
        prompt_lookup: int | None = None,
        progress: Watcher = None,
    ) -> str:
        """Load another model beside the first, and return the id by which requests name it.

        The id is that of the files unless `model_id` says otherwise. Quantization, templates and a
        draft model are those given here; the other options, where they are None, are the first
        model's. The memory is that of all: if there is no room, models that have gone unused
        longest are unloaded.
        """
        own = {name: value for name, value in locals().items() if name not in {"self", "model_id"}}
        opening = further_opening(self._given, self._memory, own)
        known_as = opening.model_id if model_id is None else model_id
        self._roster.add(known_as, opening)
        return known_as

    def list_models(self) -> list[str]:
        """The ids of all models, loaded or not."""
        return self._roster.ids

    def list_models_with_status(self) -> list[tuple[str, str]]:
        """Each id with `loaded`, `unloaded` or `reloading`."""
        return [(each, self._roster.status(each) or "unloaded") for each in self._roster.ids]

    def list_unloaded_models(self) -> list[str]:
        """The ids of models that are not in memory; a request to one loads it."""
        return [each for each in self._roster.ids if not self.is_model_loaded(each)]

    def get_default_model_id(self) -> str | None:
        """The id of the model that answers when none is named."""
        return self._roster.default

    def set_default_model_id(self, model_id: str) -> None:
        """Let another model answer when none is named."""
        self._roster.default = model_id

    def is_model_loaded(self, model_id: str) -> bool:
        """Whether a model is in memory; False for an unknown id."""
        return self._roster.status(model_id) == "loaded"

    def get_model_status(self, model_id: str) -> str | None:
        """`loaded`, `unloaded`, `reloading`, or None for an unknown id."""
        return self._roster.status(model_id)

    def model_details(self, model_id: str | None = None) -> ModelDetails:
        """What a model is and what it holds in memory, as an extension; it loads nothing."""
        return details_of(self._roster.entry(model_id))

    def unload_model(self, model_id: str) -> None:
        """Free a model's memory. What it is answering ends with `ModelUnloaded`.

        The next request to it loads it again.
        """
        self._roster.unload(model_id)

    def reload_model(self, model_id: str) -> None:
        """Load a model again that was unloaded."""
        self._roster.host(model_id)

    def remove_model(self, model_id: str) -> None:
        """Unload a model and forget its id. The last one cannot be removed."""
        self._roster.remove(model_id)

    def send_re_isq(self, dtype: str | int, model_id: str | None = None) -> None:
        """Quantize a model anew, from its files, to a type that `in_situ_quant` takes.

        It waits until running requests have ended; new ones wait for it. If the model cannot be
        loaded so, it is as before. One that was loaded without `in_situ_quant` stays as it is, and
        the log says so.
        """
        isq(dtype)
        entry = self._roster.entry(model_id)
        if entry.opening.in_situ_quant is None:
            log.warning(
                "model `%s` was loaded without in_situ_quant: it is not quantized anew", entry.name
            )
            return
        self._roster.replace(entry.name, replace(entry.opening, in_situ_quant=dtype))
