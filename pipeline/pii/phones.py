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

_EXTENSION = r"(?:[ ,;]{0,2}(?:x|ext\.?|extension|#|доб\.?|durchwahl|app\.?|w\.)[ .:]{0,2}\d{1,6}(?!\d))?"
_NUMBER = re.compile(
    rf"(?<![\w+.,$€£¥₹#@=])(?<!\d[-/:–])(?:\+[ ]?|\()*\d(?:(?:[ .\-/()]|[ ]?[-.()/][ (]?){{0,3}}\d){{5,16}}"
    rf"{_EXTENSION}(?![\w%°€£¥]|[.,:]\d|-\d)",
    re.IGNORECASE | re.ASCII,
)
_NORTH_AMERICAN = re.compile(r"(?:1[-. ])?(?:\(\d{3}\) ?|\d{3}([-.]))\d{3}[-. ]\d{4}", re.ASCII)
_EXIT_CODE = re.compile(r"(?:00|011)(?=[-. (]?[1-9])")

_WORDS = (
    r"tele(?:ph|f)on\w{0,4}|tel|t[eé]l[eé]phone|tel[eé]fon\w{0,3}|tlf|tfno?|phones?|ph|fono|fone|fax|faks\w?|telefax|t[eé]l[eé]copie|"
    r"mob(?:ile?|il\w{0,3})?|cell?(?:ular\w{0,2})?|cellphone|handy|natel|gsm|whats\s?app|wa|viber|telegram|signal|sms|texts?|"
    r"calls?|call(?:ed|ing)?|call us|dial|ring|hotline|helpline|toll[- ]free|freephone|appelez|llam[ae]\w?|chiam\w{1,3}|ligue|"
    r"anruf\w{0,3}|rufnummer|durchwahl|bel|puh(?:elin)?|s[ií]mi|ligar|telp|hp|voicemail|landline|switchboard|"
    r"тел(?:ефон\w{0,3})?|моб(?:ильн\w{0,3})?|факс|звоните|τηλ(?:[εέ]φων\w{0,3})?|κιν(?:ητ\w{0,2})?|φαξ|電話|电话|手机|手機|传真|傳真|携帯|"
    r"전화|휴대폰|팩스|هاتف|تلفن|فاكس|جوال|טלפון|טל|נייד|פקס|โทร(?:ศัพท์)?|điện thoại|đt|फ़ोन|फोन|मोबाइल"
)
# The word, then at most three more ("call me on", "phone number is:"), on the same line or the one before.
_NAMED_BEFORE = re.compile(
    rf"(?i)(?:(?<![^\W_])(?:{_WORDS})(?:\s?(?:no|nr|num|number|n°|№|#))?\.?(?![^\W_])|[☎☏✆📞📱📠]|(?<!\w)[tmfpc](?:[.:]))"
    r"\s{0,2}[^\w\n]{0,4}(?:[^\W\d]{1,10}[ ,.:'’]{1,3}){0,3}[\s:.(\-–—*|/]{0,6}$"
)
_NAMED_AFTER = re.compile(
    r"(?i)^[ ,;)\\\-–(\[]{0,4}(?:office|fax|mobile|cell|phone|tel|home|work|desk|direct|toll[- ]free|voice|sms|whatsapp|main|hotline)(?![^\W_])"
)
_AND = re.compile(r"(?i)\s{0,2}(?:[,;/|&+\-–]|or|and|and/or|oder|und|ou|et|o|y|e|или|и)?\s{0,2}\(?")
# Words before a number that is none.
_OTHER_NUMBER = re.compile(
    r"(?i)(?<![^\W_])(?:isbn|issn|doi|pmid|arxiv|oclc|lccn|ean|upc|asin|sku|imei|id|ids|uid|ref|reference|order|invoice|item|part|"
    r"model|serial|s/n|case|docket|patent|version|section|page|pp|no|nr|number|num|n°|№|lot|batch|account|acct|vat|ustid|cnpj|cpf|"
    r"rfc|nif|nip|pesel|regon|inn|инн|огрн|licen[sc]e|registration|reg|kvk|siren|siret|hrb|postcode|zip)"
    r"[-.:]?(?:1[03])?[\s:.#№(\-]{0,4}$"
)
_DATE = re.compile(
    r"(?:1[89]|20)\d\d[-./ ](?:0?[1-9]|1[0-2])[-./ ](?:0?[1-9]|[12]\d|3[01])(?:\D.*)?"
    r"|(?:0?[1-9]|[12]\d|3[01])[-./ ](?:0?[1-9]|[12]\d|3[01])[-./ ](?:1[89]|20)\d\d(?:\D.*)?"
    r"|(?:0[1-9]|[12]\d|3[01])(?:0[1-9]|1[0-2])(?:19|20)\d\d|(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:\d{6})?"
    r"|(?:0?[1-9]|[12]\d|3[01])[./](?:0?[1-9]|[12]\d|3[01])[./]\d\d(?:\D.*)?"
)
_YEARS = re.compile(r"\D*(?:1[5-9]|20)\d\d(?:\D{1,4}(?:(?:1[5-9]|20)?\d\d))+\D*")
_THOUSANDS = re.compile(r"[1-9]\d{0,2}(?:([ .])\d{3})(?:\1\d{3})+")


