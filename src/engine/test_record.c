/* What crosses processes as text: records, launches, statuses; and the decision on the end. */
#include "base/file.h"
#include "engine/end.h"
#include "engine/launch.h"
#include "engine/record.h"
#include "engine/status.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- Records ----------------------------------------------------------------------------- */

static void test_any_bytes_come_back_from_a_record(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    SCOPED(strbuf_finish) struct strbuf text = {0};
    struct record record;
    char every[256];
    for (int i = 0; i < 256; i++)
        every[i] = (char)i;
    record_put_bytes(&text, "every", every, sizeof every);
    record_put(&text, "empty", "");
    record_put(&text, "lines", "a\nb %41\n");
    record_put_number(&text, "most", UINT64_MAX);
    assert_int_equal(record_parse(arena, text.text, text.length, &record, NULL), 0);
    assert_int_equal(record.count, 4);
    assert_int_equal(record.fields[0].size, 256);
    assert_memory_equal(record.fields[0].value, every, sizeof every);
    assert_string_equal(record_text(&record, "empty"), "");
    assert_string_equal(record_text(&record, "lines"), "a\nb %41\n");
    assert_true(record_number(&record, "most", 0) == UINT64_MAX);
    assert_null(record_text(&record, "other"));
}

static void test_what_is_not_a_record_is_refused(void **state)
{
    static const char *const bad[] = {
        "name", "name value", "name\n", " value\n", "a b\n\n", "a %4\n", "a %zz\n", "a %\n"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        SCOPED(arena_scope) struct arena *arena = arena_create();
        struct record record;
        struct error err;
        assert_int_equal(record_parse(arena, bad[i], strlen(bad[i]), &record, &err), -1);
        assert_int_equal(err.code, ERR_CORRUPT);
    }
}

static void test_numbers_are_checked_against_their_member(void **state)
{
    static const struct {
        const char *text;
        int result;
    } cases[] = {{"code 7\n", 0}, {"code -7\n", 0}, {"code 2147483648\n", -1}, {"code x\n", -1},
        {"code 1 \n", -1}, {"stop_asked 2\n", -1}, {"stop_asked 1\n", 0}, {"unknown x\n", 0}};
    static const struct record_member members[] = {
        RECORD_MEMBER(struct attempt_end, code, RECORD_I32),
        RECORD_MEMBER(struct attempt_end, stop_asked, RECORD_BOOL)};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        SCOPED(arena_scope) struct arena *arena = arena_create();
        struct record record;
        struct attempt_end end;
        assert_int_equal(
            record_parse(arena, cases[i].text, strlen(cases[i].text), &record, NULL), 0);
        assert_int_equal(record_decode(&record, members, 2, &end, NULL), cases[i].result);
    }
}

/* ---- Launches ---------------------------------------------------------------------------- */

static const uint32_t devices[] = {3, 4294967295};
static const struct launch_placement places[] = {
    {.node = "node one", .ranks = 1, .devices = devices, .device_count = 2, .device_milli = 500},
    {.node = "b", .first_rank = 1, .ranks = 2},
};
static const char *const argv[] = {"python3", "train.py", "two\nlines", "", NULL};
static const struct launch_variable variables[] = {{"A", "1=2"}, {"B", ""}};
static const struct launch_secret secrets[] = {{"KEY", "hush", 4, false}};

static const struct launch_input inputs[] = {{"digits", "/data/cache/a%b\nc"}, {"base", "/m"}};
static const char *const outputs[] = {"model", "scores.v2"};

static struct launch example(void)
{
    return (struct launch){.attempt = UINT64_MAX,
        .job = 9,
        .attempt_number = 2,
        .epoch = 5,
        .job_name = "train",
        .team_name = "red",
        .uid = 1000,
        .gid = 1001,
        .argv = argv,
        .variables = variables,
        .variable_count = 2,
        .secrets = secrets,
        .secret_count = 1,
        .snapshot_fd = -1,
        .inputs = inputs,
        .input_count = 2,
        .outputs = outputs,
        .output_count = 2,
        .output_job = 8,
        .output_part = "part-00003",
        .serve = {.on = true, .port = 8080},
        .world_size = 3,
        .placements = places,
        .placement_count = 2,
        .memory_bytes = 1 << 30,
        .network = ENGINE_NETWORK_GANG,
        .grace_ms = 77};
}

