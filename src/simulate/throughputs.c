/* Reads speeds: the file as a whole, bounded, then a list of what one type of accelerator was
 * measured with. */
#include "simulate/throughputs.h"

#include "base/memory.h"
#include "base/vec.h"
#include "wire/doc.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { FILE_BYTES_MAX = 16 * 1024 * 1024, FILE_ITEMS_MAX = 1024 * 1024, NAME_MAX_BYTES = 64 };

/* A second: what lies beyond is no speed of a training. */
#define STEPS_LEAST 1e-6
#define STEPS_MOST  1e9

struct throughput {
    char model[NAME_MAX_BYTES];
    int64_t batch, ranks;
    double steps;
};

struct throughputs {
    VEC(struct throughput) items;
};

/* The pairs of models that shared an accelerator, and models without a batch, are passed over. */
static void take(struct throughputs *all, const struct doc *one)
{
    struct throughput item = {0};
    const struct doc *alone = doc_get(one, "null");
    int end = 0;
    if (!alone || alone->type != DOC_NUMBER ||
        sscanf(one->key, "('%63[^(](batch size %" SCNd64 ")', %" SCNd64 ")%n", item.model,
            &item.batch, &item.ranks, &end) != 3 ||
        !end || one->key[end])
        return;
    size_t length = strlen(item.model);
    while (length && item.model[length - 1] == ' ')
        item.model[--length] = 0;
    item.steps = strtod(alone->text, NULL);
    if (item.steps >= STEPS_LEAST && item.steps <= STEPS_MOST && item.batch > 0 && item.ranks > 0)
        vec_push(&all->items, item);
}

struct throughputs *throughputs_parse(
    const char *text, size_t length, const char *type, struct error *err)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct doc *doc =
        doc_parse_json_bounded(arena, text, length, FILE_BYTES_MAX, FILE_ITEMS_MAX, err);
    const struct doc *speeds = doc ? doc_get(doc, type) : NULL;
    if (!speeds || speeds->type != DOC_MAP) {
        if (doc)
            error_set(err, ERR_INVALID, "there is no section \"%s\" of speeds", type);
        return NULL;
    }
    struct throughputs *all = mem_alloc(1, sizeof *all);
    for (const struct doc *one = speeds->first; one; one = one->next)
        take(all, one);
    return all;
}

static struct throughputs *read_all(gzFile file, const char *type, struct error *err)
{
    SCOPED(mem_scope) char *text = mem_alloc(FILE_BYTES_MAX + 1, 1);
    int length = gzread(file, text, FILE_BYTES_MAX + 1);
    if (length < 0 || !gzeof(file)) {
        error_set(err, length < 0 ? ERR_IO : ERR_TOO_LARGE,
            length < 0 ? "can not be read" : "is larger than 16 MiB");
        return NULL;
    }
    return throughputs_parse(text, (size_t)length, type, err);
}

struct throughputs *throughputs_read(const char *path, const char *type, struct error *err)
{
    gzFile file = gzopen(path, "re");
    if (!file) {
        error_set(err, ERR_NOT_FOUND, "%.200s: %s", path, strerror(errno ? errno : ENOMEM));
        return NULL;
    }
    struct throughputs *all = read_all(file, type, err);
    gzclose_r(file);
    if (!all)
        error_prefix(err, "%.200s", path);
    return all;
}

void throughputs_destroy(struct throughputs *throughputs)
{
    if (throughputs)
        vec_free(&throughputs->items);
    free(throughputs);
}

double throughputs_find(
    const struct throughputs *throughputs, const char *model, int64_t batch, int64_t ranks)
{
    for (size_t i = 0; i < throughputs->items.count; i++) {
        const struct throughput *one = &throughputs->items.items[i];
        if (one->batch == batch && one->ranks == ranks && strcmp(one->model, model) == 0)
            return one->steps;
    }
    return 0;
}
