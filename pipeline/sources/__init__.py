"""Readers: what comes in, one Page a record, and an account of every byte.

- `inputs.py`       resolve paths, globs, URLs and crawls into InputFiles and Splits (the unit of refine work)
- `warc.py`         WARC 1.0/1.1, WET and ARC in gzip members, zstd, LZ4 or plain; re-synchronises after damage
- `wacz.py` `jsonl.py` `parquet.py` `html.py`   the other things a page can come in
- `decode.py`       transfer-encoding, content-encoding, charset
- `remote.py`       HTTPS and S3 byte ranges: retries, one rate for all workers, ETag checked
- `commoncrawl.py`  crawl listings

May be imported from here: `InputFile`, `Split`, `Reading`, `open_split`, `plan_inputs`.
"""
