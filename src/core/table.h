/* Rows as objects in tables, the list of what changed, and the list of decisions.
 *
 * Each object begins with a struct item and, right after it, its row. Objects that belong to
 * another (a node's labels, a job's claims) hang in lists from it, oldest first. */
#pragma once

#include "base/vec.h"
#include "core/core.h"

#include <assert.h>

/* Row bookkeeping. 8 bytes, so that the row behind it is aligned. */
struct item {
    uint32_t position; /* in its table */
    uint8_t kind;      /* enum row_kind */
    uint8_t changed;   /* it is in the list of changes */
    uint8_t fresh;     /* created since the last core_end */
    uint8_t gone;      /* 0, or 1 + enum change_kind of how it left its table */
};

static inline void *item_row(struct item *item)
{
    return item + 1;
}

static inline uint64_t item_id(const struct item *item)
{
    return *(const uint64_t *)(item + 1);
}

struct table_entry {
    uint64_t id;
    struct item *item; /* NULL: it was removed */
};

/* Live rows, ids ascending. Ids only grow, so that adding is appending. */
struct table {
    VEC(struct table_entry) entries;
    VEC(uint64_t) fences; /* the id of every 64th entry: a search reads these, and few entries */
    size_t live;
    uint64_t last_id;
};

struct live_counter {
    struct item item;
    struct counter_row row;
};

/* ---- table.c ----------------------------------------------------------------------------------
 */

/* Memory for an object of the kind, zeroed; kinds that come and go with jobs have slabs. */
void *item_alloc(struct core *core, enum row_kind kind, size_t size);
/* Frees what item_alloc gave. */
void item_free(struct core *core, struct item *item);
/* The next id of a table; see table.c for what ids are. */
uint64_t id_next(struct core *core, enum row_kind kind);
/* Sets a scalar of the core's own, which its first setting makes. */
void counter_mark(
    struct core *core, struct live_counter **counter, const char *name, int64_t value);
/* The live object with that id, or NULL. */
struct item *table_find(const struct core *core, enum row_kind kind, uint64_t id);
/* Adds an object whose row has its id, which is above every other one of its table. */
void table_add(struct core *core, enum row_kind kind, struct item *item);
/* Gives a new object an id, and lists it as changed. */
void change_new(struct core *core, enum row_kind kind, struct item *item);
void change_put(struct core *core, struct item *item);
/* Takes the object out of its table; its memory stays until core_end. */
void change_retire(struct core *core, struct item *item);
void change_delete(struct core *core, struct item *item);
/* A history row: it is stored and forgotten. */
void change_history(struct core *core, enum row_kind kind, struct item *item);
/* The row as others see it; a symbol's is written to image. */
const void *item_image(struct item *item, struct symbol_row *image);

/* The next object of a table from *position on, or NULL. */
static inline struct item *table_next(const struct table *table, size_t *position)
{
    while (*position < table->entries.count) {
        struct item *item = table->entries.items[(*position)++].item;
        if (item)
            return item;
    }
    return NULL;
}

#define TABLE_EACH(core, row_kind_, type, name)                                                    \
    for (size_t name##_at_ = 0, name##_once_ = 1; name##_once_; name##_once_ = 0)                  \
        for (type * name; (name = (type *)table_next(&(core)->tables[row_kind_], &name##_at_));)

/* Appends to a singly linked list and keeps its order. */
#define LIST_APPEND(head, node, next)                                                              \
    do {                                                                                           \
        __typeof__(&(head)) list_at_ = &(head);                                                    \
        while (*list_at_)                                                                          \
            list_at_ = &(*list_at_)->next;                                                         \
        *list_at_ = (node);                                                                        \
    } while (0)
#define LIST_REMOVE(head, node, next)                                                              \
    do {                                                                                           \
        __typeof__(&(head)) list_at_ = &(head);                                                    \
        while (*list_at_ && *list_at_ != (node))                                                   \
            list_at_ = &(*list_at_)->next;                                                         \
        assert(*list_at_);                                                                         \
        *list_at_ = (node)->next;                                                                  \
    } while (0)

/* ---- decision.c -------------------------------------------------------------------------------
 */

/* Adds to the decisions of this tick; the moment is filled in. */
void decide(struct core *core, struct core_decision decision);
