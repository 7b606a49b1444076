"""The models of one runner: by id, loaded or not, and which is the default."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import TypeVar

from mistralrs_mlx.errors import InsufficientMemory, RequestError, UnknownModel

from .embedding import AnyHost
from .entry import Entry, await_memory
from .opening import Opening
from .vacating import Vacating

__all__ = ["Roster", "Use"]

DEFAULT = "default"
T = TypeVar("T")
Use = Callable[[], AbstractContextManager[tuple[AnyHost, str]]]


class Roster:
    """Models by id, in the order in which they came. The first one is the default.

    One thread at a time asks for room, and holds its turn until its model is there. Whoever waits
    for that is woken by `_changed`, which guards everything else.
    """

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._default: str | None = None
        self._coming: set[str] = set()  # ids of models that are being added
        self._aside: list[Entry] = []
        self._changed = threading.Condition()
        self._turns = threading.RLock()
        self._vacating = Vacating(self._loaded)

    def add(self, model_id: str, opening: Opening) -> None:
        """Load a model and keep it under this id."""
        with self._changed:
            if model_id in self._entries or model_id in self._coming:
                raise RequestError(f"model `{model_id}` is there already; give another model_id")
            if model_id == DEFAULT:
                raise RequestError("`default` stands for the default model; give another model_id")
            self._coming.add(model_id)
        try:
            self._open(Entry(model_id, opening, self._changed), opening, join=True)
        finally:
            with self._changed:
                self._coming.discard(model_id)

    def aside(self, opening: Opening) -> Use:
        """How to use a model that answers no requests: loaded when called for, freed with all."""
        entry = Entry(opening.model_id, opening, self._changed)
        self._aside.append(entry)
        return partial(self._using, lambda: entry)

    @property
    def ids(self) -> list[str]:
        return list(self._entries)

    @property
    def default(self) -> str | None:
        return self._default

    @default.setter
    def default(self, model_id: str) -> None:
        with self._changed:
            self._default = self.resolve(model_id)

    def resolve(self, model_id: str | None) -> str:
        """The id that `None`, `"default"` or an id stands for."""
        wanted = self._default if model_id in (None, DEFAULT) else model_id
        if wanted is None or wanted not in self._entries:
            known = ", ".join(f"`{each}`" for each in self._entries)
            raise UnknownModel(f"model `{model_id}` was not found; there is {known or 'none'}")
        return wanted

    def entry(self, model_id: str | None) -> Entry:
        """What is known of the model of an id."""
        with self._changed:
            return self._entries[self.resolve(model_id)]

    def use(self, model_id: str | None) -> AbstractContextManager[tuple[AnyHost, str]]:
        """A model, loaded if need be, that stays while the block sends a request; and its id.

        The block must not wait for anything that needs another model.
        """
        return self._using(lambda: self.entry(model_id))

    def host(self, model_id: str | None) -> AnyHost:
        """The loaded model of an id, which may be unloaded at any time."""
        with self.use(model_id) as (host, _):
            return host

    def status(self, model_id: str) -> str | None:
        """`loaded`, `unloaded`, `reloading`, or None for an unknown id."""
        entry = self._entries.get(model_id)
        return None if entry is None else entry.status

    def replace(self, model_id: str | None, opening: Opening) -> None:
        """Load a model anew in another way, once its running requests have ended.

        If that fails the old way comes back, by which the next request loads it.
        """
        with self._changed:
            entry = self._settled(model_id)
            entry.loading = True
        with self._unloaded_if_it_fails(entry), self._turns, entry.paused():
            entry.unload(f"model `{entry.name}` was loaded anew")
            self._open(entry, opening)

    def unload(self, model_id: str) -> None:
        """Free a model's memory; its id stays, and a request loads it again."""
        with self._changed:
            entry = self._settled(model_id)
        entry.unload(f"model `{entry.name}` was unloaded while it answered")

    def remove(self, model_id: str) -> None:
        """Forget a model. The last one stays; another becomes the default if need be."""
        with self._changed:
            entry = self._settled(model_id)
            if len(self._entries) == 1:
                raise RequestError("Cannot remove the last model from MistralRs")
            del self._entries[entry.name]
            if self._default == entry.name:
                self._default = next(iter(self._entries))
            # At once: who looks for room must find its memory, or that it is coming back.
            released = entry.release(f"model `{entry.name}` was removed while it answered")
            self._changed.notify_all()
        if released:
            await_memory()

    def close(self) -> None:
        """Free all models, those as well that are just being loaded."""
        for entry in self._all():
            with self._changed:
                self._changed.wait_for(lambda entry=entry: not entry.loading)  # type: ignore[misc]
            entry.unload(_closed(entry))

    def release(self) -> None:
        """Free all models without waiting: nobody holds the runner any more."""
        for entry in self._all():
            entry.release(_closed(entry))

    def _settled(self, model_id: str | None) -> Entry:
        """The entry of an id, once it is not about to be loaded. Under the condition."""
        while (entry := self.entry(model_id)).loading:
            self._changed.wait()
        return entry

    @contextmanager
    def _using(self, find: Callable[[], Entry]) -> Iterator[tuple[AnyHost, str]]:
        entry, host = self._entered(find)
        try:
            yield host, entry.name
        finally:
            entry.leave()

    def _entered(self, find: Callable[[], Entry]) -> tuple[Entry, AnyHost]:
        """Wait until a model may be used, or load it if nobody does so."""
        with self._changed:
            while not (entry := find()).ready:
                if entry.host is None and not entry.loading:
                    entry.loading = True
                    break
                self._changed.wait()
            else:
                return entry, entry.enter()
        with self._unloaded_if_it_fails(entry):
            return entry, self._open(entry, entry.opening, enter=True)

    @contextmanager
    def _unloaded_if_it_fails(self, entry: Entry) -> Iterator[None]:
        try:
            yield
        except BaseException:
            with self._changed:
                entry.loading = False
                self._changed.notify_all()
            raise

    def _open(
        self, entry: Entry, opening: Opening, *, join: bool = False, enter: bool = False
    ) -> AnyHost:
        """Load a model; others leave if there is no room for it.

        It may `join` the others under its name, and whoever asked for it `enter` at once.
        """
        with ExitStack() as until:
            host = opening(lambda start: self._placed(start, entry, until))
            with self._changed:
                entry.put(host, opening)
                if join:
                    self._entries[entry.name] = entry
                    self._default = self._default or entry.name
                if enter:
                    entry.enter()
                self._changed.notify_all()
            return host

    def _placed(self, start: Callable[[], T], entry: Entry, until: ExitStack) -> T:
        """What is started once there is room for it: in turn, and after others have left."""
        until.enter_context(self._turns)
        in_vain = False  # whether nobody could leave; what was in the way may have gone by itself
        while True:
            try:
                return start()
            except InsufficientMemory as error:
                left = error.missing > 0 and self._vacating.make_room(error.missing, entry)
                if in_vain and not left:
                    raise
                in_vain = not left
                if not error.missing:
                    self._vacating.quiet(entry, until)

    def _loaded(self) -> list[Entry]:
        with self._changed:
            return [each for each in self._all() if each.host is not None]

    def _all(self) -> list[Entry]:
        return [*self._entries.values(), *self._aside]


def _closed(entry: Entry) -> str:
    return f"the runner of model `{entry.name}` was closed"
