"""Samplers that compose batches: what a batch may hold, what an epoch holds, how many batches it has."""

import time

import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn import functional as F
from torch.utils.data import Subset

from lightning_contrast.data import (
    BindingBatchSampler,
    CommunityBatchSampler,
    ContrastiveDataset,
    DistinctBatchSampler,
    NeighbourBatchSampler,
    PseudoLabelBatchSampler,
    TensorImages,
)
from lightning_contrast.data.columns import column

PIXELS, LABELS = (torch.from_numpy(a) for a in load_digits(return_X_y=True))
Z = F.normalize(PIXELS.float() - PIXELS.float().mean(0), dim=1)
N = len(Z)


def epoch(sampler, number=0):
    sampler.set_epoch(number)
    return list(sampler)


def mined(sampler):
    sampler.table = sampler.mine(Z, Z, 0)
    return sampler


def alike(batches):
    """Mean cosine of two different members of a batch."""
    sums = [((Z[b].sum(0).square().sum() - len(b)) / (len(b) * (len(b) - 1))).item() for b in batches]
    return sum(sums) / len(sums)


def collisions(batches):
    """Share of pairs of a batch with equal true labels (Arora et al. 2019)."""
    same = [(LABELS[b][:, None] == LABELS[b]).float().sum() - len(b) for b in batches]
    return float(sum(same)) / sum(len(b) * (len(b) - 1) for b in batches)


