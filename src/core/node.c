/* Nodes: what is held of each, whether it takes work, and how it comes and goes.
 *
 * held and claimed are sums over the node's placements and claims. A node that left its pool while
 * attempts were on it is cordoned and `leaving`; it vanishes with the last of them. */
#include "core/attempt.h"
#include "core/backfill.h"
#include "core/core.h"
#include "core/limits.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/preempt.h"
#include "core/resource.h"
#include "core/score.h"
#include "core/sort.h"
#include "core/spot.h"
#include "core/state.h"
#include "core/symbol.h"
#include "core/table.h"
#include "core/team.h"
#include "core/topology.h"

#include <assert.h>

bool node_takes_work(const struct live_node *node)
{
    return node->row.state == NODE_UP && !node->row.cordoned && !node->row.draining &&
           !node->row.leaving;
}

void topology_changed(struct core *core)
{
    core->topology_version++;
    core->scores.promised = true;
    if (!core->loading)
        promises_touch(core);
    journal_close(&core->scores);
    core->free_version++;
    core->stir_version++;
    core->pass_wanted = true;
}

void node_prepare(struct core *core, struct live_node *node)
{
    assert(node->row.devices >= 0 && node->row.devices <= DEVICES_MAX);
    node->scores = &core->scores;
    free(node->device_held);
    free(node->device_claimed);
    node->device_held = mem_alloc(DEVICES_MAX, sizeof *node->device_held);
    node->device_claimed = mem_alloc(DEVICES_MAX, sizeof *node->device_claimed);
    node->resource = node->row.accelerator ? resource_of_type(core, node->row.accelerator) : -1;
    node_room_derive(node);
}

bool node_unused(const struct live_node *node)
{
    const struct bundle *all = &node->room.all;
    return all->cpu_milli == node->row.cpu_milli && all->memory_bytes == node->row.memory_bytes &&
           all->disk_bytes == node->row.disk_bytes && node->room.whole == node->row.devices &&
           !node->promises && node->placements.count == 0 && node->claims.count == 0;
}

void node_free(struct live_node *node)
{
    free(node->device_held);
    free(node->device_claimed);
    free(node->sockets);
    vec_free(&node->placements);
    vec_free(&node->claims);
    free(node);
}

static void bundle_add(struct bundle *total, const struct bundle *part, int sign)
{
    total->cpu_milli += sign * part->cpu_milli;
    total->memory_bytes += sign * part->memory_bytes;
    total->disk_bytes += sign * part->disk_bytes;
}

static void devices_add(int16_t *total, uint64_t devices, int64_t device_milli, int sign)
{
    for (; devices; devices &= devices - 1) {
        int16_t *one = &total[__builtin_ctzll(devices)];
        *one = (int16_t)(*one + sign * device_milli);
    }
}

static void room_of_devices(struct live_node *node)
{
    struct node_room *room = &node->room;
    int64_t whole = 0, all = 0, largest = 0;
    for (int32_t i = 0; i < node->row.devices; i++) { /* nobody could foresee branches here */
        int64_t left = most(device_free(node, i), 0);
        whole += left == DEVICE_MILLI;
        all += left;
        largest = most(largest, left);
    }
    room->whole = whole;
    room->shares = all - whole * DEVICE_MILLI;
    room->largest = node->row.fractional ? largest : 0;
}

void node_room_derive(struct live_node *node)
{
    const struct node_row *row = &node->row;
    node->room.all = (struct bundle){row->cpu_milli, row->memory_bytes, row->disk_bytes};
    bundle_add(&node->room.all, &node->held, -1);
    bundle_add(&node->room.all, &node->claimed, -1);
    room_of_devices(node);
    node->changes++;
}

static int64_t share_of_device(int64_t left)
{
    return left > 0 && left < DEVICE_MILLI ? left : 0;
}

/* Thousandths of a device were taken (sign 1) or given back; whether what is less now may have been
 * the largest share. */
static bool room_take_device(struct live_node *node, int32_t device, int64_t milli, int sign)
{
    struct node_room *room = &node->room;
    int64_t left = device_free(node, device), before = left + sign * milli;
    room->whole += (left == DEVICE_MILLI) - (before == DEVICE_MILLI);
    room->shares += share_of_device(left) - share_of_device(before);
    if (node->row.fractional && left > room->largest)
        room->largest = left;
    return left < before && before >= room->largest;
}

/* After so much more was held or claimed (sign 1) or given back. */
static void room_take(
    struct live_node *node, const struct bundle *part, uint64_t devices, int64_t milli, int sign)
{
    bool largest = false;
    bundle_add(&node->room.all, part, -sign);
    for (; devices; devices &= devices - 1)
        largest |= room_take_device(node, __builtin_ctzll(devices), milli, sign);
    if (largest && node->row.fractional)
        room_of_devices(node);
    journal_note(node);
}

void node_hold(struct live_node *node, const struct shape_row *shape, uint64_t devices,
    int64_t device_milli, int64_t ranks, int sign)
{
    assert(sign == 1 || sign == -1);
    struct bundle part = bundle_of_shape(shape, ranks);
    bundle_add(&node->held, &part, sign);
    devices_add(node->device_held, devices, device_milli, sign);
    node->exclusive_held += sign * shape->exclusive;
    assert(node->exclusive_held >= 0);
    room_take(node, &part, devices, device_milli, sign);
}

