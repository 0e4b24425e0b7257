/* pipeline.speed._lid: fastText's prediction for models of the make of lid.176.ftz, to the last bit.
 *
 * pipeline/steps/lid_model.py reads the model and says which can be asked here; fastText itself (Joulin et al. 2016,
 * arXiv 1607.01759; 1612.03651 for the pruned and quantised kind) is the oracle and the fallback. Sums are taken in
 * fastText's order and its precision, so nothing here may be contracted to a fused multiply-add. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#define FNV_BASIS UINT32_C(2166136261)
#define FNV_PRIME UINT32_C(16777619)
#if defined(__GNUC__)
#define FETCH(address) __builtin_prefetch(address)
#else
#define FETCH(address) ((void)(address))
#endif
#define AHEAD 16 /* how many words or rows ahead of its use a line of memory is fetched */
#define LABEL "__label__"
#define END "</s>"

typedef struct {
    uint32_t at, length, hash; /* of its bytes in `spelling` */
} Word;

typedef struct {
    const char *word;
    Py_ssize_t length;
    uint32_t hash;
} Token;

typedef struct {
    int32_t ngram, row; /* row 0 is the first word's, never an n-gram's: a free slot */
} Slot;

typedef struct {
    int32_t *items;
    Py_ssize_t count, room;
} Rows;

/* A word that was read before, and the rows that it gave. */
typedef struct {
    uint32_t hash, length;
    Py_ssize_t at, rows_at, row_count; /* in the memo's spelling and rows */
} Known;

/* Words come again and again, and reading one costs tens of times as much as finding it here. */
typedef struct {
    Known *words;
    uint32_t *slots; /* index + 1, or 0 */
    Py_ssize_t count;
    char *spelling;
    Py_ssize_t spelled;
    Rows rows;
} Memo;

#define MEMO_WORDS (1 << 16)
#define MEMO_SLOTS (MEMO_WORDS * 2)
#define MEMO_LONGEST 32 /* bytes of a word that is kept */

typedef struct {
    PyObject_HEAD
    int dim, shortest, longest, labels, words;
    uint32_t bucket;
    char *spelling;
    Word *entries;       /* words, then labels */
    int32_t *word_slots; /* index + 1, or 0 */
    Slot *ngram_slots;
    uint32_t word_mask, ngram_mask;
    float *rows, *output;
    int32_t *children; /* two of each inner node; leaves are the labels, the last node is the root */
    int32_t *parents;
    Memo memo;
} Model;

/* FNV-1a as fastText has it: bytes are taken as signed. */
static inline uint32_t hash_byte(uint32_t hash, char byte)
{
    return (hash ^ (uint32_t)(int32_t)(int8_t)byte) * FNV_PRIME;
}

static uint32_t hash_bytes(const char *bytes, Py_ssize_t length)
{
    uint32_t hash = FNV_BASIS;
    for (Py_ssize_t i = 0; i < length; i++)
        hash = hash_byte(hash, bytes[i]);
    return hash;
}

static int find_word(const Model *model, const char *word, Py_ssize_t length, uint32_t hash)
{
    int32_t found;
    for (uint32_t at = hash & model->word_mask; (found = model->word_slots[at]) != 0; at = (at + 1) & model->word_mask) {
        const Word *entry = &model->entries[found - 1];
        if (entry->hash == hash && (Py_ssize_t)entry->length == length &&
            memcmp(model->spelling + entry->at, word, (size_t)length) == 0)
            return found - 1;
    }
    return -1;
}

static inline int32_t find_ngram(const Model *model, uint32_t ngram)
{
    for (uint32_t at = ngram & model->ngram_mask;; at = (at + 1) & model->ngram_mask) {
        Slot slot = model->ngram_slots[at];
        if (slot.row == 0 || slot.ngram == (int32_t)ngram)
            return slot.row;
    }
}

