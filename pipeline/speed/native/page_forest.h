/* A forest of boosted trees over the rows of a page, by bit vectors (QuickScorer, Lucchese et al., SIGIR 2015).

   A tree of at most 32 leaves is a word with a bit for each leaf, from left to right. A node whose feature is above
   its threshold strikes out the leaves below its left child, and the lowest bit that is left when all nodes have been
   asked is the leaf. No node waits for another and none is branched on, so TILE rows go side by side in vectors, of
   LANES rows each: GCC leaves a comparison of wider vectors than the machine has to scalars. */

#include "machine.h"

#if defined(__x86_64__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif
enum { TILE = 16, VECTORS = TILE / LANES, MOST_LEAVES = 32 };
typedef float Values __attribute__((vector_size(LANES * 4), aligned(4)));
typedef int32_t Bits __attribute__((vector_size(LANES * 4)));

typedef struct {
    float threshold;
    int32_t feature;
    int32_t right; /* the leaves that are not below its left child, as bits */
} Node;

typedef struct {
    Py_buffer packed; /* four int32: width, nodes, leaves, trees; the nodes, the leaves, the trees' ends as Tree */
    const Node *nodes;
    const float *leaves;
    const struct Tree *ends;
    int32_t trees;
} Forest;

typedef struct Tree {
    int32_t node, leaf; /* behind its last */
} Tree;

typedef struct {
    Py_ssize_t inner, leaves;
    const int32_t *feature, *left, *right;
    const float *threshold, *values;
} Trees;

/* Write the tree at `root` behind `end`, which moves on; -1 where it is none, or has too many leaves. */
static int
pack_tree(const Trees *t, int32_t root, Node *nodes, float *leaves, Tree *end)
{
    struct { int32_t node, of; uint32_t before; } todo[MOST_LEAVES]; /* nodes whose right child is to come */
    int32_t n_todo = 0, of = root, start = end->leaf;
    for (;;) {
        uint32_t seen = (uint32_t)(((uint64_t)1 << (end->leaf - start)) - 1); /* the tree's leaves so far */
        if (of >= 0) {
            if (of >= t->inner || n_todo == MOST_LEAVES - 1 || end->node == t->inner)
                return -1;
            todo[n_todo].of = of;
            todo[n_todo].node = end->node;
            todo[n_todo++].before = seen;
            nodes[end->node++] = (Node){t->threshold[of], t->feature[of], 0};
            of = t->left[of];
            continue;
        }
        if (~of >= t->leaves || end->leaf - start == MOST_LEAVES || end->leaf == t->leaves)
            return -1;
        leaves[end->leaf++] = t->values[~of];
        seen = seen << 1 | 1;
        if (!n_todo)
            return 0;
        n_todo--;
        nodes[todo[n_todo].node].right = (int32_t)~(seen & ~todo[n_todo].before);
        of = t->right[todo[n_todo].of];
    }
}

/* pages.pack_forest(width, feature, threshold, left, right, leaves, roots) -> the forest of forest.py over rows of
   `width` as `score` and `chances` take it */
