"""The command line as a person meets it: a real process, its output, its exit code."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.__main__ import main
from tests.conftest import SAMPLE, SETTINGS, tree
from tests.crawls import article, articles


def gristmill(
    *words: str | Path, stdin: str = "", code: int | None = 0, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *map(str, words)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert code is None or done.returncode == code, done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    return done


def test_the_same_run_from_the_command_line_publishes_the_same_bytes(published: Path, tmp_path: Path) -> None:
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    done = gristmill("run", "-i", SAMPLE, "-o", tmp_path / "ds", "--workers", "2", *settings)
    assert "documents and" in done.stdout
    assert "report.html" in done.stdout
    assert "refine" in done.stderr
    assert tree(tmp_path / "ds") == tree(published)


def test_looking_at_a_dataset(published: Path) -> None:
    first = json.loads(gristmill("head", published, "-n", "1", "--json").stdout)
    assert first["text"] in gristmill("head", published, "-n", "1").stdout
    story = gristmill("explain", first["url"], "-d", published).stdout
    assert "kept" in story
    assert "truncated 0 (<= 1)" in story
    assert "gopher_quality" in story
    (told,) = json.loads(gristmill("explain", first["id"], "-d", published, "--json").stdout)
    assert told["record_id"] == first["id"]
    funnel = json.loads(gristmill("stats", published, "--json").stdout)
    assert funnel["steps"][0]["came"] == funnel["records"]
    assert funnel["steps"][-1]["left"] == funnel["kept"]
    assert "whole:" in gristmill("verify", published).stdout
    answer = json.loads(
        gristmill("what-if", "--set", "gopher_quality.min_words=100000", "-d", published, "--json").stdout
    )
    assert sum(answer["go"].values()) == answer["kept"] == funnel["kept"]


def test_what_is_asked_for_and_not_there(published: Path, tmp_path: Path) -> None:
    near = json.loads(gristmill("head", published, "-n", "1", "--json").stdout)["url"]
    assert near in gristmill("explain", near[:-2], "-d", published, code=1).stderr.replace("\n", "")
    assert "no published dataset" in gristmill("verify", tmp_path, code=1).stderr
    assert "no such preset" in gristmill("run", "-i", SAMPLE, "-o", tmp_path / "x", "-p", "fineweb", code=1).stderr
    assert "name the input" in gristmill("run", "-o", tmp_path / "x", code=1).stderr
    assert "No such option" in gristmill("run", "--inputs", "x", code=2).stderr


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("missing.warc.gz", None, "no such file"),
        ("empty.warc.gz", b"", "empty"),
        ("notes.warc.gz", b"not an archive at all", ""),
    ],
)
def test_inputs_that_cannot_be_read_are_told_by_name(
    tmp_path: Path, name: str, content: bytes | None, told: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    error = gristmill("run", "-i", tmp_path / name, "-o", tmp_path / "ds", code=1).stderr.replace("\n", "")
    assert name in error
    assert told in error
    assert not (tmp_path / "ds/manifest.json").exists()


def test_an_input_pattern_that_the_shell_spread_out_is_taken_whole(tmp_path: Path) -> None:
    pages = '{"url": "http://a.example/", "text": "Too short to be kept, and nothing else is there."}\n'
    files = [tmp_path / f"{name}.jsonl" for name in "abc"]
    for file in files:
        file.write_text(pages)
    told = gristmill("run", "-o", tmp_path / "ds", "--workers", "1", "-i", *files, code=1).stderr
    assert "no document survived of 3 records" in told
    assert "no such file" in gristmill("plan", "-i", files[0], tmp_path / "d.jsonl", code=1).stderr


def test_a_wrong_recipe_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine\nsteps:\n  - extract\n  - gopher_qualitty: {min_words: 3}\n")
    error = gristmill("recipe", "check", tmp_path / "mine.yaml", code=1).stderr.replace("\n", "")
    assert "mine.yaml, line 4" in error
    assert "did you mean gopher_quality?" in error
    (tmp_path / "mine.yaml").write_text("name: mine\nsteps:\n  - extract\n  - gopher_quality: {min_words: 3}\n")
    assert "a right recipe" in gristmill("recipe", "check", tmp_path / "mine.yaml").stdout
    assert "+name: mine" in gristmill("recipe", "diff", "default", tmp_path / "mine.yaml").stdout
    shown = gristmill("recipe", "show", "fineweb-v1").stdout
    (tmp_path / "shown.yaml").write_text(shown)
    assert gristmill("recipe", "show", tmp_path / "shown.yaml").stdout == shown


def test_steps_are_filters_in_a_pipe() -> None:
    html = article(5)
    lines = [
        {"id": "a", "url": "https://a.example/", "html": html},
        {"id": "b", "url": "https://b.example/", "html_base64": base64.b64encode(html.encode()).decode()},
        {"id": "c"},
    ]
    stdin = "".join(json.dumps(line) + "\n" for line in lines) + "not json\n"
    done = gristmill("step", "extract", stdin=stdin, code=1)
    assert "2 lines are no pages" in done.stderr
    a, b, c, d = map(json.loads, done.stdout.splitlines())
    assert "Entry 5 of the almanac" in a["text"]
    assert a["drop"] is None
    assert a["extractor"]
    assert b["text"] == a["text"]
    assert (c["id"], c["text"], c["drop"], c["line"]) == ("c", None, None, 3)
    assert "html" in c["error"]
    assert d["line"] == 4
    assert "not JSON" in d["error"]
    texts = (
        json.dumps({"id": 1, "text": a["text"]})
        + "\n"
        + json.dumps({"id": 2, "text": "Kurz und deutsch ist dieser Text."})
        + "\n"
    )
    english, german = map(json.loads, gristmill("step", "language", stdin=texts).stdout.splitlines())
    assert (english["id"], english["language"], english["drop"]) == (1, "en", None)
    assert german["drop"]["rule"] in ("language", "language_score")
    (short,) = map(
        json.loads, gristmill("step", "gopher_quality", stdin='{"text": "Too short."}\n').stdout.splitlines()
    )
    assert short["drop"] == {"rule": "too_few_words", "value": 2.0, "limit": 50.0}
    (kept,) = map(
        json.loads,
        gristmill(
            "step",
            "gopher_quality",
            "--set",
            "min_words=1",
            "--set",
            "min_stop_words=0",
            "--set",
            "min_alphabetic_words=0",
            stdin='{"text": "Too short."}\n',
        ).stdout.splitlines(),
    )
    assert kept["drop"] is None
    (clean,) = map(
        json.loads,
        gristmill("step", "pii", stdin='{"text": "Write to ann.lee@harbour.org today."}\n').stdout.splitlines(),
    )
    assert "ann.lee" not in clean["text"]
    assert "Steps are" in gristmill("step", "gopher", code=1).stderr
    gristmill("step", "language", "--set", "other=publish", stdin=texts)  # no gate stands in front of one step


def test_inspect_tells_the_state_of_an_archive(tmp_path: Path) -> None:
    path = articles(tmp_path / "a.warc.gz", range(5))
    found = json.loads(gristmill("inspect", "--json", path).stdout)
    assert found == {"file": str(path), "state": "complete", "records": {"response": 5}, "lost": [], "reason": ""}
    whole = path.read_bytes()
    (tmp_path / "cut.warc.gz").write_bytes(whole[:-20])
    (tmp_path / "text.warc.gz").write_text("hello")
    lines = gristmill(
        "inspect", "--json", tmp_path / "cut.warc.gz", tmp_path / "text.warc.gz", code=1
    ).stdout.splitlines()
    cut, text = map(json.loads, lines)
    assert cut["state"] == "truncated"
    assert cut["records"] == {"response": 4}
    assert text["state"] == "not-an-archive"


def test_one_file_that_is_missing_keeps_no_other_from_being_inspected(tmp_path: Path) -> None:
    fake = tmp_path / "fake.warc.gz"
    fake.write_text("no archive\n")
    done = gristmill("inspect", "--json", tmp_path / "missing.warc.gz", fake, code=1)
    assert json.loads(done.stdout)["state"] == "not-an-archive"
    assert "missing.warc.gz: no such file" in done.stderr


def test_a_step_that_needs_text_says_so_of_html() -> None:
    lines = '{"id": "h", "html": "<p>mail bob@example.com"}\n{"id": "t", "text": "mail bob@example.com"}\n'
    html, text = map(json.loads, gristmill("step", "pii", stdin=lines, code=1).stdout.splitlines())
    assert html["id"] == "h"
    assert "gristmill step extract" in html["error"]
    assert "bob@" not in text["text"]


def test_the_version_is_an_option_too() -> None:
    assert gristmill("--version").stdout == gristmill("version").stdout


def test_a_run_that_nothing_survives_says_what_took_it_all(tmp_path: Path) -> None:
    pages = tmp_path / "pages.jsonl"
    pages.write_text('{"url": "http://a.example/", "text": "Too short to be kept, and nothing else is there."}\n')
    words = ("run", "-i", pages, "-o", tmp_path / "ds", "--workers", "1")
    told = gristmill(*words, code=1).stderr
    assert "no document survived of 1 records" in told
    assert "/" in told.split("taken by ")[1]
    pages.write_text("\n")
    assert "the inputs hold no record" in gristmill(*words[:4], tmp_path / "none", code=1).stderr


def test_a_plan_brackets_what_the_run_then_takes(tmp_path: Path) -> None:
    for number in range(4):
        articles(tmp_path / f"crawl/part-{number}.warc.gz", range(100 * number, 100 * number + 100))
    plan = json.loads(gristmill("plan", "-i", tmp_path / "crawl", "--sample", "2", "--workers", "2", "--json").stdout)
    assert plan["files"] == 4
    assert len(plan["sampled"]) == 2
    assert plan["records"]["low"] * 0.9 <= 400 <= plan["records"]["high"] * 1.1
    assert plan["documents"]["value"] == pytest.approx(400, rel=0.1)
    assert plan["core_hours"]["value"] > 0
    assert "core hours" in gristmill("plan", "-i", tmp_path / "crawl", "--sample", "1").stdout


def test_ctrl_c_stops_cleanly_and_the_same_command_goes_on(published: Path, tmp_path: Path) -> None:
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    words = [sys.executable, "-m", "pipeline", "run", "-i", str(SAMPLE), "-o", str(tmp_path / "ds"), *settings]

    def heed_ctrl_c() -> None:  # a shell that runs us in the background has it ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed_ctrl_c
    ) as process:
        deadline = time.monotonic() + 30
        while not (tmp_path / "ds/run/state.json").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "nothing is lost" in error
    assert "Traceback" not in error
    gristmill(*words[3:])
    assert tree(tmp_path / "ds") == tree(published)


def test_ctrl_c_while_the_command_is_loaded_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.cli.main", stopped)
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 130


def test_output_into_a_closed_pipe_is_no_error(published: Path) -> None:
    command = f"{sys.executable} -m pipeline head {published} -n 50 --json | head -c 100"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr


def test_output_onto_a_full_disk_is_told(published: Path) -> None:
    for words, given in ((f"stats {published}", ""), (f"stats {published} --json", ""), ("step pii", '{"text": "hi"}')):
        command = f"{sys.executable} -m pipeline {words} > /dev/full"
        done = subprocess.run(["bash", "-c", command], input=given, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        assert "No space left" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_sample_grows_only_where_one_may_write(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    error = gristmill("sample", tmp_path / "taken", "--pages", "4", code=1).stderr.replace("\n", "")
    assert str(tmp_path / "taken") in error


def test_looking_at_a_damaged_dataset_is_told(published: Path, tmp_path: Path) -> None:
    dataset = tmp_path / "ds"
    shutil.copytree(published, dataset)
    for part in ("ledger", "text"):
        for file in (dataset / part).iterdir():
            os.truncate(file, 1000)
    asked = (
        ("explain", "https://a.example/", "-d", dataset),
        ("what-if", "--set", "gopher_quality.min_words=3", "-d", dataset),
        ("stats", dataset),
        ("head", dataset),
    )
    for words in asked:
        error = gristmill(*words, code=1).stderr.replace("\n", " ")
        assert "is damaged" in error
        assert "gristmill verify" in error
    shutil.rmtree(dataset)
    shutil.copytree(published, dataset)
    (dataset / "recipe.yaml").unlink()
    assert "is missing" in gristmill("stats", dataset, code=1).stderr
    assert "recipe.yaml" in gristmill("verify", dataset, code=1).stderr


def test_an_export_of_nothing_is_an_error(tmp_path: Path) -> None:
    error = gristmill("export", tmp_path / "none", "--to", "bin", "-o", tmp_path / "bin", code=1).stderr
    assert "no token shards" in error
    assert not (tmp_path / "bin").exists()


def test_a_disk_that_is_full_stops_the_run_and_it_goes_on_later(published: Path, tmp_path: Path) -> None:
    """A file size limit stands for a full disk: the kernel refuses the write in the middle of a file."""
    settings = " ".join(f"--set {setting}" for setting in SETTINGS)
    words = f"{sys.executable} -m pipeline run -i {SAMPLE} -o {tmp_path}/ds {settings}"
    limited = subprocess.run(
        ["bash", "-c", f"trap '' XFSZ; ulimit -f 8; exec {words}"], capture_output=True, text=True, timeout=120
    )
    assert limited.returncode == 1
    assert "cannot write" in limited.stderr
    assert not (tmp_path / "ds/manifest.json").exists()
    gristmill(*words.split()[3:])
    assert tree(tmp_path / "ds") == tree(published)