static int reserve(Rows *rows, Py_ssize_t more)
{
    if (rows->count + more < rows->room)
        return 0;
    Py_ssize_t room = 2 * (rows->count + more) + 64;
    int32_t *items = PyMem_Realloc(rows->items, (size_t)room * sizeof(int32_t));
    if (items == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    rows->items = items;
    rows->room = room;
    return 0;
}

static inline int continues(char byte)
{
    return (byte & 0xC0) == 0x80;
}

/* Rows of the n-grams of `word`, which stands between < and >. */
static int add_ngrams(const Model *model, const char *word, Py_ssize_t length, Rows *rows)
{
    if (reserve(rows, length * model->longest) < 0)
        return -1;
    int32_t *found = rows->items + rows->count; /* first the n-grams, whose slots are fetched meanwhile, then their rows */
    Py_ssize_t ngrams = 0;
    for (Py_ssize_t i = 0; i < length; i++) {
        if (continues(word[i]))
            continue;
        uint32_t hash = FNV_BASIS;
        Py_ssize_t j = i;
        for (int n = 1; j < length && n <= model->longest; n++) {
            hash = hash_byte(hash, word[j++]);
            while (j < length && continues(word[j]))
                hash = hash_byte(hash, word[j++]);
            if (n < model->shortest || (n == 1 && (i == 0 || j == length)))
                continue;
            uint32_t ngram = hash % model->bucket;
            FETCH(&model->ngram_slots[ngram & model->ngram_mask]);
            found[ngrams++] = (int32_t)ngram;
        }
    }
    for (Py_ssize_t i = 0; i < ngrams; i++) {
        int32_t row = find_ngram(model, (uint32_t)found[i]);
        if (row != 0)
            rows->items[rows->count++] = row;
    }
    return 0;
}

static Known *find_known(const Memo *memo, const char *word, Py_ssize_t length, uint32_t hash)
{
    uint32_t found;
    for (uint32_t at = hash % MEMO_SLOTS; (found = memo->slots[at]) != 0; at = (at + 1) % MEMO_SLOTS) {
        Known *known = &memo->words[found - 1];
        if (known->hash == hash && (Py_ssize_t)known->length == length &&
            memcmp(memo->spelling + known->at, word, (size_t)length) == 0)
            return known;
    }
    return NULL;
}

/* Fetch what find_known will look at first. */
static inline void fetch_known(const Memo *memo, uint32_t hash)
{
    uint32_t found = memo->slots[hash % MEMO_SLOTS];
    if (found != 0)
        FETCH(&memo->words[found - 1]);
}

static int keep_known(Memo *memo, const char *word, Py_ssize_t length, uint32_t hash, const int32_t *rows,
                      Py_ssize_t count)
{
    if (memo->count == MEMO_WORDS) {
        memset(memo->slots, 0, MEMO_SLOTS * sizeof(uint32_t));
        memo->count = memo->spelled = memo->rows.count = 0;
    }
    if (reserve(&memo->rows, count) < 0)
        return -1;
    memo->words[memo->count] = (Known){hash, (uint32_t)length, memo->spelled, memo->rows.count, count};
    memcpy(memo->spelling + memo->spelled, word, (size_t)length);
    memcpy(memo->rows.items + memo->rows.count, rows, (size_t)count * sizeof(int32_t));
    memo->spelled += length;
    memo->rows.count += count;
    uint32_t at = hash % MEMO_SLOTS;
    while (memo->slots[at] != 0)
        at = (at + 1) % MEMO_SLOTS;
    memo->slots[at] = (uint32_t)++memo->count;
    return 0;
}

/* Rows of a word that was not read before, `framed` by < and >; 1 where it ends the line. */
static int learn_word(const Model *model, const char *framed, Py_ssize_t length, uint32_t hash, Rows *rows)
{
    const char *word = framed + 1;
    int ends = length == sizeof(END) - 1 && memcmp(word, END, sizeof(END) - 1) == 0;
    int found = find_word(model, word, length, hash);
    if (found >= model->words)
        return ends; /* a label */
    if (found < 0 && length >= (Py_ssize_t)sizeof(LABEL) - 1 && memcmp(word, LABEL, sizeof(LABEL) - 1) == 0)
        return ends;
    if (found >= 0) {
        if (reserve(rows, 1) < 0)
            return -1;
        rows->items[rows->count++] = found;
    }
    if (!ends && add_ngrams(model, framed, length + 2, rows) < 0)
        return -1;
    return ends;
}

/* Rows of a word of the line; 1 where it ends the line. `framed` has room for it and two bytes more. */
static int add_word(Model *model, Token token, char *framed, Rows *rows)
{
    Py_ssize_t length = token.length;
    const Known *known = length <= MEMO_LONGEST ? find_known(&model->memo, token.word, length, token.hash) : NULL;
    if (known != NULL) {
        if (reserve(rows, known->row_count) < 0)
            return -1;
        memcpy(rows->items + rows->count, model->memo.rows.items + known->rows_at,
               (size_t)known->row_count * sizeof(int32_t));
        rows->count += known->row_count;
        return 0;
    }
    framed[0] = '<';
    memcpy(framed + 1, token.word, (size_t)length);
    framed[length + 1] = '>';
    Py_ssize_t before = rows->count;
    int ends = learn_word(model, framed, length, token.hash, rows);
    if (ends == 0 && length <= MEMO_LONGEST &&
        keep_known(&model->memo, token.word, length, token.hash, rows->items + before, rows->count - before) < 0)
        return -1;
    return ends;
}

static inline int separates(char byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r') || byte == '\0';
}

/* The next word from *at on; its length is 0 where the line is at its end. */
static Token next_token(const char *line, Py_ssize_t length, Py_ssize_t *at)
{
    while (*at < length && separates(line[*at]))
        if (line[(*at)++] == '\n')
            return (Token){END, sizeof(END) - 1, hash_bytes(END, sizeof(END) - 1)};
    Py_ssize_t start = *at;
    uint32_t hash = FNV_BASIS;
    for (; *at < length && !separates(line[*at]); (*at)++)
        hash = hash_byte(hash, line[*at]);
    return (Token){line + start, *at - start, hash};
}

static int read_line(Model *model, const char *line, Py_ssize_t length, Rows *rows)
{
    char *framed = PyMem_Malloc((size_t)length + sizeof(END) + 2);
    if (framed == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    const Memo *memo = &model->memo;
    Token tokens[AHEAD];
    int ends = 0, count = AHEAD;
    for (Py_ssize_t at = 0; count == AHEAD && ends == 0;) {
        for (count = 0; count < AHEAD && (tokens[count] = next_token(line, length, &at)).length > 0; count++)
            FETCH(&memo->slots[tokens[count].hash % MEMO_SLOTS]);
        for (int i = 0; i < count; i++)
            fetch_known(memo, tokens[i].hash);
        for (int i = 0; i < count && ends == 0; i++)
            ends = add_word(model, tokens[i], framed, rows);
    }
    PyMem_Free(framed);
    return ends < 0 ? -1 : 0;
}

/* The average of the rows, added up in their order. */
static void average(const Model *model, const Rows *rows, float *hidden)
{
    memset(hidden, 0, (size_t)model->dim * sizeof(float));
    if (model->dim == 16) { /* in registers */
        float sums[16] = {0};
        for (Py_ssize_t i = 0; i < rows->count; i++) {
            const float *row = model->rows + (Py_ssize_t)rows->items[i] * 16;
            FETCH(model->rows + (Py_ssize_t)rows->items[i + AHEAD < rows->count ? i + AHEAD : i] * 16);
            for (int j = 0; j < 16; j++)
                sums[j] += row[j];
        }
        memcpy(hidden, sums, sizeof(sums));
    } else {
        for (Py_ssize_t i = 0; i < rows->count; i++) {
            const float *row = model->rows + (Py_ssize_t)rows->items[i] * model->dim;
            for (int j = 0; j < model->dim; j++)
                hidden[j] += row[j];
        }
    }
    float share = (float)(1.0 / (double)rows->count);
    for (int j = 0; j < model->dim; j++)
        hidden[j] *= share;
}

static inline float log_of(float x)
{
    return (float)log((double)x + 1e-5);
}

/* The chance of going right at an inner node. */
static float turn(const Model *model, const float *hidden, int32_t node)
{
    const float *weights = model->output + (Py_ssize_t)(node - model->labels) * model->dim;
    float dot = 0;
    for (int j = 0; j < model->dim; j++)
        dot += weights[j] * hidden[j];
    return (float)(1. / (double)(1 + expf(-dot)));
}

static void search(const Model *model, const float *hidden, int32_t node, float score, float *best, int32_t *label)
{
    if (score < log_of(0) || (*label >= 0 && score < *best))
        return;
    if (node < model->labels) {
        *best = score;
        *label = node;
        return;
    }
    float right = turn(model, hidden, node);
    const int32_t *children = model->children + 2 * (Py_ssize_t)(node - model->labels);
    search(model, hidden, children[0], score + log_of((float)(1.0 - (double)right)), best, label);
    search(model, hidden, children[1], score + log_of(right), best, label);
}

/* The score of a node by its path from the root; 0 where fastText does not follow it so far. */
static int score_of(const Model *model, const float *hidden, int32_t node, float *score)
{
    if (node == 2 * model->labels - 2) {
        *score = 0;
        return 1;
    }
    int32_t parent = model->parents[node];
    if (!score_of(model, hidden, parent, score))
        return 0;
    float right = turn(model, hidden, parent);
    int is_left = model->children[2 * (Py_ssize_t)(parent - model->labels)] == node;
    *score += is_left ? log_of((float)(1.0 - (double)right)) : log_of(right);
    return *score >= log_of(0);
}

/* The hidden layer of a line: how many rows went into it, -1 on error. `hidden` must be freed. */
static Py_ssize_t hide(Model *model, const Py_buffer *line, float **hidden)
{
    Rows rows = {NULL, 0, 0};
    *hidden = PyMem_Malloc((size_t)model->dim * sizeof(float));
    if (*hidden == NULL)
        PyErr_NoMemory();
    int failed = *hidden == NULL || read_line(model, line->buf, line->len, &rows) < 0;
    if (!failed && rows.count > 0)
        average(model, &rows, *hidden);
    PyMem_Free(rows.items);
    return failed ? -1 : rows.count;
}

/* best(line: bytes) -> (probability, label) or None */
static PyObject *model_best(PyObject *self, PyObject *argument)
{
    Model *model = (Model *)self;
    Py_buffer line;
    if (PyObject_GetBuffer(argument, &line, PyBUF_SIMPLE) < 0)
        return NULL;
    float *hidden, best = 0;
    int32_t label = -1;
    Py_ssize_t count = hide(model, &line, &hidden);
    if (count > 0)
        search(model, hidden, 2 * model->labels - 2, 0, &best, &label);
    PyMem_Free(hidden);
    PyBuffer_Release(&line);
    if (count < 0)
        return NULL;
    if (label < 0)
        Py_RETURN_NONE;
    return Py_BuildValue("di", (double)expf(best), (int)label);
}

/* chances(line: bytes, labels: tuple of int) -> list of their probabilities */
static PyObject *model_chances(PyObject *self, PyObject *args)
{
    Model *model = (Model *)self;
    Py_buffer line;
    PyObject *labels;
    if (!PyArg_ParseTuple(args, "y*O!", &line, &PyTuple_Type, &labels))
        return NULL;
    float *hidden, score;
    Py_ssize_t count = hide(model, &line, &hidden);
    PyObject *found = count < 0 ? NULL : PyList_New(PyTuple_GET_SIZE(labels));
    for (Py_ssize_t i = 0; found != NULL && i < PyTuple_GET_SIZE(labels); i++) {
        long label = PyLong_AsLong(PyTuple_GET_ITEM(labels, i));
        if (!PyErr_Occurred() && (label < 0 || label >= model->labels))
            PyErr_SetString(PyExc_IndexError, "there is no such label");
        int reached = !PyErr_Occurred() && count > 0 && score_of(model, hidden, (int32_t)label, &score);
        PyObject *chance = PyErr_Occurred() ? NULL : PyFloat_FromDouble(reached ? (double)expf(score) : 0.0);
        if (chance == NULL)
            Py_CLEAR(found);
        else
            PyList_SET_ITEM(found, i, chance);
    }
    PyMem_Free(hidden);
    PyBuffer_Release(&line);
    return found;
}

static uint32_t mask_for(Py_ssize_t count)
{
    uint32_t size = 16;
    while (size < 3 * (size_t)count)
        size *= 2;
    return size - 1;
}

static int fill_words(Model *model, const Py_buffer *spelling)
{
    int count = model->words + model->labels;
    model->spelling = PyMem_Malloc((size_t)spelling->len + 1);
    model->entries = PyMem_Calloc((size_t)count, sizeof(Word));
    model->word_mask = mask_for(count);
    model->word_slots = PyMem_Calloc((size_t)model->word_mask + 1, sizeof(int32_t));
    if (model->spelling == NULL || model->entries == NULL || model->word_slots == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    memcpy(model->spelling, spelling->buf, (size_t)spelling->len);
    Py_ssize_t start = 0;
    for (int i = 0; i < count; i++) {
        Py_ssize_t stop = start;
        while (stop < spelling->len && model->spelling[stop] != '\0')
            stop++;
        if (stop == spelling->len) {
            PyErr_SetString(PyExc_ValueError, "each word and label ends with a zero byte");
            return -1;
        }
        uint32_t hash = hash_bytes(model->spelling + start, stop - start), at = hash & model->word_mask;
        model->entries[i] = (Word){(uint32_t)start, (uint32_t)(stop - start), hash};
        while (model->word_slots[at] != 0)
            at = (at + 1) & model->word_mask;
        model->word_slots[at] = i + 1;
        start = stop + 1;
    }
    return 0;
}

static int fill_ngrams(Model *model, const Py_buffer *ngrams, Py_ssize_t row_count)
{
    Py_ssize_t count = ngrams->len / (Py_ssize_t)(2 * sizeof(int32_t));
    const int32_t *pairs = ngrams->buf;
    model->ngram_mask = mask_for(count);
    model->ngram_slots = PyMem_Calloc((size_t)model->ngram_mask + 1, sizeof(Slot));
    if (model->ngram_slots == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        int64_t row = (int64_t)pairs[2 * i + 1] + model->words;
        if (pairs[2 * i] < 0 || pairs[2 * i + 1] < 0 || row >= row_count) {
            PyErr_SetString(PyExc_ValueError, "an n-gram names a row that is not there");
            return -1;
        }
        uint32_t at = (uint32_t)pairs[2 * i] & model->ngram_mask;
        while (model->ngram_slots[at].row != 0)
            at = (at + 1) & model->ngram_mask;
        model->ngram_slots[at] = (Slot){pairs[2 * i], (int32_t)row};
    }
    return 0;
}

static int open_memo(Memo *memo)
{
    memo->words = PyMem_Malloc(MEMO_WORDS * sizeof(Known));
    memo->slots = PyMem_Calloc(MEMO_SLOTS, sizeof(uint32_t));
    memo->spelling = PyMem_Malloc(MEMO_WORDS * MEMO_LONGEST);
    if (memo->words == NULL || memo->slots == NULL || memo->spelling == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

static int fill_tree(Model *model, const Py_buffer *children)
{
    const int32_t *pairs = children->buf;
    int nodes = 2 * model->labels - 1;
    model->children = PyMem_Malloc((size_t)children->len + 1);
    model->parents = PyMem_Calloc((size_t)nodes, sizeof(int32_t));
    if (model->children == NULL || model->parents == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    memcpy(model->children, children->buf, (size_t)children->len);
    for (int i = 0; i < 2 * (model->labels - 1); i++) {
        /* Every node but the root is the child of one that comes after it: no path can run in a circle. */
        if (pairs[i] < 0 || pairs[i] >= model->labels + i / 2 || model->parents[pairs[i]] != 0) {
            PyErr_SetString(PyExc_ValueError, "this is no tree of labels");
            return -1;
        }
        model->parents[pairs[i]] = model->labels + i / 2;
    }
    return 0;
}

static float *copy_floats(const Py_buffer *floats)
{
    float *copy = PyMem_Malloc((size_t)floats->len + 1);
    if (copy == NULL)
        PyErr_NoMemory();
    else
        memcpy(copy, floats->buf, (size_t)floats->len);
    return copy;
}

static PyObject *model_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"dim",      "ngrams", "bucket", "words",    "labels", "spelling",
                            "rows_of_ngrams", "rows",   "output", "children", NULL};
    Py_buffer spelling, ngrams, rows, output, children;
    int dim, shortest, longest, words, labels;
    unsigned int bucket;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "i(ii)Iiiy*y*y*y*y*:Model", names, &dim, &shortest, &longest,
                                     &bucket, &words, &labels, &spelling, &ngrams, &rows, &output, &children))
        return NULL;
    Model *model = (Model *)type->tp_alloc(type, 0);
    int failed = model == NULL;
    if (!failed) {
        Py_ssize_t width = (Py_ssize_t)dim * (Py_ssize_t)sizeof(float);
        model->dim = dim;
        model->shortest = shortest;
        model->longest = longest;
        model->bucket = bucket;
        model->words = words;
        model->labels = labels;
        failed = dim < 1 || shortest < 1 || longest < shortest || longest > 64 || bucket < 1 || bucket > INT32_MAX ||
                 words < 1 || labels < 2 || labels > 1 << 20 || rows.len % width || rows.len / width < words ||
                 output.len != (labels - 1) * width || ngrams.len % 8 ||
                 children.len != (Py_ssize_t)(2 * sizeof(int32_t)) * (labels - 1);
        if (failed)
            PyErr_SetString(PyExc_ValueError, "sizes that no model has");
        failed = failed || fill_words(model, &spelling) < 0 || fill_ngrams(model, &ngrams, rows.len / width) < 0 ||
                 fill_tree(model, &children) < 0 || open_memo(&model->memo) < 0 || (model->rows = copy_floats(&rows)) == NULL ||
                 (model->output = copy_floats(&output)) == NULL;
    }
    PyBuffer_Release(&spelling);
    PyBuffer_Release(&ngrams);
    PyBuffer_Release(&rows);
    PyBuffer_Release(&output);
    PyBuffer_Release(&children);
    if (failed)
        Py_CLEAR(model);
    return (PyObject *)model;
}

static void model_free(PyObject *self)
{
    Model *model = (Model *)self;
    PyMem_Free(model->spelling);
    PyMem_Free(model->entries);
    PyMem_Free(model->word_slots);
    PyMem_Free(model->ngram_slots);
    PyMem_Free(model->rows);
    PyMem_Free(model->output);
    PyMem_Free(model->children);
    PyMem_Free(model->parents);
    PyMem_Free(model->memo.words);
    PyMem_Free(model->memo.slots);
    PyMem_Free(model->memo.spelling);
    PyMem_Free(model->memo.rows.items);
    Py_TYPE(self)->tp_free(self);
}

static PyMethodDef methods[] = {
    {"best", model_best, METH_O, "best(line) -> (probability, label), None where nothing in the line is known."},
    {"chances", model_chances, METH_VARARGS, "chances(line, labels) -> the probability of each, 0 below 1e-5."},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject ModelType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "pipeline.speed._lid.Model",
    .tp_basicsize = sizeof(Model),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "A fastText classifier; a line is UTF-8 with its final newline.",
    .tp_new = model_new,
    .tp_dealloc = model_free,
    .tp_methods = methods,
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "pipeline.speed._lid",
    .m_doc = "fastText's prediction in C; see pipeline/steps/lid_model.py.",
    .m_size = -1,
};

PyMODINIT_FUNC PyInit__lid(void)
{
    if (PyType_Ready(&ModelType) < 0)
        return NULL;
    PyObject *module = PyModule_Create(&definition);
    if (module != NULL && PyModule_AddObjectRef(module, "Model", (PyObject *)&ModelType) < 0)
        Py_CLEAR(module);
    return module;
}
