/* pipeline.speed._minhash: normalise, shingle, minima, band keys, repeated keys, and the overlap of sets.
 *
 * pipeline/dedup/shingles.py, signatures.py and rows.py hold the twins in numpy, which say what each function means. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#include "machine.h"

#define SEPARATOR 0u
#define IGNORED 1u
#define DIGIT 0x30u
#define ALONE (1u << 30)
#define EXPANDS (1u << 31)
#define CODE_POINTS 0x110000
#define CHAR_BASE UINT64_C(0x9E3779B97F4A7C15)
#define WORD_BASE UINT64_C(0xC2B2AE3D27D4EB4F)
#define MERSENNE ((UINT64_C(1) << 61) - 1)

static inline uint64_t mix(uint64_t h)
{
    h = (h ^ (h >> 33)) * UINT64_C(0xFF51AFD7ED558CCD);
    h = (h ^ (h >> 33)) * UINT64_C(0xC4CEB9FE1A85EC53);
    return h ^ (h >> 33);
}

typedef struct {
    uint64_t *words;
    Py_ssize_t count, room;
    uint64_t hash; /* of the word so far */
    int open;      /* whether there is one */
    uint32_t last; /* what was taken in before, IGNORED left out */
} Words;

static int close_word(Words *words)
{
    if (!words->open)
        return 0;
    if (words->count == words->room) {
        Py_ssize_t room = words->room ? words->room * 2 : 1024;
        uint64_t *grown = PyMem_Realloc(words->words, (size_t)room * sizeof(uint64_t));
        if (grown == NULL)
            return -1;
        words->words = grown;
        words->room = room;
    }
    words->words[words->count++] = mix(words->hash);
    words->hash = 0;
    words->open = 0;
    return 0;
}

static inline int take(Words *words, uint32_t folded)
{
    if (folded == IGNORED || (folded == DIGIT && words->last == DIGIT))
        return 0;
    words->last = folded;
    if (folded == SEPARATOR || (folded & ALONE))
        if (close_word(words) < 0)
            return -1;
    if (folded == SEPARATOR)
        return 0;
    words->hash = words->hash * CHAR_BASE + (folded & ~ALONE);
    words->open = 1;
    return folded & ALONE ? close_word(words) : 0;
}

static int fold(PyObject *text, const uint32_t *values, const Py_buffer *expansions, Words *words)
{
    int kind = PyUnicode_KIND(text);
    const void *data = PyUnicode_DATA(text);
    Py_ssize_t length = PyUnicode_GET_LENGTH(text);
    const uint32_t *expanded = expansions->buf;
    Py_ssize_t room = expansions->len / (Py_ssize_t)sizeof(uint32_t);
    for (Py_ssize_t i = 0; i < length; i++) {
        Py_UCS4 c = PyUnicode_READ(kind, data, i);
        uint32_t folded = values[c];
        if (folded & EXPANDS) {
            Py_ssize_t at = folded & 0xFFFFFF, count = folded >> 24 & 0x7F;
            for (; count > 0 && at < room; at++, count--)
                if (take(words, expanded[at]) < 0)
                    return -1;
            continue;
        }
        if ((c == '.' || c == ',') && i > 0 && i + 1 < length &&
            values[PyUnicode_READ(kind, data, i - 1)] == DIGIT &&
            values[PyUnicode_READ(kind, data, i + 1)] == DIGIT)
            continue;
        if (take(words, folded) < 0)
            return -1;
    }
    return close_word(words);
}

