/* Chosen blocks as plain text, as pipeline/extractors/render.py says it; included by pages.c. */

static int8_t telling[256]; /* by tag code: what a block within is, 0 where the tag does not tell */
static int told_li, told_td, told_reach;

/* pages.set_telling(kinds, li, td, reach): constants of render.py; kinds are int8 */
static PyObject *
set_telling(PyObject *self, PyObject *args)
{
    Py_buffer kinds;
    if (!PyArg_ParseTuple(args, "y*iii", &kinds, &told_li, &told_td, &told_reach))
        return NULL;
    memset(telling, 0, sizeof telling);
    memcpy(telling, kinds.buf, kinds.len < 256 ? (size_t)kinds.len : 256);
    PyBuffer_Release(&kinds);
    Py_RETURN_NONE;
}

/* pages.write_text(texts, kept, counts, tags, parents) -> the blocks at the places `kept` (int64) as lines */
static PyObject *
write_text(PyObject *self, PyObject *args)
{
    PyObject *texts, *pieces, *found = NULL;
    Py_buffer part[4];
    if (!PyArg_ParseTuple(args, "O!y*y*y*y*", &PyList_Type, &texts, &part[0], &part[1], &part[2], &part[3]))
        return NULL;
    View v = {.counts = part[1].buf, .tags = part[2].buf, .parents = part[3].buf};
    v.n = (int)PyList_GET_SIZE(texts);
    v.m = (int)(part[2].len / 4);
    const int64_t *kept = part[0].buf;
    Py_ssize_t n_kept = part[0].len / 8;
    int sound = part[1].len == (Py_ssize_t)v.n * COLUMNS * 4 && part[3].len == part[2].len;
    for (Py_ssize_t k = 0; sound && k < n_kept; k++)
        sound = kept[k] >= 0 && kept[k] < v.n && BLOCK_COUNT(&v, kept[k], LEAF) >= 0 && BLOCK_COUNT(&v, kept[k], LEAF) < v.m;
    for (int e = 0; sound && e < v.m; e++)
        sound = v.parents[e] >= 0 && v.parents[e] <= e && v.tags[e] >= 0 && v.tags[e] < 256;
    if (!sound)
        PyErr_SetString(PyExc_ValueError, "the arrays are no page");
    PyObject *newline = PyUnicode_FromString("\n"), *bar = PyUnicode_FromString(" | "), *mark = PyUnicode_FromString("- ");
    PyObject *empty = PyUnicode_FromString("");
    pieces = PyList_New(0);
    int failed = !sound || newline == NULL || bar == NULL || mark == NULL || empty == NULL || pieces == NULL;
    int32_t last_item = -1, last_cell = -1, last_row = -1; /* the row of the line before, -1 where it is no row */
    for (Py_ssize_t k = 0; !failed && k < n_kept; k++) {
        int32_t e = BLOCK_COUNT(&v, kept[k], LEAF);
        int step = 1;
        for (; step < told_reach && !telling[v.tags[e]]; step++)
            e = v.parents[e];
        int kind = telling[v.tags[e]], cell = kind == told_td, joins = cell && last_row == v.parents[e] && last_cell != e;
        if (joins)
            failed = PyList_Append(pieces, bar);
        else if (k)
            failed = PyList_Append(pieces, newline);
        if (!failed && kind == told_li && last_item != e)
            failed = PyList_Append(pieces, mark);
        failed = failed || PyList_Append(pieces, PyList_GET_ITEM(texts, kept[k]));
        if (!joins)
            last_item = kind == told_li ? e : -1;
        last_cell = cell ? e : last_cell;
        last_row = cell ? v.parents[e] : -1;
    }
    if (!failed)
        found = PyUnicode_Join(empty, pieces);
    Py_XDECREF(pieces), Py_XDECREF(newline), Py_XDECREF(bar), Py_XDECREF(mark), Py_XDECREF(empty);
    for (int i = 0; i < 4; i++)
        PyBuffer_Release(&part[i]);
    return found;
}
