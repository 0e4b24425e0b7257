/* The tokenizer over a string of CH, as pipeline/extractors/html_tokens.py says it, and what the tree builder asks of
   attributes; included by pages.c once for each width of Python's strings. */

/* the first `c` in [at, end), else `end` */
static Py_ssize_t
NAME(find)(const CH *s, Py_ssize_t at, Py_ssize_t end, CH c)
{
    if (sizeof(CH) == 1) {
        const void *found = at < end ? memchr(s + at, (int)c, (size_t)(end - at)) : NULL;
        return found ? (const CH *)found - s : end;
    }
    for (; at + 16 <= end; at += 16) { /* which compilers turn into a few vector instructions */
        int any = 0;
        for (int i = 0; i < 16; i++)
            any |= s[at + i] == c;
        if (any)
            break;
    }
    while (at < end && s[at] != c)
        at++;
    return at;
}

/* whether `what`, in lower case, stands at `at`, in any case */
static int
NAME(says)(const CH *s, Py_ssize_t at, Py_ssize_t end, const char *what, Py_ssize_t length)
{
    if (at + length > end)
        return 0;
    for (Py_ssize_t i = 0; i < length; i++) {
        CH c = s[at + i];
        if ((c >= 'A' && c <= 'Z' ? c + 32 : c) != (CH)(uint8_t)what[i])
            return 0;
    }
    return 1;
}
#define SAYS(s, at, end, what) NAME(says)(s, at, end, what, (Py_ssize_t)sizeof(what) - 1)

/* whether `what` stands at `at`, as it is written */
static int
NAME(is)(const CH *s, Py_ssize_t at, Py_ssize_t end, const char *what, Py_ssize_t length)
{
    if (at + length > end)
        return 0;
    for (Py_ssize_t i = 0; i < length; i++)
        if (s[at + i] != (CH)(uint8_t)what[i])
            return 0;
    return 1;
}
#define BIT(c) (1ull << (c))
#define SPACE_BITS (BIT(' ') | BIT('\n') | BIT('\t') | BIT('\r') | BIT('\f'))
#define IS_HTML_SPACE(c) ((c) < 64 && SPACE_BITS >> (c) & 1)
#define IS_LETTER(c) (((c) >= 'a' && (c) <= 'z') || ((c) >= 'A' && (c) <= 'Z'))
#define IS_DIGIT(c) ((c) >= '0' && (c) <= '9')
#define ENDS_NAME(c) ((c) < 64 && (SPACE_BITS | BIT('/') | BIT('>')) >> (c) & 1)
#define ENDS_KEY(c) ((c) < 64 && (SPACE_BITS | BIT('/') | BIT('>') | BIT('=')) >> (c) & 1)

/* ---- attributes ------------------------------------------------------------------------------------------------ */

typedef struct {
    const Tag *tag;
    uint64_t hash;
    int32_t count;
    int closed; /* <name/> */
    unsigned has; /* bits of the keys that it has */
    Py_ssize_t from[KEYS], to[KEYS];
    Py_ssize_t end; /* behind it; -1 where the source ends within it */
} NAME(Token);

static int
NAME(key_of)(const CH *s, Py_ssize_t at, Py_ssize_t end)
{
    switch (end - at) {
    case 2: return SAYS(s, at, end, "id") ? K_ID : -1;
    case 4: return SAYS(s, at, end, "role") ? K_ROLE : SAYS(s, at, end, "name") ? K_NAME : SAYS(s, at, end, "type") ? K_TYPE
                 : SAYS(s, at, end, "face") || SAYS(s, at, end, "size") ? K_FONT : -1;
    case 5: return SAYS(s, at, end, "class") ? K_CLASS : SAYS(s, at, end, "style") ? K_STYLE
                 : SAYS(s, at, end, "color") ? K_FONT : -1;
    case 6: return SAYS(s, at, end, "hidden") ? K_HIDDEN : -1;
    case 7: return SAYS(s, at, end, "content") ? K_CONTENT : -1;
    case 8: return SAYS(s, at, end, "itemprop") ? K_ITEMPROP : SAYS(s, at, end, "property") ? K_PROPERTY : -1;
    case 11: return SAYS(s, at, end, "aria-hidden") ? K_ARIA_HIDDEN : -1;
    default: return -1;
    }
}

