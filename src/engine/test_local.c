/* The local engine with real processes: what an honest job is promised. */
#include "engine/test_world.h"

#include "base/file.h"
#include "base/strbuf.h"
#include "engine/layout.h"
#include "engine/sandbox.h"
#include "engine/snapshot.h"
#include "engine/status.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- Ends -------------------------------------------------------------------------------- */

static void test_a_command_that_exits_0_succeeds(void **state)
{
    struct world *world = *state;
    const struct attempt_end *end = world_run(world, 1, "echo to out; echo to err >&2");
    assert_true(end->started_ms > 0 && end->ended_ms >= end->started_ms);
    world_assert_end(world, 1, ENGINE_END_SUCCEEDED, 0);
    assert_int_equal(world_count(world, ENGINE_REPORT_STARTED, 1), 1);
    world_assert_log(world, 1, "0 o to out\n");
    world_assert_log(world, 1, "0 e to err\n");
}

static void test_an_exit_code_is_reported(void **state)
{
    world_run(*state, 1, "exit 3");
    world_assert_end(*state, 1, ENGINE_END_EXITED, 3);
}

static void test_a_signal_is_reported(void **state)
{
    world_run(*state, 1, "kill -SEGV $$");
    world_assert_end(*state, 1, ENGINE_END_SIGNALLED, SIGSEGV);
}

static void test_a_command_that_does_not_exist_fails_to_start(void **state)
{
    static const char *const argv[] = {"no-such-command", NULL};
    struct world *world = *state;
    struct launch *launch = world_script(world, 1, "");
    launch->argv = argv;
    world_start(world, launch);
    world_assert_end(world, 1, ENGINE_END_START_FAILED, ENOENT);
    assert_non_null(strstr(world_wait_end(world, 1)->text, "no-such-command"));
    assert_int_equal(world_count(world, ENGINE_REPORT_STARTED, 1), 0);
}

static void test_a_work_folder_that_does_not_exist_fails_to_start(void **state)
{
    struct world *world = *state;
    struct launch *launch = world_script(world, 1, "true");
    launch->work_subfolder = "src/missing";
    world_start(world, launch);
    world_assert_end(world, 1, ENGINE_END_START_FAILED, ENOENT);
    assert_non_null(strstr(world_wait_end(world, 1)->text, SANDBOX_WORK "/src/missing"));
}

static void test_a_file_that_is_not_a_program_fails_to_start(void **state)
{
    static const char *const argv[] = {"/etc/passwd", NULL};
    struct world *world = *state;
    struct launch *launch = world_script(world, 1, "");
    launch->argv = argv;
    world_start(world, launch);
    world_assert_end(world, 1, ENGINE_END_START_FAILED, EACCES);
}

static void test_the_time_limit_ends_a_job(void **state)
{
    struct world *world = *state;
    struct launch *launch = world_script(world, 1, "sleep 1000");
    launch->time_limit_ms = 50;
    world_start(world, launch);
    world_assert_end(world, 1, ENGINE_END_TIME_LIMIT, 0);
}

/* ---- Stopping ---------------------------------------------------------------------------- */

static void stop_when_ready(struct world *world, uint64_t grace_ms)
{
    struct error err;
    world_wait_log(world, 1, "ready");
    if (engine_stop(world->engine, 1, grace_ms, &err) < 0)
        fail_msg("%s", err.text);
}

static void test_any_exit_within_the_grace_after_a_stop_is_a_stop(void **state)
{
    struct world *world = *state;
    world_start(
        world, world_script(world, 1,
                   "trap 'echo saving; exit 9' TERM; echo ready; while :; do sleep 0.05; done"));
    stop_when_ready(world, 50000);
    world_assert_end(world, 1, ENGINE_END_STOPPED, 0);
    assert_true(world_wait_end(world, 1)->stop_asked);
    world_assert_log(world, 1, "saving");
}

