/* C4's line rules. */
#include "filters.h"

typedef struct {
    Py_ssize_t max_word_length, min_words; /* -1: off */
    int remove_citations, terminal_punctuation, javascript, policy;
} Rules;

typedef struct {
    Py_ssize_t lines, long_word, no_terminal_punctuation, few_words, javascript, policy, lorem_ipsum,
        curly_bracket, sentences;
    int curly_bracket_first;
} Counts;

typedef struct {
    Py_UCS4 *chars;
    Py_ssize_t count, room;
} Buffer;

enum { LOREM_IPSUM = 1, JAVASCRIPT = 2, POLICY = 4, CURLY_BRACKET = 8 };

static const struct {
    const char *text;
    int length, found;
} PHRASES[] = {
    {"lorem ipsum", 11, LOREM_IPSUM}, {"javascript", 10, JAVASCRIPT},  {"terms of use", 12, POLICY},
    {"privacy policy", 14, POLICY},   {"cookie policy", 13, POLICY},   {"uses cookies", 12, POLICY},
    {"use of cookies", 14, POLICY},   {"use cookies", 11, POLICY},
};

static inline Py_UCS4 lower_ascii(Py_UCS4 c)
{
    /* The Kelvin sign is the only other character whose lower case is one ASCII letter. */
    if (c >= 'A' && c <= 'Z')
        return c + 32;
    return c == 0x212A ? 'k' : c;
}

/* Which phrases stand in the line, in any case, and whether a curly bracket does. */
static int find_phrases(const Py_UCS4 *line, Py_ssize_t length)
{
    int found = 0;
    for (Py_ssize_t at = 0; at < length; at++) {
        Py_UCS4 c = lower_ascii(line[at]);
        if (c == '{')
            found |= CURLY_BRACKET;
        if (c != 'l' && c != 'j' && c != 't' && c != 'p' && c != 'c' && c != 'u')
            continue;
        for (size_t i = 0; i < sizeof(PHRASES) / sizeof(PHRASES[0]); i++) {
            int same = 0;
            if (PHRASES[i].text[0] != (char)c || PHRASES[i].length > length - at)
                continue;
            while (same < PHRASES[i].length && lower_ascii(line[at + same]) == (Py_UCS4)PHRASES[i].text[same])
                same++;
            if (same == PHRASES[i].length)
                found |= PHRASES[i].found;
        }
    }
    return found;
}

static int starts_with(Chars chars, Py_ssize_t at, Py_ssize_t stop, const char *text)
{
    for (; *text; text++, at++)
        if (at >= stop || char_at(chars, at) != (Py_UCS4)*text)
            return 0;
    return 1;
}

/* Characters of the citation at `at`, 0 where there is none: [], [12], [edit], [citation needed]. */
static Py_ssize_t citation(Chars chars, Py_ssize_t at, Py_ssize_t stop)
{
    Py_ssize_t end = at + 1;
    while (end < stop && Py_UNICODE_ISDECIMAL(char_at(chars, end)))
        end++;
    if (end < stop && char_at(chars, end) == ']')
        return end + 1 - at;
    if (starts_with(chars, at, stop, "[edit]"))
        return 6;
    return starts_with(chars, at, stop, "[citation needed]") ? 17 : 0;
}

/* Copies the line behind what the buffer holds. */
static int copy_line(Chars chars, Span line, int without_citations, Buffer *buffer)
{
    if (grow((void **)&buffer->chars, &buffer->room, buffer->count + line.stop - line.start + 1,
             sizeof(Py_UCS4)) < 0)
        return -1;
    for (Py_ssize_t at = line.start; at < line.stop;) {
        Py_UCS4 c = char_at(chars, at);
        Py_ssize_t skip = without_citations && c == '[' ? citation(chars, at, line.stop) : 0;
        if (skip == 0)
            buffer->chars[buffer->count++] = c;
        at += skip ? skip : 1;
    }
    return 0;
}

static int is_terminal(const Py_UCS4 *line, Py_ssize_t length)
{
    if (length == 0)
        return 0;
    Py_UCS4 last = line[length - 1];
    if (last != '.' && last != '?' && last != '!' && last != '"' && last != '\'')
        return 0;
    return !(length >= 3 && last == '.' && line[length - 2] == '.' && line[length - 3] == '.');
}

static Py_ssize_t count_words(Chars chars, Span line, Py_ssize_t *longest)
{
    Py_ssize_t words = 0, length = 0;
    *longest = 0;
    for (Py_ssize_t at = line.start; at < line.stop; at++) {
        if (is_space(char_at(chars, at)))
            length = 0;
        else {
            words += length == 0;
            if (++length > *longest)
                *longest = length;
        }
    }
    return words;
}

