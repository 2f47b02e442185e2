/* The engines of the pools: see engines.h.
 *
 * What an engine of a site says of an attempt is said by attempt id, which is unique over all of
 * them, so reports need not say where they come from. Which engine a live attempt is for follows
 * from where the core placed it. */
#include "server/engines.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "base/vec.h"
#include "core/core.h"
#include "server/catalog.h"
#include "server/context.h"
#include "server/reconcile.h"
#include "server/ticker.h"

#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { AGAIN_MS = 10000, OWNER_LENGTH = 10, NODES_MAX = 65536 };

struct site {
    struct server *server;
    char *pool;
    char *options;         /* what its manifest says of it, as text: another text is another site */
    struct engine *engine; /* NULL: it could not be made */
    int64_t tried_ms;
    bool wanted;
};

struct engines {
    struct server *server;
    char owner[OWNER_LENGTH + 1]; /* "": not read yet */
    uint64_t generation;
    VEC(struct site *) sites;
};

struct engines *engines_create(struct server *server)
{
    struct engines *engines = mem_alloc(1, sizeof *engines);
    engines->server = server;
    return engines;
}

static void site_free(struct site *site)
{
    engine_destroy(site->engine);
    free(site->pool);
    free(site->options);
    free(site);
}

void engines_destroy(struct engines *engines)
{
    if (!engines)
        return;
    for (size_t i = 0; i < engines->sites.count; i++)
        site_free(engines->sites.items[i]);
    vec_free(&engines->sites);
    engine_destroy(engines->server->engine);
    engines->server->engine = NULL;
    free(engines);
}

/* ---- who we are at sites --------------------------------------------------------------------- */

/* Made once, with the first site: submissions are marked with it for ever. */
static int read_owner(struct engines *engines, struct error *err)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";
    SCOPED(strbuf_finish) struct strbuf path = {0};
    SCOPED(mem_scope) char *text = NULL;
    size_t size;
    char made[OWNER_LENGTH + 1] = "";
    if (engines->owner[0])
        return 0;
    strbuf_printf(&path, "%s/owner", engines->server->config.data_dir);
    if (file_read(path.text, OWNER_LENGTH + 1, &text, &size, err) == 0) {
        text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789")] = '\0';
        if (strlen(text) != OWNER_LENGTH)
            return error_set(err, ERR_CORRUPT, "%s is damaged", path.text);
        snprintf(engines->owner, sizeof engines->owner, "%s", text);
        return 0;
    }
    if (err->code != ERR_NOT_FOUND)
        return -1;
    for (size_t i = 0; i < OWNER_LENGTH; i++)
        made[i] = letters[randombytes_uniform(sizeof letters - 1)];
    if (file_write(path.text, made, OWNER_LENGTH, 0600, err) < 0)
        return -1;
    memcpy(engines->owner, made, sizeof made);
    return 0;
}

/* ---- nodes of sites -------------------------------------------------------------------------- */

static struct site *find_site(const struct engines *engines, const char *pool)
{
    for (size_t i = 0; engines && i < engines->sites.count; i++) {
        if (strcmp(engines->sites.items[i]->pool, pool) == 0)
            return engines->sites.items[i];
    }
    return NULL;
}

bool engines_site(const struct server *server, const char *pool, struct engine_site *ret_site)
{
    const struct site *site = find_site(server->engines, pool);
    if (!site || !site->engine)
        return false;
    engine_site(site->engine, ret_site);
    return true;
}

static void copy_labels(
    struct arena *arena, const struct engine_site_node *from, struct label_list *to)
{
    to->items = arena_alloc(arena, from->label_count + 1, sizeof *to->items);
    for (size_t i = 0; i < from->label_count; i++)
        to->items[to->count++] = (struct label){
            arena_strdup(arena, from->labels[i].key), arena_strdup(arena, from->labels[i].value)};
}

static void copy_taints(struct arena *arena, const struct engine_site_node *from, struct node *to)
{
    to->taints.items = arena_alloc(arena, from->taint_count + 1, sizeof *to->taints.items);
    for (size_t i = 0; i < from->taint_count; i++) {
        const struct engine_taint *taint = &from->taints[i];
        if (*taint->key)
            to->taints.items[to->taints.count++] =
                (struct taint){arena_strdup(arena, taint->key), arena_strdup(arena, taint->value),
                    taint->no_execute ? TAINT_NO_EXECUTE : TAINT_NO_SCHEDULE};
    }
}

