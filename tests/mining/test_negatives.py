"""Mining beside a plain double loop: every rule, every order, every edge."""

import itertools

import pytest
import torch
from torch.nn import functional as F

from lightning_contrast.mining import ApproximateSearch, Items, Rules, mine, mined_figures, search_over
from lightning_contrast.mining.search import TiledSearch
from tests.modules.test_contrastive import LABELS, PICTURES


def scene(n=40, d=6):
    torch.manual_seed(0)
    z = F.normalize(torch.randn(n, d), dim=1)
    key = F.normalize(z + 0.3 * torch.randn(n, d), dim=1)
    ids = torch.randperm(n)
    label = torch.arange(n) % 4 - 1  # -1 matches nobody
    group = torch.arange(n) // 3
    return Items(z, ids, label, group), Items(key, ids, label, group), (z * key).sum(1)


def by_hand(queries, corpus, positive, rules, score=None):
    """One query and one candidate after another."""
    s = queries.z @ corpus.z.T
    read = s if score is None else score
    table, counts = [], []
    for i in range(len(s)):
        count = dict.fromkeys(rules.names, 0)
        order = [j for j in s[i].argsort(descending=True).tolist() if corpus.ids[j] != queries.ids[i]]
        for name, mine_, theirs in (
            ("same_key", queries.key, corpus.key),
            ("same_label", queries.label, corpus.label),
        ):
            if name in count:
                count[name] = sum(int(mine_[i] >= 0 and mine_[i] == theirs[j]) for j in order)
        for name, mine_, theirs in (
            ("same_key", queries.key, corpus.key),
            ("same_label", queries.label, corpus.label),
        ):
            if name in count:
                order = [j for j in order if mine_[i] < 0 or mine_[i] != theirs[j]]
        order = order[: rules.depth]
        p = positive[i].item()
        for name in rules.names[sum(n in rules.names for n in ("same_key", "same_label")) :]:
            before = list(order)
            if name == "range_min":
                order = order[rules.range_min :]
            elif name == "quantile":
                gone = sorted(order, key=lambda j: -read[i, j])[: int(len(order) * rules.quantile)]
                order = [j for j in order if j not in gone]
            else:
                allowed = {
                    "absolute_margin": lambda v, p=p: v <= p - rules.absolute_margin,
                    "relative_margin": lambda v, p=p: v <= p - abs(p) * rules.relative_margin,
                    "max_score": lambda v: v <= rules.max_score,
                    "min_score": lambda v: v >= rules.min_score,
                }[name]
                order = [j for j in order if allowed(read[i, j].item())]
            count[name] = len(before) - len(order)
        chosen = order[: rules.num_negatives]
        table.append(chosen + [-1] * (rules.num_negatives - len(chosen)))
        counts.append([count[name] for name in rules.names])
    return table, counts


