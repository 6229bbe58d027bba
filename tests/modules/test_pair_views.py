"""cocosoda: six terms between pairs and altered copies, momentum keys, a queue for each kind."""

import random

import lightning.pytorch as pl
import pytest
import torch
from torch import nn

from lightning_contrast.callbacks import MemoryQueue
from lightning_contrast.data import CodeMasking, HashedWords, TextDataModule, WordMasking
from lightning_contrast.data.token_masking import tokens_of
from lightning_contrast.encoders import BagOfWords, Momentum
from lightning_contrast.modules import PairViewsModule
from lightning_contrast.objectives import InfoNCE
from tests.callbacks.kit import Losses, assert_resumes_exactly, assert_two_processes_train_as_one, fit
from tests.modules.test_processes import sgd

SIX = (
    "document->query", "document->query_view", "query->document", "query->document_view", "document->document_view",
    "query->query_view",
)  # fmt: skip
KEYS = ("query", "document", "query_view", "document_view")


def queues(size=40):
    """One for each kind of key."""
    return [
        MemoryQueue(size, name=kind, directions=[term for term in SIX if term.endswith(f"->{kind}")]) for kind in KEYS
    ]


def module(momentum=0.9, **settings):
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(64, 24), nn.Tanh(), nn.Linear(24, 8))
    key = None if momentum is None else Momentum(momentum)
    return sgd(PairViewsModule(encoder, InfoNCE(0.2), key_encoder=key, **settings))


def batch(n=6, seed=0):
    g = torch.Generator().manual_seed(seed)
    return {**{key: torch.randn(n, 64, generator=g) for key in KEYS}, "index": torch.arange(n) + 100 * seed}


def plain(anchors, keys):
    """InfoNCE by whole matrices."""
    a, k = nn.functional.normalize(anchors, dim=1), nn.functional.normalize(keys, dim=1)
    return nn.functional.cross_entropy(a @ k.T / 0.2, torch.arange(len(a)))


@pytest.mark.parametrize("chosen", [SIX, SIX[:4], SIX[:1], SIX[5:1:-1]], ids=len)
def test_the_mean_of_its_terms(chosen):
    made = module(terms=None if chosen is SIX else chosen)
    x = batch()
    with torch.no_grad():
        for p in made.key_encoder.parameters():
            p.add_(0.1)
    anchors = {key: made.encoder(x[key]) for key in KEYS[:2]}
    keys = {key: made.key_encoder(x[key]) for key in KEYS}
    expected = torch.stack([plain(anchors[t.split("->")[0]], keys[t.split("->")[1]]) for t in chosen]).mean()
    assert [c.name for c in made.contrast(x)] == list(chosen)
    torch.testing.assert_close(made.training_step(x), expected)


def test_hard_negatives_are_refused_not_ignored():
    with pytest.raises(ValueError, match="leave the column negative out"):
        module().training_step({**batch(), "negative": torch.randn(6, 64)})


def test_nothing_masked_no_queue_is_symmetric_infonce_of_both_and_of_each():
    x = batch()
    x |= {"query_view": x["query"], "document_view": x["document"]}
    made = module(None)
    q, d = made.encoder(x["query"]), made.encoder(x["document"])
    torch.testing.assert_close(module(None, terms=SIX[:4]).training_step(x), (plain(q, d) + plain(d, q)) / 2)
    torch.testing.assert_close(
        made.training_step(x), (2 * plain(q, d) + 2 * plain(d, q) + plain(q, q) + plain(d, d)) / 6
    )


