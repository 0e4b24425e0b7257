"""Small crawls that tests write themselves, with warcio's writer: an author other than our reader's."""

from __future__ import annotations

import io
import random
from collections.abc import Iterable, Mapping
from pathlib import Path

from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

DATE = {"WARC-Date": "2026-10-17T00:00:00Z"}

_SENTENCES = """\
The harbour master wrote the hour of every tide in his book, as his father had done before the war.
Nobody had asked for such a record, but the boats that came home late were glad that it was kept.
When the lamp on the outer mole failed that winter, the pilots steered by what they remembered.
A baker from the upper street carried bread to the crews and took fish in return.
Snow lay on the nets for eleven days and the men mended sails in the chapel instead.
The schoolteacher counted geese with her pupils and sent the figures to the museum each autumn.
It was said that the old bridge would not bear another cart, yet carts crossed it for a generation.
In spring the river brings down gravel from the hills and the channel has to be dug again.
Two sisters opened a shop that sold rope, lamp oil, seed potatoes and yesterday's newspaper.
Their accounts survive, and they show how little money passed from hand to hand in those years.
Visitors who arrive by the early train can walk the whole wall before the cafe opens its shutters.
Measured from the church door, the water rose higher in the flood of that year than ever since.
The engineer proposed a sluice of oak, which the council thought too dear until the next storm came.
Because the clay holds water so well, gardens on the east side need hardly any rain in summer.
An orchard of plum trees stood where the car park is now, and some of its grafts are still sold.
She learned to read a chart before she could read a story, or so her brother liked to tell people.
Once a month the ferry carries the library, and its captain has strong opinions about novels.
They argued over the price of tar, over the weather, and over whose turn it was to light the stove.
What remains of the mill is a wheel pit, a low wall and a row of very stubborn willows.
The museum keeps the logbook behind glass and turns one page every Monday morning.
Local clay was fired into tiles that can be recognised by the thumbprint on the underside.
Frost in May cost the valley most of its apples, but the pears behind the tannery were spared.
To cross at low water you follow the withies and never, whatever the guide says, the tracks of sheep.
He promised to return the boat before dark and brought it back four years later with a new name.""".splitlines()


def article(n: int) -> str:
    """A page of prose that every filter keeps; pages with other numbers hold other sentences in another order."""
    chosen = random.Random(n).sample(_SENTENCES, 15)
    paragraphs = [" ".join(chosen[k : k + 3]) for k in range(0, 15, 3)]
    own = f"Entry {n} of the almanac was written by hand number {n * 7919 % 1009}."
    body = "".join(f"<p>{paragraph}</p>" for paragraph in [own + " " + paragraphs[0], *paragraphs[1:]])
    return f"<html><head><title>Entry {n}</title></head><body><article><h1>Entry {n}</h1>{body}</article></body></html>"


def write_warc(path: Path, pages: Iterable[tuple[str, bytes, Mapping[str, str]]]) -> Path:
    """A WARC of responses from (url, body, HTTP headers); the body is stored as it is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        writer = WARCWriter(file, gzip=True)
        for url, body, headers in pages:
            http = StatusAndHeaders(
                "200 OK", [*{"Content-Type": "text/html; charset=utf-8", **headers}.items()], protocol="HTTP/1.1"
            )
            writer.write_record(
                writer.create_warc_record(
                    url, "response", payload=io.BytesIO(body), http_headers=http, warc_headers_dict=dict(DATE)
                )
            )
    return path


def articles(path: Path, numbers: Iterable[int]) -> Path:
    """A WARC of articles, each on a host of its own."""
    return write_warc(path, ((f"https://site{n}.example/entry/{n}", article(n).encode(), {}) for n in numbers))