/* the tag whose name begins at `at` */
static void
NAME(read_tag)(const CH *s, Py_ssize_t at, Py_ssize_t end, NAME(Token) *token)
{
    uint64_t h = FNV_START;
    Py_ssize_t start = at;
    for (; at < end && !ENDS_NAME(s[at]); at++) {
        CH c = s[at];
        h = FNV_STEP(h, c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
    token->tag = find_tag(h, (size_t)(at - start));
    token->hash = h;
    token->count = 0;
    token->has = 0;
    token->end = -1;
    for (;;) {
        Py_ssize_t before = at, key_end;
        while (at < end && (IS_HTML_SPACE(s[at]) || s[at] == '/'))
            at++;
        if (at >= end)
            return;
        if (s[at] == '>') {
            token->closed = at > before && s[at - 1] == '/';
            token->end = at + 1;
            return;
        }
        start = at++; /* its first character may be a "=" */
        while (at < end && !ENDS_KEY(s[at]))
            at++;
        key_end = at;
        int key = NAME(key_of)(s, start, key_end);
        while (at < end && IS_HTML_SPACE(s[at]))
            at++;
        Py_ssize_t from = key_end, to = key_end;
        if (at < end && s[at] == '=') {
            for (at++; at < end && IS_HTML_SPACE(s[at]); at++)
                ;
            from = at;
            if (at < end && (s[at] == '"' || s[at] == '\'')) {
                from = at + 1;
                to = NAME(find)(s, from, end, s[at]);
                if (to == end)
                    return;
                at = to + 1;
            }
            else {
                while (at < end && !IS_HTML_SPACE(s[at]) && s[at] != '>')
                    at++;
                to = at;
            }
        }
        token->count++;
        if (key >= 0 && !(token->has & (1u << key))) {
            token->has |= 1u << key;
            token->from[key] = from;
            token->to[key] = to;
        }
    }
}

/* the place of an element's names: class, id, role, itemprop as far as it has them, and whether it is hidden */
static int32_t
NAME(names_of)(Reader *r, const CH *s, const NAME(Token) *token)
{
    int hidden = token->has >> K_HIDDEN & 1;
    if (!(token->has & ((1u << K_NAMES) - 1)))
        return 0;
    if (token->has & (1u << K_ARIA_HIDDEN)) {
        Py_ssize_t at = token->from[K_ARIA_HIDDEN];
        hidden |= token->to[K_ARIA_HIDDEN] - at == 4 && s[at] == 't' && s[at + 1] == 'r' && s[at + 2] == 'u' && s[at + 3] == 'e';
    }
    if (token->has & (1u << K_STYLE))
        for (Py_ssize_t at = token->from[K_STYLE], to = token->to[K_STYLE]; at < to && !hidden; at++)
            hidden = s[at] == 'd' && (NAME(is)(s, at, to, "display:none", 12) || NAME(is)(s, at, to, "display: none", 13));
    size_t room = 8;
    for (int k = K_CLASS; k <= K_ITEMPROP; k++)
        if (token->has & (1u << k))
            room += (size_t)(token->to[k] - token->from[k]) + 1;
    if (!reserve_pool(r, room * sizeof(CH)))
        return 0;
    CH *start = (CH *)(r->pool + r->pooled), *out = start;
    int any = 0;
    for (int k = K_CLASS; k <= K_ITEMPROP; k++) {
        if (!(token->has & (1u << k)))
            continue;
        if (any)
            *out++ = '\n';
        any = 1;
        memcpy(out, s + token->from[k], (size_t)(token->to[k] - token->from[k]) * sizeof(CH));
        out += token->to[k] - token->from[k];
    }
    if (hidden) {
        *out++ = '\t';
        *out++ = 'h';
    }
    return out == start ? 0 : place_of(r, (size_t)(out - start) * sizeof(CH));
}

static void
NAME(gather)(Reader *r, const CH *s, const NAME(Token) *token)
{
    if (!(token->has & (1u << K_CONTENT)))
        return;
    for (int i = 0; i < 2; i++) {
        int key = i ? K_PROPERTY : K_NAME, known = 0;
        if (!(token->has & (1u << key)) || token->to[key] - token->from[key] > 32)
            continue;
        PyObject *own = PyUnicode_FromKindAndData(sizeof(CH), s + token->from[key], token->to[key] - token->from[key]);
        PyObject *name = own ? PyObject_CallMethod(own, "lower", NULL) : NULL;
        Py_XDECREF(own);
        if (name == NULL || (known = PySet_Contains(told, name)) < 0)
            r->failed = 1;
        if (known > 0) {
            PyObject *pair = Py_BuildValue(
                "(ON)", name,
                PyUnicode_FromKindAndData(sizeof(CH), s + token->from[K_CONTENT], token->to[K_CONTENT] - token->from[K_CONTENT]));
            if (pair == NULL || PyList_Append(r->metas, pair))
                r->failed = 1;
            Py_XDECREF(pair);
        }
        Py_XDECREF(name);
        if (known)
            return;
    }
}

/* ---- text ------------------------------------------------------------------------------------------------------ */

/* the reference behind the "&" at `at` - 1 into `out`; behind it, or `at` where it is none */
static Py_ssize_t
NAME(read_reference)(const CH *s, Py_ssize_t at, Py_ssize_t end, Py_UCS4 *out, int *count)
{
    static const uint16_t windows[32] = {
        0x20AC, 0x81, 0x201A, 0x192, 0x201E, 0x2026, 0x2020, 0x2021, 0x2C6, 0x2030, 0x160, 0x2039, 0x152, 0x8D, 0x17D, 0x8F,
        0x90, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014, 0x2DC, 0x2122, 0x161, 0x203A, 0x153, 0x9D, 0x17E, 0x178};
    Py_ssize_t start = at;
    if (at < end && s[at] == '#') {
        int hex = at + 1 < end && (s[at + 1] == 'x' || s[at + 1] == 'X'), digits = 0;
        uint32_t code = 0;
        for (at += 1 + hex; at < end; at++, digits++) {
            CH c = s[at];
            int digit = IS_DIGIT(c) ? (int)c - '0' : hex && (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (int)(c | 0x20) - 'a' + 10 : -1;
            if (digit < 0)
                break;
            code = code > 0x110000 ? code : code * (hex ? 16 : 10) + (uint32_t)digit;
        }
        if (!digits)
            return start;
        *out = code >= 128 && code < 160 ? windows[code - 128]
             : code == 0 || code >= 0x110000 || (code >= 0xD800 && code < 0xE000) ? 0xFFFD : code;
        *count = 1;
        return at < end && s[at] == ';' ? at + 1 : at;
    }
    if (at >= end || !IS_LETTER(s[at]))
        return start;
    uint64_t h = FNV_START;
    const Entity *bare = NULL;
    Py_ssize_t bare_end = at;
    for (; at < end && at - start < LONGEST_ENTITY && (IS_LETTER(s[at]) || IS_DIGIT(s[at])); at++) {
        h = FNV_STEP(h, s[at]);
        const Entity *found = at - start < LONGEST_BARE ? find_entity(h) : NULL;
        if (found) {
            bare = found;
            bare_end = at + 1;
        }
    }
    const Entity *whole = at < end && s[at] == ';' ? find_entity(FNV_STEP(h, ';')) : NULL;
    const Entity *found = whole ? whole : bare;
    if (found == NULL)
        return start;
    out[0] = found->first;
    out[1] = found->second;
    *count = found->second ? 2 : 1;
    return whole ? at + 1 : bare_end;
}

/* [at, end) into `piece`, references resolved, and counted; whether it is white space */
static int
NAME(decode)(Reader *r, const CH *s, Py_ssize_t at, Py_ssize_t end)
{
    int blank = 1, fold = !r->pres, inside = 0;
    r->piece.length = 0;
    memset(&r->own, 0, sizeof r->own);
    if (!reserve(r, &r->piece, end - at + 1)) /* a reference is longer than what it stands for */
        return 1;
    Py_UCS4 *out = r->piece.at;
    while (at < end) {
        Py_UCS4 c[2] = {s[at++], 0};
        int count = 1;
        if (c[0] == '&')
            at = NAME(read_reference)(s, at, end, c, &count);
        for (int i = 0; i < count; i++) {
            int kind = KIND(c[i]);
            if (kind & (SPACE | DROPPED)) {
                blank = blank && IS_HTML_SPACE(c[i]);
                if (kind & DROPPED)
                    continue;
                if (!fold)
                    *out++ = c[i];
                else if (out == r->piece.at || out[-1] != ' ')
                    *out++ = ' ';
                inside = 0;
                continue;
            }
            int wide = (kind & WIDE) != 0;
            blank = 0;
            *out++ = c[i];
            r->own.units += 1 + wide;
            r->own.words += !inside + wide;
            r->own.seen[kind & CLASS]++;
            inside = 1;
        }
    }
    r->piece.length = out - r->piece.at;
    return blank;
}

static void
NAME(text)(Reader *r, const CH *s, Py_ssize_t at, Py_ssize_t end)
{
    if (at == end || r->phase == IN_FRAMESET || (r->skipping && (r->phase == IN_BODY || r->templates)))
        return;
    int blank = NAME(decode)(r, s, at, end);
    if (r->phase < IN_BODY && !blank && !r->templates)
        begin_body(r);
    if (r->skipping || r->phase != IN_BODY)
        return;
    if (IS_ROLE(TOP(r), T_COLGROUP) && !blank)
        pop(r);
    if (!blank || !IS_FOSTER(ROLE_OF(TOP(r))))
        reopen(r);
    add_text(r);
}

/* where the comment, doctype, CDATA section or bogus comment at `at` ends */
static Py_ssize_t
NAME(after_markup)(const CH *s, Py_ssize_t at, Py_ssize_t end, int foreign)
{
    if (SAYS(s, at, end, "<!--")) {
        at += 4;
        if (SAYS(s, at, end, ">"))
            return at + 1;
        if (SAYS(s, at, end, "->"))
            return at + 2;
        for (; (at = NAME(find)(s, at, end, '-')) < end; at++)
            if (SAYS(s, at, end, "-->"))
                return at + 3;
            else if (SAYS(s, at, end, "--!>"))
                return at + 4;
        return end;
    }
    if (foreign && NAME(is)(s, at, end, "<![CDATA[", 9)) {
        for (at += 9; (at = NAME(find)(s, at, end, ']')) < end; at++)
            if (SAYS(s, at, end, "]]>"))
                return at + 3;
        return end;
    }
    at = NAME(find)(s, at + 2, end, '>');
    return at < end ? at + 1 : end;
}

/* where the end tag begins of the raw text element whose text begins at `at` */
static Py_ssize_t
NAME(raw_end)(const CH *s, Py_ssize_t at, Py_ssize_t end, const Tag *tag)
{
    enum { DATA, ESCAPED, DOUBLE } state = DATA; /* a script within `<!--` may hold another whole */
    for (;;) {
        if (state == DATA)
            at = NAME(find)(s, at, end, '<');
        else
            while (at < end && s[at] != '<' && s[at] != '-')
                at++;
        if (at >= end)
            return end;
        if (s[at] == '-') {
            if (SAYS(s, at, end, "-->"))
                state = DATA;
            at++;
            continue;
        }
        int closing = at + 1 < end && s[at + 1] == '/';
        Py_ssize_t stop = at + 1 + closing + tag->length;
        if (stop < end && ENDS_NAME(s[stop]) && NAME(says)(s, at + 1 + closing, end, tag->name, tag->length)) {
            if (closing && state != DOUBLE)
                return at;
            if (closing || state != DATA)
                state = closing ? ESCAPED : DOUBLE;
            at = stop;
            continue;
        }
        if (tag->role == T_SCRIPT && SAYS(s, at, end, "<!--")) {
            state = state == DATA ? ESCAPED : state;
            at++;
        }
        at++;
    }
}

/* ---- tags ------------------------------------------------------------------------------------------------------ */

/* behind the raw text element that has been opened, which ends there */
static Py_ssize_t
NAME(after_raw)(Reader *r, const CH *s, Py_ssize_t end, const NAME(Token) *token)
{
    Py_ssize_t close = NAME(raw_end)(s, token->end, end, token->tag);
    if (TOP(r)->tag == token->tag)
        pop(r);
    PyObject *content = NULL;
    int title = token->tag->role == T_TITLE && r->title == NULL, script = 0;
    if (token->tag->role == T_SCRIPT && (token->has & (1u << K_TYPE)))
        for (Py_ssize_t at = token->from[K_TYPE]; at < token->to[K_TYPE] && !script; at++)
            script = SAYS(s, at, token->to[K_TYPE], "ld+json");
    if ((title || script)
        && (content = PyUnicode_FromKindAndData(sizeof(CH), s + token->end, close - token->end)) == NULL)
        r->failed = 1;
    else if (title)
        r->title = content;
    else if (script) {
        if (PyList_Append(r->scripts, content))
            r->failed = 1;
        Py_DECREF(content);
    }
    if (close >= end)
        return end;
    NAME(Token) closing;
    NAME(read_tag)(s, close + 2, end, &closing);
    return closing.end < 0 ? end : closing.end;
}

/* close what cannot hold an element of this tag */
static void
NAME(make_room)(Reader *r, const Tag *tag)
{
    int32_t at;
    if (IS_ROLE(TOP(r), T_COLGROUP))
        pop(r);
    if (tag == NULL)
        return;
    if ((tag->flags & CLOSES_P) && !(tag->role == T_TABLE && r->quirks))
        close_p(r);
    if (tag->flags & HEADING) {
        if (FLAGS(TOP(r)) & HEADING)
            pop(r);
        return;
    }
    switch (tag->role) {
    case T_LI: case T_DD: case T_DT:
        close_item(r, tag->role);
        break;
    case T_BUTTON: case T_INPUT:
        if ((at = role_in_scope(r, tag->role == T_BUTTON ? T_BUTTON : T_SELECT)) >= 0)
            pop_through(r, at);
        break;
    case T_A:
        if (format_of(r, tag) >= 0)
            end_format(r, tag);
        break;
    case T_NOBR:
        if (role_in_scope(r, T_NOBR) >= 0)
            end_format(r, tag);
        break;
    case T_OPTION: case T_OPTGROUP:
        if (role_in_scope(r, T_SELECT) >= 0)
            imply(r, tag->role == T_OPTION ? T_OPTGROUP : T_COUNT);
        else if (IS_ROLE(TOP(r), T_OPTION))
            pop(r);
        break;
    case T_RB: case T_RTC: case T_RP: case T_RT:
        if (role_in_scope(r, T_RUBY) >= 0)
            imply(r, tag->role == T_RP || tag->role == T_RT ? T_RTC : T_COUNT);
        break;
    default:
        break;
    }
}

/* open the element of a start tag where the standard would in the body; `mark` is where the tag begins */
static void
NAME(place)(Reader *r, const CH *s, Py_ssize_t mark, const NAME(Token) *token)
{
    const Tag *tag = token->tag;
    int role = tag ? tag->role : T_OTHER, flags = tag ? tag->flags : 0;
    int32_t at;
    if (role == T_IMAGE) {
        tag = tag_of[T_IMG];
        role = T_IMG;
        flags = tag->flags;
    }
    if (IS_PART(role)) {
        if (!make_part_room(r, role))
            return;
        if (role != T_COL) {
            push(r, tag, 0, r->skipping ? 0 : NAME(names_of)(r, s, token), 0);
            return;
        }
        if (!IS_ROLE(TOP(r), T_COLGROUP))
            push_role(r, T_COLGROUP);
        add_void(r, tag);
        return;
    }
    if (role == T_HEAD || role == T_FRAME || role == T_FRAMESET)
        return;
    int in_table = r->n_tables && IS_FOSTER(ROLE_OF(&r->stack[r->tables[r->n_tables - 1]]));
    if (role == T_FORM && r->form != NO_FORM && !r->templates)
        return;
    if (role == T_TABLE && in_table)
        end_part(r, tag);
    NAME(make_room)(r, tag);
    if (role == T_SELECT && (at = role_in_scope(r, T_SELECT)) >= 0) {
        pop_through(r, at);
        return;
    }
    if (tag == NULL || (flags & REOPENS))
        reopen(r);
    if (flags & VOID) {
        add_void(r, tag);
        return;
    }
    int foreign = role == T_SVG || role == T_MATH;
    int32_t place = r->skipping || (flags & SKIPPED) ? 0 : NAME(names_of)(r, s, token);
    if (push(r, tag, token->hash, place, foreign) == NULL)
        return;
    if (foreign) {
        if (token->closed)
            pop(r);
    }
    else if (role == T_FORM && !r->templates) {
        r->form = r->depth - 1;
        if (in_table)
            pop(r);
    }
    else if (flags & FORMATTING)
        remember(r, tag, place, hash_bytes((const char *)(s + mark), (size_t)(token->end - mark) * sizeof(CH)));
}

/* treat a start tag; where to read on */
static Py_ssize_t
NAME(start)(Reader *r, const CH *s, Py_ssize_t mark, Py_ssize_t end, const NAME(Token) *token)
{
    const Tag *tag = token->tag;
    int role = tag ? tag->role : T_OTHER, flags = tag ? tag->flags : 0;
    if (token->count > r->attributes)
        r->attributes = token->count;
    if (role == T_META)
        NAME(gather)(r, s, token);
    if (IS_FOREIGN(r)) {
        if (!(flags & BREAKOUT) && !(role == T_FONT && (token->has & (1u << K_FONT)))) {
            if (push(r, tag, token->hash, 0, 1) && token->closed)
                pop(r);
            return token->end;
        }
        while (IS_FOREIGN(r))
            pop(r);
    }
    if (r->phase < IN_BODY && !r->templates && role != T_HTML) {
        if (role == T_HEAD)
            return token->end;
        if ((flags & IN_HEAD) && !(role == T_NOSCRIPT && r->phase == AFTER_HEAD)) {
            if (role == T_NOSCRIPT || (flags & VOID))
                return token->end;
        }
        else if (role == T_FRAMESET) {
            r->phase = IN_FRAMESET;
            return token->end;
        }
        else
            begin_body(r);
    }
    if (r->phase == IN_FRAMESET)
        return flags & RAW ? NAME(after_raw)(r, s, end, token) : token->end;
    if (role == T_HTML || role == T_BODY) {
        int *named = role == T_HTML ? &r->named_html : &r->named_body;
        int32_t place = *named || r->templates ? 0 : NAME(names_of)(r, s, token);
        if (place) {
            *named = 1;
            r->named.at[r->stack[role == T_BODY].element] = place;
        }
        return token->end;
    }
    NAME(place)(r, s, mark, token);
    if (flags & RAW)
        return NAME(after_raw)(r, s, end, token);
    return role == T_PLAINTEXT ? end : token->end;
}

/* treat an end tag */
static void
NAME(end)(Reader *r, const CH *s, const NAME(Token) *token)
{
    const Tag *tag = token->tag;
    int role = tag ? tag->role : T_OTHER, flags = tag ? tag->flags : 0;
    int32_t at;
    if (r->phase < IN_BODY && !r->templates) {
        if (role == T_HEAD)
            r->phase = AFTER_HEAD;
        if (role != T_BODY && role != T_HTML && role != T_BR)
            return;
        begin_body(r);
    }
    if (r->phase == IN_FRAMESET || role == T_BODY || role == T_HTML)
        return;
    if (TOP(r)->foreign) {
        if (role == T_BR || role == T_P)
            while (IS_FOREIGN(r))
                pop(r);
        else if (end_foreign(r, tag, token->hash))
            return;
    }
    if (role == T_BR) {
        NAME(Token) line_break = {.tag = tag};
        NAME(place)(r, s, 0, &line_break);
    }
    else if (role == T_P) {
        if (in_scope(r, tag, T_BUTTON, T_COUNT) < 0)
            push_role(r, T_P);
        close_p(r);
    }
    else if (role == T_FORM)
        end_form(r);
    else if (role == T_TEMPLATE) {
        if (r->templates) {
            for (at = r->n_tables - 1; !IS_ROLE(&r->stack[r->tables[at]], T_TEMPLATE); at--)
                ;
            pop_through(r, r->tables[at]);
        }
    }
    else if (role == T_LI) {
        if ((at = in_scope(r, tag, T_OL, T_UL)) >= 0)
            pop_through(r, at);
    }
    else if (flags & HEADING)
        end_heading(r);
    else if (role == T_TABLE || IS_PART(role))
        end_part(r, tag);
    else if (flags & FORMATTING)
        end_format(r, tag);
    else if (!(flags & SCOPED_END))
        end_other(r, tag, token->hash);
    else if ((at = in_scope(r, tag, T_COUNT, T_COUNT)) >= 0)
        pop_through(r, at);
}

static void
NAME(read)(Reader *r, const CH *s, Py_ssize_t end)
{
    Py_ssize_t at = 0;
    NAME(Token) token;
    while (at < end && !r->failed) {
        Py_ssize_t mark = NAME(find)(s, at, end, '<');
        NAME(text)(r, s, at, mark);
        if (mark + 1 >= end) {
            NAME(text)(r, s, mark, end);
            return;
        }
        CH next = s[mark + 1];
        int closing = next == '/' && mark + 2 < end && IS_LETTER(s[mark + 2]);
        if (closing || IS_LETTER(next)) {
            NAME(read_tag)(s, mark + 1 + closing, end, &token);
            if (token.end < 0)
                return;
            at = token.end;
            if (closing)
                NAME(end)(r, s, &token);
            else
                at = NAME(start)(r, s, mark, end, &token);
        }
        else if (next == '!' || next == '?' || next == '/')
            at = NAME(after_markup)(s, mark, end, IS_FOREIGN(r));
        else {
            NAME(text)(r, s, mark, mark + 1);
            at = mark + 1;
        }
    }
}
#undef SAYS
#undef IS_HTML_SPACE
#undef IS_LETTER
#undef IS_DIGIT
#undef ENDS_NAME
#undef ENDS_KEY
#undef SPACE_BITS
#undef BIT
