"""Rows of other ranks: real gloo processes."""

import pytest
import torch
from torch import Tensor

from lightning_contrast.contrast import Candidates, Contrast, evaluate, ready
from lightning_contrast.contrast.exchange import all_sum, gather_rows
from lightning_contrast.objectives import InfoNCE
from tests.contrast.scenes import vectors
from tests.ranks import run_ranks

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.bool, torch.uint8]


def gathered(rank: int, world: int, dtype: torch.dtype, sizes: tuple[int, ...]) -> Tensor:
    every = (torch.arange(2 * sum(sizes)) % 2 + torch.arange(2 * sum(sizes)) // 3).view(-1, 2).to(dtype)
    start = sum(sizes[:rank])
    assert torch.equal(gather_rows(every[start : start + sizes[rank]]), every)
    return every


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("sizes", [(2, 2), (1, 3), (0, 2), (2, 0, 1)])
def test_rows_arrive_in_order(dtype: torch.dtype, sizes: tuple[int, ...]) -> None:
    run_ranks(len(sizes), gathered, dtype, sizes)


def gradient(rank: int, world: int) -> tuple[Tensor, Tensor]:
    value = torch.ones(rank + 1, 2, requires_grad=True)
    every = gather_rows(value)
    (every * torch.arange(1.0, 1 + len(every))[:, None] * (rank + 1)).sum().backward()
    return value.grad, all_sum(torch.tensor(rank + 1))  # type: ignore[return-value]


def test_gradients_are_summed_over_ranks() -> None:
    (one, total), (two, _) = run_ranks(2, gradient)
    assert one.tolist() == [[3, 3]]  # row 1, factors 1 + 2
    assert two.tolist() == [[6, 6], [9, 9]]
    assert total.item() == 3


def same_items(rank: int, world: int) -> list[list[bool]]:
    """The same sample on both ranks and in a queue; labels decide nothing here."""
    index = torch.tensor([[5, 6], [6, 7]])[rank]
    queue = Candidates(vectors(2, seed=3), {"index": torch.tensor([7, -1])}, name="queue", where="replicated")
    contrast = Contrast.from_pairs(vectors(2, seed=rank), vectors(2, seed=9), index=index).append(queue)
    return contrast.scores().exists.tolist()


def test_the_same_item_on_another_rank_is_no_negative() -> None:
    one, two = run_ranks(2, same_items)
    assert one == [[True, True, True, True, True, True], [True, True, False, True, True, True]]
    assert two == [[True, False, True, True, True, True], [True, True, True, True, False, True]]


def payload_order(rank: int, world: int) -> list[list[float]]:
    """Payload given in another order on each rank."""
    known = {"first": torch.tensor([1.0 + rank]), "second": torch.tensor([10.0 + rank])}
    keys = sorted(known, reverse=bool(rank))
    contrast = Contrast.from_pairs(vectors(1, seed=0), vectors(1, seed=1), **{k: known[k] for k in keys})
    block = ready(contrast).candidates[0]
    return [block.get("first").tolist(), block.get("second").tolist()]


def test_the_order_of_payload_does_not_matter() -> None:
    assert run_ranks(2, payload_order) == [[[1.0, 2.0], [10.0, 11.0]]] * 2


def disagree(rank: int, world: int, kind: str, exchange: str) -> str:
    contrast = Contrast.from_pairs(vectors(2, seed=0), vectors(2, seed=1)).replace(exchange=exchange)  # type: ignore[arg-type]
    if rank:
        block = Candidates(vectors(2, seed=3), name="more")
        contrast = {
            "payload": lambda: contrast.attach("positive", label=torch.arange(2)),
            "block": lambda: contrast.append(block),
            "dtype": lambda: Contrast.from_pairs(vectors(2, seed=0).float(), vectors(2, seed=1).float()),
        }[kind]()
    try:
        InfoNCE()(contrast)
    except RuntimeError as error:
        return str(error)
    return "nothing"


@pytest.mark.parametrize("exchange", ["gather", "ring"])
@pytest.mark.parametrize("kind", ["payload", "block", "dtype"])
def test_ranks_that_disagree_are_told_and_do_not_hang(kind: str, exchange: str) -> None:
    assert all("must be the same on all ranks" in said for said in run_ranks(2, disagree, kind, exchange))


def bad_row(rank: int, world: int, exchange: str, reduction: str, bad: tuple[int, ...]) -> str:
    z = vectors(3, seed=rank)
    z[1, 0] = torch.nan if rank in bad else 0.0
    contrast = Contrast.from_pairs(z, vectors(3, seed=5)).replace(exchange=exchange)  # type: ignore[arg-type]
    try:
        evaluate(
            contrast,
            lambda s: s.logsumexp() if reduction == "rows" else s.logsumexp().mean(),
            reduction=reduction,  # type: ignore[arg-type]
        )
    except ValueError as error:
        return str(error)
    return "nothing"


@pytest.mark.parametrize(("exchange", "reduction"), [("gather", "rows"), ("ring", "rows"), ("gather", "batch")])
def test_embeddings_that_are_not_finite_on_one_rank_end_all(exchange: str, reduction: str) -> None:
    one, two = run_ranks(2, bad_row, exchange, reduction, (1,))
    assert "embeddings of ranks [1] are not finite" in one
    assert "(1 of 3 rows)" in two
    assert all("(1 of 3 rows)" in said for said in run_ranks(2, bad_row, exchange, reduction, (0, 1)))
    assert run_ranks(2, bad_row, exchange, reduction, ()) == ["nothing", "nothing"]


def one_trains(rank: int, world: int, exchange: str) -> Tensor:
    """Rank 1 has no encoder output that trains (an empty share, a frozen tower)."""
    z = vectors(3 if rank == 0 else 0, seed=0).requires_grad_(rank == 0)
    loss = InfoNCE()(Contrast.from_pairs(z, z.flip(1)).replace(exchange=exchange))  # type: ignore[arg-type]
    loss.backward()
    return z.grad if rank == 0 else z


@pytest.mark.parametrize("exchange", ["gather", "ring"])
def test_a_rank_that_trains_nothing_does_not_hang_the_others(exchange: str) -> None:
    z = vectors(3, seed=0).requires_grad_()
    InfoNCE()(Contrast.from_pairs(z, z.flip(1))).backward()
    torch.testing.assert_close(run_ranks(2, one_trains, exchange)[0] / 2, z.grad)


def whole_batch(rank: int, world: int, sizes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """An objective over all anchors at once, with groups that own candidates."""
    start = sum(sizes[:rank])
    cut = slice(start, start + sizes[rank])
    a, own = vectors(8, seed=0)[cut].requires_grad_(), vectors(4, 2, seed=2)[cut.start // 2 : cut.stop // 2]
    contrast = Contrast.from_pairs(a, vectors(8, seed=1)[cut]).replace(temperature=0.5)
    contrast = contrast.append(Candidates(own, name="own", where="private"))
    loss = evaluate(contrast, lambda s: s.logsumexp().square().mean().sqrt(), reduction="batch").loss
    loss.backward()
    return loss.detach(), a.grad  # type: ignore[return-value]


@pytest.mark.parametrize("sizes", [(4, 4), (2, 6), (2, 4, 2)])
def test_all_anchors_at_once(sizes: tuple[int, ...]) -> None:
    loss, grad = whole_batch(0, 1, (8,))
    shares = run_ranks(len(sizes), whole_batch, sizes)
    for value, _ in shares:
        torch.testing.assert_close(value, loss)
    torch.testing.assert_close(torch.cat([g for _, g in shares]) / len(sizes), grad)


def uneven_groups(rank: int, world: int) -> str:
    own = Candidates(vectors(2, 1, seed=2), name="own", where="private")
    n = 2 if rank else 4
    contrast = Contrast.from_pairs(vectors(n, seed=0), vectors(n, seed=1)).append(own)
    try:
        evaluate(contrast, lambda s: s.logsumexp().mean(), reduction="batch")
    except ValueError as error:
        return str(error)
    return "nothing"


def test_groups_of_different_sizes_cannot_be_gathered() -> None:
    assert all("groups of one size" in said for said in run_ranks(2, uneven_groups))


def apart(rank: int, world: int) -> bool:
    z = vectors(3, seed=rank)
    mine = InfoNCE()(Contrast.from_pairs(z, z.flip(1)).replace(exchange="none"))
    unit = torch.nn.functional.normalize(z, dim=1)
    return torch.allclose(mine, torch.nn.functional.cross_entropy(unit @ unit.flip(1).T / 0.1, torch.arange(3)))


def test_exchange_none_stays_at_home() -> None:
    assert run_ranks(2, apart) == [True, True]
