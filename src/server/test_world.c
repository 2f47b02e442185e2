/* See test_world.h. */
#include "server/test_world.h"

#include "base/file.h"
#include "core/core.h"
#include "engine/engine_operations.h"
#include "engine/worker.h"
#include "server/catalog.h"
#include "server/defaults.h"
#include "server/feed.h"
#include "server/progress.h"
#include "server/reconcile.h"
#include "server/tokens.h"
#include "server/uids.h"
#include "server/usage.h"
#include "server/vault.h"

#include <assert.h>
#include <event2/event.h>
#include <sodium.h>
#include <stdlib.h>

static const char vfs_name[] = "server-test";

/* ---- an engine that has nothing -------------------------------------------------------------- */

static void observe(const struct engine *engine, struct attempt_view **ret_views, size_t *ret_count)
{
    (void)engine;
    *ret_views = NULL;
    *ret_count = 0;
}

static bool view(const struct engine *engine, uint64_t attempt, struct attempt_view *ret_view)
{
    (void)engine, (void)attempt, (void)ret_view;
    return false;
}

static const struct engine_node *node(const struct engine *engine)
{
    static const struct engine_node here = {.name = "here", .cpu_milli = 4000};
    (void)engine;
    return &here;
}

static struct engine *idle_engine(void)
{
    static const struct engine_operations operations = {
        .observe = observe, .view = view, .node = node};
    struct engine *engine = mem_alloc(1, sizeof *engine);
    engine->operations = &operations;
    return engine;
}

/* ---- the world ------------------------------------------------------------------------------- */

static int load_row(void *context, enum row_kind kind, const void *row, struct error *err)
{
    return core_load_row(context, kind, row, err);
}

static void open_state(struct server *server)
{
    struct store_options options = {.vfs = server->config.vfs};
    server->catalog = catalog_create();
    server->tokens = tokens_create();
    server->uids = uids_create();
    server->usage = usage_create();
    server->core = core_create(NULL);
    assert_works(store_open(server->config.data_dir, &options, &server->store, err));
    assert_works(store_reader_open(server->config.data_dir, &options, &server->reader, err));
    assert_works(store_load(server->store, load_row, server->core, err));
    assert_works(core_load_end(server->core, err));
    struct error why;
    server->vault = vault_open(server->config.data_dir, &why);
    assert_non_null(server->vault);
}

static void open_world(struct world *world, const char *folder, const char *vfs)
{
    struct server *server = &world->server;
    struct error why;
    assert_true(sodium_init() >= 0);
    server->config = (struct server_config){.data_dir = folder, .vfs = vfs};
    server->base = event_base_new();
    open_state(server);
    assert_works(catalog_load(server->catalog, server->reader, err));
    server->commits = worker_create(server->base, "commit", &why);
    assert_non_null(server->commits);
    server->ticker = ticker_create(server);
    server->feed = feed_create(server);
    server->progress = progress_create(server);
    server->reconciler = reconciler_create(server);
    server->engine = idle_engine();
    defaults_apply(server);
    world_settle(world);
    assert_non_null(catalog_find(server->catalog, KIND_TEAM, "root"));
}

struct world *world_create(void)
{
    struct world *world = mem_alloc(1, sizeof *world);
    world->folder = mem_strdup("/tmp/muster-server-XXXXXX");
    assert_non_null(mkdtemp(world->folder));
    world->vfs = fault_vfs_create(vfs_name, 1);
    open_world(world, world->folder, vfs_name);
    return world;
}

struct world *world_open(const char *folder)
{
    struct world *world = mem_alloc(1, sizeof *world);
    open_world(world, folder, NULL);
    return world;
}

void world_destroy(struct world *world)
{
    struct server *server = &world->server;
    if (world->vfs)
        fault_vfs_plan(world->vfs, FAULT_NONE, 0, 0);
    world_settle(world);
    feed_destroy(server->feed);
    ticker_destroy(server->ticker);
    worker_destroy(server->commits);
    free(server->engine);
    reconciler_destroy(server->reconciler);
    progress_destroy(server->progress);
    usage_destroy(server->usage);
    uids_destroy(server->uids);
    tokens_destroy(server->tokens);
    catalog_destroy(server->catalog);
    core_destroy(server->core);
    vault_close(server->vault);
    store_reader_close(server->reader);
    store_close(server->store);
    event_base_free(server->base);
    if (world->vfs) {
        fault_vfs_destroy(world->vfs);
        assert_works(file_remove_tree(world->folder, err));
    }
    free(world->folder);
    free(world);
}

void world_work(struct world *world)
{
    struct ticker_stats stats;
    ticker_stats(world->server.ticker, &stats);
    while (stats.queued > 0 || ticker_busy(world->server.ticker)) {
        event_base_loop(world->server.base, EVLOOP_ONCE);
        ticker_stats(world->server.ticker, &stats);
    }
}

void world_settle(struct world *world)
{
    world_work(world);
    while (ticker_trouble(world->server.ticker)) {
        ticker_poke(world->server.ticker); /* rather than in a second */
        event_base_loop(world->server.base, EVLOOP_ONCE);
        world_work(world);
    }
}

/* ---- probes ---------------------------------------------------------------------------------- */

static int run_probe(struct tick *tick, void *context, struct error *err)
{
    struct probe *probe = context;
    probe->ran++;
    if (probe->fail)
        return error_set(err, ERR_CONFLICT, "as asked");
    store_txn_put_document(tick_txn(tick), "probe", probe->key, "", "{}", tick_now(tick));
    tick_audit(tick, "probe", "probe", probe->key, "", NULL);
    if (!probe->spoil)
        return 0;
    tick_spoil(tick);
    return error_set(err, ERR_CONFLICT, "spoiled, as asked");
}

static void answer_probe(void *context, const struct error *err)
{
    struct probe *probe = context;
    probe->answered++;
    if (err)
        probe->error = *err;
    else
        probe->stored = probe_is_stored(probe->world, probe);
}

int probe_submit(struct world *world, struct probe *probe)
{
    probe->world = world;
    return ticker_submit(
        world->server.ticker, "tester", run_probe, answer_probe, probe, &probe->error);
}

bool probe_is_stored(struct world *world, const struct probe *probe)
{
    char *json = NULL;
    bool found = reader_document(world->server.reader, "probe", probe->key, &json, NULL, NULL) == 0;
    free(json);
    return found;
}
