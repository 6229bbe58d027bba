"""A frozen encoder whose outputs are kept: the training is that without, each input is encoded once."""

import itertools

import lightning.pytorch as pl
import pytest
import torch
from torch import nn

from lightning_contrast import ContrastiveModule
from lightning_contrast.data import DigitsDataModule, TextDataModule, TextTokenizer
from lightning_contrast.data.loader import ResumableLoader
from lightning_contrast.data.samplers import ShuffledBatchSampler
from lightning_contrast.encoders import Cached, Momentum, SmallCNN, TextEncoder
from lightning_contrast.functional.content_keys import content_keys
from lightning_contrast.heads import LinearHead
from lightning_contrast.objectives import InfoNCE
from tests.callbacks.kit import SaveAt
from tests.data.packages import sample
from tests.modules.test_contrastive import Digits, linear, trainer, weights

CONFIG = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "vocab_size": 300}
FOUND = sample()
PAIRS = [{"query": one.short, "document": one.long, "negative": two.long} for one, two in itertools.pairwise(FOUND)]


pytestmark = pytest.mark.filterwarnings("ignore:.*have more than max_length:UserWarning")


class Pairs(pl.LightningDataModule):
    """75 pairs of digits in batches of 16 over all processes, the last of 11."""

    def __init__(self, world=1, keys=("anchor", "positive")):
        super().__init__()
        self.world, self.keys = world, keys

    def train_dataloader(self):
        return ResumableLoader(Digits(75, self.keys), ShuffledBatchSampler(75, 16 // self.world))


def texts():
    tokenizer = TextTokenizer(vocab_size=300, max_length=24)
    return TextDataModule(PAIRS[:30], val=PAIRS[30:40], test=PAIRS[30:40], tokenizer=tokenizer, batch_size=8, group_by_length=True)  # fmt: skip


def module_of(encoder, cached=True, settings=None, **arguments):
    torch.manual_seed(0)
    encoder = encoder()
    encoder = Cached(encoder, **(settings or {})) if cached else encoder.requires_grad_(False).eval()
    made = ContrastiveModule(encoder, InfoNCE(0.2), head=nn.Linear(16, 8), **arguments)
    made.optimizer = lambda p: torch.optim.SGD(p, lr=0.02)
    return made


def text_encoder():
    return TextEncoder(config=CONFIG)


class Counted(pl.Callback):
    """Rows encoded by the end of each epoch."""

    def __init__(self, path=None):
        self.rows, self.path = [], path

    def on_train_epoch_end(self, trainer, pl_module):
        self.rows.append(pl_module.encoder.encoded)
        if self.path is not None:
            torch.save(self.rows, f"{self.path}-{trainer.global_rank}.pt")


def fit(module, data, epochs=3, ckpt=None, callbacks=(), **settings):
    torch.manual_seed(1)
    given = {"max_epochs": epochs, "max_steps": -1, "callbacks": list(callbacks), "num_sanity_val_steps": 0, **settings}
    trainer(**given).fit(module, datamodule=data, ckpt_path=ckpt, weights_only=True)
    return module


@pytest.mark.parametrize("settings", [{}, {"folder": "."}, {"max_gb": 30 * 16 * 4 / 1e9}], ids=str)
@pytest.mark.filterwarnings("ignore:.*is full with .* rows:UserWarning")
def test_texts_train_as_without_and_are_encoded_once(tmp_path, monkeypatch, settings):
    monkeypatch.chdir(tmp_path)
    counted = Counted()
    cached = fit(module_of(text_encoder, settings=settings), texts(), callbacks=[counted])
    plain = fit(module_of(text_encoder, cached=False), texts())
    torch.testing.assert_close(weights(cached), weights(plain), rtol=0, atol=1e-6)
    assert (weights(cached) - weights(module_of(text_encoder))).abs().max() > 1e-3
    if "max_gb" in settings:
        assert counted.rows[0] < counted.rows[1] < counted.rows[2], "what has no room is encoded again"
    else:
        # 30 queries, 31 documents and negatives, 10 queries and as many documents more of validation (one is in both)
        assert counted.rows[0] <= counted.rows[2] <= 30 + 31 + 20
        assert counted.rows[1] == counted.rows[2]
    assert not list(tmp_path.iterdir()), "the file has no name"
    assert not cached.encoder._row, "the table ends with the fit"


def test_two_processes_share_what_they_encode(tmp_path):
    found = []
    for world in (1, 2):
        many = {"strategy": "ddp_fork", "devices": 2} if world == 2 else {}
        counted = Counted(tmp_path / str(world))
        found.append(weights(fit(module_of(linear), Pairs(world), 4, callbacks=[counted], **many)))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-5)
    first, second = (torch.load(tmp_path / f"2-{rank}.pt") for rank in (0, 1))
    assert first[0] + second[0] == 150, "each input by one process"
    assert first == [first[0]] * 4
    assert second == [second[0]] * 4


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path):
    path = tmp_path / "a.ckpt"
    whole = fit(module_of(linear), Pairs(), 3, callbacks=[SaveAt(7, path)])
    assert not [key for key in torch.load(path, weights_only=True)["state_dict"] if "table" in key]
    assert torch.equal(weights(fit(module_of(linear), Pairs(), 3, ckpt=path)), weights(whole))


