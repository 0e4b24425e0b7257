/* Classes of characters; see character_marks of ../twin.py. */
#include "filters.h"

#define ODD 64
#define BESIDE 128

static inline int marks_of(Chars text, const unsigned char *table, Py_ssize_t known)
{
    int marks = 0, before = 0; /* what was said of the character before, where that is beyond ASCII */
    for (Py_ssize_t at = 0; at < text.length; at++) {
        Py_UCS4 c = char_at(text, at);
        int here = (Py_ssize_t)c < known ? table[c] : 0;
        marks |= here;
        if (c < 128) {
            before = 0;
        } else {
            if (before && (before | here) & ODD)
                marks |= BESIDE;
            before = here | 256;
        }
    }
    return marks;
}

PyObject *character_marks(PyObject *self, PyObject *args)
{
    PyObject *text;
    Py_buffer table;
    (void)self;
    if (!PyArg_ParseTuple(args, "Uy*", &text, &table))
        return NULL;
    Chars chars = chars_of(text);
    int marks;
    switch (chars.kind) { /* a loop for each width of character */
    case 1: chars.kind = 1; marks = marks_of(chars, table.buf, table.len); break;
    case 2: chars.kind = 2; marks = marks_of(chars, table.buf, table.len); break;
    default: chars.kind = 4; marks = marks_of(chars, table.buf, table.len);
    }
    PyBuffer_Release(&table);
    return PyLong_FromLong(marks);
}
