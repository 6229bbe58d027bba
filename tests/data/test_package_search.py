"""Package descriptions: parsed, numbered, split by family, and the search that is made of them."""

import subprocess

import pytest
import torch

from lightning_contrast.data import PackageSearchDataModule, TokenPairs, check_batch, package_descriptions
from lightning_contrast.data.debian import DataNotFoundError, debian_index
from lightning_contrast.data.package_descriptions import (
    FILE,
    Description,
    families,
    find_package_descriptions,
    parse_index,
    read_descriptions,
    write_descriptions,
)
from lightning_contrast.data.text_parts import part_of
from lightning_contrast.data.words import word_table, words_of
from tests.data.packages import sample, write_sample

INDEX = """\
Package: libtoy2
Source: toy (2.0-1)
Version: 2.0

Package: toy
Version: 2.0
"""
TEXTS = """\
Package: toy
Description-md5: 0
Description-en: a toy
 Winds up.
 .
 And runs:
  * fast

Package: libtoy2
Description-en: library of a toy
 Makes it wind.

Package: nothing
Description-en: has no long text

Package: toy
Description-en: an older toy
 Older.
"""


@pytest.fixture
def root(tmp_path):
    return str(write_sample(tmp_path / "sample"))


def made(root, **arguments):
    data = PackageSearchDataModule(root=root, **{"batch_size": 16, "words": 5000, **arguments})
    data.prepare_data()
    data.setup()
    return data


class TestDescriptions:
    def test_the_index_by_hand(self):
        assert parse_index(INDEX, TEXTS) == [
            Description("libtoy2", "toy", "library of a toy", "Makes it wind."),
            Description("toy", "toy", "a toy", "Winds up.\n\nAnd runs:\n* fast"),
        ]

    def test_written_and_read(self, tmp_path):
        write_descriptions(tmp_path / FILE, sample())
        found, checksum = read_descriptions(tmp_path / FILE)
        assert found == sample()
        first = (tmp_path / FILE).read_bytes()
        write_descriptions(tmp_path / FILE, sample())
        assert (tmp_path / FILE).read_bytes() == first
        write_descriptions(tmp_path / FILE, sample()[1:])
        assert read_descriptions(tmp_path / FILE)[1] != checksum

    def test_families_join_sources_that_say_the_same(self):
        texts = [("c", "1"), ("b", "1"), ("b", "2"), ("a", "3"), ("d", "2 "), ("e", "4")]
        found = families([Description("", source, "", long) for source, long in texts])
        assert found == ["b", "b", "b", "a", "b", "e"]

    def test_a_broken_file_is_told(self, tmp_path):
        for content in (b"no gzip", b""):
            (tmp_path / FILE).write_bytes(content)
            with pytest.raises(DataNotFoundError, match="fetch it again"):
                read_descriptions(tmp_path / FILE)

    def test_a_folder_without_the_file(self, tmp_path):
        with pytest.raises(DataNotFoundError, match=FILE):
            find_package_descriptions(tmp_path)

    def test_without_apt(self, tmp_path, monkeypatch):
        monkeypatch.setenv("PATH", "/nowhere")
        with pytest.raises(DataNotFoundError, match=r"apt-get is not on this machine.*give root="):
            find_package_descriptions(cache_dir=tmp_path)
        assert list((tmp_path / "debian").iterdir()) == []

    def test_fetched_once(self, tmp_path, monkeypatch):
        monkeypatch.setattr(package_descriptions, "debian_index", lambda folder: (INDEX, TEXTS))
        path = find_package_descriptions(cache_dir=tmp_path)
        assert len(read_descriptions(path)[0]) == 2
        monkeypatch.setattr(package_descriptions, "debian_index", None)
        assert find_package_descriptions(cache_dir=tmp_path) == path

    def test_apt_is_asked_for_english_lists_in_a_folder_of_ours(self, tmp_path, monkeypatch):
        asked = []

        def run(command, cwd, **_):
            asked.append(command)
            if "update" in command:
                for name, text in (("x_main_binary-amd64_Packages", INDEX), ("x_main_i18n_Translation-en", TEXTS)):
                    (tmp_path / "lists" / name).write_text(text)
                return subprocess.CompletedProcess(command, 0, "", "")
            return subprocess.CompletedProcess(command, 0, open(command[-1]).read(), "")

        monkeypatch.setattr(subprocess, "run", run)
        monkeypatch.setattr("shutil.which", lambda tool: tool)
        assert debian_index(tmp_path) == (INDEX, TEXTS)
        assert "Acquire::Languages=en" in asked[0]
        assert f"Dir::State::lists={tmp_path / 'lists'}" in asked[0]


