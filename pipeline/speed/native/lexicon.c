/* Lexicon and Reading: the words of a text through a memo of chunks, as numbers of different tokens. */
#include "filters.h"

#define REACH 16 /* chunks on either side that can bear on one, as in ../results.py */

typedef struct {
    uint32_t *ids;
    Py_ssize_t count, room;
} Ids;

/* The table to read with, one more reference; a full one is left to those who still hold it. */
static Table *table_of(Lexicon *lexicon)
{
    Table *table = lexicon->table;
    if (table == NULL || table->chunk_count >= lexicon->max_chunks ||
        table->chars / 32 >= lexicon->max_chunks || table->token_count > UINT32_MAX / 4) {
        Table *fresh = table_new();
        if (fresh == NULL)
            return NULL;
        table_release(table);
        table = lexicon->table = fresh;
    }
    table->references++;
    return table;
}

/* Adds the token, a str, to `ids`. */
static int push_token(Lexicon *lexicon, Table *table, PyObject *token, Ids *ids)
{
    if (!PyUnicode_CheckExact(token) || PyUnicode_READY(token) < 0) {
        PyErr_SetString(PyExc_TypeError, "a token is a str");
        return -1;
    }
    Chars chars = chars_of(token);
    Py_ssize_t id = add_token(table, lexicon->ends, chars, (Span){0, chars.length}, token);
    if (id < 0 || grow((void **)&ids->ids, &ids->room, ids->count + 1, sizeof(uint32_t)) < 0)
        return -1;
    ids->ids[ids->count++] = (uint32_t)id;
    return 0;
}

/* Ask Python for the chunk's tokens. */
static int ask_chunk(Lexicon *lexicon, Table *table, Chars text, Span span, Ids *ids, int *depends)
{
    const char *start = (const char *)text.data + span.start * text.kind;
    PyObject *chunk = PyUnicode_FromKindAndData(text.kind, start, span.stop - span.start);
    PyObject *answer = chunk ? PyObject_CallOneArg(lexicon->chunk, chunk) : NULL;
    Py_XDECREF(chunk);
    if (answer == NULL)
        return -1;
    PyObject *tokens = PyTuple_Check(answer) && PyTuple_GET_SIZE(answer) == 2 ? PyTuple_GET_ITEM(answer, 0) : NULL;
    int failed = tokens == NULL || !PyTuple_Check(tokens);
    if (failed)
        PyErr_SetString(PyExc_TypeError, "a chunk gives (tokens, whether its neighbours may change them)");
    else
        failed = (*depends = PyObject_IsTrue(PyTuple_GET_ITEM(answer, 1))) < 0;
    for (Py_ssize_t i = 0; !failed && i < PyTuple_GET_SIZE(tokens); i++)
        failed = push_token(lexicon, table, PyTuple_GET_ITEM(tokens, i), ids) < 0;
    Py_DECREF(answer);
    return failed ? -1 : 0;
}

/* Find out the chunk's tokens and keep them; its index, -1 on error. */
static Py_ssize_t learn_chunk(Lexicon *lexicon, Table *table, Chars text, Span span, uint64_t hash)
{
    Span parts[MOST_PARTS];
    uint32_t few[MOST_PARTS];
    int count = lexicon->guard.hashes ? plain_parts(&lexicon->guard, text, span, parts) : 0, depends = 0;
    for (int i = 0; i < count; i++) {
        Py_ssize_t id = add_token(table, lexicon->ends, text, parts[i], NULL);
        if (id < 0)
            return -1;
        few[i] = (uint32_t)id;
    }
    Ids ids = {NULL, 0, 0};
    Py_ssize_t found = -1;
    if (count == 0 && ask_chunk(lexicon, table, text, span, &ids, &depends) < 0)
        goto done;
    /* All Python code has run; it may have read this very chunk. */
    found = find_chunk(table, text, span, hash);
    if (found < 0)
        found = add_chunk(table, text, span, hash, count ? few : ids.ids,
                          depends ? DEPENDS : (uint32_t)(count ? count : ids.count));
done:
    PyMem_Free(ids.ids);
    return found;
}

/* Where the chunk that starts at `at` stops, and its hash. */
static inline Py_ssize_t chunk_end(Chars text, Py_ssize_t at, uint64_t *hash)
{
    Py_UCS4 c;
    for (*hash = 0; at < text.length && !is_space(c = char_at(text, at)); at++)
        *hash = *hash * HASH_BASE + c + 1;
    return at;
}

