/* The inner loops of the learned extractor: reading a serialised tree into blocks, and scoring a forest.

   C99, no dependency but Python. `pipeline/extractors/blocks.py` and `forest.py` hold the same in Python: they are
   the oracle of the tests and the fallback, and say what the numbers mean. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* ---- tags ------------------------------------------------------------------------------------------------- */

enum { BLOCK = 1, SKIPPED = 2, RAW = 4, VOID = 8 };
enum { T_OTHER, T_A, T_BOLD, T_PRE, T_BUTTON, T_BR, T_IMG, T_INPUT };

typedef struct {
    char name[16];
    uint8_t length, flags, role;
    int16_t code;
} Tag;

#define TAG_SLOTS 1024
static Tag tags[256];
static int n_tags;
static int16_t tag_slots[TAG_SLOTS]; /* place in `tags` + 1, 0 where empty */

static uint32_t
hash_ascii(const char *name, size_t length)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < length; i++)
        h = (h ^ (uint8_t)name[i]) * 16777619u;
    return h;
}

/* pages.set_tags({name: (flags, code)}): the tables of blocks.py, so that they stand written once */
static PyObject *
set_tags(PyObject *self, PyObject *table)
{
    PyObject *key, *value;
    Py_ssize_t position = 0;
    if (!PyDict_Check(table)) {
        PyErr_SetString(PyExc_TypeError, "set_tags wants a dict");
        return NULL;
    }
    memset(tag_slots, 0, sizeof tag_slots);
    n_tags = 0;
    while (PyDict_Next(table, &position, &key, &value)) {
        Py_ssize_t length;
        int flags, code;
        const char *name = PyUnicode_AsUTF8AndSize(key, &length);
        if (name == NULL || !PyArg_ParseTuple(value, "ii", &flags, &code))
            return NULL;
        if (length >= (Py_ssize_t)sizeof tags[0].name || n_tags >= 256) {
            PyErr_SetString(PyExc_ValueError, "tag table too large");
            return NULL;
        }
        Tag *tag = &tags[n_tags];
        memcpy(tag->name, name, (size_t)length + 1);
        tag->length = (uint8_t)length;
        tag->flags = (uint8_t)flags;
        tag->code = (int16_t)code;
        tag->role = !strcmp(name, "a") ? T_A
                  : !strcmp(name, "b") || !strcmp(name, "strong") ? T_BOLD
                  : !strcmp(name, "pre") ? T_PRE
                  : !strcmp(name, "button") ? T_BUTTON
                  : !strcmp(name, "br") ? T_BR
                  : !strcmp(name, "img") ? T_IMG
                  : !strcmp(name, "input") ? T_INPUT
                  : T_OTHER;
        uint32_t slot = hash_ascii(name, (size_t)length) % TAG_SLOTS;
        while (tag_slots[slot])
            slot = (slot + 1) % TAG_SLOTS;
        tag_slots[slot] = (int16_t)++n_tags;
    }
    Py_RETURN_NONE;
}

static const Tag *
find_tag(const char *name, size_t length)
{
    uint32_t slot = hash_ascii(name, length) % TAG_SLOTS;
    while (tag_slots[slot]) {
        const Tag *tag = &tags[tag_slots[slot] - 1];
        if (tag->length == length && !memcmp(tag->name, name, length))
            return tag;
        slot = (slot + 1) % TAG_SLOTS;
    }
    return NULL;
}

/* ---- characters ------------------------------------------------------------------------------------------- */

enum { OTHER, UPPER, LOWER, DIGIT, STOP, COMMA, SIGN };
static uint8_t classes[0x10000]; /* of the basic plane; set_characters fills stops, commas and signs in */
static uint8_t spaces[0x10000], dropped[0x10000];

static int
is_wide(Py_UCS4 c)
{
    return c >= 0x1100
        && (c <= 0x11FF || (c >= 0x2E80 && c <= 0x9FFF && c != 0x3000) || (c >= 0xAC00 && c <= 0xD7AF)
            || (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x20000 && c <= 0x3FFFF));
}

static int
class_of(Py_UCS4 c)
{
    if (c < 0x10000)
        return classes[c];
    return Py_UNICODE_ISALPHA(c) ? (Py_UNICODE_ISUPPER(c) ? UPPER : LOWER) : Py_UNICODE_ISDIGIT(c) ? DIGIT : OTHER;
}

