/* Tables of routes: see gateway_internal.h. The newest is offered to the workers; each says which
 * one it uses; those that all of them have left are freed. So nothing on a worker's path takes a
 * lock or counts references. */
#include "gateway/gateway_internal.h"

#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/vec.h"
#include "gateway/limit_store.h"
#include "gateway/relay_limits.h"
#include "gateway/table.h"
#include "gateway/worker.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

static const char no_routes[] = "{\"generation\":0,\"keys\":[],\"services\":[]}";

struct route_table *gateway_newest(const struct gateway *gateway)
{
    return gateway->tables.items[gateway->tables.count - 1];
}

uint64_t gateway_sequence_used(const struct gateway *gateway)
{
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < gateway->worker_count; i++) {
        uint64_t seen = gateway_worker_seen(gateway->workers[i]);
        least = seen < least ? seen : least;
    }
    return least;
}

void gateway_free_tables(struct gateway *gateway, uint64_t used)
{
    while (gateway->tables.count > 1 && route_table_sequence(gateway->tables.items[0]) < used) {
        route_table_destroy(gateway->tables.items[0]);
        vec_remove(&gateway->tables, 0);
    }
    replica_states_sweep(gateway->states);
}

/* Made when the first limit comes, so that who has none pays for none. A gateway that cannot keep
 * the counters has them in memory: limits that forget with it are better than none. */
static int open_limits(struct gateway *gateway, struct route_table *table, struct error *err)
{
    char path[PATH_BYTES];
    struct error fault;
    gateway_path(gateway, "limits", path);
    if (!gateway->limits && relay_limits_needed(route_table_routes(table)) &&
        limit_store_open(path, &gateway->limits, &fault) < 0) {
        log_error("limits begin anew with each start of the gateway: %s", fault.text);
        if (limit_store_open(NULL, &gateway->limits, err) < 0)
            return -1;
    }
    route_table_set_limits(table, gateway->limits);
    return 0;
}

/* On disk before any worker has it: after a crash the gateway never goes back behind a 204. */
int gateway_put_routes(
    void *context, const char *text, size_t length, uint64_t *ret_sequence, struct error *err)
{
    struct gateway *gateway = context;
    char path[PATH_BYTES];
    struct route_table *table;
    if (gateway->stopping)
        return error_set(err, ERR_UNAVAILABLE, "the gateway is ending");
    if (route_table_create(text, length, gateway->states, gateway->sequence + 1, &table, err) < 0)
        return -1;
    int64_t generation = route_table_routes(table)->generation;
    int64_t current = route_table_routes(gateway_newest(gateway))->generation;
    gateway_path(gateway, "routes.json", path);
    int rc = 0;
    if (generation < current)
        rc = error_set(err, ERR_CONFLICT,
            "generation %" PRId64 " is older than %" PRId64 ", which is in use", generation,
            current);
    if (rc < 0 || open_limits(gateway, table, err) < 0 ||
        file_write(path, text, length, 0600, err) < 0) {
        route_table_destroy(table);
        replica_states_sweep(gateway->states);
        return -1;
    }
    *ret_sequence = ++gateway->sequence;
    vec_push(&gateway->tables, table);
    for (int i = 0; i < gateway->worker_count; i++)
        gateway_worker_offer(gateway->workers[i], table);
    return 0;
}

/* Routes that cannot be used are left where they are and said aloud: the server sends new ones. */
int gateway_load_routes(struct gateway *gateway, struct error *err)
{
    char path[PATH_BYTES];
    SCOPED(mem_scope) char *text = NULL;
    size_t length;
    struct route_table *table = NULL;
    struct error fault;
    gateway_path(gateway, "routes.json", path);
    gateway->states = replica_states_create();
    gateway->sequence = 1;
    if (file_read(path, ROUTES_BYTES_MAX, &text, &length, &fault) == 0 &&
        route_table_create(text, length, gateway->states, 1, &table, &fault) == 0)
        log_info(
            "routes of generation %" PRId64 " from disk", route_table_routes(table)->generation);
    else if (fault.code != ERR_NOT_FOUND)
        log_error("the routes on disk are not used: %s", fault.text);
    if (!table &&
        route_table_create(no_routes, strlen(no_routes), gateway->states, 1, &table, err) < 0)
        return -1;
    vec_push(&gateway->tables, table);
    return open_limits(gateway, table, err);
}