/* Tokens of text[start:stop] as it stands in the text, behind those in `ids`; stripped, empty ones left out. */
static int ask_within(Lexicon *lexicon, Table *table, Chars text, Span part, Ids *ids, int strip)
{
    const char *data = (const char *)text.data;
    PyObject *whole = PyUnicode_FromKindAndData(text.kind, data, text.length);
    PyObject *tokens = whole ? PyObject_CallFunction(lexicon->within, "Onn", whole, part.start, part.stop) : NULL;
    PyObject *fast = tokens ? PySequence_Fast(tokens, "tokens are a sequence") : NULL;
    Py_XDECREF(whole);
    Py_XDECREF(tokens);
    if (fast == NULL)
        return -1;
    int failed = 0;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(fast) && !failed; i++) {
        PyObject *token = PySequence_Fast_GET_ITEM(fast, i);
        PyObject *word = strip ? PyObject_CallMethod(token, "strip", NULL) : Py_NewRef(token);
        if (word == NULL) {
            failed = 1;
            break;
        }
        if (!PyUnicode_Check(word) || PyUnicode_GET_LENGTH(word) > 0)
            failed = push_token(lexicon, table, word, ids) < 0;
        Py_DECREF(word);
    }
    Py_DECREF(fast);
    return failed ? -1 : 0;
}

/* Tokens of a chunk that depends on its neighbours. */
static int ask_neighbours(Lexicon *lexicon, Table *table, Chars text, Span chunk, Ids *ids)
{
    Span window = chunk;
    for (int i = 0; i < REACH; i++) {
        while (window.start > 0 && is_space(char_at(text, window.start - 1)))
            window.start--;
        while (window.start > 0 && !is_space(char_at(text, window.start - 1)))
            window.start--;
        while (window.stop < text.length && is_space(char_at(text, window.stop)))
            window.stop++;
        while (window.stop < text.length && !is_space(char_at(text, window.stop)))
            window.stop++;
    }
    Chars near = {text.kind, (const char *)text.data + window.start * text.kind, window.stop - window.start};
    Span part = {chunk.start - window.start, chunk.stop - window.start};
    return ask_within(lexicon, table, near, part, ids, 0);
}

/* The tokens of a chunk, behind those in `ids`. */
static inline int read_chunk(Lexicon *lexicon, Table *table, Chars text, Span span, uint64_t hash, Ids *ids)
{
    Py_ssize_t index = find_chunk(table, text, span, hash);
    if (index < 0 && (index = learn_chunk(lexicon, table, text, span, hash)) < 0)
        return -1;
    const Chunk *chunk = &table->chunks[index];
    if (chunk->count == DEPENDS)
        return ask_neighbours(lexicon, table, text, span, ids);
    if (grow((void **)&ids->ids, &ids->room, ids->count + chunk->count, sizeof(uint32_t)) < 0)
        return -1;
    const uint32_t *found = chunk_ids(table, chunk);
    for (uint32_t i = 0; i < chunk->count; i++)
        ids->ids[ids->count++] = found[i];
    return 0;
}

#if defined(__GNUC__)
#define PREFETCH(address) __builtin_prefetch(address)
#else
#define PREFETCH(address) (void)(address)
#endif
#define AHEAD 16 /* chunks that are fetched while others are read: the table does not fit the caches */

static inline int read_kind(Lexicon *lexicon, Table *table, Chars text, Ids *ids)
{
    Span spans[AHEAD];
    uint64_t hashes[AHEAD];
    for (Py_ssize_t at = 0; at < text.length;) {
        uint64_t mask = (uint64_t)(table->chunk_slots.count - 1);
        int count = 0;
        while (count < AHEAD && at < text.length) {
            if (is_space(char_at(text, at))) {
                at++;
                continue;
            }
            Py_ssize_t start = at;
            at = chunk_end(text, start, &hashes[count]);
            spans[count] = (Span){start, at};
            PREFETCH(&table->chunk_slots.slots[mix(hashes[count++]) & mask]);
        }
        for (int i = 0; i < count; i++) {
            uint32_t slot = table->chunk_slots.slots[mix(hashes[i]) & mask];
            PREFETCH(&table->chunks[slot ? slot - 1 : 0]);
        }
        for (int i = 0; i < count; i++) /* learning one may move the table, which costs the others their head start */
            if (read_chunk(lexicon, table, text, spans[i], hashes[i], ids) < 0)
                return -1;
    }
    return 0;
}

