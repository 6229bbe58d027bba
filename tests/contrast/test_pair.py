"""What a pair function sees, and what it may return."""

import pytest
import torch
from torch import Tensor, nn

from lightning_contrast.contrast import Candidates, Contrast, Pair, Scores, Similarity, ready
from lightning_contrast.objectives import InfoNCE
from tests.contrast.scenes import vectors


def contrast() -> Contrast:
    """Four anchors; a block for all, one an anchor, one for each two anchors."""
    c = Contrast.from_pairs(
        vectors(4, seed=0), vectors(4, seed=1), code=torch.tensor([3, 1, 3, -1]),
        teacher=vectors(4, seed=5), table=torch.arange(12.0).view(4, 3), column=torch.tensor([0, 2, -1, 1]),
    )  # fmt: skip
    for name, groups in (("own", 4), ("shared", 2)):
        ids = {
            "code": torch.arange(groups * 3).view(groups, 3) % 4,
            "teacher": vectors(groups, 3, seed=6),
            "column": torch.arange(groups * 3).view(groups, 3) % 3,
        }
        c = c.append(Candidates(vectors(groups, 3, seed=groups), ids, name=name, where="private"))
    return c.replace(temperature=1.0)


def block_of(i: int, block: str, key: str) -> list[Tensor]:
    """Anchor ``i``'s candidates, one by one."""
    (found,) = [b for b in contrast().candidates if b.name == block]
    value = found.z if key == "z" else found.get(key)
    assert isinstance(value, Tensor)
    return list({"positive": value, "own": value[min(i, len(value) - 1)], "shared": value[i // 2]}[block])


@pytest.mark.parametrize("block", ["positive", "own", "shared"])
def test_every_reading_is_its_loop(block: str) -> None:
    whole = ready(contrast())
    pair = next(p for p in Scores(whole)._pairs if p.block == block)
    a = contrast().anchors
    for i in range(4):
        codes, teachers, columns = (block_of(i, block, k) for k in ("code", "teacher", "column"))
        for j, z in enumerate(block_of(i, block, "z")):
            cosine = torch.nn.functional.cosine_similarity(a.first[i], z, dim=0)
            torch.testing.assert_close(pair.similarity[i, j], cosine)
            mine = a.get("code")[i]
            assert pair.same("code")[i, j] == (mine == codes[j] and mine >= 0)
            torch.testing.assert_close(pair.dot("teacher")[i, j], a.get("teacher")[i] @ teachers[j])
            expected = a.get("table")[i, columns[j]] if columns[j] >= 0 else torch.tensor(0.0)
            assert pair.lookup("table")[i, j] == expected


@pytest.mark.parametrize("temperature", [lambda p: p.anchor.tau * p.candidate.tau, "tau", "0-d"])
def test_temperatures(temperature: object) -> None:
    tau = torch.tensor([0.5, 1.0, 2.0])
    c = Contrast.from_pairs(vectors(3, seed=0), vectors(3, seed=1), tau=tau)
    s = c.scores().similarity
    divisor = {"tau": tau[:, None], "0-d": torch.tensor(0.5)}.get(temperature, tau[:, None] * tau)  # type: ignore[call-overload]
    c = c.replace(temperature=torch.tensor(0.5) if temperature == "0-d" else temperature)
    torch.testing.assert_close(c.scores().logit, s / divisor)
    torch.testing.assert_close(c.replace(temperature=tau).scores().logit, s / tau[:, None])


def plain() -> Contrast:
    return Contrast.from_pairs(vectors(3, seed=0), vectors(3, seed=1), label=torch.arange(3))


@pytest.mark.parametrize("path", ["dense", "tiles"])
@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: plain().exclude(lambda p: torch.ones(2, 3, dtype=torch.bool)), r"<lambda> returned shape \[2, 3\]"),
        (lambda: plain().exclude(lambda p: torch.ones(3, dtype=torch.bool)), r"returned shape \[3\]"),
        (lambda: plain().exclude(lambda p: p.similarity), "must return bool"),
        (lambda: plain().shift(lambda p: 0.5), "must return a tensor"),
        (lambda: plain().retarget(lambda p: torch.ones(3, 3, 1)), r"returned shape \[3, 3, 1\]"),
        (lambda: plain().retarget(lambda p: p.same("label").float() - 0.5), "must be >= 0"),
        (lambda: plain().exclude(lambda p: p.same("time")), "no payload 'time'"),
        (lambda: plain().replace(temperature=lambda p: torch.ones(2, 3)), r"returned shape \[2, 3\]"),
    ],
)
def test_wrong_returns(make: object, says: str, path: str) -> None:
    objective = InfoNCE()
    objective.path = path  # type: ignore[assignment]
    with pytest.raises((ValueError, TypeError, KeyError), match=says):
        objective(make())  # type: ignore[operator]