class TestNeighbours:
    @pytest.mark.parametrize("drop_last", [True, False])
    def test_every_sample_once(self, drop_last):
        sampler = mined(NeighbourBatchSampler(N, 128, drop_last=drop_last))
        batches = epoch(sampler)
        seen = [i for b in batches for i in b]
        assert len(seen) == len(set(seen)) == (N // 128 * 128 if drop_last else N)
        assert len(batches) == len(sampler)
        assert batches != epoch(sampler, 1)

    def test_harder_than_random_batches(self):
        sampler = NeighbourBatchSampler(N, 128)
        sampler.awaiting = True
        random = alike(epoch(sampler))
        assert alike(epoch(mined(sampler))) > random + 0.1

    def test_by_coordinates_until_embeddings_come(self, tmp_path):
        import numpy as np

        places = torch.rand(60, 2, generator=torch.Generator().manual_seed(0)) * 10
        np.save(tmp_path / "places.npy", places.numpy())
        for given in (places, places.tolist(), str(tmp_path / "places.npy")):
            sampler = NeighbourBatchSampler(60, 6, 10, 5, coordinates=given, surface="plane")
            assert torch.equal(sampler.table[:, 0].long(), torch.cdist(places, places).fill_diagonal_(99).argmin(1))
            near = torch.stack([torch.cdist(places[b], places[b]).mean() for b in epoch(sampler)]).mean()
            assert near < torch.cdist(places, places).mean() / 1.5

    @pytest.mark.parametrize(
        ("kwargs", "message"),
        [
            ({"neighbours": 4, "select": 5}, "select=5"),
            ({"nearest": 65}, "nearest=65"),
            ({"coordinates": [[0.0, 0.0]]}, "coordinates of 1 samples"),
            ({"coordinates": "nowhere.npy"}, "no such file"),
        ],
    )
    def test_bad_values(self, kwargs, message):
        with pytest.raises(ValueError, match=message):
            NeighbourBatchSampler(N, 8, **kwargs)


class TestCommunities:
    def test_batches_are_unions_of_communities(self):
        sampler = mined(CommunityBatchSampler(N, 128, community=32, skip=5, window=30, drop_last=False))
        place = torch.empty(N, dtype=torch.int64)
        place[sampler.table] = torch.arange(N) // 32
        for number in (0, 1):
            batches = epoch(sampler, number)
            assert sorted(i for b in batches for i in b) == list(range(N))
            for batch in batches[:-1]:
                parts, count = place[batch].unique(return_counts=True)
                assert len(parts) == 4
                assert (count == 32).all()
        assert epoch(sampler, 0) != epoch(sampler, 1)
        whole = mined(CommunityBatchSampler(N, 32, community=32))
        assert all(len(place[b].unique()) >= 1 for b in epoch(whole))
        first = {tuple(row) for row in whole.table[: N // 32 * 32].view(-1, 32).tolist()}
        assert {tuple(b) for b in epoch(whole)} == first, "as large as a batch: one community a batch"

    def test_communities_of_one_are_random_batches(self):
        sampler = mined(CommunityBatchSampler(N, 100, community=1))
        assert len({i for b in epoch(sampler) for i in b}) == N // 100 * 100
        assert abs(alike(epoch(sampler))) < 0.02

    def test_harder_than_random_and_the_skip_spares_false_negatives(self):
        without, with_skip = (mined(CommunityBatchSampler(N, 128, skip=p, window=100)) for p in (0, 100))
        assert alike(epoch(with_skip)) > 0.02
        assert collisions(epoch(without)) > collisions(epoch(with_skip))

    def test_the_graph_has_no_edge_to_the_first_ranks(self):
        graph = CommunityBatchSampler(N, 32, skip=7, window=9).graph(Z, Z)
        ranked = (Z @ Z.T).fill_diagonal_(-2)
        kth = ranked.topk(7, dim=1).values[:, -1:]
        assert graph.shape == (N, 9)
        assert (ranked.gather(1, graph) <= kth).all()

    def test_bad_values(self):
        for kwargs, message in (({"community": 0}, "community=0"), ({"window": 0}, "window=0"), ({"skip": N}, "skip=")):
            with pytest.raises(ValueError, match=message):
                CommunityBatchSampler(N, 32, **kwargs)
        with pytest.raises(ValueError, match="no union of communities of 32"):
            epoch(mined(CommunityBatchSampler(N, 48)))


class TestPseudoLabels:
    def test_no_label_is_twice(self):
        sampler = mined(PseudoLabelBatchSampler(N, 20, clusters=40))
        for number in (0, 1):
            batches = epoch(sampler, number)
            assert len(batches) == len(sampler) == N // 20
            assert all(len(sampler.table[b].unique()) == len(b) <= 20 for b in batches)
            sizes = {len(b) for b in batches}
            assert max(sizes) - min(sizes) <= 1
            seen = [i for b in batches for i in b]
            assert len(seen) == len(set(seen))
        again = [epoch(sampler, number) for number in (0, 1, 0)]
        assert again[0] == again[2] != again[1]

    def test_with_true_labels_no_two_of_a_batch_share_a_class(self):
        sampler = PseudoLabelBatchSampler(N, 10, clusters=10)
        sampler.table = LABELS
        assert collisions(epoch(sampler)) == 0
        assert collisions(epoch(mined(PseudoLabelBatchSampler(N, 10, clusters=10)))) < 0.06 < 0.1

    def test_rows_are_at_most_the_clusters(self, monkeypatch):
        with pytest.raises(ValueError, match="11 rows cannot have 11 different pseudo-labels of clusters=10"):
            PseudoLabelBatchSampler(N, 11, clusters=10)
        sampler = mined(PseudoLabelBatchSampler(N, 6, clusters=10))
        with pytest.raises(ValueError, match="12 rows"):
            next(sampler.plan(0, 2))
        with pytest.raises(ValueError, match="clusters=0"):
            PseudoLabelBatchSampler(N, 6, clusters=0)


@pytest.mark.parametrize("make", [NeighbourBatchSampler, CommunityBatchSampler, PseudoLabelBatchSampler])
def test_without_a_table(make):
    sampler = make(N, 64)
    assert len(sampler) == N // 64
    with pytest.raises(ValueError, match="add the callback BatchMining"):
        next(iter(sampler))
    sampler.awaiting = True
    assert abs(alike(epoch(sampler))) < 0.02
    sampler.table = torch.zeros(7, 3, dtype=torch.int64)
    with pytest.raises(ValueError, match="has 7 rows, but there are 1797 samples"):
        epoch(sampler)


class TestDistinct:
    def test_one_of_each_class_in_a_batch(self):
        sampler = DistinctBatchSampler(LABELS, 10)
        batches = epoch(sampler)
        least = int(LABELS.bincount().min())
        assert len(batches) == len(sampler) == least
        assert all(LABELS[b].sort().values.tolist() == list(range(10)) for b in batches)

    def test_as_sentence_transformers_case(self):
        """20,000 rows, 5,000 documents, 2,048 rows a batch: the sampler there says 10 batches and yields 14."""
        ids = torch.randint(5000, (20_000,), generator=torch.Generator().manual_seed(0))
        for drop_last in (True, False):
            sampler = DistinctBatchSampler(ids, 2048, drop_last=drop_last)
            batches = epoch(sampler)
            assert len(batches) == len(sampler)
            assert all(len(ids[b].unique()) == len(b) for b in batches)
            assert all(len(b) == 2048 for b in batches) if drop_last else sum(map(len, batches)) == 20_000

    def test_a_million_rows_are_fast(self):
        ids = torch.randint(600_000, (1_000_000,), generator=torch.Generator().manual_seed(0))
        began = time.process_time()
        sampler = DistinctBatchSampler(ids, 2048)
        assert sum(len(b) for b in sampler) == len(sampler) * 2048 > 997_000
        assert time.process_time() - began < 10

    def test_ids_of_any_kind(self):
        texts = ["a", "b", "a", "c", "b", "d"]
        batches = epoch(DistinctBatchSampler(texts, 3, drop_last=False))
        assert sorted(i for b in batches for i in b) == list(range(6))
        assert all(len({texts[i] for i in b}) == len(b) for b in batches)

    def test_bad_values(self):
        with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
            DistinctBatchSampler(LABELS, 0)
        with pytest.raises(ValueError, match="10 different values of 'label' cannot fill a batch of 11"):
            len(DistinctBatchSampler(LABELS, 11))
        heavy = DistinctBatchSampler(torch.zeros(8, dtype=torch.int64), 2, drop_last=False)
        assert [len(b) for b in heavy] == [1] * 8
        with pytest.raises(ValueError, match="too few for 2 processes"):
            list(heavy.plan(0, 2))


class TestBinding:
    def test_one_fixed_sample_of_each_class_in_every_batch(self):
        sampler = BindingBatchSampler(LABELS, 64)
        binding = sampler.binding_set()
        assert LABELS[binding].sort().values.tolist() == list(range(10))
        for number in (0, 3):
            batches = epoch(sampler, number)
            assert len(batches) == len(sampler) == (N - 10) // 54
            assert all(b[:10] == binding and len(set(b)) == 64 for b in batches)
            others = [i for b in batches for i in b[10:]]
            assert len(others) == len(set(others))
        assert BindingBatchSampler(LABELS, 64, seed=1).binding_set() != binding

    def test_bad_values(self):
        with pytest.raises(ValueError, match="no room beside the binding set of 10 classes"):
            len(BindingBatchSampler(LABELS, 10))
        with pytest.raises(ValueError, match="do not fill one batch"):
            len(BindingBatchSampler(LABELS, N + 1))


class TestColumn:
    def test_where_values_are_found(self):
        images = TensorImages(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.tensor([3, 1, 3, 0]))
        assert column(images, "label").tolist() == [3, 1, 3, 0]
        assert column(Subset(images, [3, 0]), "label").tolist() == [0, 3]
        assert column(ContrastiveDataset(Subset(images, [1, 2])), "label").tolist() == [1, 3]
        assert column({"film": ["x", "y", "x"]}, "film").tolist() == [0, 1, 0]

        class Vision:
            targets = [5, 6]

        assert column(Vision(), "label").tolist() == [5, 6]

    def test_what_is_wrong(self):
        with pytest.raises(ValueError, match="range does not say the 'label'"):
            column(range(3), "label")
        with pytest.raises(ValueError, match=r"must be integers \[N\]"):
            column(torch.zeros(3), "label")
        with pytest.raises(ValueError, match=r"must be integers \[N\]"):
            column(torch.zeros(3, 1, dtype=torch.int64), "label")
