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

/* for each text under `limit` characters the share of its words that stand in `told`, 0 for the others */
static void
shares_told(PyObject *texts, PyObject *told, Py_ssize_t limit, double *share)
{
    uint64_t slots[WORD_SLOTS] = {0};
    int kind = PyUnicode_KIND(told), n_words = 0;
    const void *data = PyUnicode_DATA(told);
    Py_ssize_t end = PyUnicode_GET_LENGTH(told), n = PyList_GET_SIZE(texts), stop;
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
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *text = PyList_GET_ITEM(texts, i);
        int32_t words = 0, known = 0;
        share[i] = 0;
        if ((end = PyUnicode_GET_LENGTH(text)) >= limit || !n_words)
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
}

#include "page_names.h"
#include "page_numbers.h"

/* ---- the forest ------------------------------------------------------------------------------------------- */

typedef struct {
    float threshold; /* a leaf: its value */
    uint16_t feature;
    int16_t left, right; /* a leaf: both are the node itself */
} Node;

typedef struct {
    Py_buffer packed; /* a header of four int32: width, nodes, trees, 0; the nodes; the roots as int32 */
    const Node *nodes;
    const int32_t *roots;
    int32_t trees;
} Forest;

/* pages.pack_forest(width, feature, threshold, left, right, leaves, roots) -> the forest of forest.py over rows of
   `width` as `score` and `chances` take it. Leaves become nodes that lead to themselves, so that many rows can walk
   a tree side by side without asking who has arrived. */
static PyObject *
pack_forest(PyObject *self, PyObject *args)
{
    Py_buffer part[6];
    int width;
    if (!PyArg_ParseTuple(args, "iy*y*y*y*y*y*", &width, &part[0], &part[1], &part[2], &part[3], &part[4], &part[5]))
        return NULL;
    const int32_t *feature = part[0].buf, *child[2] = {part[2].buf, part[3].buf}, *roots = part[5].buf;
    const float *threshold = part[1].buf, *values = part[4].buf;
    Py_ssize_t inner = part[0].len / 4, leaves = part[4].len / 4, trees = part[5].len / 4, nodes = inner + leaves;
    int sound = width > 0 && width < 65536 && nodes < 32768 && part[1].len == inner * 4 && part[2].len == inner * 4
             && part[3].len == inner * 4;
    for (Py_ssize_t i = 0; sound && i < inner; i++) {
        sound = feature[i] >= 0 && feature[i] < width;
        for (int side = 0; sound && side < 2; side++)
            sound = child[side][i] < 0 ? ~child[side][i] < leaves : child[side][i] > i && child[side][i] < inner;
    }
    for (Py_ssize_t t = 0; sound && t < trees; t++)
        sound = roots[t] < 0 ? ~roots[t] < leaves : roots[t] < inner;
    PyObject *found = NULL;
    if (!sound)
        PyErr_SetString(PyExc_ValueError, "the arrays are no forest over rows of this width");
    else if ((found = PyBytes_FromStringAndSize(NULL, 16 + nodes * (Py_ssize_t)sizeof(Node) + trees * 4)) != NULL) {
        char *out = PyBytes_AS_STRING(found);
        const int32_t header[4] = {width, (int32_t)nodes, (int32_t)trees, 0};
        memcpy(out, header, sizeof header);
        Node *node = (Node *)(out + sizeof header);
        memset(node, 0, (size_t)nodes * sizeof *node);
#define PLACE(of) (int16_t)((of) < 0 ? inner + ~(of) : (of))
        for (Py_ssize_t i = 0; i < inner; i++) {
            node[i].threshold = threshold[i];
            node[i].feature = (uint16_t)feature[i];
            node[i].left = PLACE(child[0][i]);
            node[i].right = PLACE(child[1][i]);
        }
        for (Py_ssize_t i = 0; i < leaves; i++) {
            node[inner + i].threshold = values[i];
            node[inner + i].left = node[inner + i].right = (int16_t)(inner + i);
        }
        for (Py_ssize_t t = 0; t < trees; t++) {
            int32_t root = PLACE(roots[t]);
            memcpy(out + sizeof header + (size_t)nodes * sizeof(Node) + (size_t)t * 4, &root, 4);
        }
#undef PLACE
    }
    for (int i = 0; i < 6; i++)
        PyBuffer_Release(&part[i]);
    return found;
}

