"""`python -m pipeline.sample DATASET`: hold a run over the sample crawl against its key, and say where to look."""

import sys

from pipeline.cli import told
from pipeline.ledger import Dataset
from pipeline.sample import check_against_key, load_key
from pipeline.store import Folder


def main(url: str) -> int:
    """Print every difference; 1 where there is one."""
    import pyarrow as pa

    dataset = Dataset.open(Folder(url))
    documents = pa.concat_tables([dataset.folder.read_table(name) for name in dataset.files("text")])
    key = load_key(dataset.recipe.name)
    wrong = check_against_key(pa.concat_tables(dataset.ledger()), documents, key)
    for difference in wrong:
        print(difference)
    if wrong:
        print(f"{len(wrong)} differences from the key")
        return 1
    url = url.rstrip("/")
    print(f"as the key says: each of the {len(key)} records became what it must\n")
    print(f"look at   {url}/run/report.html   the report; open it in a browser")
    print(f"          {url}/README.md         the data card")
    print(f"          gristmill head {url}    the first documents")
    return 0


if __name__ == "__main__":
    with told():
        sys.exit(main(sys.argv[1]))
