/* Symbols: texts stored once and known by number. Only texts of accepted input get here, and each
 * was checked for length before.
 *
 * A symbol lives as long as somebody names it. Rows that jobs bring along are counted, and
 * services; their symbols never change, so counting them when a row comes and goes is enough. What
 * any other row names is pinned for good: there are few of those, and history names them. A symbol
 * without users is retired: its text stays in the store for the ended jobs that name it, and is not
 * loaded again.
 *
 * Invariants: live symbols have distinct texts; each has users or is pinned, but for those made by
 * the command that is being carried out. */
#include "core/symbol.h"
#include "base/hash.h"
#include "core/core.h"
#include "core/job.h"
#include "core/sort.h"
#include "core/state.h"
#include "core/table.h"

#include <assert.h>

enum { SYMBOL_BYTES_MAX = 255 };

static uint64_t hash_of(const char *text)
{
    return (uint64_t)hash_text(text);
}

static struct live_symbol **list_of(const struct core *core, uint64_t hash)
{
    return &core->symbols.lists[hash & (core->symbols.capacity - 1)];
}

/* Twice as many lists. Which symbol of a list is in front decides nothing: texts differ. */
static void index_grow(struct core *core)
{
    enum { LISTS_MIN = 64 };
    struct symbol_index *index = &core->symbols, old = *index;
    index->capacity = old.capacity ? old.capacity * 2 : LISTS_MIN;
    index->lists = mem_alloc(index->capacity, sizeof *index->lists);
    for (size_t i = 0; i < old.capacity; i++) {
        for (struct live_symbol *symbol = old.lists[i], *next; symbol; symbol = next) {
            struct live_symbol **list = list_of(core, hash_of(symbol->text));
            next = symbol->next;
            symbol->next = *list;
            *list = symbol;
        }
    }
    free(old.lists);
}

void symbols_finish(struct core *core)
{
    free(core->symbols.lists);
    core->symbols = (struct symbol_index){0};
}

static struct live_symbol *find(const struct core *core, const char *text, uint64_t hash)
{
    struct live_symbol *symbol = core->symbols.capacity ? *list_of(core, hash) : NULL;
    while (symbol && strcmp(symbol->text, text) != 0)
        symbol = symbol->next;
    return symbol;
}

static struct live_symbol *symbol_at(const struct core *core, uint32_t id)
{
    return (struct live_symbol *)table_find(core, ROW_SYMBOL, id);
}

static size_t size_of(const char *text)
{
    return offsetof(struct live_symbol, text) + strlen(text) + 1;
}

/* An object in the index and in no table yet. */
static struct live_symbol *create(struct core *core, const char *text, uint64_t hash)
{
    size_t size = size_of(text);
    struct live_symbol *symbol = mem_alloc(1, size > sizeof *symbol ? size : sizeof *symbol);
    memcpy(symbol->text, text, strlen(text) + 1);
    if (core->symbols.count == core->symbols.capacity)
        index_grow(core);
    struct live_symbol **list = list_of(core, hash);
    symbol->next = *list;
    *list = symbol;
    core->symbols.count++;
    core->symbol_bytes += (int64_t)size;
    return symbol;
}

/* Takes a symbol that nobody names out of its table. The store may do without one that it never saw
 * and that no row which it keeps has named. */
static void drop(struct core *core, struct live_symbol *symbol)
{
    assert(symbol->users == 0 && !symbol->pinned);
    struct live_symbol **list = list_of(core, hash_of(symbol->text));
    LIST_REMOVE(*list, symbol, next);
    core->symbols.count--;
    idmap_put(&core->symbols_gone, symbol->id, symbol);
    core->symbol_bytes -= (int64_t)size_of(symbol->text);
    if (symbol->item.fresh && !symbol->kept)
        change_delete(core, &symbol->item);
    else
        change_retire(core, &symbol->item);
}

uint32_t symbol_find(const struct core *core, const char *text)
{
    if (!text || !*text)
        return 0;
    const struct live_symbol *symbol = find(core, text, hash_of(text));
    return symbol ? (uint32_t)symbol->id : 0;
}

