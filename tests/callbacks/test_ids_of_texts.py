"""Ids of texts end to end: an equal text is no negative, whether it comes from the batch, a queue or a mined table."""

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor

from lightning_contrast import ContrastiveModule
from lightning_contrast.callbacks import BM25Negatives, FalseNegativeFilter, HardNegativeRefresh, MemoryQueue
from lightning_contrast.callbacks.callback import ContrastCallback
from lightning_contrast.contrast import Contrast, Scores
from lightning_contrast.data import HashedWords, TextDataModule
from lightning_contrast.encoders import BagOfWords
from lightning_contrast.modules.inputs import Inputs, with_negatives_known
from lightning_contrast.objectives import InfoNCE

pytestmark = pytest.mark.filterwarnings("ignore:.*queries of:UserWarning")

WORDS = ("cat", "dog", "crow", "goat")
ROWS = [
    {"query": f"what is said of the {word} in {place}", "document": f"the {word} sleeps"}
    for word in WORDS
    for place in ("spring", "summer", "autumn", "winter")
]
"""Four queries a document."""


class Seen(ContrastCallback):
    """The candidates that still count, by block, beside the document of their anchors."""

    def __init__(self) -> None:
        self.wrong: dict[str, int] = {}
        self.counted: dict[str, int] = {}

    def on_contrast_end(self, trainer: pl.Trainer, pl_module: ContrastiveModule, contrast, loss: Tensor) -> None:
        scores = Scores(contrast)
        same = scores.read(lambda pair: pair.anchor.document_id == pair.candidate.document_id)
        negative = scores.exists & (scores.target <= 0)
        for name in {block.name for block in contrast.candidates}:
            here = negative & scores.read(lambda pair, name=name: torch.full(pair.shape, pair.block == name))
            self.wrong[name] = self.wrong.get(name, 0) + int((here & same).sum())
            self.counted[name] = self.counted.get(name, 0) + int(here.sum())


def trained(memory=None, filtered: bool = True, rows=ROWS, in_batch: bool = True) -> Seen:
    torch.manual_seed(0)
    seen = Seen()
    data = TextDataModule(rows, val=rows, test=rows, tokenizer=HashedWords(words=512), batch_size=4)
    module = ContrastiveModule(encoder=BagOfWords(512, 8), objective=InfoNCE(temperature=0.1), in_batch=in_batch)
    rules = [FalseNegativeFilter(same=["query_id", "document_id"])] if filtered else []
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    pl.Trainer(
        max_steps=8, limit_val_batches=0, callbacks=[*([memory] if memory else []), *rules, seen], **options
    ).fit(module, data)
    return seen


@pytest.mark.parametrize(
    ("make", "block"),
    [
        (lambda: MemoryQueue(8), "queue"),
        (lambda: HardNegativeRefresh(12, range_max=15), "mined"),
        (lambda: HardNegativeRefresh(12, range_max=15, gradient=True), "mined"),
        (lambda: BM25Negatives(12, range_max=15), "mined"),
    ],
    ids=["queue", "mined", "mined, with gradient", "by words"],
)
def test_an_equal_document_is_no_negative(make, block):
    seen = trained(make())
    assert seen.counted[block] > 0
    assert not any(seen.wrong.values())
    assert trained(make(), filtered=False).wrong[block] > 0, "the data has such documents"


def test_a_checkpoint_has_the_ids(tmp_path):
    torch.manual_seed(0)
    refresh = HardNegativeRefresh(12, range_max=15)
    trained(refresh)
    torch.save(refresh.state_dict(), tmp_path / "state")
    again = HardNegativeRefresh(12, range_max=15, start=1000)  # mines nothing of its own
    again.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    seen = trained(again)
    assert seen.counted["mined"] > 0
    assert not any(seen.wrong.values())


@pytest.mark.parametrize("ids", [torch.tensor([1]), torch.zeros(2, 3, dtype=torch.int64)])
def test_as_many_ids_as_negatives(ids):
    contrast = Contrast.from_pairs(torch.eye(2), torch.eye(2), negatives=torch.eye(2))
    with pytest.raises(ValueError, match=r"batch\['negative_id'\] is \[.*there are 2 negatives"):
        with_negatives_known(contrast, Inputs(negative_id=ids))


@pytest.mark.parametrize("in_batch", [True, False])
def test_a_hard_negative_that_is_the_document_of_another(in_batch):
    after = dict(zip(WORDS, WORDS[1:] + WORDS[:1], strict=True))
    rows = [
        {**row, "negative_1": f"the {after[word]} sleeps", "negative_2": "nobody wrote this elsewhere"}
        for row, word in zip(ROWS, [word for word in WORDS for _ in range(4)], strict=True)
    ]
    data = TextDataModule(rows, val=rows, test=rows, tokenizer=HashedWords(words=512), batch_size=4)
    data.setup()
    batch = next(iter(data.train_dataloader()))
    at = {text: number for number, text in enumerate(data.describe(range(len(WORDS))))}
    for own, (first, second) in zip(batch["document_id"].tolist(), batch["negative_id"].tolist(), strict=True):
        word = next(word for word in WORDS if at[f"the {word} sleeps"] == own)
        assert (first, second) == (at[f"the {after[word]} sleeps"], -1)
    assert not any(trained(rows=rows, in_batch=in_batch).wrong.values())
    # each anchor's own negative is another document; only those of the rest of the batch may be its own
    assert (trained(filtered=False, rows=rows, in_batch=in_batch).wrong["negative"] > 0) == in_batch
