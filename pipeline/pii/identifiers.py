"""Card numbers, IBANs, US social security numbers, wallets: a shape, then a checksum or a word beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import sha256

from pipeline.pii.presidio import recogniser
from pipeline.pii.spans import ADDRESS, NAMED, PROVEN, Found

CARD, IBAN, SSN, WALLET = "CREDIT_CARD", "IBAN_CODE", "US_SSN", "CRYPTO"

_RUN = re.compile(r"(?<![\w.,])\d(?:[ -]?\d){11,}(?!\w|[.,]\d)", re.ASCII)
# Issuer ranges with the lengths that they issue (ISO/IEC 7812; the networks' own tables). Shorter Maestro and
# Visa numbers look like bar codes (EAN-13 of Germany starts with 4), so those need a word that says card.
_ISSUED = re.compile(
    r"4\d{15}(?:\d{3})?|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}"
    r"|3(?:0[0-5]|[689]\d)\d{11}|3095\d{10}|6(?:011|5\d\d|4[4-9]\d|2\d\d)\d{12,15}|35(?:2[89]|[3-8]\d)\d{12}"
    r"|(?:2131|1800)\d{11}|220[0-4]\d{12}|(?:50(?:18|20|38)|5[6-8]\d\d|6304|6759|676[1-3])\d{12,15}"
)
_GROUPINGS = {
    (4, 4, 4, 4), (4, 4, 4, 4, 3), (4, 6, 5), (4, 6, 4), (4, 4, 5), (4, 5, 6), (4, 5, 4), (4, 4, 4),
    (4, 4, 4, 1), (4, 4, 4, 2), (4, 4, 4, 3), (4, 4, 4, 5), (4, 4, 4, 6), (4, 4, 4, 7),
    (6, 13), (8, 8), (6, 10),
}  # fmt: skip
_SAYS_CARD = re.compile(
    r"(?i)(?<!\w)(?:cards?|credit|debit|visa|master\s?card|amex|american express|discover|diners|maestro|jcb|"
    r"union\s?pay|cc|(?:kredit|debit|bank)?karten?(?:nummer)?|carte|tarjeta|cart[aã]o?|kort|kaart|kart[ay]?|карт[аыуе]|κάρτα|卡|カード|카드)(?!\w)"
)


def find_cards(text: str) -> Iterator[Found]:
    """12 to 19 digits that pass Luhn's check and begin as an issuer's do, or stand near a word for a card."""
    for run in _RUN.finditer(text):
        groups = list(re.finditer(r"\d+", run[0]))
        first = 0
        while first < len(groups):
            last = _card_from(text, run.start(), groups, first)
            if last is not None:
                yield Found(CARD, run.start() + groups[first].start(), run.start() + groups[last].end(), ADDRESS)
                first = last
            first += 1


def _card_from(text: str, start: int, groups: list[re.Match[str]], first: int) -> int | None:
    """The last group of the longest card number that begins with group `first`."""
    digits, fits = "", None
    for last in range(first, len(groups)):
        digits += groups[last][0]
        if len(digits) > 19:
            break
        sizes = tuple(len(group[0]) for group in groups[first : last + 1])
        if len(digits) < 12 or (len(sizes) > 1 and sizes not in _GROUPINGS):
            continue
        if len(set(digits)) > 1 and recogniser("CreditCardRecognizer").validate_result(digits):
            begin, end = start + groups[first].start(), start + groups[last].end()
            if _ISSUED.fullmatch(digits) or _SAYS_CARD.search(
                text[max(0, begin - 60) : begin] + " " + text[end : end + 30]
            ):
                fits = last
    return fits


# Total length by country: the SWIFT IBAN registry (release 99), then countries that use the form without
# being in it.
_IBAN_LENGTH = {
    country: int(length)
    for length, countries in {
        "15": "NO", "16": "BE", "18": "AX DK FI FK FO GL NL SD", "19": "MK SI",
        "20": "AT BA EE KZ LT LU MN XK", "21": "CH HR LI LV",
        "22": "BG BH CR DE GB GE GG IE IM JE ME RS VA", "23": "AE GI IL IQ OM SO TL",
        "24": "AD CZ ES MD PK RO SA SE SK TN VG", "25": "AO CV GW LY MZ PT ST", "26": "DZ IR IS TR",
        "27": "BI BL CF CG CM DJ FR GA GF GP GQ GR IT KM MC MF MG MQ MR NC PF PM RE SM TD TF WF YT",
        "28": "AL AZ BF BJ BY CI CY DO GT HN HU LB MA ML NE NI PL SN SV TG", "29": "BR EG PS QA UA",
        "30": "JO KW MU YE", "31": "MT SC", "32": "LC", "33": "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip
_IBAN = re.compile(
    r"(?:(?<![A-Za-z0-9])|(?<=IBAN))[A-Z]{2}[ -]?\d{2}(?:[ -]?[A-Z0-9]){11,40}"
    r"|(?<![A-Za-z0-9])[a-z]{2}\d{2}(?:[ -]?[a-z0-9]{4}){2,7}(?:[ -]?[a-z0-9]{1,3})?",
    re.ASCII,
)


def find_ibans(text: str) -> Iterator[Found]:
    """Account numbers with ISO 13616's check digits, written in one piece or in groups."""
    end = 0
    for match in _IBAN.finditer(text):
        if match.start() >= end and (length := _iban_length(match[0], text[match.end() : match.end() + 1])):
            end = match.start() + length
            yield Found(IBAN, match.start(), end, PROVEN)


