"""Files that a person brings: read as they were meant, or refused with the file, the place and the way out."""

import json
import random
from pathlib import Path

import pandas as pd
import pytest

from steering.jobs.reading import bounded, decoded, parse_json, read_json, read_text
from steering.jobs.tables import csv_text, inert, table_rows, to_csv

TEXT = "positive,negative\r\n“café” 猫,Straße 🙂\r\n"
ROW = {"positive": "“café” 猫", "negative": "Straße 🙂"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be"])
def test_encodings_that_show_themselves_are_read(encoding: str) -> None:
    text = TEXT if "16-" not in encoding else TEXT.replace("猫", "cat").replace("🙂", "x") * 20
    assert decoded(text.encode(encoding)) == text
    big = ("\ufeff" + TEXT).encode("utf-16-be"), ("\ufeff" + TEXT).encode("utf-32-be")
    assert [decoded(one) for one in big] == [TEXT, TEXT]
    assert [row.values for row in table_rows(TEXT.encode("utf-16"), "csv")] == [ROW]


@pytest.mark.parametrize("encoding", ["cp1252", "mac_roman", "cp1251", "shift_jis", "gb18030", "koi8_r"])
def test_an_encoding_that_does_not_show_itself_is_not_guessed(encoding: str) -> None:
    words = {"cp1251": "кошка", "koi8_r": "кошка", "shift_jis": "猫です", "gb18030": "我喜欢这部电影"}.get(
        encoding, "Straße"
    )
    with pytest.raises(ValueError, match=r"^pairs\.csv, line 2: not UTF-8 \(byte 0x..; .*CSV UTF-8"):
        decoded(f"positive,negative\n{words},no\n".encode(encoding), "pairs.csv")


def test_the_sentence_shows_what_the_word_would_be() -> None:
    with pytest.raises(ValueError, match="Line 3: .*'I like café,no'"):
        decoded("a,b\r\nc,d\r\nI like café,no\r\n".encode("cp1252"))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"PK\x03\x04....", "Excel workbook.*CSV UTF-8"),
        (b"\x1f\x8b\x08", "gzip, not text. Unpack"),
        (b"PAR1....", "Parquet"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"\n<!DOCTYPE html><html>", "web page.*download"),
        (b"fine\na\x00b", "line 2: a zero byte"),
        (b"\xff\xfea", "begins as UTF-16-LE and is damaged"),
        (b"\x00\xff\xfe\x00\x01\x80", "binary"),
    ],
)
def test_what_is_no_text_is_named(data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=f"^x.csv.*{said}"):
        decoded(data, "x.csv")


def test_sizes_and_files(tmp_path: Path) -> None:
    file = tmp_path / "big.txt"
    file.write_bytes(b"a" * 11)
    assert bounded(file, 11) == b"a" * 11 and read_text(file, 11) == "a" * 11
    for make in (lambda: bounded(file, 10), lambda: read_text(file, 10), lambda: decoded(b"a" * 11, "big.txt", 10)):
        with pytest.raises(ValueError, match=r"^big\.txt is larger than the 10 bytes that are read"):
            make()
    for path in (tmp_path, tmp_path / "none", Path("/dev/zero")):
        with pytest.raises(ValueError, match="is no file"):
            bounded(path)


def test_json_is_unambiguous_and_bounded() -> None:
    assert parse_json('{"a": 1, "a": 1}') == {"a": 1}
    for text, said in (
        ('{"a": 1, "a": 2}', "x.json: an object names 'a' twice"),
        ("[" * 100_000, "nested too deeply"),
        ("9" * 5000, "expected JSON .*digits"),
        ('{"a":\n oops}', "x.json, line 2: expected JSON"),
        ('{"a": 1}\n{"a": 2}\n', "x.json, line 2: .*named .jsonl"),
        ("a,b\n1,2", "spreadsheet is named .csv"),
    ):
        with pytest.raises(ValueError, match=said):
            read_json(text, "x.json")
    with pytest.raises(ValueError, match="x.jsonl, line 1: .*named .json"):
        table_rows('[\n{"a": 1}\n]', "jsonl", name="x.jsonl")


# Tables ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("first", ["", "sep={}", '"sep={}"'])
def test_what_spreadsheets_write(end: str, delimiter: str, first: str) -> None:
    """Any delimiter, line end and Excel's first line; empty rows, as formatted ones are kept; a quoted line end."""
    lines = [first.format(delimiter)] if first else []
    lines += [f"positive{delimiter}negative{delimiter}", f'"I, love; it"{delimiter}"I{end}hate it"{delimiter}']
    lines += [delimiter * 2, "", f" {delimiter}", f'"yes{delimiter} yes"{delimiter}no{delimiter}{delimiter}']
    found = table_rows(end.join([*lines, delimiter, ""]).encode(), "csv")
    assert [row.values["positive"] for row in found] == ["I, love; it", f"yes{delimiter} yes"]
    assert found[0].values == {"positive": "I, love; it", "negative": f"I{end}hate it"}
    assert found[0].where == ("line 3" if first else "line 2")


def test_a_row_is_named_by_the_line_on_which_it_begins() -> None:
    text = 'a,b\n"one\ntwo",x\n3,4,5\n'
    with pytest.raises(ValueError, match="t.csv, line 4: the header has 2 columns; got 3"):
        table_rows(text, "csv", name="t.csv")
    with pytest.raises(ValueError, match="Line 2: .*double quotes that begins in this row never ends"):
        table_rows('a,b\n"one,x\n3,4\n', "csv")
    assert [row.where for row in table_rows('a,b\n"one\ntwo",x\n3,4\n', "tsv")] == ["line 2", "line 4"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,a,b\n1,2,3\n", "'a' comes twice"),
        ("a, a ,b\n1,2,3\n", "'a' comes twice"),
        ("a,b,\nI, love it,no\n", "the header has 2 columns; got 3"),
        ('{"a": 1}\n', "this is JSON"),
        ('a,b\n"x"y,z\n', "not a CSV row"),
        ("a,b\n" + "x" * 1_100_000 + ",y\n", "a cell of more than"),
    ],
)
def test_a_table_that_could_be_read_two_ways_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        table_rows(text, "csv")


def test_an_index_column_without_a_name_is_passed_over() -> None:
    frame = pd.DataFrame({"a": ["x"], "b": ["y"]})
    assert table_rows(frame.to_csv(), "csv")[0].values == {"a": "x", "b": "y"}


def test_any_bytes_are_read_or_refused_in_one_sentence() -> None:
    rng = random.Random(0)
    good = [TEXT.encode(), json.dumps([ROW]).encode(), b'sep=;\r\n"a";b\r1;2', TEXT.encode("utf-16")]
    for _ in range(600):
        data = bytearray(rng.choice(good))
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(data))
            data[at : at + rng.randint(0, 3)] = rng.randbytes(rng.randint(0, 3))
        for kind in ("csv", "json", "jsonl", "tsv"):
            try:
                table_rows(bytes(data), kind, name="f")
            except ValueError as error:
                assert str(error).startswith("f") and "\n" not in str(error) and len(str(error)) < 400


def test_no_cell_is_a_formula() -> None:
    """A text that begins as a formula gets an apostrophe; a negative number stays a number."""
    assert [inert(one) for one in ("=1", "+1", "-1", "@x", "\tx", "\rx", "1=", -1.5)][-2:] == ["1=", -1.5]
    assert csv_text(["=h", "n"], [["@x", -1]]) == "'=h,n\n'@x,-1\n"
    assert to_csv(pd.DataFrame({"=h": ["-x"], "n": [-1]})) == b"'=h,n\n'-x,-1\n"
