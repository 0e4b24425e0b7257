/* What classes and ids tell, as pipeline/extractors/names.py says it; included by pages.c. */

enum { HINTS_AT_MOST = 400, HINT_LENGTH = 24, PARTS_AT_MOST = 8 };

typedef struct {
    char word[HINT_LENGTH];
    int length;
    int32_t bits;
} Hint;

static Hint hints[HINTS_AT_MOST];
static int16_t hint_next[HINTS_AT_MOST], hint_first[128 * 128]; /* chains by first two characters, -1 at their end */
static uint64_t hint_starts[128][2]; /* a bit for each two characters that begin one */
static int n_hints;

/* pages.set_hints([(word, bits)]): HINTS of names.py */
static PyObject *
set_hints(PyObject *self, PyObject *list)
{
    if (!PyList_Check(list) || PyList_GET_SIZE(list) > HINTS_AT_MOST) {
        PyErr_SetString(PyExc_ValueError, "set_hints wants a short list");
        return NULL;
    }
    n_hints = 0;
    memset(hint_first, -1, sizeof hint_first);
    memset(hint_starts, 0, sizeof hint_starts);
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        const char *word;
        Py_ssize_t length;
        int bits;
        if (!PyArg_ParseTuple(PyList_GET_ITEM(list, i), "s#i", &word, &length, &bits))
            return NULL;
        if (length < 2 || length >= HINT_LENGTH || (unsigned char)word[0] > 127 || (unsigned char)word[1] > 127) {
            PyErr_SetString(PyExc_ValueError, "a hint is too short, too long, or not ASCII");
            return NULL;
        }
        int16_t *chain = &hint_first[word[0] * 128 + word[1]];
        hint_starts[(int)word[0]][word[1] >> 6] |= 1ull << (word[1] & 63);
        memcpy(hints[n_hints].word, word, (size_t)length + 1);
        hints[n_hints].length = (int)length;
        hints[n_hints].bits = bits;
        hint_next[n_hints] = *chain;
        *chain = (int16_t)n_hints++;
    }
    Py_RETURN_NONE;
}

typedef struct {
    uint64_t hash; /* 0 where empty */
    int64_t score;
} NameSlot;

/* Behind the slots: a bit for each hash that is in them. Most tokens are in none, and these bits stay in the cache. */
enum { KNOWN_BITS = 1 << 16, KNOWN_BYTES = KNOWN_BITS / 8 };
#define KNOWN_PLACE(h) ((h) >> 48)

/* pages.name_table(tokens, scores) -> the tokens' hashes and scores, for `verdicts`; scores are int32 */
static PyObject *
name_table(PyObject *self, PyObject *args)
{
    PyObject *tokens;
    Py_buffer scores;
    if (!PyArg_ParseTuple(args, "O!y*", &PyList_Type, &tokens, &scores))
        return NULL;
    Py_ssize_t n = PyList_GET_SIZE(tokens), slots = 64;
    while (slots < n * 2)
        slots *= 2;
    PyObject *found = scores.len == n * 4 ? PyBytes_FromStringAndSize(NULL, slots * (Py_ssize_t)sizeof(NameSlot) + KNOWN_BYTES) : NULL;
    if (found != NULL) {
        NameSlot *table = (NameSlot *)PyBytes_AS_STRING(found);
        memset(table, 0, (size_t)PyBytes_GET_SIZE(found));
        unsigned char *known = (unsigned char *)(table + slots);
        for (Py_ssize_t i = 0; i < n; i++) {
            Py_ssize_t length;
            const char *token = PyUnicode_AsUTF8AndSize(PyList_GET_ITEM(tokens, i), &length);
            if (token == NULL) {
                Py_CLEAR(found);
                break;
            }
            uint64_t h = FNV_START;
            for (Py_ssize_t k = 0; k < length; k++)
                h = FNV_STEP(h, (unsigned char)token[k]);
            size_t slot = h & (size_t)(slots - 1);
            while (table[slot].hash)
                slot = (slot + 1) & (size_t)(slots - 1);
            table[slot].hash = h;
            known[KNOWN_PLACE(h) >> 3] |= (unsigned char)(1 << (KNOWN_PLACE(h) & 7));
            table[slot].score = ((const int32_t *)scores.buf)[i];
        }
    }
    else if (!PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "a score is missing");
    PyBuffer_Release(&scores);
    return found;
}

static int64_t
score_of(const NameSlot *table, size_t slots, uint64_t h)
{
    const unsigned char *known = (const unsigned char *)(table + slots);
    if (!(known[KNOWN_PLACE(h) >> 3] >> (KNOWN_PLACE(h) & 7) & 1))
        return 0;
    size_t slot = h & (slots - 1);
    while (table[slot].hash && table[slot].hash != h)
        slot = (slot + 1) & (slots - 1);
    return table[slot].hash ? table[slot].score : 0;
}

#define IS_LOWER(c) ((c) >= 'a' && (c) <= 'z')
#define IS_UPPER(c) ((c) >= 'A' && (c) <= 'Z')
#define LOWER_CASE(c) (IS_UPPER(c) ? (c) + 32 : (c))

