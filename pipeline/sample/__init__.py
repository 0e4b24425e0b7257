"""The bundled sample crawl: an invented web in genuine WARCs, and what must become of each record.

- `texts/`      the pages as Markdown, all written for this crawl (`pages.py` says in which form)
- `themes.py`   the page chrome around them; `oddities.py` what the web has besides pages
- `writer.py`   WARC/1.1 records; `build.py` puts the crawl together: `python -m pipeline.sample.build`
- `crawl/`      the built files; `key.jsonl` the key; `check.py` holds a run's result against it
- `grow.py`     a crawl of any size for benchmarks; `__main__.py` the check as a command

May be imported from here: `CRAWL`, `BLOCKED_DOMAINS`, `check_against_key`, `load_key`, `grow`.
"""

from pathlib import Path

from pipeline.sample.check import check_against_key, load_key
from pipeline.sample.grow import grow

CRAWL = Path(__file__).parent / "crawl"
BLOCKED_DOMAINS = CRAWL / "blocked_domains.txt"

__all__ = ["BLOCKED_DOMAINS", "CRAWL", "check_against_key", "grow", "load_key"]
