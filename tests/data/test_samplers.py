import pickle

import pytest
import torch

from lightning_contrast.data import (
    BindingBatchSampler,
    CommunityBatchSampler,
    DistinctBatchSampler,
    LengthBatchSampler,
    NeighbourBatchSampler,
    OneSourceBatchSampler,
    PseudoLabelBatchSampler,
    samplers,
)
from lightning_contrast.data.loader import ResumableLoader, make_resumable
from lightning_contrast.data.m_per_class import MPerClassBatchSampler
from lightning_contrast.data.samplers import BatchKeys, ShuffledBatchSampler

LABELS = torch.tensor([0] * 5 + [1] * 20 + [2] * 7 + [3] * 9 + [7] * 3)


Z = torch.randn(44, 3, generator=torch.Generator().manual_seed(0))


def mined(make):
    """With a table, as the callback would give it."""
    sampler = make()
    sampler.table = sampler.mine(Z, Z, 0)
    return sampler


ALL = {
    "shuffled": lambda rows=4: ShuffledBatchSampler(44, rows),
    "m per class": lambda rows=4: MPerClassBatchSampler(torch.arange(44) % 9, rows, m=2),
    "neighbours": lambda rows=4: mined(lambda: NeighbourBatchSampler(44, rows, 20, 8)),
    "communities": lambda rows=4: mined(lambda: CommunityBatchSampler(44, rows, 4, skip=2, window=6)),
    "pseudo-labels": lambda rows=4: mined(lambda: PseudoLabelBatchSampler(44, rows, 12)),
    "distinct": lambda rows=4: DistinctBatchSampler(torch.arange(44) // 3, rows),
    "length": lambda rows=4: LengthBatchSampler(torch.arange(44) * 7 % 11, rows, stretch=2),
    "one source": lambda rows=4: OneSourceBatchSampler([0] * 24 + [1] * 12 + [3] * 12, rows),
    "in turn": lambda rows=4: OneSourceBatchSampler([0] * 24 + [1] * 24, rows, "round_robin"),
    "binding": lambda rows=6: BindingBatchSampler(LABELS, rows),
}


def one_epoch(sampler, epoch, rank, world, monkeypatch):
    for module in (samplers,):
        monkeypatch.setattr(module, "rank_and_world", lambda: (rank, world))
    sampler.set_epoch(epoch)
    return [list(batch) for batch in sampler], len(sampler)


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("size", [1, 7, 8, 23, 24, 25, 26])
@pytest.mark.parametrize("world", [1, 2, 3])
def test_ranks_share_the_global_batches(size, world, drop_last, monkeypatch):
    whole, _ = one_epoch(ShuffledBatchSampler(size, 4 * world, drop_last=drop_last), 2, 0, 1, monkeypatch)
    parts = []
    for rank in range(world):
        batches, length = one_epoch(ShuffledBatchSampler(size, 4, drop_last=drop_last), 2, rank, world, monkeypatch)
        assert len(batches) == length
        assert all(batches)  # no rank without rows
        parts.append(batches)
    assert len({len(batches) for batches in parts}) == 1
    for number in range(len(parts[0])):
        assert sorted([i for batches in parts for i in batches[number]]) == sorted(whole[number])
    seen = [i for batches in parts for batch in batches for i in batch]
    assert len(seen) == len(set(seen))
    rest = size % (4 * world)
    left_out = rest if drop_last or rest < world else 0
    assert len(seen) == size - left_out


def test_order_by_seed_and_epoch(monkeypatch):
    orders = {
        (seed, epoch): one_epoch(ShuffledBatchSampler(50, 10, seed=seed), epoch, 0, 1, monkeypatch)[0]
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len({str(order) for order in orders.values()}) == 4
    torch.manual_seed(5)
    assert orders[1, 1] == one_epoch(ShuffledBatchSampler(50, 10, seed=1), 1, 0, 1, monkeypatch)[0]
    unshuffled = list(ShuffledBatchSampler(5, 2, shuffle=False))
    assert unshuffled == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize("world", [1, 2])
def test_m_per_class(world, monkeypatch):
    rows = []
    for rank in range(world):
        sampler = MPerClassBatchSampler(LABELS, 6, m=3, batches=10)
        batches, length = one_epoch(sampler, 1, rank, world, monkeypatch)
        assert len(batches) == length == 10
        rows.append(batches)
        for batch in batches:
            labels = LABELS[batch]
            assert labels.view(2, 3).unique_consecutive(dim=1).shape[1] == 1  # each rank has whole classes
    for number in range(10):
        together = [i for batches in rows for i in batches[number]]
        assert len(set(together)) == 6 * world
        assert len(set(LABELS[together].tolist())) == 2 * world
    used = torch.bincount(LABELS[[i for b in rows for batch in b for i in batch]], minlength=8)
    assert used.max() - used[used > 0].min() <= 3  # classes equally often, whatever their size


def test_m_per_class_uses_up_a_class_before_repeating():
    labels = torch.tensor([0] * 6 + [1] * 6)
    batches = list(MPerClassBatchSampler(labels, 4, m=2, batches=3))
    assert sorted(i for batch in batches for i in batch) == list(range(12))


def test_m_per_class_default_length():
    assert len(MPerClassBatchSampler(LABELS, 6, m=2)) == 44 // 6
    assert len(MPerClassBatchSampler(LABELS[:25], 4, m=2)) == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"m": 1}, "at least 2, got 1"),
        ({"batch_size": 5, "m": 2}, "multiple of m=2, got 5"),
        ({"batch_size": 20, "m": 2}, "needs 10 classes, but there are 5"),
        ({"batch_size": 8, "m": 4}, r"classes \[7\] have fewer"),
        ({"batches": 0}, "at least 1"),
    ],
)
def test_m_per_class_bad_values(arguments, message):
    with pytest.raises(ValueError, match=message):
        MPerClassBatchSampler(LABELS, **{"batch_size": 4, **arguments})