static int read_words(Lexicon *lexicon, Table *table, Chars text, Ids *ids)
{
    if (lexicon->chunk == Py_None)
        return ask_within(lexicon, table, text, (Span){0, text.length}, ids, 1);
    switch (text.kind) { /* constants, so that each kind gets its own inner loop */
    case 1:
        text.kind = 1;
        return read_kind(lexicon, table, text, ids);
    case 2:
        text.kind = 2;
        return read_kind(lexicon, table, text, ids);
    default:
        text.kind = 4;
        return read_kind(lexicon, table, text, ids);
    }
}

static PyObject *lexicon_read(PyObject *self, PyObject *text)
{
    if (!PyUnicode_Check(text) || PyUnicode_READY(text) < 0) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "read() takes a str");
        return NULL;
    }
    Lexicon *lexicon = (Lexicon *)self;
    Table *table = table_of(lexicon);
    if (table == NULL)
        return NULL;
    Ids ids = {NULL, 0, 0};
    int failed = read_words(lexicon, table, chars_of(text), &ids);
    Reading *reading = failed ? NULL : PyObject_New(Reading, &ReadingType);
    if (reading == NULL) {
        PyMem_Free(ids.ids);
        table_release(table);
        return NULL;
    }
    reading->table = table;
    reading->ids = ids.ids;
    reading->count = ids.count;
    reading->words = NULL;
    return (PyObject *)reading;
}

#define WHITESPACE UINT32_MAX /* a token of whitespace, among the ids of a line */

/* By the rule of spaCy's sentencizer, for which whitespace tokens count. */
static int line_tokens(Lexicon *lexicon, Table *table, Chars line, Ids *ids)
{
    if (lexicon->chunk == Py_None)
        return ask_within(lexicon, table, line, (Span){0, line.length}, ids, 0);
    for (Py_ssize_t at = 0; at < line.length;) {
        if (!is_space(char_at(line, at))) {
            uint64_t hash;
            Span chunk = {at, chunk_end(line, at, &hash)};
            if (read_chunk(lexicon, table, line, chunk, hash, ids) < 0)
                return -1;
            at = chunk.stop;
            continue;
        }
        /* One single space between tokens is no token; of a longer run the first space is none. */
        Py_ssize_t stop = at;
        while (stop < line.length && is_space(char_at(line, stop)))
            stop++;
        if (!(at > 0 && char_at(line, at) == ' ' && stop == at + 1)) {
            if (grow((void **)&ids->ids, &ids->room, ids->count + 1, sizeof(uint32_t)) < 0)
                return -1;
            ids->ids[ids->count++] = WHITESPACE;
        }
        at = stop;
    }
    return 0;
}

Py_ssize_t lexicon_sentences(Lexicon *lexicon, Chars line)
{
    Table *table = table_of(lexicon);
    if (table == NULL)
        return -1;
    Ids ids = {NULL, 0, 0};
    Py_ssize_t count = line_tokens(lexicon, table, line, &ids) < 0 ? -1 : 1;
    int ended = 0;
    for (Py_ssize_t i = 0; count > 0 && i < ids.count; i++) {
        int flags = ids.ids[i] == WHITESPACE ? 0 : table->tokens[ids.ids[i]].flags;
        if (flags & SENTENCE_END)
            ended = 1;
        else if (ended && !(flags & PUNCTUATION)) {
            ended = 0;
            count++;
        }
    }
    PyMem_Free(ids.ids);
    table_release(table);
    return count;
}

PyObject *lexicon_sentences_method(PyObject *self, PyObject *line)
{
    if (!PyUnicode_Check(line) || PyUnicode_READY(line) < 0) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "sentences() takes a str");
        return NULL;
    }
    Py_ssize_t count = lexicon_sentences((Lexicon *)self, chars_of(line));
    return count < 0 ? NULL : PyLong_FromSsize_t(count);
}

