"""Phone numbers, decided by libphonenumber's metadata through Presidio, or by a word beside them.

A number is taken when
1. it begins with + or an exit code (00, 011) and could be one, anywhere in the world;
2. a word for a phone stands right before or after it, in any national form;
3. it has the North American shape 212-555-0123 or (212) 555-0123;
4. it is grouped as people of one of the `phone_regions` write a number that is valid there.
Digits without separators are taken by 1 and 2 alone: a bare run of ten is an id more often than a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from pipeline.pii.phone_words import AND, ASKED, LABEL_AFTER, LABELLED, LIKELY, OTHER_NUMBER
from pipeline.pii.presidio import recogniser_classes
from pipeline.pii.spans import NAMED, SHAPED, Found

ENTITY = "PHONE_NUMBER"

_NUMBER = re.compile(
    r"(?<![\w+.$€£¥₹#@=])(?<!\d[-/,. ])(?:\+[ ]?|\()*\d(?:[ .\-/()]{0,4}\d){4,16}"
    r"(?:[ ,;]{0,2}(?:x|ext\.?|extension|#|доб\.?|durchwahl|app\.?|w\.)[ .:]{0,2}\d{1,6}(?!\d))?"
    r"(?![\w%°€£¥]|[.,:]\d|-\d)",
    re.IGNORECASE | re.ASCII,
)
_BEFORE_EXTENSION = re.compile(r"(?i)[ ,;]*(?:x|ext|#|доб|durchwahl|app|w\.)")
_GROUP = re.compile(r"\(?\d+\)?", re.ASCII)
_NOT_DIGIT = re.compile(r"\D", re.ASCII)
_PAIR = re.compile(r"\d{1,4}/\d{3,4}", re.ASCII)

_EXIT_CODE = re.compile(r"(?:00|011)[-. (]{1,2}(?=[1-9])")
_NORTH_AMERICAN = re.compile(r"(?:1[-. ])?(?:\(\d{3}\) ?|\d{3}([-.]))\d{3}[-. ]\d{4}", re.ASCII)
# without its area code; not a span of years or of round numbers
_NORTH_AMERICAN_LOCAL = re.compile(r"[2-9]\d\d-(?!19|20)\d{4}(?<!00)", re.ASCII)

_DAY, _MONTH, _YEAR = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:0?[1-9]|1[0-2])", r"(?:1[5-9]|20)\d\d"
_SEP, _TIME = r"[-./ ]{1,2}", r"(?:[ T\-]{1,3}\d{1,2}(?:[-.: ]\d{0,2}){0,2})?"
_DATE = re.compile(
    rf"{_YEAR}{_SEP}{_MONTH}{_SEP}{_DAY}{_TIME}|{_DAY}{_SEP}{_DAY}{_SEP}{_YEAR}{_TIME}"
    rf"|{_DAY}(?P<s>[-./]){_DAY}(?P=s)\d\d(?:[ T\-]{{1,3}}\d{{1,2}})?|{_DAY}[. ]{{1,2}}{_YEAR}"
    rf"|{_YEAR}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:\d{{6}})?|(?:0[1-9]|[12]\d|3[01])(?:0[1-9]|1[0-2]){_YEAR}"
    rf"|{_DAY}{_SEP}{_DAY}[-–]{_DAY}{_SEP}{_DAY}{_SEP}{_YEAR}"
)
_YEARS = re.compile(rf"\D*{_YEAR}(?:\D{{1,4}}(?:(?:1[5-9]|20)?\d\d))+\D*")
# 1.234.567, 12 345 678, 300 000 000, 425.20-425.70
_AMOUNT = re.compile(
    r"[1-9]\d{0,2}(?:\.\d{3})+|[1-9]\d?(?: \d{3})+|[1-9]\d\d(?: \d{3})+(?<=000)|[1-9]\d\d \d{3}"
    r"|\d+\.\d+-\d+\.\d+"
)


class _Patience:
    """How many more runs of digits are looked up in vain: a page of tables has thousands."""

    left = 300


def find_phones(text: str, regions: tuple[str, ...]) -> Iterator[Found]:
    """Every phone number; `regions` are ISO 3166 codes, or ("all",), and matter to national forms alone."""
    last_end, last_named, patience = -1, False, _Patience()
    for match in _NUMBER.finditer(text):
        start, end = _trimmed(match)
        named = last_named and AND.fullmatch(text, last_end, start) is not None
        certainty = _certainty(text, start, end, named, regions, patience)
        if not certainty:
            start, end, certainty = _inner(text, start, end, regions, patience)
        if certainty:
            last_end, last_named = end, certainty == NAMED
            yield Found(ENTITY, start, end, certainty)


def _trimmed(match: re.Match[str]) -> tuple[int, int]:
    """The span without a bracket that opens and does not close, and without separators at its end."""
    start, written = match.start(), match[0]
    while written.count("(") > written.count(")"):
        if written[0] == "(":
            start, written = start + 1, written[1:]
        else:
            written = written[: written.rindex("(")]
    return start, start + len(written.rstrip(" .-/("))


def _inner(text: str, start: int, end: int, regions: tuple[str, ...], patience: _Patience) -> tuple[int, int, float]:
    """The span without its first or last group: a house number or a year may stand next to a phone number."""
    groups = list(_GROUP.finditer(text, start, end))
    if len(groups) > 3 and text[start] != "+":
        for inner in (groups[1:], groups[:-1]):
            begin, stop = inner[0].start(), inner[-1].end()
            apart = inner[0] is groups[0] or text[begin - 1] == " "
            if apart and _certainty(text, begin, stop, False, regions, patience):
                return begin, stop, SHAPED
    return start, end, 0.0


def _certainty(text: str, start: int, end: int, named: bool, regions: tuple[str, ...], patience: _Patience) -> float:
    """How certain it is that this is a phone number, 0 where it is none; `named` by an earlier label."""
    number = _BEFORE_EXTENSION.split(text[start:end], maxsplit=1)[0]
    digits = _NOT_DIGIT.sub("", number)
    if len(set(digits)) < 2 or len(digits) > 17:
        return 0.0
    if number[0] == "+" or number[:2] == "(+":
        return NAMED if _is_international(number, digits) else 0.0
    if _DATE.fullmatch(number) or _YEARS.fullmatch(number):
        return 0.0
    before = text[max(0, start - 64) : start]
    if len(digits) <= 15 and (named or _is_named(text, before, end, number, digits)):
        return NAMED
    if len(digits) < 7 or OTHER_NUMBER.search(before[-24:]):
        return 0.0
    if (exit_code := _EXIT_CODE.match(number)) and _is_possible("+" + number[exit_code.end() :]):
        return SHAPED
    if _NORTH_AMERICAN.fullmatch(number):
        return SHAPED
    if _NORTH_AMERICAN_LOCAL.fullmatch(number) and ("US" in regions or regions == ("all",)):
        return SHAPED
    if LIKELY.search(before) and _regions_set(("all",))[0].Match(digits):
        return SHAPED
    if before[-1:] in ("/", "_", "-", ":") or not _is_grouped(number, digits, _stands_alone(text, start, end)):
        return 0.0
    if patience.left and _is_national(number, digits, regions):
        return SHAPED
    patience.left -= patience.left > 0
    return 0.0


def _is_named(text: str, before: str, end: int, number: str, digits: str) -> bool:
    """Whether a word right before or after says that this is a phone number."""
    if LABELLED.search(before):
        # a five-digit number needs its colon; "GSM 900/1800" is none
        return before.rstrip().endswith(":") or (len(digits) > 5 and not _PAIR.fullmatch(number))
    if len(digits) < 6:
        return False
    if LABEL_AFTER.match(text, end):
        return True
    return ASKED.search(before) is not None and not OTHER_NUMBER.search(before[-24:])


def _is_grouped(number: str, digits: str, alone: bool) -> bool:
    """Whether it has three groups or more, or an area code that shows as one.

    Two groups will do where the number stands alone, as in a list of contacts: not in "3911 1436 Hill Road".
    """
    groups = [group for group in _NOT_DIGIT.split(number) if group]
    if len(digits) < 7 or len(groups) < 2 or _is_figure(number) or _AMOUNT.fullmatch(number):
        return False
    return (len(digits) > 7 and (len(groups) > 2 or number[0] in "(0")) or (alone and "/" not in number)


def _is_figure(number: str) -> bool:
    """Points among other separators are decimal points, and two slashes a date or a file number."""
    if "." in number and (number.count(".") < 2 or any(mark in number for mark in " -/")):
        return not re.search(r"\)|\. ", number)
    return number.count("/") > 1


_ALONE_BEFORE = re.compile(r"(?:^|[\n,;:|•·–—]|\n[-*>])[ \t(]{0,3}$")
_ALONE_AFTER = re.compile(r"[ \t]{0,2}(?:$|[\n,;|)•·]|\.(?!\w))")


def _stands_alone(text: str, start: int, end: int) -> bool:
    return bool(_ALONE_BEFORE.search(text[max(0, start - 4) : start]) and _ALONE_AFTER.match(text, end))


def _is_international(number: str, digits: str) -> bool:
    """Whether a number with its + could be dialled, or has at least a calling code and a number's length."""
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

    if _is_possible(number.replace("(0)", "").lstrip("(")):
        return True
    # plans change (Benin went from 8 to 10 digits in 2024), and pages keep the old numbers
    return 8 <= len(digits) <= 15 and any(int(digits[:i]) in COUNTRY_CODE_TO_REGION_CODE for i in (1, 2, 3))


