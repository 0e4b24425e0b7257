"""The curation engine: web archives in, a published dataset of text and tokens out.

Where things are:

- `run.py`      a whole run, phase by phase; the file to open first
- `refine.py`   one split of an archive through the steps of the recipe
- `record.py`   Page, Drop, record_id and every Arrow schema
- `recipe.py`   the typed recipe and the presets in `recipes/`
- `sources/`    readers: each yields Pages and accounts for every byte
- `steps/`      one idea a file: what is measured on a page and when it is dropped
- `dedup/`      exact and verified near-duplicate removal over all splits
- `tokens/`     BPE training, encoding, token shards and their contract
- `store/`      atomic, checksummed files, local or on any fsspec URL
- `report/`     the HTML report and the data card, both made from the ledger
- `interop/`    datatrove blocks in a recipe, Gristmill steps in a datatrove pipeline
- `cli.py`      the `gristmill` command

Nothing here imports `prefect` or `torch`.
"""

__version__ = "0.1.0"
