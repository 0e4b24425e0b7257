"""The engine on Ray: the bytes of the local pool, also when a node dies on the way."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import GristmillError
from pipeline.recipe import load_recipe
from tests.conftest import SAMPLE, tree
from tests.flows.services import free_port

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
has_ray = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not has_ray, reason="Ray is not installed: pip install 'gristmill[ray]'")


@needs_ray
@pytest.mark.skipif(not shutil.which("unshare") or os.geteuid() != 0, reason="needs a network namespace of its own")
@pytest.mark.slow
def test_two_nodes_of_which_one_is_killed_publish_the_same_bytes(
    light: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    script = [
        sys.executable,
        str(Path(__file__).with_name("two_nodes.py")),
        str(light[0]),
        str(SAMPLE),
        str(tmp_path / "ds"),
        "kill",
    ]
    alone = ["unshare", "--net", "--", "sh", "-c", 'ip link set lo up 2>/dev/null || ifconfig lo up; exec "$@"', "sh"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*alone, *script], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "published" in done.stdout
    assert tree(tmp_path / "ds") == light[1]


@pytest.mark.skipif(has_ray, reason="Ray is installed")
def test_without_ray_it_says_how_to_get_it() -> None:
    from pipeline.commands.run import open_executor

    with pytest.raises(GristmillError, match="Ray is not installed"):
        open_executor(load_recipe("default"), 0, "ray", "")


@needs_ray
@pytest.mark.timeout(60)
def test_an_address_where_nobody_listens_is_told_at_once() -> None:
    from pipeline.commands.run import open_executor

    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(GristmillError, match="no Ray cluster answers there") as told:
        open_executor(load_recipe("default"), 0, "ray", address)
    assert told.value.where == address


def test_an_engine_that_nobody_offers_is_refused() -> None:
    from pipeline.commands.run import open_executor

    with pytest.raises(GristmillError, match="there is no such engine"):
        open_executor(load_recipe("default"), 0, "spark", "")
