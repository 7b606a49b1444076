"""The running state of one convolution or state-space layer."""

from collections.abc import Iterator, Sequence

import mlx.core as mx

from .step import Step

__all__ = ["StateCache"]


class StateCache:
    """A few arrays per row, replaced as a whole by every pass. History cannot be undone."""

    window = None

    def __init__(self, states: int) -> None:
        self._states: list[mx.array | None] = [None] * states

    @property
    def nbytes(self) -> int:
        return sum(state.nbytes for state in self._states if state is not None)

    def read(self, step: Step, index: int, shape: tuple[int, ...], dtype: mx.Dtype) -> mx.array:
        """State `index` of these rows, (B, *shape); zeros for rows that have just come."""
        state = self._states[index]
        if state is None:
            state = mx.zeros((step.slots, *shape), dtype)
        self._states[index] = state = _with_slots(state, step.slots)
        return state[step.start : step.stop]

    def write(self, step: Step, index: int, new: mx.array) -> None:
        """Replace state `index` of these rows; `read` has come first."""
        state = self._states[index]
        assert state is not None
        if state.shape[0] == new.shape[0]:
            self._states[index] = new
            return
        state[step.start : step.stop] = new
        self._states[index] = state

    def copy(self, source: int, target: int) -> None:
        """Give row `target` the state of row `source`."""
        for index, state in enumerate(self._states):
            if state is None or source >= state.shape[0]:
                continue
            row = mx.take(state, mx.array([source]), axis=0)
            mx.eval(row)
            state = _with_slots(state, target + 1)
            state[target : target + 1] = row
            self._states[index] = state

    def fit(self, slots: int) -> None:
        """Give back the memory of all slots but the first ones."""
        for index, state in enumerate(self._states):
            if state is not None and slots < state.shape[0]:
                kept = mx.take(state, mx.arange(slots), axis=0)
                mx.eval(kept)
                self._states[index] = kept

    def grow(self, slots: int, capacity: int) -> None:
        """Make room ahead of a pass; a state has no columns."""
        for index, state in enumerate(self._states):
            if state is not None:
                self._states[index] = _with_slots(state, slots)

    def put_arrays(self, arrays: Iterator[mx.array]) -> None:
        """Let other arrays be what `arrays` gave."""
        self._states = [next(arrays) for _ in self._states]

    def take(self, row: int) -> tuple[mx.array, ...]:
        """Copies of a row's states, (1, ...) each; none if no pass has written them yet."""
        states = [state for state in self._states if state is not None]
        if len(states) < len(self._states):
            return ()
        return tuple(mx.take(state, mx.array([row]), axis=0) for state in states)

    def put(self, row: int, slots: int, states: Sequence[mx.array]) -> None:
        """Give a row the states that `take` gave."""
        for index, new in enumerate(states):
            state = self._states[index]
            if state is None:
                state = mx.zeros((slots, *new.shape[1:]), new.dtype)
            state = _with_slots(state, slots)
            state[row : row + 1] = new
            self._states[index] = state

    def clear(self, row: int) -> None:
        """Forget a row: the next sequence in its slot starts from zeros."""
        for state in self._states:
            if state is not None and row < state.shape[0]:
                state[row] = mx.zeros_like(state[row])

    def arrays(self) -> list[mx.array]:
        return [state for state in self._states if state is not None]


def _with_slots(state: mx.array, slots: int) -> mx.array:
    missing = slots - state.shape[0]
    if missing <= 0:
        return state
    return mx.concatenate([state, mx.zeros((missing, *state.shape[1:]), state.dtype)])
