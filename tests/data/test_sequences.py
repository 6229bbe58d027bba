"""Texts in their order: neighbours in a batch, windows of graded pairs, propositions."""

import pytest

from lightning_contrast.data import ConsecutiveBatchSampler


class TestConsecutiveBatches:
    def test_stretches(self):
        sampler = ConsecutiveBatchSampler(50, 8)
        seen = {epoch: [list(batch) for batch in sampler.plan(epoch, 1)] for epoch in range(6)}
        for batches in seen.values():
            assert len(batches) == len(sampler)
            rows = [row for batch in batches for row in batch]
            assert len(set(rows)) == len(rows)
            assert set(rows) <= set(range(50))
            assert all(batch == list(range(batch[0], batch[0] + 8)) for batch in batches)
        assert len({min(batch[0] for batch in batches) for batches in seen.values()}) > 1, "they begin elsewhere"
        assert seen[0] == [list(batch) for batch in sampler.plan(0, 1)]

    def test_processes_share_a_stretch(self):
        sampler = ConsecutiveBatchSampler(50, 4)
        (first, *_) = sampler.plan(0, 2)
        parts = [sampler.shard(first, rank, 2) for rank in range(2)]
        assert sorted([*parts[0], *parts[1]]) == list(range(first[0], first[0] + 8))

    @pytest.mark.parametrize(("samples", "rows"), [(0, 1), (3, 0)])
    def test_misuse(self, samples, rows):
        with pytest.raises(ValueError, match="at least 1"):
            ConsecutiveBatchSampler(samples, rows)
        with pytest.raises(ValueError, match="lower it"):
            len(ConsecutiveBatchSampler(3, 4))