/* take what pack_forest made for this width */
static int
take_forest(PyObject *packed, int32_t width, Forest *forest)
{
    if (PyObject_GetBuffer(packed, &forest->packed, PyBUF_SIMPLE))
        return -1;
    const int32_t *header = forest->packed.buf;
    if (forest->packed.len < 16 || header[0] != width
        || forest->packed.len != 16 + header[1] * (Py_ssize_t)sizeof(Node) + (Py_ssize_t)header[2] * 4) {
        PyErr_SetString(PyExc_ValueError, "this is no forest over rows of this width");
        return -1;
    }
    forest->nodes = (const Node *)(header + 4);
    forest->roots = (const int32_t *)(forest->nodes + header[1]);
    forest->trees = header[2];
    return 0;
}

static void
release(Forest *forest)
{
    if (forest->packed.obj)
        PyBuffer_Release(&forest->packed);
}

enum { ABREAST = 8 };

/* the chance of each row of x [rows, width]; leaves are added in the order of the trees */
static void
score_rows(const Forest *forest, const float *x, Py_ssize_t rows, Py_ssize_t width, double *chance)
{
    const Node *nodes = forest->nodes;
    for (Py_ssize_t row = 0; row < rows; row += ABREAST) {
        int abreast = rows - row < ABREAST ? (int)(rows - row) : ABREAST;
        const float *at[ABREAST];
        double sum[ABREAST] = {0};
        for (int k = 0; k < ABREAST; k++)
            at[k] = x + (row + (k < abreast ? k : 0)) * width;
        for (int32_t t = 0; t < forest->trees; t++) {
            int32_t node[ABREAST], moved = 1;
            for (int k = 0; k < ABREAST; k++)
                node[k] = forest->roots[t];
            while (moved) {
                moved = 0;
                for (int k = 0; k < ABREAST; k++) {
                    const Node *here = &nodes[node[k]];
                    int32_t left = here->left, right = here->right;
                    int32_t next = at[k][here->feature] <= here->threshold ? left : right;
                    moved |= next ^ node[k];
                    node[k] = next;
                }
            }
            for (int k = 0; k < ABREAST; k++)
                sum[k] += nodes[node[k]].threshold;
        }
        for (int k = 0; k < abreast; k++)
            chance[row + k] = logistic(sum[k]);
    }
}

/* pages.score(x, width, packed forest) -> the chance of each row of x, float32 [rows, width]: doubles in bytes */
static PyObject *
score(PyObject *self, PyObject *args)
{
    Py_buffer x;
    int width;
    PyObject *packed, *found = NULL;
    Forest forest = {.packed = {.obj = NULL}};
    if (!PyArg_ParseTuple(args, "y*iO", &x, &width, &packed))
        return NULL;
    if (!take_forest(packed, width, &forest)) {
        Py_ssize_t rows = width > 0 ? x.len / (Py_ssize_t)sizeof(float) / width : 0;
        found = PyBytes_FromStringAndSize(NULL, rows * (Py_ssize_t)sizeof(double));
        if (found != NULL)
            score_rows(&forest, x.buf, rows, width, (double *)PyBytes_AS_STRING(found));
    }
    release(&forest);
    PyBuffer_Release(&x);
    return found;
}

typedef struct {
    View view;
    Py_buffer part[8];
    int held;
} Page;

static void
release_page(Page *page)
{
    for (int i = 0; i < page->held; i++)
        PyBuffer_Release(&page->part[i]);
}

/* (texts, counts, tags, parents, first, last, named, verdicts, title, description, codes), checked so that no number
   in it points outside */
static int
take_page(PyObject *given, Page *page)
{
    View *v = &page->view;
    PyObject *part[8];
    page->held = 0;
    if (!PyArg_ParseTuple(given, "O!OOOOOOOUUO", &PyList_Type, &v->texts, &part[0], &part[1], &part[2], &part[3],
                          &part[4], &part[5], &part[6], &v->title, &v->description, &part[7]))
        return -1;
    for (; page->held < 8; page->held++)
        if (PyObject_GetBuffer(part[page->held], &page->part[page->held], PyBUF_SIMPLE))
            return -1;
    const int32_t **array[] = {&v->counts, &v->tags, &v->parents, &v->first, &v->last, &v->named, &v->verdicts, &v->codes};
    for (int i = 0; i < 8; i++)
        *array[i] = page->part[i].buf;
    v->n = (int)PyList_GET_SIZE(v->texts);
    v->m = (int)(page->part[1].len / 4);
    Py_ssize_t names = page->part[6].len / 16;
    int sound = v->n > 0 && v->m > 0 && page->part[0].len == (Py_ssize_t)v->n * COLUMNS * 4
             && page->part[7].len == N_CODES * 4;
    for (int i = 2; i < 6; i++)
        sound = sound && page->part[i].len == (Py_ssize_t)v->m * 4;
    for (int i = 0; sound && i < v->n; i++)
        sound = PyUnicode_Check(PyList_GET_ITEM(v->texts, i)) && BLOCK_COUNT(v, i, LEAF) >= 0
             && BLOCK_COUNT(v, i, LEAF) < v->m && BLOCK_COUNT(v, i, UNITS) > 0;
    for (int e = 0; sound && e < v->m; e++)
        sound = v->parents[e] >= 0 && v->parents[e] <= e && v->first[e] >= 0 && v->first[e] <= v->last[e]
             && v->last[e] <= v->n && v->named[e] >= 0 && v->named[e] < names && v->tags[e] >= 0 && v->tags[e] < 256;
    if (!sound)
        PyErr_SetString(PyExc_ValueError, "the arrays are no page");
    return sound ? 0 : -1;
}