static int
is_space(Py_UCS4 c)
{
    return c < 0x10000 && spaces[c];
}

/* pages.set_characters(stops, commas, signs, dropped): strings of blocks.py */
static PyObject *
set_characters(PyObject *self, PyObject *args)
{
    PyObject *sets[4];
    if (!PyArg_ParseTuple(args, "UUUU", &sets[0], &sets[1], &sets[2], &sets[3]))
        return NULL;
    for (Py_UCS4 c = 0; c < 0x10000; c++) {
        classes[c] = Py_UNICODE_ISALPHA(c) ? (Py_UNICODE_ISUPPER(c) ? UPPER : LOWER)
                   : Py_UNICODE_ISDIGIT(c) ? DIGIT : OTHER;
        spaces[c] = Py_UNICODE_ISSPACE(c) != 0;
        dropped[c] = 0;
    }
    for (int k = 3; k >= 0; k--)
        for (Py_ssize_t i = 0; i < PyUnicode_GET_LENGTH(sets[k]); i++) {
            Py_UCS4 c = PyUnicode_READ_CHAR(sets[k], i);
            if (c >= 0x10000)
                continue;
            if (k == 3)
                dropped[c] = 1;
            else if (!Py_UNICODE_ISALPHA(c) && !Py_UNICODE_ISDIGIT(c))
                classes[c] = (uint8_t)(STOP + k);
        }
    Py_RETURN_NONE;
}

/* ---- what is gathered ------------------------------------------------------------------------------------- */

typedef struct {
    int32_t *at;
    Py_ssize_t length, room;
} Ints;

static int
push(Ints *ints, int32_t value)
{
    if (ints->length == ints->room) {
        Py_ssize_t room = ints->room ? ints->room * 2 : 1024;
        int32_t *at = realloc(ints->at, (size_t)room * sizeof *at);
        if (at == NULL)
            return -1;
        ints->at = at;
        ints->room = room;
    }
    ints->at[ints->length++] = value;
    return 0;
}

typedef struct {
    Py_UCS4 *at;
    Py_ssize_t length, room;
} Chars;

static int
reserve(Chars *chars, Py_ssize_t more)
{
    if (chars->length + more > chars->room) {
        Py_ssize_t room = (chars->length + more) * 2 + 1024;
        Py_UCS4 *at = realloc(chars->at, (size_t)room * sizeof *at);
        if (at == NULL)
            return -1;
        chars->at = at;
        chars->room = room;
    }
    return 0;
}

typedef struct {
    Ints tags, parents, first, last, named, rows;
    Ints stack;           /* element, tag's place in `tags` or -1, start and length of its name in the source */
    Chars line, text, name;
    PyObject *texts, *names, *known; /* `known` maps each of `names` to its place */
    int32_t links, bolds, pres, images, inputs, marks, breaks;
    /* the line that is being read */
    int blank, after_link;
    int32_t depth, leaf, units, link_units, bold_units, link_count;
} Reader;

#define STACK_ITEM 4
#define DEPTH(r) ((int32_t)((r)->stack.length / STACK_ITEM))
#define ELEMENT_AT(r, depth) ((r)->stack.at[((depth) - 1) * STACK_ITEM])

static void
start_line(Reader *r)
{
    r->line.length = 0;
    r->blank = 1;
    r->after_link = 0;
    r->depth = r->leaf = r->units = r->link_units = r->bold_units = r->link_count = 0;
}

static int
is_quote(Py_UCS4 c)
{
    return c == '"' || c == '\'' || c == 0x201C || c == 0x201D || c == 0x201E || c == 0x2018 || c == 0x2019
        || c == 0xBB || c == 0xAB || c == '(' || c == ')' || c == '[' || c == ']' || c == ' ' || c == '\n';
}

static void
collapse(const Chars *line, Chars *text)
{
    int space = 0;
    text->length = 0;
    for (Py_ssize_t i = 0; i < line->length; i++) {
        Py_UCS4 c = line->at[i];
        if (is_space(c)) {
            space = text->length > 0;
            continue;
        }
        if (space)
            text->at[text->length++] = ' ';
        space = 0;
        text->at[text->length++] = c;
    }
}

