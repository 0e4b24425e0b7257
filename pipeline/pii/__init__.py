"""Personal data in text: finding it, deciding, and putting something else in its place.

`scan.py` says in one pass which kinds a text may hold; `emails.py`, `phones.py`, `ips.py` and
`identifiers.py` cut the candidates out and ask Presidio's recognisers and checksums (`presidio.py`) about
each; `spans.py` settles overlaps; `replace.py` makes placeholders and surrogates; `datatrove.py` does exactly
what datatrove's formatter does.

May be imported from here: `Found`, `find_pii`, `replace_found`.
No function of this package logs, stores or raises a value that it found.
"""

from __future__ import annotations

from pipeline.pii.replace import replace_found
from pipeline.pii.scan import find_pii
from pipeline.pii.spans import Found

__all__ = ["Found", "find_pii", "replace_found"]
