/* The reader over a string of CH, included by pages.c once for each width of Python's strings. */

static Py_ssize_t
NAME(find_char)(const CH *s, Py_ssize_t at, Py_ssize_t end, CH c)
{
    if (sizeof(CH) == 1) {
        const void *found = at < end ? memchr(s + at, (int)c, (size_t)(end - at)) : NULL;
        return found ? (const CH *)found - s : -1;
    }
    for (; at < end; at++)
        if (s[at] == c)
            return at;
    return -1;
}

static int
NAME(stands)(const CH *s, Py_ssize_t at, Py_ssize_t end, const char *what, Py_ssize_t length)
{
    if (at + length > end)
        return 0;
    for (Py_ssize_t i = 0; i < length; i++)
        if (s[at + i] != (CH)(uint8_t)what[i])
            return 0;
    return 1;
}
#define STANDS(s, at, end, what) NAME(stands)(s, at, end, what, (Py_ssize_t)sizeof(what) - 1)

/* behind `-->`, or -1 */
static Py_ssize_t
NAME(after_comment)(const CH *s, Py_ssize_t at, Py_ssize_t end)
{
    for (at += 4; (at = NAME(find_char)(s, at, end, '-')) >= 0; at++)
        if (STANDS(s, at, end, "-->"))
            return at + 3;
    return -1;
}

/* behind the end of the element `tag`, opened just before `at` */
static Py_ssize_t
NAME(after)(const CH *s, Py_ssize_t at, Py_ssize_t end, const Tag *tag)
{
    int depth = 1;
    if (tag->flags & VOID)
        return at;
    while ((at = NAME(find_char)(s, at, end, '<')) >= 0) {
        int closing = at + 1 < end && s[at + 1] == '/';
        Py_ssize_t name = at + 1 + closing;
        if (tag->flags & RAW) {
            if (closing && NAME(stands)(s, name, end, tag->name, tag->length) && name + tag->length < end
                && s[name + tag->length] == '>')
                return name + tag->length + 1;
            at++;
            continue;
        }
        if (STANDS(s, at, end, "<!--")) {
            Py_ssize_t next = NAME(after_comment)(s, at, end);
            at = next < 0 ? at + 1 : next;
            continue;
        }
        char buffer[16];
        size_t length = 0;
        while (name + (Py_ssize_t)length < end && length < sizeof buffer && s[name + (Py_ssize_t)length] < 128
               && s[name + (Py_ssize_t)length] != ' ' && s[name + (Py_ssize_t)length] != '>')
            buffer[length] = (char)s[name + (Py_ssize_t)length], length++;
        Py_ssize_t stop = name + (Py_ssize_t)length;
        const Tag *found = stop < end && (s[stop] == ' ' || s[stop] == '>') ? find_tag(buffer, length) : NULL;
        if (found == NULL || (found != tag && !(found->flags & RAW))) {
            at++;
            continue;
        }
        at = stop + 1;
        if (found != tag) {
            if (!closing)
                at = NAME(after)(s, at, end, found);
            continue;
        }
        depth += closing ? -1 : 1;
        if (!depth)
            return at;
    }
    return end;
}

