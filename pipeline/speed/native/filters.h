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

/* table.c: what a Lexicon has learnt, until it is full. Tokens and chunks are only ever added. */
enum { PLAIN = 1, ALPHABETIC = 2, SENTENCE_END = 4, PUNCTUATION = 8 };

typedef struct {
    PyObject *text;
    uint64_t hash, power; /* of its characters; HASH_BASE ** length */
    Py_ssize_t length;
    uint32_t mark; /* scratch of one count */
    int flags;
} Token;

#define DEPENDS UINT32_MAX /* a chunk's count, where its tokens depend on its neighbours */
#define INLINE_KEY 40
#define INLINE_IDS 2

/* One cache line: the characters and tokens of most chunks lie in it. */
typedef struct {
    uint64_t hash;
    uint32_t length : 31, narrow : 1; /* narrow: characters in key.bytes, else from key.at in the table's keys */
    uint32_t count;
    union {
        uint32_t ids[INLINE_IDS];
        Py_ssize_t at; /* in the table's ids, where there are more */
    } tokens;
    union {
        unsigned char bytes[INLINE_KEY];
        Py_ssize_t at;
    } key;
} Chunk;

typedef struct {
    uint32_t *slots; /* index + 1, or 0 */
    Py_ssize_t count;
} Slots;

typedef struct {
    Token *tokens; /* each different token once */
    Py_ssize_t token_count, token_room;
    Chunk *chunks;
    Py_ssize_t chunk_count, chunk_room;
    Slots token_slots, chunk_slots;
    Py_UCS4 *keys;
    Py_ssize_t key_count, key_room;
    uint32_t *ids;
    Py_ssize_t id_count, id_room;
    Py_ssize_t chars;    /* in tokens and keys */
    uint32_t serial;     /* of the last marks */
    Py_ssize_t references;
} Table;

Table *table_new(void); /* with one reference; NULL on error */
void table_release(Table *table);
Py_ssize_t find_token(const Table *table, Chars text, Span span, uint64_t hash);
/* The token's index; `token` is its str, or NULL to have one made; -1 on error. May run Python code. */
Py_ssize_t add_token(Table *table, PyObject *ends, Chars text, Span span, PyObject *token);
Py_ssize_t add_chunk(Table *table, Chars text, Span span, uint64_t hash, const uint32_t *ids, uint32_t count);

static inline uint64_t hash_span(Chars text, Span span)
{
    uint64_t hash = 0;
    for (Py_ssize_t at = span.start; at < span.stop; at++)
        hash = hash * HASH_BASE + char_at(text, at) + 1;
    return hash;
}

static inline const uint32_t *chunk_ids(const Table *table, const Chunk *chunk)
{
    return chunk->count <= INLINE_IDS ? chunk->tokens.ids : table->ids + chunk->tokens.at;
}

/* The chunk's index, -1 where the table has none. */
static inline Py_ssize_t find_chunk(const Table *table, Chars text, Span span, uint64_t hash)
{
    uint64_t mask = (uint64_t)(table->chunk_slots.count - 1);
    Py_ssize_t length = span.stop - span.start, i;
    uint32_t slot;
    for (uint64_t at = mix(hash) & mask; (slot = table->chunk_slots.slots[at]) != 0; at = (at + 1) & mask) {
        const Chunk *chunk = &table->chunks[slot - 1];
        if (chunk->hash != hash || (Py_ssize_t)chunk->length != length)
            continue;
        if (chunk->narrow)
            for (i = 0; i < length && chunk->key.bytes[i] == char_at(text, span.start + i); i++)
                ;
        else
            for (i = 0; i < length && table->keys[chunk->key.at + i] == char_at(text, span.start + i); i++)
                ;
        if (i == length)
            return (Py_ssize_t)slot - 1;
    }
    return -1;
}

/* plain.c */
#define MOST_PARTS 12

typedef struct {
    uint64_t *hashes; /* of the guarded strings; 0 where a slot is free */
    uint64_t mask;
} Guard;

int guard_fill(Guard *guard, PyObject *strings); /* -1 on error */
/* The parts of a plain chunk, 0 where it is none. */
int plain_parts(const Guard *guard, Chars text, Span chunk, Span *parts);

/* lexicon.c */
typedef struct {
    PyObject_HEAD
    PyObject *chunk, *within, *ends;
    Guard guard; /* without hashes: off */
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

/* repeats.c */
PyObject *reading_repeats(PyObject *self, PyObject *unused);

/* lines.c, c4.c */
PyObject *line_repeats(PyObject *self, PyObject *args);
PyObject *line_tally(PyObject *self, PyObject *text);
PyObject *prose_lines(PyObject *self, PyObject *args);
PyObject *c4_lines(PyObject *self, PyObject *args);

/* characters.c */
PyObject *character_marks(PyObject *self, PyObject *args);

/* The named tuples of ../results.py, by name. */
PyObject *make_result(const char *name, PyObject *fields); /* steals fields, which may be NULL */

/* Room for one more: doubles; -1 and MemoryError. */
int grow(void **items, Py_ssize_t *room, Py_ssize_t needed, size_t size);

#endif
