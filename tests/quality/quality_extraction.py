"""How well each engine finds main text: F1 by set and page type, and CPU time a page, on the labelled pages.

    python -m tests.quality.quality_extraction [--data FOLDER] [--folds FOLDER] [--sample N] [--out FILE]

Scores are those of each set: words of the text (WCXB, readability, waddle: the mean over pages of the F1 of the bag
of words), snippets that must and must not be found (trafilatura, and WCXB's own: one F1 over all of them). `mill` is
trained on the first three sets: there its scores are out of fold, each page by a model that saw no label of its
registrable domain. The fold models are read from `--folds`, or trained first, which takes some minutes and needs
`lightgbm`. Engines take turns page by page, in one process.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from statistics import mean
from typing import Any

from pipeline.extractors.mill import MODEL, Model, choose, load_model
from pipeline.extractors.mill_labels import MEASURING_SETS, TRAINING_SETS, label_pages, main_text, pages_of, words_of
from pipeline.extractors.mill_train import FOLDS, fold_of, shortened, train
from pipeline.extractors.reading import read_page
from pipeline.extractors.render import as_text
from pipeline.extractors.resiliparse_strict import ResiliparseStrict
from pipeline.extractors.trafilatura_exact import TrafilaturaExact
from pipeline.record import Page

DATA = Path(__file__).parents[3] / "shared/data/curation/extraction"
FOLD_MODELS = Path(__file__).with_name("mill_folds")
Scores = dict[str, float]  # "set" or "set: kind" → F1
Extractor = Callable[[Page, str], str]  # page and its registrable domain → text


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path, default=DATA)
    arguments.add_argument("--folds", type=Path, default=FOLD_MODELS, help="fold models of mill_train.py")
    arguments.add_argument("--sample", type=int, default=1, help="take every Nth page")
    arguments.add_argument("--out", type=Path, help="write the table here too")
    given = arguments.parse_args()
    if not given.data.is_dir():
        sys.exit(f"{given.data}: no labelled pages there; name their folder with --data")
    table = as_table(*measure(engines(fold_models(given.data, given.folds)), given.data, given.sample))
    print(table)
    if given.out:
        given.out.write_text(table + "\n", encoding="utf-8")


def engines(folds: list[Model]) -> dict[str, Extractor]:
    """Every engine that is there, by the name of its column."""
    shipped = load_model(MODEL)

    def mill(page: Page, domain: str) -> str:
        found = read_page(page.html)
        blocks, head = found.blocks, found.head
        model = folds[fold_of(domain)] if domain else shipped
        return as_text(blocks, choose(blocks, model.chances(blocks, head))) if blocks.texts else ""

    found: dict[str, Extractor] = {
        "trafilatura precision": lambda page, _: TrafilaturaExact("precision").extract(page).text,
        "trafilatura balanced": lambda page, _: TrafilaturaExact("balanced").extract(page).text,
        "resiliparse strict": lambda page, _: ResiliparseStrict("precision").extract(page).text,
        "mill": mill,
    }
    if find_spec("readability"):
        found["readability-lxml"] = _readability
    else:
        print("readability-lxml is not installed: left out (pip install readability-lxml)", file=sys.stderr)
    if find_spec("justext"):
        found["jusText"] = _justext
    else:
        print("jusText is not installed: left out (pip install justext)", file=sys.stderr)
    return found


def fold_models(data: Path, folder: Path) -> list[Model]:
    """Fold f's model, blind to fold f, at place f; trained now if the folder has none."""
    files = [folder / f"{fold}.npz" for fold in range(FOLDS)]
    if not all(file.exists() for file in files):
        if not find_spec("lightgbm"):
            sys.exit(f"{folder}: no fold models there, and lightgbm to train them is not installed")
        print("training the fold models", file=sys.stderr)
        pages = [page for name in TRAINING_SETS for page in label_pages(data, name) if page.blocks.texts]
        pages += [short for page in pages if (short := shortened(page)) is not None]
        folder.mkdir(parents=True, exist_ok=True)
        models = train(pages, folds=True)
        for fold, file in enumerate(files):
            models[fold].save(file)
    return [Model.load(file) for file in files]


