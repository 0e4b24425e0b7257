"""The key: a run over the bundled crawl meets it, and the check finds every way not to."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import GristmillError
from pipeline.sample import check_against_key, load_key

PAGE = {"file": "a.warc.gz", "offset": 0, "type": "response", "url": "http://a.example/", "why": "because"}
KEPT = {**PAGE, "state": ["kept"], "drop": {}, "language": "en"}


def row(**values: Any) -> dict[str, Any]:
    plain = {"record_id": "r0", "file": "crawl/a.warc.gz", "offset": 0, "state": "kept", "step": None, "rule": None}
    return {**plain, "detail": None, "language": "en", **values}


def differences(entries: list[Mapping[str, Any]], rows: list[dict[str, Any]], texts: Mapping[str, str]) -> list[str]:
    documents = pa.table(
        {"id": pa.array(list(texts), pa.string()), "text": pa.array(list(texts.values()), pa.string())}
    )
    return check_against_key(pa.Table.from_pylist(rows), documents, entries)


def test_the_default_recipe_meets_the_key(published: Path) -> None:
    documents = pa.concat_tables(
        [pq.read_table(path, columns=["id", "text"]) for path in sorted((published / "text").glob("*.parquet"))]
    )
    assert check_against_key(pq.read_table(published / "ledger"), documents, load_key()) == []
    words = sum(len(text.split()) for text in documents["text"].to_pylist())
    assert words > 58_000, "the tokenizer is trained on these"


def test_the_command_says_so(published: Path) -> None:
    command = [sys.executable, "-m", "pipeline.sample"]
    done = subprocess.run([*command, str(published)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "as the key says" in done.stdout
    missing = subprocess.run([*command, str(published / "text")], capture_output=True, text=True)
    assert missing.returncode == 1
    assert "no published dataset" in missing.stderr


def test_every_entry_says_what_and_why() -> None:
    for preset in ("default", "multilingual"):
        for entry in load_key(preset):
            assert entry["why"]
            assert set(entry["state"]) <= {"kept", "dropped", "quarantined"}
            assert (
                entry["drop"]
                or "dropped" not in entry["state"]
                or "quarantined" in entry["state"]
                or preset != "default"
            )
    english = [entry for entry in load_key() if entry["state"] == ["kept"]]
    every = [entry for entry in load_key("multilingual") if entry["state"] == ["kept"]]
    assert {entry["language"] for entry in english} == {"en"}
    assert len({entry["language"] for entry in every}) >= 9


def test_there_is_no_key_for_other_recipes() -> None:
    with pytest.raises(GristmillError, match="does not say what mine makes of it"):
        load_key("mine")


def test_what_is_right_is_no_difference() -> None:
    assert differences([{**KEPT, "with": ["door"], "without": ["window"]}], [row()], {"r0": "A door."}) == []


@pytest.mark.parametrize(
    ("entry", "found", "text", "says"),
    [
        (
            {},
            {"state": "dropped", "step": "gopher_quality", "rule": "too_few_words"},
            "",
            "is dropped by gopher_quality",
        ),
        ({}, {"language": "fr"}, "A door.", "is said to be 'fr'"),
        ({"with": ["window"]}, {}, "A door.", "lacks 'window'"),
        ({"without": ["door"]}, {}, "A door.", "has 'door'"),
        ({"gone": ["email a@b.example"]}, {}, "Write to a@b.example.", "leaks email"),
        ({}, {"record_id": "r9"}, "A door.", "is not among the documents"),
        ({"state": ["dropped"]}, {}, "A door.", "is kept, must be dropped"),
        (
            {"state": ["dropped"], "drop": {"c4_quality": ["lorem_ipsum"]}},
            {"state": "dropped", "step": "c4_quality", "rule": "curly_bracket"},
            "",
            "must be so by c4_quality/lorem_ipsum",
        ),
        ({"state": ["dropped"], "drop": {"language": []}}, {"state": "dropped", "step": "pii"}, "", "by language"),
    ],
)
def test_each_difference_is_said(entry: dict[str, Any], found: dict[str, Any], text: str, says: str) -> None:
    (difference,) = differences([{**KEPT, **entry}], [row(**found)], {"r0": text})
    assert says in difference
    assert "because" in difference


def test_records_that_are_missing_or_too_many_are_said() -> None:
    assert "has no row" in differences([KEPT], [row(offset=7)], {"r0": ""})[0]
    assert "not in the key" in differences([], [row()], {"r0": ""})[0]


def test_of_duplicates_exactly_one_stays_and_the_others_name_it() -> None:
    entries = [
        {**KEPT, "offset": n, "state": ["kept", "dropped"], "drop": {"dedup": []}, "cluster": "c"} for n in range(3)
    ]
    gone = {"state": "dropped", "step": "dedup", "rule": "near_duplicate", "detail": "r0"}
    right = [row(), row(offset=1, record_id="r1", **gone), row(offset=2, record_id="r2", **gone)]
    assert differences(entries, right, {"r0": "x"}) == []
    both = [right[0], row(offset=1, record_id="r1"), right[2]]
    assert "2 of 3 duplicates are kept" in differences(entries, both, {"r0": "x", "r1": "x"})[0]
    astray = [right[0], right[1], {**right[2], "detail": "r7"}]
    assert "do not name the survivor" in differences(entries, astray, {"r0": "x"})[0]