static void
keep_lines(const Chars *line, Chars *text)
{
    Py_ssize_t a = 0, b = line->length;
    while (a < b && line->at[a] == '\n')
        a++;
    while (b > a && line->at[b - 1] == '\n')
        b--;
    text->length = 0;
    for (Py_ssize_t i = a; i <= b; i++) {
        if (i < b && line->at[i] != '\n') {
            text->at[text->length++] = line->at[i];
            continue;
        }
        while (text->length && text->at[text->length - 1] != '\n' && is_space(text->at[text->length - 1]))
            text->length--;
        if (i < b)
            text->at[text->length++] = '\n';
    }
    while (text->length && text->at[text->length - 1] == '\n')
        text->length--;
    for (a = 0; a < text->length && text->at[a] == '\n'; a++)
        ;
    memmove(text->at, text->at + a, (size_t)(text->length - a) * sizeof *text->at);
    text->length -= a;
}


static int
name_element(Reader *r)
{
    PyObject *name = PyUnicode_FromKindAndData(PyUnicode_4BYTE_KIND, r->name.at, r->name.length);
    PyObject *place = name ? PyDict_GetItemWithError(r->known, name) : NULL;
    int failed = name == NULL || (place == NULL && PyErr_Occurred());
    long at = place ? PyLong_AsLong(place) : 0;
    if (!failed && place == NULL) {
        at = (long)PyList_GET_SIZE(r->names);
        place = PyLong_FromLong(at);
        failed = place == NULL || PyDict_SetItem(r->known, name, place) || PyList_Append(r->names, name);
        Py_XDECREF(place);
    }
    Py_XDECREF(name);
    return failed ? -1 : push(&r->named, (int32_t)at);
}