static void test_a_launch_comes_back_without_its_secrets(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    SCOPED(strbuf_finish) struct strbuf text = {0};
    struct launch launch = example(), back;
    struct error err;
    launch_encode(&text, &launch);
    assert_null(strstr(text.text, "hush"));
    if (launch_decode(arena, text.text, text.length, &back, &err) < 0)
        fail_msg("%s", err.text);
    assert_true(
        back.attempt == UINT64_MAX && back.uid == 1000 && back.network == ENGINE_NETWORK_GANG);
    assert_int_equal(back.secret_count, 0);
    assert_int_equal(back.snapshot_fd, -1);
    assert_int_equal(back.grace_ms, 77);
    assert_int_equal(back.log_files, 4);
    for (size_t i = 0; argv[i]; i++)
        assert_string_equal(back.argv[i], argv[i]);
    assert_null(back.argv[4]);
    assert_string_equal(back.variables[0].value, "1=2");
    assert_string_equal(back.variables[1].value, "");
    assert_int_equal(back.placements[0].device_count, 2);
    assert_int_equal(back.placements[0].devices[1], 4294967295);
    assert_string_equal(launch_placement_on(&back, "node one")->node, "node one");
    assert_int_equal(launch_placement_on(&back, "b")->first_rank, 1);
    assert_null(launch_placement_on(&back, "c"));
}

static void test_inputs_outputs_and_the_socket_come_back(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    SCOPED(strbuf_finish) struct strbuf text = {0};
    struct launch launch = example(), back;
    launch_encode(&text, &launch);
    assert_int_equal(launch_decode(arena, text.text, text.length, &back, NULL), 0);
    assert_int_equal(back.input_count, 2);
    assert_string_equal(back.inputs[0].name, "digits");
    assert_string_equal(back.inputs[0].folder, "/data/cache/a%b\nc");
    assert_string_equal(back.inputs[1].folder, "/m");
    assert_int_equal(back.output_count, 2);
    assert_string_equal(back.outputs[1], "scores.v2");
    assert_string_equal(back.output_part, "part-00003");
    assert_int_equal(launch_output_job(&back), 8);
    assert_true(back.serve.on);
    assert_int_equal(back.serve.port, 8080);
}

