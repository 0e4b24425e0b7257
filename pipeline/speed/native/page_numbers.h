/* The numbers of every block of a page, as pipeline/extractors/features.py says them and in its order; included by
   pages.c. Whole numbers and one division each, or running sums of doubles: the same to the last bit as numpy's. */

enum {
    LEAF, UNITS, LINK_UNITS, BOLD_UNITS, LINKS, WORDS, LETTERS, UPPER_CASE, DIGITS, STOPS, COMMAS, SIGNS, FIRST, LAST,
    BREAKS, IMAGES, INPUTS, MARKS, COLUMNS
};
enum { CHAIN = 20, FAR_STEPS = 20, N_HINTS = 24, N_ANCESTORS = 17, FEATURES = 225, CONTEXT = 53, N_CODES = 5 };
enum { PROSE_UNITS = 60, TOLD_AT_MOST = 300 };

static const int LEVELS[] = {1, 2, 3, 4, 5, 7, 9}, PEERS[] = {0, 1, 2, 3, 5}, SHIFTS[] = {-2, -1, 1, 2};
static const int WIDTHS[] = {3, 10}, CONTEXT_SHIFTS[] = {-3, -2, -1, 1, 2, 3}, CONTEXT_WIDTHS[] = {2, 5, 12};
static const int CONTEXT_LEVELS[] = {1, 2, 3, 4, 5, 6, 8, 10};
#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

static int32_t tag_bits[256], tag_order[256], code_article, code_form, code_td;
static double logistic_table[2048];
static int logistic_reach, logistic_steps;

/* pages.set_numbers(tag_bits, tag_order, (article, form, td)): tables of features.py */
static PyObject *
set_numbers(PyObject *self, PyObject *args)
{
    Py_buffer bits, order;
    if (!PyArg_ParseTuple(args, "y*y*(iii)", &bits, &order, &code_article, &code_form, &code_td))
        return NULL;
    int sound = bits.len <= (Py_ssize_t)sizeof tag_bits && order.len <= (Py_ssize_t)sizeof tag_order;
    if (sound) {
        memcpy(tag_bits, bits.buf, (size_t)bits.len);
        memcpy(tag_order, order.buf, (size_t)order.len);
    }
    PyBuffer_Release(&bits), PyBuffer_Release(&order);
    if (sound)
        Py_RETURN_NONE;
    PyErr_SetString(PyExc_ValueError, "tables do not fit");
    return NULL;
}

/* pages.set_logistic(table, reach, steps): the table of forest.py */
static PyObject *
set_logistic(PyObject *self, PyObject *args)
{
    Py_buffer table;
    if (!PyArg_ParseTuple(args, "y*ii", &table, &logistic_reach, &logistic_steps))
        return NULL;
    int sound = table.len <= (Py_ssize_t)sizeof logistic_table
             && table.len == (2 * logistic_reach * logistic_steps + 2) * (Py_ssize_t)sizeof(double);
    if (sound)
        memcpy(logistic_table, table.buf, (size_t)table.len);
    PyBuffer_Release(&table);
    if (sound)
        Py_RETURN_NONE;
    PyErr_SetString(PyExc_ValueError, "table does not fit");
    return NULL;
}

static double
logistic(double x)
{
    double place = ((x < -logistic_reach ? -logistic_reach : x > logistic_reach ? logistic_reach : x) + logistic_reach)
                 * logistic_steps;
    int step = (int)place;
    return logistic_table[step] + (logistic_table[step + 1] - logistic_table[step]) * (place - step);
}

typedef struct {
    PyObject *texts, *title, *description;
    const int32_t *counts, *tags, *parents, *first, *last, *named, *verdicts, *codes;
    int n, m;
} View;

#define BLOCK_COUNT(v, i, column) ((v)->counts[(Py_ssize_t)(i) * COLUMNS + (column)])