def test_with_momentum_0_keys_are_the_encoders_stopped():
    x, made = batch(), module(0.0, terms=["query->document", "document->query"])
    fit_one = torch.optim.SGD(made.encoder.parameters(), 0.1)
    made.training_step(x).backward()
    fit_one.step()
    made.key_encoder.update(made._online(), 0.0)
    made.zero_grad()
    q, d = made.encoder(x["query"]), made.encoder(x["document"])
    expected = (plain(q, d.detach()) + plain(d, q.detach())) / 2
    loss = made.training_step(x)
    torch.testing.assert_close(loss, expected)
    for one, two in zip(
        torch.autograd.grad(loss, list(made.encoder.parameters()), retain_graph=True),
        torch.autograd.grad(expected, list(made.encoder.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(one, two)


class Batches(torch.utils.data.Dataset):
    def __len__(self):
        return 24

    def __getitem__(self, i):
        return {key: value[0] for key, value in batch(1, i).items()} | {"index": i}


def test_each_queue_holds_its_kind_and_never_the_keys_of_now():
    made, seen, held = module(), Losses(), queues(16)
    fit(made, [*held, seen], steps=4, data=torch.utils.data.DataLoader(Batches(), 6))
    for number, contrast in enumerate(seen.contrasts):
        step, kind = number // 6, contrast.name.split("->")[1]
        names = [block.name for block in contrast.candidates]
        assert names == (["positive"] if step == 0 else ["positive", kind])
        if step:
            queue = contrast.candidates[1]
            assert not set(queue.get("index").tolist()) & set(contrast.anchors.get("index").tolist())
            assert queue.rows == min(16, 6 * step), "each kind once a step, though two terms read it"
            own = contrast.candidates[0].first
            assert (torch.cdist(queue.first, own) > 1e-4).all()
    previous = [c for c in seen.contrasts if c.name == "document->query_view"][-2].candidates[0].first
    last = [c for c in seen.contrasts if c.name == "query->query_view"][-1].candidates[1].first
    assert (torch.cdist(previous, last).min(1).values < 1e-5).all(), "what the other term scored before"


def test_resume_and_processes(tmp_path):
    class Paired(PairViewsModule):
        """The batches of these tests have two views."""

        def contrast(self, x):
            one, two = (view.flatten(1) for view in x["views"])
            given = {"query": one, "document": two, "query_view": one * 0.5, "document_view": two + 0.1}
            return super().contrast({**given, **{key: value for key, value in x.items() if key != "views"}})

    def made():
        torch.manual_seed(0)
        encoder = nn.Sequential(nn.Linear(64, 24), nn.Tanh(), nn.Linear(24, 8))
        return sgd(Paired(encoder, InfoNCE(0.2), key_encoder=Momentum(0.9)))

    assert_resumes_exactly(tmp_path, made, queues)
    assert_two_processes_train_as_one(tmp_path, made, queues)


def test_misuse():
    with pytest.raises(ValueError, match="each direction is a term"):
        PairViewsModule(nn.Linear(2, 2), InfoNCE(symmetric=True))
    with pytest.raises(ValueError, match=r"key_encoder=Linear.*share the encoder"):
        PairViewsModule(nn.Linear(2, 2), key_encoder=nn.Linear(2, 2))
    with pytest.raises(ValueError, match="both_orders"):
        PairViewsModule(nn.Linear(2, 2), both_orders=True)
    with pytest.raises(ValueError, match=r"terms=\[\]"):
        module(terms=[])
    with pytest.raises(ValueError, match=r"there is no \['query->code'\]; there are document->query, "):
        module(terms=["query->code"]).contrast(batch())
    bare = {key: value for key, value in batch().items() if not key.endswith("_view")}
    with pytest.raises(ValueError, match="lacks document_view and query_view"):
        module().contrast(bare)
    assert len(module(terms=["query->document"]).contrast(bare)) == 1


class TestViews:
    def test_of_words(self):
        random.seed(0)
        text = " ".join("abcdefghij" * 40)
        words = WordMasking(0.15)(text).split()
        assert len(words) == 400
        assert 0.08 < words.count("[MASK]") / 400 < 0.22
        assert WordMasking(0.0)(text) == text
        assert set(WordMasking(1.0, "_")(text).split()) == {"_"}

    def test_of_code(self):
        code = "    def f(self, x=1.5):\n        # why\n        return self.g(x, 'a b') if x else None\n"
        kinds = dict(tokens_of(code))
        assert kinds["def"] == kinds["return"] == kinds["None"] == "keyword"
        assert (kinds["self"], kinds["1.5"], kinds["'a b'"], kinds["# why"], kinds["("]) == (
            "name", "number", "string", "comment", "operator",
        )  # fmt: skip
        some = CodeMasking(1.0, kinds=["name"], marker="_")(code)
        assert some.startswith("def _ ( _ , _ = 1.5 ) : # why return _ . _ ( _ , 'a b' )")
        assert CodeMasking(1.0, "kind", kinds=["number"])(code).split()[7] == "number"
        assert CodeMasking(0.0)("x = (1,\n  'cut").startswith("x = ( 1 ,")
        assert "off" in CodeMasking(0.0)("x = '''cut off\nhere").split()
        assert CodeMasking(0.0)("what is it?").split() == ["what", "is", "it", "?"]
        assert all(word in CodeMasking(0.0)('print(f"hello {x} $all", $y)') for word in ("hello", "x", "all", "$", "y"))

    @pytest.mark.parametrize(
        ("kwargs", "message"),
        [({"rate": 2}, "rate=2"), ({"by": "type"}, "by='type'"), ({"kinds": ["verb"]}, "keyword, name, number")],
    )
    def test_misuse(self, kwargs, message):
        with pytest.raises(ValueError, match=message):
            CodeMasking(**kwargs)

    def test_pairs_have_a_view_of_each_side(self):
        rows = [{"query": f"what does number {i} do", "document": f"def f{i}(): return {i}"} for i in range(40)]
        held = [{"query": f"how is {i} held out", "document": f"def h{i}(): return {i}"} for i in range(8)]
        view = [WordMasking(0.5), CodeMasking(0.5, "kind")]
        data = TextDataModule(rows, held, held, view=view, tokenizer=HashedWords(512), batch_size=8)
        data.setup()
        one, two = (next(iter(data.val_dataloader()))["query_view"] for _ in range(2))
        assert torch.equal(one, two), "held out: the same every time"
        seen = next(iter(data.train_dataloader()))
        assert not torch.equal(seen["query_view"], seen["query"])
        trainer = pl.Trainer(max_steps=2, logger=False, enable_checkpointing=False, enable_progress_bar=False)
        made = PairViewsModule(BagOfWords(512, 8), InfoNCE(0.2), key_encoder=Momentum(0.9))
        trainer.fit(made, data)
        assert trainer.global_step == 2
        assert trainer.validate(made, data, verbose=False)[0]["val/loss"] > 0
        alone = TextDataModule(rows, held, held, view=WordMasking(1.0), both_views=False, tokenizer=HashedWords(512))
        alone.setup()
        assert alone.train_set[0]["query_view"] == alone.train_set[0]["query"]
        assert "MASK" in alone.train_set[0]["document_view"]