def _is_possible(number: str) -> bool:
    """Whether a number with its + could be dialled: its calling code has numbers of this length."""
    return bool(_recogniser("US", 0).analyze(number, [ENTITY], None))


def _is_national(number: str, digits: str, regions: tuple[str, ...]) -> bool:
    """Whether a region's people write this number, so grouped: libphonenumber's STRICT_GROUPING."""
    digit_patterns, names = _regions_set(regions)
    possible = (names[i] for i in digit_patterns.Match(digits) or ())
    return any(_recogniser(region, 2).analyze(number, [ENTITY], None) for region in possible)


@cache
def _recogniser(region: str, leniency: int) -> Any:
    return recogniser_classes()["PhoneRecognizer"](supported_regions=(region,), leniency=leniency)


_KINDS = (
    "fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "personal_number", "voip", "pager",
    "uan", "voicemail",
)  # fmt: skip


@cache
def _regions_set(regions: tuple[str, ...]) -> tuple[Any, tuple[str, ...]]:
    """One pattern a region, of all digits that are a number there: spares asking each region in turn."""
    import re2
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata

    if regions == ("all",):
        # the main region of a calling code knows the numbers of all that share it
        regions = tuple(sorted(names[0] for names in COUNTRY_CODE_TO_REGION_CODE.values() if names[0] != "001"))
    patterns = re2.Set.FullMatchSet()
    for region in regions:
        metadata = PhoneMetadata.metadata_for_region(region)
        kinds = [getattr(metadata, kind) for kind in _KINDS]
        numbers = {kind.national_number_pattern for kind in kinds if kind and kind.national_number_pattern}
        prefix = (metadata and metadata.national_prefix_for_parsing) or ""
        patterns.Add(f"(?:{prefix})?(?:{'|'.join(sorted(numbers))})")
    patterns.Compile()
    return patterns, regions
