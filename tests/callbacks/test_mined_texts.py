"""HardNegativeRefresh, TeacherEmbedding with a filter, and BatchMining on texts (ance, dclr, b3)."""

import lightning.pytorch as pl
import pytest
import torch
from torch.nn import functional as F

from lightning_contrast import ContrastiveModule
from lightning_contrast.callbacks import BatchMining, FalseNegativeFilter, HardNegativeRefresh, TeacherEmbedding
from lightning_contrast.data import CommunityBatchSampler, HashedWords, PackageTextDataModule
from lightning_contrast.encoders import BagOfWords, Snapshot
from lightning_contrast.objectives import InfoNCE
from tests.callbacks.kit import Losses, fit
from tests.data.packages import write_sample


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return str(write_sample(tmp_path_factory.mktemp("packages")))


def texts(root, **settings):
    return PackageTextDataModule(root=root, tokenizer=HashedWords(2000, 48), batch_size=16, **settings)


def module():
    pl.seed_everything(1, verbose=False)
    return ContrastiveModule(BagOfWords(2000, 16), InfoNCE(0.1), optimizer=lambda p: torch.optim.SGD(p, lr=1.0))


class Mined(HardNegativeRefresh):
    """What it was given, and the scores of what it took, then and at the end."""

    def receive(self, trainer, pl_module, data):
        super().receive(trainer, pl_module, data)
        self.data = data
        with torch.no_grad():
            pl_module.eval()
            batch = next(iter(trainer.datamodule.bank_dataloader()))
            self.fresh = F.normalize(pl_module.embed(batch["document"]), dim=1)
            pl_module.train()


class TestAnce:
    def test_the_table_is_of_now_and_never_of_the_own_family(self, root):
        data, net = texts(root), module()
        mined = Mined(2, same_label=True)
        fit(net, [mined], steps=2, data=data)
        torch.testing.assert_close(mined.data["key"][:16], mined.fresh, rtol=0, atol=0)
        label, table = mined.data["label"], mined.table
        assert (table >= 0).all()
        assert (label[table] != label[:, None]).all()
        with torch.no_grad():
            batch = next(iter(data.bank_dataloader()))
            later = F.normalize(net.embed(batch["document"]), dim=1)
        assert (later - mined.fresh).abs().max() > 1e-4, "it ages"

    def test_top_one_is_the_hardest(self, root):
        mined = Mined(1, same_label=True)
        fit(module(), [mined], steps=1, data=texts(root))
        z, key, label = (mined.data[name] for name in ("z", "key", "label"))
        s = (z @ key.T).masked_fill(label[:, None] == label, -9.0)
        chosen = s.gather(1, mined.table)[:, 0]
        torch.testing.assert_close(chosen, s.amax(1))

    def test_mined_negatives_have_the_larger_gradient(self, root):
        """The paper's reason: a softmax gives easy negatives no weight."""
        mined = Mined(1, same_label=True)
        fit(module(), [mined], steps=1, data=texts(root))
        z, key, label = (mined.data[name] for name in ("z", "key", "label"))
        other = (label[:, None] != label).float().multinomial(1, generator=torch.Generator().manual_seed(0))
        weight = [
            torch.cat([(z * key).sum(1, keepdim=True), (z[:, None] * key[rows]).sum(-1)], 1).div(0.1).softmax(1)[:, 1]
            for rows in (mined.table, other)
        ]
        assert weight[0].mean() > 3 * weight[1].mean()


def test_a_filter_waits_for_its_teacher(root):
    """In the first epoch there is none; afterwards pairs that it finds alike are gone."""
    data, record = texts(root, unpaired=True), Losses()
    teacher = TeacherEmbedding(Snapshot(every_n_epochs=1))
    fit(module(), [teacher, FalseNegativeFilter(max_score=0.5, teacher_key="teacher"), record], steps=20, data=data)
    first, last = record.contrasts[0], record.contrasts[-1]
    assert "teacher" not in first.anchors.payload
    assert not first.rules
    t = F.normalize(last.anchors.payload["teacher"], dim=1)
    alike = (t @ t.T > 0.5) & ~last.scores().target.bool()
    assert alike.sum() > len(t), "beside each with itself"
    assert not last.scores().exists[alike].any()


def test_communities_of_texts_are_nearer_than_chance(root):
    data = texts(
        root, sampler=lambda samples, rows: CommunityBatchSampler(samples, rows, community=8, skip=1, window=8)
    )
    trained = fit(module(), [BatchMining()], steps=3, data=data, log_every_n_steps=1)
    assert trained.callback_metrics["mining/similarity"] > trained.callback_metrics["mining/chance"] + 0.05
    rows = [row for batch in trained.train_dataloader.batch_sampler.plan(0, 1) for row in batch]
    assert len(rows) == len(set(rows))