static struct node node_of(struct arena *arena, const struct engine_site_node *from)
{
    struct node node = {.name = arena_strdup(arena, from->name),
        .count = 1,
        .fractional = from->shared,
        .capacity = {.cpu_milli = (int64_t)from->cpu_milli,
            .memory_bytes = (int64_t)from->memory_bytes,
            .disk_bytes = (int64_t)from->disk_bytes,
            .accelerator = arena_strdup(arena, from->accelerator),
            .accelerator_milli = (int64_t)from->accelerators * 1000}};
    copy_labels(arena, from, &node.labels);
    copy_taints(arena, from, &node);
    return node;
}

bool engines_fill_nodes(const struct server *server, struct arena *arena, struct pool *pool)
{
    const struct site *site = find_site(server->engines, pool->metadata.name);
    struct engine_site about;
    if (pool->engine == ENGINE_LOCAL || pool->nodes.count > 0)
        return false;
    pool->partial = true;
    if (!site || !site->engine)
        return false;
    engine_site(site->engine, &about);
    if (!about.known)
        return false;
    pool->partial = false;
    size_t most = about.node_count < NODES_MAX ? about.node_count : NODES_MAX;
    struct node *items = arena_alloc(arena, most + 1, sizeof *items);
    size_t count = 0;
    for (size_t i = 0; i < most; i++) {
        const struct engine_site_node *from = &about.nodes[i];
        if (from->health == ENGINE_NODE_UP && from->cpu_milli && from->memory_bytes)
            items[count++] = node_of(arena, from);
        else
            pool->partial = true;
    }
    pool->nodes.items = items;
    pool->nodes.count = count;
    return true;
}

/* The nodes of a site changed: the pool is put again as it was applied, with them. */
static int run_nodes(struct tick *tick, void *context, struct error *err)
{
    struct server *server = tick_server(tick);
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct catalog_entry *entry = catalog_find(server->catalog, KIND_POOL, context);
    if (!entry)
        return 0;
    struct pool pool = entry->manifest->pool;
    if (!engines_fill_nodes(server, arena, &pool))
        return 0;
    if (core_pool_put(tick_core(tick), &pool, err) < 0)
        log_warn("the nodes of the pool %s are not taken: %s", pool.metadata.name, err->text);
    return 0;
}

static void on_report(void *context, const struct report *report)
{
    struct site *site = context;
    if (report->kind == ENGINE_REPORT_SITE)
        ticker_report(site->server->ticker, "engine", run_nodes, free, mem_strdup(site->pool));
    else
        reconciler_report(site->server, report);
}

/* ---- following the catalogue ----------------------------------------------------------------- */

static char *options_text(const struct doc *doc)
{
    static const char *const parts[] = {"engine", "spot", "slurm", "kubernetes"};
    struct strbuf text = {0};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        const struct doc *part = doc_get(doc_get(doc, "spec"), parts[i]);
        if (part)
            doc_write_json(part, 0, &text);
        strbuf_putc(&text, '\n');
    }
    return strbuf_steal(&text);
}

static struct engine *make_engine(
    struct server *server, struct site *site, const struct pool *pool, struct error *err)
{
    if (read_owner(server->engines, err) < 0)
        return NULL;
    const struct engine_options options = {.base = server->base,
        .data = server->config.data_dir,
        .pool = pool,
        .owner = server->engines->owner,
        .report = on_report,
        .context = site};
    return engine_create(&options, err);
}

static void open_site(struct server *server, struct site *site, const struct pool *pool)
{
    struct error err;
    int64_t now_ms = clock_boot_ms();
    if (site->engine || (site->tried_ms && now_ms - site->tried_ms < AGAIN_MS))
        return;
    site->tried_ms = now_ms;
    site->engine = make_engine(server, site, pool, &err);
    server->engines->generation += site->engine != NULL;
    if (!site->engine)
        log_warn("the pool %s has no engine: %s", site->pool, err.text);
}

static void follow_pool(struct server *server, const struct catalog_entry *entry)
{
    struct engines *engines = server->engines;
    struct site *site = find_site(engines, entry->name);
    char *options = options_text(entry->doc);
    if (site && strcmp(site->options, options) != 0) {
        engine_destroy(site->engine);
        site->engine = NULL;
        engines->generation++;
        site->tried_ms = 0;
        free(site->options);
        site->options = options;
    } else if (!site) {
        site = mem_alloc(1, sizeof *site);
        site->server = server;
        site->pool = mem_strdup(entry->name);
        site->options = options;
        vec_push(&engines->sites, site);
    } else {
        free(options);
    }
    site->wanted = true;
    open_site(server, site, &entry->manifest->pool);
}

/* The engine of a pool that is gone stays while it has attempts, which are killed and forgotten. */
static bool has_attempts(const struct site *site)
{
    struct attempt_view *views = NULL;
    size_t count = 0;
    if (site->engine)
        engine_observe(site->engine, &views, &count);
    free(views);
    return count > 0;
}

