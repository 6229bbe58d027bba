"""What batches are composed by: distinct ids, neighbours, communities, clusters, places."""

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn import functional as F

from lightning_contrast.functional.communities import communities
from lightning_contrast.functional.distinct_batches import distinct_order, full_batches
from lightning_contrast.functional.neighbour_order import neighbour_order
from lightning_contrast.functional.places import nearest_places

PIXELS, LABELS = (torch.from_numpy(a) for a in load_digits(return_X_y=True))
DIGITS = F.normalize(PIXELS.float() - PIXELS.float().mean(0), dim=1)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def is_permutation(order, n):
    return order.dtype == torch.int64 and sorted(order.tolist()) == list(range(n))


class TestDistinct:
    @pytest.mark.parametrize("seed", range(5))
    @pytest.mark.parametrize("kinds", [3, 20, 1000])
    def test_no_id_is_twice_in_a_batch(self, seed, kinds):
        ids = torch.randint(kinds, (300,), generator=generator(seed))
        for batches, rows in itertools.product((1, 7, 40), (1, 5, 50)):
            order = distinct_order(ids, batches, rows, generator(seed))
            assert len(order.unique()) == len(order)
            sizes = [len(order[k::batches]) for k in range(batches)]
            assert max(sizes) - min(sizes) <= 1
            assert max(sizes) <= rows
            for k in range(batches):
                assert len(ids[order[k::batches]].unique()) == sizes[k]
            possible = sum(min(int(c), batches) for c in ids.bincount())
            assert len(order) == min(possible, batches * rows), "as many as there can be"

    def test_all_samples_stay_where_all_fit(self):
        ids = torch.arange(60) % 20
        assert is_permutation(distinct_order(ids, 6, 10, generator()), 60)

    def test_what_is_left_out_is_drawn_anew(self):
        ids = torch.zeros(50, dtype=torch.int64)
        kept = {int(distinct_order(ids, 1, 5, generator(s))) for s in range(200)}
        assert len(kept) > 40

    def test_any_two_ids_meet_about_as_often(self):
        """12 samples of 12 ids in 3 batches of 4: two meet with probability 3 / 11."""
        ids, met = torch.arange(12), torch.zeros(12, 12)
        for seed in range(2000):
            order = distinct_order(ids, 3, 4, generator(seed))
            for k in range(3):
                met[order[k::3][:, None], order[k::3]] += 1 / 2000
        off = met[~torch.eye(12, dtype=torch.bool)]
        assert (off - 3 / 11).abs().max() < 5 * math.sqrt(3 / 11 * 8 / 11 / 2000)

    @pytest.mark.parametrize("seed", range(20))
    def test_full_batches_by_trying(self, seed):
        count = torch.randint(1, 12, (9,), generator=generator(seed))
        for rows in range(1, 11):
            fits = [k for k in range(200) if int(count.clamp(max=k).sum()) >= k * rows]
            assert full_batches(count, rows) == max(fits)


class TestNeighbours:
    def test_by_hand(self):
        """Pairs on a line: 0 1, 2 3, 4 5."""
        table = torch.tensor([[1, 2], [0, 2], [3, 1], [2, 4], [5, 3], [4, 3]])
        for seed in range(10):
            order = neighbour_order(table, 2, near=1, drawn=0, seed=seed).view(3, 2)
            assert sorted(sorted(pair) for pair in order.tolist()) == [[0, 1], [2, 3], [4, 5]]

    @pytest.mark.parametrize(("rows", "near", "drawn"), [(1, 1, 1), (8, 4, 0), (32, 0, 8), (32, 8, 8), (500, 3, 3)])
    def test_every_sample_once_and_batches_as_a_plain_loop_makes_them(self, rows, near, drawn):
        z = DIGITS[:300]
        table = (z @ z.T).fill_diagonal_(-2).topk(20, dim=1).indices
        order = neighbour_order(table, rows, near, drawn, seed=3)
        assert is_permutation(order, 300)
        assert order.tolist() == self.by_a_plain_loop(table.tolist(), rows, near, drawn, np.random.default_rng(3))

    @staticmethod
    def by_a_plain_loop(table, rows, near, drawn, random):
        batches, batch = [], []
        for sample in random.permutation(len(table)).tolist():
            if any(sample in b for b in (*batches, batch)):
                continue
            batch.append(sample)
            if len(batch) < rows:
                far = random.permutation(table[sample][near:])[:drawn].tolist() if drawn else []
                for other in table[sample][:near] + far:
                    if len(batch) < rows and not any(other in b for b in (*batches, batch)):
                        batch.append(other)
            if len(batch) == rows:
                batches, batch = [*batches, batch], []
        return [sample for b in (*batches, batch) for sample in b]

    def test_batches_are_more_alike_than_random_ones(self):
        table = (DIGITS @ DIGITS.T).fill_diagonal_(-2).topk(128, dim=1).indices
        assert _inside(neighbour_order(table, 64, 16, 16, 0), 64) > _inside(torch.randperm(1797), 64) + 0.1

    def test_all_others_and_all_random_is_the_random_sampler(self):
        """12 samples in batches of 4: any two meet with probability 3 / 11, whoever is near."""
        table = torch.stack([torch.cat([torch.arange(i), torch.arange(i + 1, 12)]) for i in range(12)])
        met = torch.zeros(12, 12)
        for seed in range(2000):
            for batch in neighbour_order(table, 4, near=0, drawn=11, seed=seed).view(3, 4):
                met[batch[:, None], batch] += 1 / 2000
        off = met[~torch.eye(12, dtype=torch.bool)]
        assert (off - 3 / 11).abs().max() < 5 * math.sqrt(3 / 11 * 8 / 11 / 2000)

    def test_seeded(self):
        table = (DIGITS @ DIGITS.T).topk(9, dim=1).indices[:, 1:]
        one, same, other = (neighbour_order(table, 10, 2, 2, seed) for seed in (1, 1, 2))
        assert torch.equal(one, same)
        assert not torch.equal(one, other)

    def test_empty_places(self):
        assert is_permutation(neighbour_order(torch.tensor([[1, -1], [0, -1], [-1, -1]]), 2, 1, 1, 0), 3)


