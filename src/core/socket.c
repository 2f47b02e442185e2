/* Sockets of a node, and devices within them: see socket.h.
 *
 * Invariant: while some socket has room for a rank no rank is split, and one that is split lies in
 * as few sockets as the devices that are free allow (test_socket.c tries every choice). Ranks are
 * taken from a socket a whole rank at a time, so the number of ranks that are not split is the
 * greatest there is, whatever the order. */
#include "core/socket.h"
#include "base/memory.h"
#include "base/sockets.h"
#include "base/strbuf.h"
#include "core/limits.h"
#include "core/pool.h"
#include "core/sort.h"
#include "core/state.h"
#include "core/symbol.h"

#include <assert.h>
#include <string.h>

/* ---- what nodes say ---------------------------------------------------------------------- */

int sockets_check(const struct node *node, struct error *err)
{
    struct sockets sockets;
    int64_t devices = node->capacity.accelerator_milli / DEVICE_MILLI;
    if (sockets_read(node->sockets.items, node->sockets.count, devices, &sockets, err) < 0)
        return error_prefix(err, "spec.nodes: %.64s: sockets", node->name);
    return 0;
}

uint32_t sockets_intern(struct core *core, const struct node *node)
{
    SCOPED(strbuf_finish) struct strbuf text = {0};
    for (size_t i = 0; i < node->sockets.count; i++)
        strbuf_printf(&text, "%s%s", i ? ";" : "", node->sockets.items[i]);
    return text.length ? symbol_intern(core, text.text) : 0;
}

bool sockets_derive(const struct core *core, struct live_node *node)
{
    struct sockets sockets = {0};
    const char *text = core_symbol(core, node->row.sockets);
    free(node->sockets);
    node->sockets = NULL;
    while (*text) {
        size_t length = strcspn(text, ";");
        if (sockets.count == SOCKETS_MAX ||
            !sockets_read_list(text, length, &sockets.devices[sockets.count++]))
            return false;
        text += length + (text[length] == ';');
    }
    if (sockets.count == 0)
        return true;
    node->sockets = mem_alloc(1, sizeof *node->sockets);
    *node->sockets = sockets;
    return true;
}

/* ---- what is free ------------------------------------------------------------------------ */

static int64_t need_of(const struct shape_row *shape)
{
    assert(shape->accelerator_milli >= DEVICE_MILLI);
    return shape->accelerator_milli / DEVICE_MILLI;
}

/* The devices of each socket, only those that are free or, idle, all; returns how many there are.
 */
static size_t free_of(const struct live_node *node, bool idle, uint64_t *ret_free)
{
    uint64_t whole = 0;
    for (int32_t i = 0; i < node->row.devices; i++) {
        if (idle || device_free(node, i) == DEVICE_MILLI)
            whole |= (uint64_t)1 << i;
    }
    for (size_t s = 0; node->sockets && s < node->sockets->count; s++)
        ret_free[s] = node->sockets->devices[s] & whole;
    return node->sockets ? node->sockets->count : 0;
}

int32_t sockets_ranks(const struct live_node *node, const struct shape_row *shape, bool idle)
{
    uint64_t has[SOCKETS_MAX];
    int64_t best = 0;
    size_t count = free_of(node, idle, has);
    for (size_t s = 0; s < count; s++)
        best = most(best, __builtin_popcountll(has[s]) / need_of(shape));
    return (int32_t)best;
}

bool sockets_whole(const struct live_node *node, const struct shape_row *shape, int32_t ranks)
{
    uint64_t has[SOCKETS_MAX];
    int64_t fit = 0;
    size_t count = free_of(node, false, has);
    for (size_t s = 0; s < count; s++)
        fit += __builtin_popcountll(has[s]) / need_of(shape);
    return count > 0 && fit >= ranks;
}

/* ---- choosing ---------------------------------------------------------------------------- */

/* Takes the first `count` devices of the socket. */
static uint64_t take(uint64_t *has, int64_t count)
{
    uint64_t taken = 0;
    for (; count > 0; count--) {
        assert(*has);
        uint64_t one = *has & -*has;
        taken |= one;
        *has -= one;
    }
    return taken;
}

/* The socket for `want` of something of which each holds popcount / unit: the tightest that holds
 * all of it, else the one that holds most, of those the tightest; of equals the first. SIZE_MAX
 * when none holds any. */
static size_t pick(const uint64_t *has, size_t count, int64_t unit, int64_t want)
{
    size_t best = SIZE_MAX;
    int64_t best_holds = 0, best_free = 0;
    for (size_t s = 0; s < count; s++) {
        int64_t free = __builtin_popcountll(has[s]), holds = least(free / unit, want);
        if (holds == 0 || holds < best_holds || (holds == best_holds && free >= best_free))
            continue;
        best = s;
        best_holds = holds;
        best_free = free;
    }
    return best;
}

static void part(struct plan *plan, struct live_node *node, uint64_t devices, int64_t ranks)
{
    vec_push(&plan->parts, ((struct plan_part){node, devices, DEVICE_MILLI, (int32_t)ranks}));
}

void sockets_plan(const struct live_node *view, struct live_node *node,
    const struct shape_row *shape, int32_t ranks, struct plan *plan)
{
    uint64_t has[SOCKETS_MAX];
    size_t count = free_of(view, false, has), at;
    int64_t need = need_of(shape), left = ranks;
    while (left > 0 && (at = pick(has, count, need, left)) != SIZE_MAX) {
        int64_t here = least(__builtin_popcountll(has[at]) / need, left);
        part(plan, node, take(&has[at], here * need), here);
        left -= here;
    }
    for (; left > 0; left--) {
        uint64_t devices = 0;
        for (int64_t want = need; want > 0;) {
            at = pick(has, count, 1, want);
            assert(at != SIZE_MAX);
            int64_t here = least(__builtin_popcountll(has[at]), want);
            devices |= take(&has[at], here);
            want -= here;
        }
        part(plan, node, devices, 1);
    }
}
