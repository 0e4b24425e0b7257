/* The inner loops of the learned extractor: reading a serialised tree into blocks, and scoring a forest.

   C99, no dependency but Python. `pipeline/extractors/blocks.py` and `forest.py` hold the same in Python: they are
   the oracle of the tests and the fallback, and say what the numbers mean. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "page_tree.h"

#define CH Py_UCS1
#define NAME(x) x##_1
#include "page_read.h"
#undef CH
#undef NAME
#define CH Py_UCS2
#define NAME(x) x##_2
#include "page_read.h"
#undef CH
#undef NAME
#define CH Py_UCS4
#define NAME(x) x##_4
#include "page_read.h"
#undef CH
#undef NAME

static PyObject *
bytes_of(const Ints *ints)
{
    return PyBytes_FromStringAndSize((const char *)ints->at, ints->length * (Py_ssize_t)sizeof(int32_t));
}

/* pages.read_page(html, quirks) -> (texts, names, counts, tags, parents, first, last, named, depth, attributes, title,
   metas, scripts); counts to named are int32 in bytes */
static PyObject *
read_page(PyObject *self, PyObject *args)
{
    PyObject *html, *found = NULL;
    int quirks;
    if (!PyArg_ParseTuple(args, "Up", &html, &quirks))
        return NULL;
    Reader *r = new_reader(quirks, PyUnicode_KIND(html));
    if (r == NULL)
        return PyErr_NoMemory();
    Py_ssize_t length = PyUnicode_GET_LENGTH(html);
    const void *data = PyUnicode_DATA(html);
    if (!r->failed)
        switch (PyUnicode_KIND(html)) {
        case PyUnicode_1BYTE_KIND: read_1(r, data, length); break;
        case PyUnicode_2BYTE_KIND: read_2(r, data, length); break;
        default: read_4(r, data, length);
        }
    while (r->depth)
        pop(r);
    flush(r);
    PyObject *names = r->failed ? NULL : list_names(r);
    if (names != NULL) {
        r->last.at[0] = r->n_texts;
        found = Py_BuildValue("(OONNNNNNiiOOO)", r->texts, names, bytes_of(&r->rows), bytes_of(&r->tags),
                              bytes_of(&r->parents), bytes_of(&r->first), bytes_of(&r->last), bytes_of(&r->named),
                              (int)r->deepest, (int)r->attributes, r->title ? r->title : Py_None, r->metas, r->scripts);
    }
    else if (!PyErr_Occurred())
        PyErr_NoMemory();
    Py_XDECREF(names);
    free_reader(r);
    return found;
}

/* ---- words ------------------------------------------------------------------------------------------------ */

static int
is_word(Py_UCS4 c)
{
    return (KIND(c) & WORD) != 0;
}

