/* The world of the contract: see contract_world.h. */
#include "engine/contract_world.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/strbuf.h"
#include "base/vec.h"
#include "engine/joblog.h"
#include "spec/spec.h"
#include "wire/doc.h"

#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    PATIENCE_MS = 180000,
    TURN_MS = 50,
    RANKS_MAX = 16,
    TEAM = 61001,
    NOT_HERE = 77,
    CLEANING_TURNS = 20
};

struct contract {
    struct event_base *base;
    struct engine *engine;
    struct arena *arena;
    char *data;
    struct manifest manifest; /* of the pool */
    char owner[17];
    VEC(struct report) reports;
    struct launch launch;
    struct launch_placement places[RANKS_MAX];
    const char *nodes[RANKS_MAX]; /* of the site, the first ones that are up */
    size_t node_count;
    const char *argv[4];
};

static void on_report(void *context, const struct report *report)
{
    struct contract *contract = context;
    struct report copy = *report;
    if (report->kind == ENGINE_REPORT_METRICS)
        copy.metrics.line = NULL;
    if (report->kind == ENGINE_REPORT_EXEC_ENDED)
        copy.exec.text = NULL;
    vec_push(&contract->reports, copy);
}

static void read_pool(struct contract *contract)
{
    static const char local[] =
        "{apiVersion: muster/v1, kind: Pool, metadata: {name: here}, spec: {nodes: [{name: n}]}}";
    const char *path = getenv("MUSTER_CONTRACT_POOL");
    char *text = NULL;
    size_t size;
    struct error err;
    struct field_errors errors = {0};
    if (path && file_read(path, 1 << 16, &text, &size, &err) < 0)
        fail_msg("%s", err.text);
    const struct doc *docs =
        doc_parse_yaml(contract->arena, text ? text : local, text ? size : strlen(local), &err);
    free(text);
    if (!docs)
        fail_msg("%s", err.text);
    if (manifest_decode(contract->arena, docs->first, NULL, &contract->manifest, &errors) < 0) {
        field_errors_summary(&errors, &err);
        fail_msg("%s", err.text);
    }
}

/* Of a site nothing is known before it was asked. */
static void wait_for_site(struct contract *contract)
{
    int64_t until = clock_boot_ms() + PATIENCE_MS;
    struct engine_site site;
    for (;;) {
        engine_site(contract->engine, &site);
        if (site.known)
            break;
        if (clock_boot_ms() > until)
            fail_msg("the site does not answer: %s", site.text);
        contract_turn(contract);
    }
    for (size_t i = 0; i < site.node_count && contract->node_count < RANKS_MAX; i++) {
        if (site.nodes[i].health == ENGINE_NODE_UP)
            contract->nodes[contract->node_count++] =
                arena_strdup(contract->arena, site.nodes[i].name);
    }
    assert_true(contract->node_count > 0);
}

void contract_make_engine(struct contract *contract)
{
    struct error err;
    const struct engine_options options = {.base = contract->base,
        .data = contract->data,
        .pool = &contract->manifest.pool,
        .owner = contract->owner,
        .report = on_report,
        .context = contract};
    contract->engine = engine_create(&options, &err);
    if (!contract->engine)
        fail_msg("%s", err.text);
}

void contract_drop_engine(struct contract *contract)
{
    engine_destroy(contract->engine);
    contract->engine = NULL;
}

int contract_set_up(void **state)
{
    struct contract *contract = mem_alloc(1, sizeof *contract);
    contract->data = mem_strdup("/tmp/muster-contract-XXXXXX");
    assert_non_null(mkdtemp(contract->data));
    contract->arena = arena_create();
    contract->base = event_base_new();
    snprintf(contract->owner, sizeof contract->owner, "c%x%lx", (unsigned)getpid() & 0xffff,
        (unsigned long)clock_wall_ms() & 0xffffffffff);
    read_pool(contract);
    contract_make_engine(contract);
    wait_for_site(contract);
    *state = contract;
    return 0;
}

/* ---- tearing down ---------------------------------------------------------------------------- */

static size_t count_alive(struct contract *contract)
{
    struct attempt_view *views;
    size_t count, alive = 0;
    engine_observe(contract->engine, &views, &count);
    for (size_t i = 0; i < count; i++)
        alive += views[i].state != ENGINE_ATTEMPT_ENDED;
    free(views);
    return alive;
}

static void end_all(struct contract *contract)
{
    struct attempt_view *views;
    size_t count;
    struct error err;
    engine_observe(contract->engine, &views, &count);
    for (size_t i = 0; i < count; i++) {
        if (views[i].state != ENGINE_ATTEMPT_ENDED &&
            engine_kill(contract->engine, views[i].attempt, &err) < 0)
            fail_msg("%s", err.text);
    }
    free(views);
    int64_t until = clock_boot_ms() + PATIENCE_MS;
    while (count_alive(contract) && clock_boot_ms() < until)
        contract_turn(contract);
}

