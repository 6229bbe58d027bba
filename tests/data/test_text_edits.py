"""Edits of a text, beside what they must keep."""

import itertools
import random
from collections import Counter

import pytest

from lightning_contrast.data import (
    SpanDeletion,
    SynonymSubstitution,
    TextDataModule,
    WordHalf,
    WordReordering,
)
from tests.data.wordnet_sample import write_wordnet

WORDS = [f"w{i}" for i in range(20)]


def drawn(view, count=200):
    random.seed(0)
    return [view.change(list(WORDS)) for _ in range(count)]


class TestSpanDeletion:
    def test_spans_leave_one_marker_each(self):
        for found in drawn(SpanDeletion(spans=1, share=0.2, marker="-")):
            at = found.index("-")
            assert found == [*WORDS[:at], "-", *WORDS[at + 4 :]]

    def test_spans_that_touch_are_one(self):
        for found in drawn(SpanDeletion(spans=5, share=0.1, marker="-")):
            kept = [word for word in found if word != "-"]
            assert kept == [word for word in WORDS if word in kept], "the order stays"
            assert 10 <= len(kept) <= 18
            assert all(one != "-" or two != "-" for one, two in itertools.pairwise(found))
            gaps = sum(a in kept and b not in kept for a, b in itertools.pairwise(["", *WORDS]))
            assert found.count("-") == gaps + (WORDS[0] not in kept)

    def test_nothing_is_the_identity_and_one_word_stays(self):
        assert drawn(SpanDeletion(spans=0), 1)[0] == drawn(SpanDeletion(share=0.0), 1)[0] == WORDS
        assert drawn(SpanDeletion(spans=1, share=1.0, marker=None), 1)[0] == WORDS[:1]
        assert SpanDeletion(marker=None)("word") == "word"


def test_order_alone_keeps_the_words():
    assert all(Counter(found) == Counter(WORDS) for found in drawn(WordReordering(0.5)))


class TestSynonyms:
    def test_a_table(self):
        view = SynonymSubstitution(1.0, {"w3": ["three"], "w4": ["four", "quattro"]})
        for found in drawn(view):
            assert found[3] == "three"
            assert found[4] in ("four", "quattro")
            assert [*found[:3], *found[5:]] == [*WORDS[:3], *WORDS[5:]]
        assert drawn(SynonymSubstitution(0.0, {"w3": ["three"]}), 1)[0] == WORDS
        share = sum(found[3] == "three" for found in drawn(SynonymSubstitution(0.3, {"w3": ["three"]}), 2000)) / 2000
        assert share == pytest.approx(0.3, abs=0.04)

    def test_of_wordnet(self, tmp_path):
        view = SynonymSubstitution(1.0, root=write_wordnet(tmp_path / "wordnet"))
        assert view("Dog and boat proper") == "dog proper and boat proper proper"


def test_halves_are_the_text():
    for text in ("one two three four", "one two three"):
        halves = [WordHalf(half)(text) for half in ("first", "second")]
        assert " ".join(halves) == text
    assert [WordHalf(half)("word") for half in ("first", "second")] == ["word", "word"]


def test_a_view_for_each_place(tmp_path):
    texts = [" ".join(f"{word}{i}" for word in WORDS[:4]) for i in range(40)]
    data = TextDataModule(texts, view=[None, WordHalf("first"), WordHalf("second")], batch_size=4)
    data.setup()
    views = data.train_set[0]["views"]
    assert views[0] == " ".join(views[1:])
    assert len(next(iter(data.train_dataloader()))["views"]) == 3


@pytest.mark.parametrize(
    "made",
    [
        lambda: SpanDeletion(spans=-1),
        lambda: SpanDeletion(share=1.1),
        lambda: SynonymSubstitution(1.1),
        lambda: WordHalf("third"),
        lambda: TextDataModule(["a"], n_views=0),
        lambda: TextDataModule(["a"], view=[None]),
        lambda: TextDataModule(["a"], sampler=lambda s, b: None, group_by_length=True),
    ],
)
def test_ranges(made):
    with pytest.raises(ValueError, match=r"must|need|use|give"):
        made()