/* class, id, role and itemprop, each after a "\n"; "\th" where the element is hidden */
static int
NAME(add_names)(Reader *r, const CH *s, Py_ssize_t at, Py_ssize_t end)
{
    static const struct { const char *name; Py_ssize_t length; } keys[] = {
        {" class=\"", 8}, {" id=\"", 5}, {" role=\"", 7}, {" itemprop=\"", 11}};
    Py_ssize_t from[4] = {-1, -1, -1, -1}, to[4] = {0};
    int hidden = 0;
    while (at < end) {
        if (s[at] != ' ') {
            at++;
            continue;
        }
        CH c = at + 1 < end ? s[at + 1] : 0;
        if ((c == 'h' && STANDS(s, at, end, " hidden=\"\"")) || (c == 'a' && STANDS(s, at, end, " aria-hidden=\"true\"")))
            hidden = 1;
        else if (c == 's' && STANDS(s, at, end, " style=\""))
            for (Py_ssize_t i = at + 8; i < end && s[i] != '"'; i++)
                if (s[i] == 'd' && (STANDS(s, i, end, "display:none") || STANDS(s, i, end, "display: none")))
                    hidden = 1;
        Py_ssize_t next = at + 1;
        if (c == 'c' || c == 'i' || c == 'r')
            for (int k = 0; k < 4; k++)
                if (NAME(stands)(s, at, end, keys[k].name, keys[k].length)) {
                    Py_ssize_t close = NAME(find_char)(s, at + keys[k].length, end, '"');
                    if (close >= 0) {
                        from[k] = at + keys[k].length;
                        to[k] = close;
                        next = close + 1;
                    }
                    break;
                }
        at = next;
    }
    r->name.length = 0;
    if (reserve(&r->name, (to[0] > 0 ? to[0] - from[0] : 0) + (to[1] > 0 ? to[1] - from[1] : 0)
                              + (to[2] > 0 ? to[2] - from[2] : 0) + (to[3] > 0 ? to[3] - from[3] : 0) + 8))
        return -1;
    int any = 0;
    for (int k = 0; k < 4; k++) {
        if (from[k] < 0)
            continue;
        if (any)
            r->name.at[r->name.length++] = '\n';
        any = 1;
        for (Py_ssize_t i = from[k]; i < to[k]; i++)
            r->name.at[r->name.length++] = s[i];
    }
    if (hidden) {
        r->name.at[r->name.length++] = '\t';
        r->name.at[r->name.length++] = 'h';
    }
    return name_element(r);
}

static int
NAME(open_tag)(Reader *r, const CH *s, Py_ssize_t name, Py_ssize_t name_end, Py_ssize_t end, const Tag *tag)
{
    int flags = tag ? tag->flags : 0, role = tag ? tag->role : T_OTHER;
    r->marks++;
    if ((flags & BLOCK) && flush(r))
        return -1;
    if (role == T_BR && r->breaks < 2)
        r->breaks++;
    if (flags & VOID) {
        r->images += role == T_IMG;
        r->inputs += role == T_INPUT;
        return 0;
    }
    int32_t element = (int32_t)r->tags.length, blocks = (int32_t)PyList_GET_SIZE(r->texts);
    if (push(&r->tags, tag ? tag->code : 0) || push(&r->parents, ELEMENT_AT(r, DEPTH(r))) || push(&r->first, blocks)
        || push(&r->last, blocks) || NAME(add_names)(r, s, name_end, end))
        return -1;
    if (push(&r->stack, element) || push(&r->stack, tag ? (int32_t)(tag - tags) : -1)
        || push(&r->stack, (int32_t)name) || push(&r->stack, (int32_t)(name_end - name)))
        return -1;
    if (role == T_A) {
        r->links++;
        r->link_count++;
        if (r->after_link) {
            if (reserve(&r->line, 1))
                return -1;
            r->line.at[r->line.length++] = ' ';
        }
    }
    else if (role == T_BOLD)
        r->bolds++;
    else if (role == T_PRE)
        r->pres++;
    else if (role == T_BUTTON)
        r->inputs++;
    return 0;
}

static int
NAME(close_tag)(Reader *r, const CH *s, Py_ssize_t name, Py_ssize_t length, const Tag *tag)
{
    const int32_t *top = r->stack.at + r->stack.length - STACK_ITEM;
    int32_t place = tag ? (int32_t)(tag - tags) : -1;
    if (DEPTH(r) < 2 || top[1] != place
        || (place < 0 && (top[3] != length || memcmp(s + top[2], s + name, (size_t)length * sizeof(CH)))))
        return 0;
    int role = tag ? tag->role : T_OTHER;
    r->marks++;
    if (tag && (tag->flags & BLOCK) && flush(r))
        return -1;
    if (role == T_A) {
        r->links--;
        r->after_link = 1;
    }
    else if (role == T_BOLD)
        r->bolds--;
    else if (role == T_PRE)
        r->pres--;
    return close_top(r);
}