/* pages.numbers(page, chances or None) -> FEATURES numbers a block, and CONTEXT more if chances are given: float32 */
static PyObject *
numbers(PyObject *self, PyObject *args)
{
    PyObject *given, *chances, *found = NULL;
    Page page;
    Py_buffer chance = {0};
    if (!PyArg_ParseTuple(args, "OO", &given, &chances))
        return NULL;
    if (!take_page(given, &page) && (chances == Py_None || !PyObject_GetBuffer(chances, &chance, PyBUF_SIMPLE))) {
        int wide = chances != Py_None;
        Py_ssize_t width = FEATURES + (wide ? CONTEXT : 0);
        if (wide && chance.len != (Py_ssize_t)page.view.n * 8)
            PyErr_SetString(PyExc_ValueError, "a chance is missing");
        else
            found = PyBytes_FromStringAndSize(NULL, page.view.n * width * (Py_ssize_t)sizeof(float));
        float *x = found ? (float *)PyBytes_AS_STRING(found) : NULL;
        if (x && (fill_features(&page.view, x, width) || (wide && fill_context(&page.view, chance.buf, x, width)))) {
            Py_CLEAR(found);
            if (!PyErr_Occurred())
                PyErr_NoMemory();
        }
    }
    if (chance.obj)
        PyBuffer_Release(&chance);
    release_page(&page);
    return found;
}

/* pages.chances(page, first packed forest, second packed forest) -> the chance of each block to be main text: doubles in bytes */
static PyObject *
chances(PyObject *self, PyObject *args)
{
    PyObject *given, *packed[2], *found = NULL;
    Forest first = {.packed = {.obj = NULL}}, second = {.packed = {.obj = NULL}};
    Page page;
    if (!PyArg_ParseTuple(args, "OOO", &given, &packed[0], &packed[1]))
        return NULL;
    if (!take_page(given, &page) && !take_forest(packed[0], FEATURES, &first)
        && !take_forest(packed[1], FEATURES + CONTEXT, &second)) {
        Py_ssize_t n = page.view.n, width = FEATURES + CONTEXT;
        float *x = malloc((size_t)(n * width) * sizeof *x);
        found = PyBytes_FromStringAndSize(NULL, n * (Py_ssize_t)sizeof(double));
        double *chance = found ? (double *)PyBytes_AS_STRING(found) : NULL;
        int failed = x == NULL || chance == NULL || fill_features(&page.view, x, width);
        if (!failed)
            score_rows(&first, x, n, width, chance);
        failed = failed || fill_context(&page.view, chance, x, width);
        if (!failed)
            score_rows(&second, x, n, width, chance);
        free(x);
        if (failed) {
            Py_CLEAR(found);
            if (!PyErr_Occurred())
                PyErr_NoMemory();
        }
    }
    release(&first), release(&second), release_page(&page);
    return found;
}

static PyMethodDef methods[] = {
    {"set_tags", set_tags, METH_O, NULL},
    {"set_characters", set_characters, METH_VARARGS, NULL},
    {"read_blocks", read_blocks, METH_O, NULL},
    {"set_hints", set_hints, METH_O, NULL},
    {"name_table", name_table, METH_VARARGS, NULL},
    {"verdicts", verdicts, METH_VARARGS, NULL},
    {"set_numbers", set_numbers, METH_VARARGS, NULL},
    {"set_logistic", set_logistic, METH_VARARGS, NULL},
    {"numbers", numbers, METH_VARARGS, NULL},
    {"pack_forest", pack_forest, METH_VARARGS, NULL},
    {"chances", chances, METH_VARARGS, NULL},
    {"score", score, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_pages", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC
PyInit__pages(void)
{
    return PyModule_Create(&module);
}
