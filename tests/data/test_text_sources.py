"""DataModules of real texts: what they read, how they split, what they refuse."""

from itertools import pairwise

import pytest
import torch

from lightning_contrast.data import (
    HashedWords,
    PackageTextDataModule,
    PythonCodeDataModule,
    TextDataError,
    VerseDataModule,
    WordNetDataModule,
    verses,
)
from lightning_contrast.data.debian import DataNotFoundError
from lightning_contrast.data.python_code import documented
from lightning_contrast.data.text_parts import first_by_hash, in_parts
from lightning_contrast.data.text_rows import TextRows
from lightning_contrast.data.wordnet import Tree, read_wordnet
from lightning_contrast.encoders import BagOfWords
from tests.data.packages import write_sample
from tests.data.wordnet_sample import write_wordnet


@pytest.fixture(scope="module")
def wordnet(tmp_path_factory):
    return write_wordnet(tmp_path_factory.mktemp("wordnet"))


def texts(data, split):
    return {name: getattr(data._sets[split].rows, name) for name in ("query", "document")}


class TestWordNet:
    def test_synsets(self, wordnet):
        found = {one.key: one for one in read_wordnet(wordnet)}
        assert len(found) == 1 + 6 + 240 + 3
        dog = found["n00000100"]
        assert dog.words == ("dog", "dog proper")
        assert dog.gloss == "every dog and whatever is like one", "without the example"
        assert (dog.category, dog.broader) == (5, ("n00000001",))
        assert found["a00000003"].words == ("able", "fit"), "a satellite, without its (p)"

    def test_nearness_by_hand(self, wordnet):
        tree = Tree(read_wordnet(wordnet))
        one, beside, other = "n00100000", "n00100001", "n00101000"
        assert tree.nearness(one, one) == 1
        assert tree.nearness(one, beside) == pytest.approx(2 * 2 / 6), "depth 2 above two of depth 3"
        assert tree.nearness(one, "n00000100") == pytest.approx(2 * 2 / 5)
        assert tree.nearness(one, other) == pytest.approx(2 * 1 / 6)
        assert tree.nearness(one, "v00000002") == 0

    def test_definitions_are_in_one_split(self, wordnet):
        data = WordNetDataModule(root=str(wordnet), tokenizer=HashedWords())
        data.setup()
        seen = [texts(data, split) for split in ("train", "val", "test")]
        for side in ("query", "document"):
            sets = [set(one[side]) for one in seen]
            assert not sets[0] & sets[1]
            assert not sets[0] & sets[2]
            assert not sets[1] & sets[2]
        assert sum(len(one["query"]) for one in seen) == 250
        assert "dog, dog proper" in {text for one in seen for text in one["document"]}

    def test_hypernyms(self, wordnet):
        data = WordNetDataModule(task="hypernyms", root=str(wordnet), tokenizer=HashedWords(), batch_size=8)
        data.setup()
        for row in (data._bank[i] for i in (0, 5, 100)):
            kind = next(
                kind for kind in ("dog", "boat", "song", "tree", "meal", "coat", "thing") if kind in row["query"]
            )
            if row["query"].startswith("every"):
                assert row["document"] == "anything at all that there is"
            else:
                assert row["document"].startswith(f"every {kind}")
                assert kind in row["negative"][0]
            assert row["negative"][0] != row["query"]

    def test_similarity_is_in_range(self, wordnet):
        data = WordNetDataModule(task="similarity", root=str(wordnet), tokenizer=HashedWords())
        data.setup()
        score = data._bank.rows.known["score"]
        assert 0 <= min(score) < max(score) <= 1
        assert len(set(score)) > 2

    def test_glosses_have_labels(self, wordnet):
        data = WordNetDataModule(task="glosses", root=str(wordnet), tokenizer=HashedWords(), batch_size=8)
        data.setup()
        batch = next(iter(data.train_dataloader()))
        assert batch["label"].shape == (8,)
        assert len(batch["views"]) == 2

    @pytest.mark.parametrize("task", ["glosses", "definitions"])
    def test_held_out_categories_are_mixed(self, wordnet, task):
        """WordNet is sorted by category, in eight runs here: a loss over a run would compare within one category alone."""
        held, again = (WordNetDataModule(task=task, root=str(wordnet), tokenizer=HashedWords()) for _ in range(2))
        held.setup()
        again.setup()
        for split in ("train", "val", "test"):
            label = held._sets[split].rows.known["label"]
            changes = sum(a != b for a, b in pairwise(label))
            assert (changes < 12) if split == "train" else (changes > len(label) / 2), (split, label)
            assert texts(again, split) == texts(held, split)

    def test_bad(self, wordnet, tmp_path):
        with pytest.raises(DataNotFoundError, match=r"data\.noun.*wordnet-base"):
            WordNetDataModule(root=str(tmp_path)).prepare_data()
        with pytest.raises(ValueError, match=r"task='synonyms'.*definitions"):
            WordNetDataModule(task="synonyms")
        with pytest.raises(ValueError, match="subset=0"):
            WordNetDataModule(subset=0)
        cut = write_wordnet(tmp_path / "cut")
        (cut / "data.verb").write_text("00000002 38 v 01 run 0 0")
        with pytest.raises(DataNotFoundError, match=r"data\.verb, line 1.*cut"):
            read_wordnet(cut)