static void test_a_job_that_says_it_is_complete_has_succeeded_when_stopped(void **state)
{
    struct world *world = *state;
    world_start(world, world_script(world, 1,
                           "trap 'touch $MUSTER_COMPLETE; exit 0' TERM; echo ready; while :; do "
                           "sleep 0.05; done"));
    stop_when_ready(world, 50000);
    world_assert_end(world, 1, ENGINE_END_SUCCEEDED, 0);
}

static void test_a_job_that_ignores_sigterm_is_killed_after_its_grace(void **state)
{
    struct world *world = *state;
    world_start(
        world, world_script(world, 1, "trap '' TERM; echo ready; while :; do sleep 0.05; done"));
    stop_when_ready(world, 100);
    world_assert_end(world, 1, ENGINE_END_KILLED, 0);
}

static void test_a_second_stop_can_only_shorten_the_grace(void **state)
{
    struct world *world = *state;
    world_start(
        world, world_script(world, 1, "trap '' TERM; echo ready; while :; do sleep 0.05; done"));
    stop_when_ready(world, 3600000);
    assert_int_equal(engine_stop(world->engine, 1, 10, NULL), 0);
    world_assert_end(world, 1, ENGINE_END_KILLED, 0);
}

static void test_a_stop_before_it_runs_is_a_stop(void **state)
{
    struct world *world = *state;
    world_start(world, world_script(world, 1, "sleep 1000"));
    assert_int_equal(engine_stop(world->engine, 1, 50000, NULL), 0);
    world_assert_end(world, 1, ENGINE_END_STOPPED, 0);
}

static void test_a_kill_ends_it_at_once(void **state)
{
    struct world *world = *state;
    world_start(world, world_script(world, 1, "sleep 1000"));
    world_wait(world, ENGINE_REPORT_STARTED, 1);
    assert_int_equal(engine_kill(world->engine, 1, NULL), 0);
    world_assert_end(world, 1, ENGINE_END_KILLED, 0);
}

/* ---- Gangs ------------------------------------------------------------------------------- */

static const struct launch_placement pair = {.node = "here", .ranks = 2};

static struct launch *gang_of_two(struct world *world, const char *script)
{
    struct launch *launch = world_script(world, 1, script);
    launch->world_size = 2;
    launch->placements = &pair;
    return launch;
}

static void test_ranks_of_a_gang_meet_on_their_network(void **state)
{
    static const char *const argv[] = {"/usr/bin/python3", "-c",
        "import os, socket, time\n"
        "at = (os.environ['MASTER_ADDR'], int(os.environ['MASTER_PORT']))\n"
        "if os.environ['RANK'] == '0':\n"
        "    server = socket.create_server(at)\n"
        "    print('got', server.accept()[0].recv(100).decode())\n"
        "else:\n"
        "    while True:\n"
        "        try:\n"
        "            socket.create_connection(at).sendall(b'hello of rank 1'); break\n"
        "        except ConnectionRefusedError: time.sleep(0.01)\n",
        NULL};
    struct world *world = *state;
    struct launch *launch = gang_of_two(world, "");
    launch->argv = argv;
    world_start(world, launch);
    world_assert_end(world, 1, ENGINE_END_SUCCEEDED, 0);
    world_assert_log(world, 1, "0 o got hello of rank 1\n");
}

static void test_when_one_rank_fails_the_others_are_stopped(void **state)
{
    struct world *world = *state;
    world_start(world, gang_of_two(world, "[ $RANK = 1 ] && exit 5; sleep 1000"));
    world_assert_end(world, 1, ENGINE_END_EXITED, 5);
    assert_int_equal(world_wait_end(world, 1)->rank, 1);
}

