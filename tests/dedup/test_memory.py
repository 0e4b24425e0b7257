"""Memory follows the setting: four times the documents, the same peak."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from pipeline.dedup import DedupSettings
from tests.dedup.dedup_corpus import Doc, edited, make_id, prose, write_splits

SETTINGS = DedupSettings(memory=8 << 20)
MEASURED = """
import json, resource, sys
from pipeline.dedup import DedupSettings, RefinedSplit, deduplicate
from pipeline.store import Folder
root, splits = sys.argv[1], int(sys.argv[2])
parts = [RefinedSplit(Folder(root).sub(f"split-{n}")) for n in range(splits)]
small = deduplicate(parts[:1], DedupSettings(memory=8 << 20), Folder(root).sub("out/one"), map)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
whole = deduplicate(parts, DedupSettings(memory=8 << 20), Folder(root).sub(f"out/{splits}"), map)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"grown_mb": (after - before) / 1024, "removed": whole.stats["removed"]}))
"""


def test_peak_memory_is_bounded_by_the_setting(tmp_path: Path) -> None:
    words = [prose(n, 80) for n in range(1500)]
    parts = []
    for split in range(6):
        docs = [Doc(make_id(f"{split}/{n}"), " ".join([*own, f"page{split}x{n}"])) for n, own in enumerate(words)]
        parts.append(docs)
        words = [edited(own, split, 1) for own in words]
    write_splits(tmp_path, parts, SETTINGS)
    found = subprocess.run(
        [sys.executable, "-c", MEASURED, str(tmp_path), "6"], capture_output=True, text=True, check=True
    )
    measured = json.loads(found.stdout)
    assert measured["removed"]["near"] > 6000
    assert measured["grown_mb"] < 24  # task memory is 8