/* shingles(text, values, expansions, ngram) -> bytes of uint64 */
static PyObject *shingles(PyObject *self, PyObject *args)
{
    PyObject *text, *result = NULL;
    Py_buffer values, expansions;
    Py_ssize_t ngram;
    (void)self;
    if (!PyArg_ParseTuple(args, "Uy*y*n", &text, &values, &expansions, &ngram))
        return NULL;
    Words words = {.last = SEPARATOR};
    if (values.len != (Py_ssize_t)(CODE_POINTS * sizeof(uint32_t)) || ngram < 1) {
        PyErr_SetString(PyExc_ValueError, "a table of 0x110000 uint32 and an ngram of at least 1");
    } else if (fold(text, values.buf, &expansions, &words) < 0) {
        PyErr_NoMemory();
    } else {
        Py_ssize_t count = words.count >= ngram ? words.count - ngram + 1 : 0;
        result = PyBytes_FromStringAndSize(NULL, count * (Py_ssize_t)sizeof(uint64_t));
        uint64_t *out = result ? (uint64_t *)PyBytes_AS_STRING(result) : NULL;
        for (Py_ssize_t i = 0; out != NULL && i < count; i++) {
            uint64_t total = 0;
            for (Py_ssize_t j = 0; j < ngram; j++)
                total = total * WORD_BASE + words.words[i + j];
            out[i] = mix(total);
        }
    }
    PyMem_Free(words.words);
    PyBuffer_Release(&values);
    PyBuffer_Release(&expansions);
    return result;
}

static inline uint32_t rotated(uint32_t value, int bits)
{
    return value << bits | value >> (32 - bits);
}

/* One block of SHA-1 (FIPS 180-4, 6.1.2). */
static void sha1_block(uint32_t state[5], const unsigned char *block)
{
    uint32_t w[80], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    for (int t = 0; t < 16; t++, block += 4)
        w[t] = (uint32_t)block[0] << 24 | (uint32_t)block[1] << 16 | (uint32_t)block[2] << 8 | block[3];
    _Pragma("GCC unroll 16") for (int t = 16; t < 80; t++)
        w[t] = rotated(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
#define SHA1_ROUNDS(from, to, mixed, constant)                            \
    _Pragma("GCC unroll 20") for (int t = from; t < to; t++) {            \
        uint32_t next = rotated(a, 5) + (mixed) + e + (constant) + w[t];  \
        e = d, d = c, c = rotated(b, 30), b = a, a = next;                \
    }
    SHA1_ROUNDS(0, 20, (b & c) | (~b & d), UINT32_C(0x5A827999))
    SHA1_ROUNDS(20, 40, b ^ c ^ d, UINT32_C(0x6ED9EBA1))
    SHA1_ROUNDS(40, 60, (b & c) | (b & d) | (c & d), UINT32_C(0x8F1BBCDC))
    SHA1_ROUNDS(60, 80, b ^ c ^ d, UINT32_C(0xCA62C1D6))
#undef SHA1_ROUNDS
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
}

/* The first eight bytes of the SHA-1, and their order in memory is kept. */
static void sha1_start(const unsigned char *data, Py_ssize_t length, unsigned char out[8])
{
    uint32_t state[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    unsigned char last[128] = {0};
    Py_ssize_t whole = length / 64 * 64, rest = length - whole, size = rest < 56 ? 64 : 128;
    for (Py_ssize_t at = 0; at < whole; at += 64)
        sha1_block(state, data + at);
    memcpy(last, data + whole, (size_t)rest);
    last[rest] = 0x80;
    for (int i = 0; i < 8; i++)
        last[size - 1 - i] = (unsigned char)((uint64_t)length * 8 >> 8 * i);
    for (Py_ssize_t at = 0; at < size; at += 64)
        sha1_block(state, last + at);
    for (int i = 0; i < 8; i++)
        out[i] = (unsigned char)(state[i / 4] >> (24 - 8 * (i % 4)));
}

/* sha1_shingles(words joined by single spaces: bytes, ngram) -> bytes: eight of each n-gram's SHA-1 */
static PyObject *sha1_shingles(PyObject *self, PyObject *args)
{
    Py_buffer text;
    Py_ssize_t ngram;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*n", &text, &ngram))
        return NULL;
    const unsigned char *data = text.buf;
    Py_ssize_t words = text.len > 0;
    for (Py_ssize_t at = 0; at < text.len; at++)
        words += data[at] == ' ';
    Py_ssize_t count = ngram > 0 && words >= ngram ? words - ngram + 1 : 0, start = 0, stop = 0;
    PyObject *result = PyBytes_FromStringAndSize(NULL, count * 8);
    unsigned char *out = result ? (unsigned char *)PyBytes_AS_STRING(result) : NULL;
    for (Py_ssize_t i = 0; out != NULL && i < count; i++, out += 8) {
        for (Py_ssize_t word = i ? ngram - 1 : 0; word < ngram; word++) {
            stop += stop > 0; /* over the space */
            while (stop < text.len && data[stop] != ' ')
                stop++;
        }
        sha1_start(data + start, stop - start, out);
        while (start < stop && data[start] != ' ')
            start++;
        start++;
    }
    PyBuffer_Release(&text);
    return result;
}

/* fold_whitespace(text) -> (UTF-8, characters), None where the text may not be in NFC */
static PyObject *fold_whitespace(PyObject *self, PyObject *text)
{
    (void)self;
    if (!PyUnicode_Check(text) || PyUnicode_READY(text) < 0) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "fold_whitespace() takes a str");
        return NULL;
    }
    int kind = PyUnicode_KIND(text);
    const void *data = PyUnicode_DATA(text);
    Py_ssize_t length = PyUnicode_GET_LENGTH(text), chars = 0;
    unsigned char *bytes = PyMem_Malloc((size_t)length * 3 + 1), *out = bytes;
    if (bytes == NULL)
        return PyErr_NoMemory();
    int gap = 0;
    for (Py_ssize_t i = 0; i < length; i++) {
        Py_UCS4 c = PyUnicode_READ(kind, data, i);
        if (Py_UNICODE_ISSPACE(c)) {
            gap = out > bytes;
            continue;
        }
        /* Below the combining marks, and from the spaces to the subscripts, nothing composes or decomposes. */
        if (c >= 0x300 && (c < 0x2002 || c > 0x206F)) {
            PyMem_Free(bytes);
            Py_RETURN_NONE;
        }
        if (gap) {
            *out++ = ' ';
            chars++;
            gap = 0;
        }
        chars++;
        if (c < 0x80) {
            *out++ = (unsigned char)c;
        } else if (c < 0x800) {
            *out++ = (unsigned char)(0xC0 | c >> 6);
            *out++ = (unsigned char)(0x80 | (c & 0x3F));
        } else {
            *out++ = (unsigned char)(0xE0 | c >> 12);
            *out++ = (unsigned char)(0x80 | (c >> 6 & 0x3F));
            *out++ = (unsigned char)(0x80 | (c & 0x3F));
        }
    }
    PyObject *result = Py_BuildValue("y#n", (const char *)bytes, (Py_ssize_t)(out - bytes), chars);
    PyMem_Free(bytes);
    return result;
}