static int
NAME(add_text)(Reader *r, const CH *s, Py_ssize_t at, Py_ssize_t end)
{
    int32_t units = 0;
    if (reserve(&r->line, end - at))
        return -1;
    Py_UCS4 *out = r->line.at + r->line.length;
    while (at < end) {
        Py_UCS4 c = s[at++];
        if (c == '&') {
            if (STANDS(s, at, end, "amp;"))
                at += 4;
            else if (STANDS(s, at, end, "lt;"))
                c = '<', at += 3;
            else if (STANDS(s, at, end, "gt;"))
                c = '>', at += 3;
            else if (STANDS(s, at, end, "nbsp;"))
                c = 0xA0, at += 5;
        }
        if (c < 0x10000 && dropped[c])
            continue;
        *out++ = c;
        if (!is_space(c))
            units += 1 + is_wide(c);
    }
    r->line.length = out - r->line.at;
    if (!units)
        return 0;
    int32_t depth = DEPTH(r);
    if (r->blank) {
        r->blank = 0;
        r->depth = depth;
        if (r->links && r->link_count < 1)
            r->link_count = 1;
    }
    if (depth < r->depth)
        r->depth = depth;
    r->leaf = ELEMENT_AT(r, r->depth);
    r->units += units;
    r->after_link = 0;
    if (r->links)
        r->link_units += units;
    if (r->bolds)
        r->bold_units += units;
    return 0;
}

static int
NAME(read)(Reader *r, const CH *s, Py_ssize_t end)
{
    Py_ssize_t at = 0;
    while (at < end) {
        if (s[at] != '<') {
            Py_ssize_t next = NAME(find_char)(s, at, end, '<');
            if (next < 0)
                next = end;
            if (NAME(add_text)(r, s, at, next))
                return -1;
            at = next;
            continue;
        }
        int closing = at + 1 < end && s[at + 1] == '/';
        Py_ssize_t name = at + 1 + closing, stop = name;
        if (name < end && ((s[name] >= 'a' && s[name] <= 'z') || (s[name] >= 'A' && s[name] <= 'Z'))) {
            char buffer[16];
            size_t length = 0;
            for (; stop < end && s[stop] != ' ' && s[stop] != '/' && s[stop] != '>' && s[stop] != '\t'
                   && s[stop] != '\n' && s[stop] != '\r' && s[stop] != '\f'; stop++)
                if (length < sizeof buffer)
                    buffer[length++] = s[stop] < 128 ? (char)s[stop] : '?';
            Py_ssize_t close = NAME(find_char)(s, stop, end, '>');
            if (close < 0) {
                at++;
                continue;
            }
            const Tag *tag = stop - name < 16 ? find_tag(buffer, length) : NULL;
            at = close + 1;
            int failed = 0;
            if (closing)
                failed = NAME(close_tag)(r, s, name, stop - name, tag);
            else if (tag && (tag->flags & SKIPPED)) {
                r->marks++;
                at = NAME(after)(s, at, end, tag);
            }
            else
                failed = NAME(open_tag)(r, s, name, stop, close, tag);
            if (failed)
                return -1;
            continue;
        }
        Py_ssize_t next = -1;
        if (STANDS(s, at, end, "<!--"))
            next = NAME(after_comment)(s, at, end);
        if (next < 0 && at + 1 < end && (s[at + 1] == '!' || s[at + 1] == '?')) {
            next = NAME(find_char)(s, at + 2, end, '>');
            next = next < 0 ? -1 : next + 1;
        }
        at = next < 0 ? at + 1 : next;
    }
    return 0;
}
#undef STANDS
