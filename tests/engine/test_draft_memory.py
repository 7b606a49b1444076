"""Rows with drafts stay within the memory that was granted."""

from mistralrs_mlx.engine.engine import Engine
from mistralrs_mlx.engine.goal import Goal
from mistralrs_mlx.engine.memory import Budget, Ledger

from .test_speculation import oracle_for
from .toy import Toy, sequence


def test_drafts_do_not_outgrow_the_memory_that_was_granted() -> None:
    toy, column = Toy(), 2 * 16 * 4  # bytes of keys and values
    memory = Budget(Goal(caches=512 * column), Ledger(lambda: 2**34))
    oracle = oracle_for(toy, lambda: [sequence([1, 2, 3] * 20, limit=460)], most=30)
    each = sequence([1, 2, 3] * 20, limit=460)
    engine = Engine(toy, max_seqs=1, memory=memory, drafter=oracle)
    engine.submit(each)
    while engine.busy:
        engine.step()
        assert engine._rows.caches.nbytes <= memory.arenas or not engine.busy
    assert (each.sink.error, each.sink.reason) == (None, "length")
    assert oracle.learned
    assert 300 < len(each.tokens) < 452
