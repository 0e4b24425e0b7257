/* pipeline.speed._filters: the module. */
#include "filters.h"

PyObject *token_flags;
static PyObject *results;

PyObject *make_result(const char *name, PyObject *fields)
{
    if (fields == NULL)
        return NULL;
    PyObject *type = PyObject_GetAttrString(results, name);
    PyObject *result = type ? PyObject_Call(type, fields, NULL) : NULL;
    Py_XDECREF(type);
    Py_DECREF(fields);
    return result;
}

static PyMethodDef functions[] = {
    {"line_repeats", line_repeats, METH_VARARGS, "See pipeline.speed.twin.line_repeats."},
    {"line_tally", line_tally, METH_O, "See pipeline.speed.twin.line_tally."},
    {"prose_lines", prose_lines, METH_VARARGS, "See pipeline.speed.twin.prose_lines."},
    {"character_marks", character_marks, METH_VARARGS, "See pipeline.speed.twin.character_marks."},
    {"c4_lines", c4_lines, METH_VARARGS, "See pipeline.speed.twin.c4_lines."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "pipeline.speed._filters",
    .m_doc = "The filter kernels in C; pipeline/speed/twin.py says what they compute.",
    .m_size = -1,
    .m_methods = functions,
};

PyMODINIT_FUNC PyInit__filters(void)
{
    if (PyType_Ready(&LexiconType) < 0 || PyType_Ready(&ReadingType) < 0)
        return NULL;
    PyObject *twin = PyImport_ImportModule("pipeline.speed.twin");
    token_flags = twin ? PyObject_GetAttrString(twin, "token_flags") : NULL;
    Py_XDECREF(twin);
    results = token_flags ? PyImport_ImportModule("pipeline.speed.results") : NULL;
    PyObject *module = results ? PyModule_Create(&definition) : NULL;
    if (module == NULL || PyModule_AddObjectRef(module, "Lexicon", (PyObject *)&LexiconType) < 0 ||
        PyModule_AddObjectRef(module, "Reading", (PyObject *)&ReadingType) < 0) {
        Py_XDECREF(module);
        return NULL;
    }
    return module;
}
