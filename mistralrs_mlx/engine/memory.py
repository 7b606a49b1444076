"""One byte budget over all that models hold: weights, live caches, what is kept of earlier ones.

Passes need memory beside that. A fraction of the device leaves the rest to them; of a total amount
a sixteenth is kept for them. Only the engine's thread may ask.
"""

import threading
from collections.abc import Callable, Iterator
from typing import Protocol
from weakref import WeakSet

import mlx.core as mx

from mistralrs_mlx.cache.caches import Caches
from mistralrs_mlx.cache.forecast import Extent, Forecast, forecast
from mistralrs_mlx.cache.span import GROWTH
from mistralrs_mlx.cache.step import Step
from mistralrs_mlx.errors import NoRoomForRequest, NoRoomForWeights

from .device import Limits, capacity
from .goal import Goal
from .model import LanguageModel

__all__ = ["Budget", "Ledger", "Spare", "ledger"]

PASSES = 16  # one part in so many of a total is for what passes need for a moment
KEPT = 4  # one part in so many of what weights leave may be kept of earlier sequences
IDLE_BUFFERS = 2**28  # an engine at rest hands more freed buffers than this back to the system


class Spare(Protocol):
    """Memory that can be given up at any time."""

    limit: int  # bytes

    @property
    def nbytes(self) -> int: ...

    def shrink(self, to_bytes: int) -> None:
        """Keep at most so many bytes."""


class Ledger:
    """What all models of a process hold on one device."""

    def __init__(
        self, device_bytes: Callable[[], int] = capacity, limits: Limits | None = None
    ) -> None:
        self._device_bytes = device_bytes
        self._limits = limits or Limits()
        self._budgets: WeakSet[Budget] = WeakSet()
        self._capacity = 0

    @property
    def capacity(self) -> int:
        """The device's bytes; what else runs on the machine is looked at while no model is here."""
        if not self._budgets or not self._capacity:
            self._capacity = self._device_bytes()
        return self._capacity

    def enter(self, memory: "Budget") -> None:
        """Count what this model holds."""
        assert self.capacity
        self._budgets.add(memory)
        self._set_limits()

    def leave(self, memory: "Budget") -> None:
        """Count it no more."""
        self._budgets.discard(memory)
        self._set_limits()

    def others(self, memory: "Budget") -> "Iterator[Budget]":
        """All models but this one."""
        return (each for each in self._budgets if each is not memory)

    def _set_limits(self) -> None:
        shares = [each.goal.share for each in self._budgets]
        self._limits.apply(int(max(shares, default=0) * self.capacity), self.capacity)


