/* Maintenance: from begin to end a node takes no work, before begin only what has a time limit
 * that ends in time, and at begin what still runs is stopped with grace. */
#include "core/core.h"
#include "core/limits.h"
#include "core/pool.h"
#include "core/preempt.h"
#include "core/sort.h"
#include "core/state.h"
#include "core/table.h"

#include <assert.h>

void reservations_index(struct core *core)
{
    if (core->reservation_next_ms <= core->now_ms && !core->loading)
        return; /* one is due: what begins in this tick has not begun before reservations_run */
    core->reservation_next_ms = MOMENT_NEVER;
    TABLE_EACH (core, ROW_RESERVATION, struct live_reservation, one) {
        bool begun = one->row.begin_ms <= core->now_ms;
        int64_t next_ms = begun ? one->row.end_ms : one->row.begin_ms;
        core->reservation_next_ms = least(core->reservation_next_ms, next_ms);
    }
}

bool reservation_allows(
    const struct core *core, const struct live_node *node, int64_t time_limit_ms)
{
    for (const struct live_reservation *one = node->reservations; one; one = one->next) {
        if (one->row.end_ms <= core->now_ms)
            continue;
        if (time_limit_ms <= 0 || one->row.begin_ms - core->now_ms < time_limit_ms)
            return false;
    }
    return true;
}

static void reservation_remove(
    struct core *core, struct live_node *node, struct live_reservation *one)
{
    LIST_REMOVE(node->reservations, one, next);
    change_delete(core, &one->item);
}

/* Releases claims that the node can not honour any more. What is promised of it is promised for
 * after the maintenance, or taken back where promises are checked. */
static void reservation_begins(struct core *core, struct live_node *node)
{
    claims_drop_node(core, node);
    node_stop_attempts(core, node, END_DRAINED);
}

void reservations_run(struct core *core)
{
    if (core->reservation_next_ms > core->now_ms)
        return;
    TABLE_EACH (core, ROW_RESERVATION, struct live_reservation, one) {
        struct live_node *node = (struct live_node *)table_find(core, ROW_NODE, one->row.node);
        assert(node);
        if (one->row.end_ms <= core->now_ms) {
            reservation_remove(core, node, one);
            topology_changed(core);
        } else if (one->row.begin_ms <= core->now_ms) {
            reservation_begins(core, node);
        }
    }
    core->reservation_next_ms = MOMENT_NEVER;
    reservations_index(core);
}

int core_node_reserve(struct core *core, const char *pool, const char *name, int64_t begin_ms,
    int64_t end_ms, struct error *err)
{
    struct live_node *node = node_find(core, pool, name);
    if (!node)
        return error_set(err, ERR_NOT_FOUND, "there is no node %s/%s", pool, name);
    if (end_ms != 0 && (begin_ms < 0 || end_ms <= begin_ms || end_ms > TIME_MS_MAX))
        return error_set(err, ERR_INVALID,
            "node %s/%s: expected a reservation that ends after it begins", pool, name);
    if (end_ms != 0 && end_ms <= core->now_ms)
        return error_set(
            err, ERR_INVALID, "node %s/%s: the reservation has ended already", pool, name);
    while (end_ms == 0 && node->reservations)
        reservation_remove(core, node, node->reservations);
    if (end_ms != 0) {
        struct live_reservation *one = mem_alloc(1, sizeof *one);
        one->row =
            (struct reservation_row){.node = node->row.id, .begin_ms = begin_ms, .end_ms = end_ms};
        change_new(core, ROW_RESERVATION, &one->item);
        LIST_APPEND(node->reservations, one, next);
        core->reservation_next_ms = least(core->reservation_next_ms, most(begin_ms, 0));
    }
    decide(core, (struct core_decision){
                     .kind = DECISION_NODE_RESERVE, .node = node->row.id, .pool = node->row.pool});
    reservations_index(core);
    if (begin_ms <= core->now_ms && end_ms)
        core->reservation_next_ms = core->now_ms;
    topology_changed(core);
    return 0;
}
