"""Page chrome: the navigation, banners, sidebars and footers that the web puts around a text.

Each theme turns a Source into the HTML of one kind of site. Nothing here is random: what varies from page to
page (related links, which teaser stands where) follows from the URL.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from zlib import crc32

from markdown_it import MarkdownIt

from pipeline.sample.pages import Post, Source

_markdown = MarkdownIt("commonmark", {"html": True}).enable("table")

_SCRIPT = """<script>window.dataLayer=window.dataLayer||[];function gtag(){dataLayer.push(arguments)}
gtag('js',new Date());(function(d){var s=d.createElement('script');s.async=1;s.src='/assets/metrics.js';
d.head.appendChild(s)})(document);</script>"""
_STYLE = """<style>:root{--ink:#1d1f23;--paper:#fffdf8}body{margin:0;color:var(--ink);background:var(--paper);
font:17px/1.6 Georgia,serif}header nav ul{display:flex;gap:1rem;list-style:none}.wrap{max-width:64rem;margin:auto}
@media(max-width:40em){header nav ul{display:none}}.cookie{position:fixed;bottom:0;left:0;right:0}</style>"""
_COOKIES = """<div id="cookie-consent" class="cookie cookie-banner" role="dialog" aria-label="Cookies"><p>We use cookies
to make this site work and to measure how it is used.</p><button>Accept all</button> <button>Only necessary</button>
<a href="/cookie-policy">Cookie policy</a></div>"""


def render(page: Source, neighbours: Sequence[Source]) -> str:
    """The page as HTML; `neighbours` are other pages of the site, for its link lists."""
    return _THEMES[page.theme](page, _others(page, neighbours))


def markdown(text: str) -> str:
    """Markdown (CommonMark with tables) as HTML."""
    html: str = _markdown.render(text)
    return html


def _others(page: Source, neighbours: Sequence[Source]) -> list[Source]:
    """Up to five neighbours, beginning at a place that depends on the page."""
    rest = [other for other in neighbours if other.url != page.url]
    start = crc32(page.url.encode()) % len(rest) if rest else 0
    return (rest[start:] + rest[:start])[:5]


def _site(page: Source) -> str:
    name = page.host.removeprefix("www.").rsplit(".", 1)[0].split(".")[-1]
    return name.replace("-", " ").title()


def _links(pages: Sequence[Source]) -> str:
    return "".join(f'<li><a href="{escape(p.url)}">{escape(p.title)}</a></li>' for p in pages)


def _head(page: Source, extra: str = "") -> str:
    where = page.charset.partition("/")[2] or "both"
    charset = page.charset.partition("/")[0] or "utf-8"
    meta = f'<meta charset="{charset}">' if where in ("meta", "both") else ""
    return f"""<!DOCTYPE html>
<html lang="{page.lang}">
<head>
{meta}
<title>{escape(page.title)} | {_site(page)}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="canonical" href="{escape(page.url)}">
<meta property="og:title" content="{escape(page.title)}"><meta property="og:site_name" content="{_site(page)}">
<link rel="stylesheet" href="/assets/site.css?v=118">
{extra}{_STYLE}
{_SCRIPT}
</head>
"""


def _byline(page: Source) -> str:
    if not page.by:
        return ""
    return f'<p class="byline">By <a rel="author" href="/authors/{escape(page.by.split()[-1].lower())}">{escape(page.by)}</a> <time datetime="{page.date}">{page.date}</time></p>'


def _comments(posts: Sequence[Post]) -> str:
    if not posts:
        return ""
    items = "".join(
        f'<li class="comment" id="comment-{n}"><div class="comment-author">{escape(post.user)} <span class="says">says:</span></div>'
        f'<div class="comment-meta"><a href="#comment-{n}">{post.date}</a></div><div class="comment-content">{markdown(post.body)}</div>'
        f'<a class="comment-reply-link" href="#respond">Reply</a></li>'
        for n, post in enumerate(posts, 1)
    )
    return f'<section id="comments" class="comments-area"><h3>{len(posts)} comments</h3><ol class="comment-list">{items}</ol></section>'


def _magazine(page: Source, others: Sequence[Source]) -> str:
    return f"""{_head(page)}<body class="single">
