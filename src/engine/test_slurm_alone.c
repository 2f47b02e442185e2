/* What a job of one rank runs on its node, with a shell and no Slurm: what it leaves, and how that
 * is read. Nothing here waits for a time: only for what the script leaves. */
#include "base/file.h"
#include "base/memory.h"
#include "base/strbuf.h"
#include "base/test.h"
#include "engine/slurm_traces.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ATTEMPT = 7, JOB = 3, NUMBER = 4711 };

struct world {
    char top[64];
    struct slurm_folder folder;
};

static int set_up(void **state)
{
    struct world *world = mem_alloc(1, sizeof *world);
    struct error err;
    snprintf(world->top, sizeof world->top, "/tmp/test-slurm-alone-XXXXXX");
    assert_non_null(mkdtemp(world->top));
    assert_int_equal(
        slurm_folder_open(&world->folder, world->top, "owner", geteuid(), getegid(), &err), 0);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    struct error err;
    assert_int_equal(file_remove_tree(world->top, &err), 0);
    slurm_folder_close(&world->folder);
    free(world);
    return 0;
}

static void prepare(const struct world *world, const char *const *argv)
{
    const struct launch_placement placement = {.node = "n1", .ranks = 1};
    const struct launch launch = {.attempt = ATTEMPT,
        .job = JOB,
        .job_name = "j",
        .team_name = "t",
        .argv = argv,
        .world_size = 1,
        .snapshot_fd = -1,
        .placements = &placement,
        .placement_count = 1};
    struct error err;
    if (slurm_folder_prepare(&world->folder, &launch, &err) < 0)
        fail_msg("%s", err.text);
}

/* As the cluster starts it: in a process group of its own. */
static pid_t begin(const struct world *world, int number)
{
    SCOPED(mem_scope) char *batch = slurm_folder_attempt(&world->folder, ATTEMPT, "batch");
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char text[16];
        snprintf(text, sizeof text, "%d", number);
        setpgid(0, 0);
        setenv("SLURM_JOB_ID", text, 1);
        setenv("SLURMD_NODENAME", "node-1.site", 1);
        execl("/bin/sh", "sh", batch, (char *)NULL);
        _exit(127);
    }
    return pid;
}