static int32_t
max_int(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

static int32_t
min_int(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

/* for every block the steps up from `element` to the first ancestor that holds it too */
static void
steps_to(const View *v, int32_t element, int32_t *level)
{
    int32_t steps[FAR_STEPS];
    int n_steps = 0;
    steps[n_steps++] = element;
    while (steps[n_steps - 1] && n_steps < FAR_STEPS)
        steps[n_steps] = v->parents[steps[n_steps - 1]], n_steps++;
    for (int i = 0; i < v->n; i++)
        level[i] = FAR_STEPS;
    for (int step = n_steps - 1; step >= 0; step--)
        for (int i = v->first[steps[step]]; i < v->last[steps[step]]; i++)
            level[i] = step;
}

/* how many siblings share tag and names with each element */
static int
count_alike(const View *v, int32_t *alike)
{
    size_t slots = 64;
    while (slots < (size_t)v->m * 2)
        slots *= 2;
    int32_t *slot_of = malloc(slots * sizeof *slot_of), *first_of = malloc((size_t)v->m * sizeof *first_of);
    if (slot_of == NULL || first_of == NULL) {
        free(slot_of), free(first_of);
        return -1;
    }
    memset(slot_of, -1, slots * sizeof *slot_of);
    for (int32_t e = 0; e < v->m; e++) {
        uint64_t h = ((uint64_t)(uint32_t)v->parents[e] * 0x9E3779B97F4A7C15u)
                   ^ ((uint64_t)(uint32_t)v->named[e] * 0xC2B2AE3D27D4EB4Fu) ^ ((uint64_t)(uint32_t)v->tags[e] << 17);
        size_t slot = (size_t)((h ^ (h >> 29)) & (slots - 1));
        int32_t other;
        while ((other = slot_of[slot]) >= 0
               && (v->parents[other] != v->parents[e] || v->named[other] != v->named[e] || v->tags[other] != v->tags[e]))
            slot = (slot + 1) & (slots - 1);
        if (other < 0) {
            slot_of[slot] = other = e;
            alike[e] = 0;
        }
        first_of[e] = other;
        alike[other]++;
    }
    for (int32_t e = 0; e < v->m; e++)
        alike[e] = alike[first_of[e]];
    free(slot_of), free(first_of);
    return 0;
}

/* again[i]: copies of a text before it; repeats[i]: copies in all, less one */
static int
count_copies(const View *v, int32_t *again, int32_t *repeats)
{
    PyObject *seen = PyDict_New();
    int32_t *copies = malloc((size_t)(v->n + 1) * sizeof *copies);
    int failed = seen == NULL || copies == NULL;
    for (int i = 0; !failed && i < v->n; i++) {
        PyObject *text = PyList_GET_ITEM(v->texts, i), *place = PyDict_GetItemWithError(seen, text);
        int at = i;
        if (place != NULL)
            at = (int)PyLong_AsLong(place);
        else if (PyErr_Occurred() || (place = PyLong_FromLong(i)) == NULL)
            failed = 1;
        else {
            failed = PyDict_SetItem(seen, text, place) != 0;
            Py_DECREF(place);
            copies[i] = -1;
        }
        if (!failed) {
            again[i] = ++copies[at];
            repeats[i] = at;
        }
    }
    for (int i = 0; !failed && i < v->n; i++)
        repeats[i] = copies[repeats[i]];
    Py_XDECREF(seen);
    free(copies);
    return failed ? -1 : 0;
}

#define PUT(i, column, value) (x[(Py_ssize_t)(i) * width + (column)] = (float)(value))

/* fill the first FEATURES columns of x [n, width] */
static int
fill_features(const View *v, float *x, Py_ssize_t width)
{
    int n = v->n, m = v->m, failed = -1;
    /* running sums, sums[k][i] over the blocks before i */
    enum { S_UNITS, S_LINKS, S_STOPS, S_TAGS, S_LONG, S_TEXT, S_SHORT, S_DIGITS, S_LINKED, S_COMMENTS, SUMS };
    static const int around[] = {S_UNITS, S_TEXT, S_STOPS, S_LONG, S_SHORT, S_DIGITS, S_LINKED, S_COMMENTS};
    int64_t *sums = malloc((size_t)SUMS * (size_t)(n + 1) * sizeof *sums), *votes = calloc((size_t)m, sizeof *votes);
    int32_t *ints = malloc((size_t)n * (CHAIN + 12) * sizeof *ints), *alike = malloc((size_t)m * sizeof *alike);
    double *shares = malloc((size_t)n * 2 * sizeof *shares);
    if (sums == NULL || votes == NULL || ints == NULL || alike == NULL || shares == NULL)
        goto done;
    int32_t *chain = ints, *above = ints + (Py_ssize_t)n * CHAIN, *text = above + n, *prose = text + n, *said = prose + n;
    int32_t *names = said + n, *level = names + n, *title_level = level + n, *again = title_level + n;
    int32_t *repeats = again + n, *own = repeats + n;
    if (count_alike(v, alike) || count_copies(v, again, repeats))
        goto done;
    shares_told(v->texts, v->title, TOLD_AT_MOST, shares);
    shares_told(v->texts, v->description, TOLD_AT_MOST, shares + n);

    int64_t total = 0, all_prose = 0, in_p = 0, in_li = 0;
    int32_t longest = 0;
    for (int i = 0; i < n; i++) {
        int32_t *up = chain + (Py_ssize_t)i * CHAIN;
        up[0] = BLOCK_COUNT(v, i, LEAF);
        above[i] = tag_bits[v->tags[up[0]]];
        for (int k = 1; k < CHAIN; k++) {
            up[k] = v->parents[up[k - 1]];
            above[i] |= tag_bits[v->tags[up[k]]];
        }
        int32_t units = BLOCK_COUNT(v, i, UNITS), links = BLOCK_COUNT(v, i, LINK_UNITS);
        text[i] = units - links;
        prose[i] = units > PROSE_UNITS && 10 * (int64_t)links < 3 * (int64_t)units ? text[i] : 0;
        own[i] = tag_order[v->tags[up[0]]];
        votes[up[1]] += 2 * (int64_t)prose[i];
        votes[up[2]] += prose[i];
        total += units;
        all_prose += prose[i];
        in_p += above[i] & 1 ? units : 0;
        in_li += above[i] & 2 ? units : 0;
        longest = max_int(longest, text[i]);
    }
    double page = total > 0 ? (double)total : 1;

    for (int i = 0; i < n; i++) {
        const int32_t *up = chain + (Py_ssize_t)i * CHAIN, *c = v->counts + (Py_ssize_t)i * COLUMNS;
        static const int raw[] = {UNITS, WORDS, LINKS, IMAGES, MARKS, FIRST, LAST, STOPS, COMMAS, SIGNS};
        static const int share[] = {LINK_UNITS, LETTERS, UPPER_CASE}, rate[] = {UNITS, STOPS, COMMAS, SIGNS, LINKS};
        double units = c[UNITS], words = max_int(c[WORDS], 1);
        int at = 0;
        for (int k = 0; k < COUNT(raw); k++)
            PUT(i, at++, c[raw[k]]);
        for (int k = 0; k < COUNT(share); k++)
            PUT(i, at++, c[share[k]] / units);
        for (int k = 0; k < COUNT(rate); k++)
            PUT(i, at++, c[rate[k]] / words);
        for (int k = 0; k < N_ANCESTORS; k++)
            PUT(i, at++, (above[i] >> k) & 1);
        int depth = 0;
        for (int k = 0; k < CHAIN; k++)
            depth += up[k] > 0;
        PUT(i, at++, own[i]);
        PUT(i, at++, tag_order[v->tags[up[1]]]);
        PUT(i, at++, depth);
        int32_t hidden = 0, low = 0, high = 0, low_sum = 0, high_sum = 0, near_sum = 0, mid_sum = 0, own_sum = 0;
        int32_t near = 0, far = 0;
        for (int k = 0; k < CHAIN; k++) {
            const int32_t *verdict = v->verdicts + (Py_ssize_t)v->named[up[k]] * 4;
            int32_t both = verdict[0] + verdict[1];
            low = min_int(low, verdict[0]);
            high = max_int(high, verdict[1]);
            low_sum += verdict[0];
            high_sum += verdict[1];
            own_sum += k == 0 ? both : 0;
            near_sum += k < 3 ? both : 0;
            mid_sum += k >= 3 && k < 7 ? both : 0;
            near |= k < 3 ? verdict[2] : 0;
            far |= k < 10 ? verdict[2] : 0;
            hidden |= verdict[3];
        }
        names[i] = low + high;
        const int32_t found[] = {hidden, low, high, low_sum, high_sum, own_sum, near_sum, mid_sum};
        for (int k = 0; k < COUNT(found); k++)
            PUT(i, at++, found[k]);
        for (int k = 0; k < N_HINTS; k++)
            PUT(i, at++, ((far >> k) & 1) + ((near >> k) & 1));
        said[i] = (far & 1) + (near & 1) + ((far >> 1) & 1) + ((near >> 1) & 1);
        for (int k = 0; k < COUNT(PEERS); k++)
            PUT(i, at++, alike[up[PEERS[k]]]);
        int32_t peers = 0;
        for (int k = 0; k < 8; k++)
            peers = max_int(peers, alike[up[k]]);
        PUT(i, at++, peers);
    }
    int column = 76;

    for (int k = 0; k < SUMS; k++)
        sums[(Py_ssize_t)k * (n + 1)] = 0;
#define SUM(k, i) sums[(Py_ssize_t)(k) * (n + 1) + (i)]
#define HELD(k, a, b) (SUM(k, b) - SUM(k, a))
    for (int i = 0; i < n; i++) {
        const int32_t *c = v->counts + (Py_ssize_t)i * COLUMNS;
        SUM(S_UNITS, i + 1) = SUM(S_UNITS, i) + c[UNITS];
        SUM(S_LINKS, i + 1) = SUM(S_LINKS, i) + c[LINK_UNITS];
        SUM(S_STOPS, i + 1) = SUM(S_STOPS, i) + c[STOPS];
        SUM(S_TAGS, i + 1) = SUM(S_TAGS, i) + c[MARKS];
        SUM(S_LONG, i + 1) = SUM(S_LONG, i) + (prose[i] > 0);
        SUM(S_TEXT, i + 1) = SUM(S_TEXT, i) + text[i];
        SUM(S_SHORT, i + 1) = SUM(S_SHORT, i) + (c[UNITS] < 20);
        SUM(S_DIGITS, i + 1) = SUM(S_DIGITS, i) + c[DIGITS];
        SUM(S_LINKED, i + 1) = SUM(S_LINKED, i) + (10 * (int64_t)c[LINK_UNITS] > 9 * (int64_t)c[UNITS]);
        SUM(S_COMMENTS, i + 1) = SUM(S_COMMENTS, i) + said[i];
    }
    for (int i = 0; i < n; i++)
        for (int k = 0; k < COUNT(LEVELS); k++) {
            int32_t e = chain[(Py_ssize_t)i * CHAIN + LEVELS[k]], a = v->first[e], b = v->last[e];
            double units = (double)(HELD(S_UNITS, a, b) > 1 ? HELD(S_UNITS, a, b) : 1), count = max_int(b - a, 1);
            PUT(i, column + k, units / page);
            PUT(i, column + COUNT(LEVELS) + k, (double)HELD(S_LINKS, a, b) / units);
            PUT(i, column + 2 * COUNT(LEVELS) + k, count);
            PUT(i, column + 3 * COUNT(LEVELS) + k, (double)HELD(S_STOPS, a, b) / units);
            PUT(i, column + 4 * COUNT(LEVELS) + k, HELD(S_LONG, a, b));
            PUT(i, column + 5 * COUNT(LEVELS) + k, units / count);
            PUT(i, column + 6 * COUNT(LEVELS) + k, (double)HELD(S_TAGS, a, b) / units);
        }
    column += 7 * COUNT(LEVELS);

    int32_t core = 0;
    for (int32_t e = 1; e < m; e++)
        if (votes[e] > votes[core])
            core = e;
    steps_to(v, core, level);
    int64_t inside = 0, within = 0;
    for (int i = 0; i < n; i++)
        if (!level[i]) {
            inside += BLOCK_COUNT(v, i, UNITS);
            within += prose[i];
        }
    for (int i = 0; i < n; i++) {
        PUT(i, column, level[i]);
        PUT(i, column + 1, max_int(v->first[core] - i, 0));
        PUT(i, column + 2, max_int(i - v->last[core] + 1, 0));
        PUT(i, column + 3, (double)inside / page);
        PUT(i, column + 4, within);
        PUT(i, column + 5, (double)within / (double)(all_prose > 1 ? all_prose : 1));
    }
    column += 6;

    int32_t title = 0;
    double best = -1;
    for (int i = 0; i < n; i++) {
        double claim = shares[i] * min_int(BLOCK_COUNT(v, i, UNITS), 120)
                     * (1 + ((above[i] >> N_ANCESTORS) & 1) + ((above[i] >> (N_ANCESTORS + 1)) & 1));
        if (claim > best) {
            best = claim;
            title = i;
        }
    }
    if (best > 0)
        steps_to(v, chain[(Py_ssize_t)title * CHAIN + 1], title_level);
    for (int mark = 0; mark < 2; mark++) { /* any heading, then h1; since, then until */
        int32_t last = -1000;
        for (int i = 0; i < n; i++) {
            last = (above[i] >> (N_ANCESTORS + mark)) & 1 ? i : last;
            PUT(i, column + 4 + 2 * mark, min_int(i - last, 99));
        }
        last = n + 999;
        for (int i = n - 1; i >= 0; i--) {
            last = (above[i] >> (N_ANCESTORS + mark)) & 1 ? i : last;
            PUT(i, column + 5 + 2 * mark, min_int(last - i, 99));
        }
    }
    for (int i = 0; i < n; i++) {
        PUT(i, column, (double)(i + 1) / n);
        PUT(i, column + 1, i);
        PUT(i, column + 2, (double)SUM(S_UNITS, i) / page);
        PUT(i, column + 3, n - i);
        PUT(i, column + 8, again[i]);
        PUT(i, column + 9, repeats[i]);
        PUT(i, column + 10, shares[i]);
        PUT(i, column + 11, shares[n + i]);
        PUT(i, column + 12, best > 0 ? title_level[i] : -1);
        PUT(i, column + 13, best > 0 ? max_int(min_int(i - title, 60), -30) : -99);
    }
    column += 14;

    for (int k = 0; k < COUNT(SHIFTS); k++, column += 7)
        for (int i = 0; i < n; i++) {
            int j = i + SHIFTS[k];
            if (j < 0 || j >= n) {
                for (int c = 0; c < 7; c++)
                    PUT(i, column + c, -1);
                continue;
            }
            PUT(i, column, BLOCK_COUNT(v, j, UNITS));
            PUT(i, column + 1, text[j]);
            PUT(i, column + 2, BLOCK_COUNT(v, j, LINK_UNITS) / (double)BLOCK_COUNT(v, j, UNITS));
            PUT(i, column + 3, BLOCK_COUNT(v, j, STOPS));
            PUT(i, column + 4, own[j]);
            PUT(i, column + 5, names[j]);
            PUT(i, column + 6, BLOCK_COUNT(v, j, MARKS));
        }
    for (int w = 0; w < COUNT(WIDTHS); w++, column += 2 * COUNT(around))
        for (int i = 0; i < n; i++) {
            int a = max_int(i - WIDTHS[w], 0), b = min_int(i + 1 + WIDTHS[w], n);
            for (int k = 0; k < COUNT(around); k++) {
                PUT(i, column + k, HELD(around[k], a, i));
                PUT(i, column + COUNT(around) + k, HELD(around[k], i + 1, b));
            }
        }
    int32_t most = 0;
    for (int i = 0; i < n; i++)
        most = max_int(most, text[i]), PUT(i, column, most);
    most = 0;
    for (int i = n - 1; i >= 0; i--)
        most = max_int(most, text[i]), PUT(i, column + 1, most);
    column += 2;

    int32_t articles = 0, forms = 0, cells = 0;
    for (int32_t e = 0; e < m; e++) {
        articles += v->tags[e] == code_article;
        forms += v->tags[e] == code_form;
        cells += v->tags[e] == code_td;
    }
    const double whole[] = {
        page, n, (double)SUM(S_LINKS, n) / page, (double)SUM(S_STOPS, n) / page, (double)SUM(S_LONG, n),
        (double)all_prose / page, (double)in_p / page, (double)in_li / page, longest, m, articles, forms, cells,
        v->codes[0], v->codes[1], v->codes[2], v->codes[3], v->codes[4],
    };
    for (int i = 0; i < n; i++)
        for (int k = 0; k < COUNT(whole); k++)
            PUT(i, column + k, whole[k]);
    failed = column + COUNT(whole) == FEATURES ? 0 : -1;
#undef SUM
#undef HELD
done:
    free(sums), free(votes), free(ints), free(alike), free(shares);
    return failed;
}

/* fill the CONTEXT columns of x [n, width] from column FEATURES on */
static int
fill_context(const View *v, const double *chance, float *x, Py_ssize_t width)
{
    int n = v->n, column = FEATURES;
    double *sums = malloc((size_t)(n + 1) * 3 * sizeof *sums);
    int32_t *level = malloc((size_t)n * sizeof *level);
    if (sums == NULL || level == NULL) {
        free(sums), free(level);
        return -1;
    }
    double *units = sums, *expected = units + n + 1, *all = expected + n + 1, likeliest = 0, sure = 0, best_claim = -1;
    int best = 0;
    units[0] = expected[0] = all[0] = 0;
    for (int i = 0; i < n; i++) {
        double own = BLOCK_COUNT(v, i, UNITS), weighed = own * chance[i];
        double claim = chance[i] * (own < 400 ? own : 400);
        units[i + 1] = units[i] + own;
        expected[i + 1] = expected[i] + weighed;
        all[i + 1] = all[i] + chance[i];
        likeliest = chance[i] > likeliest ? chance[i] : likeliest;
        sure += chance[i] > 0.8 ? own : 0;
        if (claim > best_claim) {
            best_claim = claim;
            best = i;
        }
    }
#define AT_LEAST_ONE(value) ((value) > 1 ? (value) : 1.0)
#define MEAN(a, b) ((expected[b] - expected[a]) / AT_LEAST_ONE(units[b] - units[a]))
    double most = AT_LEAST_ONE(expected[n]);
    const double whole[] = {expected[n] / AT_LEAST_ONE(units[n]), expected[n], likeliest, sure / most};
    steps_to(v, v->parents[BLOCK_COUNT(v, best, LEAF)], level);
    for (int i = 0; i < n; i++) {
        int at = column, k;
        PUT(i, at++, chance[i]);
        for (k = 0; k < COUNT(CONTEXT_SHIFTS); k++) {
            int j = i + CONTEXT_SHIFTS[k];
            PUT(i, at++, j < 0 || j >= n ? -1 : chance[j]);
        }
        for (k = 0; k < COUNT(CONTEXT_WIDTHS); k++) {
            int a = max_int(i - CONTEXT_WIDTHS[k], 0), b = min_int(i + CONTEXT_WIDTHS[k] + 1, n);
            PUT(i, at++, (all[b] - all[a]) / (b - a));
            PUT(i, at++, MEAN(a, b));
            PUT(i, at++, MEAN(a, i));
            PUT(i, at++, MEAN(i + 1, b));
        }
        int32_t e = BLOCK_COUNT(v, i, LEAF);
        for (int step = 0, found = 0; found < COUNT(CONTEXT_LEVELS); step++, e = v->parents[e]) {
            if (step != CONTEXT_LEVELS[found])
                continue;
            int a = v->first[e], b = v->last[e];
            PUT(i, at + found, MEAN(a, b));
            PUT(i, at + COUNT(CONTEXT_LEVELS) + found, (all[b] - all[a]) / max_int(b - a, 1));
            PUT(i, at + 2 * COUNT(CONTEXT_LEVELS) + found, (expected[b] - expected[a]) / most);
            found++;
        }
        at += 3 * COUNT(CONTEXT_LEVELS);
        PUT(i, at++, level[i]);
        PUT(i, at++, max_int(min_int(i - best, 60), -60));
        for (k = 0; k < COUNT(whole); k++)
            PUT(i, at++, whole[k]);
        PUT(i, at++, expected[i]);
        PUT(i, at++, expected[n] - expected[i + 1]);
    }
    column += CONTEXT - 2;
    double high = 0;
    for (int i = 0; i < n; i++)
        high = chance[i] > high ? chance[i] : high, PUT(i, column, high);
    high = 0;
    for (int i = n - 1; i >= 0; i--)
        high = chance[i] > high ? chance[i] : high, PUT(i, column + 1, high);
#undef MEAN
#undef AT_LEAST_ONE
    free(sums), free(level);
    return 0;
}
#undef PUT