/* A launch file as servers wrote it before there were inputs. */
static void test_an_older_launch_file_is_read(void **state)
{
    static const char text[] = "attempt 4\njob 9\nattempt_number 1\nepoch 5\njob_name train\n"
                               "team_name red\nuid 1000\ngid 1000\nworld_size 1\nnetwork 1\n"
                               "argument true\nplacement 0 1 0 - here\n";
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct launch back;
    struct error err;
    if (launch_decode(arena, text, sizeof text - 1, &back, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(back.input_count + back.output_count, 0);
    assert_int_equal(launch_output_job(&back), 9);
    assert_null(back.output_part);
    assert_false(back.serve.on);
}

static void test_a_wrong_launch_is_refused(void **state)
{
    (void)state;
    static const char *const nothing[] = {NULL};
    static const struct launch_variable bad_name[] = {{"A=B", "x"}};
    static const struct launch_secret bad_secret[] = {{"../x", "x", 1, true}};
    struct error err;
    struct launch wrong[] = {
        example(), example(), example(), example(), example(), example(), example(), example()};
    wrong[0].attempt = 0;
    wrong[1].argv = nothing;
    wrong[2].variables = bad_name;
    wrong[3].secrets = bad_secret;
    wrong[4].world_size = 2;
    wrong[5].job_name = "a/b";
    wrong[6].placement_count = 1;
    wrong[7].team_name = "";
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_int_equal(launch_check(&wrong[i], &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
    }
}

static void test_names_of_artifacts(void **state)
{
    static const char *const good[] = {"a", "0", "digits", "base-model.v2", "a_b", "a..b", "a-"};
    static const char *const bad[] = {
        "", ".", "..", ".a", "-a", "_a", "A", "aB", "a/b", "a b", "a\n", "\xc3\xa4"};
    char long_name[257];
    (void)state;
    SCOPED(strbuf_finish) struct strbuf variable = {0};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(launch_is_artifact_name(good[i]));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(launch_is_artifact_name(bad[i]));
    assert_false(launch_is_artifact_name(NULL));
    memset(long_name, 'a', sizeof long_name - 1);
    long_name[256] = '\0';
    assert_false(launch_is_artifact_name(long_name));
    assert_true(launch_is_artifact_name(long_name + 1));
    launch_artifact_variable(&variable, "MUSTER_INPUT_", "base-model.v2_x");
    assert_string_equal(strbuf_text(&variable), "MUSTER_INPUT_BASE_MODEL_V2_X");
}

static void test_wrong_inputs_outputs_and_sockets_are_refused(void **state)
{
    static const struct launch_input bad_name[] = {{"Digits", "/x"}};
    static const struct launch_input relative[] = {{"digits", "x"}};
    static const struct launch_input no_folder[] = {{"digits", NULL}};
    static const struct launch_input twice[] = {{"a-b", "/x"}, {"c", "/x"}, {"a.b", "/y"}};
    static const char *const same[] = {"m", "a_b", "a-b"};
    static const char *const up[] = {".."};
    static const struct {
        struct launch_input many[ENGINE_ARTIFACTS_MAX + 1];
    } lists = {{{"a", "/x"}}};
    struct error err;
    struct launch wrong[11];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        wrong[i] = example();
        wrong[i].input_count = wrong[i].output_count = 0;
        assert_int_equal(launch_check(&wrong[i], &err), 0);
    }
    wrong[0].inputs = bad_name, wrong[0].input_count = 1;
    wrong[1].inputs = relative, wrong[1].input_count = 1;
    wrong[2].inputs = no_folder, wrong[2].input_count = 1;
    wrong[3].inputs = twice, wrong[3].input_count = 3;
    wrong[4].outputs = same, wrong[4].output_count = 3;
    wrong[5].outputs = up, wrong[5].output_count = 1;
    wrong[6].inputs = lists.many, wrong[6].input_count = ENGINE_ARTIFACTS_MAX + 1;
    wrong[7].output_part = "../part";
    wrong[8].serve.port = 65536;
    wrong[9].serve.on = false;
    wrong[10].network = ENGINE_NETWORK_HOST;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_int_equal(launch_check(&wrong[i], &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
    }
    wrong[10].serve.port = 0;
    assert_int_equal(launch_check(&wrong[10], &err), 0);
}

/* ---- Statuses ---------------------------------------------------------------------------- */

static struct status example_status(void)
{
    return (struct status){.attempt = 5,
        .job = 6,
        .attempt_number = 1,
        .boot_id = "boot",
        .state = ENGINE_ATTEMPT_ENDED,
        .rank_count = 2,
        .ranks = {RANK_RUNNING, 256},
        .shim_pid = 44,
        .end = {.reason = ENGINE_END_EXITED,
            .code = 1,
            .rank = 1,
            .text = "rank 1 exited",
            .ended_ms = 9}};
}

static int status_file(void)
{
    int fd = memfd_create("status", MFD_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void test_the_newest_status_is_read(void **state)
{
    (void)state;
    SCOPED(fd_scope) int fd = status_file();
    struct status status = example_status(), back;
    struct error err;
    assert_int_equal(status_read(fd, &back, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
    for (int i = 1; i <= 5; i++) {
        status.shim_pid = i;
        assert_int_equal(status_write(fd, &status, &err), 0);
        assert_int_equal(status_read(fd, &back, &err), 0);
        assert_int_equal(back.shim_pid, i);
    }
    assert_int_equal(back.end.reason, ENGINE_END_EXITED);
    assert_string_equal(back.end.text, "rank 1 exited");
    assert_int_equal(back.ranks[0], RANK_RUNNING);
    assert_int_equal(back.ranks[1], 256);
}

/* Every byte of the newest slot, damaged in turn, must give the status before. */
static void test_a_torn_write_leaves_the_status_before(void **state)
{
    (void)state;
    SCOPED(fd_scope) int fd = status_file();
    struct status status = example_status(), back;
    status.shim_pid = 1;
    assert_int_equal(status_write(fd, &status, NULL), 0);
    status.shim_pid = 2;
    assert_int_equal(status_write(fd, &status, NULL), 0);
    for (off_t at = 0; at < 300; at++) {
        char byte, damaged;
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        if (byte == '\0')
            break;
        damaged = (char)(byte ^ 1);
        assert_int_equal(pwrite(fd, &damaged, 1, at), 1);
        assert_int_equal(status_read(fd, &back, NULL), 0);
        assert_int_equal(back.shim_pid, 1);
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
}

static void test_an_impossible_status_is_refused(void **state)
{
    static const char *const bad[] = {"state 9\nreason 0\n", "state 3\nreason 0\n",
        "state 1\nreason 1\n", "state 3\nreason 99\n", "reason 0\n",
        "state 1\nreason 0\nranks 1,x\n"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct status status;
        assert_int_equal(status_decode(bad[i], strlen(bad[i]), &status, NULL), -1);
    }
}

static void test_a_process_has_a_start_time_while_it_lives(void **state)
{
    (void)state;
    assert_true(process_start_time(getpid()) > 0);
    assert_true(process_start_time(0) == 0);
}

/* ---- Ends -------------------------------------------------------------------------------- */

static void test_the_end_follows_from_the_facts(void **state)
{
    enum { EXIT_1 = 1 << 8 };
    static const struct {
        struct end_facts facts;
        enum engine_end_reason reason;
        int code;
    } cases[] = {
        {{.failed_rank = -1, .all_ended = true}, ENGINE_END_SUCCEEDED, 0},
        {{.failed_rank = 2, .failed_status = EXIT_1, .cause = CAUSE_RANK_FAILED}, ENGINE_END_EXITED,
            1},
        {{.failed_rank = 0, .failed_status = SIGSEGV, .killed = true, .cause = CAUSE_RANK_FAILED},
            ENGINE_END_SIGNALLED, SIGSEGV},
        {{.failed_rank = -1, .start_failed = true, .start_errno = 2}, ENGINE_END_START_FAILED, 2},
        {{.failed_rank = -1, .start_failed = true, .cause = CAUSE_STOP, .stop_asked = true},
            ENGINE_END_STOPPED, 0},
        {{.failed_rank = 0, .failed_status = EXIT_1, .cause = CAUSE_STOP, .all_ended = true},
            ENGINE_END_STOPPED, 0},
        {{.failed_rank = -1, .cause = CAUSE_STOP, .all_ended = true}, ENGINE_END_STOPPED, 0},
        {{.failed_rank = -1, .cause = CAUSE_STOP, .all_ended = true, .complete = true},
            ENGINE_END_SUCCEEDED, 0},
        {{.failed_rank = 0,
             .failed_status = EXIT_1,
             .cause = CAUSE_STOP,
             .all_ended = true,
             .complete = true},
            ENGINE_END_STOPPED, 0},
        {{.failed_rank = -1, .cause = CAUSE_STOP, .killed = true}, ENGINE_END_KILLED, 0},
        {{.failed_rank = -1, .cause = CAUSE_KILL, .killed = true}, ENGINE_END_KILLED, 0},
        {{.failed_rank = 0,
             .failed_status = SIGKILL,
             .out_of_memory = true,
             .cause = CAUSE_RANK_FAILED},
            ENGINE_END_OUT_OF_MEMORY, 0},
        {{.failed_rank = -1, .out_of_memory = true, .all_ended = true}, ENGINE_END_SUCCEEDED, 0},
        {{.failed_rank = 0, .failed_status = EXIT_1, .cause = CAUSE_DISK, .killed = true},
            ENGINE_END_DISK_QUOTA, 0},
        {{.failed_rank = 0, .failed_status = SIGXFSZ, .cause = CAUSE_RANK_FAILED},
            ENGINE_END_DISK_QUOTA, 0},
        {{.failed_rank = 0, .failed_status = 15, .cause = CAUSE_TIME, .all_ended = true},
            ENGINE_END_TIME_LIMIT, 0},
        {{.failed_rank = -1, .cause = CAUSE_TIME, .all_ended = true}, ENGINE_END_TIME_LIMIT, 0},
        {{.failed_rank = -1, .cause = CAUSE_TIME, .all_ended = true, .complete = true},
            ENGINE_END_SUCCEEDED, 0},
        {{.failed_rank = -1, .killed = true}, ENGINE_END_LOST, 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct attempt_end end = {0};
        end_decide(&cases[i].facts, &end);
        if (end.reason != cases[i].reason || end.code != cases[i].code)
            fail_msg("case %zu ended as %s %d", i, engine_end_reason_name(end.reason), end.code);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_bytes_come_back_from_a_record),
        cmocka_unit_test(test_what_is_not_a_record_is_refused),
        cmocka_unit_test(test_numbers_are_checked_against_their_member),
        cmocka_unit_test(test_a_launch_comes_back_without_its_secrets),
        cmocka_unit_test(test_inputs_outputs_and_the_socket_come_back),
        cmocka_unit_test(test_an_older_launch_file_is_read),
        cmocka_unit_test(test_a_wrong_launch_is_refused),
        cmocka_unit_test(test_names_of_artifacts),
        cmocka_unit_test(test_wrong_inputs_outputs_and_sockets_are_refused),
        cmocka_unit_test(test_the_newest_status_is_read),
        cmocka_unit_test(test_a_torn_write_leaves_the_status_before),
        cmocka_unit_test(test_an_impossible_status_is_refused),
        cmocka_unit_test(test_a_process_has_a_start_time_while_it_lives),
        cmocka_unit_test(test_the_end_follows_from_the_facts),
    };
    return cmocka_run_group_tests_name("records, launches, statuses, ends", tests, NULL, NULL);
}
