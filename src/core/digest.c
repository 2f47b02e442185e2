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

static uint64_t digest_row(uint64_t hash, enum row_kind kind, const void *row)
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
    uint64_t hash = 0xcbf29ce484222325u;
    for (int kind = 0; kind < ROW_KIND_COUNT; kind++) {
        size_t at = 0;
        struct symbol_row image;
        hash = digest_u64(hash, (uint64_t)kind);
        for (struct item *item; (item = table_next(&core->tables[kind], &at));)
            hash = digest_row(hash, (enum row_kind)kind, item_image(item, &image));
    }
    return hash;
}
