"""What a worker process starts from: the engine, imported once for all workers of a run (see `Pool`), and no pandas."""

import pipeline.refine  # noqa: F401  (imported to be there)
from pipeline.tables import keep_pandas_out

keep_pandas_out()