uint32_t symbol_intern(struct core *core, const char *text)
{
    if (!text || !*text)
        return 0;
    uint64_t hash = hash_of(text);
    struct live_symbol *symbol = find(core, text, hash);
    if (symbol)
        return (uint32_t)symbol->id;
    assert(strlen(text) <= SYMBOL_BYTES_MAX);
    symbol = create(core, text, hash);
    change_new(core, ROW_SYMBOL, &symbol->item);
    assert(symbol->id <= UINT32_MAX);
    return (uint32_t)symbol->id;
}

void symbol_load(struct core *core, const struct symbol_row *row)
{
    struct live_symbol *symbol = create(core, row->text, hash_of(row->text));
    symbol->id = row->id;
    symbol->pinned = row->pinned;
    table_add(core, ROW_SYMBOL, &symbol->item);
}

void symbol_sweep(struct core *core, uint64_t last)
{
    const struct table *table = &core->tables[ROW_SYMBOL];
    for (size_t i = table->entries.count; i > 0 && table->entries.items[i - 1].id > last; i--) {
        struct live_symbol *symbol = (struct live_symbol *)table->entries.items[i - 1].item;
        if (symbol && symbol->users == 0 && !symbol->pinned)
            drop(core, symbol);
    }
}

void symbol_hold(struct core *core, uint32_t id)
{
    struct live_symbol *symbol = symbol_at(core, id);
    assert(symbol && symbol->users < UINT32_MAX);
    symbol->users++;
}

void symbol_release(struct core *core, uint32_t id, bool kept)
{
    struct live_symbol *symbol = symbol_at(core, id);
    assert(symbol && symbol->users > 0);
    symbol->kept |= kept;
    if (--symbol->users == 0 && !symbol->pinned)
        drop(core, symbol);
}

static void symbol_pin(struct core *core, uint32_t id)
{
    struct live_symbol *symbol = symbol_at(core, id);
    assert(symbol && (symbol->pinned || !core->loading));
    if (symbol->pinned)
        return;
    symbol->pinned = 1;
    change_put(core, &symbol->item);
}

/* ---- the symbols of a row ------------------------------------------------------------------- */

bool symbol_counts(enum row_kind kind)
{
    return kind == ROW_JOB || kind == ROW_JOB_LABEL || kind == ROW_SHAPE || kind == ROW_RULE ||
           kind == ROW_SERVICE || kind == ROW_DATA || kind == ROW_COPY;
}

void symbols_prepare(struct core *core)
{
    for (int kind = 0; kind < ROW_KIND_COUNT; kind++) {
        const struct row_type *type = row_type((enum row_kind)kind);
        assert(type->column_count <= 64);
        for (size_t i = 0; i < type->column_count; i++) {
            if (type->columns[i].type == COLUMN_SYMBOL)
                core->symbol_columns[kind] |= (uint64_t)1 << i;
        }
    }
}

/* The next symbol that the row names, 0 after the last; *left begins as the kind's columns. */
static uint32_t next_symbol(enum row_kind kind, const void *row, uint64_t *left)
{
    uint32_t symbol = 0;
    while (*left && !symbol) {
        const struct column *column = &row_type(kind)->columns[__builtin_ctzll(*left)];
        memcpy(&symbol, (const char *)row + column->offset, sizeof symbol);
        *left &= *left - 1;
    }
    return symbol;
}

void symbols_hold(struct core *core, const struct item *item)
{
    enum row_kind kind = (enum row_kind)item->kind;
    uint64_t left = core->symbol_columns[kind];
    for (uint32_t symbol; (symbol = next_symbol(kind, item + 1, &left));) {
        if (symbol_counts(kind))
            symbol_hold(core, symbol);
        else
            symbol_pin(core, symbol);
    }
}

void symbols_release(struct core *core, const struct item *item, bool kept)
{
    enum row_kind kind = (enum row_kind)item->kind;
    uint64_t left = core->symbol_columns[kind];
    for (uint32_t symbol; (symbol = next_symbol(kind, item + 1, &left));)
        symbol_release(core, symbol, kept);
}

