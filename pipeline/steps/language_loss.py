"""What the early language gate cost a run, by the sample of its drops that it let through."""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc


class LanguageLoss(NamedTuple):
    """How far the early gate and the late one agree, in pages of one ledger."""

    dropped_early: int
    audited: int  # let through although they were to be dropped
    judged: int  # of those, the ones that reached the late gate
    kept_late: int  # of those, the ones that it kept: pages that the early gate would have lost
    passed_early: int  # pages that were judged by both gates, audited ones left out
    dropped_late: int  # of those, dropped by the late gate: work that the early one did not save

    @property
    def loss(self) -> float | None:
        """Estimated share of the early gate's drops that the late one would keep; None without a sample."""
        return self.kept_late / self.judged if self.judged else None

    @property
    def upper_bound(self) -> float | None:
        """With 95 % confidence the loss is no more than this (Clopper and Pearson's interval, one-sided)."""
        return _upper_bound(self.kept_late, self.judged) if self.judged else None


def language_loss(ledger: pa.Table) -> LanguageLoss:
    """Read the account from the ledger's columns state, step, language and early_language.*"""
    early = ledger["early_language.probability"].is_valid()
    audited = pc.fill_null(pc.equal(ledger["early_language.audit"], 1.0), False)
    gone_early = _dropped_by(ledger, "early_language")
    gone_late = _dropped_by(ledger, "language")
    judged = pc.not_equal(pc.fill_null(_strings(ledger["language"]), ""), "")
    passed = pc.and_(pc.and_not(early, audited), judged)
    return LanguageLoss(
        dropped_early=_count(gone_early),
        audited=_count(audited),
        judged=_count(pc.and_(audited, judged)),
        kept_late=_count(pc.and_not(pc.and_(audited, judged), gone_late)),
        passed_early=_count(passed),
        dropped_late=_count(pc.and_(passed, gone_late)),
    )


def _dropped_by(ledger: pa.Table, step: str) -> pa.ChunkedArray:
    dropped = pc.equal(_strings(ledger["state"]), "dropped")
    return pc.fill_null(pc.and_(dropped, pc.equal(_strings(ledger["step"]), step)), False)


def _strings(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string())


def _count(mask: pa.ChunkedArray) -> int:
    return int(pc.sum(mask).as_py() or 0)


def _upper_bound(hits: int, tries: int, confidence: float = 0.95) -> float:
    """The largest p at which `hits` or fewer of `tries` still have a chance of 1 - confidence."""
    low, high = hits / tries, 1.0
    for _ in range(50):
        p = (low + high) / 2
        low, high = (p, high) if _binomial_at_most(hits, tries, p) > 1 - confidence else (low, p)
    return high


def _binomial_at_most(hits: int, tries: int, p: float) -> float:
    """P(X <= hits) for X ~ Binomial(tries, p)."""
    term = total = (1 - p) ** tries
    for k in range(hits):
        term *= (tries - k) / (k + 1) * p / (1 - p) if p < 1 else 0.0
        total += term
    return total