<a class="skip-link" href="#content">Skip to content</a>
{_COOKIES}
<header class="site-header"><div class="wrap"><a class="logo" href="/">{_site(page)}</a>
<nav aria-label="Main"><ul><li><a href="/">Home</a></li><li><a href="/latest">Latest</a></li><li><a href="/essays">Essays</a></li>
<li><a href="/field-notes">Field notes</a></li><li><a href="/podcast">Podcast</a></li><li><a href="/subscribe">Subscribe</a></li></ul></nav>
<form action="/search" role="search"><input name="q" placeholder="Search"><button>Go</button></form></div></header>
<main id="content"><article class="post-full"><header class="article-header"><h1>{escape(page.title)}</h1>{_byline(page)}
<div class="share"><a href="/share/f">Facebook</a> <a href="/share/x">X</a> <a href="/share/m">Email</a></div></header>
<div class="article-body">
{markdown(page.body)}
</div>
<footer class="article-footer"><p class="tags"><a href="/tag/features">features</a> <a href="/tag/long-reads">long reads</a></p></footer></article>
<aside class="related"><h2>Read next</h2><ul>{_links(others)}</ul></aside>
{_comments(page.comments)}</main>
<aside class="sidebar"><div class="widget newsletter"><h3>Newsletter</h3><p>One letter every second Friday.</p>
<form><input type="email" placeholder="you@host"><button>Sign up</button></form></div></aside>
<footer class="site-footer"><ul><li><a href="/about">About</a></li><li><a href="/contact">Contact</a></li><li><a href="/privacy">Privacy</a></li></ul>
<p>&copy; 2026 {_site(page)}. All rights reserved.</p></footer>
</body></html>
"""


def _blog(page: Source, others: Sequence[Source]) -> str:
    return f"""{_head(page, '<meta name="generator" content="WordPress 6.6.2">')}<body class="post-template-default single single-post">
<div id="page" class="hfeed site"><div id="masthead" class="site-header"><p class="site-title"><a href="/">{_site(page)}</a></p>
<p class="site-description">Notes, mostly for myself</p><div class="menu-primary"><ul class="menu"><li class="menu-item"><a href="/">Home</a></li>
<li class="menu-item"><a href="/about/">About me</a></li><li class="menu-item"><a href="/archive/">Archive</a></li></ul></div></div>
<div id="content" class="site-content"><div id="primary" class="content-area">
<div id="post-{crc32(page.url.encode()) % 9000}" class="post type-post status-publish format-standard hentry">
<h1 class="entry-title">{escape(page.title)}</h1>
<div class="entry-meta">Posted on <a href="{escape(page.url)}">{page.date}</a> by {escape(page.by)}</div>
<div class="entry-content">
{markdown(page.body)}
</div><div class="entry-utility">Posted in <a href="/category/general/">General</a> | <a href="#comments">Comments</a></div></div>
<div class="post-navigation"><a rel="prev" href="/older">&larr; Older post</a> <a rel="next" href="/newer">Newer post &rarr;</a></div>
{_comments(page.comments)}
<div id="respond"><h3>Leave a reply</h3><form><textarea></textarea><input type="submit" value="Post comment"></form></div></div>
<div id="secondary" class="widget-area" role="complementary"><div class="widget"><h3>Recent posts</h3><ul>{_links(others)}</ul></div>
<div class="widget"><h3>Archives</h3><ul><li><a href="/2026/09/">September 2026</a></li><li><a href="/2026/08/">August 2026</a></li><li><a href="/2026/07/">July 2026</a></li></ul></div>
<div class="widget"><h3>Meta</h3><ul><li><a href="/wp-login.php">Log in</a></li><li><a href="/feed/">Entries feed</a></li></ul></div></div></div>
<div id="colophon" class="site-footer">Proudly powered by WordPress</div></div></body></html>
"""


def _news(page: Source, others: Sequence[Source]) -> str:
    data = (
        f'<script type="application/ld+json">{{"@context":"https://schema.org","@type":"NewsArticle","headline":"{escape(page.title)}",'
        f'"datePublished":"{page.date}","author":{{"@type":"Person","name":"{escape(page.by)}"}}}}</script>\n'
    )
    blocks = page.body.split("\n\n")
    cut = max(1, len(blocks) // 2)
    above, below = "\n\n".join(blocks[:cut]), "\n\n".join(blocks[cut:])
    return f"""{_head(page, data)}<body>
