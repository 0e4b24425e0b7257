"""Exact and verified near-duplicate removal over all splits of a crawl.

- `settings.py`     what a recipe can say
- `fold.py` `shingles.py` `signatures.py`   from a text to what it is compared by
- `deduplicate.py`  the phase, stage by stage; the file to open first
- `verdicts.py`     what comes out, and how a split looks up its own documents

May be imported from here: `DedupSettings`, `SignatureWriter`, `signature_row`, `write_signatures`, `RefinedSplit`,
`deduplicate`, `DedupResult`, `Verdict`, `load_verdicts`.
"""

from pipeline.dedup.deduplicate import DedupResult, RefinedSplit, deduplicate
from pipeline.dedup.settings import DedupSettings
from pipeline.dedup.signatures import SignatureWriter, signature_row, write_signatures
from pipeline.dedup.verdicts import Verdict, load_verdicts

__all__ = [
    "DedupResult",
    "DedupSettings",
    "RefinedSplit",
    "SignatureWriter",
    "Verdict",
    "deduplicate",
    "load_verdicts",
    "signature_row",
    "write_signatures",
]
