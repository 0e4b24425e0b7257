"""What a recipe can say about deduplication."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.settings import OWN_FILES

MIN_MEMORY = 1 << 20


class DedupSettings(BaseModel):
    """Which documents count as copies of each other, and when the result looks wrong enough to say so.

    The defaults are FineWeb's (word 5-grams, 14 bands of 8 rows: a pair of Jaccard similarity s becomes a
    candidate with probability 1 - (1 - s^8)^14), with one difference: a candidate counts only when its true
    similarity is at least `min_jaccard`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    exact: bool = Field(True, description="Remove documents whose text is equal up to whitespace.")
    minhash: bool = Field(True, description="Remove near-duplicates: MinHash candidates, each verified.")
    shingles: Literal["folded", "datatrove"] = Field(
        "folded",
        description="How a text becomes word n-grams. folded: case, accents, digits and punctuation folded "
        "by Unicode table, every script. datatrove: bit-identical to datatrove 0.10.1 for English, and slow.",
    )
    datatrove_hash: Literal["xxhash", "sha1"] = Field(
        "xxhash", description="64-bit hash of an n-gram where shingles is datatrove."
    )
    ngram: int = Field(5, ge=1, le=64, description="Words in a shingle; shorter texts are only compared exactly.")
    bands: int = Field(14, ge=1, le=256, description="Bands: a pair is a candidate where one of them agrees.")
    rows: int = Field(8, ge=1, le=64, description="MinHash values in a band.")
    seed: int = Field(1, ge=0, lt=1 << 32, description="Seed of the MinHash permutations.")
    min_jaccard: float = Field(
        0.8,
        ge=0.0,
        le=1.0,
        description="Least true Jaccard similarity of an edge. At 0.8, OLMo 3's choice, 14 x 8 bands find 92 % "
        "of the pairs; pairs that people judged equal lie above 0.88. 0 takes every candidate, as datatrove does.",
    )
    memory: int = Field(1 << 30, ge=MIN_MEMORY, description="Working memory of one task in bytes.")
    against: tuple[str, ...] = Field(
        (),
        description="Indexes of earlier datasets, oldest first; what they hold is removed from this one.",
        json_schema_extra=OWN_FILES,
    )
    max_cluster_share: float = Field(
        0.01, ge=0, le=1, description="Alarm when one cluster holds more than this share of all documents."
    )
    max_source_loss_share: float = Field(
        0.9, ge=0, le=1, description="Alarm when a host loses more than this share of its documents."
    )
    max_removed_share: float = Field(
        0.9, ge=0, le=1, description="Alarm when more than this share of all documents is removed."
    )
    max_rejected_share: float = Field(
        0.9, ge=0, le=1, description="Alarm when more than this share of candidate pairs fails verification."
    )
    alarm_from: int = Field(100, ge=1, description="Clusters, hosts and pair counts below this number raise no alarm.")

    def signature_settings(self) -> dict[str, Any]:
        """What decides a signature; the rest can change without signing anything anew."""
        return self.model_dump(include=set(SIGNATURE_FIELDS))


SIGNATURE_FIELDS = ("minhash", "shingles", "datatrove_hash", "ngram", "bands", "rows", "seed")
