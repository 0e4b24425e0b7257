/* Lines and paragraphs: repeats, bullets, ellipses, ends. */
#include "filters.h"

int spans_push(Spans *spans, Py_ssize_t start, Py_ssize_t stop)
{
    if (grow((void **)&spans->items, &spans->room, spans->count + 1, sizeof(Span)) < 0)
        return -1;
    spans->items[spans->count++] = (Span){start, stop};
    return 0;
}

void spans_free(Spans *spans)
{
    PyMem_Free(spans->items);
    spans->items = NULL;
}

int split_lines(Chars chars, Spans *lines)
{
    Py_ssize_t start = 0;
    for (Py_ssize_t at = 0; at < chars.length; at++) {
        Py_UCS4 c = char_at(chars, at);
        if (!is_line_break(c))
            continue;
        if (spans_push(lines, start, at) < 0)
            return -1;
        if (c == '\r' && at + 1 < chars.length && char_at(chars, at + 1) == '\n')
            at++;
        start = at + 1;
    }
    return start < chars.length ? spans_push(lines, start, chars.length) : 0;
}

/* As re.split(r"\n{least,}"). */
static int split_at_newlines(Chars chars, Span span, Py_ssize_t least, Spans *parts)
{
    Py_ssize_t start = span.start;
    for (Py_ssize_t at = span.start; at < span.stop;) {
        Py_ssize_t end = at;
        while (end < span.stop && char_at(chars, end) == '\n')
            end++;
        if (end - at >= least) {
            if (spans_push(parts, start, at) < 0)
                return -1;
            start = end;
        }
        at = end > at ? end : at + 1;
    }
    return spans_push(parts, start, span.stop);
}

/* How many parts were seen before, and their characters. */
static int duplicates(Chars chars, const Spans *parts, Py_ssize_t *count, Py_ssize_t *dup_chars)
{
    Py_ssize_t slot_count = 16;
    while (slot_count < parts->count * 2)
        slot_count *= 2;
    Py_ssize_t *slots = PyMem_Calloc((size_t)slot_count, sizeof(Py_ssize_t));
    uint64_t *hashes = PyMem_Calloc((size_t)parts->count + 1, sizeof(uint64_t));
    if (slots == NULL || hashes == NULL) {
        PyMem_Free(slots);
        PyMem_Free(hashes);
        PyErr_NoMemory();
        return -1;
    }
    uint64_t mask = (uint64_t)slot_count - 1;
    *count = *dup_chars = 0;
    for (Py_ssize_t i = 0; i < parts->count; i++) {
        Span part = parts->items[i];
        Py_ssize_t length = part.stop - part.start;
        const char *start = (const char *)chars.data + part.start * chars.kind;
        uint64_t hash = (uint64_t)length;
        for (Py_ssize_t at = part.start; at < part.stop; at++)
            hash = hash * HASH_BASE + char_at(chars, at) + 1;
        hashes[i] = hash;
        uint64_t at = mix(hash) & mask;
        for (; slots[at]; at = (at + 1) & mask) {
            Span other = parts->items[slots[at] - 1];
            if (hashes[slots[at] - 1] == hash && other.stop - other.start == length &&
                memcmp((const char *)chars.data + other.start * chars.kind, start, (size_t)(length * chars.kind)) == 0)
                break;
        }
        if (slots[at]) {
            ++*count;
            *dup_chars += length;
        } else
            slots[at] = i + 1;
    }
    PyMem_Free(slots);
    PyMem_Free(hashes);
    return 0;
}

PyObject *line_repeats(PyObject *self, PyObject *args)
{
    PyObject *text;
    int every_line_break;
    if (!PyArg_ParseTuple(args, "Up", &text, &every_line_break))
        return NULL;
    Chars chars = chars_of(text);
    Span all = {0, chars.length};
    Spans paragraphs = {0}, lines = {0};
    Py_ssize_t dup_paragraphs, dup_paragraph_chars, dup_lines, dup_line_chars;
    PyObject *fields = NULL;
    if (split_at_newlines(chars, strip_span(chars, all), 2, &paragraphs) == 0 &&
        (every_line_break ? split_lines(chars, &lines) : split_at_newlines(chars, all, 1, &lines)) == 0 &&
        duplicates(chars, &paragraphs, &dup_paragraphs, &dup_paragraph_chars) == 0 &&
        duplicates(chars, &lines, &dup_lines, &dup_line_chars) == 0)
        fields = Py_BuildValue("nnnnnn", paragraphs.count, dup_paragraphs, dup_paragraph_chars, lines.count,
                               dup_lines, dup_line_chars);
    spans_free(&paragraphs);
    spans_free(&lines);
    return make_result("LineRepeats", fields);
}

