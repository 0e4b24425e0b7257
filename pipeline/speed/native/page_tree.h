/* A light WHATWG tree builder and the blocks of a page, as pipeline/extractors/html_tree.py and blocks.py say them;
   included by pages.c. What depends on the width of the string's characters is in page_read.h. */

/* ---- tags: flags in the order of html_tags.py ------------------------------------------------------------------ */

enum {
    BLOCK = 1 << 0, SKIPPED = 1 << 1, RAW = 1 << 2, VOID = 1 << 3, CLOSES_P = 1 << 4, SPECIAL = 1 << 5,
    FORMATTING = 1 << 6, BARRIER = 1 << 7, IMPLIED = 1 << 8, HEADING = 1 << 9, IN_HEAD = 1 << 10, MARKER = 1 << 11,
    BREAKOUT = 1 << 12, SCOPED_END = 1 << 13, INTEGRATION = 1 << 14, REOPENS = 1 << 15
};
#define ROLES(_) \
    _(OTHER) _(HTML) _(HEAD) _(BODY) _(FRAMESET) _(FRAME) _(A) _(NOBR) _(P) _(LI) _(DD) _(DT) _(FORM) _(BUTTON) _(TABLE) \
    _(CAPTION) _(COLGROUP) _(COL) _(TBODY) _(THEAD) _(TFOOT) _(TR) _(TD) _(TH) _(SELECT) _(OPTION) _(OPTGROUP) _(RUBY) \
    _(RB) _(RTC) _(RP) _(RT) _(OL) _(UL) _(PRE) _(BR) _(IMG) _(IMAGE) _(INPUT) _(B) _(STRONG) _(META) _(SCRIPT) _(TITLE) \
    _(PLAINTEXT) _(SVG) _(MATH) _(TEMPLATE) _(FONT) _(NOSCRIPT) _(ADDRESS) _(DIV)
#define ROLE(name) T_##name,
#define ROLE_NAME(name) #name,
enum { ROLES(ROLE) T_COUNT };
static const char *const role_names[] = {ROLES(ROLE_NAME)};

typedef struct {
    char name[16];
    uint64_t hash;
    int32_t flags;
    int16_t code;
    uint8_t length, role;
} Tag;

#define TAG_SLOTS 1024
static Tag tags[256];
static int n_tags;
static int16_t tag_slots[TAG_SLOTS]; /* place in `tags` + 1, 0 where empty */
static const Tag *tag_of[T_COUNT];

#define FNV_START 14695981039346656037u
#define FNV_STEP(h, c) (((h) ^ (uint64_t)(c)) * 1099511628211u)

/* of the lower-case name */
static const Tag *
find_tag(uint64_t hash, size_t length)
{
    for (uint32_t slot = (uint32_t)(hash ^ hash >> 32) % TAG_SLOTS; tag_slots[slot]; slot = (slot + 1) % TAG_SLOTS) {
        const Tag *tag = &tags[tag_slots[slot] - 1];
        if (tag->hash == hash && tag->length == length)
            return tag;
    }
    return NULL;
}

static int
is_role(const char *name, const char *role)
{
    for (; *name && *role; name++, role++)
        if (*name != (*role | 0x20))
            return 0;
    return *name == *role;
}

/* pages.set_tags({name: (flags, code)}): TAGS and TAG_CODES of html_tags.py */
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
    memset(tag_of, 0, sizeof tag_of);
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
        tag->flags = flags;
        tag->code = (int16_t)code;
        tag->role = T_OTHER;
        for (int role = 1; role < T_COUNT; role++)
            if (is_role(name, role_names[role]))
                tag_of[tag->role = (uint8_t)role] = tag;
        uint64_t h = FNV_START;
        for (Py_ssize_t i = 0; i < length; i++)
            h = FNV_STEP(h, (uint8_t)name[i]);
        tag->hash = h;
        uint32_t slot = (uint32_t)(h ^ h >> 32) % TAG_SLOTS;
        while (tag_slots[slot])
            slot = (slot + 1) % TAG_SLOTS;
        tag_slots[slot] = (int16_t)++n_tags;
    }
    for (int role = 1; role < T_COUNT; role++)
        if (tag_of[role] == NULL) {
            PyErr_Format(PyExc_ValueError, "no tag %s", role_names[role]);
            return NULL;
        }
    Py_RETURN_NONE;
}

/* ---- characters ------------------------------------------------------------------------------------------------ */

enum { OTHER, UPPER, LOWER, DIGIT, STOP, COMMA, SIGN, CLASS = 7, SPACE = 8, DROPPED = 16, WIDE = 32, QUOTE = 64, WORD = 128 };
static uint8_t kinds[0x10000]; /* of the basic plane: a class and what else a character is */
static uint16_t lower_case[0x10000];

