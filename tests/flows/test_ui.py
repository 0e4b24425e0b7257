"""The UI in headless Chromium: a deployment's form is filled in and started, and the run with its artifacts is seen.

GRISTMILL_SHOTS names a folder for the screenshots.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.flows.conftest import Server, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

# Nothing that Chromium itself would look for on the network.
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
QUIET += ["--disable-component-update", "--disable-sync"]
WAIT = 60_000  # ms


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with playwright.sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=chromium, args=QUIET)
        page = browser.new_page(viewport={"width": 1400, "height": 950})
        page.set_default_timeout(WAIT)
        yield page
        browser.close()


def shot(page: Any, name: str) -> None:
    """A screenshot, where somebody wants to look."""
    if folder := os.environ.get("GRISTMILL_SHOTS"):
        page.wait_for_timeout(1500)  # the UI fades in
        page.screenshot(path=f"{folder}/{name}.png")


def test_a_run_is_started_from_its_form_and_seen(server: Server, page: Any) -> None:
    strangers: list[str] = []
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith((server.address, "data:", "blob:")) else strangers.append(request.url)
        ),
    )
    deployment = server.get("deployments/name/curate/sample")

    page.goto(f"{server.address}/deployments")
    page.get_by_text("commoncrawl", exact=True).first.wait_for()
    shot(page, "deployments")

    page.goto(f"{server.address}/deployments/deployment/{deployment['id']}/run")
    page.get_by_text("How many of the crawl's files; 0 for all.").wait_for()
    shot(page, "form")
    preset = page.locator(".schema-form-property", has=page.get_by_text("Preset (Optional)", exact=True)).last
    preset.locator("textarea").fill(str(server.recipe))
    page.get_by_role("button", name="Submit").click()

    def started() -> list[dict[str, Any]]:
        return server.runs(deployment_id={"any_": [deployment["id"]]})

    run = wait_for(started, "the run that the form starts")[0]
    assert run["parameters"]["recipe"]["preset"] == str(server.recipe)
    assert run["parameters"]["source"]["files"] == ["gristmill:sample"]
    assert run["parameters"]["recipe"].keys() <= {"preset", "split_mb", "language"}  # what is left alone says nothing
    assert not run["parameters"]["recipe"].get("language")
    page.goto(f"{server.address}/runs/flow-run/{run['id']}")
    server.ends(run["id"], "Completed")
    page.reload()
    page.get_by_text("light · gristmill:sample · sample").first.wait_for()
    page.get_by_text("Finished in state Completed").first.wait_for()
    shot(page, "run")

    page.get_by_text("Artifacts", exact=True).click()
    page.get_by_text("Data card of").first.wait_for()
    shot(page, "artifacts")
    shown = server.post("artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}})
    kinds = {one["key"].rpartition("-")[0]: one for one in shown if one["key"]}
    for kind, told in (
        ("funnel-picture-sample", "documents and"),
        ("funnel-sample", "What each step took"),
        ("data-card-sample", "Documents"),
    ):
        page.goto(f"{server.address}/artifacts/artifact/{kinds[kind]['id']}")
        page.get_by_text(told).first.wait_for()
        shot(page, kind.removesuffix("-sample"))
    assert strangers == []
