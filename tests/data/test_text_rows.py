"""Texts from files: read, and refused with the line that is wrong."""

import gzip
import json
import random
import warnings

import pytest

from lightning_contrast.cli.quiet import quiet_lightning
from lightning_contrast.data import (
    TextDataError,
    TextViewsInTurn,
    WordCropping,
    WordDeletion,
    WordReordering,
    WordRepetition,
)
from lightning_contrast.data.text_files import records
from lightning_contrast.data.text_parts import tell_of_leaks
from lightning_contrast.data.text_rows import TextRows, read_rows, read_texts
from lightning_contrast.data.text_sets import Numbers, groups_of
from lightning_contrast.data.tokenizer import SPECIAL, vocabulary

PAIRS = [{"query": "a chess game", "document": "plays chess, with you"}, {"query": "mail", "document": 'reads "mail"'}]


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


class TestFiles:
    def test_all_kinds_hold_the_same(self, tmp_path):
        import csv

        files = [jsonl(tmp_path / "p.jsonl", PAIRS)]
        with open(tmp_path / "p.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, ["query", "document"])
            writer.writeheader()
            writer.writerows(PAIRS)
        (tmp_path / "p.tsv").write_text("query\tdocument\n" + "".join("\t".join(r.values()) + "\n" for r in PAIRS))
        (tmp_path / "p.jsonl.gz").write_bytes(gzip.compress((tmp_path / "p.jsonl").read_bytes()))
        files += [str(tmp_path / name) for name in ("p.csv", "p.tsv", "p.jsonl.gz")]
        for file in files:
            rows = read_rows(file)
            assert rows.query == [row["query"] for row in PAIRS], file
            assert rows.document == [row["document"] for row in PAIRS], file

    def test_parquet(self, tmp_path):
        pa = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pa.Table.from_pylist(PAIRS), tmp_path / "p.parquet")
        assert read_rows(str(tmp_path / "p.parquet")).document == [row["document"] for row in PAIRS]
        whole = (tmp_path / "p.parquet").read_bytes()
        (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(TextDataError, match=r"cut\.parquet: is no whole Parquet"):
            read_rows(str(tmp_path / "cut.parquet"))

    def test_a_text_may_hold_other_line_separators(self, tmp_path):
        (tmp_path / "p.jsonl").write_text('{"text": "one\u2028line"}\n', encoding="utf-8")
        assert read_rows(str(tmp_path / "p.jsonl")).query == ["one\u2028line"]

    @pytest.mark.parametrize(
        ("name", "content", "words"),
        [
            ("p.jsonl", '{"text": "a"}\n\n{"text": "b', "line 3: is no JSON.*cut in the middle"),
            ("p.jsonl", '{"text": "a"}\n{text}\n{"text": "b"}\n', r"line 2: is no JSON.*\.$"),
            ("p.csv", "query,document\na,b\nc,d,e\n", "line 3: has 3 columns, the first line 2"),
            ("p.csv", 'query,document\n"a\nb",c\nd\n', "line 4: has 1 columns"),
            ("p.csv", 'query,document\na,"b\n', "line 2: unexpected end"),
            ("p.jsonl", " \n", "is empty"),
            ("p.txt", "a", "must end in one of"),
            ("p.jsonl.gz", "a", "broken off or no gzip"),
        ],
    )
    def test_broken(self, tmp_path, name, content, words):
        (tmp_path / name).write_text(content)
        with pytest.raises(TextDataError, match=words):
            list(records(str(tmp_path / name)))

    def test_not_there_and_not_utf8(self, tmp_path):
        with pytest.raises(TextDataError, match="no such file"):
            read_rows(str(tmp_path / "p.jsonl"))
        (tmp_path / "p.jsonl").write_bytes(b'{"text": "a"}\n{"text": "\xff"}\n')
        with pytest.raises(TextDataError, match="line 2: is no UTF-8"):
            read_rows(str(tmp_path / "p.jsonl"))
        with pytest.raises(TextDataError, match="pass one split"):
            read_rows({"train": PAIRS})


class TestRows:
    def test_tuples(self):
        rows = read_rows([("q", "d", "n1", "n2"), ("r", "e", "m1", "m2")])
        assert rows.negative == [["n1", "n2"], ["m1", "m2"]]
        assert read_rows(["a", "b"]).plain
        numbered = read_rows([{"anchor": "q", "positive": "d", "negative_2": "y", "negative_1": "x"}])
        assert (numbered.query, numbered.document, numbered.negative) == (["q"], ["d"], [["x", "y"]])

    def test_a_graded_list_is_a_row_a_document(self):
        rows = read_rows([{"query": "q", "documents": ["a", "b"], "scores": [2, 0.5], "document_ids": ["x", 7]}])
        assert (rows.query, rows.document) == (["q", "q"], ["a", "b"])
        assert rows.known == {"score": [2.0, 0.5]}
        assert rows.ids["document"] == {"x": "a", "7": "b"}

    def test_ids_in_place_of_texts(self):
        documents = read_texts([{"_id": 1, "title": "T", "text": "one"}, {"_id": "2", "text": "two"}], "document")
        rows = read_rows([{"query": "q", "document_id": "2"}, {"query": "r", "document_id": 1}], documents=documents)
        assert rows.document == ["two", "T one"]

    def test_columns(self):
        rows = read_rows([{"question": "q", "answer": "a"}], {"query": "question", "document": "answer"})
        assert (rows.query, rows.document) == (["q"], ["a"])

    @pytest.mark.parametrize(
        ("bad", "words"),
        [
            ({"query": " \t", "document": "d"}, "item 1: query is empty"),
            ({"query": "q", "document": None}, "item 1: document must be a text, got None"),
            ({"question": "q", "answer": "d"}, r"item 1: no column 'query'; there are \['answer', 'question'\]"),
            ({"query": "q", "document": "d", "negative": "n"}, "item 1: .* same tuple as those of item 0"),
            ({"query": "q", "document": "d", "score": 1}, "item 1: .* same tuple"),
            ({"query": "q", "document": "d", "label": 1.5}, "label must be a whole number"),
            ({"query": "q", "document": "d", "score": "nan"}, "score must be a finite number"),
            ({"query": "q", "document_id": 8}, "item 1: document_id '8' is unknown"),
            ({"query": "q", "document": "d", "query_id": 1.0}, "query_id must be a string or a whole number"),
            ({"text": "t"}, "item 1: single texts and pairs are mixed"),
            ({"query": "q", "documents": ["d"], "scores": [0]}, "without positives"),
            ({"query": "q", "documents": ["d"], "scores": []}, "two lists of equal length"),
            (7, "must be a mapping, a text or a tuple"),
        ],
    )
    def test_refused(self, bad, words):
        with pytest.raises(TextDataError, match=words):
            read_rows([PAIRS[0], bad])

    def test_an_id_has_one_text(self, tmp_path):
        rows = [{"query": "a", "document": "x", "document_id": 5}, {"query": "b", "document": "y", "document_id": 5}]
        with pytest.raises(TextDataError, match=r"p\.jsonl, line 2: document_id '5' has another text"):
            read_rows(jsonl(tmp_path / "p.jsonl", rows))
        with pytest.raises(TextDataError, match="item 1: id '5' has another text"):
            read_texts([{"id": 5, "text": "x"}, {"id": 5, "text": "y"}], "document")

    def test_columns_that_are_not_there(self):
        with pytest.raises(TextDataError, match=r"no column 'ask' .*there are \['document', 'query'\]"):
            read_rows(PAIRS, {"query": "ask"})


@pytest.mark.parametrize(("scores", "told"), [(True, 1), (False, 0)])
def test_queries_that_are_trained_on_too_are_told_once_and_only_of_scores(scores, told):
    rows = {
        name: TextRows(query=texts) for name, texts in {"train": ["a", "b"], "val": ["A", "c"], "test": ["b"]}.items()
    }
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        quiet_lightning(scores=scores)
        tell_of_leaks(rows)
    assert [str(one.message) for one in found] == told * [
        "1 of 2 queries of val and 1 of 1 queries of test are in train as well: figures will flatter."
    ]


def test_numbers_and_groups():
    numbers = Numbers()
    assert numbers.of(["A  b", "c", "a B"]) == [0, 1, 0]
    assert numbers.texts == ["A  b", "c"]
    assert groups_of([0, 1, 2, 1], [5, 6, 5, 7]) == [0, 1, 0, 1]
    assert groups_of([0, 1, 0, 3], [5, 6, 6, 8]) == [0, 0, 0, 3]  # 0 and 2 share a query, 1 and 2 a document


def test_the_vocabulary_does_not_depend_on_the_order_of_texts():
    texts = ["the map of the town", "a map", "zebra crossing crossing", "mapping mapping"]
    found = vocabulary(texts, 100)
    assert found == vocabulary(texts[::-1], 100)
    assert tuple(found[:5]) == SPECIAL
    assert len(found) == len(set(found)) <= 100
    assert {"map", "the", "##a", "a"} <= set(found)


class TestViews:
    WORDS = [f"w{number}" for number in range(20)]

    def drawn(self, view, count=200):
        random.seed(0)
        return [view(" ".join(self.WORDS)).split() for _ in range(count)]

    def test_deletion(self):
        found = self.drawn(WordDeletion(0.25))
        assert all(words == [w for w in self.WORDS if w in words] for words in found)
        assert sum(map(len, found)) / 200 == pytest.approx(15, abs=0.5)
        assert self.drawn(WordDeletion(0.0))[0] == self.WORDS
        assert len(self.drawn(WordDeletion(0.999))[0]) == 1

    def test_reordering(self):
        found = self.drawn(WordReordering(0.3))
        assert all(sorted(words) == sorted(self.WORDS) for words in found)
        moved = [[place for place in range(20) if words[place] != self.WORDS[place]] for words in found]
        assert max(max(places) - min(places) + 1 for places in moved if places) == 6
        assert self.drawn(WordReordering(0.0))[0] == self.WORDS

    def test_repetition_is_the_papers(self):
        found = self.drawn(WordRepetition(0.32), 2000)
        lengths = [len(words) - 20 for words in found]
        assert set(lengths) == set(range(7))  # 0 .. max(2, int(0.32 * 20)) = 6
        assert sum(lengths) / 2000 == pytest.approx(3, abs=0.15)
        for words in found:  # repeated words are neighbours
            assert [w for place, w in enumerate(words) if place == 0 or words[place - 1] != w] == self.WORDS
        assert self.drawn(WordRepetition(0.0))[0] == self.WORDS
        assert max(len(WordRepetition(0.32)("one").split()) for _ in range(50)) == 2

    def test_cropping(self):
        found = self.drawn(WordCropping(0.1, 0.5))
        for words in found:
            start = self.WORDS.index(words[0])
            assert words == self.WORDS[start : start + len(words)]
        assert {len(words) for words in found} == set(range(2, 11))

    def test_in_turn_is_one_after_the_other(self):
        both = self.drawn(TextViewsInTurn([WordCropping(0.5, 0.5), WordDeletion(0.1)]), 2000)
        assert sum(map(len, both)) / 2000 == pytest.approx(9, abs=0.1)  # ten words, a tenth of them left out
        assert all(self.WORDS.index(words[-1]) - self.WORDS.index(words[0]) < 10 for words in both)
        assert self.drawn(TextViewsInTurn([WordCropping()]), 5) == self.drawn(WordCropping(), 5)

    @pytest.mark.parametrize("view", [WordDeletion(0.9), WordReordering(), WordRepetition(), WordCropping()])
    def test_short_texts_stay_texts(self, view):
        assert view("one") in ("one", "one one")

    @pytest.mark.parametrize(
        "make",
        [
            lambda: WordDeletion(1.0),
            lambda: WordReordering(1.1),
            lambda: WordRepetition(-0.1),
            lambda: WordCropping(0.0),
            lambda: WordCropping(0.5, 0.4),
            lambda: TextViewsInTurn([]),
        ],
    )
    def test_out_of_range(self, make):
        with pytest.raises(ValueError, match=r"must lie|need 0|at least one"):
            make()
