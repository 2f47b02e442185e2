/* Loading what there is and whose it is: pools with their prices, levels, nodes and maintenance;
 * teams with their quotas. */
#include "core/load.h"
#include "core/pool.h"
#include "core/resource.h"
#include "core/socket.h"
#include "core/spot.h"
#include "core/team.h"

int load_pool(const struct loader *in)
{
    const struct pool_row *row = in->row;
    if (!row->name || idmap_get(&in->core->pools_by_name, row->name))
        return load_corrupt(in, ROW_POOL, "its name is missing or taken");
    if (row->spot_up_ms < 0 || row->spot_down_ms < 0 || row->spot_losses < 0 ||
        row->spot_at_ms < 0 || row->spot_at_ms > TIME_MS_MAX || row->spot_up_ms > SPOT_SEEN_MAX ||
        row->spot_down_ms > SPOT_SEEN_MAX)
        return load_corrupt(in, ROW_POOL, "numbers out of range");
    if (row->link_bytes < 0 || row->egress_gib_micro < 0 || !length_sane(row->keep_ms))
        return load_corrupt(in, ROW_POOL, "a site's numbers out of range");
    if (row->burst_budget_micro < 0 || row->burst_spent_micro < 0 ||
        !length_sane(row->burst_begin_ms) || !length_sane(row->burst_after_ms) ||
        !length_sane(row->burst_period_ms) || (row->burst_budget_micro && !row->burst_period_ms))
        return load_corrupt(in, ROW_POOL, "a burst policy out of range");
    in->core->burst_pools += row->burst_budget_micro > 0;
    struct live_pool *pool = LOAD(in, ROW_POOL, struct live_pool);
    idmap_put(&in->core->pools_by_name, pool->row.name, pool);
    return 0;
}

int load_price(const struct loader *in)
{
    const struct price_row *row = in->row;
    struct live_pool *pool = FIND(in, ROW_POOL, struct live_pool, row->pool);
    if (!pool || row->hour_micro < 0)
        return load_corrupt(in, ROW_PRICE, "no pool or a negative price");
    struct live_price *price = LOAD(in, ROW_PRICE, struct live_price);
    LIST_APPEND(pool->prices, price, next);
    return 0;
}

int load_level(const struct loader *in)
{
    const struct level_row *row = in->row;
    struct live_pool *pool = FIND(in, ROW_POOL, struct live_pool, row->pool);
    if (!pool || !row->name || !row->label || pool->level_count >= LEVELS_MAX)
        return load_corrupt(in, ROW_LEVEL, "no pool, name or label, or too many levels");
    struct live_level *level = LOAD(in, ROW_LEVEL, struct live_level);
    LIST_APPEND(pool->levels, level, next);
    pool->level_count++;
    return 0;
}

/* Whether what there is can be counted with the node. */
static bool capacity_bounded(const struct core *core, const struct node_row *row)
{
    return core->capacity[RESOURCE_CPU] + row->cpu_milli <= CAPACITY_MAX &&
           core->capacity[RESOURCE_MEMORY] + row->memory_bytes <= CAPACITY_MAX &&
           core->capacity[RESOURCE_DISK] + row->disk_bytes <= CAPACITY_MAX;
}

int load_node(const struct loader *in)
{
    const struct node_row *row = in->row;
    struct live_pool *pool = FIND(in, ROW_POOL, struct live_pool, row->pool);
    if (!pool || pool->row.id > UINT32_MAX || node_named(in->core, pool, row->name))
        return load_corrupt(in, ROW_NODE, "no pool, or its name is taken");
    if (row->devices < 0 || row->devices > DEVICES_MAX || !amount_sane(row->cpu_milli) ||
        !amount_sane(row->memory_bytes) || !amount_sane(row->disk_bytes) ||
        (unsigned)row->state > NODE_LOST)
        return load_corrupt(in, ROW_NODE, "amounts out of range");
    if (row->accelerator && resource_of_type(in->core, row->accelerator) < 0)
        return load_corrupt(in, ROW_NODE, "too many accelerator types");
    if (row->state == NODE_UP && !capacity_bounded(in->core, row))
        return load_corrupt(in, ROW_NODE, "all nodes together have more than can be counted");
    struct live_node *node = LOAD(in, ROW_NODE, struct live_node);
    node->pool = pool;
    node_prepare(in->core, node);
    if (!sockets_derive(in->core, node))
        return load_corrupt(in, ROW_NODE, "no lists of devices");
    vec_push(&pool->nodes, node);
    idmap_put(&in->core->nodes_by_name, pool->row.id << 32 | row->name, node);
    if (node->row.state == NODE_UP)
        capacity_count(in->core, node, 1);
    return 0;
}

int load_node_label(const struct loader *in)
{
    const struct node_label_row *row = in->row;
    struct live_node *node = FIND(in, ROW_NODE, struct live_node, row->node);
    if (!node)
        return load_corrupt(in, ROW_NODE_LABEL, "no node");
    struct live_node_label *label = LOAD(in, ROW_NODE_LABEL, struct live_node_label);
    LIST_APPEND(node->labels, label, next);
    return 0;
}

int load_reservation(const struct loader *in)
{
    const struct reservation_row *row = in->row;
    struct live_node *node = FIND(in, ROW_NODE, struct live_node, row->node);
    if (!node || row->end_ms <= row->begin_ms)
        return load_corrupt(in, ROW_RESERVATION, "no node or no length");
    struct live_reservation *one = LOAD(in, ROW_RESERVATION, struct live_reservation);
    LIST_APPEND(node->reservations, one, next);
    return 0;
}

int load_team(const struct loader *in)
{
    const struct team_row *row = in->row;
    if (!row->name || idmap_get(&in->core->teams_by_name, row->name))
        return load_corrupt(in, ROW_TEAM, "its name is missing or taken");
    if (row->id > UINT32_MAX || row->usage < 0 || row->weight_micro < 0)
        return load_corrupt(in, ROW_TEAM, "numbers out of range");
    struct live_team *team = LOAD(in, ROW_TEAM, struct live_team);
    idmap_put(&in->core->teams_by_name, team->row.name, team);
    return 0;
}

int load_quota(const struct loader *in)
{
    const struct quota_row *row = in->row;
    struct live_team *team = FIND(in, ROW_TEAM, struct live_team, row->team);
    if (!team || !row->resource || row->guarantee < 0 || row->limit < -1 ||
        resource_of_quota(in->core, row->resource) < 0)
        return load_corrupt(in, ROW_QUOTA, "no team or amounts out of range");
    struct live_quota *quota = LOAD(in, ROW_QUOTA, struct live_quota);
    LIST_APPEND(team->quotas, quota, next);
    return 0;
}
