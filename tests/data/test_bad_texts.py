"""What is wrong with texts is said before anything is trained or written: file, line, what is allowed, what to do."""

import gzip
import json

import pytest

from lightning_contrast.cli.main import main
from lightning_contrast.data import HashedWords, TextDataError, TextDataModule, TextTokenizer

PAIRS = [{"query": f"question {n}", "document": f"answer {n}"} for n in range(60)]
TEXTS = [{"id": n, "text": f"text {n}"} for n in range(60)]
BY_ID = [{"query_id": n, "document_id": n} for n in range(60)]


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


CASES = {
    "empty text": ("p.jsonl", lines([*PAIRS, {"query": "", "document": "d"}]), "line 61: query is empty; leave the row out"),
    "white text": ("p.csv", "query,document\na,b\nc, \t \n", "line 3: document is empty"),
    "no text": ("p.jsonl", lines([*PAIRS, {"query": 5, "document": "d"}]), "line 61: query must be a text, got 5"),
    "half a letter": ("p.jsonl", '{"query": "a\\ud800", "document": "b"}\n', "line 1: query holds half a letter"),
    "an empty file": ("p.jsonl", "", "is empty"),
    "names alone": ("p.csv", "query,document\n", "no texts in"),
    "cut JSON": ("p.jsonl", lines(PAIRS)[:-9], "line 60: is no JSON .* cut in the middle of its last line"),
    "cut CSV": ("p.csv", 'query,document\na,b\n"c,d\n', "line 3: unexpected end of data"),
    "cut TSV": ("p.tsv", "query\tdocument\na\tb\nc", "line 3: has 1 columns, the first line 2 .* was cut"),
    "cut gz": ("p.jsonl.gz", gzip.compress(lines(PAIRS).encode())[:-30], "broken off or no gzip"),
    "cut Parquet": ("p.parquet", b"PAR1" + b"\0" * 40, "is no whole Parquet file"),
    "other columns": ("p.csv", "frage,antwort\na,b\n", r"no column 'query'; there are \['antwort', 'frage'\].*'query': 'frage'"),
    "a column twice": ("p.csv", "query,query,document\na,b,c\n", "more than one column is called 'query'; rename"),
    "semicolons": ("p.csv", "query;document\na;b\n", "seems to be separated by ';'"),
    "one list": ("p.jsonl", json.dumps(PAIRS), "line 1: is a list of 60 records; .* one record a line"),
    "other ending": ("p.json", lines(PAIRS), r"must end in one of \.jsonl, \.csv"),
    "widths": (
        "p.jsonl",
        lines([{**PAIRS[0], "negative": ["n"]}, {**PAIRS[1], "negative": ["n", "m"]}]),
        r"line 2: query \+ document \+ 2 negatives do not .* line 1, query \+ document \+ 1 negative:",
    ),
    "Latin 1": ("p.csv", "query,document\na,b\nk\xe4se,c\n".encode("latin-1"), "line 3: is no UTF-8 .*save the file as UTF-8"),
    "UTF-16": ("p.jsonl", lines(PAIRS).encode("utf-16"), "it begins as UTF-16 does; save the file as UTF-8"),
    "label": ("p.jsonl", lines([{**row, "label": "cat"} for row in PAIRS]), "line 1: label must be a whole number"),
    "score": ("p.jsonl", lines([{**row, "score": "high"} for row in PAIRS]), "line 1: score must be a finite number, got 'high'"),
    "an id twice": (
        "p.jsonl", lines([{**PAIRS[0], "document_id": 1}, {**PAIRS[1], "document_id": 1}]), "line 2: document_id '1' has another text",
    ),
    "no positive": ("p.jsonl", lines([*PAIRS, {"query": "q", "documents": ["d"], "scores": [0]}]), "line 61: a query without positives"),
    "unequal lists": ("p.jsonl", lines([{"query": "q", "documents": ["d"], "scores": []}]), "two lists of equal length"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_refused_with_its_line(name, tmp_path):
    file, content, words = CASES[name]
    if file.endswith("parquet"):
        pytest.importorskip("pyarrow")
    path = tmp_path / file
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(TextDataError, match=f"(?s){words}") as raised:
        TextDataModule(str(path), tokenizer=HashedWords(words=100)).setup()
    assert file in str(raised.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"train": [*BY_ID, {"query_id": 3, "document_id": 99}]},
            "train.jsonl, line 61: document_id '99' is unknown: none of the 60",
        ),
        (
            {"queries": [*TEXTS, {"id": 99, "text": "lonely"}]},
            "1 of 61 queries have no positive in any split, such as '99'",
        ),
        (
            {"documents": [*TEXTS, {"id": 3, "text": "another"}]},
            "documents.jsonl, line 61: id '3' has another text than before",
        ),
        ({"documents": [{"text": "x"}]}, r"documents.jsonl, line 1: no column 'id'; there are \['text'\]"),
    ],
)
def test_ids_that_do_not_fit_together(tmp_path, given, words):
    files = {"train": BY_ID, "queries": TEXTS, "documents": TEXTS, **given}
    for name, rows in files.items():
        (tmp_path / f"{name}.jsonl").write_text(lines(rows))
    sources = {name: str(tmp_path / f"{name}.jsonl") for name in files}
    with pytest.raises(TextDataError, match=words):
        TextDataModule(**sources, tokenizer=HashedWords(words=100)).setup()


def test_a_long_line_is_no_error(tmp_path):
    """A text of a million letters is cut by the tokenizer, told of once, and counted."""
    for name, content in (
        ("p.csv", f"query,document\na,{'word ' * 200_000}\nb,c\n"),
        ("p.jsonl", lines([PAIRS[0], {"query": "a", "document": "word " * 200_000}])),
    ):
        (tmp_path / name).write_text(content)
        data = TextDataModule(str(tmp_path / name), tokenizer=HashedWords(words=100), batch_size=2)
        data.setup()
        with pytest.warns(UserWarning, match="1 of the first .* more than length=") as told:
            [list(data.bank_dataloader()) for _ in range(3)]
        assert len([one for one in told if "more than" in str(one.message)]) == 1
        assert data.tokenizer.cut == 3


def test_on_the_command_line_it_stands_alone_and_nothing_is_written(tmp_path, capsys):
    (tmp_path / "p.jsonl").write_text(lines(PAIRS)[:-9])
    args = ["--data=TextDataModule", f"--data.train={tmp_path / 'p.jsonl'}", "--data.tokenizer=HashedWords"]
    code = main(
        [
            "fit",
            "--config=text-search",
            *args,
            "--trainer.callbacks=SearchEvaluation",
            f"--trainer.default_root_dir={tmp_path / 'runs'}",
        ]
    )
    said = capsys.readouterr().err
    assert code == 1
    assert "p.jsonl, line 60: is no JSON" in said
    assert "Traceback" not in said
    assert not list(tmp_path.glob("runs/**/*.ckpt"))


def test_a_folder_without_a_tokenizer(tmp_path):
    pytest.importorskip("transformers")
    with pytest.raises(ValueError, match=r"transformers finds no tokenizer there .* is tokenizer\.json missing\?"):
        TextTokenizer(model=str(tmp_path))