static int
flush(Reader *r)
{
    if (r->blank) {
        start_line(r);
        return 0;
    }
    r->text.length = 0;
    if (reserve(&r->text, r->line.length + 1))
        return -1;
    (r->pres ? keep_lines : collapse)(&r->line, &r->text);
    int32_t seen[7] = {0}, words = 0, inside = 0;
    for (Py_ssize_t i = 0; i < r->text.length; i++) {
        Py_UCS4 c = r->text.at[i];
        int space = is_space(c);
        words += !space && !inside;
        inside = !space;
        words += is_wide(c);
        seen[class_of(c)]++;
    }
    Py_ssize_t a = 0, b = r->text.length;
    while (a < b && is_quote(r->text.at[a]))
        a++;
    while (b > a && is_quote(r->text.at[b - 1]))
        b--;
    int32_t row[] = {
        r->leaf, r->units, r->link_units, r->bold_units, r->link_count, words, seen[UPPER] + seen[LOWER], seen[UPPER],
        seen[DIGIT], seen[STOP], seen[COMMA], seen[SIGN], a < b ? class_of(r->text.at[a]) : OTHER,
        a < b ? class_of(r->text.at[b - 1]) : OTHER, r->breaks, r->images, r->inputs, r->marks,
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        if (push(&r->rows, row[i]))
            return -1;
    PyObject *text = PyUnicode_FromKindAndData(PyUnicode_4BYTE_KIND, r->text.at, r->text.length);
    int failed = text == NULL || PyList_Append(r->texts, text);
    Py_XDECREF(text);
    if (failed)
        return -1;
    r->images = r->inputs = r->marks = r->breaks = 0;
    start_line(r);
    return 0;
}

static int
close_top(Reader *r)
{
    int32_t element = r->stack.at[r->stack.length - STACK_ITEM];
    r->stack.length -= STACK_ITEM;
    r->last.at[element] = (int32_t)PyList_GET_SIZE(r->texts) + (r->blank ? 0 : 1);
    return 0;
}

#define CH Py_UCS1
#define NAME(x) x##_1
#include "pages_read.h"
#undef CH
#undef NAME
#define CH Py_UCS2
#define NAME(x) x##_2
#include "pages_read.h"
#undef CH
#undef NAME
#define CH Py_UCS4
#define NAME(x) x##_4
#include "pages_read.h"
#undef CH
#undef NAME

static PyObject *
bytes_of(const Ints *ints)
{
    return PyBytes_FromStringAndSize((const char *)ints->at, ints->length * (Py_ssize_t)sizeof(int32_t));
}

/* pages.read_blocks(html) -> (texts, names, counts, tags, parents, first, last, named), int32 in bytes from counts on */
static PyObject *
read_blocks(PyObject *self, PyObject *html)
{
    if (!PyUnicode_Check(html)) {
        PyErr_SetString(PyExc_TypeError, "read_blocks wants a str");
        return NULL;
    }
    Reader r;
    memset(&r, 0, sizeof r);
    PyObject *found = NULL;
    r.texts = PyList_New(0);
    r.names = PyList_New(0);
    r.known = PyDict_New();
    start_line(&r);
    int failed = r.texts == NULL || r.names == NULL || r.known == NULL || reserve(&r.name, 1) || name_element(&r)
              || push(&r.tags, 0) || push(&r.parents, 0) || push(&r.first, 0) || push(&r.last, 0)
              || push(&r.stack, 0) || push(&r.stack, -1) || push(&r.stack, 0) || push(&r.stack, 0);
    if (!failed) {
        Py_ssize_t length = PyUnicode_GET_LENGTH(html);
        const void *data = PyUnicode_DATA(html);
        switch (PyUnicode_KIND(html)) {
        case PyUnicode_1BYTE_KIND: failed = read_1(&r, data, length); break;
        case PyUnicode_2BYTE_KIND: failed = read_2(&r, data, length); break;
        default: failed = read_4(&r, data, length);
        }
    }
    failed = failed || flush(&r);
    if (!failed) {
        while (r.stack.length)
            close_top(&r);
        found = Py_BuildValue("(OONNNNNN)", r.texts, r.names, bytes_of(&r.rows), bytes_of(&r.tags),
                              bytes_of(&r.parents), bytes_of(&r.first), bytes_of(&r.last), bytes_of(&r.named));
    }
    else if (!PyErr_Occurred())
        PyErr_NoMemory();
    Py_XDECREF(r.texts);
    Py_XDECREF(r.names);
    Py_XDECREF(r.known);
    free(r.tags.at), free(r.parents.at), free(r.first.at), free(r.last.at), free(r.named.at);
    free(r.rows.at), free(r.stack.at);
    free(r.line.at), free(r.text.at), free(r.name.at);
    return found;
}

/* ---- words ------------------------------------------------------------------------------------------------ */

static int
is_word(Py_UCS4 c)
{
    return c == '_' || Py_UNICODE_ISALNUM(c);
}

/* the hash of the word that starts at `at`, never 0; *stop is set behind it */
static uint64_t
hash_word(int kind, const void *data, Py_ssize_t at, Py_ssize_t end, Py_ssize_t *stop)
{
    uint64_t h = 14695981039346656037u;
    for (; at < end; at++) {
        Py_UCS4 c = PyUnicode_READ(kind, data, at);
        if (!is_word(c))
            break;
        h = (h ^ (c < 128 ? (Py_UCS4)((c >= 'A' && c <= 'Z') ? c + 32 : c) : Py_UNICODE_TOLOWER(c))) * 1099511628211u;
    }
    *stop = at;
    return h ? h : 1;
}

#define WORD_SLOTS 1024 /* a title or description of over 512 words is cut there */

/* pages.overlaps(texts, told, limit) -> for each text under `limit` characters the share of its words that stand in
   `told`, 0 for the others: doubles in bytes */
static PyObject *
overlaps(PyObject *self, PyObject *args)
{
    PyObject *texts, *told;
    Py_ssize_t limit, stop;
    uint64_t slots[WORD_SLOTS] = {0};
    if (!PyArg_ParseTuple(args, "O!Un", &PyList_Type, &texts, &told, &limit))
        return NULL;
    int kind = PyUnicode_KIND(told), n_words = 0;
    const void *data = PyUnicode_DATA(told);
    Py_ssize_t end = PyUnicode_GET_LENGTH(told), n = PyList_GET_SIZE(texts);
    for (Py_ssize_t at = 0; at < end && n_words < WORD_SLOTS / 2; at++) {
        if (!is_word(PyUnicode_READ(kind, data, at)))
            continue;
        uint64_t h = hash_word(kind, data, at, end, &stop);
        size_t slot = h % WORD_SLOTS;
        while (slots[slot] && slots[slot] != h)
            slot = (slot + 1) % WORD_SLOTS;
        slots[slot] = h;
        n_words++;
        at = stop;
    }
    PyObject *found = PyBytes_FromStringAndSize(NULL, n * (Py_ssize_t)sizeof(double));
    if (found == NULL)
        return NULL;
    double *share = (double *)PyBytes_AS_STRING(found);
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *text = PyList_GET_ITEM(texts, i);
        int32_t words = 0, known = 0;
        share[i] = 0;
        if (!PyUnicode_Check(text) || (end = PyUnicode_GET_LENGTH(text)) >= limit || !n_words)
            continue;
        kind = PyUnicode_KIND(text);
        data = PyUnicode_DATA(text);
        for (Py_ssize_t at = 0; at < end; at++) {
            if (!is_word(PyUnicode_READ(kind, data, at)))
                continue;
            uint64_t h = hash_word(kind, data, at, end, &stop);
            size_t slot = h % WORD_SLOTS;
            while (slots[slot] && slots[slot] != h)
                slot = (slot + 1) % WORD_SLOTS;
            words++;
            known += slots[slot] == h;
            at = stop;
        }
        if (words)
            share[i] = (double)known / words;
    }
    return found;
}

