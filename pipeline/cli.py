"""The `gristmill` command: every verb, and how its answer is shown. The work itself lies in the modules it calls."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline import __version__
from pipeline.errors import GristmillError

app = typer.Typer(
    name="gristmill",
    help="Turn web crawls into training tokens; nothing is lost without a trace.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
recipes = typer.Typer(help="Show, check and compare recipes.", no_args_is_help=True)
app.add_typer(recipes, name="recipe")

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

Inputs = Annotated[
    list[str], typer.Option("--input", "-i", help="A file, glob, folder, HTTPS or S3 URL. May be given several times.")
]
MoreInputs = Annotated[list[str], typer.Argument(hidden=True)]  # what a shell makes of --input crawl/*.warc.gz
Preset = Annotated[str, typer.Option("--preset", "-p", help="A preset by name, or a recipe file (YAML).")]
Settings = Annotated[list[str], typer.Option("--set", help="Change one setting: gopher_quality.min_words=30.")]
Crawl = Annotated[str, typer.Option(help="A Common Crawl release, e.g. CC-MAIN-2026-43.")]
Files = Annotated[int, typer.Option(help="How many of the crawl's files; 0 for all.", min=0)]
Seed = Annotated[int, typer.Option(help="Seed of what is chosen at random.")]
Workers = Annotated[int, typer.Option(help="Worker processes; 0 for one a core.", min=0)]
AsJson = Annotated[bool, typer.Option("--json", help="JSON for machines.")]
DatasetFolder = Annotated[str, typer.Argument(help="The --out folder of a run.")]
InDataset = Annotated[str, typer.Option("--dataset", "-d", help="The --out folder of a run.")]


def main() -> None:
    """Entry point: errors of the user are told without a traceback and end with a non-zero exit code.

    The flows (`up`, `deploy`) and the trainer (`train …`) bring commands of their own as entry points, since the
    engine knows neither.
    """
    for brought in entry_points(group="gristmill.commands"):
        command = brought.load()
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=brought.name)
        else:
            app.command(brought.name)(command)
    with told():
        app()


# What a disk, a quota or a permission says: the user's to mend, wherever it is met.
_USERS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR}
)


@contextmanager
def told() -> Iterator[None]:
    """Errors and Ctrl-C as a person wants to meet them."""
    try:
        yield
    except GristmillError as error:
        err.print(f"[bold red]error[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno not in _USERS:
            raise
        # Names what could not be written or read; where it names nothing, it was what the shell opened for us.
        named = str(error.filename or "the output")
        err.print(f"[bold red]error[/] {escape(named)}: {escape(error.strerror or str(error))}", soft_wrap=True)
        _leave_stdout()
        sys.exit(1)
    except SystemExit as leaving:
        if leaving.code == 130:  # Ctrl-C
            err.print("\nstopped; nothing is lost. The same command goes on from here.")
        raise


def _leave_stdout() -> None:
    """What a full disk would not take cannot be flushed at exit either, and Python would say so with a traceback."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@app.command()
def run(
    out_folder: Annotated[str, typer.Option("--out", "-o", help="Folder or URL for the dataset.")],
    more_inputs: MoreInputs = [],  # noqa: B006  # typer takes a list as the default of what can be repeated
    inputs: Inputs = [],  # noqa: B006  # likewise
    preset: Preset = "default",
    settings: Settings = [],  # noqa: B006  # likewise
    crawl: Crawl = "",
    files: Files = 1,
    seed: Seed = 0,
    workers: Workers = 0,
    work: Annotated[str, typer.Option(help="Folder for unfinished work; default OUT/run/work.")] = "",
    accept_changed_inputs: Annotated[bool, typer.Option(help="Refine inputs again that changed.")] = False,
    engine: Annotated[str, typer.Option(help="pool: processes of this machine; ray: a Ray cluster.")] = "pool",
    address: Annotated[str, typer.Option(help="Of the engine's cluster; without it one is started here.")] = "",
    as_json: AsJson = False,
) -> None:
    """Refine, deduplicate, tokenise and publish. Run it again to resume: only what is missing is done."""
    from pipeline.commands.run import run_command

    source = _sources([*inputs, *more_inputs], crawl, files, seed)
    with _progress(as_json) as progress:
        outcome = run_command(
            _recipe(preset, settings),
            source,
            out_folder,
            work,
            workers,
            accept_changed_inputs,
            progress,
            engine,
            address,
        )
    if as_json:
        about = outcome.manifest.about
        totals = {unit: sum(shard[unit] for shard in about["shards"]) for unit in ("documents", "tokens")}
        _print_json({"records": about["records"], **totals, "seconds": outcome.seconds, "out": out_folder})
        return
    from pipeline.commands.stats import show_funnel

    show_funnel(out, out_folder)
    out.print(f"\nreport   {out_folder}/run/report.html\ncard     {out_folder}/README.md")


