"""Phone numbers: cut out by their digits, decided by libphonenumber's metadata through Presidio, or by a word beside.

A number is taken when
1. it begins with + or an exit code (00, 011) and could be one, anywhere in the world;
2. a word for a phone stands right before or after it, in any national form;
3. it has the North American shape 212-555-0123 or (212) 555-0123;
4. it is grouped as people of one of the `phone_regions` write a number that is valid there.
Digits without separators are taken only by 1 and 2: a bare run of ten digits is an id more often than a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from pipeline.pii.presidio import presidio
from pipeline.pii.spans import NAMED, SHAPED, Found

ENTITY = "PHONE_NUMBER"

_SEPARATORS = r"[ .\-/()]{0,4}"
_EXTENSION = r"(?:[ ,;]{0,2}(?:x|ext\.?|extension|#|доб\.?|durchwahl|app\.?|w\.)[ .:]{0,2}\d{1,6}(?!\d))?"
_NUMBER = re.compile(
    rf"(?<![\w+.$€£¥₹#@=])(?<!\d[-/:,. ])(?:\+[ ]?|\()*\d(?:{_SEPARATORS}\d){{4,16}}"
    rf"{_EXTENSION}(?![\w%°€£¥]|[.,:]\d|-\d)",
    re.IGNORECASE | re.ASCII,
)
_NORTH_AMERICAN = re.compile(r"(?:1[-. ])?(?:\(\d{3}\) ?|\d{3}([-.]))\d{3}[-. ]\d{4}", re.ASCII)
_NORTH_AMERICAN_LOCAL = re.compile(r"[2-9]\d\d-(?!19|20)\d{4}(?<!00)", re.ASCII)
_EXIT_CODE = re.compile(r"(?:00|011)[-. (]{1,2}(?=[1-9])")

# A label: "Phone:", "tel. no.", "(fax)", "Mob -"; what follows is a phone number in whatever form.
_LABELS = (
    r"tele(?:ph|f)on\w{0,4}|tel|t[eé]l[eé]phone|tel[eé]fon\w{0,3}|tlf|tfno?|phones?|ph|fono|fone|fax|faks\w?|"
    r"telefax|t[eé]l[eé]copie|mob|mobile?s?|mobil\w{0,3}|cell(?:ular\w{0,2})?|cellphone|handy|natel|gsm|"
    r"whats\s?app|viber|telegram|sms|hotline|helpline|quitline|toll[- ]free|freephone|rufnummer|durchwahl|"
    r"puh(?:elin)?|s[ií]mi|telp|hp|voicemail|landline|switchboard|"
    r"тел(?:ефон\w{0,3})?|моб(?:ильн\w{0,3})?|факс|τηλ(?:[εέ]φων\w{0,3})?|κιν(?:ητ\w{0,2})?|φαξ|"
    r"電話|电话|手机|手機|传真|傳真|携帯|전화|휴대폰|팩스|هاتف|تلفن|فاكس|جوال|טלפון|טל|נייד|פקס|"
    r"โทร(?:ศัพท์)?|điện thoại|đt|फ़ोन|फोन|मोबाइल"
)
_CALLS = (
    r"calls?|called|calling|dial|ring|texts?|appelez|llam[ae]\w?|chiam\w{1,3}|ligue|ligar|anruf\w{0,3}|"
    r"bel|звоните|dzwo\w{1,4}|zadzwo\w{1,3}|volejte"
)
_NO = r"(?:[ .]{0,2}(?:nos?|nrs?|nums?|numbers?|n°|№|#|numéro|número|numero|nummer|numer)(?![^\W\d_]))?"
_LABELLED = re.compile(
    rf"(?i)(?:(?<![^\W_])(?:{_LABELS}){_NO}(?![^\W_])|[☎☏✆📞📱📠]"
    r"|(?<!\w)(?:[tmfp]\s?:|[tm]\.|(?:desk|office|home|work|direct|main|day|evening)\s?:))[^\w\n]{0,6}\n?[^\w\n]{0,6}$"
    rf"|(?<![^\W_])(?:{_CALLS}){_NO}(?![^\W_])[^\w\n]{{0,6}}$"
)
# "call me on", "fax number is", "phone Mrs Smith at": at most two words between, then a preposition or the like.
_ASKED = re.compile(
    rf"(?i)(?<![^\W_])(?:{_LABELS}|{_CALLS}){_NO}[ ,.:]{{1,2}}(?:[^\W\d_]{{1,12}}[ .]{{1,2}}){{0,2}}"
    r"(?:at|on|is|are|me|us|him|her|them|now|today|free|under|unter|au|al|no|ao|sur|am|op|på|или|по|or|und|and)[ :(\-]{1,3}$"
)
# Words that make a phone likely: taken where the digits are a valid number of any region, however they are grouped.
_LIKELY = re.compile(
    r"(?i)(?<![^\W_])(?:contact|kontakt|contat?to|contacto|контакт\w?|reach|numbers?|número|numero|numéro|nummer|info\w*|"
    r"enquir\w+|inquir\w+|reservations?|bookings?|appointments?|rsvp|details)(?![^\W_])[^\d\n]{0,20}$"
)
_LABEL_AFTER = re.compile(
    r"(?i)[ ,;)\\\-–(\[]{0,4}(?:office|fax|mobile|cell|phone|tel|home|work|desk|direct|toll[- ]free|voice|sms|whatsapp"
    r"|main|hotline)(?![^\W_])(?!\s{0,2}[:.]?\s{0,2}[+(]?\d)"
)
_AND = re.compile(r"(?i)\s{0,2}(?:[,;/|&+\-–]|or|and|and/or|oder|und|ou|et|o|y|e|или|и)?\s{0,2}\(?")
# Words before a number that is none.
_OTHER_NUMBER = re.compile(
    r"(?i)(?<![^\W_])(?:isbn[-\w]{0,8}|issn|doi|pmid|arxiv|oclc|lccn|ean|upc|asin|sku|imei|ids?|uid|ref|reference|order|invoice|"
    r"item|part|model|serial|s/n|case|docket|patent|version|section|pages?|pp?|no|nr|number|num|n°|№|lot|batch|account|"
    r"acct|vat|ustid|cnpj|cpf|rfc|nif|nip|pesel|regon|inn|инн|огрн|licen[sc]e|registration|reg|kvk|siren|siret|hrb|"
    r"postcode|zip)[-.:]?(?:1[03])?[\s:.#№(\-]{0,4}$"
)
_DAY, _MONTH, _YEAR = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:0?[1-9]|1[0-2])", r"(?:1[5-9]|20)\d\d"
_SEP, _TIME = r"[-./ ]{1,2}", r"(?:[ T\-]{1,3}\d{1,2}(?:[-.: ]\d{0,2}){0,2})?"
_DATE = re.compile(
    rf"{_YEAR}{_SEP}{_MONTH}{_SEP}{_DAY}{_TIME}|{_DAY}{_SEP}{_DAY}{_SEP}{_YEAR}{_TIME}|{_DAY}(?P<s>[-./]){_DAY}(?P=s)\d\d(?:[ T\-]{{1,3}}\d{{1,2}})?"
    rf"|{_YEAR}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:\d{{6}})?|(?:0[1-9]|[12]\d|3[01])(?:0[1-9]|1[0-2]){_YEAR}"
    rf"|{_DAY}[. ]{{1,2}}{_YEAR}|{_DAY}{_SEP}{_DAY}[-–]{_DAY}{_SEP}{_DAY}{_SEP}{_YEAR}"
)
_YEARS = re.compile(rf"\D*{_YEAR}(?:\D{{1,4}}(?:(?:1[5-9]|20)?\d\d))+\D*")
_AMOUNT = re.compile(
    r"[1-9]\d{0,2}(?:\.\d{3})+|[1-9]\d{0,1}(?: \d{3})+|[1-9]\d\d(?: \d{3})+(?<=000)|[1-9]\d\d \d{3}|\d+\.\d+-\d+\.\d+"
)


class _Patience:
    """How many more runs of digits are looked up in vain: a page of tables has thousands that no plan has."""

    left = 300


def find_phones(text: str, regions: tuple[str, ...]) -> Iterator[Found]:
    """Every phone number; `regions` are ISO 3166 codes, or ("all",), and matter to national forms alone."""
    last_end, last_named, patience = -1, False, _Patience()
    for match in _NUMBER.finditer(text):
        start, end = _trimmed(match)
        named = last_named and _AND.fullmatch(text, last_end, start) is not None
        certainty = _certainty(text, start, end, named, regions, patience)
        if not certainty:
            # a number of something else may stand before or after it: "12 020 7946 0958"
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


def _inner(
    text: str, start: int, end: int, regions: tuple[str, ...], patience: _Patience
) -> tuple[int, int, float]:
    groups = [
        (start + group.start(), start + group.end()) for group in re.finditer(r"\(?\d+\)?", text[start:end])
    ]
    if len(groups) > 3 and text[start] != "+":
        for first, last in ((1, len(groups)), (0, len(groups) - 1)):
            begin, stop = groups[first][0], groups[last - 1][1]
            if _certainty(text, begin, stop, False, regions, patience) and text[begin - 1 : begin] not in (
                "-",
                ".",
                "/",
            ):
                return begin, stop, SHAPED
    return start, end, 0.0


def _certainty(
    text: str, start: int, end: int, named: bool, regions: tuple[str, ...], patience: _Patience
) -> float:
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
    if len(digits) < 7 or _OTHER_NUMBER.search(before[-24:]):
        return 0.0
    if (exit_code := _EXIT_CODE.match(number)) and _is_possible("+" + number[exit_code.end() :]):
        return SHAPED
    if _NORTH_AMERICAN.fullmatch(number) or (
        _NORTH_AMERICAN_LOCAL.fullmatch(number) and ("US" in regions or regions == ("all",))
    ):
        return SHAPED
    if _LIKELY.search(before) and _regions_set(("all",))[0].Match(digits):
        return SHAPED
    if text[start - 1 : start] in ("/", "_", "-", ":") or not _is_grouped(
        number, digits, _stands_alone(text, start, end)
    ):
        return 0.0
    if patience.left and _is_national(number, digits, regions):
        return SHAPED
    patience.left -= patience.left > 0
    return 0.0


_BEFORE_EXTENSION = re.compile(r"(?i)[ ,;]*(?:x|ext|#|доб|durchwahl|app|w\.)")
_NOT_DIGIT = re.compile(r"\D")
_PAIR = re.compile(r"\d{1,4}/\d{3,4}")


def _is_named(text: str, before: str, end: int, number: str, digits: str) -> bool:
    """Whether a word right before or after says that this is a phone number."""
    if _LABELLED.search(before):
        # a five-digit number needs its colon; "GSM 900/1800" is none
        return before.rstrip().endswith(":") or (len(digits) > 5 and not _PAIR.fullmatch(number))
    if len(digits) < 6:
        return False
    if _LABEL_AFTER.match(text, end):
        return True
    return _ASKED.search(before) is not None and not _OTHER_NUMBER.search(before[-24:])


def _is_grouped(number: str, digits: str, alone: bool) -> bool:
    """Whether it is written as a phone number is: in three groups or more, or with an area code that shows as one.

    Two groups will do where the number stands alone, as in a list of contacts: not in "3911 1436 Fourth Avenue".
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


