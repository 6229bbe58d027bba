"""Triplets by rank in WordNet's graph (scincl), and rewritten queries (contrast-consistency-qa, syncse)."""

import random
from pathlib import Path

import pytest

from lightning_contrast.data import (
    MixedTextDataModule,
    RewrittenQueries,
    SiblingSubstitution,
    SynonymSubstitution,
    TextDataModule,
    TreeBandDataModule,
    WordNetDataModule,
)
from lightning_contrast.data.text_files import TextDataError
from lightning_contrast.data.tree_bands import nearest_in_graph, neighbours
from lightning_contrast.data.wordnet import read_wordnet
from tests.data.wordnet_sample import write_wordnet


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return str(write_wordnet(tmp_path_factory.mktemp("wordnet")))


def steps_apart(beside, start):
    """Breadth first, a level at a time."""
    apart, level = {start: 0}, [start]
    while level:
        level = [two for one in level for two in beside[one] if apart.setdefault(two, apart[one] + 1) == apart[one] + 1]
        level = [key for key in dict.fromkeys(level) if apart[key] == max(apart.values())]
    return apart


def test_ranks_rise_with_the_number_of_steps(root):
    synsets = {one.key: one for one in read_wordnet(Path(root))}
    beside = neighbours(synsets)
    for key in list(synsets)[:20:3]:
        apart = steps_apart(beside, key)
        ranked = nearest_in_graph(beside, key, 500)
        assert set(ranked) == set(apart) - {key}
        found = [apart[one] for one in ranked]
        assert found == sorted(found)
        assert nearest_in_graph(beside, key, 7) == ranked[:7]


class TestBands:
    def test_triplets_are_of_their_ranks(self, root):
        data = TreeBandDataModule(root=root, positive_rank=5, positives=5, hard_rank=60, hard=2, batch_size=4)
        rows, _ = data.read()
        synsets = {one.key: one for one in read_wordnet(Path(root)) if " " in one.gloss}
        beside, train = neighbours(synsets), rows["train"]
        for start in range(0, len(train), 5):
            assert len(set(train.places[start : start + 5])) == 1
            ranked = [synsets[key].gloss for key in nearest_in_graph(beside, train.places[start], 60)]
            assert train.document[start : start + 5] == ranked[:5], "k+ = c+ = 5: the five nearest"
            far = {texts[0] for texts in train.negative[start : start + 5]}
            assert set(ranked[58:]) <= far
            assert len(far & set(ranked[:58])) == 0, "easy ones are none of the neighbours"

    def test_splits_share_no_query(self, root):
        data = TreeBandDataModule(root=root, hard_rank=60, subset=60, batch_size=4)
        rows, _ = data.read()
        asked = [set(one.query) for one in rows.values()]
        assert sum(map(len, asked)) == len(set.union(*asked)) <= 60

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"positives": 0}, "1 <= positives"),
            ({"hard": 6}, "0 <= hard"),
            ({"hard_rank": 26}, "must not be both"),
        ],
    )
    def test_bands_that_cannot_be(self, wrong, message):
        with pytest.raises(ValueError, match=message):
            TreeBandDataModule(**wrong)

    def test_too_few_neighbours(self, root):
        with pytest.raises(ValueError, match="no gloss has so many"):
            TreeBandDataModule(root=root, hard_rank=5000).read()


class TestRewritten:
    def test_siblings(self, root):
        random.seed(0)
        view = SiblingSubstitution(root=root)
        for _ in range(50):
            one, two, three = view("a dog barks").split()
            assert (one, three) == ("a", "barks")
            assert two in {"boat", "song", "tree", "meal", "coat"}
        assert view("barks loudly") in ("barks", "loudly")
        assert view("barks") == "barks"
        table = SiblingSubstitution(2, {"one": ["two"], "three": ["four"]})
        assert table("one three five") == "two four five"
        with pytest.raises(ValueError, match="count=0"):
            SiblingSubstitution(0)

    def test_a_paraphrase_and_an_edit_of_each_query(self):
        pairs = [{"query": f"who built the bridge number {i}", "document": f"mason {i}"} for i in range(40)]
        made = RewrittenQueries(
            TextDataModule(pairs),
            SynonymSubstitution(1.0, {"built": ["made"]}),
            SiblingSubstitution(1, {"bridge": ["tower"]}),
        )
        rows, more = made.read()
        (rows,) = rows.values()
        assert rows.document == [q.replace("built", "made") for q in rows.query]
        assert rows.negative == [[q.replace("bridge", "tower")] for q in rows.query]
        assert more == {}
        assert made.read()[0]["train"].document == rows.document

    def test_distinct_leaves_out_what_nothing_was_written_for(self):
        asked = ["built bridge", "built house", "old bridge", "old same"]
        pairs = [{"query": text, "document": f"answer {i}"} for i, text in enumerate(asked)]
        paraphrase = SynonymSubstitution(1.0, {"built": ["made"], "same": ["equal"]})
        edit = SiblingSubstitution(1, {"bridge": ["tower"], "house": ["tent"], "same": ["equal"]})
        kept = RewrittenQueries(TextDataModule(pairs), paraphrase, edit, distinct=True).read()[0]["train"]
        assert kept.query == ["built bridge", "built house"], "not: no paraphrase; the edit is the paraphrase"
        assert kept.document == ["made bridge", "made house"]
        assert kept.negative == [["built tower"], ["built tent"]]
        assert len(kept.places) == 2
        assert RewrittenQueries(TextDataModule(pairs), paraphrase, edit).read()[0]["train"].query == asked

    def test_distinct_leaves_none(self):
        data = TextDataModule([{"query": "a b", "document": "c"}])
        with pytest.raises(TextDataError, match="distinct=True: of 1 texts none"):
            RewrittenQueries(data, SynonymSubstitution(1.0, {}), distinct=True, edit=str.upper).read()

    def test_mixed_with_the_pairs(self, root):
        def pairs():
            return WordNetDataModule(root=root)

        questions = RewrittenQueries(pairs(), SynonymSubstitution(root=root), SiblingSubstitution(root=root))
        data = MixedTextDataModule({"passages": pairs(), "questions": questions}, "round_robin", batch_size=8)
        data.setup()
        one, two = (batch for batch, _ in zip(data.train_dataloader(), range(2), strict=False))
        assert {"negative" in one, "negative" in two} == {True, False}