<div class="topbar"><a href="/weather">Weather 12&deg;</a><a href="/traffic">Traffic</a><a href="/login">Sign in</a></div>
<header><a href="/"><img src="/logo.svg" alt="{_site(page)}"></a><nav><ul><li><a href="/local">Local</a></li><li><a href="/sport">Sport</a></li>
<li><a href="/business">Business</a></li><li><a href="/opinion">Opinion</a></li><li><a href="/obituaries">Obituaries</a></li></ul></nav></header>
<div class="breadcrumb"><a href="/">Home</a> &gt; <a href="/local">Local</a></div>
<div class="layout"><main><article itemscope itemtype="https://schema.org/NewsArticle"><h1 itemprop="headline">{escape(page.title)}</h1>
{_byline(page)}<figure><img src="/img/{crc32(page.title.encode()):08x}.jpg" width="1200" height="675" alt=""></figure>
<div itemprop="articleBody" class="story-body">
{markdown(above)}
<div class="advert" aria-hidden="true"><span>Advertisement</span><div data-slot="mpu-1"></div></div>
{markdown(below)}
</div></article>{_comments(page.comments)}</main>
<aside class="rail"><h3>Most read</h3><ol>{_links(others)}</ol><div class="advert" data-slot="sky"></div></aside></div>
<footer><p>{_site(page)} is a member of the Independent Press Panel.</p><ul><li><a href="/terms">Terms</a></li><li><a href="/corrections">Corrections</a></li></ul></footer>
{_COOKIES}</body></html>
"""


def _nineties(page: Source, others: Sequence[Source]) -> str:
    body = markdown(page.body).replace("</p>", "").replace("</li>", "").replace("<p>", "<P>")
    links = "<BR>".join(f'<A HREF="{escape(p.url)}">{escape(p.title)}</A>' for p in others)
    meta = page.charset.partition("/")
    equiv = (
        f'<META HTTP-EQUIV="Content-Type" CONTENT="text/html; charset={meta[0]}">'
        if meta[2] in ("meta", "both")
        else ""
    )
    return f"""<HTML><HEAD>{equiv}<TITLE>{escape(page.title)}</TITLE></HEAD>
<BODY BGCOLOR="#FFFFF0" TEXT=#000000 LINK="#0000CC">
<CENTER><FONT SIZE=2><B>{_site(page)}</B><BR><A HREF="/index.html">Front page</A> | <A HREF="/guestbook.html">Guestbook</A></FONT></CENTER>
<HR NOSHADE><H2><FONT COLOR="#224422">{escape(page.title)}</H2></FONT>
{body}
<HR><FONT SIZE=2>{links}<BR><I>Last changed {page.date}.</FONT> <A HREF="/index.html">Back to the front page</A></I>
</BODY>
"""


def _docs(page: Source, others: Sequence[Source]) -> str:
    return f"""{_head(page, '<meta name="generator" content="mkdocs-1.6.1, mkdocs-material-9.5">')}<body data-md-color-scheme="default">
<div class="md-container"><header class="md-header"><nav class="md-header__inner"><a href="/">{_site(page)}</a><form><input placeholder="Search docs"></form>
<a href="/download">Download</a></nav></header>
<div class="md-main"><div class="md-sidebar md-sidebar--primary"><nav class="md-nav"><ul class="md-nav__list"><li class="md-nav__item"><a href="/start">Getting started</a></li>
<li class="md-nav__item"><a href="/install">Installation</a></li>{_links(others)}<li class="md-nav__item"><a href="/changelog">Changelog</a></li></ul></nav></div>
<div class="md-content"><article class="md-content__inner md-typeset"><h1 id="top">{escape(page.title)}<a class="headerlink" href="#top">&para;</a></h1>
{markdown(page.body)}
</article></div></div>
<footer class="md-footer"><nav><a rel="prev" href="/prev">Previous</a><a rel="next" href="/next">Next</a></nav><p>Made with a static site generator.</p></footer></div></body></html>
"""


def _forum(page: Source, others: Sequence[Source]) -> str:
    posts = "".join(
        f"""<div class="post" id="p{n}"><div class="postprofile"><strong><a href="/member/{escape(post.user.lower())}">{escape(post.user)}</a></strong><br>
Posts: {crc32(post.user.encode()) % 4000}<br>Joined: {2008 + crc32(post.user.encode()) % 16}</div>
<div class="postbody"><p class="author">{post.date}</p><div class="content">{markdown(post.body)}</div></div>
<div class="postbuttons"><a href="#quote">Quote</a> <a href="#report">Report</a></div></div>
"""
        for n, post in enumerate(page.posts, 1)
    )
    return f"""{_head(page, '<meta name="generator" content="phpBB">')}<body id="phpbb" class="section-viewtopic">