FOR_EACH_MACHINE /* 64-bit products in vectors want AVX2 or AVX-512 */
static void take_minima(const uint64_t *restrict shingles, Py_ssize_t count, const uint64_t *restrict a,
                        const uint64_t *restrict b, uint64_t *restrict least, Py_ssize_t permutations)
{
    for (Py_ssize_t i = 0; i < count; i++) {
        uint64_t shingle = shingles[i];
        for (Py_ssize_t j = 0; j < permutations; j++) {
            uint64_t value = shingle * a[j] + b[j];
            value = (value & MERSENNE) + (value >> 61);
            value = value >= MERSENNE ? value - MERSENNE : value;
            least[j] = value < least[j] ? value : least[j];
        }
    }
}

/* minima(shingles, a, b, least): least is uint64 and written to */
static PyObject *minima(PyObject *self, PyObject *args)
{
    Py_buffer hashes, a, b, least;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*y*y*w*", &hashes, &a, &b, &least))
        return NULL;
    int fits = a.len == b.len && a.len == least.len;
    if (fits)
        take_minima(hashes.buf, hashes.len / (Py_ssize_t)sizeof(uint64_t), a.buf, b.buf, least.buf,
                    least.len / (Py_ssize_t)sizeof(uint64_t));
    PyBuffer_Release(&hashes);
    PyBuffer_Release(&a);
    PyBuffer_Release(&b);
    PyBuffer_Release(&least);
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "a, b and least are of different sizes");
        return NULL;
    }
    Py_RETURN_NONE;
}