/* Sentences of a line: without a str where a Lexicon of this module counts them. */
static Py_ssize_t count_sentences(PyObject *sentences, const Py_UCS4 *line, Py_ssize_t length)
{
    if (PyCFunction_Check(sentences) &&
        PyCFunction_GET_FUNCTION(sentences) == (PyCFunction)lexicon_sentences_method) {
        Chars chars = {4, line, length};
        return lexicon_sentences((Lexicon *)PyCFunction_GET_SELF(sentences), chars);
    }
    PyObject *text = PyUnicode_FromKindAndData(4, line, length);
    PyObject *number = text ? PyObject_CallOneArg(sentences, text) : NULL;
    Py_XDECREF(text);
    if (number == NULL)
        return -1;
    Py_ssize_t count = PyLong_AsSsize_t(number);
    Py_DECREF(number);
    return count;
}

/* Whether the line stays: 1 (then it is in the buffer), 0, or -1 on error. */
static int judge_line(Chars chars, Span line, const Rules *rules, Counts *counts, Buffer *buffer)
{
    Py_ssize_t longest, before = buffer->count, words = count_words(chars, line, &longest);
    if (rules->max_word_length >= 0 && longest > rules->max_word_length) {
        counts->long_word++;
        return 0;
    }
    if (copy_line(chars, line, rules->remove_citations, buffer) < 0)
        return -1;
    const Py_UCS4 *copied = buffer->chars + before;
    Py_ssize_t length = buffer->count - before;
    if (rules->terminal_punctuation && !is_terminal(copied, length)) {
        counts->no_terminal_punctuation++;
        return 0;
    }
    if (words < rules->min_words) {
        counts->few_words++;
        return 0;
    }
    int found = find_phrases(copied, length), condemned = counts->lorem_ipsum + counts->curly_bracket > 0;
    counts->lorem_ipsum += (found & LOREM_IPSUM) != 0;
    if (rules->javascript && (found & JAVASCRIPT)) {
        counts->javascript++;
        return 0;
    }
    counts->curly_bracket += (found & CURLY_BRACKET) != 0;
    if (!condemned && (found & CURLY_BRACKET) && !(found & LOREM_IPSUM))
        counts->curly_bracket_first = 1;
    if (rules->policy && (found & POLICY)) {
        counts->policy++;
        return 0;
    }
    return 1;
}

static int read_limit(PyObject *rules, Py_ssize_t at, Py_ssize_t *limit)
{
    PyObject *value = PyTuple_GET_ITEM(rules, at);
    *limit = value == Py_None ? -1 : PyLong_AsSsize_t(value);
    return *limit == -1 && PyErr_Occurred() ? -1 : 0;
}

static int read_rules(PyObject *given, Rules *rules)
{
    if (PyTuple_GET_SIZE(given) != 6) {
        PyErr_SetString(PyExc_TypeError, "c4_lines() takes a C4Rules");
        return -1;
    }
    if (read_limit(given, 0, &rules->max_word_length) < 0 || read_limit(given, 3, &rules->min_words) < 0)
        return -1;
    rules->remove_citations = PyObject_IsTrue(PyTuple_GET_ITEM(given, 1));
    rules->terminal_punctuation = PyObject_IsTrue(PyTuple_GET_ITEM(given, 2));
    rules->javascript = PyObject_IsTrue(PyTuple_GET_ITEM(given, 4));
    rules->policy = PyObject_IsTrue(PyTuple_GET_ITEM(given, 5));
    return PyErr_Occurred() ? -1 : 0;
}

PyObject *c4_lines(PyObject *self, PyObject *args)
{
    PyObject *text, *given, *sentences, *fields = NULL;
    Rules rules;
    if (!PyArg_ParseTuple(args, "UO!O", &text, &PyTuple_Type, &given, &sentences) || read_rules(given, &rules) < 0)
        return NULL;
    Chars chars = chars_of(text);
    Counts counts = {0};
    Spans lines = {0};
    Buffer kept = {0};
    if (split_lines(chars, &lines) < 0)
        goto done;
    for (Py_ssize_t i = 0; i < lines.count; i++) {
        Py_ssize_t before = kept.count;
        int stays = judge_line(chars, strip_span(chars, lines.items[i]), &rules, &counts, &kept);
        if (stays < 0)
            goto done;
        if (!stays) {
            kept.count = before;
            continue;
        }
        Py_ssize_t more = count_sentences(sentences, kept.chars + before, kept.count - before);
        if (more < 0)
            goto done;
        counts.sentences += more;
        kept.chars[kept.count++] = '\n'; /* copy_line left room for it */
    }
    Chars joined = {4, kept.chars, kept.count};
    Span inner = strip_span(joined, (Span){0, kept.count});
    fields = Py_BuildValue(
        "NnnnnnnnnNn", PyUnicode_FromKindAndData(4, kept.chars + inner.start, inner.stop - inner.start), lines.count,
        counts.long_word, counts.no_terminal_punctuation, counts.few_words, counts.javascript, counts.policy,
        counts.lorem_ipsum, counts.curly_bracket, PyBool_FromLong(counts.curly_bracket_first), counts.sentences);
done:
    PyMem_Free(kept.chars);
    spans_free(&lines);
    return make_result("C4Lines", fields);
}