static int end(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static struct slurm_traces look(const struct world *world)
{
    struct slurm_traces traces;
    slurm_traces_look(&world->folder, ATTEMPT, 1, &traces);
    return traces;
}

static struct slurm_traces run(const struct world *world, const char *script)
{
    const char *const argv[] = {"sh", "-c", script, NULL};
    prepare(world, argv);
    assert_int_equal(end(begin(world, NUMBER)), 0);
    return look(world);
}

static char *read_out(const struct world *world, const char *name)
{
    SCOPED(mem_scope) char *out = slurm_folder_attempt(&world->folder, ATTEMPT, "out");
    SCOPED(strbuf_finish) struct strbuf path = {0};
    struct error err;
    char *text;
    size_t size;
    strbuf_printf(&path, "%s/%s", out, name);
    if (file_read(path.text, 1 << 20, &text, &size, &err) < 0)
        fail_msg("%s", err.text);
    return text;
}

static void one_that_succeeds_says_all_of_it(void **state)
{
    const struct world *world = *state;
    char node[SLURM_NODE_MAX];
    struct slurm_traces traces =
        run(world, "i=0; while [ $i -lt 60000 ]; do i=$((i + 1)); done; echo $RANK of $WORLD_SIZE; "
                   "echo no >&2");
    assert_true(traces.begun == 1 && traces.ended == 1 && traces.finished);
    assert_true(traces.all_zero && traces.unasked);
    assert_int_equal(traces.failed_rank, -1);
    assert_true(traces.cpu_ms > 0);
    assert_int_equal(slurm_folder_claimed_on(&world->folder, ATTEMPT, node), NUMBER);
    assert_string_equal(node, "node-1.site");
    SCOPED(mem_scope) char *text = read_out(world, "rank-0.out");
    SCOPED(mem_scope) char *errors = read_out(world, "rank-0.err");
    assert_string_equal(text, "0 of 1\n");
    assert_string_equal(errors, "no\n");
}

static void ends_are_told_apart(void **state)
{
    const struct world *world = *state;
    static const struct {
        const char *script;
        int status;
    } cases[] = {{"exit 3", 3}, {"kill -SEGV $$", 128 + SIGSEGV}, {"kill -KILL $$", 128 + SIGKILL}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct error err;
        struct slurm_traces traces = run(world, cases[i].script);
        assert_true(traces.finished && !traces.all_zero && traces.unasked);
        assert_int_equal(traces.failed_rank, 0);
        assert_int_equal(traces.failed_status, cases[i].status);
        assert_int_equal(file_remove_tree(world->folder.root, &err), 0);
    }
}

static void a_command_that_is_not_there_is_said(void **state)
{
    const struct world *world = *state;
    const char *const argv[] = {"no-such-command", NULL};
    prepare(world, argv);
    assert_int_equal(end(begin(world, NUMBER)), 0);
    struct slurm_traces traces = look(world);
    assert_int_equal(traces.start_errno, ENOENT);
    assert_int_equal(traces.begun, 0);
    assert_false(traces.all_zero);
}

/* Waits until the rank has begun. */
static pid_t begin_ready(const struct world *world, const char *script)
{
    const char *const argv[] = {"sh", "-c", script, NULL};
    prepare(world, argv);
    SCOPED(mem_scope) char *pipe = slurm_folder_attempt(&world->folder, ATTEMPT, "work/ready");
    assert_int_equal(mkfifo(pipe, 0600), 0);
    pid_t pid = begin(world, NUMBER);
    SCOPED(fd_scope) int fd = open(pipe, O_RDONLY | O_CLOEXEC);
    char byte;
    assert_int_equal(read(fd, &byte, 1), 1);
    return pid;
}

#define SAVES "trap 'echo saved; exit 0' TERM; echo x > ready; while :; do sleep 1000 & wait; done"

static void a_stop_reaches_it_and_is_said(void **state)
{
    const struct world *world = *state;
    struct error err;
    pid_t pid = begin_ready(world, SAVES);
    assert_int_equal(slurm_folder_stop(&world->folder, ATTEMPT, false, &err), 0);
    assert_int_equal(end(pid), 0);
    struct slurm_traces traces = look(world);
    assert_true(traces.finished && traces.all_zero && !traces.unasked);
    SCOPED(mem_scope) char *text = read_out(world, "rank-0.out");
    assert_string_equal(text, "saved\n");
}

static void the_clusters_own_signal_is_said_as_well(void **state)
{
    const struct world *world = *state;
    pid_t pid = begin_ready(world, SAVES);
    assert_int_equal(kill(-pid, SIGTERM), 0);
    assert_int_equal(end(pid), 0);
    struct slurm_traces traces = look(world);
    assert_true(traces.finished && traces.all_zero && !traces.unasked);
}

static void who_does_not_listen_is_killed_with_the_script(void **state)
{
    const struct world *world = *state;
    struct error err;
    pid_t pid = begin_ready(world, "trap '' TERM; echo x > ready; while :; do sleep 1; done");
    assert_int_equal(slurm_folder_stop(&world->folder, ATTEMPT, true, &err), 0);
    int status = end(pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_int_equal(look(world).ended, 0);
    while (kill(-pid, 0) == 0) /* the kernel is at it */
        sched_yield();
}

static void a_second_job_finds_the_claim(void **state)
{
    const struct world *world = *state;
    run(world, "echo once >> $MUSTER_CHECKPOINT_DIR/runs");
    int status = end(begin(world, NUMBER + 1));
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 121);
    assert_int_equal(slurm_folder_claimed_by(&world->folder, ATTEMPT), NUMBER);
    SCOPED(mem_scope) char *path = slurm_folder_job(&world->folder, JOB, "checkpoint/runs");
    SCOPED(mem_scope) char *text = NULL;
    size_t size;
    struct error err;
    assert_int_equal(file_read(path, 100, &text, &size, &err), 0);
    assert_string_equal(text, "once\n");
}

/* Storage shows what is being written: an end that is not whole is none, whatever there is of it.
 */
static void half_an_end_is_none(void **state)
{
    const struct world *world = *state;
    static const char whole[] = "0m0.010000s 0m0.005000s\n1m2.500s 0m0,25s\nexit 0 unasked\n";
    const char *const argv[] = {"true", NULL};
    struct error err;
    prepare(world, argv);
    SCOPED(mem_scope) char *path = slurm_folder_attempt(&world->folder, ATTEMPT, "out/rank-0.end");
    for (size_t length = 0; length < sizeof whole; length++) {
        assert_int_equal(file_write(path, whole, length, 0600, &err), 0);
        struct slurm_traces traces = look(world);
        if (length == sizeof whole - 1) {
            assert_true(traces.finished && traces.all_zero && traces.unasked);
            assert_int_equal(traces.cpu_ms, 10 + 5 + 62500 + 250);
        } else {
            assert_false(traces.finished && traces.all_zero);
        }
    }
}

static void what_a_job_writes_there_breaks_nothing(void **state)
{
    const struct world *world = *state;
    static const char *const bad[] = {"\n", "\n\n\n", "exit\n", "exit x unasked\n",
        "0m0.0s\nexit 1e9\n", "9999999999999m99999999999.s\nexit 0 unaskedandmore\n", "start -5\n",
        "\xff\xfe\n"};
    const char *const argv[] = {"true", NULL};
    struct error err;
    prepare(world, argv);
    SCOPED(mem_scope) char *path = slurm_folder_attempt(&world->folder, ATTEMPT, "out/rank-0.end");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(file_write(path, bad[i], strlen(bad[i]), 0600, &err), 0);
        struct slurm_traces traces = look(world);
        assert_int_equal(traces.ended, 1);
        assert_false(traces.all_zero && traces.unasked);
        assert_int_equal(traces.cpu_ms, 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_that_succeeds_says_all_of_it),
        TEST(ends_are_told_apart),
        TEST(a_command_that_is_not_there_is_said),
        TEST(a_stop_reaches_it_and_is_said),
        TEST(the_clusters_own_signal_is_said_as_well),
        TEST(who_does_not_listen_is_killed_with_the_script),
        TEST(a_second_job_finds_the_claim),
        TEST(half_an_end_is_none),
        TEST(what_a_job_writes_there_breaks_nothing),
    };
    return cmocka_run_group_tests_name("slurm alone", tests, NULL, NULL);
}