def test_bad_sizes():
    with pytest.raises(ValueError, match="got 0"):
        ShuffledBatchSampler(0, 4)
    with pytest.raises(ValueError, match="got 0"):
        ShuffledBatchSampler(4, 0)


def test_batch_keys_survive_pickling():
    keys = pickle.loads(pickle.dumps(BatchKeys([3, 4], epoch=2, number=7)))
    assert (keys, keys.epoch, keys.number) == ([3, 4], 2, 7)


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
@pytest.mark.parametrize("stop", [0, 1, 3, 5])
def test_the_loader_continues_where_it_was(make, stop):
    def loader():
        return ResumableLoader(range(50), make())

    whole = loader()
    epochs = [[batch.tolist() for batch in whole] for _ in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]  # a new order without anyone saying so
    first = loader()
    list(first)
    iterator = iter(first)
    seen = [next(iterator).tolist() for _ in range(stop)]
    assert seen == epochs[1][:stop]
    if stop:
        second = loader()
        second.load_state_dict(first.state_dict())
        assert [batch.tolist() for batch in second] == epochs[1][stop:]
        assert [batch.tolist() for batch in second] == epochs[2]


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
@pytest.mark.parametrize("world", [2, 3])
def test_all_samplers_share_the_batches_of_one_process(make, world, monkeypatch):
    """Of equal global batches; each process has its own part of every one, and equally many of them."""
    for epoch in (0, 2):
        whole, length = one_epoch(make(12), epoch, 0, 1, monkeypatch)
        assert len(whole) == length > 0
        parts = [one_epoch(make(12 // world), epoch, rank, world, monkeypatch) for rank in range(world)]
        assert all(len(batches) == known == length for batches, known in parts)
        for number, batch in enumerate(whole):
            shares = [batches[number] for batches, _ in parts]
            assert all(shares)
            assert sorted(i for share in shares for i in share) == sorted(batch)


def test_batches_of_similar_length():
    lengths = torch.arange(100) * 37 % 100
    sampler = LengthBatchSampler(lengths, 8, stretch=6)
    sampler.set_epoch(3)
    batches = list(sampler)
    assert sorted(i for batch in batches for i in batch) == list(range(100))
    assert [len(batch) for batch in batches] == [8] * 12 + [4]
    spread = [int(lengths[b].max() - lengths[b].min()) for b in batches[:-1]]
    assert sum(spread) / 12 < 25  # by chance it is about 78
    longest = [int(lengths[b].max()) for b in batches]
    assert longest not in (sorted(longest), sorted(longest, reverse=True))
    sampler.set_epoch(4)
    assert list(sampler) != batches
    with pytest.raises(ValueError, match="at least 1 batch"):
        LengthBatchSampler(lengths, 8, stretch=0)


def test_a_place_is_forgotten_in_another_epoch():
    loader = ResumableLoader(range(22), ShuffledBatchSampler(22, 4))
    loader.load_state_dict({"seed": 0, "epoch": 3, "cycle": 0, "batches": 2, "world": 1})
    loader.set_epoch(3)
    assert len(list(loader)) == 4
    loader.load_state_dict({"seed": 0, "epoch": 3, "cycle": 0, "batches": 2, "world": 1})
    loader.set_epoch(4)
    assert len(list(loader)) == 6


def test_another_number_of_processes():
    loader = ResumableLoader(range(24), ShuffledBatchSampler(24, 4))
    loader.load_state_dict({"seed": 0, "epoch": 0, "cycle": 0, "batches": 2, "world": 2})
    assert len(list(loader)) == 2
    sampler = ShuffledBatchSampler(24, 4)
    loader = ResumableLoader(range(24), sampler)
    loader.load_state_dict({"seed": 0, "epoch": 0, "cycle": 0, "batches": 2, "world": 2, "batch_size": 2})
    assert len(list(loader)) == 4, "the same global batches, as many of them"
    loader.load_state_dict({"seed": 0, "epoch": 0, "cycle": 0, "batches": 1, "world": 2, "batch_size": 4})
    assert len(list(loader)) == 4, "after the same samples"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lightning_contrast.data.loader.rank_and_world", lambda: (0, 2))
        with pytest.raises(ValueError, match="3 batches on 1 processes"):
            loader.load_state_dict({"seed": 0, "epoch": 0, "cycle": 0, "batches": 3, "world": 1})


def test_mined_batches_of_another_size_are_composed_anew_and_it_is_said():
    loader = ResumableLoader(range(44), ALL["neighbours"](4))
    with pytest.warns(UserWarning, match="4 rows now, and had 8"):
        loader.load_state_dict({"seed": 0, "epoch": 0, "cycle": 0, "batches": 2, "world": 2, "batch_size": 4})
    assert len(list(loader)) == 11 - 4
    loader.load_state_dict({"seed": 0, "epoch": 0, "cycle": 0, "batches": 2, "world": 2, "batch_size": 2})
    assert len(list(loader)) == 11 - 2


def test_make_resumable_leaves_alone_what_it_cannot_serve():
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(range(3))

    class Own(torch.utils.data.DataLoader):
        def __iter__(self):
            return iter([1])

    resumable = ResumableLoader(range(4), ShuffledBatchSampler(4, 2))
    for loader in (
        torch.utils.data.DataLoader(Stream()), Own(range(3)), [1, 2], resumable,
        torch.utils.data.DataLoader(range(3), batch_size=None),
    ):  # fmt: skip
        assert make_resumable(loader) is loader


def test_make_resumable_keeps_options_and_the_global_generator():
    plain = torch.utils.data.DataLoader(range(10), batch_size=3, shuffle=True, drop_last=True)
    loader = make_resumable(plain, seed=1)
    assert len(loader) == 3
    before = torch.get_rng_state()
    first, second = ([batch.tolist() for batch in loader] for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    assert first != second
    assert [batch.tolist() for batch in make_resumable(plain, seed=1)] == first


def test_wrong_sampler_is_refused():
    with pytest.raises(TypeError, match=r"EpochBatchSampler.*make_resumable"):
        ResumableLoader(range(3), [[0], [1]])