@app.command()
def plan(
    more_inputs: MoreInputs = [],  # noqa: B006  # see run
    inputs: Inputs = [],  # noqa: B006  # see run
    preset: Preset = "default",
    settings: Settings = [],  # noqa: B006  # see run
    crawl: Crawl = "",
    files: Files = 0,
    sample: Annotated[int, typer.Option(help="How many files to try, chosen by the seed.", min=1)] = 2,
    seed: Seed = 0,
    workers: Annotated[int, typer.Option(help="Workers that the prediction is for.", min=1)] = os.cpu_count() or 1,
    cluster: Annotated[str, typer.Option(help="Instead of --workers: MACHINESxCORES, e.g. 20x64.")] = "",
    core_hour_price: Annotated[float, typer.Option(help="What a core costs an hour, in your currency.")] = 0.04,
    as_json: AsJson = False,
) -> None:
    """Run a sample, then predict hours, bytes, documents, tokens and cost of the whole, with an interval."""
    from pipeline.commands.plan import make_plan, show_plan

    source = _sources([*inputs, *more_inputs], crawl, files, seed)
    workers = _cores(cluster) if cluster else workers
    with _progress(as_json) as progress:
        prediction = make_plan(_recipe(preset, settings), source, sample, seed, workers, core_hour_price, progress)
    _print_json(prediction) if as_json else show_plan(out, prediction)


@app.command()
def explain(
    what: Annotated[str, typer.Argument(help="A URL or a record_id.")],
    dataset: InDataset = "dataset",
    as_json: AsJson = False,
) -> None:
    """Tell a record's whole story: where it lay, each step's verdict, its cluster, its shard and tokens."""
    from pipeline.commands.explain import show_story
    from pipeline.ledger import Dataset, nearest_urls
    from pipeline.ledger import explain as explain_record
    from pipeline.store import Folder

    with _whole(dataset):
        opened = Dataset.open(Folder(dataset))
        stories = explain_record(opened, what)
        near = [] if stories else nearest_urls(opened, what)
    if not stories:
        todo = "Near it: " + ", ".join(near) if near else "Give a URL as it stands in the crawl, or a record_id."
        raise GristmillError("no record has this URL or record_id", what, todo)
    if as_json:
        _print_json(stories)
    else:
        for story in stories:
            show_story(out, story)


@app.command("what-if")
def what_if(
    settings: Annotated[list[str], typer.Option("--set", help="A changed limit: gopher_quality.min_words=30.")],
    dataset: InDataset = "dataset",
    as_json: AsJson = False,
) -> None:
    """Other thresholds, from stored values: what would go, what would come back. Nothing is run again."""
    from pipeline.commands.explain import show_what_if
    from pipeline.ledger import Dataset
    from pipeline.ledger import what_if as ask
    from pipeline.store import Folder

    with _whole(dataset):
        answer = ask(Dataset.open(Folder(dataset)), settings)
    _print_json(answer) if as_json else show_what_if(out, answer, settings)


@app.command()
def head(
    dataset: DatasetFolder,
    number: Annotated[int, typer.Option("-n", help="How many documents.", min=1)] = 3,
    as_json: AsJson = False,
) -> None:
    """Look at the first documents of a dataset."""
    from pipeline.commands.stats import first_documents

    with _whole(dataset):
        documents = list(first_documents(dataset, number))
    for document in documents:
        if as_json:
            _print_json(document, indent=False)
        else:
            out.rule(escape(document["url"]))
            out.print(f"[dim]{document['id']}  {document['language']}  {document['token_count']} tokens[/]")
            out.print(escape(document["text"]), soft_wrap=True)


@app.command()
def stats(dataset: DatasetFolder, as_json: AsJson = False) -> None:
    """The funnel: what came in, what each rule took, what was published."""
    from pipeline.commands.stats import funnel_of, show_funnel

    with _whole(dataset):
        _print_json(funnel_of(dataset)) if as_json else show_funnel(out, dataset)