_ALONE_BEFORE = re.compile(r"(?:^|[\n,;:|•·–—])[ \t(]{0,3}$")
_ALONE_AFTER = re.compile(r"[ \t]{0,2}(?:$|[\n,;|)•·]|\.(?!\w))")


def _stands_alone(text: str, start: int, end: int) -> bool:
    return bool(_ALONE_BEFORE.search(text, max(0, start - 4), start) and _ALONE_AFTER.match(text, end))


def _is_international(number: str, digits: str) -> bool:
    """Whether a number with its + could be dialled, or has at least a calling code and the length of a number."""
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

    if _is_possible(number.replace("(0)", "").lstrip("(")):
        return True
    # plans change (Benin went from 8 to 10 digits in 2024), and pages keep the old numbers
    return 8 <= len(digits) <= 15 and any(int(digits[:i]) in COUNTRY_CODE_TO_REGION_CODE for i in (1, 2, 3))


def _is_possible(number: str) -> bool:
    """Whether a number with its + could be dialled: the calling code exists and the length is one of its own."""
    return bool(_recogniser("US", 0).analyze(number, [ENTITY], None))


def _is_national(number: str, digits: str, regions: tuple[str, ...]) -> bool:
    """Whether a region's people write this number, so grouped: libphonenumber's STRICT_GROUPING."""
    digit_patterns, names = _regions_set(regions)
    possible = (names[i] for i in digit_patterns.Match(digits) or ())
    return any(_recogniser(region, 2).analyze(number, [ENTITY], None) for region in possible)


