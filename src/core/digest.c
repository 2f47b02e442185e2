/* A digest of the live rows: FNV-1a, 64 bits, column by column in a fixed byte order, so that
 * padding, addresses and the machine's byte order have no part in it. */
#include "core/core.h"
#include "core/state.h"
#include "core/table.h"

#include <assert.h>

static uint64_t digest_u64(uint64_t hash, uint64_t value)
{
    for (int i = 0; i < 8; i++) {
        hash ^= value >> (8 * i) & 0xff;
        hash *= 0x100000001b3u;
    }
    return hash;
}

static uint64_t digest_text(uint64_t hash, const char *text)
{
    for (; *text; text++) {
        hash ^= (unsigned char)*text;
        hash *= 0x100000001b3u;
    }
    return digest_u64(hash, 0);
}

static uint64_t column_value(const void *row, const struct column *column)
{
    const char *at = (const char *)row + column->offset;
    switch (column->size) {
    case 1: return *(const uint8_t *)at;
    case 4: return *(const uint32_t *)at;
    default: assert(column->size == 8); return *(const uint64_t *)at;
    }
}

uint64_t core_digest_row(uint64_t hash, enum row_kind kind, const void *row)
{
    const struct row_type *type = row_type(kind);
    for (size_t i = 0; i < type->column_count; i++) {
        const struct column *column = &type->columns[i];
        if (column->type == COLUMN_TEXT)
            hash = digest_text(hash, (const char *)row + column->offset);
        else
            hash = digest_u64(hash, column_value(row, column));
    }
    return hash;
}

uint64_t core_digest(const struct core *core)
{
    uint64_t hash = CORE_DIGEST_START;
    for (int kind = 0; kind < ROW_KIND_COUNT; kind++) {
        size_t at = 0;
        struct symbol_row image;
        hash = digest_u64(hash, (uint64_t)kind);
        for (struct item *item; (item = table_next(&core->tables[kind], &at));)
            hash = core_digest_row(hash, (enum row_kind)kind, item_image(item, &image));
    }
    return hash;
}

/* The place of the first entry with an id above `after`. */
static size_t place_after(const struct table *table, uint64_t after)
{
    size_t low = 0, high = table->entries.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (table->entries.items[middle].id <= after)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

uint64_t core_digest_slice(
    const struct core *core, enum row_kind kind, uint64_t after, size_t most, uint64_t *ret_last)
{
    const struct table *table = &core->tables[kind];
    uint64_t hash = CORE_DIGEST_START;
    size_t at = place_after(table, after);
    struct symbol_row image;
    for (size_t i = 0; i < most; i++) {
        struct item *item = table_next(table, &at);
        if (!item) {
            *ret_last = UINT64_MAX;
            return hash;
        }
        hash = core_digest_row(hash, kind, item_image(item, &image));
        *ret_last = item_id(item);
    }
    return hash;
}
