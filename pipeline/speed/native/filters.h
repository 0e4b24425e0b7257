/* What the filter kernels share. Each function agrees with its twin in ../twin.py, which says what it means. */
#ifndef GRISTMILL_FILTERS_H
#define GRISTMILL_FILTERS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

/* A stretch of a str's characters, [start, stop). */
typedef struct {
    Py_ssize_t start, stop;
} Span;

/* The characters of a str, or of a scratch buffer. */
typedef struct {
    int kind; /* bytes a character: 1, 2 or 4 */
    const void *data;
    Py_ssize_t length;
} Chars;

static inline Py_UCS4 char_at(Chars chars, Py_ssize_t at)
{
    return PyUnicode_READ(chars.kind, chars.data, at);
}

static inline Chars chars_of(PyObject *text)
{
    Chars chars = {PyUnicode_KIND(text), PyUnicode_DATA(text), PyUnicode_GET_LENGTH(text)};
    return chars;
}

static inline int is_space(Py_UCS4 c)
{
    return c < 128 ? (c == ' ' || (c >= 9 && c <= 13) || (c >= 28 && c <= 31)) : Py_UNICODE_ISSPACE(c);
}

static inline int is_line_break(Py_UCS4 c)
{
    return c < 128 ? ((c >= 10 && c <= 13) || (c >= 28 && c <= 30)) : Py_UNICODE_ISLINEBREAK(c);
}

static inline Span strip_span(Chars chars, Span span)
{
    while (span.start < span.stop && is_space(char_at(chars, span.start)))
        span.start++;
    while (span.stop > span.start && is_space(char_at(chars, span.stop - 1)))
        span.stop--;
    return span;
}

/* Polynomial hash of characters, modulo 2^64. It only finds candidates: every hit is compared. */
#define HASH_BASE UINT64_C(0x9E3779B97F4A7C15)

static inline uint64_t mix(uint64_t h)
{
    h ^= h >> 32;
    h *= UINT64_C(0xD6E8FEB86659FD93);
    return h ^ (h >> 32);
}

/* A growing array of spans. */
typedef struct {
    Span *items;
    Py_ssize_t count, room;
} Spans;

int spans_push(Spans *spans, Py_ssize_t start, Py_ssize_t stop); /* -1 and MemoryError */
void spans_free(Spans *spans);
int split_lines(Chars chars, Spans *lines); /* as str.splitlines */

/* lexicon.c */
enum { PLAIN = 1, ALPHABETIC = 2, SENTENCE_END = 4, PUNCTUATION = 8 };

typedef struct {
    PyObject *text;
    uint64_t hash, power; /* of its characters; HASH_BASE ** length */
    Py_ssize_t length;
    uint32_t mark; /* scratch of one count */
    int flags;
} Token;

typedef struct {
    Token *tokens; /* each different token once */
    Py_ssize_t token_count, token_room;
    PyObject *token_index; /* dict: str → index in tokens */
    struct Chunk *chunks;
    Py_ssize_t chunk_count, chunk_room;
    uint32_t *slots; /* hash table over chunks: index + 1, or 0 */
    Py_ssize_t slot_count;
    Py_UCS4 *keys; /* the chunks' characters */
    Py_ssize_t key_count, key_room;
    uint32_t *ids; /* the chunks' tokens */
    Py_ssize_t id_count, id_room;
    Py_ssize_t chars; /* in tokens and keys */
    uint32_t serial; /* of the last marks */
    Py_ssize_t references;
} Table;

typedef struct {
    PyObject_HEAD
    PyObject *chunk, *within, *ends, *guarded;
    Py_ssize_t max_chunks;
    Table *table;
} Lexicon;

typedef struct {
    PyObject_HEAD
    Table *table;
    uint32_t *ids;
    Py_ssize_t count;
    PyObject *words; /* list, or NULL until asked for */
} Reading;

extern PyTypeObject LexiconType, ReadingType;
extern PyObject *token_flags; /* twin.token_flags */
Py_ssize_t lexicon_sentences(Lexicon *lexicon, Chars line); /* -1 on error */
PyObject *lexicon_sentences_method(PyObject *self, PyObject *line);

/* plain.c */
PyObject *plain_tokens(PyObject *guarded, Chars text, Span chunk); /* None: no plain chunk */

/* repeats.c */
PyObject *reading_repeats(PyObject *self, PyObject *unused);

/* lines.c, c4.c */
PyObject *line_repeats(PyObject *self, PyObject *args);
PyObject *line_tally(PyObject *self, PyObject *text);
PyObject *prose_lines(PyObject *self, PyObject *args);
PyObject *c4_lines(PyObject *self, PyObject *args);

/* The named tuples of ../results.py, by name. */
PyObject *make_result(const char *name, PyObject *fields); /* steals fields, which may be NULL */

/* Room for one more: doubles; -1 and MemoryError. */
int grow(void **items, Py_ssize_t *room, Py_ssize_t needed, size_t size);

#endif
