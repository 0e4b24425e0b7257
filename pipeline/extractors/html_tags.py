"""What the WHATWG standard (13.1.2, 13.2.4, 13.2.6) says of each tag, as far as a light tree needs it, and what the
blocks of a page make of it. The kernel in C is given this table, so that it stands written once.
"""

from __future__ import annotations

# Tags whose boundaries end a block. The rest is inline: its text runs on.
BLOCK_TAGS = frozenset(
    "address article aside blockquote body caption center dd details dialog dir div dl dt fieldset figcaption"
    " figure footer form frameset h1 h2 h3 h4 h5 h6 header hgroup hr html legend li main menu nav ol optgroup p"
    " pre search section summary table tbody td tfoot th thead tr ul br button".split()
)
# What no reader sees, or sees as no text.
SKIPPED_TAGS = frozenset(
    "script style template svg math iframe object embed canvas audio video select textarea datalist map"
    " head title noframes xmp plaintext noembed".split()
)
# Text up to their own end tag, whatever stands in it.
RAW_TAGS = frozenset("script style iframe xmp noembed noframes title textarea".split())
VOID_TAGS = frozenset(
    "area base basefont bgsound br col embed frame hr img input keygen link meta param source track wbr".split()
)
# The tags that the model tells apart; the place in this list is the code. 0 is any other.
TAG_CODES = {
    tag: code
    for code, tag in enumerate(
        "p li h1 h2 h3 h4 h5 h6 td th dt dd div span a blockquote pre article main section aside nav header footer"
        " form ul ol dl table tr figure figcaption button label summary details caption noscript address code strong"
        " b em i time font center body".split(),
        start=1,
    )
}


# How a tag is treated, as bits; `pipeline/speed/native/page_tree.h` has the same in the same order.
BLOCK = 1 << 0
SKIPPED = 1 << 1
RAW = 1 << 2
VOID = 1 << 3
CLOSES_P = 1 << 4  # its start tag ends an open paragraph
SPECIAL = 1 << 5  # stray end tags of inline elements do not reach past it
FORMATTING = 1 << 6  # opened again where it was cut off
BARRIER = 1 << 7  # ends every scope
IMPLIED = 1 << 8  # its end tag may be left out
HEADING = 1 << 9
IN_HEAD = 1 << 10  # does not begin the body
MARKER = 1 << 11  # formatting does not go on within it
BREAKOUT = 1 << 12  # ends SVG and MathML
SCOPED_END = 1 << 13  # its end tag counts where it is open in scope
INTEGRATION = 1 << 14  # HTML again within SVG or MathML
REOPENS = 1 << 15  # formatting that was cut off goes on before it


_HEADINGS = "h1 h2 h3 h4 h5 h6"
_SECTIONS = (
    "address article aside blockquote center details dialog dir div dl fieldset figcaption figure footer header hgroup"
    " main menu nav ol search section summary ul"
)
_LISTS: dict[int, str] = {
    BLOCK: " ".join(BLOCK_TAGS),
    SKIPPED: " ".join(SKIPPED_TAGS),
    RAW: " ".join(RAW_TAGS),
    VOID: " ".join(VOID_TAGS),
    CLOSES_P: f"{_SECTIONS} {_HEADINGS} p pre listing form li dd dt plaintext hr xmp table",
    SPECIAL: f"{_SECTIONS} {_HEADINGS} applet area base basefont bgsound body br button caption col colgroup dd dt"
    " embed form frame frameset head hr html iframe img input keygen li link listing marquee meta noembed noframes"
    " noscript object p param plaintext pre script select source style table tbody td template textarea tfoot th thead"
    " title tr track wbr xmp mi mo mn ms mtext annotation-xml foreignobject desc",
    FORMATTING: "a b big code em font i nobr s small strike strong tt u",
    BARRIER: "applet caption html table td th marquee object select template mi mo mn ms mtext annotation-xml"
    " foreignobject desc",
    IMPLIED: "dd dt li optgroup option p rb rp rt rtc",
    HEADING: _HEADINGS,
    IN_HEAD: "base basefont bgsound link meta title noscript noframes style script template",
    MARKER: "applet marquee object template td th caption",
    BREAKOUT: f"{_HEADINGS} b big blockquote body br center code dd div dl dt em embed head hr i img li listing menu meta"
    " nobr ol p pre ruby s small span strong strike sub sup table tt u ul var",
    SCOPED_END: f"{_SECTIONS} button listing pre select applet marquee object",
    INTEGRATION: "foreignobject desc title mi mo mn ms mtext",
}
# What the tree builder asks for by name.
NAMED_TAGS = (
    "html head body frameset frame a nobr p li dd dt form button table caption colgroup col tbody thead tfoot tr td th"
    " select option optgroup ruby rb rtc rp rt ol ul pre br img image input b strong meta script title plaintext svg math"
    " template font noscript address div"
).split()

TAGS: dict[str, int] = {}
for _flag, _tags in _LISTS.items():
    for _tag in _tags.split():
        TAGS[_tag] = TAGS.get(_tag, 0) | _flag
for _tag in (*TAG_CODES, *NAMED_TAGS):
    TAGS.setdefault(_tag, 0)
_APART = frozenset("textarea iframe noembed param source track rb rtc rp rt".split())
for _tag in TAGS.keys() - _APART:
    if not TAGS[_tag] & (CLOSES_P | IN_HEAD) or _tag in ("xmp", "noscript"):
        TAGS[_tag] |= REOPENS