class TestPackages:
    def test_the_families_are_apart(self, tmp_path):
        data = PackageTextDataModule(root=str(write_sample(tmp_path)), tokenizer=HashedWords())
        data.setup()
        sets = [set(data._sets[name].rows.known["label"]) for name in ("train", "val", "test")]
        assert not sets[0] & sets[1]
        assert not sets[0] & sets[2]
        assert "120 pairs" in data.source

    def test_a_subset_is_the_same_for_all_and_smaller_everywhere(self, tmp_path):
        root = str(write_sample(tmp_path))
        found = []
        for _ in range(2):
            data = PackageTextDataModule(root=root, subset=60, tokenizer=HashedWords())
            data.setup()
            found.append([row for split in data._sets.values() for row in split.rows.query])
        assert found[0] == found[1]
        assert len(found[0]) == 60


class TestVerses:
    @pytest.fixture
    def bibles(self, monkeypatch):
        def read(name, root=None, cache_dir=None):
            return {
                ("Mark", chapter, verse): f"{name} {chapter} {verse} words"
                for chapter in range(1, 41)
                for verse in range(1, 6)
                if (name, verse) != (verses.WORLD, 5)
            }

        monkeypatch.setattr(verses, "read_verses", read)

    def test_the_same_place(self, bibles):
        data = VerseDataModule(tokenizer=HashedWords())
        data.setup()
        row = data._bank[3]
        assert row["query"].split()[1:] == row["document"].split()[1:]
        assert verses.WORLD in row["document"]
        assert sum(len(one) for one in data._sets.values()) == 40 * 4, "what only one Bible has is left out"

    def test_neighbours_stay_in_the_chapter(self, bibles):
        data = VerseDataModule(task="neighbours", tokenizer=HashedWords())
        data.setup()
        for number in range(20):
            row = data._bank[number]
            (_, chapter, verse, _), (_, other, after, _) = row["query"].split(), row["document"].split()
            assert (chapter, int(verse) + 1) == (other, int(after))

    def test_marks_are_taken_away(self):
        assert verses.cleaned("¶ And  [it] came") == "And it came"

    @pytest.mark.slow
    def test_real(self):
        pytest.importorskip("pysword")
        try:
            data = VerseDataModule(task="translation", tokenizer=HashedWords())
            data.prepare_data()
        except DataNotFoundError as error:
            pytest.skip(str(error))
        data.setup()
        assert 7850 < sum(len(one) for one in data._sets.values()) < 8000


class TestPythonCode:
    def test_docstring_and_code(self, tmp_path, monkeypatch):
        package = tmp_path / "made_up_package"
        package.mkdir()
        (package / "__init__.py").write_text(
            'def add(a, b):\n    """Add one number to another.\n\n    More of it.\n    """\n    return a + b\n\n\n'
            'def short():\n    """Too short."""\n    return 1\n'
        )
        (package / "broken.py").write_text("def (:\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        [found] = documented(["made_up_package"])
        assert found.says == "Add one number to another."
        assert found.code == "def add(a, b):\n    return a + b"

    def test_real(self):
        data = PythonCodeDataModule(packages=["rich"], tokenizer=HashedWords(), batch_size=4)
        data.setup()
        assert len(data.train_set) > 100
        assert '"""' not in data._bank[0]["document"][:200]

    def test_bad(self):
        with pytest.raises(TextDataError, match="'no_such_package' is no installed package"):
            PythonCodeDataModule(packages=["no_such_package"]).setup()


def test_parts_keep_keys_together():
    keys = [str(i // 3) for i in range(300)]
    parts = in_parts(TextRows(query=keys, places=keys), keys)
    assert sum(len(one) for one in parts.values()) == 300
    assert not set(parts["train"].query) & set(parts["val"].query)
    asked_again = in_parts(TextRows(query=["the same"] * 300, places=keys), keys)
    assert set(asked_again) == {"train"}, "a query of training is not held out"
    chosen = first_by_hash(keys, 30)
    assert len({keys[row] for row in chosen}) == 10
    assert set(first_by_hash(keys, 15)) < set(chosen), "a smaller subset is part of a larger one"


class TestHashedWords:
    def test_it_is_what_bag_of_words_reads(self):
        words = HashedWords(words=50)
        z = BagOfWords(words=50, output_dim=4)(words(["a dog", "dog a", "cat"]))
        torch.testing.assert_close(z[0], z[1])
        assert not torch.equal(z[0], z[2])

    def test_what_is_cut_is_told_once(self):
        words = HashedWords(words=50, length=3)
        with pytest.warns(UserWarning, match=r"1 of the first 2 texts.*length=3"):
            assert words(["a b c d", "a b"]).shape == (2, 3)
        assert (words.cut, words.texts) == (1, 2)
        words(["a b c d"])
        assert words.cut == 2

    @pytest.mark.parametrize("bad", [{"words": 1}, {"length": 0}])
    def test_bad(self, bad):
        with pytest.raises(ValueError, match="need at least 2 words"):
            HashedWords(**bad)
