/* Tables of live rows, ids, and the list of what changed.
 *
 * Invariants: a table's entries are in order of id; an object's item.position is its entry's
 * index; a changed object is in core->changes exactly once; an object that left its table stays in
 * memory until core_end, since its last image may still have to be stored.
 *
 * Ids: one more than the last, and for jobs and attempts at least now << 20, so that they are in
 * order of time for people and for the store's indexes. What was given out last is a row of its
 * own (ROW_COUNTER): ids stay unique when every row that had one is retired and the clock is
 * set back. */
#include "core/table.h"
#include "core/core.h"
#include "core/job.h"
#include "core/sort.h"
#include "core/state.h"
#include "core/symbol.h"

#include <assert.h>

static bool has_slab(enum row_kind kind)
{
    return kind == ROW_JOB || kind == ROW_ATTEMPT || kind == ROW_PLACEMENT || kind == ROW_CHARGE;
}

void *item_alloc(struct core *core, enum row_kind kind, size_t size)
{
    struct item *item = has_slab(kind) ? slab_alloc(&core->slabs[kind], size) : mem_alloc(1, size);
    item->kind = (uint8_t)kind;
    return item;
}

void item_free(struct core *core, struct item *item)
{
    if (item->kind == ROW_JOB)
        job_links_free(core, (struct live_job *)item);
    if (has_slab((enum row_kind)item->kind))
        slab_free(&core->slabs[item->kind], item);
    else
        free(item);
}

static struct live_counter *counter_create(struct core *core, const char *name)
{
    struct live_counter *counter = mem_alloc(1, sizeof *counter);
    struct table *table = &core->tables[ROW_COUNTER];
    counter->row.id = table->last_id + 1;
    size_t length = strlen(name);
    assert(length < sizeof counter->row.name);
    memcpy(counter->row.name, name, length + 1);
    counter->item.kind = ROW_COUNTER;
    counter->item.fresh = 1;
    table_add(core, ROW_COUNTER, &counter->item);
    return counter;
}

/* Lists an object as changed, once. */
static void change_list(struct core *core, struct item *item)
{
    assert(!core->loading);
    if (item->changed)
        return;
    item->changed = 1;
    vec_push(&core->changes, item);
}

void counter_mark(struct core *core, struct live_counter **counter, const char *name, int64_t value)
{
    if (!*counter)
        *counter = counter_create(core, name);
    (*counter)->row.last = value;
    change_list(core, &(*counter)->item);
}

/* The clock is stored with the first change of a moment: idle ticks write nothing. */
static void clock_mark(struct core *core)
{
    counter_mark(core, &core->clock, "clock", core->now_ms);
}

uint64_t id_next(struct core *core, enum row_kind kind)
{
    assert((unsigned)kind < ROW_KIND_COUNT && kind != ROW_COUNTER);
    if (!core->counters[kind])
        core->counters[kind] = counter_create(core, row_type(kind)->name);
    struct live_counter *counter = core->counters[kind];
    uint64_t id = (uint64_t)counter->row.last + 1;
    if (kind == ROW_JOB || kind == ROW_ATTEMPT) {
        uint64_t timed = (uint64_t)core->now_ms << 20;
        id = timed > id ? timed : id;
    }
    counter->row.last = (int64_t)id;
    change_list(core, &counter->item);
    return id;
}

enum { FENCED = 64 }; /* entries from one fence to the next */