class TestWords:
    def test_words(self):
        assert words_of("C# and C++: 64-bit, naïve_x!") == ["c#", "and", "c++", "64", "bit", "naïve", "x"]

    def test_numbers_do_not_depend_on_the_other_texts(self):
        alone, beside = word_table(["b c"], 1000, 9), word_table(["a a a", "x b c"], 1000, 9)
        assert alone[0].tolist() == beside[1, 1:3].tolist()
        assert beside.shape == (2, 3)
        assert word_table(["b c d"], 1000, 2).tolist() == alone.tolist()
        assert word_table([""], 1000, 4).tolist() == [[0]]
        many = word_table([" ".join(map(str, range(500)))], 7, 500)
        assert (int(many.min()), int(many.max())) == (1, 6)

    def test_wrong_numbers(self):
        for words, length in ((1, 4), (9, 0)):
            with pytest.raises(ValueError, match="words="):
                word_table(["a"], words, length)


class TestTokenPairs:
    def test_a_batch_is_cut_to_its_longest_row(self):
        tokens = torch.tensor([[1, 2, 3, 0], [4, 0, 0, 0], [0, 0, 0, 0]])
        pairs = TokenPairs(tokens, tokens, torch.tensor([7, 8, 9]), label=torch.tensor([0, 1, 1]))
        batch = pairs.__getitems__([2, 1])
        assert batch["query"].tolist() == [[0], [4]]
        assert batch["index"].tolist() == [9, 8]
        assert pairs.__getitems__([0])["document"].tolist() == [[1, 2, 3]]
        assert pairs.__getitems__([2])["document"].tolist() == [[0]]
        assert pairs[0]["label"] == 0

    def test_wrong_shapes(self):
        tokens = torch.ones(3, 2, dtype=torch.int32)
        with pytest.raises(ValueError, match="document must be integers with 3 rows"):
            TokenPairs(tokens, tokens[:2])
        with pytest.raises(ValueError, match=r"label must be \[3\]"):
            TokenPairs(tokens, tokens, label=torch.ones(2))


class TestDataModule:
    def test_batches(self, root):
        data = made(root)
        for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader(), data.bank_dataloader()):
            batch = next(iter(loader))
            check_batch(batch)
            assert set(batch) == {"query", "document", "index", "label", "document_id"}
            assert batch["query"].dtype == torch.int32
        assert "120 pairs, SHA-256 " in data.source

    def test_rows_are_the_package_of_their_index(self, root):
        data = made(root)
        batch = next(iter(data.train_dataloader()))
        table = word_table([one.long for one in sample()], 5000, 96)
        for row, index in zip(batch["document"], batch["index"].tolist(), strict=True):
            assert row[row > 0].tolist() == table[index][table[index] > 0].tolist()

    def test_no_family_and_no_document_is_in_two_splits(self, root):
        data = made(root)
        parts = [data.train_set, data.val_set, data.test_set]
        assert sum(map(len, parts)) == 120
        assert min(map(len, parts)) > 0
        for key in ("label", "document_id"):
            sets = [set(part.payload[key].tolist()) for part in parts]
            assert sum(map(len, sets)) == len(set.union(*sets))

    def test_the_corpus_has_every_text_once(self, root):
        data = made(root)
        assert len(data.corpus) == len({one.long for one in sample()}) == 110
        ids = torch.cat([batch["document_id"] for batch in data.corpus_dataloader()])
        assert ids.tolist() == list(range(110))
        manual = [i for i, one in enumerate(sample()) if one.long == "The manual of a map program."]
        known = {int(i): int(d) for p in (data.train_set, data.val_set, data.test_set)
                 for i, d in zip(p.index, p.payload["document_id"], strict=True)}  # fmt: skip
        assert len({known[i] for i in manual}) == 1
        assert len(manual) == 2

    def test_the_split_is_the_names_own(self):
        parts = torch.tensor([part_of(str(i)) for i in range(4000)]).bincount() / 4000
        assert parts.tolist() == pytest.approx([0.9, 0.05, 0.05], abs=0.02)

    def test_subset(self, root):
        whole, some = made(root), made(root, subset=30)
        assert len(some.train_set) == 30
        assert len(some.corpus) == len(whole.corpus)
        assert set(some.train_set.index.tolist()) < set(whole.train_set.index.tolist())
        assert not torch.equal(some.train_set.index, made(root, subset=30, seed=1).train_set.index)

    @pytest.mark.parametrize(
        "wrong", [{"batch_size": 0}, {"subset": 0}, {"words": 1}, {"query_words": 0}, {"document_words": 0}]
    )
    def test_wrong_numbers(self, wrong):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            PackageSearchDataModule(**wrong)
