/* The copy: see copy.h.
 *
 * Ids only grow within a kind and rows arrive in their order, so a table is an array in order of
 * ids to which is appended. A row that goes leaves a hole; holes are closed once they are half of
 * the table, so that a change costs a search and, on the average, a constant. */
#include "planner/copy.h"

#include "base/memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { TABLE_FIRST = 16, HOLES_LEAST = 64 };

struct copy_table {
    unsigned char *rows; /* of one size, ids ascending; */
    uint8_t *live;       /* 0: a hole, whose id still stands there */
    size_t size, count, capacity, holes;
};

struct copy {
    struct copy_table tables[ROW_KIND_COUNT];
};

static unsigned char *row_at(const struct copy_table *table, size_t i)
{
    assert(i < table->count);
    return table->rows + i * table->size;
}

static uint64_t id_at(const struct copy_table *table, size_t i)
{
    uint64_t id;
    memcpy(&id, row_at(table, i), sizeof id);
    return id;
}

/* The first place with that id or a greater one. */
static size_t place_of(const struct copy_table *table, uint64_t id)
{
    size_t low = 0, high = table->count;
    if (high && id_at(table, high - 1) < id)
        return high;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (id_at(table, middle) < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_there(const struct copy_table *table, size_t i, uint64_t id)
{
    return i < table->count && id_at(table, i) == id;
}

/* Makes room for one row at place i. */
static void open_place(struct copy_table *table, size_t i)
{
    if (table->count == table->capacity) {
        table->capacity = table->capacity ? table->capacity * 2 : TABLE_FIRST;
        table->rows = mem_resize(table->rows, table->capacity, table->size);
        table->live = mem_resize(table->live, table->capacity, 1);
    }
    table->count++;
    if (i + 1 < table->count) {
        memmove(
            row_at(table, i) + table->size, row_at(table, i), (table->count - 1 - i) * table->size);
        memmove(table->live + i + 1, table->live + i, table->count - 1 - i);
    }
}

static void close_holes(struct copy_table *table)
{
    size_t kept = 0;
    if (table->holes < HOLES_LEAST || table->holes * 2 < table->count)
        return;
    for (size_t i = 0; i < table->count; i++) {
        if (!table->live[i])
            continue;
        if (kept != i)
            memcpy(row_at(table, kept), row_at(table, i), table->size);
        table->live[kept++] = 1;
    }
    table->count = kept;
    table->holes = 0;
}

struct copy *copy_create(void)
{
    struct copy *copy = mem_alloc(1, sizeof *copy);
    for (int kind = 0; kind < ROW_KIND_COUNT; kind++)
        copy->tables[kind].size = row_type((enum row_kind)kind)->size;
    return copy;
}

void copy_clear(struct copy *copy)
{
    for (int kind = 0; kind < ROW_KIND_COUNT; kind++) {
        struct copy_table *table = &copy->tables[kind];
        free(table->rows);
        free(table->live);
        *table = (struct copy_table){.size = table->size};
    }
}

void copy_destroy(struct copy *copy)
{
    if (!copy)
        return;
    copy_clear(copy);
    free(copy);
}

void copy_put(struct copy *copy, enum row_kind kind, const void *row)
{
    struct copy_table *table = &copy->tables[kind];
    uint64_t id;
    memcpy(&id, row, sizeof id);
    assert(id && !row_type(kind)->history);
    size_t i = place_of(table, id);
    if (!is_there(table, i, id))
        open_place(table, i);
    else
        table->holes -= !table->live[i];
    table->live[i] = 1;
    memcpy(row_at(table, i), row, table->size);
}

void copy_remove(struct copy *copy, enum row_kind kind, uint64_t id)
{
    struct copy_table *table = &copy->tables[kind];
    size_t i = place_of(table, id);
    if (!is_there(table, i, id) || !table->live[i])
        return;
    table->live[i] = 0;
    table->holes++;
    close_holes(table);
}

const void *copy_find(const struct copy *copy, enum row_kind kind, uint64_t id)
{
    const struct copy_table *table = &copy->tables[kind];
    size_t i = place_of(table, id);
    return is_there(table, i, id) && table->live[i] ? row_at(table, i) : NULL;
}

size_t copy_count(const struct copy *copy, enum row_kind kind)
{
    return copy->tables[kind].count - copy->tables[kind].holes;
}

void copy_each(const struct copy *copy, enum row_kind kind, core_row_fn *visit, void *context)
{
    const struct copy_table *table = &copy->tables[kind];
    for (size_t i = 0; i < table->count; i++) {
        if (table->live[i])
            visit(context, kind, row_at(table, i));
    }
}

uint64_t copy_digest(const struct copy *copy, enum row_kind kind, uint64_t after, uint64_t last)
{
    const struct copy_table *table = &copy->tables[kind];
    uint64_t digest = CORE_DIGEST_START;
    if (after == UINT64_MAX)
        return digest;
    for (size_t i = place_of(table, after + 1); i < table->count && id_at(table, i) <= last; i++) {
        if (table->live[i])
            digest = core_digest_row(digest, kind, row_at(table, i));
    }
    return digest;
}

size_t copy_bytes(const struct copy *copy)
{
    size_t bytes = 0;
    for (int kind = 0; kind < ROW_KIND_COUNT; kind++)
        bytes += copy->tables[kind].capacity * (copy->tables[kind].size + 1);
    return bytes;
}

struct core *copy_load(
    const struct copy *copy, const struct core_options *options, struct error *err)
{
    struct core *core = core_create(options);
    for (int kind = 0; kind < ROW_KIND_COUNT; kind++) {
        const struct copy_table *table = &copy->tables[kind];
        for (size_t i = 0; i < table->count; i++) {
            if (table->live[i] &&
                core_load_row(core, (enum row_kind)kind, row_at(table, i), err) < 0) {
                core_destroy(core);
                return NULL;
            }
        }
    }
    if (core_load_end(core, err) == 0)
        return core;
    core_destroy(core);
    return NULL;
}