def _iban_length(written: str, following: str) -> int:
    """How many characters of `written` are the account number; 0 where none is."""
    places = [i for i, char in enumerate(written) if char.isalnum()]
    country = written[:2].upper()
    due = _IBAN_LENGTH.get(country)
    sizes = [due] if due and due <= len(places) else []
    if written[:2].isupper():
        # another length than the registry's: old forms, and countries that are not in it; whole groups only
        ends = [i + 1 for i in range(14, min(34, len(places))) if i + 1 == len(places) or places[i + 1] > places[i] + 1]
        sizes += [size for size in reversed(ends) if size >= 15]
    for size in sizes:
        stop = places[size - 1] + 1
        after = written[stop : stop + 1] or following
        compact = "".join(written[i] for i in places[:size]).upper()
        if not after.isalnum() and sum(c.isdigit() for c in compact) >= 8 and _is_iban(compact):
            return stop
    return 0


def _is_iban(compact: str) -> bool:
    if recogniser("IbanRecognizer").validate_result(compact):
        return True
    # Presidio's table has 76 countries; for the others the check digits alone decide.
    return int("".join(str(int(char, 36)) for char in compact[4:] + compact[:4])) % 97 == 1


_SSN = re.compile(
    r"(?<![\w-])(?<!\d[.,/])(?:\d{3}([- .])\d{2}\1\d{4}|\d{5}-\d{4}|\d{3}-\d{6}|\d{9})(?![\w-]|[.,/]\d)",
    re.ASCII,
)
_SAYS_SSN = re.compile(r"(?i)(?<![a-z])(?:ss[n#]s?|social|soc\.? sec|social security|itin|tin|taxpayer|ssid)(?![a-z])")


def find_ssns(text: str) -> Iterator[Found]:
    """ddd-dd-dddd that the US could have issued; in other spellings only after a word that says so."""
    for match in _SSN.finditer(text):
        results = recogniser("UsSsnRecognizer").analyze(match[0], [SSN], None)
        if not results:
            continue
        named = bool(_SAYS_SSN.search(text, max(0, match.start() - 40), match.start()))
        if named or (match[1] == "-" and max(found.score for found in results) >= 0.5):
            yield Found(SSN, match.start(), match.end(), NAMED if named else 0.75)


_WALLET = re.compile(
    r"(?<!\w)(?:0x[0-9a-fA-F]{40}|(?:bc|ltc|tb)1[02-9ac-hj-np-z]{25,87}|(?:BC|LTC)1[02-9AC-HJ-NP-Z]{25,87}"
    r"|[48][0-9AB][1-9A-HJ-NP-Za-km-z]{93}|[1-9A-HJ-NP-Za-km-z]{26,52})(?!\w)",
    re.ASCII,
)
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def find_wallets(text: str) -> Iterator[Found]:
    """Addresses of Bitcoin and its kin (Base58Check, Bech32), Ethereum and Monero (by shape)."""
    for match in _WALLET.finditer(text):
        if _is_wallet(match[0]):
            yield Found(WALLET, match.start(), match.end(), PROVEN)


def _is_wallet(written: str) -> bool:
    if written.startswith("0x") or len(written) == 95:
        return True
    presidio = recogniser("CryptoRecognizer")
    if written[0] in "13" or written.startswith("bc1"):
        return bool(presidio.validate_result(written))
    if "1" in written and written.lower().startswith(("bc1", "ltc1", "tb1")):
        return bool(presidio.validate_bech32_address(written)[0])
    return any(char.isdigit() for char in written) and _is_base58check(written)


def _is_base58check(written: str) -> bool:
    """Whether the last four bytes are the checksum: Litecoin, Dogecoin, Dash, Tron, private keys."""
    number = 0
    for char in written:
        number = number * 58 + _BASE58.index(char)
    raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return sha256(sha256(raw[:-4]).digest()).digest()[:4] == raw[-4:]