static void forget_all(struct contract *contract)
{
    struct attempt_view *views;
    size_t count;
    struct error err;
    engine_observe(contract->engine, &views, &count);
    for (size_t i = 0; i < count; i++) {
        if (engine_forget(contract->engine, views[i].attempt, &err) < 0)
            fail_msg("%s", err.text);
    }
    for (size_t i = 0; i < count; i++) {
        if (engine_purge(contract->engine, views[i].job, &err) < 0)
            fail_msg("%s", err.text);
    }
    free(views);
}

/* Whether the Kubernetes engine still has a record, which stays as long as the cluster has anything
 * of its attempt. */
static bool has_records(const struct contract *contract)
{
    char path[4096];
    size_t count = 0;
    snprintf(path, sizeof path, "%s/sites/%s/run", contract->data,
        contract->manifest.pool.metadata.name);
    DIR *folder = opendir(path);
    while (folder && readdir(folder))
        count++;
    if (folder)
        closedir(folder);
    return count > 2; /* itself and the one above */
}

static void let_the_site_clean(struct contract *contract)
{
    int64_t until = clock_boot_ms() + PATIENCE_MS;
    for (int turns = CLEANING_TURNS; turns > 0; turns--)
        contract_turn(contract);
    while (has_records(contract) && clock_boot_ms() < until)
        contract_turn(contract);
}

int contract_tear_down(void **state)
{
    struct contract *contract = *state;
    struct error err;
    if (!contract->engine)
        contract_make_engine(contract);
    end_all(contract);
    contract_turn(contract);
    forget_all(contract);
    /* A site is told to take away what it has of them. */
    if (contract_is_local(contract))
        contract_turn(contract);
    else
        let_the_site_clean(contract);
    engine_destroy(contract->engine);
    event_base_free(contract->base);
    if (file_remove_tree(contract->data, &err) < 0)
        fail_msg("%s", err.text);
    free(contract->data);
    vec_free(&contract->reports);
    arena_destroy(contract->arena);
    free(contract);
    return 0;
}

/* ---- launching ------------------------------------------------------------------------------- */

struct engine *contract_engine(struct contract *contract)
{
    return contract->engine;
}

bool contract_is_local(const struct contract *contract)
{
    return contract->manifest.pool.engine == ENGINE_LOCAL;
}

uint64_t contract_attempt(uint64_t job, uint32_t number)
{
    return job * 100 + number;
}

/* On one machine all ranks of an attempt are one placement. */
const struct launch_placement *contract_places(struct contract *contract, size_t count)
{
    assert_true(count <= RANKS_MAX);
    if (contract_is_local(contract) || contract->node_count < count) {
        contract->places[0] =
            (struct launch_placement){.node = contract->nodes[0], .ranks = (uint32_t)count};
        contract->launch.placement_count = 1;
        return contract->places;
    }
    for (size_t i = 0; i < count; i++)
        contract->places[i] = (struct launch_placement){
            .node = contract->nodes[i], .first_rank = (uint32_t)i, .ranks = 1};
    contract->launch.placement_count = count;
    return contract->places;
}

struct launch *contract_script(
    struct contract *contract, uint64_t job, uint32_t number, uint32_t ranks, const char *script)
{
    bool as_team = contract_is_local(contract) && geteuid() == 0;
    const char *cpu_milli = getenv("MUSTER_CONTRACT_CPU_MILLI");
    contract->argv[0] = "/bin/sh";
    contract->argv[1] = "-c";
    contract->argv[2] = script;
    contract->launch = (struct launch){.attempt = contract_attempt(job, number),
        .job = job,
        .attempt_number = number,
        .epoch = 7,
        .job_name = "trial",
        .team_name = "red",
        .uid = as_team ? TEAM : 0,
        .gid = as_team ? TEAM : 0,
        .argv = contract->argv,
        .snapshot_fd = -1,
        .world_size = ranks,
        .cpu_milli = cpu_milli ? strtoull(cpu_milli, NULL, 10) : 1000,
        .memory_bytes = 100 << 20,
        .network = ENGINE_NETWORK_GANG,
        .grace_ms = 1000,
        .sample_ms = 1000};
    contract->launch.placements = contract_places(contract, ranks);
    return &contract->launch;
}

void contract_start(struct contract *contract, const struct launch *launch)
{
    struct error err;
    if (engine_start(contract->engine, launch, &err) < 0)
        fail_msg("%s", err.text);
}

static _Noreturn void serve_until_killed(struct contract *contract, const struct launch *launch)
{
    /* The loop came through a fork, which libevent has to be told. */
    event_reinit(contract->base);
    contract_make_engine(contract);
    contract_start(contract, launch);
    for (;;)
        contract_turn(contract);
}