class Budget:
    """What one model may hold, and what it does hold."""

    def __init__(self, goal: Goal, ledger: Ledger, row: int = 0) -> None:
        """Models that were given the same goal, not an equal one, share its amount.

        `row` is what caches of the smallest row take, if that is known already.
        """
        self.goal, self.row = goal, row
        self.weights = 0
        self.arenas = 0  # bytes that live caches have, or are going to have
        self.kept_lately = 0  # bytes, as of when rows began or ended; for other threads
        self.vocab_size = 0
        self._ledger = ledger
        self._spare: Spare | None = None
        self._spare_limit = 0  # that it was made with
        self._forecast = Forecast(layers=())
        self._aside: list[tuple[Forecast, Caches]] = []
        ledger.enter(self)

    @property
    def held(self) -> int:
        return self.weights + self.arenas + self.kept

    @property
    def kept(self) -> int:
        """Bytes kept of earlier sequences."""
        return 0 if self._spare is None else self._spare.nbytes

    def close(self) -> None:
        """The model is gone."""
        self.weights = self.arenas = 0
        self._spare = None
        self._ledger.leave(self)

    def check_weights(self, nbytes: int) -> None:
        """Raise unless so many bytes of further weights fit. Nothing has been read yet.

        If it would do for peers to leave, there must be room to answer as well. What is kept of
        earlier sequences is given up. Running rows are not: while they are in the way the error
        says that nothing is missing.
        """
        want, room = self.weights + nbytes, self._hard(bare=True)
        peers = [each for each in self._ledger.others(self) if each.goal is self.goal]
        row = max([self.row, *(each.row for each in peers)])
        if want + row > room + _sum(peers, bare=True):
            row = 0
        if (missing := want + row - room) > 0:
            raise self._weights_refused(nbytes, missing)
        self._give_up(lambda: want - self._hard())
        if want > self._hard():
            raise self._weights_refused(nbytes, 0)

    def room(self) -> int:
        """Bytes of weights that would still fit."""
        return max(0, self._hard() - self.weights)

    def learn(self, model: LanguageModel, caches: Caches, spare: Spare | None = None) -> None:
        """Find out what the caches of the model will take; fresh ones are needed for that."""
        smallest = caches.extent(1, 1)
        self._forecast = self._learned(model, caches)
        self.row = self.want(smallest, 1, 1)
        self._spare = spare
        if spare is not None:
            self._spare_limit = spare.limit
            self._limit_spare(self._most_kept())

    def learn_aside(self, model: LanguageModel, fresh: Callable[[], Caches]) -> None:
        """Count another model, whose caches have as many rows and columns."""
        self._aside.append((self._learned(model, fresh()), fresh()))

    def grant(self, now: Extent, then: Extent, *, rows: int, columns: int) -> bool:
        """Set memory aside for arenas that grow from one extent to another, if there is enough.

        What is kept of earlier sequences is given up for it.
        """
        want = self.want(then, rows, columns)
        passing = self._forecast.passing(now) if then != now else 0
        copied = self._forecast.slot(then) if self._spare is not None else 0  # of a row to keep
        self._give_up(lambda: self._excess(want, passing + copied))
        if self._excess(want, passing) > 0:
            return False
        self.arenas = want
        self._limit_spare(self.kept - self._excess(want, passing + copied))
        return True

    def rest(self) -> None:
        """No rows are left: their memory has come back, and MLX's buffers may go."""
        self.arenas = 0
        self._limit_spare(self._most_kept())
        self.kept_lately = self.kept
        if mx.get_cache_memory() > IDLE_BUFFERS:
            mx.clear_cache()

    def waits_for_others(self) -> bool:
        """Whether another model's rows will make room when they end."""
        return any(other.arenas for other in self._ledger.others(self))

    def check_ever(self, fresh: Extent, *, rows: int, columns: int) -> None:
        """Raise if rows of so many tokens would not fit with all others gone."""
        want = self.want(fresh, rows, columns)
        if self.weights + want > min(self._rooms(bare=True)):
            raise self.refusal(want, rows, columns)

    def check_aside(self, fresh: Extent, *, columns: int, extra: int) -> None:
        """Raise unless one more row fits beside all others, and `extra` bytes with it."""
        want = self.want(fresh, 1, columns) + extra
        if self._excess(self.arenas + want, 0) > 0:
            raise self.refusal(want, 1, columns)

    def refusal(self, want: int, rows: int, columns: int) -> NoRoomForRequest:
        """What to tell whoever asks for more than there is."""
        left = max(0, min(self._rooms(bare=True)) - self.weights)
        missing = max(0, want - left)
        many = f"{rows} rows of {columns} tokens" if rows > 1 else f"{columns} tokens"
        return NoRoomForRequest(
            f"{many} need {_size(want)} of memory, and {_size(left)} are left for them "
            f"({self._explained()}). Shorten the prompt or max_tokens, ask for fewer choices, "
            "raise memory_goal, or take a smaller or quantized model",
            missing,
        )

    def _weights_refused(self, nbytes: int, missing: int) -> NoRoomForWeights:
        left = max(0, self._hard(bare=missing > 0) - self.weights)
        taken = f"the weights take {_size(nbytes)}" if nbytes else f"answers take {_size(self.row)}"
        return NoRoomForWeights(
            f"{taken}, and {_size(left)} are left for them "
            f"({self._explained()}). Quantize them, as with "
            'in_situ_quant="Q4K", take a smaller model, unload another one, or raise '
            "memory_goal",
            missing,
        )

    def _learned(self, model: LanguageModel, caches: Caches) -> Forecast:
        def run(step: Step) -> mx.array:
            logits = model.head(model.hidden(model.embed(mx.array([[0]])), step))
            self.vocab_size = self.vocab_size or logits.shape[-1]
            return logits

        return forecast(caches, run)

    def want(self, extent: Extent, rows: int, columns: int) -> int:
        """Bytes of arenas of this extent, and of other models' for as many rows and columns."""
        aside = sum(each.nbytes(fresh.extent(rows, columns)) for each, fresh in self._aside)
        return self._forecast.nbytes(extent) + aside

    def _excess(self, want: int, passing: int) -> int:
        """Bytes that would be too many."""
        held = self.weights + self.kept + want
        steady, hard = self._rooms()
        return max(held - steady, held + passing - hard)

    def _rooms(self, *, bare: bool = False) -> tuple[int, int]:
        """Bytes that this model may hold: lasting ones, and with those that passes need for long.

        `bare` is how it would be if others held their weights only.
        """
        goal, others = self.goal, list(self._ledger.others(self))
        peers = [each for each in others if each.goal is goal]
        hard = int(goal.share * self._ledger.capacity) - _sum(others, bare=bare)
        if goal.total is not None:
            usable = goal.total - goal.total // PASSES
            hard = min(hard, usable - _sum(peers, bare=bare))
        steady = hard
        if goal.caches is not None:
            caches = 0 if bare else sum(each.held - each.weights for each in peers)
            steady = min(steady, self.weights + goal.caches - caches)
        if goal.tokens is not None and self._forecast.layers:
            steady = min(steady, self.weights + self._tokens(goal.tokens))
        return steady, hard

    def _hard(self, *, bare: bool = False) -> int:
        """Bytes that it may hold, whatever its caches alone may take."""
        return self._rooms(bare=bare)[1]

    def _tokens(self, tokens: int) -> int:
        """What caches for one row of so many tokens take, windowed layers as if they had none."""
        columns = -(-tokens // GROWTH) * GROWTH
        capacities = {layer.window: columns for layer in self._forecast.layers}
        return self.want(Extent(slots=1, capacities=capacities), 1, tokens)

    def _limit_spare(self, nbytes: int) -> None:
        if self._spare is not None:
            self._spare.limit = max(0, min(nbytes, self._most_kept(), self._spare_limit))

    def _most_kept(self) -> int:
        return max(0, min(self._rooms()) - self.weights) // KEPT

    def _give_up(self, excess: Callable[[], int]) -> None:
        """Keep less of earlier sequences, one's own first, until nothing is too much."""
        for each in (self, *self._ledger.others(self)):
            if each._spare is not None and (over := excess()) > 0:
                each._spare.shrink(max(0, each.kept - over))
            each.kept_lately = each.kept

    def _explained(self) -> str:
        """Where the memory is, for messages."""
        goal, parts = self.goal, [f"weights {_size(self.weights)}"]
        others = _sum(self._ledger.others(self), bare=False)
        if others:
            parts.append(f"other models {_size(others)}")
        limits = [f"{goal.share:g} of the device's {_size(self._ledger.capacity)}"]
        if goal.total is not None:
            limits.append(f"memory_goal {_size(goal.total)}, a {PASSES}th of it for passes")
        if goal.caches is not None:
            limits.append(f"pa_gpu_mem {_size(goal.caches)}")
        if goal.tokens is not None:
            limits.append(f"memory_goal {goal.tokens} tokens")
        return ", ".join(["limit: " + " and ".join(limits), *parts])


def _sum(memories: "Iterator[Budget] | list[Budget]", *, bare: bool) -> int:
    return sum(each.weights if bare else each.held for each in memories)


def _size(nbytes: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20)):
        if nbytes >= size:
            return f"{nbytes / size:.1f} {unit}"
    return f"{nbytes / 2**10:.1f} KiB"


_shared: list[Ledger] = globals().get("_shared", [])  # reloading this module keeps what it knows
_sharing = threading.Lock()


def ledger() -> Ledger:
    """The process's only ledger, made when first asked for."""
    with _sharing:
        if not _shared:
            _shared.append(Ledger())
        return _shared[0]