def measure(
    extractors: dict[str, Extractor], data: Path, sample: int
) -> tuple[dict[str, Scores], dict[str, float], Counter[str]]:
    """F1 and mean CPU ms a page by engine, and the number of pages behind each row."""
    words: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in extractors}
    snippets: dict[str, dict[str, list[int]]] = {name: defaultdict(lambda: [0, 0, 0]) for name in extractors}
    seconds: dict[str, float] = dict.fromkeys(extractors, 0.0)
    pages: Counter[str] = Counter()
    total = 0
    for name in MEASURING_SETS:
        for number, (truth, html) in enumerate(pages_of(data, name)):
            if number % sample:
                continue
            total += 1
            kind = str(truth.get("page_type") or truth.get("lang") or "")
            rows = [name, f"{name}: {kind}"] if kind else [name]
            whole = main_text(name, truth) if name != "trafilatura" else None
            pages.update(rows)
            # who comes first warms the cache for the others, so all take turns in that too
            order = list(extractors.items())
            for engine, extract in order[total % len(order) :] + order[: total % len(order)]:
                page = _page(html)
                started = time.process_time()
                text = extract(page, truth["domain"] if name in TRAINING_SETS else "")
                seconds[engine] += time.process_time() - started
                if whole is not None:
                    for row in rows:
                        words[engine][row].append(word_f1(text, whole))
                if "with" in truth:
                    row = name if whole is None else f"{name}: snippets"
                    for i, count in enumerate(snippet_counts(text, truth)):
                        snippets[engine][row][i] += count
                    if whole is not None and engine == order[0][0]:
                        pages[row] += 1
    scores = {
        engine: {row: mean(found) for row, found in words[engine].items()}
        | {row: 2 * hit / max(2 * hit + missed + wrong, 1) for row, (hit, missed, wrong) in snippets[engine].items()}
        for engine in extractors
    }
    return scores, {engine: 1000 * spent / max(total, 1) for engine, spent in seconds.items()}, pages


def word_f1(text: str, truth: str) -> float:
    """F1 of the bag of words, 1 where both are empty."""
    got, wanted = Counter(words_of(text)), Counter(words_of(truth))
    common = (got & wanted).total()
    if not wanted:
        return float(not got)
    return 2 * common / (got.total() + wanted.total())


def snippet_counts(text: str, truth: dict[str, Any]) -> tuple[int, int, int]:
    """Snippets rightly found, missed, wrongly found; white space aside."""
    plain = " ".join(text.split())

    def found(snippets: Iterable[str]) -> list[bool]:
        return [" ".join(snippet.split()) in plain for snippet in snippets if snippet.strip()]

    wanted, unwanted = found(truth["with"]), found(truth["without"])
    return sum(wanted), len(wanted) - sum(wanted), sum(unwanted)


def as_table(scores: dict[str, Scores], milliseconds: dict[str, float], pages: Counter[str]) -> str:
    """Markdown; the best of each row in bold."""
    names = list(scores)
    lines = [f"| set: kind | pages | {' | '.join(names)} |", f"| --- | ---: |{' ---: |' * len(names)}"]
    for row in sorted(next(iter(scores.values()))):
        best = max(round(scores[name][row], 3) for name in names)
        cells = [f"{scores[name][row]:.3f}".removeprefix("0") for name in names]
        cells = [f"**{c}**" if round(scores[n][row], 3) == best else c for n, c in zip(names, cells, strict=True)]
        lines.append(f"| {row} | {pages[row]} | {' | '.join(cells)} |")
    sets = [row for row in next(iter(scores.values())) if ":" not in row]
    means = [mean(scores[name][row] for row in sets) for name in names]
    lines.append(f"| mean of the sets | {sum(pages[row] for row in sets)} | {' | '.join(f'{m:.3f}' for m in means)} |")
    lines.append(f"| CPU ms a page | | {' | '.join(f'{milliseconds[name]:.1f}' for name in names)} |")
    return "\n".join(lines)


def _page(html: str) -> Page:
    page = Page("0" * 32, file="", offset=0, length=len(html), record_type="response")
    page.html = html.encode("utf-8", "replace").decode()
    return page


def _readability(page: Page, _: str) -> str:
    from lxml.html import fromstring
    from readability import Document

    try:
        return "\n".join(fromstring(Document(page.html).summary()).itertext())
    except Exception:
        return ""  # it raises on pages that it cannot read; an empty text is its score there


def _justext(page: Page, _: str) -> str:
    import justext

    try:
        stop_words = frozenset().union(*(justext.get_stoplist(language) for language in justext.get_stoplists()))
        paragraphs = justext.justext(page.html.encode(), stop_words, encoding="utf-8")
    except Exception:
        return ""  # as above: it cannot parse an empty page
    return "\n".join(paragraph.text for paragraph in paragraphs if not paragraph.is_boilerplate)


if __name__ == "__main__":
    main()
