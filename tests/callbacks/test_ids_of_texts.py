"""Ids of texts end to end: an equal text is no negative, whether it comes from the batch, a queue or a mined table."""

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor

from lightning_contrast import ContrastiveModule
from lightning_contrast.callbacks import BM25Negatives, FalseNegativeFilter, HardNegativeRefresh, MemoryQueue
from lightning_contrast.callbacks.callback import ContrastCallback
from lightning_contrast.contrast import Scores
from lightning_contrast.data import HashedWords, TextDataModule
from lightning_contrast.encoders import BagOfWords
from lightning_contrast.objectives import InfoNCE

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


def trained(memory, filtered: bool = True) -> Seen:
    torch.manual_seed(0)
    seen = Seen()
    data = TextDataModule(ROWS, val=ROWS, test=ROWS, tokenizer=HashedWords(words=512), batch_size=4)
    module = ContrastiveModule(encoder=BagOfWords(512, 8), objective=InfoNCE(temperature=0.1))
    rules = [FalseNegativeFilter(same=["query_id", "document_id"])] if filtered else []
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    pl.Trainer(max_steps=8, limit_val_batches=0, callbacks=[memory, *rules, seen], **options).fit(module, data)
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
@pytest.mark.filterwarnings("ignore:.*queries of:UserWarning")
def test_an_equal_document_is_no_negative(make, block):
    seen = trained(make())
    assert seen.counted[block] > 0
    assert not any(seen.wrong.values())
    assert trained(make(), filtered=False).wrong[block] > 0, "the data has such documents"
