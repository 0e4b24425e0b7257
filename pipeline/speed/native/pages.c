/* The inner loops of the learned extractor: reading a serialised tree into blocks, and scoring a forest.

   C99 with the vectors of GCC and clang, no dependency but Python. `pipeline/extractors/blocks.py` and `forest.py`
   hold the same in Python: they are the oracle of the tests and the fallback, and say what the numbers mean. */

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
#include "page_forest.h"

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
        float *tile = malloc((size_t)width * TILE * sizeof *tile);
        if (found != NULL && tile != NULL)
            score_rows(&forest, x.buf, rows, width, width, tile, (double *)PyBytes_AS_STRING(found));
        else if (found != NULL) {
            Py_CLEAR(found);
            PyErr_NoMemory();
        }
        free(tile);
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

/* pages.chances(page, first packed forest, second packed forest, column, share) -> the chance of each block to be main
   text, so much of it where the number in that column is set: doubles in bytes */
static PyObject *
chances(PyObject *self, PyObject *args)
{
    PyObject *given, *packed[2], *found = NULL;
    Forest first = {.packed = {.obj = NULL}}, second = {.packed = {.obj = NULL}};
    Page page;
    int column;
    double share;
    if (!PyArg_ParseTuple(args, "OOOid", &given, &packed[0], &packed[1], &column, &share))
        return NULL;
    if (column < 0 || column >= FEATURES) {
        PyErr_SetString(PyExc_ValueError, "there is no such column");
        return NULL;
    }
    if (!take_page(given, &page) && !take_forest(packed[0], FEATURES, &first)
        && !take_forest(packed[1], FEATURES + CONTEXT, &second)) {
        Py_ssize_t n = page.view.n, width = FEATURES + CONTEXT;
        float *x = malloc((size_t)((n + TILE) * width) * sizeof *x), *tile = x ? x + n * width : NULL;
        found = PyBytes_FromStringAndSize(NULL, n * (Py_ssize_t)sizeof(double));
        double *chance = found ? (double *)PyBytes_AS_STRING(found) : NULL;
        int failed = x == NULL || chance == NULL || fill_features(&page.view, x, width);
        if (!failed)
            score_rows(&first, x, n, FEATURES, width, tile, chance);
        failed = failed || fill_context(&page.view, chance, x, width);
        if (!failed)
            score_rows(&second, x, n, width, width, tile, chance);
        for (Py_ssize_t i = 0; !failed && i < n; i++)
            if (x[i * width + column] > 0)
                chance[i] *= share;
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
