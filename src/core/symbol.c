/* Symbols: texts stored once and known by number. Only texts of accepted input get here, and each
 * was checked for length before; symbols stay, since ended jobs in the store name them. */
#include "core/core_state.h"

enum { SYMBOL_BYTES_MAX = 255 };

uint32_t symbol_find(const struct core *core, const char *text)
{
    if (!text || !*text)
        return 0;
    const struct live_symbol *symbol = strmap_get(&core->symbols, text);
    return symbol ? (uint32_t)symbol->id : 0;
}

uint32_t symbol_intern(struct core *core, const char *text)
{
    uint32_t found = symbol_find(core, text);
    if (found || !text || !*text)
        return found;
    size_t length = strlen(text);
    assert(length <= SYMBOL_BYTES_MAX);
    struct live_symbol *symbol = mem_alloc(1, sizeof *symbol + length + 1);
    memcpy(symbol->text, text, length + 1);
    change_new(core, ROW_SYMBOL, &symbol->item);
    assert(symbol->id <= UINT32_MAX);
    strmap_put(&core->symbols, text, symbol);
    return (uint32_t)symbol->id;
}

void symbol_undo(struct core *core, uint64_t last)
{
    struct table *table = &core->tables[ROW_SYMBOL];
    for (size_t i = table->entries.count; i > 0 && table->entries.items[i - 1].id > last; i--) {
        struct item *item = table->entries.items[i - 1].item;
        if (!item)
            continue;
        assert(item->fresh);
        strmap_remove(&core->symbols, ((struct live_symbol *)item)->text);
        change_delete(core, item);
    }
}

const char *core_symbol(const struct core *core, uint32_t symbol)
{
    const struct item *item = table_find(core, ROW_SYMBOL, symbol);
    return item ? ((const struct live_symbol *)item)->text : "";
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