static int
kind_beyond(Py_UCS4 c)
{
    return (Py_UNICODE_ISALPHA(c) ? (Py_UNICODE_ISUPPER(c) ? UPPER : LOWER) : Py_UNICODE_ISDIGIT(c) ? DIGIT : OTHER)
         | (c >= 0x20000 && c <= 0x3FFFF ? WIDE : 0) | (c == '_' || Py_UNICODE_ISALNUM(c) ? WORD : 0);
}

#define KIND(c) ((c) < 0x10000 ? kinds[c] : kind_beyond(c))

static int
is_space(Py_UCS4 c)
{
    return c < 0x10000 && (kinds[c] & SPACE);
}

/* pages.set_characters(stops, commas, signs, dropped, quotes): strings of blocks.py */
static PyObject *
set_characters(PyObject *self, PyObject *args)
{
    static const uint8_t kind_of[] = {STOP, COMMA, SIGN, DROPPED, QUOTE};
    PyObject *sets[5];
    if (!PyArg_ParseTuple(args, "UUUUU", &sets[0], &sets[1], &sets[2], &sets[3], &sets[4]))
        return NULL;
    for (Py_UCS4 c = 0; c < 0x10000; c++) {
        int wide = (c >= 0x1100 && c <= 0x11FF) || (c >= 0x2E80 && c <= 0x9FFF && c != 0x3000)
                || (c >= 0xAC00 && c <= 0xD7AF) || (c >= 0xF900 && c <= 0xFAFF);
        kinds[c] = (uint8_t)(kind_beyond(c) | (Py_UNICODE_ISSPACE(c) ? SPACE : 0) | (wide ? WIDE : 0));
        Py_UCS4 lower = Py_UNICODE_TOLOWER(c);
        lower_case[c] = (uint16_t)(lower < 0x10000 ? lower : c);
    }
    for (int k = 4; k >= 0; k--)
        for (Py_ssize_t i = 0; i < PyUnicode_GET_LENGTH(sets[k]); i++) {
            Py_UCS4 c = PyUnicode_READ_CHAR(sets[k], i);
            if (c >= 0x10000)
                continue;
            if (kind_of[k] > CLASS)
                kinds[c] |= kind_of[k];
            else if (!Py_UNICODE_ISALPHA(c) && !Py_UNICODE_ISDIGIT(c))
                kinds[c] = (uint8_t)((kinds[c] & ~CLASS) | kind_of[k]);
        }
    Py_RETURN_NONE;
}

enum { ENTITY_SLOTS = 8192, LONGEST_ENTITY = 32, LONGEST_BARE = 6 };
typedef struct {
    uint64_t hash; /* of the name, with its semicolon if it has one; 0 where empty */
    Py_UCS4 first, second; /* second is 0 for most */
} Entity;
static Entity entities[ENTITY_SLOTS];

/* pages.set_entities({name: characters}): html.entities.html5 */
static PyObject *
set_entities(PyObject *self, PyObject *table)
{
    PyObject *key, *value;
    Py_ssize_t position = 0, length;
    if (!PyDict_Check(table) || PyDict_Size(table) > ENTITY_SLOTS / 2) {
        PyErr_SetString(PyExc_ValueError, "set_entities wants a dict of some thousands");
        return NULL;
    }
    memset(entities, 0, sizeof entities);
    while (PyDict_Next(table, &position, &key, &value)) {
        const char *name = PyUnicode_AsUTF8AndSize(key, &length);
        if (name == NULL || !PyUnicode_Check(value))
            return NULL;
        if (length > LONGEST_ENTITY || (name[length - 1] != ';' && length > LONGEST_BARE)
            || PyUnicode_GET_LENGTH(value) < 1 || PyUnicode_GET_LENGTH(value) > 2) {
            PyErr_SetString(PyExc_ValueError, "a name or value is too long");
            return NULL;
        }
        uint64_t h = FNV_START;
        for (Py_ssize_t i = 0; i < length; i++)
            h = FNV_STEP(h, (uint8_t)name[i]);
        size_t slot = h % ENTITY_SLOTS;
        while (entities[slot].hash)
            slot = (slot + 1) % ENTITY_SLOTS;
        entities[slot].hash = h;
        entities[slot].first = PyUnicode_READ_CHAR(value, 0);
        entities[slot].second = PyUnicode_GET_LENGTH(value) > 1 ? PyUnicode_READ_CHAR(value, 1) : 0;
    }
    Py_RETURN_NONE;
}

