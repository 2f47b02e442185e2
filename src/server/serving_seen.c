/* What is stored of usage files: see serving_seen.h. Places survive the gateway, so they are keys
 * in the store: collection "usage-seen", key "<file>/<place>", a list of all counters. */
#include "server/serving_seen.h"

#include "base/memory.h"
#include "base/strbuf.h"
#include "server/ticker.h"
#include "store/store.h"
#include "wire/doc.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE = 1000, COUNTERS = sizeof(struct usage_counts) / sizeof(uint64_t) };

static const char collection[] = "usage-seen";

struct seen_file *serving_seen_file(const struct serving_seen *seen, const char *name)
{
    return strmap_get(&seen->by_name, name);
}

static struct seen_file *seen_file(struct serving_seen *seen, const char *name)
{
    struct seen_file *file = strmap_get(&seen->by_name, name);
    if (file)
        return file;
    file = mem_alloc(1, sizeof *file);
    file->name = mem_strdup(name);
    strmap_put(&seen->by_name, name, file);
    vec_push(&seen->files, file);
    return file;
}

void serving_seen_set(
    struct serving_seen *seen, const char *name, size_t place, const struct usage_counts *counts)
{
    static const struct usage_counts none;
    struct seen_file *file = seen_file(seen, name);
    while (file->places.count <= place) {
        vec_push(&file->places, none);
        seen->count++;
    }
    file->places.items[place] = *counts;
}

static void drop_file(struct serving_seen *seen, struct seen_file *file)
{
    strmap_remove(&seen->by_name, file->name);
    seen->count -= file->places.count;
    for (size_t i = 0; i < seen->files.count; i++) {
        if (seen->files.items[i] != file)
            continue;
        vec_remove(&seen->files, i);
        break;
    }
    vec_free(&file->places);
    free(file->name);
    free(file);
}

void serving_seen_forget(struct serving_seen *seen, struct seen_file *file, size_t count)
{
    assert(count <= file->places.count);
    file->places.count -= count;
    seen->count -= count;
    if (file->places.count == 0)
        drop_file(seen, file);
}

void serving_seen_finish(struct serving_seen *seen)
{
    while (seen->files.count > 0)
        drop_file(seen, seen->files.items[seen->files.count - 1]);
    vec_free(&seen->files);
    strmap_finish(&seen->by_name);
    *seen = (struct serving_seen){0};
}

static char *seen_key(struct arena *arena, const char *file, size_t place)
{
    return arena_printf(arena, "%s/%05zu", file, place);
}

static void write_counts(const struct usage_counts *counts, struct strbuf *out)
{
    const uint64_t *values = (const uint64_t *)counts;
    for (size_t i = 0; i < COUNTERS; i++)
        strbuf_printf(out, "%c%" PRIu64, i ? ',' : '[', values[i]);
    strbuf_putc(out, ']');
}

/* Counters that were added since it was stored are 0. */
static int read_counts(const char *json, struct usage_counts *ret, struct error *err)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct doc *doc = doc_parse_json(arena, json, strlen(json), DOC_BYTES_MAX, err);
    uint64_t *values = (uint64_t *)ret;
    if (!doc)
        return -1;
    memset(ret, 0, sizeof *ret);
    const struct doc *item = doc->type == DOC_LIST ? doc->first : NULL;
    for (size_t i = 0; item && i < COUNTERS; i++, item = item->next)
        values[i] = item->type == DOC_NUMBER ? strtoull(item->text, NULL, 10) : 0;
    return 0;
}

struct loading {
    struct serving_seen *seen;
    char *last;
    size_t of_page;
};

static int load_one(void *context, const struct document *document, struct error *err)
{
    struct loading *loading = context;
    const char *slash = strrchr(document->key, '/');
    struct usage_counts counts;
    loading->of_page++;
    free(loading->last);
    loading->last = mem_strdup(document->key);
    unsigned long place = slash ? strtoul(slash + 1, NULL, 10) : USAGE_SERIES_MAX;
    if (place >= USAGE_SERIES_MAX)
        return error_set(
            err, ERR_CORRUPT, "%s/%s is no place in a usage file", collection, document->key);
    if (read_counts(document->json, &counts, err) < 0)
        return error_prefix(err, "%s/%s", collection, document->key);
    SCOPED(mem_scope) char *name = mem_strdup(document->key);
    name[slash - document->key] = '\0';
    serving_seen_set(loading->seen, name, place, &counts);
    return 0;
}

int serving_seen_load(struct serving_seen *seen, struct store_reader *reader, struct error *err)
{
    struct loading loading = {.seen = seen, .last = mem_strdup("")};
    int rc;
    serving_seen_finish(seen);
    do {
        SCOPED(mem_scope) char *after = mem_strdup(loading.last);
        loading.of_page = 0;
        rc = reader_documents(reader, collection, NULL, after, PAGE, load_one, &loading, err);
    } while (rc == 0 && loading.of_page == PAGE);
    free(loading.last);
    return rc;
}

void serving_seen_store(
    struct tick *tick, const char *file, size_t place, const struct usage_counts *counts)
{
    struct strbuf json = {0};
    write_counts(counts, &json);
    store_txn_put_document(tick_txn(tick), collection, seen_key(tick_arena(tick), file, place), "",
        strbuf_text(&json), tick_now(tick));
    strbuf_finish(&json);
}

void serving_seen_delete(struct tick *tick, const struct seen_file *file, size_t count)
{
    for (size_t n = 1; n <= count; n++)
        store_txn_delete_document(tick_txn(tick), collection,
            seen_key(tick_arena(tick), file->name, file->places.count - n));
}
