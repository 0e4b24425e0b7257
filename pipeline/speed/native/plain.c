/* The short cut for plain English chunks: see `guarded` of Lexicon in ../twin.py.
 *
 * Most chunks that a memo has not seen are a word, words with hyphens, a genitive or a number, in brackets, quotes
 * and marks. The language's patterns part them at each mark and hyphen; its exceptions, which are guarded, they may not. */
#include "filters.h"
#include <string.h>

#define LONGEST 40 /* characters of a plain chunk */

typedef struct {
    Span parts[MOST_PARTS];
    int count;
    int first_core, last_core; /* words, hyphens and numbers among the parts, from first to last */
    int mark;                  /* the first part behind them, or `count` */
    int is_short, is_number;   /* a word of one or two letters, a number: all that marks make of it is looked up */
} Shape;

static inline int is_letter(Py_UCS4 c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static inline int is_digit(Py_UCS4 c)
{
    return c >= '0' && c <= '9';
}

static inline int is_opening(Py_UCS4 c)
{
    return c == '(' || c == '"' || c == '[' || c == '$' || c == 0x201C || c == 0x2018;
}

static inline int is_closing(Py_UCS4 c)
{
    if (c < 128)
        return c != 0 && strchr(",.!?)]\":;", (int)c) != NULL;
    return c == 0x201D || c == 0x2019 || c == 0x2026;
}

static inline int is_joint(Py_UCS4 c)
{
    return c == '-' || c == 0x2013 || c == 0x2014;
}

static int add(Shape *shape, Py_ssize_t start, Py_ssize_t stop)
{
    if (shape->count == MOST_PARTS)
        return 0;
    shape->parts[shape->count++] = (Span){start, stop};
    return 1;
}

/* A number or a word at `at`: where it stops. Points and commas may stand between digits. */
static Py_ssize_t scan_core(Chars text, Py_ssize_t at, Py_ssize_t stop, int number)
{
    for (; at < stop; at++) {
        Py_UCS4 c = char_at(text, at);
        int between = number && (c == '.' || c == ',') && at + 1 < stop && is_digit(char_at(text, at + 1));
        if (!between && !(number ? is_digit(c) : is_letter(c)))
            break;
    }
    return at;
}

/* Words joined by hyphens or dashes, or numbers joined by hyphens: where they stop, -1 where the shape is another. */
static Py_ssize_t scan_cores(Chars text, Py_ssize_t at, Py_ssize_t stop, Shape *shape)
{
    int number = shape->is_number = at < stop && is_digit(char_at(text, at));
    for (;;) {
        Py_ssize_t end = at;
        if (at < stop && (number ? is_digit(char_at(text, at)) : is_letter(char_at(text, at))))
            end = scan_core(text, at, stop, number);
        if (end == at || !add(shape, at, end))
            return -1;
        shape->is_short |= !number && end - at < 3;
        if (end == stop || !is_joint(char_at(text, end)))
            return end;
        if ((number && char_at(text, end) != '-') || !add(shape, end, end + 1))
            return -1;
        at = end + 1;
    }
}

static int scan(Chars text, Span chunk, Shape *shape)
{
    Py_ssize_t at = chunk.start, stop = chunk.stop;
    if (stop - at > LONGEST)
        return 0;
    for (; at < stop && is_opening(char_at(text, at)); at++)
        if (shape->count == 3 || !add(shape, at, at + 1))
            return 0;
    shape->first_core = shape->count;
    at = scan_cores(text, at, stop, shape);
    if (at < 0)
        return 0;
    shape->last_core = shape->count - 1;
    shape->mark = shape->count;
    if (at + 1 < stop && !shape->is_number && (char_at(text, at) == '\'' || char_at(text, at) == 0x2019) &&
        char_at(text, at + 1) == 's') {
        if (!add(shape, at, at + 2))
            return 0;
        at += 2;
    }
    if (stop - at > 3)
        return 0;
    for (Py_ssize_t first = at; at < stop; at++) {
        Py_UCS4 c = char_at(text, at), before = char_at(text, at - 1);
        if (!is_closing(c) || !add(shape, at, at + 1))
            return 0;
        if ((c == ':' || c == ';') && (stop - first > 1 || shape->is_short || shape->is_number))
            return 0; /* they make faces */
        if (c == '.' && (before == '.' || (at == first && !is_digit(before) && !(before >= 'a' && before <= 'z'))))
            return 0; /* an ellipsis; an initial or an abbreviation keeps its point */
        if (c > 127 && before == c)
            return 0; /* two quotes, two ellipses are one */
    }
    return 1;
}

int guard_fill(Guard *guard, PyObject *strings)
{
    PyObject *each = PyObject_GetIter(strings), *item;
    Py_ssize_t size = PyObject_Size(strings), room = 16;
    while (size >= 0 && room < size * 4)
        room *= 2;
    guard->hashes = each && size >= 0 ? PyMem_Calloc((size_t)room, sizeof(uint64_t)) : NULL;
    guard->mask = (uint64_t)room - 1;
    if (guard->hashes == NULL && !PyErr_Occurred())
        PyErr_NoMemory();
    while (guard->hashes != NULL && !PyErr_Occurred() && (item = PyIter_Next(each)) != NULL) {
        if (!PyUnicode_Check(item) || PyUnicode_READY(item) < 0)
            PyErr_SetString(PyExc_TypeError, "guarded holds str");
        else {
            Chars chars = chars_of(item);
            uint64_t hash = hash_span(chars, (Span){0, chars.length}) | 1, at = mix(hash) & guard->mask;
            while (guard->hashes[at])
                at = (at + 1) & guard->mask;
            guard->hashes[at] = hash;
        }
        Py_DECREF(item);
    }
    Py_XDECREF(each);
    return PyErr_Occurred() ? -1 : 0;
}

/* Whether text[start:stop] has the hash of a guarded string: a false alarm only asks Python for nothing. */
static int is_guarded(const Guard *guard, Chars text, Py_ssize_t start, Py_ssize_t stop)
{
    uint64_t hash = hash_span(text, (Span){start, stop}) | 1;
    for (uint64_t at = mix(hash) & guard->mask; guard->hashes[at]; at = (at + 1) & guard->mask)
        if (guard->hashes[at] == hash)
            return 1;
    return 0;
}

/* Whether an exception could hide in the parts. */
static int may_be_exception(const Guard *guard, Chars text, const Shape *shape)
{
    const Span *parts = shape->parts;
    Span last = parts[shape->last_core], all = {parts[0].start, parts[shape->count - 1].stop};
    for (int i = shape->first_core; i <= shape->last_core; i++)
        if (is_guarded(guard, text, parts[i].start, parts[i].stop))
            return 1;
    if (shape->mark < shape->count) {
        Span mark = parts[shape->mark];
        Py_UCS4 c = char_at(text, mark.start);
        if ((c == '.' || c == '\'' || c == 0x2019 || shape->is_short || shape->is_number) &&
            is_guarded(guard, text, last.start, mark.stop))
            return 1;
    }
    if (shape->first_core > 0 &&
        is_guarded(guard, text, parts[shape->first_core - 1].start, parts[shape->first_core].stop))
        return 1;
    /* Faces like "8)" and "XD" begin and end anywhere among few characters. */
    if ((shape->is_short || shape->is_number) && all.stop - all.start <= 8)
        for (Py_ssize_t start = all.start; start < all.stop; start++)
            for (Py_ssize_t stop = start + 2; stop <= all.stop; stop++)
                if (is_guarded(guard, text, start, stop))
                    return 1;
    return 0;
}

int plain_parts(const Guard *guard, Chars text, Span chunk, Span *parts)
{
    Shape shape = {0};
    if (!scan(text, chunk, &shape) || may_be_exception(guard, text, &shape))
        return 0;
    memcpy(parts, shape.parts, (size_t)shape.count * sizeof(Span));
    return shape.count;
}