/* band_keys(minima, rows) -> bytes of uint64, a key for each band of so many rows */
static PyObject *band_keys(PyObject *self, PyObject *args)
{
    Py_buffer minima;
    Py_ssize_t rows;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*n", &minima, &rows))
        return NULL;
    Py_ssize_t count = minima.len / (Py_ssize_t)sizeof(uint64_t), bands = rows > 0 ? count / rows : 0;
    PyObject *result = PyBytes_FromStringAndSize(NULL, bands * (Py_ssize_t)sizeof(uint64_t));
    uint64_t *keys = result ? (uint64_t *)PyBytes_AS_STRING(result) : NULL;
    const uint64_t *least = minima.buf;
    for (Py_ssize_t band = 0; keys != NULL && band < bands; band++) {
        uint64_t key = (uint64_t)band + 1;
        for (Py_ssize_t row = 0; row < rows; row++)
            key = mix(key ^ least[band * rows + row]) + (uint64_t)row + 1;
        keys[band] = key;
    }
    PyBuffer_Release(&minima);
    return result;
}

/* Sort by the four bytes in turn, the lowest first; the result is in `values` again. */
static void sort_values(uint32_t *values, uint32_t *spare, Py_ssize_t count)
{
    uint32_t starts[4][256] = {{0}};
    for (Py_ssize_t i = 0; i < count; i++)
        for (int byte = 0; byte < 4; byte++)
            starts[byte][values[i] >> 8 * byte & 0xFF]++;
    for (int byte = 0; byte < 4; byte++) {
        uint32_t before = 0, *start = starts[byte];
        for (int digit = 0; digit < 256; digit++) {
            uint32_t here = start[digit];
            start[digit] = before;
            before += here;
        }
        for (Py_ssize_t i = 0; i < count; i++)
            spare[start[values[i] >> 8 * byte & 0xFF]++] = values[i];
        uint32_t *other = values;
        values = spare;
        spare = other;
    }
}

/* shingle_set(hashes) -> bytes of uint32, sorted and unique: the upper halves */
static PyObject *shingle_set(PyObject *self, PyObject *args)
{
    Py_buffer hashes;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*", &hashes))
        return NULL;
    Py_ssize_t count = hashes.len / (Py_ssize_t)sizeof(uint64_t), unique = 0;
    uint32_t *values = PyMem_Malloc((size_t)count * 2 * sizeof(uint32_t) + 1);
    PyObject *result = NULL;
    if (count > UINT32_MAX)
        PyErr_SetString(PyExc_OverflowError, "more shingles than 32 bits can count");
    else if (values == NULL)
        PyErr_NoMemory();
    else {
        for (Py_ssize_t i = 0; i < count; i++)
            values[i] = (uint32_t)(((const uint64_t *)hashes.buf)[i] >> 32);
        sort_values(values, values + count, count);
        for (Py_ssize_t i = 0; i < count; i++)
            if (i == 0 || values[i] != values[i - 1])
                values[unique++] = values[i];
        result = PyBytes_FromStringAndSize((const char *)values, unique * (Py_ssize_t)sizeof(uint32_t));
    }
    PyMem_Free(values);
    PyBuffer_Release(&hashes);
    return result;
}

/* may_repeat(keys) -> bytes: 1 for each key that occurs more than once, and for one in eight of the others at most
 *
 * A key has a place among eight to sixteen a key: a bit that says whether it was met, and one for twice. */
static PyObject *may_repeat(PyObject *self, PyObject *args)
{
    Py_buffer keys;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*", &keys))
        return NULL;
    const uint64_t *key = keys.buf;
    Py_ssize_t count = keys.len / (Py_ssize_t)sizeof(uint64_t);
    int bits = 5;
    while (bits < 40 && (Py_ssize_t)1 << bits < count * 8)
        bits++;
    uint64_t *table = PyMem_Calloc((size_t)1 << (bits - 5), sizeof(uint64_t)); /* met below, twice above */
    PyObject *result = table ? PyBytes_FromStringAndSize(NULL, count) : PyErr_NoMemory();
    if (result != NULL) {
        unsigned char *out = (unsigned char *)PyBytes_AS_STRING(result);
        for (Py_ssize_t i = 0; i < count; i++) {
            uint64_t place = key[i] * WORD_BASE >> (64 - bits), *at = table + (place >> 5);
            uint64_t bit = UINT64_C(1) << (place & 31);
            *at |= bit | (*at & bit) << 32;
        }
        for (Py_ssize_t i = 0; i < count; i++) {
            uint64_t place = key[i] * WORD_BASE >> (64 - bits);
            out[i] = table[place >> 5] >> (32 + (place & 31)) & 1;
        }
    }
    PyMem_Free(table);
    PyBuffer_Release(&keys);
    return result;
}

