"""What is told of a run, all of it counted from the ledger.

- `facts.py`  the counts: funnel, histograms, languages, hosts, tokens
- `card.py`   the data card (README.md of the dataset): published, so it holds no time and no machine
- `html.py`   the report: one self-contained HTML file in the run's own folder, with times and samples to read

May be imported from here: `collect_facts`, `write_card`, `write_report`.
"""

from pipeline.report.card import write_card
from pipeline.report.facts import collect_facts
from pipeline.report.html import write_report

__all__ = ["collect_facts", "write_card", "write_report"]
