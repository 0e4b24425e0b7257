"""The flow `watch`: notices a new release of Common Crawl, tries it on a sample, and runs it if it looks as usual.

What it knows of earlier crawls are the datasets of their samples, `samples/<crawl>/` in its folder; it keeps no state
elsewhere. A sample whose funnel differs too much from the last one's stops it until a person has looked.
"""

from __future__ import annotations

from typing import Any

from prefect import flow, get_run_logger, pause_flow_run, task
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.deployments import run_deployment
from prefect.flow_runs import suspend_flow_run
from prefect.runtime import deployment
from prefect.states import Completed, Failed
from pydantic import BaseModel, Field

from flows.curate import APPROVAL_SECONDS, curate
from flows.faults import RETRY_SECONDS, failed, retry_if_it_passes
from flows.forms import Approval, Machines, Output, RecipeForm, Source
from flows.showing import artifact_key
from pipeline.commands.stats import funnel_of
from pipeline.errors import GristmillError
from pipeline.sources.commoncrawl import latest_crawls
from pipeline.store import Folder

FULL = "curate/commoncrawl"


class Watched(BaseModel):
    """The result of `watch`: the crawl that it started to run, and in which flow run."""

    crawl: str = Field(description="The release, e.g. CC-MAIN-2026-43")
    dataset: str = Field(description="Folder or URL where its dataset will lie")
    flow_run: str = Field(description="Id of the flow run of curate that makes it")
    drift: float = Field(
        description="Largest change of a step's share against the last crawl's sample; 0 for the first"
    )


@flow(name="watch", flow_run_name="watch · {folder}", persist_result=True)
def watch(
    folder: str,
    recipe: RecipeForm = RecipeForm(),  # noqa: B008  # the form's default; never changed
    sample_files: int = 4,
    number: int = 0,
    most_drift: float = 0.05,
    machines: Machines = Machines(),  # noqa: B008  # likewise
) -> Watched | State[Any]:
    """Look for a new release of Common Crawl; try `sample_files` of its files, then run `number` of them (0: all).

    Args:
        folder: Where datasets go: <folder>/<crawl> and <folder>/samples/<crawl>.
        recipe: The recipe of sample and full run.
        sample_files: Files of the sample.
        number: Files of the full run; 0 for all.
        most_drift: A step that takes a share of its pages which differs by more than this from what it took of the
            last crawl's sample stops the run until a person has approved it.
        machines: What sample and full run are done on.
    """
    logger = get_run_logger()
    try:
        crawl = newest_crawl()
        if Folder(f"{folder}/{crawl}").exists("manifest.json"):
            return Completed(name="NothingNew", message=f"{crawl} is the newest crawl, and its dataset stands")
        sample = f"{folder}/samples/{crawl}"
        source = Source(crawl=crawl, number=sample_files)
        tried = curate(source, Output(folder=sample), recipe, machines, return_state=True)
        if not tried.is_completed():
            return Failed(message=f"the sample of {crawl} failed: {tried.message}")
        before = last_sample(folder, crawl)
        rows = drift(funnel_of(before), funnel_of(sample)) if before else []
        most = max((row["change"] for row in rows), default=0.0)
        if before:
            told = f"Share of its pages that each step took: {crawl} against {before.rpartition('/')[2]}"
            create_table_artifact(rows, key=artifact_key("drift", folder), description=told)
        if most > most_drift:
            logger.warning("%s differs from the last crawl by %.1f %% at most; a person is asked", crawl, 100 * most)
            if not _approved():
                return Completed(
                    name="NotRun", message=f"{crawl} drifted by {100 * most:.1f} %; a person decided against it"
                )
        parameters = {
            "source": Source(crawl=crawl, number=number).model_dump(),
            "output": Output(folder=f"{folder}/{crawl}").model_dump(),
            "recipe": recipe.model_dump(mode="json"),
            "machines": machines.model_dump(),
        }
        run = run_deployment(
            FULL, parameters=parameters, timeout=0, as_subflow=False, idempotency_key=f"watch-{folder}-{crawl}"
        )
        return Watched(crawl=crawl, dataset=f"{folder}/{crawl}", flow_run=str(run.id), drift=round(most, 4))
    except GristmillError as error:
        return failed(error)


@task(retries=len(RETRY_SECONDS), retry_delay_seconds=RETRY_SECONDS, retry_condition_fn=retry_if_it_passes)
def newest_crawl() -> str:
    """The release that came out last."""
    crawls = latest_crawls()
    if not crawls:
        raise GristmillError("the list of crawls is empty", "Common Crawl", "Check GRISTMILL_COMMONCRAWL.")
    return crawls[0].id


def last_sample(folder: str, crawl: str) -> str | None:
    """The sample of the newest crawl before this one, None where there is none."""
    samples = Folder(folder).sub("samples")
    names = {
        name.partition("/")[0] for name in samples.names() if name.endswith("/manifest.json") and name.count("/") == 1
    }
    earlier = sorted(name for name in names if name < crawl)
    return f"{samples.url}/{earlier[-1]}" if earlier else None


def drift(before: dict[str, Any], now: dict[str, Any]) -> list[dict[str, Any]]:
    """For each step, the share of the pages that came to it which it took, then and now, and the change."""
    shares = [{step["label"]: _share(step) for step in told["steps"]} for told in (before, now)]
    steps = list(dict.fromkeys([*shares[1], *shares[0]]))
    pairs = [(step, shares[0].get(step, 0.0), shares[1].get(step, 0.0)) for step in steps]
    return [
        {"step": step, "before": round(then, 4), "now": round(here, 4), "change": round(abs(here - then), 4)}
        for step, then, here in pairs
    ]


def _share(step: dict[str, Any]) -> float:
    return (step["dropped"] + step["quarantined"]) / step["came"] if step["came"] else 0.0


def _approved() -> bool:
    ask = suspend_flow_run if deployment.id else pause_flow_run
    answer = ask(wait_for_input=Approval, timeout=APPROVAL_SECONDS, key="drift")
    return bool(answer.publish)