void node_claim(struct live_node *node, const struct shape_row *shape, uint64_t devices,
    int64_t device_milli, int64_t ranks, int sign)
{
    assert(sign == 1 || sign == -1);
    struct bundle part = bundle_of_shape(shape, ranks);
    bundle_add(&node->claimed, &part, sign);
    devices_add(node->device_claimed, devices, device_milli, sign);
    node->exclusive_claimed += sign * shape->exclusive;
    assert(node->exclusive_claimed >= 0);
    room_take(node, &part, devices, device_milli, sign);
}

struct live_node *node_find(const struct core *core, const char *pool, const char *node)
{
    return node_named(
        core, idmap_get(&core->pools_by_name, symbol_find(core, pool)), symbol_find(core, node));
}

struct live_node *node_named(const struct core *core, const struct live_pool *pool, uint32_t name)
{
    return pool && name ? idmap_get(&core->nodes_by_name, pool->row.id << 32 | name) : NULL;
}

void node_stop_attempts(struct core *core, struct live_node *node, enum end_reason reason)
{
    for (size_t i = 0; i < node->placements.count; i++)
        attempt_stop(core, node->placements.items[i]->attempt, reason, NULL);
}

static void labels_retire(struct core *core, struct live_node *node)
{
    for (struct live_node_label *label = node->labels, *next; label; label = next) {
        next = label->next;
        change_delete(core, &label->item);
    }
    for (struct live_reservation *one = node->reservations, *next; one; one = next) {
        next = one->next;
        change_delete(core, &one->item);
    }
    node->labels = NULL;
    node->reservations = NULL;
}

void node_vanish(struct core *core, struct live_node *node)
{
    assert(node->placements.count == 0);
    claims_release_node(core, node);
    if (node->row.state == NODE_UP) {
        usage_settle_all(core);
        charge_capacity(core, node);
        capacity_count(core, node, -1);
    }
    labels_retire(core, node);
    struct live_pool *pool = node->pool;
    idmap_remove(&core->nodes_by_name, pool->row.id << 32 | node->row.name);
    size_t at = 0;
    while (pool->nodes.items[at] != node)
        at++;
    vec_remove(&pool->nodes, at);
    topology_derive(pool);
    vec_free(&node->placements);
    vec_free(&node->claims);
    free(node->device_held);
    free(node->device_claimed);
    node->device_held = node->device_claimed = NULL;
    change_retire(core, &node->item);
    reservations_index(core);
    topology_changed(core);
}

void node_vanish_if_left(struct core *core, struct live_node *node)
{
    if (!node->item.gone && node->row.leaving && node->placements.count == 0)
        node_vanish(core, node);
}

static void node_decide(struct core *core, enum decision_kind kind, const struct live_node *node)
{
    decide(
        core, (struct core_decision){.kind = kind, .node = node->row.id, .pool = node->row.pool});
}

int core_node_wish(
    struct core *core, const char *pool, const char *name, enum node_wish wish, struct error *err)
{
    static const enum decision_kind kinds[] = {
        DECISION_NODE_CORDON, DECISION_NODE_UNCORDON, DECISION_NODE_DRAIN};
    struct live_node *node = node_find(core, pool, name);
    if (!node)
        return error_set(err, ERR_NOT_FOUND, "there is no node %s/%s", pool, name);
    if ((unsigned)wish >= ARRAY_LEN(kinds))
        return error_set(err, ERR_INVALID, "node: unknown wish %d", (int)wish);
    if (node->row.leaving && wish == NODE_UNCORDON)
        return error_set(err, ERR_CONFLICT, "node %s/%s is leaving its pool", pool, name);
    node->row.cordoned = wish != NODE_UNCORDON;
    node->row.draining = wish == NODE_DRAIN;
    change_put(core, &node->item);
    node_decide(core, kinds[wish], node);
    topology_changed(core);
    if (wish != NODE_UNCORDON)
        claims_release_node(core, node);
    if (wish == NODE_DRAIN)
        node_stop_attempts(core, node, END_DRAINED);
    return 0;
}

/* Whether every node that the attempt is on is gone. */
static bool all_lost(const struct live_attempt *attempt)
{
    for (const struct live_placement *part = attempt->placements; part; part = part->next) {
        if (part->node->row.state != NODE_LOST)
            return false;
    }
    return true;
}

/* What ran there is gone. A gang of which ranks are left elsewhere is told to stop; one of which
 * nothing is left has ended, for whatever it was stopped for before. */
static void node_lose_attempts(struct core *core, struct live_node *node)
{
    for (size_t i = node->placements.count; i-- > 0;) {
        if (i >= node->placements.count)
            continue; /* an end took several of one attempt */
        struct live_attempt *attempt = node->placements.items[i]->attempt;
        attempt_stop(core, attempt, END_NODE_LOST, NULL);
        if (all_lost(attempt))
            attempt_end(core, attempt, attempt->row.stop_reason, 0);
    }
}

bool core_node_report(struct core *core, const char *pool, const char *name, bool up)
{
    struct live_node *node = node_find(core, pool, name);
    if (!node || (node->row.state == NODE_UP) == up)
        return false;
    usage_settle_all(core);
    spot_node_seen(core, node, !up);
    if (!up) {
        charge_capacity(core, node);
        capacity_count(core, node, -1);
    }
    node->row.state = up ? NODE_UP : NODE_LOST;
    node->row.since_ms = core->now_ms;
    if (up)
        capacity_count(core, node, 1);
    change_put(core, &node->item);
    node_decide(core, up ? DECISION_NODE_UP : DECISION_NODE_LOST, node);
    topology_changed(core);
    if (!up) {
        claims_release_node(core, node);
        node_lose_attempts(core, node);
        if (!node->item.gone) /* the end of its last attempt may have taken it away already */
            node_vanish_if_left(core, node);
    }
    return true;
}
