"""Texts to tokenize: a small multilingual corpus and real texts."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[2].parent / "shared/data/curation"

_SENTENCES = """
The quick brown fox jumps over the lazy dog; it's 3 o'clock and they'll be late.
Water boils at 100 °C (212 °F) under 1013.25 hPa, doesn't it?
Der schnelle braune Fuchs springt über den faulen Hund und frisst Äpfel, Öl und Maß.
Le cœur déçu mais l'âme plutôt naïve, Louÿs rêva de crapaüter en canoë.
Съешь же ещё этих мягких французских булок, да выпей чаю.
Ξεσκεπάζω την ψυχοφθόρα βδελυγμία κάθε πρωί.
いろはにほへと ちりぬるを。東京は日本の首都です。
天地玄黃,宇宙洪荒。日月盈昃,辰宿列張。
다람쥐 헌 쳇바퀴에 타고파. 키스의 고유조건은 입술끼리 만나야 한다.
نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر.
ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण का सर्वनाश करने वाले।
def main(argv):\r\n    return {k: v for k, v in zip(argv, range(10))}  # 👩‍👩‍👧 ok
""".strip().splitlines()


def corpus(documents: int, seed: int = 0) -> list[str]:
    """Documents of shuffled words and lines, no two alike."""
    draw = random.Random(seed)
    words = [word for sentence in _SENTENCES for word in sentence.split(" ")]
    return [
        draw.choice(_SENTENCES) + "\n" + " ".join(draw.choices(words, k=draw.randrange(5, 120)))
        for _ in range(documents)
    ]


def real_texts() -> list[str]:
    """Main texts of real web pages and documents in 400 languages; skips where the data is not beside the checkout."""
    files = [DATA / "extraction/wcxb_dev.truth.jsonl.gz", DATA / "lid/udhr_documents.tsv.gz"]
    if not all(file.exists() for file in files):
        pytest.skip(f"the shared data is not there: {DATA}")
    pages = gzip.decompress(files[0].read_bytes()).decode().splitlines()
    sentences = gzip.decompress(files[1].read_bytes()).decode().splitlines()
    return [json.loads(page)["text"] for page in pages[::5]] + [line.split("\t")[-1] for line in sentences[::3]]