<div id="wrap"><div id="page-header"><h1><a href="/">{_site(page)} board</a></h1><ul class="linklist"><li><a href="/faq">FAQ</a></li><li><a href="/register">Register</a></li><li><a href="/login">Login</a></li></ul></div>
<div id="page-body"><main><article class="topic"><h1 class="topic-title">{escape(page.title)}</h1>
{posts}</article></main>
<div class="topic-actions"><a href="/reply">Post a reply</a> <span>{len(page.posts)} posts</span></div>
<h3>Similar topics</h3><ul>{_links(others)}</ul></div><div id="page-footer">Powered by phpBB</div></div></body></html>
"""


def _recipe(page: Source, others: Sequence[Source]) -> str:
    return f"""{_head(page)}<body><header><a class="brand" href="/">{_site(page)}</a><nav><a href="/breakfast">Breakfast</a> <a href="/mains">Mains</a> <a href="/baking">Baking</a> <a href="/preserves">Preserves</a></nav></header>
<main><article class="recipe"><h1>{escape(page.title)}</h1>{_byline(page)}<a class="jump" href="#method">Jump to recipe</a>
<div class="recipe-text">
{markdown(page.body)}
</div></article>{_comments(page.comments)}</main>
<aside><h2>You may also like</h2><ul>{_links(others)}</ul></aside><footer><p>&copy; {_site(page)}</p><a href="/imprint">Imprint</a></footer>{_COOKIES}</body></html>
"""


def _wiki(page: Source, others: Sequence[Source]) -> str:
    return f"""{_head(page, '<meta name="generator" content="MediaWiki 1.42.1">')}<body class="mediawiki ltr">
<div id="mw-head"><ul><li><a href="/talk">Discussion</a></li><li><a href="/edit">Edit</a></li><li><a href="/history">View history</a></li></ul></div>
<div id="content" class="mw-body" role="main"><h1 id="firstHeading">{escape(page.title)}</h1><div id="bodyContent"><div id="siteSub">From {_site(page)}, the free handbook</div>
<div id="mw-content-text" class="mw-parser-output">
{markdown(page.body)}
</div><div id="catlinks">Categories: <a href="/c/1">Handbook pages</a> | <a href="/c/2">Pages with tables</a></div></div></div>
<div id="mw-navigation"><ul><li><a href="/">Main page</a></li><li><a href="/random">Random page</a></li>{_links(others)}</ul></div>
<div id="footer">This page was last edited on {page.date}.</div></body></html>
"""


def _shop(page: Source, others: Sequence[Source]) -> str:
    cards = "".join(
        f'<li class="card"><a href="{escape(p.url)}"><img src="/p/{crc32(p.url.encode()):x}.webp" alt=""><span>{escape(p.title)}</span></a><b>£{crc32(p.url.encode()) % 80 + 5}.00</b><button>Add to basket</button></li>'
        for p in others
    )
    return f"""{_head(page)}<body class="product"><div class="promo">Free delivery over £40</div><header><a href="/">{_site(page)}</a><nav><ul><li><a href="/new">New in</a></li><li><a href="/sale">Sale</a></li><li><a href="/basket">Basket (0)</a></li><li><a href="/account">Account</a></li></ul></nav></header>
<main><h1>{escape(page.title)}</h1><div class="price">£{crc32(page.url.encode()) % 80 + 5}.00</div><button>Add to basket</button><select><option>Size S</option><option>Size M</option><option>Size L</option></select>
<div class="description">
{markdown(page.body)}
</div></main><section class="also"><h2>Customers also bought</h2><ul>{cards}</ul></section>
<footer><ul><li><a href="/delivery">Delivery</a></li><li><a href="/returns">Returns</a></li><li><a href="/size-guide">Size guide</a></li></ul></footer>{_COOKIES}</body></html>
"""


def _bare(page: Source, others: Sequence[Source]) -> str:
    """The body as it stands, for pages whose markup is the point."""
    return page.body


_THEMES: dict[str, Callable[[Source, Sequence[Source]], str]] = {
    "magazine": _magazine,
    "blog": _blog,
    "news": _news,
    "nineties": _nineties,
    "docs": _docs,
    "forum": _forum,
    "recipe": _recipe,
    "wiki": _wiki,
    "shop": _shop,
    "bare": _bare,
}