static int64_t overlap(const uint32_t *one, const uint32_t *one_end, const uint32_t *other, const uint32_t *other_end)
{
    int64_t both = 0;
    while (one < one_end && other < other_end) {
        uint32_t a = *one, b = *other;
        both += a == b;
        one += a <= b;
        other += b <= a;
    }
    return both;
}

/* The bounds of set `which` of a collection, -1 where it has none such. */
static int bounds(const Py_buffer *values, const Py_buffer *offsets, int64_t which, const uint32_t **start,
                  const uint32_t **end)
{
    const int64_t *at = offsets->buf;
    int64_t sets = offsets->len / (Py_ssize_t)sizeof(int64_t) - 1;
    if (which < 0 || which >= sets || at[which] < 0 || at[which] > at[which + 1] ||
        at[which + 1] > values->len / (Py_ssize_t)sizeof(uint32_t))
        return -1;
    *start = (const uint32_t *)values->buf + at[which];
    *end = (const uint32_t *)values->buf + at[which + 1];
    return 0;
}

/* overlaps(values, offsets, which, others, other_offsets, theirs, counts): counts is int64 and written to */
static PyObject *overlaps(PyObject *self, PyObject *args)
{
    Py_buffer values, offsets, which, others, other_offsets, theirs, counts;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*y*y*y*y*y*w*", &values, &offsets, &which, &others, &other_offsets, &theirs,
                          &counts))
        return NULL;
    int wrong = which.len != theirs.len || which.len != counts.len;
    Py_ssize_t pairs = counts.len / (Py_ssize_t)sizeof(int64_t);
    const int64_t *mine = which.buf, *their = theirs.buf;
    int64_t *out = counts.buf;
    for (Py_ssize_t i = 0; !wrong && i < pairs; i++) {
        const uint32_t *one, *one_end, *other, *other_end;
        wrong = bounds(&values, &offsets, mine[i], &one, &one_end) < 0 ||
                bounds(&others, &other_offsets, their[i], &other, &other_end) < 0;
        if (!wrong)
            out[i] = overlap(one, one_end, other, other_end);
    }
    PyBuffer_Release(&values);
    PyBuffer_Release(&offsets);
    PyBuffer_Release(&which);
    PyBuffer_Release(&others);
    PyBuffer_Release(&other_offsets);
    PyBuffer_Release(&theirs);
    PyBuffer_Release(&counts);
    if (wrong) {
        PyErr_SetString(PyExc_ValueError, "a pair names a set that is not there");
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"shingles", shingles, METH_VARARGS, "See pipeline.dedup.shingles.shingle_hashes."},
    {"minima", minima, METH_VARARGS, "See pipeline.dedup.signatures.minima."},
    {"sha1_shingles", sha1_shingles, METH_VARARGS, "See pipeline.dedup.shingles._datatrove_shingles."},
    {"fold_whitespace", fold_whitespace, METH_O, "See pipeline.dedup.signatures.fold_whitespace."},
    {"band_keys", band_keys, METH_VARARGS, "See pipeline.dedup.signatures.band_keys."},
    {"shingle_set", shingle_set, METH_VARARGS, "See pipeline.dedup.shingles.shingle_set."},
    {"may_repeat", may_repeat, METH_VARARGS, "See pipeline.dedup.rows.may_repeat."},
    {"overlaps", overlaps, METH_VARARGS, "See pipeline.dedup.shingles.overlaps."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "pipeline.speed._minhash",
    .m_doc = "The dedup kernels in C; their twins in pipeline/dedup say what they compute.",
    .m_size = -1,
    .m_methods = functions,
};

PyMODINIT_FUNC PyInit__minhash(void)
{
    return PyModule_Create(&definition);
}
