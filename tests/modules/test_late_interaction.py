"""Texts compared token by token: CLRCMD and ColBERT as a whole that trains."""

import lightning.pytorch as pl
import pytest
import torch

from lightning_contrast.callbacks import GeometryMonitor, MemoryQueue, SearchEvaluation
from lightning_contrast.contrast import Contrast
from lightning_contrast.data import TextDataModule, TextTokenizer
from lightning_contrast.encoders import MLPEncoder, TextEncoder
from lightning_contrast.heads import MLPHead
from lightning_contrast.modules import LateInteractionModule
from lightning_contrast.objectives import InfoNCE
from lightning_contrast.similarities import MaxSim
from tests.ranks import run_ranks

CONFIG = {"hidden_size": 8, "num_attention_heads": 1, "intermediate_size": 8, "vocab_size": 100}


def made(**settings):
    torch.manual_seed(0)
    encoder = settings.pop("encoder", None) or TextEncoder(config=CONFIG, dropout=0.0)
    objective = settings.pop("objective", None) or InfoNCE(0.5, MaxSim())
    return LateInteractionModule(encoder=encoder, objective=objective, **settings)


def texts(rows, width, seed):
    g = torch.Generator().manual_seed(seed)
    mask = (torch.arange(width) < torch.randint(1, width + 1, (rows, 1), generator=g)).long()
    return {"input_ids": torch.randint(5, 100, (rows, width), generator=g), "attention_mask": mask}


def batch(n=4, negatives=1):
    out = {"query": texts(n, 5, 0), "document": texts(n, 7, 1), "index": torch.arange(n)}
    more = {"negative": texts(n * negatives, 6, 2), "negative_id": torch.arange(n * negatives).reshape(n, -1)}
    return {**out, **(more if negatives else {})}


def test_loss_of_its_tokens():
    """The mean log-softmax over documents and hard negatives of the similarities by hand."""
    module = made(head=MLPHead([], 6))
    module.training_step(batch())
    x = batch()
    q, d, h = (module.tokens(x[name]) for name in ("query", "document", "negative"))
    assert q[0].shape == (4, 5, 6)
    similar = lambda a, b: Contrast.from_pairs(a, b).replace(similarity=MaxSim()).scores().similarity  # noqa: E731
    logits = torch.cat([similar(q, d), similar(q, h)], 1) / 0.5
    torch.testing.assert_close(module.training_step(x), torch.nn.functional.cross_entropy(logits, torch.arange(4)))
    own = made(head=MLPHead([], 6), in_batch=False)
    own.training_step(x)
    own.load_state_dict(module.state_dict())
    both = torch.stack([similar(q, d).diagonal(), similar(q, h).diagonal()], 1) / 0.5
    torch.testing.assert_close(own.training_step(x), torch.nn.functional.cross_entropy(both, torch.zeros(4).long()))


def test_views_and_padding():
    module = made()
    x = texts(4, 5, 0)
    views = {"views": [x, texts(4, 5, 1)], "index": torch.arange(4)}
    longer = [{k: torch.nn.functional.pad(v, (0, 3)) for k, v in view.items()} for view in views["views"]]
    torch.testing.assert_close(module.training_step({**views, "views": longer}), module.training_step(views))
    assert module.embed(x).shape == (4, 8), "one vector a text for who evaluates"


def _step(rank, world):
    module, x = made(), batch(negatives=0)
    cut = {"index": x["index"][rank::world]}
    for name in ("query", "document"):
        own = {k: v[rank::world] for k, v in x[name].items()}
        width = int(own["attention_mask"].sum(1).max())  # padded to the longest of this process
        cut[name] = {k: v[:, :width] for k, v in own.items()}
    loss = module.training_step(cut)
    loss.backward()
    return loss.item(), module.encoder.transformer.embeddings.word_embeddings.weight.grad


def test_processes_of_different_widths():
    (one, whole), parts = _step(0, 1), run_ranks(2, _step)
    assert sum(loss for loss, _ in parts) / 2 == pytest.approx(one)
    torch.testing.assert_close(sum(grad for _, grad in parts) / 2, whole, rtol=1e-4, atol=1e-6)


def test_trains_and_is_evaluated(tmp_path):
    animals = ["cat", "dog", "owl", "fox", "hen", "ram"]
    rows = [{"query": f"{a} {i}", "document": f"the {a} went {i}"} for a in animals for i in "abcdefgh"]
    data = TextDataModule(rows, tokenizer=TextTokenizer(vocab_size=100), batch_size=8)
    trainer = pl.Trainer(
        max_steps=2, callbacks=[SearchEvaluation(bm25=False), GeometryMonitor()], logger=False, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False, val_check_interval=2, num_sanity_val_steps=0,
        enable_checkpointing=False,
    )  # fmt: skip
    module = made()
    before = [p.detach().clone() for p in module.parameters()]
    trainer.fit(module, data)
    assert any(not torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))
    assert {"val/ndcg@10", "val/loss"} <= set(trainer.callback_metrics)
    with pytest.raises(ValueError, match="MemoryQueue reads one vector a row"):
        pl.Trainer(max_steps=1, callbacks=[MemoryQueue(8)], logger=False, enable_checkpointing=False).fit(made(), data)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"encoder": MLPEncoder([4], 4)}, "TextEncoder"),
        ({"objective": InfoNCE()}, "MaxSim"),
        ({"chunk_size": 2}, "no chunk_size"),
        ({"predictor": MLPHead()}, "no predictor"),
    ],
)
def test_misuse(settings, match):
    with pytest.raises(ValueError, match=match):
        made(**settings)
