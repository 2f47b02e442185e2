/* How many ranks of a shape the nodes of each pool have room for, remembered for gangs: a gang that
 * waits is asked for at every end of a job, and to look at every node again to find that it still
 * does not fit would be most of the work of a busy cluster.
 *
 * What is remembered goes by the room of a node alone. Promises, company and maintenance only take
 * from it, so it is an upper bound: where it is too little, no plan can be made. It is brought up
 * to date from the same journal as the scores (score.c). */
#include "core/job.h"
#include "core/limits.h"
#include "core/place.h"
#include "core/pool.h"
#include "core/score.h"
#include "core/shape.h"
#include "core/sort.h"
#include "core/state.h"

#include <assert.h>

#define ROOM_BYTES_MAX ((size_t)32 << 20) /* of all shapes together */

enum { ROOM_NO_MATCH = -1 };

struct gang_room {
    uint64_t version; /* of the topology that it is for */
    uint64_t at;      /* in the journal */
    size_t bytes;
    int64_t *pools; /* by the pool's first segment: ranks of all its nodes */
    int32_t *ranks; /* by ordinal, with ROOM_BOUND; ROOM_NO_MATCH: the node never fits */
};

static int64_t quotient(int64_t room, int64_t ask, int64_t most_ranks)
{
    if (ask <= 0)
        return most_ranks;
    return room <= 0 ? 0 : least(room / ask, most_ranks);
}

int32_t room_ranks(const struct shape_row *ask, const struct live_node *node)
{
    const struct node_room *room = &node->room;
    int64_t milli = ask->accelerator_milli;
    int64_t ranks = quotient(room->all.cpu_milli, ask->cpu_milli, GANG_SIZE_MAX);
    ranks = quotient(room->all.memory_bytes, ask->memory_bytes, ranks);
    ranks = quotient(room->all.disk_bytes, ask->disk_bytes, ranks);
    if (milli >= DEVICE_MILLI)
        ranks = quotient(room->whole, milli / DEVICE_MILLI, ranks);
    else if (milli > 0)
        ranks = least(ranks, room->whole * (DEVICE_MILLI / milli) + room->shares / milli);
    return (int32_t)ranks;
}

/* The room of a node, and whether that is all there is to know. */
static int32_t room_now(const struct live_shape *shape, const struct live_node *node)
{
    bool bound = node->promises || node->exclusive_held || node->exclusive_claimed;
    return room_ranks(&shape->row, node) | (bound ? ROOM_BOUND : 0);
}

static int32_t ranks_of(int32_t room)
{
    return room & ~ROOM_BOUND;
}

static int64_t *pool_of(const struct scores *scores, const struct gang_room *room, size_t ordinal)
{
    uint32_t segment = scores->segment_of.items[ordinal / SCORE_BLOCK];
    return &room->pools[scores->segments.items[segment].pool];
}

static void fill(const struct core *core, const struct live_shape *shape, struct gang_room *room)
{
    const struct scores *scores = &core->scores;
    for (size_t i = 0; i < scores->segments.count; i++)
        room->pools[i] = 0;
    for (size_t i = 0; i < scores->nodes.count; i++)
        room->ranks[i] = ROOM_NO_MATCH;
    for (size_t i = 0; i < shape->candidates.count; i++) {
        const struct live_node *node = shape->candidates.items[i];
        room->ranks[node->ordinal] = room_now(shape, node);
        *pool_of(scores, room, node->ordinal) += ranks_of(room->ranks[node->ordinal]);
    }
}

static void follow(const struct core *core, const struct live_shape *shape, struct gang_room *room)
{
    const struct scores *scores = &core->scores;
    uint32_t changed[JOURNAL_SOME];
    for (uint64_t at = room->at; at < scores->journal.end;) {
        size_t count = journal_some(&scores->journal, &at, changed);
        for (size_t i = 0; i < count; i++) {
            uint32_t ordinal = changed[i];
            if (room->ranks[ordinal] == ROOM_NO_MATCH)
                continue;
            int32_t now = room_now(shape, scores->nodes.items[ordinal]);
            *pool_of(scores, room, ordinal) += ranks_of(now) - ranks_of(room->ranks[ordinal]);
            room->ranks[ordinal] = now;
        }
    }
}

static bool current(const struct core *core, const struct gang_room *room)
{
    return room->version == core->topology_version && room->at >= core->scores.journal.begin;
}

/* False: there is no memory left for it. */
static bool provide(struct core *core, struct live_shape *shape)
{
    struct scores *scores = &core->scores;
    size_t bytes = sizeof(struct gang_room) + scores->segments.count * sizeof(int64_t) +
                   scores->nodes.count * sizeof(int32_t);
    if (shape->room && shape->room->bytes == bytes)
        return true;
    gang_room_forget(core, shape);
    if (scores->room_bytes + bytes > ROOM_BYTES_MAX)
        return false;
    struct gang_room *room = mem_alloc(1, bytes);
    room->bytes = bytes;
    room->version = core->topology_version - 1;
    room->pools = (int64_t *)(room + 1);
    room->ranks = (int32_t *)(room->pools + scores->segments.count);
    scores->room_bytes += bytes;
    shape->room = room;
    return true;
}

bool gang_room_for(struct core *core, struct live_shape *shape, int64_t ranks)
{
    struct scores *scores = &core->scores;
    assert(!scores->journal.trials);
    nodes_number(core);
    if (!provide(core, shape))
        return true;
    struct gang_room *room = shape->room;
    if (current(core, room)) {
        follow(core, shape, room);
    } else {
        shape_candidates(core, shape);
        fill(core, shape, room);
    }
    room->version = core->topology_version;
    room->at = scores->journal.end;
    for (size_t i = 0; i < scores->segments.count; i++) {
        if (room->pools[i] >= ranks)
            return true;
    }
    return false;
}

const int32_t *gang_room_now(const struct core *core, const struct live_shape *shape)
{
    const struct gang_room *room = shape->room;
    bool now = room && current(core, room) && core->scores.journal.open &&
               !core->scores.journal.trials && room->at == core->scores.journal.end;
    return now ? room->ranks : NULL;
}

bool gang_room_check(const struct core *core, const struct live_shape *shape)
{
    const struct scores *scores = &core->scores;
    const struct gang_room *room = shape->room;
    if (!room || !current(core, room) || scores->version != core->topology_version)
        return true;
    SCOPED(mem_scope) int64_t *pools = mem_alloc(scores->segments.count + 1, sizeof *pools);
    for (size_t i = 0; i < scores->nodes.count; i++) {
        const struct live_node *node = scores->nodes.items[i];
        if (room->ranks[i] == ROOM_NO_MATCH)
            continue;
        if (scores->noted.items[i].last <= room->at && room->ranks[i] != room_now(shape, node))
            return false;
        pools[pool_of(scores, room, i) - room->pools] += ranks_of(room->ranks[i]);
    }
    for (size_t i = 0; i < scores->segments.count; i++) {
        if (pools[i] != room->pools[i])
            return false;
    }
    return true;
}

void gang_room_forget(struct core *core, struct live_shape *shape)
{
    if (shape->room)
        core->scores.room_bytes -= shape->room->bytes;
    free(shape->room);
    shape->room = NULL;
}