static void test_ranks_may_end_differently_after_a_stop(void **state)
{
    struct world *world = *state;
    world_start(world,
        gang_of_two(world,
            "[ $RANK = 0 ] && trap 'exit 0' TERM; "
            "touch /tmp/$RANK; while [ ! -e /tmp/0 ] || [ ! -e /tmp/1 ]; do sleep 0.01; done; "
            "echo ready; while :; do sleep 0.05; done"));
    stop_when_ready(world, 50000);
    world_assert_end(world, 1, ENGINE_END_STOPPED, 0);
}

static void test_ranks_see_the_contract(void **state)
{
    static const uint32_t devices[] = {4, 7};
    static const struct launch_placement place = {
        .node = "here", .ranks = 2, .devices = devices, .device_count = 2, .device_milli = 1000};
    static const struct launch_variable variables[] = {{"COLOUR", "blue sky"}, {"RANK", "99"}};
    struct world *world = *state;
    struct launch *launch =
        gang_of_two(world, "echo $RANK/$WORLD_SIZE $LOCAL_RANK/$LOCAL_WORLD_SIZE $MASTER_ADDR "
                           "$MUSTER_JOB $MUSTER_TEAM $MUSTER_ATTEMPT $CUDA_VISIBLE_DEVICES "
                           "$OMP_NUM_THREADS $COLOUR $HOME $(pwd) $(hostname) $(id -un)");
    launch->placements = &place;
    launch->variables = variables;
    launch->variable_count = 2;
    launch->cpu_milli = 1500;
    world_start(world, launch);
    world_assert_end(world, 1, ENGINE_END_SUCCEEDED, 0);
    world_assert_log(
        world, 1, "0 o 0/2 0/2 127.0.0.1 trial red 1 4 2 blue sky /work /work trial job\n");
    world_assert_log(
        world, 1, "1 o 1/2 1/2 127.0.0.1 trial red 1 7 2 blue sky /work /work trial job\n");
}

static void test_standard_input_is_empty(void **state)
{
    world_run(*state, 1, "cat; echo end of input");
    world_assert_log(*state, 1, "end of input");
}

/* ---- Data -------------------------------------------------------------------------------- */

static void test_the_checkpoint_folder_lasts_over_attempts(void **state)
{
    struct world *world = *state;
    world_run(world, 1, "echo epoch 4 > $MUSTER_CHECKPOINT_DIR/state");
    world_assert_end(world, 1, ENGINE_END_SUCCEEDED, 0);
    const struct world_report *checkpoint = world_wait(world, ENGINE_REPORT_CHECKPOINT, 1);
    assert_true(checkpoint->report.checkpoint.newest_ms > 0);
    struct launch *launch = world_script(world, 2, "cat $MUSTER_CHECKPOINT_DIR/state");
    launch->job = 1;
    launch->attempt_number = 2;
    world_start(world, launch);
    world_assert_end(world, 2, ENGINE_END_SUCCEEDED, 0);
    SCOPED(mem_scope) char *folder = engine_log_folder(world->engine, 1, 2);
    struct strbuf command = {0};
    strbuf_printf(&command, "grep -q 'epoch 4' %s/*", folder);
    assert_int_equal(system(command.text), 0);
    strbuf_finish(&command);
}

static void test_metrics_lines_are_reported(void **state)
{
    struct world *world = *state;
    world_run(world, 1,
        "echo '{\"loss\": 0.21}' >> $MUSTER_METRICS; printf '{\"bad\": \"\\377\"}' "
        ">> $MUSTER_METRICS");
    world_assert_end(world, 1, ENGINE_END_SUCCEEDED, 0);
    assert_int_equal(world_count(world, ENGINE_REPORT_METRICS, 1), 2);
    assert_string_equal(world_wait(world, ENGINE_REPORT_METRICS, 1)->text, "{\"loss\": 0.21}");
    assert_string_equal(
        world->reports[world->report_count - 2].text, "{\"bad\": \"\xef\xbf\xbd\"}");
}