static PyObject *
pack_forest(PyObject *self, PyObject *args)
{
    Py_buffer part[6];
    int width;
    if (!PyArg_ParseTuple(args, "iy*y*y*y*y*y*", &width, &part[0], &part[1], &part[2], &part[3], &part[4], &part[5]))
        return NULL;
    Trees t = {part[0].len / 4, part[4].len / 4, part[0].buf, part[2].buf, part[3].buf, part[1].buf, part[4].buf};
    const int32_t *roots = part[5].buf;
    Py_ssize_t trees = part[5].len / 4;
    int sound = width > 0 && t.inner < INT32_MAX && t.leaves < INT32_MAX && trees < INT32_MAX
             && part[1].len == t.inner * 4 && part[2].len == t.inner * 4 && part[3].len == t.inner * 4;
    for (Py_ssize_t i = 0; sound && i < t.inner; i++)
        sound = t.feature[i] >= 0 && t.feature[i] < width;
    PyObject *found = NULL;
    Py_ssize_t size = 16 + t.inner * (Py_ssize_t)sizeof(Node) + t.leaves * 4 + trees * (Py_ssize_t)sizeof(Tree);
    if (sound && (found = PyBytes_FromStringAndSize(NULL, size)) != NULL) {
        int32_t *header = (int32_t *)PyBytes_AS_STRING(found);
        header[0] = width, header[1] = (int32_t)t.inner, header[2] = (int32_t)t.leaves, header[3] = (int32_t)trees;
        Node *nodes = (Node *)(header + 4);
        float *leaves = (float *)(nodes + t.inner);
        Tree *ends = (Tree *)(leaves + t.leaves), end = {0, 0};
        for (Py_ssize_t k = 0; sound && k < trees; k++) {
            sound = !pack_tree(&t, roots[k], nodes, leaves, &end);
            ends[k] = end;
        }
        sound = sound && end.node == t.inner && end.leaf == t.leaves;
    }
    if (!sound) {
        Py_CLEAR(found);
        PyErr_SetString(PyExc_ValueError, "the arrays are no forest over rows of this width, of trees of up to 32 leaves");
    }
    for (int i = 0; i < 6; i++)
        PyBuffer_Release(&part[i]);
    return found;
}

/* take what pack_forest made for this width */
static int
take_forest(PyObject *packed, int32_t width, Forest *forest)
{
    if (PyObject_GetBuffer(packed, &forest->packed, PyBUF_SIMPLE))
        return -1;
    const int32_t *header = forest->packed.buf;
    if (forest->packed.len < 16 || header[0] != width
        || forest->packed.len != 16 + header[1] * (Py_ssize_t)sizeof(Node) + (Py_ssize_t)header[2] * 4
                                    + header[3] * (Py_ssize_t)sizeof(Tree)) {
        PyErr_SetString(PyExc_ValueError, "this is no forest over rows of this width");
        return -1;
    }
    forest->nodes = (const Node *)(header + 4);
    forest->leaves = (const float *)(forest->nodes + header[1]);
    forest->ends = (const Tree *)(forest->leaves + header[2]);
    forest->trees = header[3];
    return 0;
}

static void
release(Forest *forest)
{
    if (forest->packed.obj)
        PyBuffer_Release(&forest->packed);
}

/* add the leaves of TILE rows, in the order of the trees; x: [width, TILE] */
FOR_EACH_MACHINE static void
score_tile(const Forest *forest, const float *restrict x, double *restrict sum)
{
    const Node *node = forest->nodes;
    const float *leaf = forest->leaves;
    for (const Tree *end = forest->ends, *last = end + forest->trees; end < last; end++) {
        Bits left[VECTORS];
        for (int v = 0; v < VECTORS; v++)
            left[v] = ~(Bits){0};
        for (const Node *stop = forest->nodes + end->node; node < stop; node++) {
            const Values *value = (const Values *)(x + (size_t)node->feature * TILE);
            for (int v = 0; v < VECTORS; v++)
                left[v] &= ~(value[v] > node->threshold) | node->right;
        }
        for (int k = 0; k < TILE; k++)
            sum[k] += leaf[__builtin_ctz((uint32_t)left[k / LANES][k % LANES])];
        leaf = forest->leaves + end->leaf;
    }
}

/* the chance of each row of x by its first `width` numbers; rows are `stride` apart, `tile` is room for width * TILE */
static void
score_rows(const Forest *forest, const float *x, Py_ssize_t rows, Py_ssize_t width, Py_ssize_t stride, float *tile,
           double *chance)
{
    for (Py_ssize_t row = 0; row < rows; row += TILE) {
        int many = rows - row < TILE ? (int)(rows - row) : TILE;
        double sum[TILE] = {0};
        for (int k = 0; k < TILE; k++) {
            const float *from = x + (row + (k < many ? k : 0)) * stride;
            for (Py_ssize_t f = 0; f < width; f++)
                tile[f * TILE + k] = from[f];
        }
        score_tile(forest, tile, sum);
        for (int k = 0; k < many; k++)
            chance[row + k] = logistic(sum[k]);
    }
}