static const Entity *
find_entity(uint64_t hash)
{
    for (size_t slot = hash % ENTITY_SLOTS; entities[slot].hash; slot = (slot + 1) % ENTITY_SLOTS)
        if (entities[slot].hash == hash)
            return &entities[slot];
    return NULL;
}

static PyObject *told; /* TOLD of html_tree.py */

/* pages.set_told(frozenset): the names of `<meta>` that are gathered */
static PyObject *
set_told(PyObject *self, PyObject *set)
{
    if (!PyAnySet_Check(set)) {
        PyErr_SetString(PyExc_TypeError, "set_told wants a set");
        return NULL;
    }
    Py_INCREF(set);
    Py_XSETREF(told, set);
    Py_RETURN_NONE;
}

/* ---- what is gathered ------------------------------------------------------------------------------------------ */

typedef struct {
    int32_t *at;
    Py_ssize_t length, room;
} Ints;

typedef struct {
    Py_UCS4 *at;
    Py_ssize_t length, room;
} Chars;

enum { DEEPEST = 600, MOST_FORMATS = 60, MOST_REOPENED = 100000 };

/* an element that is open */
typedef struct {
    const Tag *tag; /* NULL where unknown */
    uint64_t hash;  /* of its name */
    int32_t element, formats;
    uint8_t foreign, gone, format;
} Open;

/* a formatting element that goes on until its end tag; a marker has no tag */
typedef struct {
    const Tag *tag;
    uint64_t source;
    int32_t place, on; /* of its names; on the stack, -1 where cut off */
} Format;

typedef struct {
    uint64_t hash;
    int32_t place; /* in the list of names + 1, 0 where empty */
} Name;

typedef struct {
    int32_t units, words, seen[CLASS + 1];
} Counts;

typedef struct {
    int failed, kind;
    /* the tree */
    Open stack[DEEPEST + 2];
    Format formats[MOST_FORMATS + DEEPEST + 8];
    int32_t tables[DEEPEST + 2];
    int32_t depth, n_formats, n_tables, templates, open_p, skipping, form, reopened, deepest, attributes;
    int phase, quirks, named_html, named_body;
    PyObject *title, *metas, *scripts;
    /* the blocks */
    Ints tags, parents, first, last, named, rows;
    Chars line, piece; /* white space runs in them are one space each, but for <pre> */
    PyObject *texts;
    int32_t n_texts;
    int32_t links, bolds, pres, images, inputs, marks, breaks;
    /* names: their characters one behind the other, and where each ends */
    char *pool;
    size_t pooled, pool_room;
    Ints name_ends;
    Name *names;
    size_t name_slots;
    Counts own; /* of `piece` */
    /* the line that is being read */
    Counts seen;
    int blank, after_link;
    int32_t line_depth, leaf, link_units, bold_units, link_count;
} Reader;

/* attributes that matter: what names an element first, then what hides it */
enum {
    K_CLASS, K_ID, K_ROLE, K_ITEMPROP, K_STYLE, K_HIDDEN, K_ARIA_HIDDEN, K_NAMES, K_NAME = K_NAMES, K_PROPERTY, K_CONTENT,
    K_TYPE, K_FONT, KEYS
};
enum { IN_THE_HEAD, AFTER_HEAD, IN_BODY, IN_FRAMESET };
enum { NO_FORM = -1, ENDED_FORM = -2 }; /* else its place on the stack; ended: without its own end tag */

static void
push_int(Reader *r, Ints *ints, int32_t value)
{
    if (ints->length == ints->room) {
        Py_ssize_t room = ints->room ? ints->room * 2 : 1024;
        int32_t *at = realloc(ints->at, (size_t)room * sizeof *at);
        if (at == NULL) {
            r->failed = 1;
            return;
        }
        ints->at = at;
        ints->room = room;
    }
    ints->at[ints->length++] = value;
}

/* whether there is room for so many more */
static int
reserve(Reader *r, Chars *chars, Py_ssize_t more)
{
    if (chars->length + more > chars->room) {
        Py_ssize_t room = (chars->length + more) * 2 + 1024;
        Py_UCS4 *at = realloc(chars->at, (size_t)room * sizeof *at);
        if (at == NULL) {
            r->failed = 1;
            return 0;
        }
        chars->at = at;
        chars->room = room;
    }
    return 1;
}

static uint64_t
hash_bytes(const char *at, size_t length)
{
    uint64_t h = length * 0x9E3779B97F4A7C15u, part;
    for (; length >= 8; at += 8, length -= 8) {
        memcpy(&part, at, 8);
        h = (h ^ part) * 0x9FB21C651E98DF25u;
        h ^= h >> 29;
    }
    part = 0;
    memcpy(&part, at, length);
    h = (h ^ part) * 0x9FB21C651E98DF25u;
    return h ^ h >> 32;
}