static int pack_example(const char *content)
{
    char folder[] = "/tmp/muster-pack-XXXXXX", path[64], digest[65];
    struct error err;
    const struct snapshot_limits limits = snapshot_default_limits();
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/train.sh", folder);
    assert_int_equal(file_write(path, content, strlen(content), 0755, &err), 0);
    int fd = memfd_create("snapshot", MFD_CLOEXEC);
    int folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (snapshot_pack(folder_fd, fd, &limits, digest, &err) < 0)
        fail_msg("%s", err.text);
    close(folder_fd);
    assert_int_equal(file_remove_tree(folder, &err), 0);
    return fd;
}

static void test_the_work_folder_is_the_snapshot(void **state)
{
    static const char *const argv[] = {"./train.sh", NULL};
    struct world *world = *state;
    struct launch *launch = world_script(world, 1, "");
    SCOPED(fd_scope) int fd = pack_example("#!/bin/sh\necho trained in $(pwd); echo x > out\n");
    launch->argv = argv;
    launch->snapshot_fd = fd;
    world_start(world, launch);
    world_assert_end(world, 1, ENGINE_END_SUCCEEDED, 0);
    world_assert_log(world, 1, "trained in /work");
}

static void test_a_broken_snapshot_fails_to_start(void **state)
{
    struct world *world = *state;
    struct launch *launch = world_script(world, 1, "true");
    SCOPED(fd_scope) int fd = memfd_create("snapshot", MFD_CLOEXEC);
    assert_int_equal(file_write_all(fd, "not a snapshot", 14, NULL), 0);
    launch->snapshot_fd = fd;
    world_start(world, launch);
    const struct attempt_end *end = world_wait_end(world, 1);
    assert_int_equal(end->reason, ENGINE_END_START_FAILED);
    assert_non_null(strstr(end->text, "not a snapshot"));
}

static void test_secrets_reach_the_job_and_no_file(void **state)
{
    static const struct launch_secret secrets[] = {
        {.name = "API_KEY", .value = "tulip-31337", .size = 11},
        {.name = "CERT", .value = "rose\n-2718", .size = 10, .as_file = true},
    };
    struct world *world = *state;
    struct launch *launch = world_script(world, 1,
        "echo $API_KEY | tr a-z A-Z; stat -c %a $CERT; tail -1 $CERT | tr 0-9 a-j; echo; sleep "
        "1000");
    launch->secrets = secrets;
    launch->secret_count = 2;
    world_start(world, launch);
    world_wait_log(world, 1, "-chbi");
    world_assert_log(world, 1, "TULIP-31337");
    world_assert_log(world, 1, "400");
    char command[300];
    snprintf(command, sizeof command, "grep -rqs -e tulip -e '-2718' %s", world->data);
    assert_int_equal(WEXITSTATUS(system(command)), 1);
}

static void test_usage_is_sampled(void **state)
{
    struct world *world = *state;
    world_run(world, 1,
        "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; "
        "dd if=/dev/zero of=big bs=1M count=2 2>/dev/null");
    world_assert_end(world, 1, ENGINE_END_SUCCEEDED, 0);
    const struct world_report *last = NULL;
    for (size_t i = 0; i < world->report_count; i++) {
        if (world->reports[i].report.kind == ENGINE_REPORT_SAMPLE)
            last = &world->reports[i];
    }
    assert_non_null(last);
    assert_true(last->report.sample.cpu_ns > 0);
    assert_true(last->report.sample.memory_peak_bytes > 0);
    assert_true(last->report.sample.disk_bytes >= 2 << 20);
    assert_int_equal(last->report.sample.accelerator_milli, -1);
}

/* ---- Commands in a running attempt -------------------------------------------------------- */

