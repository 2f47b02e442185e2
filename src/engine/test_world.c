/* The world of the tests: see test_world.h. */
#include "engine/test_world.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/strbuf.h"
#include "engine/joblog.h"

#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 60000, TURN_MS = 50 };

static void on_report(void *context, const struct report *report)
{
    struct world *world = context;
    world->reports = mem_resize(world->reports, world->report_count + 1, sizeof *world->reports);
    struct world_report *copy = &world->reports[world->report_count++];
    *copy = (struct world_report){.report = *report};
    if (report->kind == ENGINE_REPORT_METRICS) {
        memcpy(copy->text, report->metrics.line, report->metrics.length);
        copy->report.metrics.line = NULL;
    } else if (report->kind == ENGINE_REPORT_EXEC_ENDED) {
        snprintf(copy->text, sizeof copy->text, "%s", report->exec.text);
        copy->report.exec.text = NULL;
    }
}

void world_make_engine(struct world *world)
{
    struct error err;
    const struct engine_local_options options = {.base = world->base,
        .data = world->data,
        .node_name = "here",
        .cgroup_name = world->cgroup_name,
        .report = on_report,
        .context = world};
    world->engine = engine_local_create(&options, &err);
    if (!world->engine)
        fail_msg("%s", err.text);
}

struct world *world_create(const char *cgroup_name)
{
    return world_create_in("/tmp", cgroup_name);
}

struct world *world_create_in(const char *parent, const char *cgroup_name)
{
    struct world *world = mem_alloc(1, sizeof *world);
    struct strbuf folder = {0};
    strbuf_printf(&folder, "%s/muster-test-XXXXXX", parent);
    world->data = strbuf_steal(&folder);
    assert_non_null(mkdtemp(world->data));
    world->cgroup_name = cgroup_name;
    world->base = event_base_new();
    world_make_engine(world);
    return world;
}

void world_drop_engine(struct world *world)
{
    engine_destroy(world->engine);
    world->engine = NULL;
}

void world_restart_engine(struct world *world)
{
    world_drop_engine(world);
    world_make_engine(world);
}

static bool all_ended(struct world *world)
{
    struct attempt_view *views;
    size_t count;
    bool ended = true;
    engine_observe(world->engine, &views, &count);
    for (size_t i = 0; i < count; i++)
        ended &= views[i].state == ENGINE_ATTEMPT_ENDED;
    free(views);
    return ended;
}

static void forget_all(struct world *world)
{
    struct attempt_view *views;
    size_t count;
    struct error err;
    engine_observe(world->engine, &views, &count);
    for (size_t i = 0; i < count; i++) {
        if (engine_forget(world->engine, views[i].attempt, &err) < 0)
            fail_msg("%s", err.text);
    }
    free(views);
}