/* lowest and highest score of the tokens of one class or id, [at, end) of a string */
static void
judge_name(int kind, const void *data, Py_ssize_t at, Py_ssize_t end, const NameSlot *table, size_t slots, int32_t *verdict)
{
    uint64_t parts[PARTS_AT_MOST], joined = FNV_START;
    int lengths[PARTS_AT_MOST], n = 0;
#define CHAR(i) PyUnicode_READ(kind, data, i)
    while (at < end) {
        Py_ssize_t stop = at;
        Py_UCS4 c = CHAR(at);
        if (IS_LOWER(c) || (IS_UPPER(c) && at + 1 < end && IS_LOWER(CHAR(at + 1)))) {
            for (stop = at + 1; stop < end && IS_LOWER(CHAR(stop)); stop++)
                ;
        }
        else if (IS_UPPER(c)) {
            for (stop = at + 1; stop < end && IS_UPPER(CHAR(stop)); stop++)
                ;
            if (stop < end && IS_LOWER(CHAR(stop)))
                stop--;
        }
        else {
            at++;
            continue;
        }
        if (n == PARTS_AT_MOST)
            return;
        uint64_t h = FNV_START;
        if (n)
            joined = FNV_STEP(joined, '-');
        for (Py_ssize_t i = at; i < stop; i++) {
            c = CHAR(i);
            c = LOWER_CASE(c);
            h = FNV_STEP(h, c);
            joined = FNV_STEP(joined, c);
        }
        parts[n] = h;
        lengths[n++] = (int)(stop - at);
        at = stop;
    }
#undef CHAR
    for (int i = 0; i <= n; i++) {
        if (i < n ? lengths[i] < 2 : n < 2)
            continue;
        int32_t score = (int32_t)score_of(table, slots, i < n ? parts[i] : joined);
        verdict[0] = score < verdict[0] ? score : verdict[0];
        verdict[1] = score > verdict[1] ? score : verdict[1];
    }
}

static int32_t
hints_of(int kind, const void *data, Py_ssize_t at, Py_ssize_t end)
{
    int32_t bits = 0;
    if (at >= end)
        return 0;
    Py_UCS4 c, next = PyUnicode_READ(kind, data, at);
    next = LOWER_CASE(next);
    for (; at + 1 < end; at++) {
        c = next;
        next = PyUnicode_READ(kind, data, at + 1);
        next = LOWER_CASE(next);
        if (c >= 128 || next >= 128 || !(hint_starts[c][next >> 6] >> (next & 63) & 1))
            continue;
        for (int k = hint_first[c * 128 + next]; k >= 0; k = hint_next[k]) {
            int i = 2;
            if ((bits & hints[k].bits) == hints[k].bits || at + hints[k].length > end)
                continue;
            for (; i < hints[k].length; i++) {
                Py_UCS4 d = PyUnicode_READ(kind, data, at + i);
                if (LOWER_CASE(d) != (Py_UCS4)(unsigned char)hints[k].word[i])
                    break;
            }
            if (i == hints[k].length)
                bits |= hints[k].bits;
        }
    }
    return bits;
}

/* pages.verdicts(names, table) -> for each of Blocks.names lowest and highest score, hints, hidden: int32 in bytes */
static PyObject *
verdicts(PyObject *self, PyObject *args)
{
    PyObject *names;
    Py_buffer table;
    if (!PyArg_ParseTuple(args, "O!y*", &PyList_Type, &names, &table))
        return NULL;
    size_t slots = table.len < KNOWN_BYTES ? 0 : ((size_t)table.len - KNOWN_BYTES) / sizeof(NameSlot);
    Py_ssize_t n = PyList_GET_SIZE(names);
    PyObject *found = NULL;
    if (slots < 64 || (slots & (slots - 1)) || slots * sizeof(NameSlot) + KNOWN_BYTES != (size_t)table.len)
        PyErr_SetString(PyExc_ValueError, "no table of names");
    else
        found = PyBytes_FromStringAndSize(NULL, n * 16);
    for (Py_ssize_t i = 0; found != NULL && i < n; i++) {
        PyObject *own = PyList_GET_ITEM(names, i);
        int32_t *verdict = (int32_t *)PyBytes_AS_STRING(found) + i * 4;
        memset(verdict, 0, 16);
        if (!PyUnicode_Check(own)) {
            PyErr_SetString(PyExc_TypeError, "a name is a str");
            Py_CLEAR(found);
            break;
        }
        int kind = PyUnicode_KIND(own);
        const void *data = PyUnicode_DATA(own);
        Py_ssize_t end = PyUnicode_GET_LENGTH(own), at = 0;
        verdict[3] = end >= 2 && PyUnicode_READ(kind, data, end - 1) == 'h' && PyUnicode_READ(kind, data, end - 2) == '\t';
        while (at < end) {
            Py_ssize_t stop;
            if (is_space(PyUnicode_READ(kind, data, at))) {
                at++;
                continue;
            }
            for (stop = at; stop < end && !is_space(PyUnicode_READ(kind, data, stop)); stop++)
                ;
            judge_name(kind, data, at, stop, table.buf, slots, verdict);
            verdict[2] |= hints_of(kind, data, at, stop);
            at = stop;
        }
    }
    PyBuffer_Release(&table);
    return found;
}
