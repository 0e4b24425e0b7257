"""Exact and verified near-duplicate removal over all splits of a crawl.

- `deduplicate.py`  the phase, stage by stage; the file to open first
- `settings.py`     what a recipe can say
- `fold.py` `shingles.py` `signatures.py`   from a text to what it is compared by
- `exact.py` `bands.py` `candidates.py` `verify.py` `components.py` `clusters.py`   the stages, in this order
- `verdicts.py` `statistics.py`   what comes out, how a split looks up its own documents, what is told of it
- `index.py` `aliases.py`         earlier datasets, which a new crawl is joined to
- `plan.py` `stage.py` `rows.py` `identity.py`   how work is cut, resumed, shuffled; rows and ids as numbers

May be imported from here: `DedupSettings`, `SignatureWriter`, `signature_row`, `write_signatures`,
`RefinedSplit`, `deduplicate`, `DedupResult`, `Verdict`, `load_verdicts`, `append_to_index`,
`index_sources`.
"""

from pipeline.dedup.deduplicate import DedupResult, deduplicate
from pipeline.dedup.index import append_to_index, index_sources
from pipeline.dedup.plan import RefinedSplit
from pipeline.dedup.settings import DedupSettings
from pipeline.dedup.signatures import SignatureWriter, signature_row, write_signatures
from pipeline.dedup.verdicts import Verdict, load_verdicts

__all__ = [
    "DedupResult",
    "DedupSettings",
    "RefinedSplit",
    "SignatureWriter",
    "Verdict",
    "append_to_index",
    "deduplicate",
    "index_sources",
    "load_verdicts",
    "signature_row",
    "write_signatures",
]
