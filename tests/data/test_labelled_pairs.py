"""setfit-legal: a few labelled texts as balanced pairs, then a classifier on frozen embeddings."""

from collections import Counter

import lightning.pytorch as pl
import pytest
import torch

from lightning_contrast import ContrastiveModule
from lightning_contrast.callbacks import OnlineLinearProbe
from lightning_contrast.data import HashedWords, LabelledPairs, TextDataModule, WordNetDataModule
from lightning_contrast.data.text_files import TextDataError
from lightning_contrast.encoders import BagOfWords
from lightning_contrast.functional.balanced_pairs import balanced_pairs
from lightning_contrast.functional.ridge import ridge_probe
from lightning_contrast.objectives import ScoreRegression
from tests.data.wordnet_sample import write_wordnet

LABELS = torch.tensor([2, 0, 1, 0, 2, 1, 0, 5, 5])


class TestPairs:
    @pytest.mark.parametrize(("per", "times"), [("text", 9), ("class", 4)])
    @pytest.mark.parametrize("pairs", [1, 20])
    def test_number_and_balance(self, per, times, pairs):
        found = balanced_pairs(LABELS, pairs, per)
        assert len(found.first) == len(found.second) == 2 * pairs * times
        assert found.same.mean() == 0.5
        assert torch.equal(LABELS[found.first] == LABELS[found.second], found.same.bool())
        assert (found.first != found.second).all()
        by = found.first.tolist() if per == "text" else LABELS[found.first].tolist()
        assert set(Counter(by).values()) == {2 * pairs}

    def test_draws_are_seeded_and_even(self):
        one, two, other = (balanced_pairs(LABELS, 50, seed=seed) for seed in (0, 0, 1))
        assert torch.equal(one.second, two.second)
        assert not torch.equal(one.second, other.second)
        many = balanced_pairs(LABELS, 3000)
        for row in range(9):
            for same, n in ((1, (LABELS[row] == LABELS).sum() - 1), (0, (LABELS[row] != LABELS).sum())):
                partners = Counter(many.second[(many.first == row) & (many.same == same)].tolist())
                assert len(partners) == n
                assert all(abs(count / 3000 - 1 / n) < 0.05 for count in partners.values())

    @pytest.mark.parametrize(
        ("labels", "settings", "message"),
        [
            ([0, 0, 0], {"pairs": 1}, "1 classes"),
            ([0, 0, 1], {"pairs": 1}, "the smallest of 1 rows"),
            ([0, 0, 1, 1], {"pairs": 0}, "pairs=0"),
            ([0, 0, 1, 1], {"pairs": 1, "per": "word"}, "per='word'"),
        ],
    )
    def test_misuse(self, labels, settings, message):
        with pytest.raises(ValueError, match=message):
            balanced_pairs(torch.tensor(labels), **settings)


@pytest.fixture(scope="module")
def glosses(tmp_path_factory):
    root = str(write_wordnet(tmp_path_factory.mktemp("wordnet")))
    return lambda: WordNetDataModule("glosses", root=root)


class TestData:
    def test_a_few_texts_of_each_class_make_the_pairs(self, glosses):
        data = LabelledPairs(glosses(), shots=4, pairs=5, tokenizer=HashedWords(512), batch_size=16)
        data.setup()
        texts = data.texts["train"]
        assert set(Counter(texts.known["label"]).values()) == {4}
        classes = len(set(texts.known["label"]))
        assert classes >= 5
        assert len(data.train_set) == 2 * 5 * 4 * classes
        label = dict(zip(texts.query, texts.known["label"], strict=True))
        for item in (data.train_set[row] for row in range(len(data.train_set))):
            assert item["score"] == float(label[item["query"]] == label[item["document"]])
            assert item["label"] == label[item["query"]]
        held = {text for name in ("val", "test") for text in data.texts[name].query}
        assert held
        assert not held & set(texts.query)
        bank = [batch["label"] for batch in data.bank_dataloader()]
        assert torch.cat(bank).tolist() == texts.known["label"]
        assert len(next(iter(data.predict_dataloader()))["label"]) <= len(data.texts["test"])
        assert not hasattr(data, "corpus_dataloader")

    def test_pairs_for_each_class(self, glosses):
        data = LabelledPairs(glosses(), shots=3, pairs=7, per="class", tokenizer=HashedWords(512))
        rows = data.read()[0]["train"]
        assert len(rows) == 2 * 7 * len(set(data.texts["train"].known["label"]))

    @pytest.mark.parametrize("seed", [0, 1])
    def test_contrast_before_a_linear_classifier(self, glosses, tmp_path, seed):
        """Of four texts a class: better on held-out texts than the same classifier on the same features untrained."""
        torch.manual_seed(seed)
        data = LabelledPairs(glosses(), shots=4, pairs=10, tokenizer=HashedWords(512), batch_size=32, seed=seed)
        data.setup()
        module = ContrastiveModule(BagOfWords(512, 16), ScoreRegression())
        module.optimizer = lambda parameters: torch.optim.AdamW(parameters, 0.03)
        few, held = data.texts["train"], [data.texts[name] for name in ("val", "test")]
        wanted = torch.tensor([label for one in held for label in one.known["label"]])

        def accuracy():
            texts = (few.query, [text for one in held for text in one.query])
            z = [module.eval().embed(data.tokenizer(some)).detach() for some in texts]
            return float((ridge_probe(z[0], torch.tensor(few.known["label"]), z[1]) == wanted).float().mean())

        before = accuracy()
        trainer = pl.Trainer(max_epochs=6, logger=False, enable_progress_bar=False, enable_checkpointing=False,
                             default_root_dir=tmp_path, callbacks=[OnlineLinearProbe(steps=5, every_n_epochs=6)])  # fmt: skip
        trainer.fit(module, data)
        assert accuracy() > before + 0.2  # 0.38 to 0.79 and 0.45 to 0.93
        assert trainer.callback_metrics["val/linear"] > 1 / 6

    def test_misuse(self, glosses):
        with pytest.raises(ValueError, match="shots=1"):
            LabelledPairs(glosses(), shots=1)
        with pytest.raises(TextDataError, match="without label"):
            LabelledPairs(TextDataModule(["a b", "c d"], val=["e"], test=["f"])).read()
        with pytest.raises(TextDataError, match="0 classes have so many texts"):
            LabelledPairs(glosses(), shots=500).read()
        train, held = ([{"text": f"{word} {name} {number}", "label": len(word) % 2} for word in ("a", "bc") for number in range(4)]
                       for name in ("train", "val"))  # fmt: skip
        with pytest.raises(TextDataError, match=r"of the 2 texts of val .* a val split of your own"):
            LabelledPairs(TextDataModule(train, val=held[3:5], test=held), shots=2).read()
        data = LabelledPairs(TextDataModule(train, val=held), shots=2, tokenizer=HashedWords(64))
        data.setup()
        with pytest.raises(ValueError, match="there is no test split"):
            data.predict_dataloader()