static void test_a_command_runs_inside_a_running_job(void **state)
{
    static const char *const argv[] = {"/bin/sh", "-c", "cat; echo $RANK $(pwd); exit 4", NULL};
    struct world *world = *state;
    int in[2], out[2];
    char text[100];
    struct error err;
    world_start(world, world_script(world, 1, "sleep 1000"));
    world_wait(world, ENGINE_REPORT_STARTED, 1);
    assert_int_equal(pipe(in) | pipe(out), 0);
    const struct exec_request request = {.exec = 77, .argv = argv, .fds = {in[0], out[1], out[1]}};
    if (engine_exec(world->engine, 1, &request, &err) < 0)
        fail_msg("%s", err.text);
    close(in[0]);
    close(out[1]);
    assert_int_equal(write(in[1], "typed\n", 6), 6);
    close(in[1]);
    const struct world_report *ended = world_wait(world, ENGINE_REPORT_EXEC_ENDED, 1);
    assert_int_equal(ended->report.exec.exec, 77);
    assert_int_equal(WEXITSTATUS(ended->report.exec.wait_status), 4);
    ssize_t n = read(out[0], text, sizeof text - 1);
    close(out[0]);
    assert_true(n > 0);
    text[n] = '\0';
    assert_string_equal(text, "typed\n0 /work\n");
}

static void test_a_command_can_have_a_terminal(void **state)
{
    static const char *const argv[] = {
        "/bin/sh", "-c", "test -t 0 && exec 3</dev/tty && echo terminal", NULL};
    struct world *world = *state;
    char text[100];
    world_start(world, world_script(world, 1, "sleep 1000"));
    world_wait(world, ENGINE_REPORT_STARTED, 1);
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_int_equal(grantpt(master) | unlockpt(master), 0);
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    const struct exec_request request = {
        .exec = 5, .argv = argv, .fds = {slave, slave, slave}, .terminal = true};
    assert_int_equal(engine_exec(world->engine, 1, &request, NULL), 0);
    close(slave);
    assert_int_equal(world_wait(world, ENGINE_REPORT_EXEC_ENDED, 1)->report.exec.wait_status, 0);
    ssize_t n = read(master, text, sizeof text - 1);
    close(master);
    assert_true(n > 0);
    assert_memory_equal(text, "terminal", 8);
}

static void test_a_command_that_does_not_exist_is_reported_to_who_asked(void **state)
{
    static const char *const argv[] = {"no-such-command", NULL};
    struct world *world = *state;
    world_start(world, world_script(world, 1, "sleep 1000"));
    world_wait(world, ENGINE_REPORT_STARTED, 1);
    const struct exec_request request = {.exec = 78, .argv = argv, .fds = {0, 1, 2}};
    assert_int_equal(engine_exec(world->engine, 1, &request, NULL), 0);
    const struct world_report *ended = world_wait(world, ENGINE_REPORT_EXEC_ENDED, 1);
    assert_int_equal(ended->report.exec.wait_status, -1);
    assert_non_null(strstr(ended->text, "No such file"));
}

/* ---- Servers that die --------------------------------------------------------------------- */

static void test_a_new_engine_finds_the_running_job(void **state)
{
    struct world *world = *state;
    world_start(world,
        world_script(world, 1, "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done"));
    world_wait_log(world, 1, "ready");
    world_restart_engine(world);
    world_clear_reports(world);
    world_wait(world, ENGINE_REPORT_STARTED, 1);
    stop_when_ready(world, 50000);
    world_assert_end(world, 1, ENGINE_END_STOPPED, 0);
}

static void test_a_stop_given_before_the_shim_is_found_again_arrives(void **state)
{
    struct world *world = *state;
    world_start(world, world_script(world, 1, "sleep 1000"));
    world_wait(world, ENGINE_REPORT_STARTED, 1);
    world_restart_engine(world);
    assert_int_equal(engine_stop(world->engine, 1, 50000, NULL), 0);
    world_assert_end(world, 1, ENGINE_END_STOPPED, 0);
}

