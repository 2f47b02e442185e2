/* Symbols: texts known by number. See symbol.c for how long they live. */
#pragma once

#include "core/core.h"
#include "core/table.h"

/* The text is kept at its length; the full row is made when somebody wants to see it. */
struct live_symbol {
    struct item item;
    uint64_t id;
    struct live_symbol *next; /* in the index */
    uint32_t users;           /* columns of counted rows that name it, and arrays of that name */
    uint8_t pinned;
    uint8_t kept; /* a row that the store keeps names it */
    char text[];
};

/* The symbol of text, made when it is new; 0 for NULL and "". Text is cut at 255 bytes by nobody:
 * check with symbol_check first. */
uint32_t symbol_intern(struct core *core, const char *text);
uint32_t symbol_find(const struct core *core, const char *text);
/* Forgets the symbols newer than id `last` that no row names: they were made for an input that was
 * refused, or said the same twice. */
void symbol_sweep(struct core *core, uint64_t last);
/* Loading: a symbol that was stored; no other has its text. */
void symbol_load(struct core *core, const struct symbol_row *row);
/* Counts one more, or one less, who needs the symbol; kept: the store keeps what needed it. */
void symbol_hold(struct core *core, uint32_t symbol);
void symbol_release(struct core *core, uint32_t symbol, bool kept);
/* Whether rows of the kind count as users of what they name. They are those that jobs bring along,
 * copies of what they read, and services; their symbols stay as they were made. What rows of any
 * other kind name is pinned.
 */
bool symbol_counts(enum row_kind kind);
/* A new row's symbols: counted or pinned. Loading: they have to be pinned already. */
void symbols_hold(struct core *core, const struct item *item);
void symbols_release(struct core *core, const struct item *item, bool kept);
/* Frees the index, not the symbols. */
void symbols_finish(struct core *core);
/* Finds out which columns of each kind are symbols. */
void symbols_prepare(struct core *core);
/* Whether all the symbols that a row names are there, and pinned if they have to be. */
bool symbols_known(const struct core *core, enum row_kind kind, const void *row);
/* For core_check: NULL, or what is wrong, with the symbol's id. */
const char *symbols_fault(const struct core *core, uint64_t *ret_id);
MUST_CHECK int symbol_check(const char *text, const char *what, struct error *err);
/* Labels: lengths of keys and values. */
MUST_CHECK int symbol_check_labels(
    const struct label_list *labels, const char *what, struct error *err);
