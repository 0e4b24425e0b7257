/* Repeated n-grams of words: datatrove's find_top_duplicate and find_all_duplicate, without making strings.
 *
 * N-grams are equal when their joined characters are, wherever the words part: "ab" + "c" is "a" + "bc". */
#include "filters.h"

typedef struct {
    const Token *tokens;
    const uint32_t *ids;
    Py_ssize_t count;
    uint64_t *hashes; /* of the n-gram that starts at each word */
    Py_ssize_t *ends; /* characters before each word */
    uint64_t *slots;  /* (round << 32) | (start + 1) */
    uint64_t mask;
    uint32_t *counts;
    int separated; /* joined by one space, else by nothing */
} Ngrams;

/* The character at `at` of the words from `word` on; moves `word` and `inside` on. */
static inline Py_UCS4 next_char(const Ngrams *ngrams, Py_ssize_t *word, Py_ssize_t *inside)
{
    for (;;) {
        const Token *token = &ngrams->tokens[ngrams->ids[*word]];
        if (*inside < token->length)
            return PyUnicode_READ_CHAR(token->text, (*inside)++);
        (*word)++;
        *inside = 0;
        if (ngrams->separated)
            return ' ';
    }
}

static Py_ssize_t ngram_chars(const Ngrams *ngrams, Py_ssize_t start, Py_ssize_t n)
{
    return ngrams->ends[start + n] - ngrams->ends[start] + (ngrams->separated ? n - 1 : 0);
}

static int same_ngram(const Ngrams *ngrams, Py_ssize_t a, Py_ssize_t b, Py_ssize_t n)
{
    if (memcmp(ngrams->ids + a, ngrams->ids + b, (size_t)n * sizeof(uint32_t)) == 0)
        return 1;
    Py_ssize_t chars = ngram_chars(ngrams, a, n);
    if (chars != ngram_chars(ngrams, b, n))
        return 0;
    Py_ssize_t in_a = 0, in_b = 0;
    for (; chars > 0; chars--)
        if (next_char(ngrams, &a, &in_a) != next_char(ngrams, &b, &in_b))
            return 0;
    return 1;
}

/* The first n-gram equal to the one at `start`, which is added where there is none: its start. */
static inline Py_ssize_t first_seen(Ngrams *ngrams, Py_ssize_t start, Py_ssize_t n)
{
    uint64_t hash = ngrams->hashes[start];
    uint64_t round = (uint64_t)n << 32; /* 2 to 10: each n has its own round in the same slots */
    for (uint64_t at = mix(hash) & ngrams->mask;; at = (at + 1) & ngrams->mask) {
        uint64_t slot = ngrams->slots[at];
        if ((slot & ~UINT64_C(0xFFFFFFFF)) != round) {
            ngrams->slots[at] = round | (uint64_t)(start + 1);
            return start;
        }
        Py_ssize_t other = (Py_ssize_t)(slot & UINT64_C(0xFFFFFFFF)) - 1;
        if (ngrams->hashes[other] == hash && same_ngram(ngrams, other, start, n))
            return other;
    }
}

/* From the hashes of (n - 1)-grams those of n-grams; n = 1 begins anew. */
static void lengthen(Ngrams *ngrams, Py_ssize_t n)
{
    for (Py_ssize_t i = 0; i + n <= ngrams->count; i++) {
        const Token *last = &ngrams->tokens[ngrams->ids[i + n - 1]];
        uint64_t head = n == 1 ? 0 : ngrams->hashes[i];
        if (n > 1 && ngrams->separated)
            head = head * HASH_BASE + ' ' + 1;
        ngrams->hashes[i] = head * last->power + last->hash;
    }
}

/* Characters of the most frequent n-gram times its count, the first of the most frequent; -1 without any. */
static Py_ssize_t top_ngram(Ngrams *ngrams, Py_ssize_t n)
{
    Py_ssize_t last = ngrams->count - n, best = 0;
    if (last < 0)
        return -1;
    memset(ngrams->counts, 0, (size_t)ngrams->count * sizeof(uint32_t));
    for (Py_ssize_t i = 0; i <= last; i++)
        ngrams->counts[first_seen(ngrams, i, n)]++;
    for (Py_ssize_t i = 1; i <= last; i++)
        if (ngrams->counts[i] > ngrams->counts[best])
            best = i;
    return ngram_chars(ngrams, best, n) * (Py_ssize_t)ngrams->counts[best];
}

/* Characters of n-grams seen before, going on behind each. */
static Py_ssize_t duplicated_ngrams(Ngrams *ngrams, Py_ssize_t n)
{
    Py_ssize_t chars = 0;
    for (Py_ssize_t i = 0; i + n <= ngrams->count;) {
        if (first_seen(ngrams, i, n) != i) {
            chars += ngram_chars(ngrams, i, n);
            i += n;
        } else
            i++;
    }
    return chars;
}

static int prepare(Ngrams *ngrams, const Reading *reading)
{
    Py_ssize_t count = reading->count, slots = 16;
    while (slots < count * 2)
        slots *= 2;
    if (count >= UINT32_MAX) {
        PyErr_SetString(PyExc_OverflowError, "a text of 2**32 words");
        return -1;
    }
    ngrams->tokens = reading->table->tokens;
    ngrams->ids = reading->ids;
    ngrams->count = count;
    ngrams->mask = (uint64_t)slots - 1;
    ngrams->hashes = PyMem_Calloc((size_t)count + 1, sizeof(uint64_t));
    ngrams->ends = PyMem_Calloc((size_t)count + 1, sizeof(Py_ssize_t));
    ngrams->counts = PyMem_Calloc((size_t)count + 1, sizeof(uint32_t));
    ngrams->slots = PyMem_Calloc((size_t)slots, sizeof(uint64_t));
    if (!ngrams->hashes || !ngrams->ends || !ngrams->counts || !ngrams->slots) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++)
        ngrams->ends[i + 1] = ngrams->ends[i] + ngrams->tokens[ngrams->ids[i]].length;
    return 0;
}

PyObject *reading_repeats(PyObject *self, PyObject *unused)
{
    Ngrams ngrams = {0};
    PyObject *fields = prepare(&ngrams, (Reading *)self) < 0 ? NULL : PyTuple_New(9);
    ngrams.separated = 1;
    for (Py_ssize_t n = 1; fields != NULL && n <= 4; n++) {
        lengthen(&ngrams, n);
        if (n == 1)
            continue;
        Py_ssize_t chars = top_ngram(&ngrams, n);
        PyObject *value = chars < 0 ? Py_NewRef(Py_None) : PyLong_FromSsize_t(chars);
        if (value == NULL)
            Py_CLEAR(fields);
        else
            PyTuple_SET_ITEM(fields, n - 2, value);
    }
    ngrams.separated = 0;
    for (Py_ssize_t n = 1; fields != NULL && n <= 10; n++) {
        lengthen(&ngrams, n);
        if (n < 5)
            continue;
        PyObject *value = PyLong_FromSsize_t(duplicated_ngrams(&ngrams, n));
        if (value == NULL)
            Py_CLEAR(fields);
        else
            PyTuple_SET_ITEM(fields, n - 2, value);
    }
    PyMem_Free(ngrams.hashes);
    PyMem_Free(ngrams.ends);
    PyMem_Free(ngrams.counts);
    PyMem_Free(ngrams.slots);
    return make_result("Repeats", fields);
}
