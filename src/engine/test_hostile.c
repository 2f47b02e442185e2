/* Hostile jobs: each tries to harm others or the machine, and ends as what it is. Where a test
 * needs something this user or machine does not have it is skipped, and says so. */
#include "engine/test_world.h"

#include "base/file.h"
#include "base/strbuf.h"
#include "engine/layout.h"
#include "engine/status.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- Processes --------------------------------------------------------------------------- */

static void test_daemons_left_behind_end_with_the_job(void **state)
{
    struct world *world = *state;
    /* The daemon holds the lock of a file for as long as it lives. */
    world_run(world, 1,
        "setsid flock $MUSTER_CHECKPOINT_DIR/alive sh -c 'touch started; sleep 1000' & "
        "while [ ! -e started ]; do sleep 0.01; done; exit 0");
    world_assert_end(world, 1, ENGINE_END_SUCCEEDED, 0);
    SCOPED(mem_scope) char *path = layout_job(world->data, 1, "checkpoint/alive");
    char command[300];
    snprintf(command, sizeof command, "flock -n %s true", path);
    assert_int_equal(system(command), 0);
}

static void test_daemons_that_ignore_sigterm_do_not_outlive_a_stop(void **state)
{
    struct world *world = *state;
    world_start(world, world_script(world, 1,
                           "trap 'exit 0' TERM; (trap '' TERM; setsid sleep 1000) & echo ready; "
                           "while :; do sleep 0.05; done"));
    world_wait_log(world, 1, "ready");
    assert_int_equal(engine_stop(world->engine, 1, 50000, NULL), 0);
    world_assert_end(world, 1, ENGINE_END_STOPPED, 0);
}

static void test_a_fork_bomb_is_bounded(void **state)
{
    static const char *const argv[] = {"/usr/bin/python3", "-c",
        "import os, time\n"
        "made = 0\n"
        "try:\n"
        "    while made < 40000:\n"
        "        if os.fork() == 0: time.sleep(1000)\n"
        "        made += 1\n"
        "except OSError as e: print('stopped by', e.errno, flush=True)\n",
        NULL};
    struct world *world = *state;
    struct launch *launch = world_script(world, 1, "");
    if (!world_enforces(world, "process-limit")) {
        print_message("there is no pids controller this user can write to\n");
        skip();
    }
    launch->argv = argv;
    world_start(world, launch);
    world_assert_end(world, 1, ENGINE_END_SUCCEEDED, 0);
    world_assert_log(world, 1, "stopped by 11");
}

static void test_processes_outside_are_out_of_reach(void **state)
{
    struct world *world = *state;
    char script[300];
    snprintf(script, sizeof script,
        "kill -9 %d && echo killed; kill -9 -1; ls -d /proc/[0-9]* | wc -l; [ ! -e "
        "/proc/%d/cmdline ] "
        "&& echo not there; kill -9 1; kill -0 1 && echo init lives",
        getpid(), getpid());
    world_run(world, 1, script);
    SCOPED(mem_scope) char *log = world_log(world, 1);
    assert_null(strstr(log, "killed"));
}