/* the hash of the word that starts at `at`, never 0; *stop is set behind it */
static uint64_t
hash_word(int kind, const void *data, Py_ssize_t at, Py_ssize_t end, Py_ssize_t *stop)
{
    uint64_t h = FNV_START;
    for (; at < end; at++) {
        Py_UCS4 c = PyUnicode_READ(kind, data, at);
        if (!is_word(c))
            break;
        h = FNV_STEP(h, c < 0x10000 ? lower_case[c] : Py_UNICODE_TOLOWER(c));
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
    float threshold; /* a leaf: below all numbers */
    uint16_t feature;
    int16_t right;   /* from the node's left child, which is the next node, to its right one; a leaf: back to itself */
} Node;

typedef struct {
    Py_buffer packed; /* a header of four int32: width, nodes, trees, 0; the nodes; their values; the roots as int32 */
    const Node *nodes;
    const float *values;
    const int32_t *roots;
    int32_t trees;
} Forest;

typedef struct {
    Py_ssize_t inner, leaves;
    const int32_t *feature, *left, *right;
    const float *threshold, *values;
} Trees;

enum { DEEPEST_TREE = 256 };

/* write the tree at `root` from node `at` on, each left child behind its parent; behind it, or -1 where it is no tree */
static int32_t
pack_tree(const Trees *t, int32_t root, Node *nodes, float *values, int32_t at, int32_t room)
{
    struct { int32_t of, parent; } todo[DEEPEST_TREE]; /* right children to come, and whose they are */
    int n_todo = 0;
    int32_t of = root, parent = -1;
    for (;;) {
        if (at >= room)
            return -1;
        if (parent >= 0)
            nodes[parent].right = (int16_t)(at - parent - 1);
        if (of >= 0) {
            if (of >= t->inner || n_todo == DEEPEST_TREE)
                return -1;
            nodes[at] = (Node){t->threshold[of], (uint16_t)t->feature[of], 0};
            values[at] = 0;
            todo[n_todo].of = t->right[of];
            todo[n_todo++].parent = at++;
            of = t->left[of];
            parent = -1;
            continue;
        }
        if (~of >= t->leaves)
            return -1;
        nodes[at] = (Node){-(float)INFINITY, 0, -1};
        values[at++] = t->values[~of];
        if (!n_todo)
            return at;
        of = todo[--n_todo].of;
        parent = todo[n_todo].parent;
    }
}

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
    Trees t = {part[0].len / 4, part[4].len / 4, part[0].buf, part[2].buf, part[3].buf, part[1].buf, part[4].buf};
    const int32_t *roots = part[5].buf;
    Py_ssize_t nodes = t.inner + t.leaves, trees = part[5].len / 4;
    int sound = width > 0 && width < 65536 && nodes < 32768 && part[1].len == t.inner * 4 && part[2].len == t.inner * 4
             && part[3].len == t.inner * 4;
    for (Py_ssize_t i = 0; sound && i < t.inner; i++)
        sound = t.feature[i] >= 0 && t.feature[i] < width;
    PyObject *found = NULL;
    if (sound && (found = PyBytes_FromStringAndSize(NULL, 16 + nodes * (Py_ssize_t)(sizeof(Node) + 4) + trees * 4)) != NULL) {
        char *out = PyBytes_AS_STRING(found);
        const int32_t header[4] = {width, (int32_t)nodes, (int32_t)trees, 0};
        memcpy(out, header, sizeof header);
        Node *node = (Node *)(out + sizeof header);
        float *values = (float *)(node + nodes);
        int32_t at = 0, *root = (int32_t *)(values + nodes);
        memset(node, 0, (size_t)nodes * sizeof *node);
        for (Py_ssize_t k = 0; k < trees && at >= 0; k++) {
            root[k] = at;
            at = pack_tree(&t, roots[k], node, values, at, (int32_t)nodes);
        }
        sound = at == nodes;
    }
    if (!sound) {
        Py_CLEAR(found);
        PyErr_SetString(PyExc_ValueError, "the arrays are no forest over rows of this width");
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
        || forest->packed.len != 16 + header[1] * (Py_ssize_t)(sizeof(Node) + 4) + (Py_ssize_t)header[2] * 4) {
        PyErr_SetString(PyExc_ValueError, "this is no forest over rows of this width");
        return -1;
    }
    forest->nodes = (const Node *)(header + 4);
    forest->values = (const float *)(forest->nodes + header[1]);
    forest->roots = (const int32_t *)(forest->values + header[1]);
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
                    Node here = nodes[node[k]];
                    /* a mask and no branch: which way a row goes cannot be foretold */
                    int32_t next = node[k] + 1 + (here.right & -(int32_t)(at[k][here.feature] > here.threshold));
                    moved |= next ^ node[k];
                    node[k] = next;
                }
            }
            for (int k = 0; k < ABREAST; k++)
                sum[k] += forest->values[node[k]];
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

#include "page_choose.h"
#include "page_write.h"

static PyMethodDef methods[] = {
    {"set_tags", set_tags, METH_O, NULL},
    {"set_characters", set_characters, METH_VARARGS, NULL},
    {"set_entities", set_entities, METH_O, NULL},
    {"set_told", set_told, METH_O, NULL},
    {"read_page", read_page, METH_VARARGS, NULL},
    {"set_hints", set_hints, METH_O, NULL},
    {"name_table", name_table, METH_VARARGS, NULL},
    {"verdicts", verdicts, METH_VARARGS, NULL},
    {"set_numbers", set_numbers, METH_VARARGS, NULL},
    {"set_logistic", set_logistic, METH_VARARGS, NULL},
    {"numbers", numbers, METH_VARARGS, NULL},
    {"pack_forest", pack_forest, METH_VARARGS, NULL},
    {"chances", chances, METH_VARARGS, NULL},
    {"score", score, METH_VARARGS, NULL},
    {"set_choice", set_choice, METH_VARARGS, NULL},
    {"choose", choose, METH_VARARGS, NULL},
    {"set_telling", set_telling, METH_VARARGS, NULL},
    {"write_text", write_text, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_pages", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC
PyInit__pages(void)
{
    return PyModule_Create(&module);
}
