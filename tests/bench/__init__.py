"""Speed and memory, measured: `make bench` runs all of it and writes RESULTS.md.

- `end_to_end.py`  the refine phase against datatrove 0.10.1 with its own pins, interleaved in one run
- `bench_*.py`     one part each; run alone they print their table (`bench_pareto.py` draws a picture, too)
- `reference.py`   datatrove's side, run by a Python of its own (`.bench/datatrove`)
- `worker.py`      our side, in the same shape
"""