@app.command()
def verify(
    dataset: DatasetFolder,
    as_json: AsJson = False,
    discard: Annotated[
        bool,
        typer.Option("--discard", help="Remove damaged files and the work behind them; the next run makes them anew."),
    ] = False,
    work: Annotated[str | None, typer.Option(help="The run's work folder, where it is not run/work.")] = None,
) -> None:
    """Check every checksum, and that no record is lost: in = kept + dropped + quarantined."""
    from pipeline import mend
    from pipeline.ledger import Dataset
    from pipeline.ledger import verify as check
    from pipeline.store import Folder

    folder = Folder(dataset)
    opened = Dataset.open(folder)
    faults = check(opened)
    records = opened.manifest.about["records"]
    if as_json:
        _print_json({"ok": not faults, "faults": faults, "records": records})
    elif not faults:
        kinds = " + ".join(f"{n:,} {state}" for state, n in records.items() if state != "in")
        out.print(f"whole: {len(opened.manifest.entries)} files, {records['in']:,} records in = {kinds}")
    if faults:
        if not as_json:
            for fault in faults:
                err.print(f"[bold red]fault[/] {escape(fault)}")
        removed = mend.discard(folder, Folder(work) if work else folder.sub("run/work")) if discard else []
        if removed:
            err.print(f"removed {escape(', '.join(removed))}; the same `gristmill run` again makes them anew")
        elif not discard:
            err.print(
                "`gristmill verify --discard` removes what is damaged; the same `gristmill run` then makes it anew"
            )
        sys.exit(1)


@app.command()
def inspect(files: Annotated[list[str], typer.Argument(help="Archives.")], as_json: AsJson = False) -> None:
    """Tell what archives hold and in which state they are; exit code 1 where one is not complete."""
    from pipeline.sources.inspect import inspect as look

    whole = True
    for file in files:
        try:
            found = look(file)
        except GristmillError as error:  # the other files are looked at all the same
            whole = False
            err.print(f"[bold red]error[/] {escape(str(error))}", soft_wrap=True)
            continue
        whole &= found["state"] == "complete"
        if as_json:
            _print_json(found, indent=False)
            continue
        records = ", ".join(f"{count:,} {kind}" for kind, count in found["records"].items()) or "no records"
        out.print(f"{escape(file)}: [bold]{found['state']}[/], {records}", soft_wrap=True)
        for start, end in found["lost"]:
            out.print(f"  lost: bytes {start:,} to {end:,}")
        if found.get("reason"):
            out.print(f"  {escape(str(found['reason']))}", soft_wrap=True)
    sys.exit(0 if whole else 1)


@app.command()
def step(
    name: Annotated[str, typer.Argument(help="A step of a recipe: extract, language, gopher_quality, pii, …")],
    preset: Preset = "default",
    settings: Settings = [],  # noqa: B006  # see run
) -> None:
    """Any step alone, as a filter: JSON lines in, one line out for each, in order."""
    from pipeline.commands.step import run_step

    refused = run_step(name, _recipe(preset, []), settings, sys.stdin.buffer, sys.stdout.buffer)
    if refused:
        print(f"gristmill step: {refused} lines are no pages; `error` in their answers says why", file=sys.stderr)
        sys.exit(1)


@app.command()
def sample(
    folder: Annotated[Path, typer.Argument(help="Where to write the crawl.")],
    pages: Annotated[int, typer.Option(help="How many pages.", min=1)] = 5000,
    seed: Seed = 7,
    files: Annotated[int, typer.Option(help="In how many files.", min=1)] = 4,
) -> None:
    """Grow the sample crawl to any size, for benchmarks."""
    from pipeline.pool import Pool, Serial
    from pipeline.sample import grow

    alone = files == 1 or pages < 3_000  # written before workers have started
    with nullcontext(Serial()) if alone else Pool(os.cpu_count() or 1) as executor:
        for path in grow(pages, seed, folder, files, executor):
            out.print(str(path))


@app.command()
def export(
    source: Annotated[str, typer.Argument(help="A dataset (bin) or a trained model (hf, gguf).")],
    to: Annotated[
        str, typer.Option(help="bin: llm.c-style token files; hf: transformers, vLLM; gguf: llama.cpp.")
    ] = "bin",
    out_folder: Annotated[Path, typer.Option("--out", "-o", help="Folder for the files.")] = Path("export"),
    precision: Annotated[str, typer.Option(help="hf: float32, float16, bfloat16; gguf: f32, f16, bf16, q8_0.")] = "",
) -> None:
    """Write tokens or a model in another tool's format."""
    if to == "bin":
        _export_tokens(source, out_folder)
        return
    brought = {entry.name: entry for entry in entry_points(group="gristmill.exports")}
    if to not in brought:
        raise GristmillError("there is no such format", f"--to {to}", f"Formats are: bin, {', '.join(brought)}.")
    brought[to].load()(Path(source), to, out_folder, precision)