static int ends_with_ellipsis(Chars chars, Span span)
{
    if (span.start == span.stop)
        return 0;
    if (char_at(chars, span.stop - 1) == 0x2026)
        return 1;
    return span.stop - span.start >= 3 && char_at(chars, span.stop - 1) == '.' &&
           char_at(chars, span.stop - 2) == '.' && char_at(chars, span.stop - 3) == '.';
}

PyObject *line_tally(PyObject *self, PyObject *text)
{
    if (!PyUnicode_Check(text) || PyUnicode_READY(text) < 0) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "line_tally() takes a str");
        return NULL;
    }
    Chars chars = chars_of(text);
    Spans lines = {0};
    Py_ssize_t bullets = 0, ellipses = 0, hashes = 0, dots = 0, run = 0;
    PyObject *fields = NULL;
    if (split_lines(chars, &lines) == 0) {
        for (Py_ssize_t i = 0; i < lines.count; i++) {
            Span line = strip_span(chars, lines.items[i]);
            Py_UCS4 first = line.start < line.stop ? char_at(chars, line.start) : 0;
            bullets += first == 0x2022 || first == '-';
            ellipses += ends_with_ellipsis(chars, line);
        }
        for (Py_ssize_t at = 0; at < chars.length; at++) {
            Py_UCS4 c = char_at(chars, at);
            hashes += c == '#';
            dots += c == 0x2026;
            run = c == '.' ? run + 1 : 0;
            if (run == 3) {
                dots++;
                run = 0;
            }
        }
        fields = Py_BuildValue("nnnnn", lines.count, bullets, ellipses, hashes, dots);
    }
    spans_free(&lines);
    return make_result("LineTally", fields);
}

/* A set of characters: ASCII by table, others in a list. */
typedef struct {
    char ascii[128];
    Py_UCS4 *others;
    Py_ssize_t count, room;
} CharSet;

static int read_chars(PyObject *chars, CharSet *set)
{
    PyObject *each = PyObject_GetIter(chars), *item;
    if (each == NULL)
        return -1;
    while ((item = PyIter_Next(each)) != NULL) {
        if (!PyUnicode_Check(item) || PyUnicode_READY(item) < 0 || PyUnicode_GET_LENGTH(item) != 1) {
            if (!PyErr_Occurred())
                PyErr_SetString(PyExc_ValueError, "end_chars are single characters");
        } else {
            Py_UCS4 c = PyUnicode_READ_CHAR(item, 0);
            if (c < 128)
                set->ascii[c] = 1;
            else if (grow((void **)&set->others, &set->room, set->count + 1, sizeof(Py_UCS4)) == 0)
                set->others[set->count++] = c;
        }
        Py_DECREF(item);
        if (PyErr_Occurred())
            break;
    }
    Py_DECREF(each);
    return PyErr_Occurred() ? -1 : 0;
}

static int has_char(const CharSet *set, Py_UCS4 c)
{
    if (c < 128)
        return set->ascii[c];
    for (Py_ssize_t i = 0; i < set->count; i++)
        if (set->others[i] == c)
            return 1;
    return 0;
}

PyObject *prose_lines(PyObject *self, PyObject *args)
{
    PyObject *text, *end_chars;
    Py_ssize_t short_length;
    int count_blank;
    if (!PyArg_ParseTuple(args, "UOnp", &text, &end_chars, &short_length, &count_blank))
        return NULL;
    Chars chars = chars_of(text);
    CharSet ends = {{0}, NULL, 0, 0};
    Spans written = {0};
    Py_ssize_t lines = 0, ended = 0, is_short = 0, newlines = 0, dup_lines, dup_chars;
    PyObject *fields = NULL;
    if (read_chars(end_chars, &ends) < 0)
        goto done;
    for (Py_ssize_t start = 0, at = 0; at <= chars.length; at++) {
        if (at < chars.length && char_at(chars, at) != '\n')
            continue;
        Span line = {start, at}, inner = strip_span(chars, line);
        int blank = inner.start == inner.stop;
        if (!blank && spans_push(&written, start, at) < 0)
            goto done;
        if (!blank || count_blank) {
            lines++;
            ended += start < at && has_char(&ends, char_at(chars, at - 1));
            is_short += at - start <= short_length;
        }
        newlines += at < chars.length;
        start = at + 1;
    }
    if (duplicates(chars, &written, &dup_lines, &dup_chars) == 0)
        fields = Py_BuildValue("nnnnnn", lines, ended, is_short, dup_chars, newlines, chars.length - newlines);
done:
    PyMem_Free(ends.others);
    spans_free(&written);
    return make_result("ProseLines", fields);
}