/* ---- the forest ------------------------------------------------------------------------------------------- */

/* pages.score(x, width, feature, threshold, left, right, leaves, roots) -> sums of leaves, one double a row in bytes.
   x is float32 [rows, width]; the arrays are those of forest.py, int32 and float32. */
static PyObject *
score(PyObject *self, PyObject *args)
{
    Py_buffer x, part[6];
    Py_ssize_t width;
    if (!PyArg_ParseTuple(args, "y*ny*y*y*y*y*y*", &x, &width, &part[0], &part[1], &part[2], &part[3], &part[4], &part[5]))
        return NULL;
    const int32_t *feature = part[0].buf, *left = part[2].buf, *right = part[3].buf, *roots = part[5].buf;
    const float *threshold = part[1].buf, *leaves = part[4].buf, *values = x.buf;
    Py_ssize_t rows = width > 0 ? x.len / (Py_ssize_t)sizeof(float) / width : 0;
    Py_ssize_t trees = part[5].len / (Py_ssize_t)sizeof(int32_t), nodes = part[0].len / (Py_ssize_t)sizeof(int32_t);
    PyObject *found = NULL;
    int sound = part[1].len == part[0].len && part[2].len == part[0].len && part[3].len == part[0].len;
    for (Py_ssize_t i = 0; sound && i < nodes; i++)
        sound = feature[i] >= 0 && feature[i] < width && left[i] < nodes && right[i] < nodes
             && (left[i] >= 0 || ~left[i] < part[4].len / (Py_ssize_t)sizeof(float))
             && (right[i] >= 0 || ~right[i] < part[4].len / (Py_ssize_t)sizeof(float))
             && (left[i] < 0 || left[i] > i) && (right[i] < 0 || right[i] > i);
    for (Py_ssize_t t = 0; sound && t < trees; t++)
        sound = roots[t] < nodes && (roots[t] >= 0 || ~roots[t] < part[4].len / (Py_ssize_t)sizeof(float));
    if (!sound)
        PyErr_SetString(PyExc_ValueError, "the arrays are no forest over rows of this width");
    else if ((found = PyBytes_FromStringAndSize(NULL, rows * (Py_ssize_t)sizeof(double))) != NULL) {
        double *sums = (double *)PyBytes_AS_STRING(found);
        for (Py_ssize_t row = 0; row < rows; row++) {
            const float *at = values + row * width;
            double sum = 0;
            for (Py_ssize_t t = 0; t < trees; t++) {
                int32_t node = roots[t];
                while (node >= 0)
                    node = at[feature[node]] <= threshold[node] ? left[node] : right[node];
                sum += leaves[~node];
            }
            sums[row] = sum;
        }
    }
    PyBuffer_Release(&x);
    for (int i = 0; i < 6; i++)
        PyBuffer_Release(&part[i]);
    return found;
}

static PyMethodDef methods[] = {
    {"set_tags", set_tags, METH_O, NULL},
    {"set_characters", set_characters, METH_VARARGS, NULL},
    {"read_blocks", read_blocks, METH_O, NULL},
    {"overlaps", overlaps, METH_VARARGS, NULL},
    {"score", score, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_pages", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC
PyInit__pages(void)
{
    return PyModule_Create(&module);
}
