"""The models of one runner: by id, loaded or not, and which is the default."""

import threading
from collections.abc import Callable
from concurrent.futures import Future

import mlx.core as mx

from mistralrs_mlx.engine.worker import worker
from mistralrs_mlx.errors import RequestError

from .embedding import AnyHost

__all__ = ["Roster"]

DEFAULT = "default"


class _Entry:
    """How to load a model, and the model while it is loaded."""

    def __init__(self, open_host: Callable[[], AnyHost], host: AnyHost | None) -> None:
        self._open_host = open_host
        self._loading = threading.Lock()
        self.host = host

    @property
    def status(self) -> str:
        if self.host is not None:
            return "loaded"
        return "reloading" if self._loading.locked() else "unloaded"

    def loaded(self) -> AnyHost:
        """The host, loaded again if it is not there."""
        with self._loading:
            if self.host is None:
                self.host = self._open_host()
            return self.host

    def unload(self, reason: str) -> None:
        """Give the memory back, and wait until that has happened."""
        if (closing := self.release(reason)) is not None:
            closing.result()
            del closing
            worker().call(mx.clear_cache)

    def release(self, reason: str) -> "Future[None] | None":
        """Give the memory back some time soon."""
        with self._loading:
            host, self.host = self.host, None
        return None if host is None else host.close(reason)


class Roster:
    """Models by id, in the order in which they came. The first one is the default."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._default: str | None = None
        self._aside: list[_Entry] = []

    def add(self, model_id: str, open_host: Callable[[], AnyHost]) -> None:
        """Load a model and keep it under this id."""
        if model_id in self._entries:
            raise RequestError(f"model `{model_id}` is there already; give another model_id")
        self._entries[model_id] = _Entry(open_host, open_host())
        self._default = self._default or model_id

    def aside(self, open_host: Callable[[], AnyHost]) -> Callable[[], AnyHost]:
        """What gives a model that answers no requests: loaded when called for, freed with all."""
        entry = _Entry(open_host, None)
        self._aside.append(entry)
        return entry.loaded

    @property
    def ids(self) -> list[str]:
        return list(self._entries)

    @property
    def default(self) -> str | None:
        return self._default

    @default.setter
    def default(self, model_id: str) -> None:
        self._default = self.resolve(model_id)

    def resolve(self, model_id: str | None) -> str:
        """The id that `None`, `"default"` or an id stands for."""
        wanted = self._default if model_id in (None, DEFAULT) else model_id
        if wanted is None or wanted not in self._entries:
            known = ", ".join(f"`{each}`" for each in self._entries)
            raise RequestError(f"model `{model_id}` was not found; there is {known or 'none'}")
        return wanted

    def host(self, model_id: str | None) -> AnyHost:
        """The loaded model of an id; one that was unloaded is loaded again."""
        return self._entries[self.resolve(model_id)].loaded()

    def status(self, model_id: str) -> str | None:
        """`loaded`, `unloaded`, `reloading`, or None for an unknown id."""
        entry = self._entries.get(model_id)
        return None if entry is None else entry.status

    def unload(self, model_id: str) -> None:
        """Free a model's memory; its id stays, and a request loads it again."""
        wanted = self.resolve(model_id)
        self._entries[wanted].unload(f"model `{wanted}` was unloaded while it answered")

    def remove(self, model_id: str) -> None:
        """Forget a model. The last one stays; another becomes the default if need be."""
        wanted = self.resolve(model_id)
        if len(self._entries) == 1:
            raise RequestError("Cannot remove the last model from MistralRs")
        self._entries.pop(wanted).unload(f"model `{wanted}` was removed while it answered")
        if self._default == wanted:
            self._default = next(iter(self._entries))

    def close(self) -> None:
        """Free all models."""
        for model_id, entry in self._entries.items():
            entry.unload(_closed(model_id))
        for entry in self._aside:
            entry.unload("the runner was closed")

    def release(self) -> None:
        """Free all models without waiting: nobody holds the runner any more."""
        for model_id, entry in self._entries.items():
            entry.release(_closed(model_id))


def _closed(model_id: str) -> str:
    return f"the runner of model `{model_id}` was closed"