void world_destroy(struct world *world)
{
    struct attempt_view *views;
    size_t count;
    struct error err;
    if (!world->engine)
        world_make_engine(world);
    engine_observe(world->engine, &views, &count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(engine_kill(world->engine, views[i].attempt, NULL), 0);
    free(views);
    int64_t until = clock_boot_ms() + PATIENCE_MS;
    while (!all_ended(world) && clock_boot_ms() < until)
        world_turn(world);
    world_turn(world);
    forget_all(world);
    engine_destroy(world->engine);
    event_base_free(world->base);
    if (file_remove_tree(world->data, &err) < 0)
        fail_msg("%s", err.text);
    free(world->data);
    free(world->reports);
    free(world);
}

struct launch *world_script(struct world *world, uint64_t id, const char *script)
{
    static const char *argv[4];
    static const struct launch_placement place = {.node = "here", .ranks = 1};
    static struct launch launch;
    (void)world;
    argv[0] = "/bin/sh";
    argv[1] = "-c";
    argv[2] = script;
    launch = (struct launch){.attempt = id,
        .job = id,
        .attempt_number = 1,
        .epoch = 7,
        .job_name = "trial",
        .team_name = "red",
        .uid = geteuid() == 0 ? WORLD_TEAM : 0,
        .gid = geteuid() == 0 ? WORLD_TEAM : 0,
        .argv = argv,
        .snapshot_fd = -1,
        .world_size = 1,
        .placements = &place,
        .placement_count = 1,
        .network = ENGINE_NETWORK_GANG,
        .grace_ms = 200,
        .sample_ms = 100};
    return &launch;
}

void world_start(struct world *world, const struct launch *launch)
{
    struct error err;
    if (engine_start(world->engine, launch, &err) < 0)
        fail_msg("%s", err.text);
}

static void on_turn_over(evutil_socket_t fd, short events, void *context)
{
    (void)fd, (void)events, (void)context;
}

void world_turn(struct world *world)
{
    struct timeval when = {0, TURN_MS * 1000};
    event_base_once(world->base, -1, EV_TIMEOUT, on_turn_over, NULL, &when);
    event_base_loop(world->base, EVLOOP_ONCE);
}

static const struct world_report *find_report(
    const struct world *world, enum engine_report_kind kind, uint64_t attempt)
{
    for (size_t i = 0; i < world->report_count; i++) {
        const struct world_report *report = &world->reports[i];
        if (report->report.kind == kind && report->report.attempt == attempt)
            return report;
    }
    return NULL;
}

const struct world_report *world_wait(
    struct world *world, enum engine_report_kind kind, uint64_t attempt)
{
    int64_t until = clock_boot_ms() + PATIENCE_MS;
    const struct world_report *report;
    while (!(report = find_report(world, kind, attempt))) {
        if (clock_boot_ms() > until)
            fail_msg("no report %d came for attempt %lu", (int)kind, (unsigned long)attempt);
        world_turn(world);
    }
    return report;
}

const struct attempt_end *world_wait_end(struct world *world, uint64_t attempt)
{
    return &world_wait(world, ENGINE_REPORT_ENDED, attempt)->report.ended;
}

void world_wait_log(struct world *world, uint64_t attempt, const char *text)
{
    int64_t until = clock_boot_ms() + PATIENCE_MS;
    for (;;) {
        SCOPED(mem_scope) char *log = world_log(world, attempt);
        if (strstr(log, text))
            return;
        if (clock_boot_ms() > until)
            fail_msg("\"%s\" did not come in the log:\n%s", text, log);
        world_turn(world);
    }
}

size_t world_count(const struct world *world, enum engine_report_kind kind, uint64_t attempt)
{
    size_t count = 0;
    for (size_t i = 0; i < world->report_count; i++)
        count +=
            world->reports[i].report.kind == kind && world->reports[i].report.attempt == attempt;
    return count;
}

void world_clear_reports(struct world *world)
{
    world->report_count = 0;
}

char *world_log(struct world *world, uint64_t id)
{
    struct strbuf text = {0};
    struct joblog_line line;
    SCOPED(mem_scope) char *folder = world->engine ? engine_log_folder(world->engine, id, 1) : NULL;
    struct joblog_reader *reader = joblog_open(folder);
    while (joblog_next(reader, &line, NULL) == 1)
        strbuf_printf(&text, "%u %c %.*s\n", line.rank, line.kind, (int)line.size, line.text);
    joblog_close(reader);
    return strbuf_steal(&text);
}

bool world_enforces(const struct world *world, const char *fact)
{
    const struct engine_node *node = engine_node(world->engine);
    for (size_t i = 0; i < node->fact_count; i++) {
        if (!strcmp(node->facts[i].name, fact))
            return node->facts[i].enforced;
    }
    fail_msg("there is no fact %s", fact);
    return false;
}

const struct attempt_end *world_run(struct world *world, uint64_t id, const char *script)
{
    world_start(world, world_script(world, id, script));
    return world_wait_end(world, id);
}

void world_assert_end(struct world *world, uint64_t id, enum engine_end_reason reason, int code)
{
    const struct attempt_end *end = world_wait_end(world, id);
    if (end->reason == reason && end->code == code)
        return;
    SCOPED(mem_scope) char *log = world_log(world, id);
    fail_msg("attempt %lu ended as %s %d (%s), not %s %d; its log:\n%s", (unsigned long)id,
        engine_end_reason_name(end->reason), end->code, end->text, engine_end_reason_name(reason),
        code, log);
}

void world_assert_log(struct world *world, uint64_t id, const char *text)
{
    SCOPED(mem_scope) char *log = world_log(world, id);
    if (!strstr(log, text))
        fail_msg("the log has no \"%s\":\n%s", text, log);
}

int world_set_up(void **state)
{
    *state = world_create(NULL);
    return 0;
}

int world_tear_down(void **state)
{
    world_destroy(*state);
    return 0;
}

enum { ORDINARY_USER = 61009, CANNOT = 77 };

/* The child: an ordinary user, without any other group. */
static _Noreturn void run_as_ordinary_user(char **argv)
{
    char program[4096];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    program[n > 0 ? n : 0] = '\0';
    if (setgroups(0, NULL) < 0 || setresgid(ORDINARY_USER, ORDINARY_USER, ORDINARY_USER) < 0 ||
        setresuid(ORDINARY_USER, ORDINARY_USER, ORDINARY_USER) < 0 || access(program, X_OK) < 0)
        _exit(CANNOT);
    execv(program, argv);
    _exit(CANNOT);
}

int world_main(int argc, char **argv, int (*run_suite)(void))
{
    if (argc > 1 && !strcmp(argv[1], "shim"))
        return shim_main(argc - 1, argv + 1);
    if (argc > 1 && !strcmp(argv[1], "init"))
        return init_main(argc - 1, argv + 1);
    int failed = run_suite(), status;
    if (geteuid() != 0)
        return failed;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        run_as_ordinary_user(argv);
    if (child < 0 || waitpid(child, &status, 0) < 0)
        return 1;
    if (WIFEXITED(status) && WEXITSTATUS(status) == CANNOT) {
        printf("not run as an ordinary user, who cannot reach this program\n");
        return failed;
    }
    return failed || status != 0;
}