static PyObject *lexicon_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"chunk", "within", "sentence_ends", "max_chunks", "guarded", NULL};
    PyObject *chunk, *within, *ends, *guarded = Py_None;
    Py_ssize_t max_chunks = 200000;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOU|nO", names, &chunk, &within, &ends, &max_chunks, &guarded))
        return NULL;
    if (max_chunks < 1) {
        PyErr_SetString(PyExc_ValueError, "max_chunks is at least 1");
        return NULL;
    }
    Lexicon *self = (Lexicon *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->chunk = Py_NewRef(chunk);
    self->within = Py_NewRef(within);
    self->max_chunks = max_chunks;
    self->table = NULL;
    self->ends = PyFrozenSet_New(ends);
    if (self->ends == NULL || (guarded != Py_None && guard_fill(&self->guard, guarded) < 0)) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static void lexicon_dealloc(PyObject *self)
{
    Lexicon *lexicon = (Lexicon *)self;
    Py_XDECREF(lexicon->chunk);
    Py_XDECREF(lexicon->within);
    Py_XDECREF(lexicon->ends);
    PyMem_Free(lexicon->guard.hashes);
    table_release(lexicon->table);
    Py_TYPE(self)->tp_free(self);
}

static PyObject *reading_words(PyObject *self, void *unused)
{
    Reading *reading = (Reading *)self;
    if (reading->words == NULL) {
        PyObject *words = PyList_New(reading->count);
        if (words == NULL)
            return NULL;
        for (Py_ssize_t i = 0; i < reading->count; i++)
            PyList_SET_ITEM(words, i, Py_NewRef(reading->table->tokens[reading->ids[i]].text));
        reading->words = words;
    }
    return Py_NewRef(reading->words);
}

static PyObject *reading_tally(PyObject *self, PyObject *stop_words)
{
    Reading *reading = (Reading *)self;
    Table *table = reading->table;
    PyObject *each = PyObject_GetIter(stop_words), *word;
    if (each == NULL)
        return NULL;
    if (table->serial > UINT32_MAX - 4) {
        for (Py_ssize_t i = 0; i < table->token_count; i++)
            table->tokens[i].mark = 0;
        table->serial = 0;
    }
    uint32_t waits = ++table->serial, came = ++table->serial;
    while ((word = PyIter_Next(each)) != NULL) {
        if (PyUnicode_Check(word) && PyUnicode_READY(word) == 0) {
            Chars chars = chars_of(word);
            Span all = {0, chars.length};
            Py_ssize_t id = find_token(table, chars, all, hash_span(chars, all));
            if (id >= 0)
                table->tokens[id].mark = waits;
        }
        Py_DECREF(word);
    }
    Py_DECREF(each);
    if (PyErr_Occurred())
        return NULL;
    Py_ssize_t plain = 0, plain_chars = 0, alphabetic = 0, different = 0, hits = 0;
    for (Py_ssize_t i = 0; i < reading->count; i++) {
        Token *token = &table->tokens[reading->ids[i]];
        if (token->flags & PLAIN) {
            plain++;
            plain_chars += token->length;
        }
        alphabetic += (token->flags & ALPHABETIC) != 0;
        different += token->mark == waits;
        hits += token->mark == waits || token->mark == came;
        if (token->mark == waits)
            token->mark = came;
    }
    return make_result("WordTally", Py_BuildValue("nnnnnn", reading->count, plain, plain_chars, alphabetic,
                                                  different, hits));
}

static void reading_dealloc(PyObject *self)
{
    Reading *reading = (Reading *)self;
    table_release(reading->table);
    PyMem_Free(reading->ids);
    Py_XDECREF(reading->words);
    PyObject_Free(self);
}

static PyMethodDef lexicon_methods[] = {
    {"read", lexicon_read, METH_O, "The words of a text, ready for counting."},
    {"sentences", lexicon_sentences_method, METH_O, "Sentences by the rule of spaCy's sentencizer."},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef reading_methods[] = {
    {"repeats", reading_repeats, METH_NOARGS, "Characters in repeated n-grams."},
    {"tally", reading_tally, METH_O, "Counts of words by shape, and of stop words."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef reading_values[] = {
    {"words", reading_words, NULL, "The words, as a list of str.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject LexiconType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "pipeline.speed._filters.Lexicon",
    .tp_basicsize = sizeof(Lexicon),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "Words of texts through a memo of chunks; see pipeline.speed.twin.Lexicon.",
    .tp_new = lexicon_new,
    .tp_dealloc = lexicon_dealloc,
    .tp_methods = lexicon_methods,
};

PyTypeObject ReadingType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "pipeline.speed._filters.Reading",
    .tp_basicsize = sizeof(Reading),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_doc = "One text's words; see pipeline.speed.twin.Reading.",
    .tp_dealloc = reading_dealloc,
    .tp_methods = reading_methods,
    .tp_getset = reading_values,
};
