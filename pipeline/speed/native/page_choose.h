/* Which blocks of a page stay, as pipeline/extractors/mill.py says it and in the order of its sums; included by
   pages.c. */

static struct {
    int prose, reach;
    double min_chance, sure, sure_share, short_cells;
    int8_t groups[256]; /* by tag code: 1 a table, 2 a list */
} choice;

/* pages.set_choice(groups, reach, prose, min_chance, sure, sure_share, short_cells): constants of mill.py; groups are int8 */
static PyObject *
set_choice(PyObject *self, PyObject *args)
{
    Py_buffer groups;
    if (!PyArg_ParseTuple(args, "y*iidddd", &groups, &choice.reach, &choice.prose, &choice.min_chance, &choice.sure,
                          &choice.sure_share, &choice.short_cells))
        return NULL;
    memset(choice.groups, 0, sizeof choice.groups);
    memcpy(choice.groups, groups.buf, groups.len < 256 ? (size_t)groups.len : 256);
    PyBuffer_Release(&groups);
    Py_RETURN_NONE;
}

/* chances of blocks that stand or fall with others, into `moved`; `sums` has room for 3 doubles an element */
static void
move_together(const View *v, const double *chance, double *moved, double *sums, int32_t *group, int8_t *kind)
{
    double *size = sums, *held = size + v->m, *count = held + v->m;
    memset(sums, 0, (size_t)v->m * 3 * sizeof *sums);
    for (int i = 0; i < v->n; i++) {
        int32_t e = BLOCK_COUNT(v, i, LEAF), leaf = e;
        int step = 0;
        while (step < choice.reach && !choice.groups[v->tags[e]])
            e = v->parents[e], step++;
        if (step == choice.reach)
            e = leaf;
        group[i] = e;
        kind[i] = step == choice.reach ? 0 : choice.groups[v->tags[e]];
        size[e] += BLOCK_COUNT(v, i, UNITS);
        held[e] += BLOCK_COUNT(v, i, UNITS) * chance[i];
        count[e] += 1;
    }
    for (int i = 0; i < v->n; i++) {
        int32_t e = group[i];
        int is_short = size[e] / (count[e] > 1 ? count[e] : 1) < choice.short_cells;
        double weight = kind[i] == 2 ? 0.5 : kind[i] == 1 && is_short ? 1.0 : 0.0;
        moved[i] = (1 - weight) * chance[i] + weight * (held[e] / (size[e] > 1 ? size[e] : 1));
    }
}

/* order[0..n): blocks from the likeliest down, equals in reading order; `room` is as large */
static void
sort_down(const double *chance, int32_t *order, int32_t *room, int n)
{
    for (int i = 0; i < n; i++)
        order[i] = i;
    for (int width = 1; width < n; width *= 2) {
        for (int a = 0; a < n; a += 2 * width) {
            int b = min_int(a + width, n), end = min_int(a + 2 * width, n), i = a, j = b;
            for (int k = a; k < end; k++)
                room[k] = i < b && (j >= end || chance[order[i]] >= chance[order[j]]) ? order[i++] : order[j++];
        }
        memcpy(order, room, (size_t)n * sizeof *order);
    }
}

/* write 1 for each block that stays */
static void
choose_blocks(const View *v, const double *chance, const int32_t *order, char *stays)
{
    double all = 0, kept = 0, units = 0, best = -1, cut = 0, sure = 0;
    int first = -1, last = -1, n = v->n;
    for (int k = 0; k < n; k++)
        all += BLOCK_COUNT(v, order[k], UNITS) * chance[order[k]];
    for (int k = 0; k < n; k++) {
        kept += BLOCK_COUNT(v, order[k], UNITS) * chance[order[k]];
        units += BLOCK_COUNT(v, order[k], UNITS);
        double f1 = 2 * kept / (units + all);
        if (f1 > best) {
            best = f1;
            cut = chance[order[k]];
        }
    }
    cut = cut > choice.min_chance ? cut : choice.min_chance;
    for (int i = 0; i < n; i++) {
        int32_t own = BLOCK_COUNT(v, i, UNITS);
        if (own <= choice.prose || 10 * (int64_t)BLOCK_COUNT(v, i, LINK_UNITS) >= 3 * (int64_t)own || !(chance[i] > choice.sure))
            continue;
        sure += own * chance[i];
        first = first < 0 ? i : first;
        last = i;
    }
    int article = sure > choice.sure_share * all;
    for (int i = 0; i < n; i++)
        stays[i] = chance[i] >= (article && (i < first || i > last) && cut < 0.5 ? 0.5 : cut);
}

/* pages.choose(counts, tags, parents, chances) -> a byte for each block, 1 where it stays */
static PyObject *
choose(PyObject *self, PyObject *args)
{
    Py_buffer part[4];
    PyObject *found = NULL;
    if (!PyArg_ParseTuple(args, "y*y*y*y*", &part[0], &part[1], &part[2], &part[3]))
        return NULL;
    View v = {.counts = part[0].buf, .tags = part[1].buf, .parents = part[2].buf};
    v.n = (int)(part[3].len / 8);
    v.m = (int)(part[1].len / 4);
    size_t n = (size_t)v.n, m = (size_t)v.m;
    int sound = part[0].len == part[3].len / 8 * COLUMNS * 4 && part[2].len == part[1].len && m;
    for (int i = 0; sound && i < v.n; i++)
        sound = BLOCK_COUNT(&v, i, LEAF) >= 0 && BLOCK_COUNT(&v, i, LEAF) < v.m;
    for (int e = 0; sound && e < v.m; e++)
        sound = v.parents[e] >= 0 && v.parents[e] <= e && v.tags[e] >= 0 && v.tags[e] < 256;
    double *doubles = malloc((n + 3 * m) * sizeof *doubles);
    int32_t *ints = malloc((n * 2 + 1) * sizeof *ints);
    int8_t *kind = malloc(n + 1);
    if (!sound)
        PyErr_SetString(PyExc_ValueError, "the arrays are no page");
    else if (doubles == NULL || ints == NULL || kind == NULL)
        PyErr_NoMemory();
    else if ((found = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)n)) != NULL) {
        move_together(&v, part[3].buf, doubles, doubles + n, ints, kind);
        sort_down(doubles, ints, ints + n, v.n);
        choose_blocks(&v, doubles, ints, PyBytes_AS_STRING(found));
    }
    free(doubles), free(ints), free(kind);
    for (int i = 0; i < 4; i++)
        PyBuffer_Release(&part[i]);
    return found;
}
