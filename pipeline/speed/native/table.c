/* Tables: tokens and chunks by their characters. */
#include "filters.h"

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

Table *table_new(void)
{
    Table *table = PyMem_Calloc(1, sizeof(Table));
    if (table == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    table->references = 1;
    table->token_slots.count = table->chunk_slots.count = 1024;
    table->token_slots.slots = PyMem_Calloc(1024, sizeof(uint32_t));
    table->chunk_slots.slots = PyMem_Calloc(1024, sizeof(uint32_t));
    if (table->token_slots.slots == NULL || table->chunk_slots.slots == NULL) {
        PyErr_NoMemory();
        table_release(table);
        return NULL;
    }
    return table;
}

void table_release(Table *table)
{
    if (table == NULL || --table->references > 0)
        return;
    for (Py_ssize_t i = 0; i < table->token_count; i++)
        Py_DECREF(table->tokens[i].text);
    PyMem_Free(table->tokens);
    PyMem_Free(table->chunks);
    PyMem_Free(table->token_slots.slots);
    PyMem_Free(table->chunk_slots.slots);
    PyMem_Free(table->keys);
    PyMem_Free(table->ids);
    PyMem_Free(table);
}

static void put(Slots *slots, uint64_t hash, Py_ssize_t index)
{
    uint64_t mask = (uint64_t)(slots->count - 1), at = mix(hash) & mask;
    while (slots->slots[at])
        at = (at + 1) & mask;
    slots->slots[at] = (uint32_t)index + 1;
}

/* Room for one more in the slots; `hashes` points at the first hash of items that lie `size` bytes apart. */
static int grow_slots(Slots *slots, Py_ssize_t used, const void *hashes, size_t size)
{
    if ((used + 1) * 2 <= slots->count)
        return 0;
    Slots wide = {PyMem_Calloc((size_t)slots->count * 2, sizeof(uint32_t)), slots->count * 2};
    if (wide.slots == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < used; i++)
        put(&wide, *(const uint64_t *)((const char *)hashes + (size_t)i * size), i);
    PyMem_Free(slots->slots);
    *slots = wide;
    return 0;
}

Py_ssize_t find_token(const Table *table, Chars text, Span span, uint64_t hash)
{
    uint64_t mask = (uint64_t)(table->token_slots.count - 1);
    Py_ssize_t length = span.stop - span.start;
    uint32_t slot;
    for (uint64_t at = mix(hash) & mask; (slot = table->token_slots.slots[at]) != 0; at = (at + 1) & mask) {
        const Token *token = &table->tokens[slot - 1];
        if (token->hash != hash || token->length != length)
            continue;
        Py_ssize_t i = 0;
        while (i < length && PyUnicode_READ_CHAR(token->text, i) == char_at(text, span.start + i))
            i++;
        if (i == length)
            return (Py_ssize_t)slot - 1;
    }
    return -1;
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

Py_ssize_t add_token(Table *table, PyObject *ends, Chars text, Span span, PyObject *token)
{
    uint64_t hash = hash_span(text, span);
    Py_ssize_t length = span.stop - span.start, found = find_token(table, text, span, hash);
    if (found >= 0)
        return found;
    const char *start = (const char *)text.data + span.start * text.kind;
    token = token ? Py_NewRef(token) : PyUnicode_FromKindAndData(text.kind, start, length);
    int flags;
    if (token == NULL || token_shape(token, ends, &flags) < 0)
        goto failed;
    /* The twin may have run other code on this table: look again before adding. */
    found = find_token(table, text, span, hash);
    if (found >= 0) {
        Py_DECREF(token);
        return found;
    }
    if (grow((void **)&table->tokens, &table->token_room, table->token_count + 1, sizeof(Token)) < 0 ||
        grow_slots(&table->token_slots, table->token_count, &table->tokens->hash, sizeof(Token)) < 0)
        goto failed;
    uint64_t power = 1;
    for (Py_ssize_t i = 0; i < length; i++)
        power *= HASH_BASE;
    table->tokens[table->token_count] = (Token){token, hash, power, length, 0, flags};
    table->chars += length;
    put(&table->token_slots, hash, table->token_count);
    return table->token_count++;
failed:
    Py_XDECREF(token);
    return -1;
}

Py_ssize_t add_chunk(Table *table, Chars text, Span span, uint64_t hash, const uint32_t *ids, uint32_t count)
{
    Py_ssize_t length = span.stop - span.start, stored = count == DEPENDS ? 0 : count;
    if (length >= INT32_MAX) {
        PyErr_SetString(PyExc_OverflowError, "a chunk of 2**31 characters");
        return -1;
    }
    if (grow((void **)&table->chunks, &table->chunk_room, table->chunk_count + 1, sizeof(Chunk)) < 0 ||
        grow_slots(&table->chunk_slots, table->chunk_count, &table->chunks->hash, sizeof(Chunk)) < 0 ||
        grow((void **)&table->keys, &table->key_room, table->key_count + length, sizeof(Py_UCS4)) < 0 ||
        grow((void **)&table->ids, &table->id_room, table->id_count + stored, sizeof(uint32_t)) < 0)
        return -1;
    Chunk *chunk = &table->chunks[table->chunk_count];
    int narrow = length <= INLINE_KEY;
    for (Py_ssize_t i = 0; i < length && narrow; i++)
        narrow = char_at(text, span.start + i) < 256;
    chunk->hash = hash;
    chunk->length = (uint32_t)length;
    chunk->narrow = narrow != 0;
    chunk->count = count;
    if (!narrow)
        chunk->key.at = table->key_count;
    for (Py_ssize_t i = 0; i < length; i++) {
        Py_UCS4 c = char_at(text, span.start + i);
        if (narrow)
            chunk->key.bytes[i] = (unsigned char)c;
        else
            table->keys[table->key_count++] = c;
    }
    if (stored > INLINE_IDS)
        chunk->tokens.at = table->id_count;
    for (Py_ssize_t i = 0; i < stored; i++)
        if (stored > INLINE_IDS)
            table->ids[table->id_count++] = ids[i];
        else
            chunk->tokens.ids[i] = ids[i];
    table->chars += length;
    put(&table->chunk_slots, hash, table->chunk_count);
    return table->chunk_count++;
}
