"""Readers: what comes in, one Page a record, and an account of every byte.

- `inputs.py` `formats.py`   resolve paths, globs, folders and URLs into InputFiles and Splits (the unit of work)
- `read.py` `open.py`        the pages of a split; the bytes of a file, wherever it lies
- archives, from the bytes up:
  `stored.py`    the file's bytes by position
  `members.py`   gzip members, zstd and LZ4 frames: where each begins and ends, its text in bounded pieces
  `text.py` `heads.py` `records.py`   WARC and ARC records in a text, with what lies between them
  `archive.py`   the file as pieces that tile it, from any split; finds the next good member after damage
  `http.py` `digests.py` `decode.py` `charset.py`   what a record's block says and holds
  `pages.py` `warc.py`   pieces as Pages, and the account of the split
- `wacz.py` `jsonl.py` `parquet.py` `html.py`   the other things a page can come in
- `inspect.py`     what `gristmill inspect` tells of a file
- over HTTPS and S3:
  `remote.py`      a remote file as a seekable one, blocks read ahead; what lies at many URLs
  `ranges.py`      byte ranges held against size and ETag; retries that go on from the byte reached
  `transport.py`   one request, by urllib3 or s3fs
  `rate.py`        the rate that all processes of a machine share
  `seen.py`        sizes and versions of Common Crawl's files, remembered
  `commoncrawl.py` crawls, and the files of one

May be imported from here: `InputFile`, `Limits`, `Reading`, `Split`, `open_split`, `plan_inputs`.
"""

from pipeline.sources.inputs import plan_inputs
from pipeline.sources.pages import Limits
from pipeline.sources.read import open_split
from pipeline.sources.split import InputFile, Reading, Split

__all__ = ["InputFile", "Limits", "Reading", "Split", "open_split", "plan_inputs"]