def test_a_missing_payload_names_block_key_and_remedy() -> None:
    queue = Candidates(vectors(2, seed=3), name="queue", where="replicated")
    with pytest.raises(KeyError, match=r"'queue' has no payload 'label'.*contrast.attach\('queue', label=...\).*on="):
        InfoNCE()(plain().append(queue).exclude(lambda p: p.same("label")))


def test_payload_functions_never_multiply() -> None:
    class Explodes(Similarity):
        def tile(self, a, b):  # type: ignore[no-untyped-def]
            raise AssertionError("multiplied")

    scores = plain().replace(similarity=Explodes()).exclude(lambda p: p.same("label")).scores()
    assert scores.count().tolist() == [2, 2, 2]


class BestMatch(Similarity):
    """``sum over the anchor's tokens of the best candidate token``; the second tensor is the mask."""

    def tile(self, a, b):  # type: ignore[no-untyped-def]
        (x, xm), (y, ym) = a, b
        y, ym = (y[None], ym[None]) if y.dim() == 3 else (y, ym)
        s = torch.einsum("npd,nmqd->nmpq" if y.shape[0] == x.shape[0] else "npd,omqd->nmpq", x, y)
        return (s.masked_fill(~ym[:, :, None, :].bool(), -1e9).amax(-1) * xm[:, None]).sum(-1)


@pytest.mark.parametrize("where", ["batch", "private"])
def test_tuple_embeddings(where: str) -> None:
    def tokens(*shape: int, seed: int) -> tuple[Tensor, Tensor]:
        return vectors(*shape, 5, seed=seed), (torch.arange(5) < 3).double().expand(*shape, 5).contiguous()

    one, two = tokens(4, seed=0), tokens(4, seed=1)
    c = Contrast.from_pairs(one, two).replace(similarity=BestMatch(), temperature=1.0)
    if where == "private":
        c = c.append(Candidates(tokens(2, 3, seed=2), name="own", where="private"))
    logit = c.scores().logit
    for i in range(4):
        others = [*two[0], *(tokens(2, 3, seed=2)[0][i // 2] if where == "private" else ())]
        for j, other in enumerate(others):
            expected = sum((one[0][i, p] @ other[:3].T).max() for p in range(3))
            torch.testing.assert_close(logit[i, j], expected)


def test_tuples_need_a_similarity_made_for_them() -> None:
    one = (vectors(2, 3, seed=0), torch.ones(2, 3))
    with pytest.raises(TypeError, match="MaxSim"):
        Contrast.from_pairs(one, one).scores().logit


class Net(nn.Module):
    """A trained pair function."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.7, dtype=torch.float64))

    def forward(self, pair: Pair) -> Tensor:
        return self.scale * pair.similarity

    def method(self, pair: Pair) -> Tensor:
        return self(pair)


@pytest.mark.parametrize("way", ["module", "method", "params", "payload"])
@pytest.mark.parametrize("path", ["dense", "tiles"])
def test_trained_functions(way: str, path: str) -> None:
    net = Net()
    objective = InfoNCE()
    objective.path = path  # type: ignore[assignment]
    c = plain()
    if way == "payload":
        c = c.attach("anchor", scale=net.scale.expand(3)).add_log_weight(lambda p: p.anchor.scale * p.similarity)
    elif way == "params":
        doubled = net.scale * 1.0  # not a leaf
        c = c.add_log_weight(lambda p: doubled * p.similarity).replace(params=(doubled,))
    else:
        c = c.add_log_weight(net if way == "module" else net.method)
    objective(c).backward()
    s = plain().scores().similarity
    scale = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    expected = (torch.logsumexp(s / 0.1 + scale * s, 1) - s.diagonal() / 0.1).mean()
    torch.testing.assert_close(net.scale.grad, torch.autograd.grad(expected, scale)[0])


@pytest.mark.parametrize("path", ["dense", "tiles"])
@pytest.mark.parametrize("trained", [True, False])
def test_captured_tensors_are_refused(path: str, trained: bool) -> None:
    hidden = torch.ones((), dtype=torch.float64, requires_grad=True)
    objective = InfoNCE()
    objective.path = path  # type: ignore[assignment]
    z = vectors(3, seed=0).requires_grad_(trained)
    c = Contrast.from_pairs(z, z.flip(1)).shift(lambda p: hidden * p.similarity)
    with pytest.raises(ValueError, match="does not know"):
        objective(c)