/* the place of the name that has been written behind the pool, `length` bytes of it */
static int32_t
place_of(Reader *r, size_t length)
{
    const char *own = r->pool + r->pooled;
    uint64_t hash = hash_bytes(own, length);
    size_t slot = hash & (r->name_slots - 1);
    for (; r->names[slot].place; slot = (slot + 1) & (r->name_slots - 1)) {
        int32_t place = r->names[slot].place - 1;
        size_t from = place ? (size_t)r->name_ends.at[place - 1] : 0, to = (size_t)r->name_ends.at[place];
        if (r->names[slot].hash == hash && to - from == length && !memcmp(r->pool + from, own, length))
            return place;
    }
    r->names[slot].hash = hash;
    r->names[slot].place = (int32_t)r->name_ends.length + 1;
    r->pooled += length;
    push_int(r, &r->name_ends, (int32_t)r->pooled);
    if ((size_t)r->name_ends.length * 2 > r->name_slots) {
        size_t slots = r->name_slots * 4;
        Name *names = calloc(slots, sizeof *names);
        if (names == NULL) {
            r->failed = 1;
            return 0;
        }
        for (size_t i = 0; i < r->name_slots; i++) {
            size_t to = r->names[i].hash & (slots - 1);
            if (!r->names[i].place)
                continue;
            while (names[to].place)
                to = (to + 1) & (slots - 1);
            names[to] = r->names[i];
        }
        free(r->names);
        r->names = names;
        r->name_slots = slots;
    }
    return (int32_t)r->name_ends.length - 1;
}

/* whether `more` bytes can be written behind the pool */
static int
reserve_pool(Reader *r, size_t more)
{
    if (r->pooled + more > r->pool_room) {
        size_t room = (r->pooled + more) * 2;
        char *pool = room < INT32_MAX ? realloc(r->pool, room) : NULL;
        if (pool == NULL) {
            r->failed = 1;
            return 0;
        }
        r->pool = pool;
        r->pool_room = room;
    }
    return 1;
}

static PyObject *
list_names(Reader *r)
{
    PyObject *names = PyList_New(r->name_ends.length);
    for (Py_ssize_t i = 0, from = 0; names != NULL && i < r->name_ends.length; from = r->name_ends.at[i++]) {
        PyObject *name = PyUnicode_FromKindAndData(r->kind, r->pool + from, (r->name_ends.at[i] - from) / r->kind);
        if (name == NULL)
            Py_CLEAR(names);
        else
            PyList_SET_ITEM(names, i, name);
    }
    return names;
}

/* ---- blocks ---------------------------------------------------------------------------------------------------- */

static void
start_line(Reader *r)
{
    r->line.length = 0;
    r->blank = 1;
    r->after_link = 0;
    r->line_depth = r->leaf = r->link_units = r->bold_units = r->link_count = 0;
    memset(&r->seen, 0, sizeof r->seen);
}

/* lines stay, their ends and empty ones around all do not; in place */
static void
keep_lines(Chars *line)
{
    Py_UCS4 *text = line->at;
    Py_ssize_t a = 0, b, length = 0;
    for (b = 0; a < line->length; a++)
        if (text[a] != '\r')
            text[b++] = text[a];
        else if (a + 1 == line->length || text[a + 1] != '\n')
            text[b++] = '\n';
    for (a = 0; a < b && text[a] == '\n'; a++)
        ;
    while (b > a && text[b - 1] == '\n')
        b--;
    for (; a <= b; a++) {
        if (a < b && text[a] != '\n') {
            text[length++] = text[a];
            continue;
        }
        while (length && text[length - 1] != '\n' && is_space(text[length - 1]))
            length--;
        if (a < b)
            text[length++] = '\n';
    }
    while (length && text[length - 1] == '\n')
        length--;
    for (a = 0; a < length && text[a] == '\n'; a++)
        ;
    memmove(text, text + a, (size_t)(length - a) * sizeof *text);
    line->length = length - a;
}

