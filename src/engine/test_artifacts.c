/* Inputs and outputs of real jobs: what is shown, what lasts, and what a hostile job can leave for
 * whoever reads its outputs. */
#include "engine/test_world.h"

#include "base/file.h"
#include "base/strbuf.h"
#include "engine/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- Inputs ------------------------------------------------------------------------------ */

/* A folder as the registry keeps it: in the data directory, whose server alone can enter it, with
 * one file. The caller frees the path. */
static char *make_input(const struct world *world, const char *name, const char *text)
{
    struct strbuf folder = {0};
    SCOPED(strbuf_finish) struct strbuf file = {0};
    struct error err;
    strbuf_printf(&folder, "%s/cache/%s", world->data, name);
    strbuf_printf(&file, "%s/rows.csv", strbuf_text(&folder));
    if (file_make_dirs(strbuf_text(&folder), 0700, &err) < 0 ||
        file_write(strbuf_text(&file), text, strlen(text), 0444, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(chmod(strbuf_text(&folder), 0555), 0);
    return strbuf_steal(&folder);
}

static void test_inputs_are_read(void **state)
{
    struct world *world = *state;
    SCOPED(mem_scope) char *digits = make_input(world, "digits", "1,2,3\n");
    SCOPED(mem_scope) char *base = make_input(world, "base", "weights\n");
    const struct launch_input inputs[] = {{"digits", digits}, {"base-model.v2", base}};
    struct launch *launch = world_script(world, 1,
        "echo $MUSTER_INPUT_DIGITS $MUSTER_INPUT_BASE_MODEL_V2; "
        "cat $MUSTER_INPUT_DIGITS/rows.csv $MUSTER_INPUT_BASE_MODEL_V2/rows.csv; ls /inputs");
    launch->inputs = inputs;
    launch->input_count = ARRAY_LEN(inputs);
    world_start(world, launch);
    world_assert_end(world, 1, ENGINE_END_SUCCEEDED, 0);
    world_assert_log(world, 1,
        "0 o /inputs/digits /inputs/base-model.v2\n0 o 1,2,3\n0 o weights\n"
        "0 o base-model.v2\n0 o digits\n");
}

static void test_inputs_cannot_be_changed(void **state)
{
    struct world *world = *state;
    SCOPED(mem_scope) char *folder = make_input(world, "digits", "1,2,3\n");
    const struct launch_input inputs[] = {{"digits", folder}};
    struct launch *launch = world_script(world, 1,
        "cd $MUSTER_INPUT_DIGITS; chmod 777 . rows.csv && echo opened; "
        "echo x >> rows.csv && echo appended; touch new && echo made; rm -f rows.csv && echo gone; "
        "mv /inputs/digits /inputs/other && echo moved; touch /inputs/x && echo added; "
        "mount -o remount,rw /inputs/digits && echo remounted; echo done");
    launch->inputs = inputs;
    launch->input_count = 1;
    world_start(world, launch);
    world_assert_end(world, 1, ENGINE_END_SUCCEEDED, 0);
    SCOPED(mem_scope) char *log = world_log(world, 1);
    const char *line = strstr(log, " o ");
    assert_non_null(line);
    assert_string_equal(line, " o done\n");
}

static void test_the_data_directory_is_not_there_beside_an_input(void **state)
{
    struct world *world = *state;
    SCOPED(mem_scope) char *folder = make_input(world, "digits", "1,2,3\n");
    SCOPED(mem_scope) char *other = make_input(world, "secret", "other\n");
    const struct launch_input inputs[] = {{"digits", folder}};
    SCOPED(strbuf_finish) struct strbuf script = {0};
    strbuf_printf(&script,
        "ls %s && echo data; ls /inputs/digits/../secret && echo beside; ls /mnt && echo stage; "
        "cat /proc/1/root%s/rows.csv && echo through; echo done",
        world->data, other);
    struct launch *launch = world_script(world, 1, strbuf_text(&script));
    launch->inputs = inputs;
    launch->input_count = 1;
    world_start(world, launch);
    world_assert_end(world, 1, ENGINE_END_SUCCEEDED, 0);
    SCOPED(mem_scope) char *log = world_log(world, 1);
    const char *line = strstr(log, " o ");
    assert_non_null(line);
    assert_string_equal(line, " o done\n");
}

static void test_an_input_that_vanished_fails_to_start(void **state)
{
    struct world *world = *state;
    SCOPED(strbuf_finish) struct strbuf folder = {0};
    strbuf_printf(&folder, "%s/cache/gone", world->data);
    const struct launch_input inputs[] = {{"digits", strbuf_text(&folder)}};
    struct launch *launch = world_script(world, 1, "echo ran");
    launch->inputs = inputs;
    launch->input_count = 1;
    world_start(world, launch);
    const struct attempt_end *end = world_wait_end(world, 1);
    assert_int_equal(end->reason, ENGINE_END_START_FAILED);
    assert_non_null(strstr(end->text, "input digits is not there"));
    SCOPED(mem_scope) char *log = world_log(world, 1);
    assert_string_equal(log, "");
}

static void test_as_many_inputs_and_outputs_as_are_allowed(void **state)
{
    struct world *world = *state;
    SCOPED(mem_scope) char *folder = make_input(world, "digits", "1,2,3\n");
    struct launch_input inputs[ENGINE_ARTIFACTS_MAX];
    const char *outputs[ENGINE_ARTIFACTS_MAX];
    char names[ENGINE_ARTIFACTS_MAX][8];
    for (size_t i = 0; i < ENGINE_ARTIFACTS_MAX; i++) {
        snprintf(names[i], sizeof names[i], "a%zu", i);
        inputs[i] = (struct launch_input){names[i], folder};
        outputs[i] = names[i];
    }
    struct launch *launch = world_script(world, 1,
        "for f in /inputs/*; do cp $f/rows.csv /outputs/${f#/inputs/}/; done; "
        "cat /outputs/*/rows.csv | wc -l");
    launch->inputs = inputs;
    launch->input_count = ENGINE_ARTIFACTS_MAX;
    launch->outputs = outputs;
    launch->output_count = ENGINE_ARTIFACTS_MAX;
    launch->serve.on = true;
    world_start(world, launch);
    world_assert_end(world, 1, ENGINE_END_SUCCEEDED, 0);
    world_assert_log(world, 1, "0 o 32\n");
}

/* What is mounted on the stage hides the data directory with the input in it. */
static void test_an_input_can_be_where_the_stage_is(void **state)
{
    (void)state;
    if (access("/mnt", W_OK) < 0) {
        print_message("/mnt, where the stage is, is root's\n");
        skip();
    }
    struct world *world = world_create_in("/mnt", NULL);
    SCOPED(mem_scope) char *folder = make_input(world, "digits", "1,2,3\n");
    const struct launch_input inputs[] = {{"digits", folder}};
    struct launch *launch = world_script(world, 1, "cat $MUSTER_INPUT_DIGITS/rows.csv");
    launch->inputs = inputs;
    launch->input_count = 1;
    world_start(world, launch);
    world_assert_end(world, 1, ENGINE_END_SUCCEEDED, 0);
    world_assert_log(world, 1, "0 o 1,2,3\n");
    world_destroy(world);
}

/* ---- Outputs ----------------------------------------------------------------------------- */

static const char *const model[] = {"model"};

static struct launch *with_output(
    struct world *world, uint64_t attempt, uint64_t job, const char *script)
{
    struct launch *launch = world_script(world, attempt, script);
    launch->job = job;
    launch->attempt_number = (uint32_t)(attempt - job + 1);
    launch->outputs = model;
    launch->output_count = 1;
    return launch;
}

static int open_output(const struct world *world, uint64_t job, const char *name)
{
    struct error err;
    int fd = engine_output_open(world->engine, job, name, &err);
    if (fd < 0)
        fail_msg("%s", err.text);
    return fd;
}

/* Is that the text of the file, which is no link? */
static void assert_content(int folder_fd, const char *name, const char *expected)
{
    char text[100];
    SCOPED(fd_scope) int fd = openat(folder_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        fail_msg("%s: %s", name, strerror(errno));
    ssize_t n = read(fd, text, sizeof text - 1);
    assert_true(n >= 0);
    text[n] = '\0';
    assert_string_equal(text, expected);
}

static void test_outputs_last_over_attempts_and_are_opened(void **state)
{
    struct world *world = *state;
    world_start(world, with_output(world, 1, 1, "echo half > $MUSTER_OUTPUT_MODEL/w; exit 1"));
    world_assert_end(world, 1, ENGINE_END_EXITED, 1);
    assert_int_equal(engine_forget(world->engine, 1, NULL), 0);
    world_start(
        world, with_output(world, 2, 1,
                   "echo $MUSTER_OUTPUT_MODEL; grep -q half $MUSTER_OUTPUT_MODEL/w || exit 9; "
                   "echo whole > $MUSTER_OUTPUT_MODEL/w"));
    world_assert_end(world, 2, ENGINE_END_SUCCEEDED, 0);
    SCOPED(fd_scope) int fd = open_output(world, 1, "model");
    assert_content(fd, "w", "whole\n");
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

static void test_an_output_that_is_not_there_is_not_found(void **state)
{
    static const char *const names[] = {"other", "..", ".", "", "model/..", "../checkpoint", "M"};
    struct world *world = *state;
    struct error err;
    world_start(world, with_output(world, 1, 1, "true"));
    world_assert_end(world, 1, ENGINE_END_SUCCEEDED, 0);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        assert_int_equal(engine_output_open(world->engine, 1, names[i], &err), -1);
        assert_int_equal(err.code, ERR_NOT_FOUND);
    }
    assert_int_equal(engine_output_open(world->engine, 2, "model", &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
}

static struct launch *element(
    struct world *world, uint64_t id, const char *part, const char *script)
{
    struct launch *launch = with_output(world, id, id, script);
    launch->output_job = 1;
    launch->output_part = part;
    return launch;
}

static void test_elements_of_an_array_have_parts_of_their_own(void **state)
{
    static const char script[] =
        "echo $MUSTER_JOB > $MUSTER_OUTPUT_MODEL/scores; ls $MUSTER_OUTPUT_MODEL; "
        "ls /outputs/model/.. ; touch /outputs/other 2>/dev/null && echo outside; true";
    struct world *world = *state;
    struct launch *launch = element(world, 1, "part-00000", script);
    world_start(world, launch);
    world_assert_end(world, 1, ENGINE_END_SUCCEEDED, 0);
    launch = element(world, 2, "part-00001", script);
    launch->job_name = "second";
    world_start(world, launch);
    world_assert_end(world, 2, ENGINE_END_SUCCEEDED, 0);
    /* Each saw its own file and nothing of the other's. */
    SCOPED(mem_scope) char *log = world_log(world, 2);
    assert_string_equal(log, "0 o scores\n0 o model\n");
    SCOPED(fd_scope) int fd = open_output(world, 1, "model");
    assert_content(fd, "part-00000/scores", "trial\n");
    assert_content(fd, "part-00001/scores", "second\n");
}

static void test_the_shared_folder_is_kept_while_an_element_uses_it(void **state)
{
    struct world *world = *state;
    struct error err;
    world_start(world, element(world, 1, "part-00000", "touch $MUSTER_OUTPUT_MODEL/a"));
    world_assert_end(world, 1, ENGINE_END_SUCCEEDED, 0);
    world_start(world, element(world, 2, "part-00001", "touch /outputs/model/b; exec sleep 1000"));
    world_wait(world, ENGINE_REPORT_STARTED, 2);
    assert_int_equal(engine_forget(world->engine, 1, &err), 0);
    assert_int_equal(engine_purge(world->engine, 1, &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    /* A server that comes back knows it from the launch file. */
    world_restart_engine(world);
    assert_int_equal(engine_purge(world->engine, 1, &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    assert_int_equal(engine_kill(world->engine, 2, &err), 0);
    world_assert_end(world, 2, ENGINE_END_KILLED, 0);
    assert_int_equal(engine_forget(world->engine, 2, &err), 0);
    /* What an element wrote is the array's: it stays when the element goes. */
    assert_int_equal(engine_purge(world->engine, 2, &err), 0);
    SCOPED(fd_scope) int fd = open_output(world, 1, "model");
    assert_int_equal(faccessat(fd, "part-00001", F_OK, 0), 0);
    assert_int_equal(engine_purge(world->engine, 1, &err), 0);
    assert_int_equal(engine_output_open(world->engine, 1, "model", &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
}

/* What was taken in is removed alone, and not from under an attempt that writes it. */
static void test_outputs_are_dropped_when_nobody_writes_them(void **state)
{
    struct world *world = *state;
    struct error err;
    world_start(world, element(world, 1, "a", "echo x > $MUSTER_OUTPUT_MODEL/w"));
    world_assert_end(world, 1, ENGINE_END_SUCCEEDED, 0);
    world_start(world, element(world, 2, "b", "chmod 0 $MUSTER_OUTPUT_MODEL; exec sleep 100"));
    assert_int_equal(engine_outputs_drop(world->engine, 1, &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    SCOPED(fd_scope) int fd = open_output(world, 1, "model");
    assert_int_equal(faccessat(fd, "a/w", F_OK, 0), 0);
    assert_int_equal(engine_kill(world->engine, 2, &err), 0);
    world_wait_end(world, 2);
    assert_int_equal(engine_outputs_drop(world->engine, 1, &err), 0);
    assert_int_equal(engine_output_open(world->engine, 1, "model", &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_int_equal(engine_outputs_drop(world->engine, 1, &err), 0);
    SCOPED(mem_scope) char *log = engine_log_folder(world->engine, 1, 1);
    assert_int_equal(access(log, F_OK), 0);
}

static void test_outputs_count_against_the_disk_limit(void **state)
{
    struct world *world = *state;
    struct launch *launch = with_output(
        world, 1, 1, "while :; do head -c 1M /dev/zero > /outputs/model/$((i=i+1)); done");
    launch->disk_bytes = 8 << 20;
    world_start(world, launch);
    world_assert_end(world, 1, ENGINE_END_DISK_QUOTA, 0);
}

static void test_a_folder_that_cannot_be_read_does_not_hide_what_is_in_it(void **state)
{
    struct world *world = *state;
    struct launch *launch = with_output(world, 1, 1,
        "cd /outputs/model; chmod 300 .; while :; do head -c 1M /dev/zero > $((i=i+1)); done");
    launch->disk_bytes = 8 << 20;
    world_start(world, launch);
    world_assert_end(world, 1, ENGINE_END_DISK_QUOTA, 0);
}

static void test_a_hostile_output_is_only_a_folder(void **state)
{
    struct world *world = *state;
    struct stat st;
    world_start(world,
        with_output(world, 1, 1,
            "cd $MUSTER_OUTPUT_MODEL; ln -s /etc/passwd link; ln -s / root; mkfifo pipe; "
            "mknod disk b 8 0 && echo device; python3 -c 'import socket; "
            "socket.socket(socket.AF_UNIX).bind(\"sock\")'; "
            "cd /; rm -rf /outputs/model 2>/dev/null; rmdir /outputs/model && echo removed; "
            "mv /outputs/model /outputs/x && echo moved; "
            "ln -s /etc /outputs/etc && echo linked; cd /outputs/model; ln -s /etc/passwd link; "
            "ln -s /etc up; mkfifo pipe; chmod 0 .; echo done"));
    world_assert_end(world, 1, ENGINE_END_SUCCEEDED, 0);
    SCOPED(mem_scope) char *log = world_log(world, 1);
    assert_null(strstr(log, " o device"));
    assert_null(strstr(log, " o removed"));
    assert_null(strstr(log, " o moved"));
    assert_null(strstr(log, " o linked"));
    /* The descriptor is of our folder; what is in it is opened by nobody here. */
    SCOPED(fd_scope) int fd = open_output(world, 1, "model");
    assert_int_equal(fstat(fd, &st), 0);
    assert_true(S_ISDIR(st.st_mode));
    assert_int_equal(fstatat(fd, "link", &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(fstatat(fd, "pipe", &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_true(S_ISFIFO(st.st_mode));
    assert_int_equal(engine_output_open(world->engine, 1, "model/up", NULL), -1);
    /* The folder that it closed to itself is open for its next attempt. */
    world_start(world, with_output(world, 2, 1, "ls $MUSTER_OUTPUT_MODEL"));
    world_assert_end(world, 2, ENGINE_END_SUCCEEDED, 0);
}

/* A job whose output was not parted becomes one whose is, and left a link where the part is to be:
 * neither its owner nor its content may be touched. */
static void test_a_link_in_the_place_of_a_part_is_not_followed(void **state)
{
    struct world *world = *state;
    struct stat before, after;
    char target[] = "/tmp/muster-target-XXXXXX";
    assert_non_null(mkdtemp(target));
    assert_int_equal(chmod(target, 0755), 0);
    assert_int_equal(stat(target, &before), 0);
    SCOPED(strbuf_finish) struct strbuf script = {0};
    strbuf_printf(&script, "ln -s %s $MUSTER_OUTPUT_MODEL/part-00000", target);
    world_start(world, with_output(world, 1, 1, strbuf_text(&script)));
    world_assert_end(world, 1, ENGINE_END_SUCCEEDED, 0);
    world_start(world, element(world, 2, "part-00000", "echo ran"));
    assert_int_equal(world_wait_end(world, 2)->reason, ENGINE_END_START_FAILED);
    assert_int_equal(stat(target, &after), 0);
    assert_int_equal(before.st_uid, after.st_uid);
    assert_int_equal(before.st_mode, after.st_mode);
    assert_int_equal(rmdir(target), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_set_up, world_tear_down)

static int run_suite(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_inputs_are_read),
        TEST(test_inputs_cannot_be_changed),
        TEST(test_the_data_directory_is_not_there_beside_an_input),
        TEST(test_an_input_that_vanished_fails_to_start),
        cmocka_unit_test(test_an_input_can_be_where_the_stage_is),
        TEST(test_as_many_inputs_and_outputs_as_are_allowed),
        TEST(test_outputs_last_over_attempts_and_are_opened),
        TEST(test_an_output_that_is_not_there_is_not_found),
        TEST(test_elements_of_an_array_have_parts_of_their_own),
        TEST(test_the_shared_folder_is_kept_while_an_element_uses_it),
        TEST(test_outputs_are_dropped_when_nobody_writes_them),
        TEST(test_outputs_count_against_the_disk_limit),
        TEST(test_a_folder_that_cannot_be_read_does_not_hide_what_is_in_it),
        TEST(test_a_hostile_output_is_only_a_folder),
        TEST(test_a_link_in_the_place_of_a_part_is_not_followed),
    };
    return cmocka_run_group_tests_name("inputs and outputs", tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    return world_main(argc, argv, run_suite);
}