static void test_an_end_nobody_saw_is_reported_until_it_is_forgotten(void **state)
{
    struct world *world = *state;
    char path[200];
    world_start(world,
        world_script(world, 1,
            "echo ready; while [ ! -e $MUSTER_CHECKPOINT_DIR/go ]; do sleep 0.01; done; exit 6"));
    world_wait_log(world, 1, "ready");
    world_drop_engine(world);
    snprintf(path, sizeof path, "%s/jobs/1/checkpoint/go", world->data);
    assert_int_equal(file_write(path, "", 0, 0644, NULL), 0);
    for (int i = 0; i < 2; i++) {
        world_make_engine(world);
        world_clear_reports(world);
        world_assert_end(world, 1, ENGINE_END_EXITED, 6);
        world_drop_engine(world);
    }
    world_make_engine(world);
    world_clear_reports(world);
    world_wait_end(world, 1);
    assert_int_equal(engine_forget(world->engine, 1, NULL), 0);
    world_restart_engine(world);
    struct attempt_view *views;
    size_t count;
    engine_observe(world->engine, &views, &count);
    free(views);
    assert_int_equal(count, 0);
}

static void test_an_attempt_started_twice_runs_once(void **state)
{
    struct world *world = *state;
    const char *script =
        "echo run >> $MUSTER_CHECKPOINT_DIR/runs; wc -l < $MUSTER_CHECKPOINT_DIR/runs";
    world_start(world, world_script(world, 1, script));
    world_start(world, world_script(world, 1, script));
    world_assert_end(world, 1, ENGINE_END_SUCCEEDED, 0);
    world_clear_reports(world);
    world_start(world, world_script(world, 1, script));
    world_assert_end(world, 1, ENGINE_END_SUCCEEDED, 0);
    assert_int_equal(world_count(world, ENGINE_REPORT_STARTED, 1), 1);
    world_restart_engine(world);
    world_start(world, world_script(world, 1, script));
    world_clear_reports(world);
    world_assert_end(world, 1, ENGINE_END_SUCCEEDED, 0);
    SCOPED(mem_scope) char *log = world_log(world, 1);
    assert_string_equal(log, "0 o 1\n");
}

/* Reads the status file of attempt 1. */
static void read_status(struct world *world, struct status *ret)
{
    struct error err;
    SCOPED(mem_scope) char *path = layout_run(world->data, 1, "status");
    SCOPED(fd_scope) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (status_read(fd, ret, &err) < 0)
        fail_msg("%s", err.text);
}

/* Is it that process still, and not one that was given its pid, nor a dead one nobody waited for?
 */
static bool is_running(pid_t pid, uint64_t start)
{
    char path[64];
    char *text;
    size_t size;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (process_start_time(pid) != start || file_read(path, 4096, &text, &size, NULL) < 0)
        return false;
    const char *state = strrchr(text, ')');
    bool dead = !state || state[2] == 'Z' || state[2] == 'X';
    free(text);
    return !dead;
}

static void test_a_killed_shim_takes_its_job_along_and_it_is_lost(void **state)
{
    struct world *world = *state;
    struct status status;
    world_start(world, world_script(world, 1, "echo ready; sleep 1000"));
    world_wait_log(world, 1, "ready");
    read_status(world, &status);
    assert_true(is_running(status.sandbox_pid, status.sandbox_start));
    assert_int_equal(kill(status.shim_pid, SIGKILL), 0);
    world_assert_end(world, 1, ENGINE_END_LOST, 0);
    assert_false(is_running(status.sandbox_pid, status.sandbox_start));
}

static void test_a_shutdown_of_the_machine_is_a_stop(void **state)
{
    struct world *world = *state;
    struct status status;
    world_start(
        world, world_script(world, 1,
                   "trap 'echo saved; exit 0' TERM; echo ready; while :; do sleep 0.05; done"));
    world_wait_log(world, 1, "ready");
    read_status(world, &status);
    assert_int_equal(kill(status.shim_pid, SIGTERM), 0);
    world_assert_end(world, 1, ENGINE_END_STOPPED, 0);
    world_assert_log(world, 1, "saved");
}