def find_phones(text: str, regions: tuple[str, ...]) -> Iterator[Found]:
    """Every phone number; `regions` are ISO 3166 codes, or ("all",), and matter to national forms alone."""
    last_end, last_named = -1, False
    for match in _NUMBER.finditer(text):
        start, written = match.start(), match[0]
        while written.count("(") > written.count(")") and "(" in written:
            start, written = (
                (start + 1, written[1:]) if written[0] == "(" else (start, written[: written.rindex("(")])
            )
        written = written.rstrip(" .-/(")
        end = start + len(written)
        followed = last_named and _AND.fullmatch(text, last_end, start) is not None
        certainty = _certainty(text, start, end, followed, regions)
        if certainty:
            last_end, last_named = end, certainty == NAMED
            yield Found(ENTITY, start, end, certainty)


def _certainty(text: str, start: int, end: int, followed: bool, regions: tuple[str, ...]) -> float:
    written = text[start:end]
    number = re.split(r"(?i)[ ,;]*(?:x|ext|#|доб|durchwahl|app|w\.)", written)[0]
    digits = re.sub(r"\D", "", number)
    if len(set(digits)) < 2 or len(digits) < 6:
        return 0.0
    if number[0] == "+" or (number[:2] == "(+" and len(digits) >= 7):
        return NAMED if _is_possible(number.replace("(0)", "").lstrip("(")) else 0.0
    if _DATE.fullmatch(number) or _YEARS.fullmatch(number):
        return 0.0
    before = text[max(0, start - 48) : start]
    if len(digits) <= 15 and (followed or _NAMED_BEFORE.search(before) or _NAMED_AFTER.match(text, end)):
        return NAMED
    if _OTHER_NUMBER.search(before[-24:]):
        return 0.0
    if (exit_code := _EXIT_CODE.match(number)) and _is_possible(
        "+" + number[exit_code.end() :].lstrip("-. ")
    ):
        return SHAPED
    if _NORTH_AMERICAN.fullmatch(number):
        return SHAPED
    if number.isdigit() or _THOUSANDS.fullmatch(number) or text[start - 1 : start] in ("/", "_", "-", ":"):
        return 0.0
    return SHAPED if _is_national(number, digits, regions) else 0.0


def _is_possible(number: str) -> bool:
    """Whether a number with its + could be dialled: the calling code exists and the length is one of its own."""
    return bool(_recogniser("US", 0).analyze(number, [ENTITY], None))


def _is_national(number: str, digits: str, regions: tuple[str, ...]) -> bool:
    """Whether a region's people write this number, so grouped: libphonenumber's STRICT_GROUPING."""
    valid_in = _regions_set(regions)
    return any(
        _recogniser(region, 2).analyze(number, [ENTITY], None)
        for region in (valid_in[1][i] for i in valid_in[0].Match(digits) or ())
    )


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
        prefix = metadata.national_prefix_for_parsing or ""
        patterns.Add(f"(?:{prefix})?(?:{metadata.general_desc.national_number_pattern})")
    patterns.Compile()
    return patterns, regions
