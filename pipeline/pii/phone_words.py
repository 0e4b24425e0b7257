"""The words around a number that say that it is a phone number, or that it is something else."""

from __future__ import annotations

import re

# A label: "Phone:", "tel. no.", "(fax)", "Mob -"; what follows is a phone number in whatever form.
_LABELS = (
    r"tele(?:ph|f)on\w{0,4}|tel|t[eé]l[eé]phone|tel[eé]fon\w{0,3}|tlf|tfno?|phones?|ph|fono|fone|fon|fax|faks\w?|"
    r"telefax|t[eé]l[eé]copie|mob|mobile?s?|mobil\w{0,3}|cell(?:ular\w{0,2})?|cellphone|handy|natel|gsm|"
    r"whats\s?app|viber|telegram|sms|hotline|helpline|quitline|toll[- ]free|freephone|rufnummer|durchwahl|"
    r"puh(?:elin)?|s[ií]mi|telp|hp|voicemail|landline|switchboard|"
    r"тел(?:ефон\w{0,3})?|моб(?:ильн\w{0,3})?|факс|τηλ(?:[εέ]φων\w{0,3})?|κιν(?:ητ\w{0,2})?|φαξ|"
    r"هاتف|تلفن|فاكس|جوال|טלפון|טל|נייד|פקס|điện thoại|đt|फ़ोन|फोन|मोबाइल"
)
# "my number", "contact no.": a number of somebody's is a phone number. "reach me", "contact us".
_THEIRS = (
    r"(?:contact|work|home|office|business|cell|direct|day(?:time)?|evening|emergency|my|her|his|our|their|new)\s"
    r"(?:phone\s)?(?:numbers?|no|nr|#|nummer|numéro|número|numero)|(?:reach|contact|get)\s(?:me|us|him|her|them)"
)
# Scripts without spaces: the label may follow any letter.
_UNSPACED_LABELS = r"電話|电话|手机|手機|传真|傳真|専線|专线|專線|携帯|전화|휴대폰|팩스|โทร(?:ศัพท์)?|[☎☏✆📞📱📠]"
_CALLS = (
    r"calls?|called|calling|dial|ring|texts?|appelez|llam[ae]\w?|chiam\w{1,3}|ligue|ligar|anruf\w{0,3}|"
    r"bel|звоните|dzwo\w{1,4}|zadzwo\w{1,3}|volejte"
)
_NO = r"(?:[ .]{0,2}(?:nos?|nrs?|nums?|numbers?|n°|№|#|numéro|número|numero|nummer|numer)(?![^\W\d_]))?"
_BEGIN, _END = r"(?<![^\W_])", r"(?![^\W_])"
_MARKS = r"[^\w\n]{0,6}"

LABELLED = re.compile(
    rf"(?i)(?:{_BEGIN}(?:{_LABELS}|{_THEIRS}){_NO}{_END}|(?:{_UNSPACED_LABELS}){_NO}"
    r"|(?<!\w)(?:[tmfp]\s?:|[tm]\.|(?:desk|office|home|work|direct|main|day|evening)\s?:))"
    rf"{_MARKS}\n?{_MARKS}$|{_BEGIN}(?:{_CALLS}){_NO}{_END}{_MARKS}$"
)
# "call me on", "fax number is", "phone Mrs Smith at": at most two words, then a preposition or the like.
ASKED = re.compile(
    rf"(?i){_BEGIN}(?:(?:{_LABELS}|{_THEIRS}){_NO}(?:['’]s|[ ,.:]{{1,2}}(?:to|was|were))[ :]{{1,3}}$"
    rf"|(?:{_LABELS}|{_THEIRS}|{_CALLS}){_NO}[ ,.:]{{1,2}}(?:[^\W\d_]{{1,12}}[ .]{{1,2}}){{0,2}}"
    r"(?:at|on|is|are|me|us|him|her|them|now|today|free|under|unter|au|al|no|ao|sur|am|op|på|или|по|or|und|and)"
    r"[ :(\-]{1,3}$)"
)
# Words that make a phone likely; the digits must then be a valid number of some region, however grouped.
LIKELY = re.compile(
    rf"(?i){_BEGIN}(?:contact|kontakt|contat?to|contacto|контакт\w?|reach|numbers?|número|numero|numéro|nummer|"
    rf"info\w*|enquir\w+|inquir\w+|reservations?|bookings?|appointments?|rsvp|details){_END}[^\d\n]{{0,20}}$"
)
# "(37) 788-063 (office)"; where another number follows, the word is that one's label.
LABEL_AFTER = re.compile(
    r"(?i)[ ,;)\\\-–(\[]{0,4}(?:is\s(?:my|her|his|our|their|the)\s(?:\w{1,9}\s)?)?"
    r"(?:number|office|fax|mobile|cell|phone|tel|home|work|desk|direct|toll[- ]free|voice|"
    rf"sms|whatsapp|main|hotline){_END}(?!\s{{0,2}}[:.]?\s{{0,2}}[+(]?\d)"
)
# Between a labelled number and the next that the label holds for.
AND = re.compile(r"(?i)\s{0,2}(?:[,;/|&+\-–]|or|and|and/or|oder|und|ou|et|o|y|e|или|и)?\s{0,2}\(?")
# Words before a number that is none.
OTHER_NUMBER = re.compile(
    rf"(?i){_BEGIN}(?:isbn[-\w]{{0,8}}|issn|doi|pmid|arxiv|oclc|lccn|ean|upc|asin|sku|imei|ids?|uid|ref|reference|"
    r"order|invoice|item|part|model|serial|s/n|case|docket|patent|version|section|pages?|pp?|no|nr|n°|№|"
    r"lot|batch|account|acct|vat|ustid|cnpj|cpf|rfc|nif|nip|pesel|regon|inn|инн|огрн|licen[sc]e|registration|reg|"
    r"kvk|siren|siret|hrb|postcode|zip)[-.:]?(?:\s?(?:no|number|num|nr|n°|№|code))?[-.:]?(?:1[03])?[\s:.#№(\-]{0,4}$"
)