static void test_an_attempt_of_an_earlier_boot_is_lost(void **state)
{
    struct world *world = *state;
    struct status status;
    struct error err;
    world_start(world, world_script(world, 1, "echo ready; sleep 1000"));
    world_wait_log(world, 1, "ready");
    world_drop_engine(world);
    read_status(world, &status);
    assert_int_equal(kill(status.shim_pid, SIGKILL), 0);
    SCOPED(mem_scope) char *path = layout_run(world->data, 1, "status");
    SCOPED(fd_scope) int fd = open(path, O_RDWR | O_CLOEXEC);
    memset(status.boot_id, 'a', sizeof status.boot_id - 1);
    assert_int_equal(status_write(fd, &status, &err), 0);
    world_make_engine(world);
    world_assert_end(world, 1, ENGINE_END_LOST, 0);
    assert_string_equal(world_wait_end(world, 1)->text, "the machine was restarted");
}

/* The server died between making the run folder and starting the shim. */
static void test_an_attempt_whose_shim_never_began_is_lost_and_not_run(void **state)
{
    struct world *world = *state;
    struct error err;
    world_run(world, 1, "true");
    world_drop_engine(world);
    SCOPED(mem_scope) char *path = layout_run(world->data, 1, "status");
    assert_int_equal(truncate(path, 0), 0);
    world_make_engine(world);
    world_clear_reports(world);
    world_assert_end(world, 1, ENGINE_END_LOST, 0);
    if (engine_forget(world->engine, 1, &err) < 0)
        fail_msg("%s", err.text);
}

/* ---- What is left ------------------------------------------------------------------------- */

/* What was removed is gone from the disk in the end. */
static void wait_for_empty_trash(struct world *world)
{
    enum { TURNS_MAX = 1000 };
    char command[200];
    snprintf(command, sizeof command, "[ -z \"$(ls -A %s/trash)\" ]", world->data);
    for (int i = 0; i < TURNS_MAX && system(command) != 0; i++)
        world_turn(world);
    assert_int_equal(system(command), 0);
}

static void test_a_purge_goes_on_after_a_restart(void **state)
{
    struct world *world = *state;
    struct error err;
    world_run(world, 1, "cd $MUSTER_CHECKPOINT_DIR; touch $(seq 1000)");
    if (engine_forget(world->engine, 1, &err) < 0 || engine_purge(world->engine, 1, &err) < 0)
        fail_msg("%s", err.text);
    world_restart_engine(world);
    wait_for_empty_trash(world);
}