void engines_follow(struct server *server)
{
    struct engines *engines = server->engines;
    if (!engines)
        return;
    for (size_t i = 0; i < engines->sites.count; i++)
        engines->sites.items[i]->wanted = false;
    for (size_t i = 0; i < catalog_count(server->catalog, KIND_POOL); i++) {
        const struct catalog_entry *entry = catalog_at(server->catalog, KIND_POOL, i);
        if (entry->manifest->pool.engine != ENGINE_LOCAL)
            follow_pool(server, entry);
    }
    for (size_t i = engines->sites.count; i-- > 0;) {
        struct site *site = engines->sites.items[i];
        if (site->wanted || has_attempts(site))
            continue;
        vec_remove(&engines->sites, i);
        site_free(site);
        engines->generation++;
    }
}

/* An engine on a folder beside the data, which is never run. */
int engines_check(struct server *server, const struct pool *pool, struct error *err)
{
    const struct site *site = find_site(server->engines, pool->metadata.name);
    struct site trial = {.server = server, .pool = (char *)(uintptr_t)pool->metadata.name};
    if (!server->engines || (site && site->engine))
        return 0;
    struct engine *engine = make_engine(server, &trial, pool, err);
    engine_destroy(engine);
    return engine ? 0 : -1;
}

uint64_t engines_generation(const struct server *server)
{
    return server->engines ? server->engines->generation : 0;
}

/* ---- finding --------------------------------------------------------------------------------- */

struct engine *engines_at(const struct server *server, size_t i)
{
    if (i == 0)
        return server->engine;
    for (size_t j = 0, at = 1; server->engines && j < server->engines->sites.count; j++) {
        struct engine *engine = server->engines->sites.items[j]->engine;
        if (engine && at++ == i)
            return engine;
    }
    return NULL;
}

struct engine *engines_of_pool(const struct server *server, uint64_t pool)
{
    const struct pool_row *row = core_pool(server->core, pool);
    if (!row || row->engine == ENGINE_LOCAL)
        return row ? server->engine : NULL;
    const struct site *site = find_site(server->engines, core_symbol(server->core, row->name));
    return site ? site->engine : NULL;
}

struct home {
    const struct core *core;
    uint64_t pool;
};

static void take_home(void *context, enum row_kind kind, const void *data)
{
    struct home *home = context;
    const struct placement_row *row = data;
    const struct node_row *node = core_node(home->core, row->node);
    (void)kind;
    if (node)
        home->pool = node->pool;
}

struct engine *engines_of_attempt(const struct server *server, uint64_t attempt)
{
    struct home home = {.core = server->core};
    core_placement_each(server->core, attempt, take_home, &home);
    return home.pool ? engines_of_pool(server, home.pool) : server->engine;
}

struct engine *engines_with(const struct server *server, uint64_t attempt)
{
    struct engine_where where;
    struct engine *engine;
    for (size_t i = 1; (engine = engines_at(server, i)); i++) {
        if (engine_where(engine, attempt, &where, NULL) == 0)
            return engine;
    }
    return server->engine;
}

/* ---- whichever has it ------------------------------------------------------------------------ */

char *engines_log_folder(const struct server *server, uint64_t job, uint32_t attempt_number)
{
    struct engine *engine;
    for (size_t i = 1; (engine = engines_at(server, i)); i++) {
        char *folder = engine_log_folder(engine, job, attempt_number);
        if (access(folder, F_OK) == 0)
            return folder;
        free(folder);
    }
    return engine_log_folder(server->engine, job, attempt_number);
}

int engines_purge(struct server *server, uint64_t job, struct error *err)
{
    struct engine *engine;
    for (size_t i = 0; (engine = engines_at(server, i)); i++) {
        if (engine_purge(engine, job, err) < 0)
            return -1;
    }
    return 0;
}

int engines_output_open(
    const struct server *server, uint64_t job, const char *name, struct error *err)
{
    struct engine *engine;
    for (size_t i = 1; (engine = engines_at(server, i)); i++) {
        int fd = engine_output_open(engine, job, name, err);
        if (fd >= 0 || err->code != ERR_NOT_FOUND)
            return fd;
    }
    return engine_output_open(server->engine, job, name, err);
}

int engines_outputs_drop(struct server *server, uint64_t job, struct error *err)
{
    struct engine *engine;
    for (size_t i = 0; (engine = engines_at(server, i)); i++) {
        if (engine_outputs_drop(engine, job, err) < 0)
            return -1;
    }
    return 0;
}

char *engines_serve_address(const struct server *server, uint64_t attempt)
{
    struct engine *engine = engines_of_attempt(server, attempt);
    return engine ? engine_serve_address(engine, attempt) : NULL;
}