def _inside(order, size):
    """Mean cosine of two different members of a batch."""
    batch = DIGITS[order[: len(order) // size * size].view(-1, size)]
    return float((batch.sum(1).square().sum(1) - size).mean() / (size * (size - 1)))


class TestCommunities:
    def test_by_hand(self):
        """Two triangles joined by one edge."""
        table = torch.tensor([[1, 2], [0, 2], [0, 1], [2, 4], [3, 5], [3, 4]])
        for seed in range(10):
            found = communities(table, 3, seed).view(2, 3)
            assert sorted(sorted(part) for part in found.tolist()) == [[0, 1, 2], [3, 4, 5]]

    @pytest.mark.parametrize("seed", range(5))
    def test_blobs_stay_apart(self, seed):
        where = torch.randperm(40, generator=generator(seed))
        z = torch.randn(40, 2, generator=generator(seed)) + 50.0 * (where < 20)[:, None]
        table = (-torch.cdist(z, z)).fill_diagonal_(-torch.inf).topk(19, dim=1).indices
        parts = (where < 20)[communities(table, 20, seed)].view(2, 20)
        assert sorted(parts.sum(1).tolist()) == [0, 20]

    @pytest.mark.parametrize("size", [1, 7, 32, 2000])
    def test_every_sample_once(self, size):
        table = (DIGITS @ DIGITS.T).topk(31, dim=1).indices[:, 1:]
        assert is_permutation(communities(table, size, 0), 1797)

    def test_more_alike_than_random_and_false_negatives_without_the_skip(self):
        ranked = (DIGITS @ DIGITS.T).fill_diagonal_(-2).argsort(dim=1, descending=True)
        alike, same = {}, {}
        for skip in (0, 100):
            order = communities(ranked[:, skip : skip + 100], 32, 0)
            alike[skip] = _inside(order, 32)
            label = LABELS[order[:1792].view(-1, 32)]
            same[skip] = float((label[:, :, None] == label[:, None]).float().mean())
        assert alike[100] > _inside(torch.randperm(1797), 32) + 0.2
        assert same[0] > same[100] + 0.1

    def test_without_edges_it_is_an_order(self):
        assert is_permutation(communities(torch.full((9, 2), -1), 4, 0), 9)


def _inertia(cluster, centre):
    return float((DIGITS - centre[cluster]).square().sum())


class TestPlaces:
    def test_great_circles(self):
        places = torch.rand(60, 2, generator=generator(), dtype=torch.float64) * torch.tensor([180, 360])
        places -= torch.tensor([90.0, 180.0])
        found = nearest_places(places, 59)
        for i in range(60):
            arcs = [_haversine(places[i].tolist(), places[j].tolist()) for j in found[i].tolist()]
            assert arcs == sorted(arcs)
            assert i not in found[i]

    def test_metres(self):
        """Places ten metres apart along a street are told apart."""
        street = torch.stack([torch.full((30,), 48.2), 16.37 + torch.arange(30, dtype=torch.float64) * 1.3e-4], dim=1)
        assert nearest_places(street, 1)[1:-1, 0].sub(torch.arange(1, 29)).abs().tolist() == [1] * 28

    def test_plane(self):
        where = torch.randn(40, 3, generator=generator()) + 100
        expected = torch.cdist(where.double(), where.double()).fill_diagonal_(torch.inf).argsort(dim=1)[:, :7]
        assert torch.equal(nearest_places(where, 7, "plane"), expected)

    @pytest.mark.parametrize(
        ("places", "surface", "message"),
        [
            (torch.tensor([[95.0, 0.0]]), "earth", "latitude in"),
            (torch.zeros(3, 3), "earth", "latitude in"),
            (torch.tensor([[float("nan"), 0.0]]), "plane", "finite"),
            (torch.zeros(3, 2), "moon", "surface='moon'"),
        ],
    )
    def test_bad_values(self, places, surface, message):
        with pytest.raises(ValueError, match=message):
            nearest_places(places, 1, surface)


def _haversine(one, two):
    (a, b), (c, d) = ((math.radians(x) for x in place) for place in (one, two))
    h = math.sin((c - a) / 2) ** 2 + math.cos(a) * math.cos(c) * math.sin((d - b) / 2) ** 2
    return 2 * math.asin(math.sqrt(min(1.0, h)))