static void test_forgetting_keeps_logs_and_purging_removes_all(void **state)
{
    struct world *world = *state;
    struct error err;
    struct stat st;
    world_run(world, 1,
        "mkdir -p a/b; chmod 0 a; ln -s / a-link; echo kept; cd $MUSTER_CHECKPOINT_DIR; "
        "mkdir -p a/b; touch a/b/c; chmod 0 a/b a .");
    assert_int_equal(engine_purge(world->engine, 1, &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    if (engine_forget(world->engine, 1, &err) < 0)
        fail_msg("%s", err.text);
    world_assert_log(world, 1, "kept");
    SCOPED(mem_scope) char *work = layout_attempt(world->data, 1, 1, "work");
    SCOPED(mem_scope) char *job = layout_job(world->data, 1, NULL);
    SCOPED(mem_scope) char *run = layout_run(world->data, 1, NULL);
    assert_int_equal(stat(work, &st), -1);
    assert_int_equal(stat(run, &st), -1);
    assert_int_equal(engine_purge(world->engine, 1, &err), 0);
    assert_int_equal(stat(job, &st), -1);
    wait_for_empty_trash(world);
}

static void test_the_data_directory_can_be_where_the_stage_is(void **state)
{
    (void)state;
    if (access("/mnt", W_OK) < 0) {
        print_message("/mnt, where the stage is, is root's\n");
        skip();
    }
    struct world *world = world_create_in("/mnt", NULL);
    world_run(world, 1, "echo works; echo 1 > $MUSTER_CHECKPOINT_DIR/x");
    world_assert_end(world, 1, ENGINE_END_SUCCEEDED, 0);
    world_assert_log(world, 1, "works");
    world_destroy(world);
}

static void test_a_running_attempt_cannot_be_forgotten(void **state)
{
    struct world *world = *state;
    struct error err;
    world_start(world, world_script(world, 1, "sleep 1000"));
    assert_int_equal(engine_forget(world->engine, 1, &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    assert_int_equal(engine_stop(world->engine, 99, 0, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
}

static void test_nobody_runs_as_root(void **state)
{
    struct world *world = *state;
    struct error err;
    struct launch *launch = world_script(world, 1, "true");
    launch->uid = geteuid() == 0 ? 0 : 1;
    assert_int_equal(engine_start(world->engine, launch, &err), -1);
    assert_true(err.code == ERR_INVALID || err.code == ERR_UNAVAILABLE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_set_up, world_tear_down)

static int run_suite(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_command_that_exits_0_succeeds),
        TEST(test_an_exit_code_is_reported),
        TEST(test_a_signal_is_reported),
        TEST(test_a_command_that_does_not_exist_fails_to_start),
        TEST(test_a_work_folder_that_does_not_exist_fails_to_start),
        TEST(test_a_file_that_is_not_a_program_fails_to_start),
        TEST(test_the_time_limit_ends_a_job),
        TEST(test_any_exit_within_the_grace_after_a_stop_is_a_stop),
        TEST(test_a_job_that_says_it_is_complete_has_succeeded_when_stopped),
        TEST(test_a_job_that_ignores_sigterm_is_killed_after_its_grace),
        TEST(test_a_second_stop_can_only_shorten_the_grace),
        TEST(test_a_stop_before_it_runs_is_a_stop),
        TEST(test_a_kill_ends_it_at_once),
        TEST(test_ranks_of_a_gang_meet_on_their_network),
        TEST(test_when_one_rank_fails_the_others_are_stopped),
        TEST(test_ranks_may_end_differently_after_a_stop),
        TEST(test_ranks_see_the_contract),
        TEST(test_standard_input_is_empty),
        TEST(test_the_checkpoint_folder_lasts_over_attempts),
        TEST(test_metrics_lines_are_reported),
        TEST(test_the_work_folder_is_the_snapshot),
        TEST(test_a_broken_snapshot_fails_to_start),
        TEST(test_secrets_reach_the_job_and_no_file),
        TEST(test_usage_is_sampled),
        TEST(test_a_command_runs_inside_a_running_job),
        TEST(test_a_command_can_have_a_terminal),
        TEST(test_a_shutdown_of_the_machine_is_a_stop),
        TEST(test_a_command_that_does_not_exist_is_reported_to_who_asked),
        TEST(test_a_new_engine_finds_the_running_job),
        TEST(test_a_stop_given_before_the_shim_is_found_again_arrives),
        TEST(test_an_end_nobody_saw_is_reported_until_it_is_forgotten),
        TEST(test_an_attempt_started_twice_runs_once),
        TEST(test_a_killed_shim_takes_its_job_along_and_it_is_lost),
        TEST(test_an_attempt_of_an_earlier_boot_is_lost),
        TEST(test_an_attempt_whose_shim_never_began_is_lost_and_not_run),
        TEST(test_forgetting_keeps_logs_and_purging_removes_all),
        TEST(test_a_purge_goes_on_after_a_restart),
        cmocka_unit_test(test_the_data_directory_can_be_where_the_stage_is),
        TEST(test_a_running_attempt_cannot_be_forgotten),
        TEST(test_nobody_runs_as_root),
    };
    return cmocka_run_group_tests_name("local engine", tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    return world_main(argc, argv, run_suite);
}