void contract_start_and_be_killed(
    struct contract *contract, const struct launch *launch, unsigned after_us)
{
    pid_t server = fork();
    assert_true(server >= 0);
    if (server == 0)
        serve_until_killed(contract, launch);
    usleep(after_us);
    assert_int_equal(kill(server, SIGKILL), 0);
    assert_int_equal(waitpid(server, NULL, 0), server);
}

/* ---- waiting --------------------------------------------------------------------------------- */

static void on_turn_over(evutil_socket_t fd, short events, void *context)
{
    (void)fd, (void)events, (void)context;
}

void contract_turn(struct contract *contract)
{
    struct timeval when = {0, TURN_MS * 1000};
    event_base_once(contract->base, -1, EV_TIMEOUT, on_turn_over, NULL, &when);
    event_base_loop(contract->base, EVLOOP_ONCE);
}

static const struct report *find_report(
    const struct contract *contract, enum engine_report_kind kind, uint64_t attempt)
{
    for (size_t i = 0; i < contract->reports.count; i++) {
        const struct report *report = &contract->reports.items[i];
        if (report->kind == kind && report->attempt == attempt)
            return report;
    }
    return NULL;
}

const struct report *contract_wait(
    struct contract *contract, enum engine_report_kind kind, uint64_t attempt)
{
    int64_t until = clock_boot_ms() + PATIENCE_MS;
    const struct report *report;
    struct engine_where where = {0};
    while (!(report = find_report(contract, kind, attempt))) {
        if (clock_boot_ms() > until) {
            int rc = engine_where(contract->engine, attempt, &where, NULL);
            fail_msg("no report %d came for attempt %lu: %d %s %s %s", (int)kind,
                (unsigned long)attempt, rc, where.id, where.nodes, where.text);
        }
        contract_turn(contract);
    }
    return report;
}

const struct attempt_end *contract_wait_end(struct contract *contract, uint64_t attempt)
{
    return &contract_wait(contract, ENGINE_REPORT_ENDED, attempt)->ended;
}

size_t contract_count(
    const struct contract *contract, enum engine_report_kind kind, uint64_t attempt)
{
    size_t count = 0;
    for (size_t i = 0; i < contract->reports.count; i++)
        count += contract->reports.items[i].kind == kind &&
                 contract->reports.items[i].attempt == attempt;
    return count;
}

void contract_clear(struct contract *contract)
{
    vec_clear(&contract->reports);
}

char *contract_log(struct contract *contract, uint64_t job, uint32_t number)
{
    struct strbuf text = {0};
    struct joblog_line line;
    SCOPED(mem_scope) char *folder = engine_log_folder(contract->engine, job, number);
    struct joblog_reader *reader = joblog_open(folder);
    strbuf_append(&text, "", 0);
    while (joblog_next(reader, &line, NULL) == 1)
        strbuf_printf(&text, "%u %c %.*s\n", line.rank, line.kind, (int)line.size, line.text);
    joblog_close(reader);
    return strbuf_steal(&text);
}

void contract_wait_log(struct contract *contract, uint64_t job, uint32_t number, const char *text)
{
    int64_t until = clock_boot_ms() + PATIENCE_MS;
    for (;;) {
        SCOPED(mem_scope) char *log = contract_log(contract, job, number);
        if (strstr(log, text))
            return;
        if (clock_boot_ms() > until)
            fail_msg("\"%s\" did not come in the log:\n%s", text, log);
        contract_turn(contract);
    }
}

/* ---- asserting ------------------------------------------------------------------------------- */

void contract_assert_log(struct contract *contract, uint64_t job, uint32_t number, const char *text)
{
    SCOPED(mem_scope) char *log = contract_log(contract, job, number);
    if (!strstr(log, text))
        fail_msg("the log has no \"%s\":\n%s", text, log);
}

void contract_assert_end(
    struct contract *contract, uint64_t attempt, enum engine_end_reason reason, int code)
{
    const struct attempt_end *end = contract_wait_end(contract, attempt);
    if (end->reason == reason && end->code == code)
        return;
    SCOPED(mem_scope)
    char *log = contract_log(contract, attempt / 100, (uint32_t)(attempt % 100));
    fail_msg("attempt %lu ended as %s %d (%s), not %s %d; its log:\n%s", (unsigned long)attempt,
        engine_end_reason_name(end->reason), end->code, end->text, engine_end_reason_name(reason),
        code, log);
}

void contract_fault(struct contract *contract, const char *fault, const char *argument)
{
    const char *command = getenv("MUSTER_CONTRACT_FAULT");
    char line[4096];
    (void)contract;
    if (!command)
        skip();
    snprintf(line, sizeof line, "%s %s %s", command, fault, argument ? argument : "");
    int status = system(line);
    if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_HERE)
        skip();
    if (status != 0)
        fail_msg("%s: status %d", line, status);
}
