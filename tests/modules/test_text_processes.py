"""Texts: two processes train as one, duplicates and uneven batches included; a resumed run is the uninterrupted one."""

import pytest
import torch

from lightning_contrast import ContrastiveModule
from lightning_contrast.callbacks import FalseNegativeFilter
from lightning_contrast.data import MixedTextDataModule, TextDataModule, TextTokenizer
from lightning_contrast.encoders import TextEncoder
from lightning_contrast.objectives import MultipleNegativesRanking
from tests.data.packages import sample
from tests.modules.test_contrastive import trainer, weights

CONFIG = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "vocab_size": 600}
FOUND = sample()
# every document answers three queries, and a query of each is asked again: all of them are no negatives of each other
PAIRS = [{"query": FOUND[n // 2 * 2].short, "document": FOUND[n // 3].long} for n in range(63)]
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def data_of(size, mixture=False):
    settings = {"tokenizer": TextTokenizer(vocab_size=600, max_length=24), "batch_size": size, "drop_last": False}
    held = {"val": PAIRS[:9], "test": PAIRS[:9]}
    if not mixture:
        return TextDataModule(train=PAIRS, group_by_length=True, **held, **settings)
    parts = {
        "one": TextDataModule(train=PAIRS[:40], **held),
        "two": TextDataModule(train=PAIRS[40:], query_prompt="a "),
    }
    return MixedTextDataModule(parts, **settings)


def module_of(dropout=0.0, **arguments):
    torch.manual_seed(0)
    directions = ("query_to_doc", "doc_to_query", "query_to_query", "doc_to_doc")
    encoder = TextEncoder(config=CONFIG, dropout=dropout)
    module = ContrastiveModule(encoder, MultipleNegativesRanking(0.1, directions), **arguments)
    module.optimizer = lambda p: torch.optim.SGD(p, lr=0.2)
    return module


def masks():
    return FalseNegativeFilter(same=["query_id", "document_id"])


@pytest.mark.parametrize(("mixture", "chunks"), [(False, None), (True, 60)])
def test_two_processes_train_as_one(mixture, chunks):
    results = []
    for world in (1, 2):
        module = module_of(chunk_tokens=chunks)
        many = {"strategy": "ddp_fork", "devices": 2} if world == 2 else {}
        # the last batch has an odd number of rows: 3 of 63, or 11 of the 23 of a part
        t = trainer(max_epochs=1, max_steps=-1, callbacks=[masks()], limit_val_batches=0, **many)
        t.fit(module, data_of(12 // world, mixture))
        results.append(weights(module))
    assert (results[0] - weights(module_of())).abs().max() > 1e-3, "it trained"
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=1e-5)


def test_two_processes_validate_and_test_as_one():
    """The last batch has 7 rows, 4 and 3: no row is asked twice, as it would be to fill up."""
    found = []
    for settings, size in (({}, 12), ({"strategy": "ddp_fork", "devices": 2}, 6)):
        held = {"val": PAIRS[:31], "test": PAIRS[32:63]}
        tokenizer = TextTokenizer(vocab_size=600, max_length=24)
        data = TextDataModule(train=PAIRS, **held, tokenizer=tokenizer, batch_size=size)
        t = trainer(callbacks=[masks()], **settings)
        validated = t.validate(module_of(), data, verbose=False)
        tested = t.test(module_of(), data, verbose=False)
        found.append({**validated[0], **tested[0]})
    assert set(found[0]) == {"val/loss", "test/loss"}
    assert found[1] == pytest.approx(found[0], abs=1e-6)


def test_resumed_run_is_the_uninterrupted_one(tmp_path):
    def run(steps, ckpt=None):
        module = module_of(dropout=0.1)
        t = trainer(max_steps=steps, callbacks=[masks()], limit_val_batches=0)
        t.fit(module, data_of(12, mixture=True), ckpt_path=ckpt)
        return module, t

    whole, _ = run(8)
    _, t = run(3)
    t.save_checkpoint(tmp_path / "three.ckpt")
    again, _ = run(8, tmp_path / "three.ckpt")
    assert torch.equal(weights(whole), weights(again))


def test_equal_texts_are_no_negatives_of_each_other():
    data = data_of(12)
    data.setup()
    batch = next(iter(data.train_dataloader()))
    query, document = batch["query_id"], batch["document_id"]
    assert len(query.unique()) < len(query)
    assert len(document.unique()) < len(document)
    module = module_of().eval()
    loss = module.training_step(batch)
    contrast = module.contrast(batch)
    masked = masks().on_contrast(None, None, module.objective.directions(contrast)[0])
    q, d = (torch.nn.functional.normalize(x, dim=1) for x in (contrast.anchors.z, contrast.candidates[0].z))
    expected = []
    for i in range(len(q)):
        terms = [q[i] @ d[i], d[i] @ q[i]]
        for j in range(len(q)):
            if query[i] != query[j] and document[i] != document[j]:
                terms += [q[i] @ d[j], d[i] @ q[j], q[i] @ q[j], d[i] @ d[j]]
        expected.append(torch.stack(terms).div(0.1).logsumexp(0) - q[i] @ d[i] / 0.1)
    found = module.objective.evaluate(masked).loss
    torch.testing.assert_close(found, torch.stack(expected).mean(), rtol=1e-5, atol=1e-6)
    assert found < loss.detach()