CASES = {
    "nothing": {},
    "labels": {"same_label": True},
    "ids": {"same_key": "group"},
    "ids and labels": {"same_key": "group", "same_label": True},
    "absolute": {"absolute_margin": 0.2},
    "relative": {"relative_margin": 0.4},
    "scores": {"max_score": 0.5, "min_score": 0.1},
    "skip": {"range_min": 3},
    "skip after": {"range_min": 2, "max_score": 0.4},
    "skip before": {"range_min": 2, "max_score": 0.4, "order": ["range_min"]},
    "quantile": {"quantile": 0.3},
    "quantile last": {"quantile": 0.3, "range_min": 2, "order": ["range_min", "min_score"], "min_score": 0.0},
    "everything": {
        "same_key": "group", "same_label": True, "absolute_margin": 0.05, "relative_margin": 0.1, "max_score": 0.7,
        "min_score": -0.2, "quantile": 0.1, "range_min": 1,
    },
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("block", [7, 4096])
def test_beside_a_double_loop(case, block, monkeypatch):
    monkeypatch.setattr("lightning_contrast.mining.negatives.QUERY_BLOCK", block)
    queries, corpus, positive = scene()
    rules = Rules(3, range_max=12, **CASES[case])
    found = mine(queries, corpus, positive, rules)
    table, counts = by_hand(queries, corpus, positive, rules)
    assert found.rows.tolist() == table
    assert found.removed.tolist() == counts
    taken = (queries.z @ corpus.z.T).gather(1, found.rows.clamp(min=0))
    torch.testing.assert_close(found.scores, taken.masked_fill(found.rows < 0, -torch.inf))


def test_in_every_order_given():
    queries, corpus, positive = scene()
    every = {"absolute_margin": 0.1, "max_score": 0.6, "min_score": -0.1, "quantile": 0.3, "range_min": 2}
    results = set()
    for order in itertools.permutations(("max_score", "quantile", "range_min", "absolute_margin")):
        rules = Rules(3, range_max=12, **every, order=order)
        assert rules.names[:4] == order
        assert rules.names[4:] == ("min_score",)
        found = mine(queries, corpus, positive, rules)
        table, counts = by_hand(queries, corpus, positive, rules)
        assert (found.rows.tolist(), found.removed.tolist()) == (table, counts)
        results.add(str(table))
    assert len(results) > 1, "the order matters"


def test_the_teacher_scores():
    queries, corpus, _ = scene()
    torch.manual_seed(5)
    teacher = [F.normalize(torch.randn(40, 9), dim=1) for _ in range(2)]
    queries, corpus = queries._replace(teacher=teacher[0]), corpus._replace(teacher=teacher[1])
    score = teacher[0] @ teacher[1].T
    positive = score.diagonal()
    rules = Rules(3, range_max=12, relative_margin=0.1, quantile=0.2)
    found = mine(queries, corpus, positive, rules)
    assert found.rows.tolist() == by_hand(queries, corpus, positive, rules, score)[0]
    ok = found.rows >= 0
    torch.testing.assert_close(found.scores[ok], score.gather(1, found.rows.clamp(min=0))[ok])


def test_draws_are_seeded_and_from_what_is_left():
    queries, corpus, positive = scene()

    def draw(seed, step):
        rules = Rules(3, 2, 12, sampling_strategy="random", seed=seed)
        return mine(queries, corpus, positive, rules, step=step).rows

    whole = mine(queries, corpus, positive, Rules(10, 2, 12)).rows
    assert torch.equal(draw(0, 5), draw(0, 5))
    assert not torch.equal(draw(0, 5), draw(0, 6))
    assert not torch.equal(draw(0, 5), draw(1, 5))
    place = (draw(0, 5)[:, :, None] == whole[:, None]).int().argmax(2)
    assert (draw(0, 5)[:, :, None] == whole[:, None]).any(2).all()
    assert (place.diff(dim=1) > 0).all(), "from the hardest to the easiest, each once"
    counts = torch.stack([draw(seed, 0) for seed in range(200)])[..., None] == whole[0]
    share = counts[:, 0].any(1).float().mean(0)
    assert ((share - 0.3).abs() < 0.12).all(), "every place as often as any other"


@pytest.mark.parametrize("temperature", [0.05, 0.3])
def test_draws_by_the_softmax_of_similarities(temperature):
    """cornstack: one after another, without putting back."""
    queries, corpus, positive = scene()
    top = mine(queries, corpus, positive, Rules(6, range_max=6))
    rules = [
        Rules(2, range_max=6, sampling_strategy="softmax", sampling_temperature=temperature, seed=n) for n in range(600)
    ]
    rows = torch.stack([mine(queries, corpus, positive, rule).rows for rule in rules])
    share = (rows[..., None] == top.rows[:, None]).any(2).double().mean(0)
    p = torch.softmax(top.scores.double() / temperature, 1)
    second = torch.stack([sum(p[:, i] * p[:, j] / (1 - p[:, i]) for i in range(6) if i != j) for j in range(6)], 1)
    expected = p + second
    assert ((share - expected).abs() < 5 * (expected * (1 - expected) / 600).sqrt() + 1e-3).all()
    if temperature == 0.05:
        assert (expected.amax(1) - expected.amin(1)).mean() > 0.3, "the draws are far from even"


def test_drawn_from_few():
    queries, corpus, positive = scene()
    rules = Rules(3, range_max=12, max_score=0.3, sampling_strategy="random")
    top = mine(queries, corpus, positive, Rules(12, range_max=12, max_score=0.3)).rows
    found = mine(queries, corpus, positive, rules).rows
    few = (top >= 0).sum(1) <= 3
    assert few.any()
    assert torch.equal(found[few], top[few, :3])


def test_a_query_of_which_nobody_is_left_has_nobody():
    queries, corpus, positive = scene()
    found = mine(queries, corpus, positive, Rules(3, max_score=-2.0))
    assert (found.rows == -1).all()
    assert (found.scores == -torch.inf).all()
    figures = mined_figures(found.rows, found.removed, ("max_score",))
    assert figures == {"missing": 1.0, "empty": 1.0, "churn": 1.0, "removed/max_score": 30.0}
    some = mine(queries, corpus, positive, Rules(3, range_max=3, max_score=0.7))
    figures = mined_figures(some.rows, some.removed, ("max_score",))
    assert 0 < figures["empty"] <= figures["missing"] < 1
    assert figures["empty"] == pytest.approx(sum(set(row) == {-1} for row in some.rows.tolist()) / 40)


def test_figures_by_hand():
    rows = torch.tensor([[1, 2], [0, -1], [0, 1]])
    before = torch.tensor([[2, 0], [0, 1], [-1, -1]])
    label = torch.tensor([0, 0, -1])
    figures = mined_figures(rows, torch.tensor([[1, 0], [2, 0], [3, 3]]), ("max_score", "range_min"), label, before)
    assert figures["missing"] == pytest.approx(1 / 6)
    assert figures["empty"] == 0
    assert figures["churn"] == pytest.approx(3 / 5)  # kept: 2 of the first, 0 of the second
    assert figures["same_label"] == 1.0  # known pairs: 0-1, 1-0
    assert (figures["removed/max_score"], figures["removed/range_min"]) == (2, 1)


def test_approximate_search_beside_the_exact_one():
    pytest.importorskip("faiss", reason='pip install "lightning-contrast[faiss]"')
    z = F.normalize(PICTURES, dim=1)
    items = Items(z, torch.arange(len(z)), LABELS)
    for rules in (Rules(4), Rules(4, same_label=True, relative_margin=0.05)):
        exact = mine(items, items, torch.ones(len(z)), rules)
        found = mine(items, items, torch.ones(len(z)), rules, ApproximateSearch(z))
        again = mine(items, items, torch.ones(len(z)), rules, ApproximateSearch(z))
        assert torch.equal(found.rows, again.rows)
        assert not ((LABELS[found.rows] == LABELS[:, None]) & (found.rows >= 0)).any() or not rules.same_label
        assert (found.rows != torch.arange(len(z))[:, None]).all()
        assert (found.rows[:, :, None] == exact.rows[:, None]).any(2).float().mean() > 0.8
        torch.testing.assert_close(found.scores, (z @ z.T).gather(1, found.rows.clamp(min=0)), atol=1e-5, rtol=0)


def test_exact_means_exact():
    """Embeddings of an encoder that has learned nothing yet: closer to each other than bfloat16 can tell."""
    torch.manual_seed(0)
    z = F.normalize(torch.ones(2000, 16) + 0.02 * torch.randn(2000, 16), dim=1)
    s = (z.double() @ z.double().T).fill_diagonal_(-2)
    items = Items(z, torch.arange(2000))
    found = mine(items, items, torch.ones(2000), Rules(4)).rows
    torch.testing.assert_close(s.gather(1, found), s.topk(4, dim=1).values, atol=1e-6, rtol=0)


def test_the_search_goes_by_size(monkeypatch):
    monkeypatch.setattr("lightning_contrast.mining.search.EXACT_UP_TO", 100)
    z = torch.eye(8).repeat(20, 1)
    assert isinstance(search_over(z[:100]), TiledSearch)
    assert isinstance(search_over(z, "exact"), TiledSearch)
    monkeypatch.setattr("lightning_contrast.mining.search.faiss_installed", lambda: False)
    with pytest.warns(UserWarning, match=r'pip install "lightning-contrast\[faiss\]"'):
        assert isinstance(search_over(z), TiledSearch)
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(ImportError, match=r'pip install "lightning-contrast\[faiss\]"'):
        search_over(z, "approximate")
    with pytest.raises(ValueError, match="search='quick'"):
        search_over(z, "quick")


def test_it_can_be_ended():
    queries, corpus, positive = scene()

    def check():
        raise InterruptedError

    with pytest.raises(InterruptedError):
        mine(queries, corpus, positive, Rules(3), check=check)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"num_negatives": 0}, "num_negatives=0"),
        ({"range_max": 2}, "range_max=2"),
        ({"range_min": -1}, "range_min=-1"),
        ({"relative_margin": 1.5}, "relative_margin=1.5"),
        ({"absolute_margin": -1}, "absolute_margin=-1"),
        ({"max_score": 0.1, "min_score": 0.5}, "nothing would be left"),
        ({"quantile": 0.0}, "quantile=0.0"),
        ({"sampling_strategy": "best"}, "sampling_strategy='best'"),
        ({"sampling_temperature": 0.0}, "sampling_temperature=0.0"),
        ({"order": ["same_label"]}, "a list of different rules out of absolute_margin"),
        ({"order": ["max_score", "max_score"]}, "a list of different rules"),
        ({"order": "max_score"}, "order='max_score'"),
    ],
)
def test_bad_rules(kwargs, message):
    with pytest.raises(ValueError, match=message):
        Rules(**kwargs)


def test_bad_input():
    queries, corpus, positive = scene()
    with pytest.raises(ValueError, match="there are only 40 samples"):
        mine(queries, corpus, positive, Rules(40))
    with pytest.raises(ValueError, match="same_label=True: the samples have no 'label'"):
        mine(queries._replace(label=None), corpus, positive, Rules(3, same_label=True))
    with pytest.raises(ValueError, match="same_key='group': the samples have no 'group'"):
        mine(queries, corpus._replace(key=None), positive, Rules(3, same_key="group"))
    with pytest.raises(ValueError, match="queries: the embedding of row 3 is not finite"):
        mine(queries._replace(z=queries.z.index_fill(0, torch.tensor(3), torch.nan)), corpus, positive, Rules(3))
    with pytest.raises(ValueError, match=r"corpus.ids has 2 rows"):
        mine(queries, corpus._replace(ids=corpus.ids[:2]), positive, Rules(3))
    with pytest.raises(ValueError, match="positive has shape"):
        mine(queries, corpus, positive[:3], Rules(3))
    with pytest.raises(ValueError, match="only one of them has them"):
        mine(queries._replace(teacher=queries.z), corpus, positive, Rules(3))
