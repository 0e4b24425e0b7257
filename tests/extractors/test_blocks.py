"""Blocks: what a reader sees as one run of text, its counts, and the kernel in C against its Python twin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.extractors.blocks import COLUMN, Blocks
from pipeline.extractors.html_tags import TAG_CODES
from pipeline.extractors.reading import Reading, pages_kernel, read_page, read_page_python


def blocks_of(html: str) -> Blocks:
    return read_page(html).blocks


def column(blocks: Blocks, name: str) -> list[int]:
    return blocks.counts[:, COLUMN[name]].tolist()


def same(one: Reading, other: Reading) -> bool:
    arrays = ("counts", "tags", "parents", "first", "last", "named")
    lists = ("depth", "attributes", "title", "metas", "scripts")
    return (
        (one.blocks.texts, one.blocks.names) == (other.blocks.texts, other.blocks.names)
        and all(np.array_equal(getattr(one.blocks, name), getattr(other.blocks, name)) for name in arrays)
        and all(getattr(one, name) == getattr(other, name) for name in lists)
    )


class TestBoundaries:
    def test_blocks_end_where_block_elements_do_and_inline_text_runs_on(self):
        blocks = blocks_of("<h1>A <em>b</em>c</h1><div>loose<p>one</p>tail</div><ul><li>x<li>y</ul>")
        assert blocks.texts == ["A bc", "loose", "one", "tail", "x", "y"]

    def test_line_breaks_end_a_block_and_are_counted(self):
        blocks = blocks_of("<p>one<br>two<br><br><br>three</p>")
        assert blocks.texts == ["one", "two", "three"]
        assert column(blocks, "breaks") == [0, 1, 2]

    def test_white_space_collapses_but_not_in_code(self):
        blocks = blocks_of("<p> a \n\t b&nbsp; c </p><pre>\n  if x:\n\treturn  1  \n\n</pre>")
        assert blocks.texts == ["a b c", "  if x:\n\treturn  1"]

    def test_neighbouring_links_do_not_run_into_one_word(self):
        assert blocks_of("<div><a href=1>Home</a><a href=2>News</a></div>").texts == ["Home News"]

    def test_nothing_unseen_is_read(self):
        html = (
            "<head><title>t</title></head><script>if (a<b) '</div><p>no</p>'</script><style>p{}</style><svg><text>no"
            "</text><svg></svg></svg><template><p>no<template></template></p></template><select><option>no</select>"
            "<textarea>no<b></textarea><iframe><p>no</p></iframe><!-- <p>no</p> --><p>yes</p>"
        )
        assert blocks_of(html).texts == ["yes"]

    def test_entities_controls_and_soft_hyphens(self):
        assert blocks_of("<p>a&amp;lt; &lt;b&gt; co\u00adop\u200b\x01</p>").texts == ["a&lt; <b> coop"]


class TestCounts:
    def test_units_links_bold(self):
        blocks = blocks_of("<p>ab <b>cd</b> <a href=x>efg <strong>h</strong></a> 漢字</p>")
        assert column(blocks, "units") == [12]  # an ideograph is worth two
        assert column(blocks, "link_units") == [4]
        assert column(blocks, "bold_units") == [3]
        assert column(blocks, "links") == [1]
        assert column(blocks, "words") == [4 + 1 + 2]

    def test_characters(self):
        blocks = blocks_of("<p>“Één twee, 3: vier!” | 五。</p>")
        got = {name: column(blocks, name)[0] for name in ("letters", "upper", "digits", "stops", "commas", "signs")}
        assert got == {"letters": 12, "upper": 1, "digits": 1, "stops": 2, "commas": 2, "signs": 1}

    def test_an_element_holds_its_blocks_side_by_side(self):
        blocks = blocks_of("<main class='a b' id=c><p>1</p><section><p>2<p>3</section></main><p>4</p>")
        at = blocks.named.tolist().index(blocks.names.index("a b\nc"))
        assert blocks.texts[blocks.first[at] : blocks.last[at]] == ["1", "2", "3"]
        assert blocks.tags[at] == TAG_CODES["main"]
        assert blocks.last[0] == 4

    def test_the_leaf_holds_the_whole_block(self):
        blocks = blocks_of("<p><span>in</span> out</p><p><a href=x><i>all in</i></a></p>")
        leaves = [blocks.tags[leaf] for leaf in column(blocks, "leaf")]
        assert leaves == [TAG_CODES["p"], TAG_CODES["i"]]

    @pytest.mark.parametrize(
        "attribute", ["hidden", "aria-hidden=true", "style='x; display: none'", "style=display:none"]
    )
    def test_hidden_elements_are_marked(self, attribute):
        assert [name for name in blocks_of(f"<p class=x {attribute}>a</p>").names if name] == ["x\th"]


PIECES = [
    "<", ">", "</", "/>", "<!--", "-->", "--!>", "<p>", "</p>", "<b>", "</b>", "<b class=x>", "<div class=\"a\" id='b'>",
    "</div>", "<br>", "</br>", "<a href=x>", "<A HREF='y' Class=z>", "</a>", "<pre>", "</pre>", "<script>", "</script>",
    "<script type='application/ld+json'>{\"@type\": \"Article\"}</script>", "<svg>", "</svg>", "<svg/>", "<path/>", "<desc>",
    "<template>", "</template>", "<select>", "<option>", "</select>", "<x-y role=r>", "</x-y>", "<table>", "</table>", "<tr>",
    "<td>", "</td>", "<th id=t>", "<caption>", "<colgroup>", "<col>", "<tbody>", "</tr>", "&amp;", "&lt;", "&nbsp;", "&",
    "&notit;", "&#x41;", "&#128", "&mdash;", "&ampx", "word ", "漢字、", "\n", "\r\n", "\u3000", "É.", "𝒜𠀀", "\u00ad", "12 ",
    "•|", "<noscript>", "</noscript>", "<textarea>", "</textarea>", " hidden=\"\"", "<p style=\"display:none\">", "<img><input>",
    "<button>", "</button>", "<head>", "</head>", "<body class=q>", "<html id=h>", "</body>", "</html>", "<?x?>",
    "<!doctype html>", "<plaintext>", "<title>T &amp; t</title>", "<title>", "<meta name=author content='A B'>",
    "<meta property='og:title' content=O>", "<li>", "<ul>", "</ul>", "<dd>", "<dt>", "<h1>", "<h2>", "</h3>", "<form>",
    "</form>", "<nobr>", "<i>", "</i>", "<em>", "<font color=1>", "<center>", "</center>", "<object>", "</object>", "<frameset>",
    "<iframe>", "</iframe>", "<math>", "<mi>", "<ruby>", "<rt>", "<image>", "<![CDATA[x]]>", "=", " a=1", "\"", "'", "\x00",
]  # fmt: skip


@pytest.mark.skipif(pages_kernel() is None, reason="the kernel in C is not built")
class TestTwins:
    @given(st.lists(st.sampled_from(PIECES), max_size=60))
    @settings(max_examples=1000, deadline=None)
    def test_agree_on_any_tags(self, pieces):
        html = "".join(pieces)
        assert same(read_page(html), read_page_python(html))

    @given(st.text(alphabet="<>/!-= \"'&;#xX1abpBRt\n\r\t\f\x00é漢𠀀", max_size=60))
    @settings(max_examples=600, deadline=None)
    def test_agree_on_any_characters(self, html):
        assert same(read_page(html), read_page_python(html))

    @given(st.text(max_size=80))
    @settings(max_examples=200, deadline=None)
    def test_agree_on_any_text(self, text):
        html = f"<p>{text}</p><pre>{text}</pre>"
        assert same(read_page(html), read_page_python(html))
