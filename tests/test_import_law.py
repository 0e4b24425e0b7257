"""Law 6: the engine knows no scheduler, the trainer no crawler."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAW = {
    "pipeline": {"prefect", "torch", "flows", "model", "ray"},
    "model": {"prefect", "flows", "datatrove", "warcio", "fastwarc", "trafilatura", "fasttext", "presidio_analyzer"},
}


def imported(path: Path) -> set[str]:
    """Top-level names of every import in a file, also those inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return names


@pytest.mark.parametrize("folder", LAW)
def test_no_file_imports_what_it_must_not_know(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    broken = {
        str(path.relative_to(ROOT)): names & LAW[folder]
        for path in files
        if (names := {name.partition(".")[0] for name in imported(path)}) & LAW[folder]
    }
    assert not broken


def test_the_trainer_knows_only_the_contract_of_the_engine() -> None:
    allowed = {"pipeline.errors", "pipeline.store", "pipeline.tokens.contract"}
    for path in sorted((ROOT / "model").rglob("*.py")):
        engine = {name for name in imported(path) if name.partition(".")[0] == "pipeline"}
        assert engine <= allowed, f"{path.relative_to(ROOT)} imports {engine - allowed}"


def test_importing_the_command_line_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'prefect', 'spacy', 'trafilatura', 'datatrove', 'presidio_analyzer', 'pyarrow'}"
    code = f"import sys, pipeline.cli; print(*sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