@pytest.mark.parametrize(
    ("settings", "precision", "tolerance"),
    [({"dtype": "float16"}, "32-true", 1e-4), ({}, "bf16-mixed", 1e-4)],  # bf16: chunks sum in another order
    ids=["kept in float16", "bf16-mixed"],
)
def test_half_precision_and_chunks(settings, precision, tolerance):
    one = fit(module_of(linear, settings=settings, chunk_size=5), Pairs(), 2, precision=precision)
    two = fit(module_of(linear, cached=False), Pairs(), 2, precision=precision)
    torch.testing.assert_close(weights(one), weights(two), rtol=0, atol=tolerance)
    assert (weights(one) - weights(module_of(linear))).abs().max() > 100 * tolerance


def test_keys_know_contents_and_not_padding():
    ids = torch.tensor([[5, 7, 9, 1], [5, 7, 1, 1]])
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]])
    keys = content_keys({"input_ids": ids, "attention_mask": mask})
    assert torch.equal(keys[1:], content_keys({"input_ids": ids[1:, :2], "attention_mask": mask[1:, :2]}))
    assert torch.equal(keys[:1], content_keys({"input_ids": ids[:1, :3] + 0, "attention_mask": mask[:1, :3]}))
    assert not torch.equal(keys[:1], content_keys({"input_ids": ids[:1], "attention_mask": mask[1:]}))
    image = torch.randn(500, 3, 4, 4)
    other = image.clone()
    other[3, 2, 3, 3] += 1e-6
    assert (content_keys(image) != content_keys(other)).any(1).nonzero().tolist() == [[3]]
    assert len(content_keys(image).unique(dim=0)) == 500
    assert not torch.equal(content_keys(image), content_keys(image.flatten(1, 2)))
    counts = torch.cartesian_prod(*[torch.arange(12)] * 4)
    assert len(content_keys(counts).unique(dim=0)) == 12**4
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 10)  # of float64 they differ in the highest bit alone
    for rows in (
        signs,
        signs.double(),
        signs.bfloat16(),
        torch.complex(signs.double(), signs.double().flip(1)),
        signs.long() << 61,
    ):
        assert len(content_keys(rows).unique(dim=0)) == 2**10, rows.dtype
    assert not torch.equal(content_keys(["a", "b"])[0], content_keys(["a", "b"])[1])
    assert not torch.equal(content_keys(image), content_keys(image, salt=1))


def test_inputs_that_do_not_stay_are_refused():
    random_views = ContrastiveModule(Cached(SmallCNN([4, 8])), InfoNCE(), head=LinearHead(4))
    with pytest.raises(ValueError, match="'view0' of a training sample is another one every time it is read"):
        fit(random_views, DigitsDataModule(batch_size=48))
    by_dropout = TextDataModule(
        [row["query"] for row in PAIRS], tokenizer=TextTokenizer(vocab_size=300, max_length=24), batch_size=8
    )
    with pytest.raises(ValueError, match="only dropout could tell apart"):
        fit(module_of(text_encoder), by_dropout)


def test_encoders_that_train_are_refused():
    encoder = linear()
    encoder[0].requires_grad_(False)
    with pytest.raises(ValueError, match="some parameters are frozen already"):
        Cached(encoder)
    for wrong in ({"dtype": "int8"}, {"max_gb": 0}):
        with pytest.raises(ValueError, match="use 'float32' or 'float16'"):
            Cached(linear(), **wrong)

    class Unfreeze(pl.Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            pl_module.encoder.requires_grad_(True)

    with pytest.raises(RuntimeError, match="was unfrozen"):
        fit(module_of(linear), Pairs(), callbacks=[Unfreeze()])
    cached = Cached(nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))).train()
    x = torch.ones(2, 3)
    assert torch.equal(cached(x), cached(x)), "dropout is off"


def test_beside_a_momentum_teacher():
    fit(module_of(linear, key_encoder=Momentum(0.9)), Pairs(), 1)
