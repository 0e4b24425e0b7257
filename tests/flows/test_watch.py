"""The flow `watch` against a server that is laid out as Common Crawl's: a first crawl, an odd one, and nothing new."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SAMPLE, tree
from tests.crawls import articles
from tests.flows.conftest import Server, wait_for
from tests.sources.servers import Server as Mirror

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

FILES = sorted(SAMPLE.glob("*.warc.gz"))


def release(mirror: Mirror, crawl: str, files: list[Path]) -> None:
    """Put a crawl of these files on the mirror, as its newest."""
    paths = [f"crawl-data/{crawl}/segments/0/warc/{file.name}" for file in files]
    for path, file in zip(paths, files, strict=True):
        mirror.files[f"/{path}"] = file.read_bytes()
    mirror.files[f"/crawl-data/{crawl}/warc.paths.gz"] = gzip.compress("\n".join(paths).encode())
    listed = json.loads(mirror.files.get("/collinfo.json", b"[]"))
    mirror.files["/collinfo.json"] = json.dumps([{"id": crawl, "name": crawl}, *listed]).encode()


def test_a_new_crawl_is_sampled_compared_and_run_and_drift_waits_for_a_person(
    server: Server, mirror: Mirror, tmp_path: Path
) -> None:
    folder = server.home / "commoncrawl"

    def watch() -> str:
        parameters: dict[str, Any] = {
            "folder": str(folder),
            "sample_files": 2,
            "recipe": {"preset": str(server.recipe)},
        }
        return server.start("watch/daily", {**parameters, "machines": {"processes": 1}})

    def full(crawl: str) -> dict[str, Any]:
        """The run of the whole crawl, which watch starts and does not wait for."""
        found = wait_for(
            lambda: server.runs(idempotency_key={"any_": [f"watch-{folder}-{crawl}"]}), f"{crawl} to be run"
        )
        assert len(found) == 1
        return server.ends(found[0]["id"], "Completed")

    release(mirror, "CC-MAIN-2026-38", FILES)
    server.ends(watch(), "Completed")
    full("CC-MAIN-2026-38")
    assert json.loads((folder / "CC-MAIN-2026-38/manifest.json").read_bytes())["records"]["in"] > 0
    assert (folder / "samples/CC-MAIN-2026-38/manifest.json").exists()

    assert server.ends(watch(), "NothingNew")["state"]["message"].startswith("CC-MAIN-2026-38 is the newest crawl")

    # Prose that no rule takes anything of: nothing like the crawl before it.
    release(mirror, "CC-MAIN-2026-43", [articles(tmp_path / f"odd-{n}.warc.gz", range(n, n + 40)) for n in (0, 40, 80)])
    run = watch()
    server.ends(run, "Suspended")
    assert not (folder / "CC-MAIN-2026-43").exists()
    table = server.post(
        "artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run]}, "type": {"any_": ["table"]}}}
    )
    drifted = next(one for one in table if one["key"].startswith("drift-"))
    assert "CC-MAIN-2026-43 against CC-MAIN-2026-38" in drifted["description"]
    assert max(row["change"] for row in json.loads(drifted["data"])) > 0.05
    wait_for(lambda: any("a person is asked" in line["message"] for line in server.logs(run)), "the log", 30)
    server.post(f"flow_runs/{run}/resume", {"run_input": {"publish": True, "note": "a crawl of almanacs"}})
    server.ends(run, "Completed")
    full("CC-MAIN-2026-43")
    assert "manifest.json" in tree(folder / "CC-MAIN-2026-43")
