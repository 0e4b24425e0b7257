/* Lexicon and Reading: the words of a text through a memo of chunks, as numbers of different tokens. */
#include "filters.h"

typedef struct Chunk {
    uint64_t hash;
    Py_ssize_t key, first; /* its characters in keys, its tokens in ids */
    uint32_t length, count;
} Chunk;

#define DEPENDS UINT32_MAX /* a chunk's count, where its tokens depend on its neighbours */
#define REACH 16           /* chunks on either side that can bear on it, as in ../results.py */

typedef struct {
    uint32_t *ids;
    Py_ssize_t count, room;
} Ids;

int grow(void **items, Py_ssize_t *room, Py_ssize_t needed, size_t size)
{
    if (needed <= *room)
        return 0;
    Py_ssize_t more = *room < 32 ? 64 : *room * 2;
    if (more < needed)
        more = needed;
    if ((size_t)more > PY_SSIZE_T_MAX / size) {
        PyErr_NoMemory();
        return -1;
    }
    void *grown = PyMem_Realloc(*items, (size_t)more * size);
    if (grown == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    *items = grown;
    *room = more;
    return 0;
}

static void table_release(Table *table)
{
    if (table == NULL || --table->references > 0)
        return;
    for (Py_ssize_t i = 0; i < table->token_count; i++)
        Py_DECREF(table->tokens[i].text);
    PyMem_Free(table->tokens);
    PyMem_Free(table->chunks);
    PyMem_Free(table->slots);
    PyMem_Free(table->keys);
    PyMem_Free(table->ids);
    Py_XDECREF(table->token_index);
    PyMem_Free(table);
}

static Table *table_new(void)
{
    Table *table = PyMem_Calloc(1, sizeof(Table));
    if (table == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    table->references = 1;
    table->slot_count = 1024;
    table->slots = PyMem_Calloc((size_t)table->slot_count, sizeof(uint32_t));
    table->token_index = PyDict_New();
    if (table->slots == NULL || table->token_index == NULL) {
        if (table->slots == NULL)
            PyErr_NoMemory();
        table_release(table);
        return NULL;
    }
    return table;
}

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

static int token_shape(PyObject *token, PyObject *ends, int *flags)
{
    /* Plain words and numbers are told here, everything else by the twin. */
    Chars chars = chars_of(token);
    int letters = 0, others = chars.length == 0;
    for (Py_ssize_t i = 0; i < chars.length && !others; i++) {
        Py_UCS4 c = char_at(chars, i);
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
            letters = 1;
        else if (!(c >= '0' && c <= '9'))
            others = 1;
    }
    if (!others) {
        *flags = PLAIN | (letters ? ALPHABETIC : 0);
        return 0;
    }
    PyObject *number = PyObject_CallFunctionObjArgs(token_flags, token, ends, NULL);
    if (number == NULL)
        return -1;
    long value = PyLong_AsLong(number);
    Py_DECREF(number);
    if (value == -1 && PyErr_Occurred())
        return -1;
    *flags = (int)value;
    return 0;
}

/* The token's number, -1 on error. */
static Py_ssize_t intern_token(Table *table, PyObject *ends, PyObject *token)
{
    if (!PyUnicode_CheckExact(token)) {
        PyErr_SetString(PyExc_TypeError, "a token is a str");
        return -1;
    }
    PyObject *known = PyDict_GetItemWithError(table->token_index, token);
    if (known != NULL)
        return PyLong_AsSsize_t(known);
    int flags;
    if (PyErr_Occurred() || token_shape(token, ends, &flags) < 0)
        return -1;
    /* The twin may have run other code on this table: look again before adding. */
    known = PyDict_GetItemWithError(table->token_index, token);
    if (known != NULL)
        return PyLong_AsSsize_t(known);
    if (PyErr_Occurred() ||
        grow((void **)&table->tokens, &table->token_room, table->token_count + 1, sizeof(Token)) < 0)
        return -1;
    PyObject *number = PyLong_FromSsize_t(table->token_count);
    if (number == NULL)
        return -1;
    int failed = PyDict_SetItem(table->token_index, token, number);
    Py_DECREF(number);
    if (failed < 0)
        return -1;
    Token *made = &table->tokens[table->token_count];
    Chars chars = chars_of(token);
    made->text = Py_NewRef(token);
    made->hash = 0;
    made->power = 1;
    made->length = chars.length;
    made->flags = flags;
    made->mark = 0;
    for (Py_ssize_t i = 0; i < chars.length; i++) {
        made->hash = made->hash * HASH_BASE + char_at(chars, i) + 1;
        made->power *= HASH_BASE;
    }
    table->chars += chars.length;
    return table->token_count++;
}

static int grow_slots(Table *table)
{
    Py_ssize_t count = table->slot_count * 2;
    uint32_t *slots = PyMem_Calloc((size_t)count, sizeof(uint32_t));
    if (slots == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < table->chunk_count; i++) {
        uint64_t at = mix(table->chunks[i].hash) & (uint64_t)(count - 1);
        while (slots[at])
            at = (at + 1) & (uint64_t)(count - 1);
        slots[at] = (uint32_t)i + 1;
    }
    PyMem_Free(table->slots);
    table->slots = slots;
    table->slot_count = count;
    return 0;
}

static inline Py_ssize_t find_chunk(const Table *table, Chars text, Span span, uint64_t hash)
{
    uint64_t mask = (uint64_t)(table->slot_count - 1);
    Py_ssize_t length = span.stop - span.start;
    for (uint64_t at = mix(hash) & mask; table->slots[at]; at = (at + 1) & mask) {
        const Chunk *chunk = &table->chunks[table->slots[at] - 1];
        if (chunk->hash != hash || chunk->length != length)
            continue;
        const Py_UCS4 *key = table->keys + chunk->key;
        Py_ssize_t i = 0;
        while (i < length && key[i] == char_at(text, span.start + i))
            i++;
        if (i == length)
            return table->slots[at] - 1;
    }
    return -1;
}

/* The chunk's tokens: a new tuple, and whether they depend on its neighbours; NULL on error. */
static PyObject *chunk_tokens(Lexicon *lexicon, Chars text, Span span, int *depends)
{
    const char *data = (const char *)text.data;
    PyObject *plain = lexicon->guarded ? plain_tokens(lexicon->guarded, text, span) : Py_NewRef(Py_None);
    *depends = 0;
    if (plain != Py_None)
        return plain;
    Py_DECREF(plain);
    PyObject *chunk = PyUnicode_FromKindAndData(text.kind, data + span.start * text.kind, span.stop - span.start);
    PyObject *answer = chunk ? PyObject_CallOneArg(lexicon->chunk, chunk) : NULL, *tokens = NULL;
    Py_XDECREF(chunk);
    if (answer == NULL)
        return NULL;
    if (!PyTuple_Check(answer) || PyTuple_GET_SIZE(answer) != 2 || !PyTuple_Check(PyTuple_GET_ITEM(answer, 0)))
        PyErr_SetString(PyExc_TypeError, "a chunk gives (tokens, whether its neighbours may change them)");
    else if ((*depends = PyObject_IsTrue(PyTuple_GET_ITEM(answer, 1))) >= 0)
        tokens = Py_NewRef(PyTuple_GET_ITEM(answer, 0));
    Py_DECREF(answer);
    return tokens;
}

/* Find out the chunk's tokens and keep them; its index, -1 on error. */
static Py_ssize_t learn_chunk(Lexicon *lexicon, Table *table, Chars text, Span span, uint64_t hash)
{
    Py_ssize_t length = span.stop - span.start, found = -1;
    int depends;
    Ids ids = {NULL, 0, 0};
    PyObject *tokens = chunk_tokens(lexicon, text, span, &depends);
    Py_ssize_t count = tokens ? PyTuple_GET_SIZE(tokens) : -1;
    if (count < 0 || grow((void **)&ids.ids, &ids.room, count, sizeof(uint32_t)) < 0)
        goto done;
    for (; ids.count < count; ids.count++) {
        Py_ssize_t id = intern_token(table, lexicon->ends, PyTuple_GET_ITEM(tokens, ids.count));
        if (id < 0)
            goto done;
        ids.ids[ids.count] = (uint32_t)id;
    }
    /* All Python code has run; it may have read this very chunk. Nothing runs from here on. */
    found = find_chunk(table, text, span, hash);
    if (found >= 0)
        goto done;
    if (length >= UINT32_MAX || count >= UINT32_MAX) {
        PyErr_SetString(PyExc_OverflowError, "a chunk of 2**32 characters");
        goto done;
    }
    if (grow((void **)&table->chunks, &table->chunk_room, table->chunk_count + 1, sizeof(Chunk)) < 0 ||
        grow((void **)&table->keys, &table->key_room, table->key_count + length, sizeof(Py_UCS4)) < 0 ||
        grow((void **)&table->ids, &table->id_room, table->id_count + count, sizeof(uint32_t)) < 0 ||
        (table->chunk_count * 2 >= table->slot_count && grow_slots(table) < 0))
        goto done;
    memcpy(table->ids + table->id_count, ids.ids, (size_t)count * sizeof(uint32_t));
    for (Py_ssize_t i = 0; i < length; i++)
        table->keys[table->key_count + i] = char_at(text, span.start + i);
    table->chunks[table->chunk_count] = (Chunk){
        hash, table->key_count, table->id_count, (uint32_t)length, depends ? DEPENDS : (uint32_t)count};
    table->key_count += length;
    table->id_count += count;
    table->chars += length;
    uint64_t mask = (uint64_t)(table->slot_count - 1), at = mix(hash) & mask;
    while (table->slots[at])
        at = (at + 1) & mask;
    found = table->chunk_count++;
    table->slots[at] = (uint32_t)found + 1;
done:
    PyMem_Free(ids.ids);
    Py_XDECREF(tokens);
    return found;
}

/* The chunk that starts at `at`: where it stops, and its index in the table, -1 on error. */
static inline Py_ssize_t next_chunk(Lexicon *lexicon, Table *table, Chars text, Py_ssize_t at, Py_ssize_t *stop)
{
    uint64_t hash = 0;
    Py_ssize_t end = at;
    for (; end < text.length; end++) {
        Py_UCS4 c = char_at(text, end);
        if (is_space(c))
            break;
        hash = hash * HASH_BASE + c + 1;
    }
    *stop = end;
    Span span = {at, end};
    Py_ssize_t found = find_chunk(table, text, span, hash);
    return found >= 0 ? found : learn_chunk(lexicon, table, text, span, hash);
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
        if (!PyUnicode_Check(word) || PyUnicode_GET_LENGTH(word) > 0) {
            Py_ssize_t id = intern_token(table, lexicon->ends, word);
            failed = id < 0 || grow((void **)&ids->ids, &ids->room, ids->count + 1, sizeof(uint32_t)) < 0;
            if (!failed)
                ids->ids[ids->count++] = (uint32_t)id;
        }
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

/* The tokens of the chunk that starts at `at`, behind those in `ids`. */
static inline int add_chunk(Lexicon *lexicon, Table *table, Chars text, Py_ssize_t at, Py_ssize_t *stop, Ids *ids)
{
    Py_ssize_t index = next_chunk(lexicon, table, text, at, stop);
    if (index < 0)
        return -1;
    Chunk chunk = table->chunks[index];
    if (chunk.count == DEPENDS)
        return ask_neighbours(lexicon, table, text, (Span){at, *stop}, ids);
    if (grow((void **)&ids->ids, &ids->room, ids->count + chunk.count, sizeof(uint32_t)) < 0)
        return -1;
    for (uint32_t i = 0; i < chunk.count; i++)
        ids->ids[ids->count++] = table->ids[chunk.first + i];
    return 0;
}

static inline int read_kind(Lexicon *lexicon, Table *table, Chars text, Ids *ids)
{
    for (Py_ssize_t at = 0; at < text.length;)
        if (is_space(char_at(text, at)))
            at++;
        else if (add_chunk(lexicon, table, text, at, &at, ids) < 0)
            return -1;
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
            if (add_chunk(lexicon, table, line, at, &at, ids) < 0)
                return -1;
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
    if (guarded != Py_None && !PyAnySet_Check(guarded)) {
        PyErr_SetString(PyExc_TypeError, "guarded is a set of str, or None");
        return NULL;
    }
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
    self->guarded = guarded == Py_None ? NULL : Py_NewRef(guarded);
    self->ends = PyFrozenSet_New(ends);
    if (self->ends == NULL) {
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
    Py_XDECREF(lexicon->guarded);
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
        PyObject *number = PyDict_GetItemWithError(table->token_index, word);
        if (number != NULL)
            table->tokens[PyLong_AsSsize_t(number)].mark = waits;
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