/* The entry with the id, or the first with a greater one. */
static size_t table_position(const struct table *table, uint64_t id)
{
    size_t low = 0, high = table->fences.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (table->fences.items[middle] <= id)
            low = middle + 1;
        else
            high = middle;
    }
    low = low ? (low - 1) * FENCED : 0;
    high = low + FENCED < table->entries.count ? low + FENCED : table->entries.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (table->entries.items[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct item *table_find(const struct core *core, enum row_kind kind, uint64_t id)
{
    assert((unsigned)kind < ROW_KIND_COUNT);
    const struct table *table = &core->tables[kind];
    size_t at = table_position(table, id);
    if (at >= table->entries.count || table->entries.items[at].id != id)
        return NULL;
    return table->entries.items[at].item;
}

void table_add(struct core *core, enum row_kind kind, struct item *item)
{
    struct table *table = &core->tables[kind];
    uint64_t id = item_id(item);
    assert(id > table->last_id);
    assert(table->entries.count < UINT32_MAX);
    item->kind = (uint8_t)kind;
    item->position = (uint32_t)table->entries.count;
    if (item->position % FENCED == 0)
        vec_push(&table->fences, id);
    vec_push(&table->entries, ((struct table_entry){id, item}));
    table->last_id = id;
    table->live++;
}

/* Closes the holes when they are more than half, so that a table stays in proportion. */
static void table_compact(struct table *table)
{
    if (table->entries.count < 64 || table->live * 2 > table->entries.count)
        return;
    size_t kept = 0;
    vec_clear(&table->fences);
    for (size_t i = 0; i < table->entries.count; i++) {
        struct table_entry entry = table->entries.items[i];
        if (!entry.item)
            continue;
        if (kept % FENCED == 0)
            vec_push(&table->fences, entry.id);
        entry.item->position = (uint32_t)kept;
        table->entries.items[kept++] = entry;
    }
    assert(kept == table->live);
    table->entries.count = kept;
}

static void table_remove(struct core *core, struct item *item)
{
    struct table *table = &core->tables[item->kind];
    assert(table->entries.items[item->position].item == item);
    table->entries.items[item->position].item = NULL;
    table->live--;
}

void change_new(struct core *core, enum row_kind kind, struct item *item)
{
    *(uint64_t *)item_row(item) = id_next(core, kind);
    item->fresh = 1;
    table_add(core, kind, item);
    if (symbol_counts(kind))
        symbols_hold(core, item);
    change_put(core, item);
}

void change_put(struct core *core, struct item *item)
{
    assert(!item->gone);
    clock_mark(core);
    change_list(core, item);
    if (!symbol_counts((enum row_kind)item->kind))
        symbols_hold(core, item);
}

static void change_remove(struct core *core, struct item *item, enum change_kind change)
{
    assert(!item->gone);
    clock_mark(core);
    change_list(core, item);
    item->gone = (uint8_t)(1 + change);
    table_remove(core, item);
    vec_push(&core->gone, item);
    if (symbol_counts((enum row_kind)item->kind))
        symbols_release(core, item, change == CHANGE_RETIRE);
}

void change_retire(struct core *core, struct item *item)
{
    assert(!row_type((enum row_kind)item->kind)->deleted);
    change_remove(core, item, CHANGE_RETIRE);
}

void change_delete(struct core *core, struct item *item)
{
    change_remove(core, item, CHANGE_DELETE);
}

void change_history(struct core *core, enum row_kind kind, struct item *item)
{
    assert(row_type(kind)->history);
    *(uint64_t *)item_row(item) = id_next(core, kind);
    item->kind = (uint8_t)kind;
    item->fresh = 1;
    item->gone = 1 + CHANGE_PUT;
    clock_mark(core);
    change_list(core, item);
    symbols_hold(core, item);
    vec_push(&core->gone, item);
}

const void *item_image(struct item *item, struct symbol_row *image)
{
    if (item->kind != ROW_SYMBOL)
        return item_row(item);
    const struct live_symbol *symbol = (const struct live_symbol *)item;
    *image = (struct symbol_row){.id = symbol->id, .pinned = symbol->pinned};
    size_t length = strlen(symbol->text);
    assert(length < sizeof image->text);
    memcpy(image->text, symbol->text, length);
    return image;
}

static int by_kind_and_id(const void *a, const void *b, const void *context)
{
    (void)context;
    const struct item *left = a, *right = b;
    if (left->kind != right->kind)
        return left->kind < right->kind ? -1 : 1;
    return compare_u64(item_id(left), item_id(right));
}

void core_changes(struct core *core, core_change_fn *visit, void *context)
{
    sort_pointers((void **)core->changes.items, core->changes.count, by_kind_and_id, NULL);
    for (size_t i = 0; i < core->changes.count; i++) {
        struct item *item = core->changes.items[i];
        enum change_kind change = item->gone ? (enum change_kind)(item->gone - 1) : CHANGE_PUT;
        if (item->fresh && change == CHANGE_DELETE)
            continue; /* the store never saw it */
        struct symbol_row *image = NULL;
        if (item->kind == ROW_SYMBOL)
            image = arena_alloc(core->images, 1, sizeof *image);
        struct core_change out = {change, (enum row_kind)item->kind, item_image(item, image)};
        visit(context, &out);
    }
}

void core_end(struct core *core)
{
    for (size_t i = 0; i < core->changes.count; i++) {
        core->changes.items[i]->changed = 0;
        core->changes.items[i]->fresh = 0;
    }
    vec_clear(&core->changes);
    for (int kind = 0; kind < ROW_KIND_COUNT && core->gone.count > 0; kind++)
        table_compact(&core->tables[kind]);
    for (size_t i = 0; i < core->gone.count; i++)
        item_free(core, core->gone.items[i]);
    vec_clear(&core->gone);
    idmap_clear(&core->symbols_gone);
    vec_clear(&core->decisions);
    arena_reset(core->images);
}