_KINDS = (
    "fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "personal_number", "voip", "pager", "uan",
    "voicemail",
)  # fmt: skip


@cache
def _recogniser(region: str, leniency: int) -> Any:
    return presidio().predefined_recognizers.PhoneRecognizer(supported_regions=(region,), leniency=leniency)


@cache
def _regions_set(regions: tuple[str, ...]) -> tuple[Any, tuple[str, ...]]:
    """A set of patterns, one a region: which regions have a number of these digits. Spares asking each in turn."""
    import re2
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata

    if regions == ("all",):
        # the main region of a calling code knows the numbers of all that share it
        regions = tuple(
            sorted(names[0] for names in COUNTRY_CODE_TO_REGION_CODE.values() if names[0] != "001")
        )
    patterns = re2.Set.FullMatchSet()
    for region in regions:
        metadata = PhoneMetadata.metadata_for_region(region)
        if metadata is not None:
            # what makes a number valid: the pattern of one of its kinds
            kinds = (getattr(metadata, kind) for kind in _KINDS)
            numbers = {
                kind.national_number_pattern for kind in kinds if kind and kind.national_number_pattern
            }
            prefix = metadata.national_prefix_for_parsing or ""
            patterns.Add(f"(?:{prefix})?(?:{'|'.join(sorted(numbers))})")
    patterns.Compile()
    return patterns, regions