static void
flush(Reader *r)
{
    if (r->blank || !reserve(r, &r->line, 1)) {
        start_line(r);
        return;
    }
    if (r->pres)
        keep_lines(&r->line);
    else if (r->line.at[r->line.length - 1] == ' ')
        r->line.length--;
    const Py_UCS4 *text = r->line.at;
    const int32_t *seen = r->seen.seen;
    Py_ssize_t a = 0, b = r->line.length;
    while (a < b && (KIND(text[a]) & QUOTE))
        a++;
    while (b > a && (KIND(text[b - 1]) & QUOTE))
        b--;
    int32_t row[] = {
        r->leaf, r->seen.units, r->link_units, r->bold_units, r->link_count, r->seen.words, seen[UPPER] + seen[LOWER], seen[UPPER],
        seen[DIGIT], seen[STOP], seen[COMMA], seen[SIGN], a < b ? KIND(text[a]) & CLASS : OTHER,
        a < b ? KIND(text[b - 1]) & CLASS : OTHER, r->breaks, r->images, r->inputs, r->marks,
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        push_int(r, &r->rows, row[i]);
    PyObject *found = PyUnicode_FromKindAndData(PyUnicode_4BYTE_KIND, text, r->line.length);
    if (found == NULL || PyList_Append(r->texts, found))
        r->failed = 1;
    Py_XDECREF(found);
    r->n_texts++;
    r->images = r->inputs = r->marks = r->breaks = 0;
    start_line(r);
}

/* whether a word that came now would be a new one */
static int
ends_in_space(const Reader *r)
{
    return !r->line.length || is_space(r->line.at[r->line.length - 1]);
}

static int32_t
open_element(Reader *r, const Tag *tag, int32_t place)
{
    int role = tag ? tag->role : T_OTHER;
    r->marks++;
    if (tag && (tag->flags & BLOCK))
        flush(r);
    int32_t element = (int32_t)r->tags.length;
    push_int(r, &r->tags, tag ? tag->code : 0);
    push_int(r, &r->parents, r->depth ? r->stack[r->depth - 1].element : 0);
    push_int(r, &r->first, r->n_texts);
    push_int(r, &r->last, r->n_texts);
    push_int(r, &r->named, place);
    if (role == T_A) {
        r->links++;
        r->link_count++;
        if (r->after_link && reserve(r, &r->line, 1) && (r->pres || !ends_in_space(r)))
            r->line.at[r->line.length++] = ' ';
    }
    else if (role == T_B || role == T_STRONG)
        r->bolds++;
    else if (role == T_PRE)
        r->pres++;
    else if (role == T_BUTTON)
        r->inputs++;
    return element;
}

static void
end_element(Reader *r, const Tag *tag)
{
    int role = tag ? tag->role : T_OTHER;
    r->marks++;
    if (tag && (tag->flags & BLOCK))
        flush(r);
    if (role == T_A) {
        r->links--;
        r->after_link = 1;
    }
    else if (role == T_B || role == T_STRONG)
        r->bolds--;
    else if (role == T_PRE)
        r->pres--;
}

/* what stands in `piece` */
static void
add_text(Reader *r)
{
    const Py_UCS4 *piece = r->piece.at;
    Py_ssize_t length = r->piece.length;
    if (!length || !reserve(r, &r->line, length))
        return;
    if (ends_in_space(r)) {
        if (!r->pres && *piece == ' ')
            piece++, length--;
    }
    else if (!is_space(*piece))
        r->seen.words--; /* one word with what stands before it */
    memcpy(r->line.at + r->line.length, piece, (size_t)length * sizeof *piece);
    r->line.length += length;
    if (!r->own.units)
        return;
    if (r->blank) {
        r->blank = 0;
        r->line_depth = r->depth;
        if (r->links && r->link_count < 1)
            r->link_count = 1;
    }
    if (r->depth < r->line_depth)
        r->line_depth = r->depth;
    r->leaf = r->line_depth ? r->stack[r->line_depth - 1].element : 0;
    r->seen.units += r->own.units;
    r->seen.words += r->own.words;
    for (int i = 0; i <= CLASS; i++)
        r->seen.seen[i] += r->own.seen[i];
    r->after_link = 0;
    if (r->links)
        r->link_units += r->own.units;
    if (r->bolds)
        r->bold_units += r->own.units;
}

/* ---- the stack ------------------------------------------------------------------------------------------------- */

#define TOP(r) (&(r)->stack[(r)->depth - 1])
#define FLAGS(open) ((open)->tag ? (open)->tag->flags : 0)
#define ROLE_OF(open) ((open)->tag ? (open)->tag->role : T_OTHER)
#define IS_ROLE(open, asked) ((open)->tag && (open)->tag->role == (asked))
#define IS_FOREIGN(r) (TOP(r)->foreign && !(FLAGS(TOP(r)) & INTEGRATION))
#define IS_FOSTER(role) ((role) == T_TABLE || ((role) >= T_TBODY && (role) <= T_TR))
#define IS_PART(role) ((role) >= T_CAPTION && (role) <= T_TH)

static int
level_of(int role)
{
    return role == T_TABLE ? 0 : role >= T_TBODY && role <= T_TFOOT ? 1 : role == T_TR ? 2 : 3; /* cells and captions */
}

static void
pop(Reader *r)
{
    do {
        Open *one = TOP(r);
        int32_t at = --r->depth;
        if (one->element < 0)
            r->skipping--;
        else {
            end_element(r, one->tag);
            r->last.at[one->element] = r->n_texts + (r->blank ? 0 : 1);
        }
        if (one->format)
            for (int32_t i = r->n_formats - 1; i >= 0; i--)
                if (r->formats[i].on == at) {
                    r->formats[i].on = -1;
                    break;
                }
        if (r->n_tables && r->tables[r->n_tables - 1] == at) {
            r->n_tables--;
            r->templates -= IS_ROLE(one, T_TEMPLATE);
        }
        if ((FLAGS(one) & MARKER) && !one->foreign)
            r->n_formats = one->formats;
        r->open_p -= IS_ROLE(one, T_P) && !one->foreign;
        if (r->form == at)
            r->form = ENDED_FORM;
    } while (r->depth && TOP(r)->gone);
}

static void
pop_through(Reader *r, int32_t at)
{
    while (r->depth > at)
        pop(r);
}

/* open an element; NULL where it lies too deep and closes at once */
static Open *
push(Reader *r, const Tag *tag, uint64_t hash, int32_t place, int foreign)
{
    if (r->depth > r->deepest)
        r->deepest = r->depth;
    int32_t element = -1;
    if (!r->skipping) {
        if (tag && (tag->flags & SKIPPED))
            r->marks++;
        else
            element = open_element(r, tag, place);
    }
    r->skipping += element < 0;
    Open *one = &r->stack[r->depth++];
    *one = (Open){tag, hash, element, r->n_formats, (uint8_t)foreign, 0, 0};
    if (tag && !foreign) {
        if (tag->flags & MARKER)
            r->formats[r->n_formats++] = (Format){NULL, 0, 0, -2};
        if (tag->role == T_TEMPLATE || tag->role == T_TABLE || tag->role == T_CAPTION
            || (tag->role >= T_TBODY && tag->role <= T_TH)) {
            r->tables[r->n_tables++] = r->depth - 1;
            r->templates += tag->role == T_TEMPLATE;
        }
        r->open_p += tag->role == T_P;
    }
    if (r->depth <= DEEPEST)
        return one;
    pop(r);
    return NULL;
}

static void
push_role(Reader *r, int role)
{
    push(r, tag_of[role], 0, 0, 0);
}

static void
add_void(Reader *r, const Tag *tag)
{
    if (r->depth > r->deepest)
        r->deepest = r->depth;
    if (r->skipping)
        return;
    r->marks++;
    if (tag->flags & SKIPPED)
        return;
    if (tag->flags & BLOCK)
        flush(r);
    if (tag->role == T_BR && r->breaks < 2)
        r->breaks++;
    r->images += tag->role == T_IMG;
    r->inputs += tag->role == T_INPUT;
}

/* where an element of that tag is open in scope, else -1; scopes also end at two roles */
static int32_t
in_scope(const Reader *r, const Tag *tag, int barrier, int other)
{
    for (int32_t at = r->depth - 1; at >= 0; at--) {
        const Open *one = &r->stack[at];
        if (one->gone)
            continue;
        if (one->tag == tag && !one->foreign)
            return at;
        if ((FLAGS(one) & BARRIER) || IS_ROLE(one, barrier) || IS_ROLE(one, other))
            return -1;
    }
    return -1;
}

static int32_t
role_in_scope(const Reader *r, int role)
{
    return in_scope(r, tag_of[role], T_COUNT, T_COUNT);
}

static void
close_p(Reader *r)
{
    int32_t at = r->open_p ? in_scope(r, tag_of[T_P], T_BUTTON, T_COUNT) : -1;
    if (at >= 0)
        pop_through(r, at);
}

static void
close_item(Reader *r, int role)
{
    for (int32_t at = r->depth - 1; at >= 0; at--) {
        const Open *one = &r->stack[at];
        int own = ROLE_OF(one);
        if (one->gone)
            continue;
        if (own == role || (role != T_LI && (own == T_DD || own == T_DT))) {
            pop_through(r, at);
            return;
        }
        if ((FLAGS(one) & SPECIAL) && own != T_ADDRESS && own != T_DIV && own != T_P)
            return;
    }
}

static void
imply(Reader *r, int but)
{
    while ((FLAGS(TOP(r)) & IMPLIED) && !IS_ROLE(TOP(r), but))
        pop(r);
}

static void
end_other(Reader *r, const Tag *tag, uint64_t hash)
{
    for (int32_t at = r->depth - 1; at >= 0; at--) {
        const Open *one = &r->stack[at];
        if (one->gone)
            continue;
        if (one->tag == tag && (tag || one->hash == hash) && !one->foreign) {
            pop_through(r, at);
            return;
        }
        if (FLAGS(one) & SPECIAL)
            return;
    }
}

static int
end_foreign(Reader *r, const Tag *tag, uint64_t hash)
{
    for (int32_t at = r->depth - 1; at >= 0 && r->stack[at].foreign; at--)
        if (r->stack[at].tag == tag && (tag || r->stack[at].hash == hash)) {
            pop_through(r, at);
            return 1;
        }
    return 0;
}

static void
end_heading(Reader *r)
{
    for (int32_t at = r->depth - 1; at >= 0; at--) {
        if ((FLAGS(&r->stack[at]) & HEADING) && !r->stack[at].gone) {
            pop_through(r, at);
            return;
        }
        if (FLAGS(&r->stack[at]) & BARRIER)
            return;
    }
}

static void
end_form(Reader *r)
{
    int32_t form = r->form, at = role_in_scope(r, T_FORM);
    if (r->templates) {
        if (at >= 0)
            pop_through(r, at);
        return;
    }
    r->form = NO_FORM;
    if (form < 0 || at < 0)
        return;
    imply(r, T_COUNT);
    if (r->depth - 1 == form)
        pop(r);
    else
        r->stack[form].gone = 1;
}

/* ---- tables ---------------------------------------------------------------------------------------------------- */

/* make the innermost part of a table one that can hold a part of this role; whether there is one */
static int
make_part_room(Reader *r, int role)
{
    int wanted = role == T_CAPTION || role == T_COL || role == T_COLGROUP ? 1 : level_of(role);
    while (r->n_tables) {
        int inner = ROLE_OF(&r->stack[r->tables[r->n_tables - 1]]);
        if (inner == T_TEMPLATE || level_of(inner) < wanted)
            break;
        pop_through(r, r->tables[r->n_tables - 1]);
    }
    if (!r->n_tables || IS_ROLE(&r->stack[r->tables[r->n_tables - 1]], T_TEMPLATE))
        return 0;
    int32_t at = r->tables[r->n_tables - 1];
    int inner = ROLE_OF(&r->stack[at]);
    while (r->depth - 1 > at && !(role == T_COL && IS_ROLE(TOP(r), T_COLGROUP)))
        pop(r);
    if (wanted > 1 && inner == T_TABLE)
        push_role(r, T_TBODY);
    if (wanted > 2 && inner != T_TR)
        push_role(r, T_TR);
    return 1;
}

static void
end_part(Reader *r, const Tag *tag)
{
    int role = tag->role;
    if (role == T_COLGROUP && IS_ROLE(TOP(r), T_COLGROUP))
        pop(r);
    for (int32_t i = r->n_tables - 1; i >= 0; i--) {
        int own = ROLE_OF(&r->stack[r->tables[i]]);
        if (own == role) {
            pop_through(r, r->tables[i]);
            return;
        }
        if (own == T_TABLE || own == T_TEMPLATE || (own == T_CAPTION && role != T_TABLE))
            return;
        if ((own == T_TD || own == T_TH) && (role == T_TD || role == T_TH || role == T_CAPTION))
            return;
    }
}

/* ---- formatting ------------------------------------------------------------------------------------------------ */

static void
forget(Reader *r, int32_t i)
{
    memmove(&r->formats[i], &r->formats[i + 1], (size_t)(r->n_formats - i - 1) * sizeof *r->formats);
    r->n_formats--;
}

static void
remember(Reader *r, const Tag *tag, int32_t place, uint64_t source)
{
    if (r->n_formats >= MOST_FORMATS)
        return;
    int alike = 0;
    for (int32_t i = r->n_formats - 1; i >= 0 && r->formats[i].tag; i--)
        if (r->formats[i].tag == tag && r->formats[i].source == source && ++alike == 3) {
            forget(r, i);
            break;
        }
    r->formats[r->n_formats++] = (Format){tag, source, place, r->depth - 1};
    TOP(r)->format = 1;
}

static void
reopen(Reader *r)
{
    int32_t i = r->n_formats;
    while (i && r->formats[i - 1].on == -1)
        i--;
    for (; i < r->n_formats; i++) {
        if (r->reopened >= MOST_REOPENED)
            return;
        r->reopened++;
        Open *one = push(r, r->formats[i].tag, 0, r->formats[i].place, 0);
        if (one) {
            one->format = 1;
            r->formats[i].on = r->depth - 1;
        }
    }
}

static int32_t
format_of(const Reader *r, const Tag *tag)
{
    for (int32_t i = r->n_formats - 1; i >= 0 && r->formats[i].tag; i--)
        if (r->formats[i].tag == tag)
            return i;
    return -1;
}

/* end the element at a place of the stack, while `inner`, in it, does not end */
static void
take_out(Reader *r, int32_t at, int32_t inner)
{
    Open *one = &r->stack[at];
    if (one->element < 0)
        r->skipping--;
    else {
        end_element(r, one->tag);
        r->last.at[one->element] = inner >= 0 ? r->first.at[inner] : r->n_texts;
        if (r->line_depth > at)
            r->line_depth--;
    }
    memmove(one, one + 1, (size_t)(r->depth - at - 1) * sizeof *one);
    r->depth--;
    for (int32_t i = 0; i < r->n_formats; i++) {
        if (r->formats[i].on == at)
            r->formats[i].on = -1;
        else if (r->formats[i].on > at)
            r->formats[i].on--;
    }
    for (int32_t i = 0; i < r->n_tables; i++)
        r->tables[i] -= r->tables[i] > at;
    if (r->form == at)
        r->form = ENDED_FORM;
    else if (r->form > at)
        r->form--;
}

/* the end tag of a formatting element */
static void
end_format(Reader *r, const Tag *tag)
{
    if (TOP(r)->tag == tag && !TOP(r)->format && !TOP(r)->foreign) {
        pop(r);
        return;
    }
    int32_t ended = format_of(r, tag);
    if (ended < 0) {
        end_other(r, tag, 0);
        return;
    }
    int32_t at = r->formats[ended].on, furthest = -1;
    if (at < 0) {
        forget(r, ended);
        return;
    }
    for (int32_t k = r->depth - 1; k > at; k--) {
        if (r->stack[k].gone)
            continue;
        if (FLAGS(&r->stack[k]) & BARRIER)
            return;
        if (FLAGS(&r->stack[k]) & SPECIAL)
            furthest = k;
    }
    forget(r, ended);
    if (furthest < 0) {
        pop_through(r, at);
        return;
    }
    r->stack[at].format = 0;
    int32_t around = r->stack[at - 1].element;
    while (at < furthest) {
        int32_t kept = at;
        while (kept < furthest && !r->stack[kept].format)
            kept++;
        /* from `at` to `kept` all end */
        int32_t inner = r->stack[kept].element;
        for (; at < kept; kept--, furthest--)
            take_out(r, at, inner);
        if (inner >= 0 && around >= 0)
            r->parents.at[inner] = around;
        around = inner;
        at++;
    }
    if (at == furthest) {
        int32_t inner = r->stack[furthest].element;
        if (inner >= 0 && around >= 0)
            r->parents.at[inner] = around;
    }
}

/* ---- one page -------------------------------------------------------------------------------------------------- */

static void
begin_body(Reader *r)
{
    r->phase = IN_BODY;
    r->skipping--;
    push_role(r, T_BODY);
}

static void
free_reader(Reader *r)
{
    Py_XDECREF(r->texts), Py_XDECREF(r->title), Py_XDECREF(r->metas), Py_XDECREF(r->scripts);
    free(r->tags.at), free(r->parents.at), free(r->first.at), free(r->last.at), free(r->named.at), free(r->rows.at);
    free(r->line.at), free(r->piece.at), free(r->pool), free(r->name_ends.at), free(r->names);
    free(r);
}

/* a reader before its page's first character; NULL without memory */
static Reader *
new_reader(int quirks, int kind)
{
    Reader *r = malloc(sizeof *r);
    if (r == NULL)
        return NULL;
    memset(r, 0, sizeof *r);
    r->quirks = quirks;
    r->kind = kind;
    r->form = NO_FORM;
    r->name_slots = 1024;
    r->names = calloc(r->name_slots, sizeof *r->names);
    r->texts = PyList_New(0);
    r->metas = PyList_New(0);
    r->scripts = PyList_New(0);
    if (r->names == NULL || r->texts == NULL || r->metas == NULL || r->scripts == NULL || !reserve_pool(r, 4096)) {
        free_reader(r);
        return NULL;
    }
    place_of(r, 0);
    push_int(r, &r->tags, 0), push_int(r, &r->parents, 0), push_int(r, &r->first, 0), push_int(r, &r->last, 0);
    push_int(r, &r->named, 0);
    start_line(r);
    if (!r->failed)
        push_role(r, T_HTML);
    r->marks++; /* the head, which nobody sees */
    r->skipping++;
    return r;
}