bool symbols_known(const struct core *core, enum row_kind kind, const void *row)
{
    uint64_t left = core->symbol_columns[kind];
    for (uint32_t id; (id = next_symbol(kind, row, &left));) {
        const struct live_symbol *symbol = symbol_at(core, id);
        if (!symbol || !(symbol->pinned || symbol_counts(kind)))
            return false;
    }
    return true;
}

/* ---- checking ------------------------------------------------------------------------------- */

/* Counts the users of a row again, by the symbols' positions. Returns the id of a symbol that is
 * not pinned and should be, or 0. */
static uint32_t recount(const struct core *core, const struct item *item, uint32_t *users)
{
    enum row_kind kind = (enum row_kind)item->kind;
    uint64_t left = core->symbol_columns[kind];
    for (uint32_t id; (id = next_symbol(kind, item + 1, &left));) {
        const struct live_symbol *symbol = symbol_at(core, id);
        if (!symbol || !(symbol->pinned || symbol_counts(kind)))
            return id;
        users[symbol->item.position] += symbol_counts(kind);
    }
    return 0;
}

/* Each array that has a live element names its own symbol once. */
static void recount_arrays(const struct core *core, uint32_t *users)
{
    struct idmap seen = {0};
    TABLE_EACH (core, ROW_JOB, struct live_job, job) {
        if (!job->array || idmap_get(&seen, job->array->id))
            continue;
        idmap_put(&seen, job->array->id, job->array);
        users[symbol_at(core, job->array->name)->item.position]++;
    }
    idmap_finish(&seen);
}

static uint32_t recount_all(const struct core *core, uint32_t *users)
{
    for (int kind = 0; kind < ROW_KIND_COUNT; kind++) {
        size_t at = 0;
        uint32_t missing = 0;
        if (!core->symbol_columns[kind])
            continue;
        for (struct item *item; (item = table_next(&core->tables[kind], &at));) {
            if ((missing = recount(core, item, users)))
                return missing;
        }
    }
    recount_arrays(core, users);
    return 0;
}

const char *symbols_fault(const struct core *core, uint64_t *ret_id)
{
    size_t count = core->tables[ROW_SYMBOL].entries.count;
    SCOPED(mem_scope) uint32_t *users = mem_alloc(count + 1, sizeof *users);
    *ret_id = recount_all(core, users);
    if (*ret_id)
        return "a row names it, and it is not there or not pinned";
    TABLE_EACH (core, ROW_SYMBOL, struct live_symbol, symbol) {
        *ret_id = symbol->id;
        if (symbol->users != users[symbol->item.position])
            return "its users are counted wrong";
        if (!symbol->users && !symbol->pinned)
            return "nobody names it";
        if (find(core, symbol->text, hash_of(symbol->text)) != symbol)
            return "its text does not find it";
    }
    return NULL;
}

/* ---- reading, and checking input ------------------------------------------------------------ */

const char *core_symbol(const struct core *core, uint32_t id)
{
    const struct live_symbol *symbol = symbol_at(core, id);
    if (!symbol)
        symbol = idmap_get(&core->symbols_gone, id);
    return symbol ? symbol->text : "";
}

int symbol_check(const char *text, const char *what, struct error *err)
{
    if (text && strlen(text) > SYMBOL_BYTES_MAX)
        return error_set(err, ERR_INVALID, "%s: expected at most %d bytes, got %zu", what,
            SYMBOL_BYTES_MAX, strlen(text));
    return 0;
}

int symbol_check_labels(const struct label_list *labels, const char *what, struct error *err)
{
    for (size_t i = 0; i < labels->count; i++) {
        const struct label *label = &labels->items[i];
        if (!label->key || !*label->key)
            return error_set(err, ERR_INVALID, "%s: a label has no key", what);
        if (symbol_check(label->key, what, err) < 0 || symbol_check(label->value, what, err) < 0)
            return -1;
    }
    return 0;
}