static void test_another_job_of_the_team_is_out_of_sight(void **state)
{
    struct world *world = *state;
    world_start(world, world_script(world, 1, "echo ready; exec sleep 12345"));
    world_wait_log(world, 1, "ready");
    world_run(world, 2, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '; pkill sleep; echo looked");
    world_assert_log(world, 2, "looked");
    SCOPED(mem_scope) char *log = world_log(world, 2);
    assert_null(strstr(log, "12345"));
    assert_int_equal(world_count(world, ENGINE_REPORT_ENDED, 1), 0);
}

static void test_init_cannot_be_traced_or_killed_from_inside(void **state)
{
    struct world *world = *state;
    world_run(world, 1,
        "kill -9 1; kill -TERM 1; kill -STOP 1; cat /proc/1/environ >/dev/null 2>&1 && echo read;"
        "ls /proc/1/fd >/dev/null 2>&1 && echo listed; cat /proc/1/mem >/dev/null 2>&1 && echo mem;"
        "ls -l /proc/1/exe >/dev/null 2>&1 && echo exe; exit 3");
    world_assert_end(world, 1, ENGINE_END_EXITED, 3);
    SCOPED(mem_scope) char *log = world_log(world, 1);
    assert_string_equal(log, "");
}

static void test_tracing_its_init_is_refused(void **state)
{
    static const char *const argv[] = {"/usr/bin/python3", "-c",
        "import ctypes\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "for request in (16, 0x4206):\n" /* PTRACE_ATTACH, PTRACE_SEIZE */
        "    print(libc.ptrace(request, 1, 0, 0), ctypes.get_errno(), flush=True)\n",
        NULL};
    struct world *world = *state;
    struct launch *launch = world_script(world, 1, "");
    launch->argv = argv;
    world_start(world, launch);
    world_assert_end(world, 1, ENGINE_END_SUCCEEDED, 0);
    world_assert_log(world, 1, "0 o -1 1\n0 o -1 1\n");
}

/* ---- Files ------------------------------------------------------------------------------- */

static void test_the_system_cannot_be_written(void **state)
{
    struct world *world = *state;
    world_run(world, 1,
        "for f in / /usr /usr/bin /etc /dev /run /run/muster /var /opt /sys /proc/sys/kernel; do "
        "touch $f/mark 2>/dev/null && echo wrote $f; done; "
        "echo 1 > /proc/sys/vm/drop_caches && echo wrote sysctl; "
        "echo x >> /run/muster/init && echo wrote init; echo x >> /etc/passwd && echo wrote "
        "passwd; "
        "echo done");
    SCOPED(mem_scope) char *log = world_log(world, 1);
    assert_null(strstr(log, "o wrote"));
    assert_non_null(strstr(log, "o done"));
}

static void test_nothing_can_be_mounted(void **state)
{
    struct world *world = *state;
    world_run(world, 1,
        "mount -o remount,rw / && echo remounted; mount -o remount,rw /usr && echo remounted; "
        "mount -t tmpfs x /tmp && echo mounted; umount /usr && echo unmounted; "
        "unshare -Ur true && echo namespace; unshare -rm mount -t tmpfs x /usr && echo mounted; "
        "chroot / true && echo chrooted; echo done");
    SCOPED(mem_scope) char *log = world_log(world, 1);
    assert_null(strstr(log, "0 o remounted"));
    assert_null(strstr(log, "0 o mounted"));
    assert_null(strstr(log, "0 o unmounted"));
    assert_null(strstr(log, "0 o namespace"));
    assert_null(strstr(log, "0 o chrooted"));
    assert_non_null(strstr(log, "0 o done"));
}

static void test_the_data_directory_and_system_secrets_are_not_there(void **state)
{
    struct world *world = *state;
    SCOPED(strbuf_finish) struct strbuf script = {0};
    strbuf_printf(&script,
        "cat /etc/shadow && echo shadow; ls %s && echo data; ls /root /home && echo homes; "
        "ls /mnt && echo stage; cat /etc/ssh/* && echo ssh; cat /proc/kcore && echo kcore; "
        "cat /dev/mem && echo mem; ls /dev/sd* /dev/vd* /dev/nvme* && echo disks; "
        "ls /var/lib && echo state; echo done",
        world->data);
    world_run(world, 1, strbuf_text(&script));
    SCOPED(mem_scope) char *log = world_log(world, 1);
    char *line = strstr(log, " o ");
    assert_non_null(line);
    assert_string_equal(line, " o done\n");
}

static void test_another_teams_files_are_out_of_reach(void **state)
{
    struct world *world = *state;
    if (!world_enforces(world, "uid-per-team")) {
        print_message("only root can give each team a user\n");
        skip();
    }
    world_run(world, 1,
        "echo weights > $MUSTER_CHECKPOINT_DIR/model-of-red; "
        "chmod 777 $MUSTER_CHECKPOINT_DIR $MUSTER_CHECKPOINT_DIR/model-of-red");
    SCOPED(strbuf_finish) struct strbuf script = {0};
    strbuf_printf(&script,
        "find / -name model-of-red 2>/dev/null; cat %s/jobs/1/checkpoint/model-of-red; "
        "cat /proc/*/root%s/jobs/1/checkpoint/model-of-red; echo done",
        world->data, world->data);
    struct launch *launch = world_script(world, 2, strbuf_text(&script));
    launch->uid = launch->gid = WORLD_OTHER_TEAM;
    world_start(world, launch);
    world_assert_end(world, 2, ENGINE_END_SUCCEEDED, 0);
    SCOPED(mem_scope) char *log = world_log(world, 2);
    assert_null(strstr(log, "weights"));
    assert_null(strstr(log, "o /"));
}

/* A process of the team's user that is outside of the sandbox: as if one had escaped. */
static int try_as_team(const char *command)
{
    char whole[600];
    snprintf(whole, sizeof whole,
        "setpriv --reuid %d --regid %d --clear-groups sh -c '%s' 2>/dev/null", WORLD_TEAM,
        WORLD_TEAM, command);
    return system(whole);
}

static void test_an_escaped_process_cannot_touch_the_record_of_its_team(void **state)
{
    struct world *world = *state;
    struct status status;
    char command[300];
    if (geteuid() != 0) {
        print_message("only root can act as a team's user\n");
        skip();
    }
    world_start(world, world_script(world, 1, "echo ready; sleep 1000"));
    world_wait_log(world, 1, "ready");
    SCOPED(mem_scope) char *path = layout_run(world->data, 1, "status");
    SCOPED(fd_scope) int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(status_read(fd, &status, NULL), 0);
    assert_int_not_equal(try_as_team("true"), -1);
    assert_int_equal(try_as_team("true"), 0);
    snprintf(command, sizeof command, "ls %s/run || ls %s/jobs || cat %s", world->data, world->data,
        path);
    assert_int_not_equal(try_as_team(command), 0);
    /* Not through the shim either, though it is of the same user. */
    snprintf(command, sizeof command, "ls /proc/%d/fd || ls /proc/%d/cwd/ || cat /proc/%d/environ",
        status.shim_pid, status.shim_pid, status.shim_pid);
    assert_int_not_equal(try_as_team(command), 0);
    /* Killing it is possible, and reported as what it is. */
    snprintf(command, sizeof command, "kill -9 %d", status.shim_pid);
    assert_int_equal(try_as_team(command), 0);
    world_assert_end(world, 1, ENGINE_END_LOST, 0);
}

static void test_rights_are_gone(void **state)
{
    struct world *world = *state;
    char expected[64];
    world_run(world, 1,
        "grep -E '^(Cap(Prm|Eff|Inh|Amb)|NoNewPrivs|Groups)' /proc/self/status; id -u; "
        "ls /proc/self/fd | wc -l");
    world_assert_log(world, 1,
        "0 o CapInh:\t0000000000000000\n0 o CapPrm:\t0000000000000000\n"
        "0 o CapEff:\t0000000000000000\n");
    world_assert_log(world, 1, "0 o NoNewPrivs:\t1\n");
    snprintf(expected, sizeof expected, "0 o %u\n", geteuid() == 0 ? WORLD_TEAM : geteuid());
    world_assert_log(world, 1, expected);
    /* Standard input, output, error, and the listing's own: nothing else was inherited. */
    world_assert_log(world, 1, "0 o 4\n");
}

static void test_a_network_of_its_own_reaches_nobody(void **state)
{
    struct world *world = *state;
    world_run(world, 1, "cat /proc/net/dev | tail -n +3 | cut -d: -f1; cat /proc/net/tcp | wc -l");
    world_assert_log(world, 1, "0 o     lo\n0 o 1\n");
}

static void test_only_the_network_host_shows_the_machines(void **state)
{
    struct world *world = *state;
    char *text, expected[64];
    size_t size, lines = 0;
    struct launch *launch =
        world_script(world, 1, "echo $(wc -l < /proc/net/dev) interfaces; echo port $MASTER_PORT");
    assert_int_equal(file_read("/proc/net/dev", 65536, &text, &size, NULL), 0);
    for (size_t i = 0; i < size; i++)
        lines += text[i] == '\n';
    free(text);
    launch->network = ENGINE_NETWORK_HOST;
    world_start(world, launch);
    world_assert_end(world, 1, ENGINE_END_SUCCEEDED, 0);
    snprintf(expected, sizeof expected, "0 o %zu interfaces\n", lines);
    world_assert_log(world, 1, expected);
}

/* ---- Bounds ------------------------------------------------------------------------------ */

static void test_filling_the_disk_quota_ends_the_job(void **state)
{
    static const char *const scripts[] = {
        "while :; do cat /dev/zero > f$((i=i+1)) 2>/dev/null; done",
        "cd /tmp; while :; do head -c 1M /dev/zero > $((i=i+1)); done",
        "while :; do mkdir $((i=i+1)); done",
        "while :; do head -c 1M /dev/zero > $MUSTER_CHECKPOINT_DIR/$((i=i+1)); done",
        "while :; do head -c 1M /dev/zero >> $MUSTER_METRICS; done",
        "while :; do mkdir -p d/d/d/d/d/d/d/d; cd d/d/d/d/d/d/d/d; done",
    };
    struct world *world = *state;
    for (uint64_t i = 0; i < ARRAY_LEN(scripts); i++) {
        struct launch *launch = world_script(world, i + 1, scripts[i]);
        launch->disk_bytes = 8 << 20;
        world_start(world, launch);
        world_assert_end(world, i + 1, ENGINE_END_DISK_QUOTA, 0);
    }
}

static void test_one_file_cannot_pass_the_disk_quota(void **state)
{
    struct world *world = *state;
    struct launch *launch = world_script(world, 1, "exec head -c 1G /dev/zero > big");
    launch->disk_bytes = 1 << 20;
    world_start(world, launch);
    world_assert_end(world, 1, ENGINE_END_DISK_QUOTA, 0);
}

static void test_a_flood_of_output_leaves_a_bounded_log(void **state)
{
    enum { FILE_BYTES = 1 << 20, FILES = 4 };
    struct world *world = *state;
    struct launch *launch = world_script(world, 1,
        "yes 0123456789012345678901234567890123456789 | head -c 200M; "
        "head -c 1M /dev/zero; echo; echo the end");
    launch->log_file_bytes = FILE_BYTES;
    launch->log_files = FILES;
    world_start(world, launch);
    world_assert_end(world, 1, ENGINE_END_SUCCEEDED, 0);
    world_assert_log(world, 1, "0 o the end\n");
    SCOPED(mem_scope) char *folder = engine_log_folder(world->engine, 1, 1);
    char command[300];
    snprintf(command, sizeof command, "[ $(cat %s/* | wc -c) -le %d ]", folder, FILE_BYTES * FILES);
    assert_int_equal(system(command), 0);
}

static const char *const memory_eater[] = {"/usr/bin/python3", "-c",
    "import time\n"
    "held = []\n"
    "while len(held) < 4000:\n"
    "    held.append(b'x' * (1 << 20))\n"
    "    time.sleep(0.0005)\n"
    "time.sleep(1000)\n",
    NULL};

static void test_eating_memory_ends_the_job(void **state)
{
    struct world *world = *state;
    struct launch *launch = world_script(world, 1, "");
    launch->argv = memory_eater;
    launch->memory_bytes = 64 << 20;
    world_start(world, launch);
    world_assert_end(world, 1, ENGINE_END_OUT_OF_MEMORY, 0);
}

static void test_eating_memory_ends_the_job_without_control_groups(void **state)
{
    (void)state;
    struct world *world = world_create("");
    struct launch *launch = world_script(world, 1, "");
    assert_false(world_enforces(world, "memory-limit"));
    launch->argv = memory_eater;
    launch->memory_bytes = 64 << 20;
    world_start(world, launch);
    world_assert_end(world, 1, ENGINE_END_OUT_OF_MEMORY, 0);
    world_destroy(world);
}

static void test_files_in_memory_count_as_memory(void **state)
{
    struct world *world = *state;
    if (!world_enforces(world, "memory-limit")) {
        print_message("there is no memory controller this user can write to\n");
        skip();
    }
    struct launch *launch = world_script(world, 1, "head -c 1G /dev/zero > /dev/shm/big; exit 1");
    launch->memory_bytes = 64 << 20;
    world_start(world, launch);
    const struct attempt_end *end = world_wait_end(world, 1);
    assert_true(end->reason == ENGINE_END_OUT_OF_MEMORY || end->reason == ENGINE_END_EXITED);
}

/* ---- Lies -------------------------------------------------------------------------------- */

static void test_metrics_cannot_be_made_to_point_elsewhere(void **state)
{
    struct world *world = *state;
    SCOPED(strbuf_finish) struct strbuf script = {0};
    strbuf_printf(&script,
        "ln -sf %s/run/1/launch $MUSTER_METRICS; sleep 1; rm $MUSTER_METRICS; "
        "mkfifo $MUSTER_METRICS",
        world->data);
    world_run(world, 1, strbuf_text(&script));
    world_assert_end(world, 1, ENGINE_END_SUCCEEDED, 0);
    assert_int_equal(world_count(world, ENGINE_REPORT_METRICS, 1), 0);
}

static void test_a_flood_of_metrics_is_bounded(void **state)
{
    struct world *world = *state;
    world_run(world, 1,
        "head -c 50M /dev/zero | tr '\\0' x >> $MUSTER_METRICS; echo >> $MUSTER_METRICS;"
        "yes '{}' | head -c 10M >> $MUSTER_METRICS");
    world_assert_end(world, 1, ENGINE_END_SUCCEEDED, 0);
    assert_true(world_count(world, ENGINE_REPORT_METRICS, 1) < 1 << 20);
}

static void test_a_checkpoint_folder_of_anything_is_harmless(void **state)
{
    struct world *world = *state;
    world_run(world, 1,
        "cd $MUSTER_CHECKPOINT_DIR; mkfifo pipe; ln -s loop loop; mkdir d; ln -s .. d/up; "
        "ln -s /dev/zero zero; touch $(seq 2000); touch -d '2200-01-01' 1; mkdir closed; "
        "chmod 0 closed d; touch -h -d '2300-01-01' loop");
    world_assert_end(world, 1, ENGINE_END_SUCCEEDED, 0);
    int64_t newest_ms = 0;
    for (size_t i = 0; i < world->report_count; i++) {
        const struct report *report = &world->reports[i].report;
        if (report->kind != ENGINE_REPORT_CHECKPOINT)
            continue;
        newest_ms = report->checkpoint.newest_ms;
        assert_true(newest_ms <= report->at_ms);
    }
    assert_true(newest_ms > 0);
}

static void test_log_lines_cannot_be_forged(void **state)
{
    struct world *world = *state;
    world_run(world, 1, "printf '1700000000000 5 e forged\\r1 2 o x\\n'; printf 'no newline'");
    world_assert_log(world, 1, "0 o 1700000000000 5 e forged\r1 2 o x\n");
    world_assert_log(world, 1, "0 o no newline\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_set_up, world_tear_down)

static int run_suite(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_daemons_left_behind_end_with_the_job),
        TEST(test_daemons_that_ignore_sigterm_do_not_outlive_a_stop),
        TEST(test_a_fork_bomb_is_bounded),
        TEST(test_processes_outside_are_out_of_reach),
        TEST(test_another_job_of_the_team_is_out_of_sight),
        TEST(test_init_cannot_be_traced_or_killed_from_inside),
        TEST(test_tracing_its_init_is_refused),
        TEST(test_the_system_cannot_be_written),
        TEST(test_nothing_can_be_mounted),
        TEST(test_the_data_directory_and_system_secrets_are_not_there),
        TEST(test_another_teams_files_are_out_of_reach),
        TEST(test_an_escaped_process_cannot_touch_the_record_of_its_team),
        TEST(test_rights_are_gone),
        TEST(test_a_network_of_its_own_reaches_nobody),
        TEST(test_only_the_network_host_shows_the_machines),
        TEST(test_filling_the_disk_quota_ends_the_job),
        TEST(test_one_file_cannot_pass_the_disk_quota),
        TEST(test_a_flood_of_output_leaves_a_bounded_log),
        TEST(test_eating_memory_ends_the_job),
        cmocka_unit_test(test_eating_memory_ends_the_job_without_control_groups),
        TEST(test_files_in_memory_count_as_memory),
        TEST(test_metrics_cannot_be_made_to_point_elsewhere),
        TEST(test_a_flood_of_metrics_is_bounded),
        TEST(test_a_checkpoint_folder_of_anything_is_harmless),
        TEST(test_log_lines_cannot_be_forged),
    };
    return cmocka_run_group_tests_name("hostile jobs", tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    return world_main(argc, argv, run_suite);
}