@app.command()
def version() -> None:
    """Print the version."""
    out.print(f"gristmill {__version__}")


def _stop_at_version(asked: bool) -> None:
    if asked:
        version()
        raise typer.Exit


@app.callback()
def options(
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_stop_at_version, is_eager=True)
    ] = False,
) -> None:
    """Turn web crawls into training tokens; nothing is lost without a trace."""


@recipes.command("list")
def recipe_list() -> None:
    """The presets and what each is for."""
    from pipeline.recipe import load_recipe, preset_names

    table = Table(box=None, show_header=False)
    for name in preset_names():
        table.add_row(f"[bold]{name}[/]", load_recipe(name).about)
    out.print(table)


@recipes.command("show")
def recipe_show(name: Annotated[str, typer.Argument()] = "default", settings: Settings = []) -> None:  # noqa: B006  # see run
    """A recipe as YAML with every default written out."""
    print(_recipe(name, settings).yaml(), end="")


@recipes.command("check")
def recipe_check(name: Annotated[str, typer.Argument()]) -> None:
    """Say whether a recipe is right; the line of the mistake if not."""
    recipe = _recipe(name, [])
    out.print(f"{escape(name)}: a right recipe named {recipe.name}, {len(recipe.steps)} steps")


@recipes.command("diff")
def recipe_diff(one: Annotated[str, typer.Argument()], other: Annotated[str, typer.Argument()]) -> None:
    """What differs between two recipes."""
    from difflib import unified_diff

    lines = unified_diff(
        _recipe(one, []).yaml().splitlines(), _recipe(other, []).yaml().splitlines(), one, other, n=2, lineterm=""
    )
    print("\n".join(lines))


def _export_tokens(dataset: str, folder: Path) -> None:
    from pipeline.store import Folder
    from pipeline.tokens import export_bin
    from pipeline.tokens.parts import Part

    parts: tuple[Part, ...] = ("train", "validation")
    there = [part for part in parts if Folder(dataset).exists(f"tokens/{part}-00000.parquet")]
    for part in there or parts[:1]:  # where none is there, the export says so
        for entry in export_bin(dataset, str(folder), part):
            out.print(f"{folder}/{entry.name}")


def _recipe(preset: str, settings: list[str]) -> Any:
    from pipeline.recipe import load_recipe

    recipe = load_recipe(preset)
    return recipe.with_settings(settings) if settings else recipe


def _sources(inputs: list[str], crawl: str, files: int, seed: int) -> list[str]:
    """What --input and --crawl name, as patterns for `plan_inputs`."""
    if bool(inputs) == bool(crawl):
        raise GristmillError(
            "name the input" if not inputs else "name either files or a crawl",
            "--input, --crawl",
            "For example --input 'crawl/*.warc.gz', or --crawl CC-MAIN-2026-43 --files 4.",
        )
    if inputs:
        return inputs
    from pipeline.sources.commoncrawl import crawl_files

    return crawl_files(crawl, files, seed)


def _cores(cluster: str) -> int:
    machines, _, cores = cluster.partition("x")
    if not (machines.isdigit() and cores.isdigit() and int(machines) * int(cores)):
        raise GristmillError("a cluster is MACHINESxCORES", f"--cluster {cluster}", "For example --cluster 20x64.")
    return int(machines) * int(cores)


@contextmanager
def _whole(dataset: str) -> Iterator[None]:
    """A dataset's file that is gone, or that Parquet cannot read, as the user's to mend."""
    try:
        yield
    except (OSError, ValueError) as error:
        gone = isinstance(error, FileNotFoundError)
        unreadable = type(error).__module__.startswith("pyarrow") or (isinstance(error, OSError) and not error.errno)
        if not (gone or unreadable):
            raise
        raise GristmillError(
            f"a file of this dataset is {'missing' if gone else 'damaged'} ({error})",
            dataset,
            "`gristmill verify` says which; `gristmill verify --discard` and the same run again make it anew.",
        ) from error


@contextmanager
def _progress(as_json: bool) -> Iterator[Any]:
    """Bars on a terminal, lines in a pipe, nothing where a machine reads; bars end before anything else is told."""
    from pipeline.commands.progress import Bars, Lines
    from pipeline.run import silent

    if as_json:
        yield silent
    elif not err.is_terminal:
        yield Lines(err)
    else:
        bars = Bars(err)
        try:
            yield bars
        finally:
            bars.stop()


def _print_json(value: Any, indent: bool = True) -> None:
    options = orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_DATACLASS | (orjson.OPT_INDENT_2 if indent else 0)
    print(orjson.dumps(value, option=options, default=dict).decode())
