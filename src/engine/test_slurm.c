/* The parts of the Slurm engine that need no Slurm: cutting answers, versions, scripts, ends.
 * Answers of other versions than v0.0.38 are written from their published documents. */
#include "base/memory.h"
#include "base/prng.h"
#include "engine/slurm_dialect.h"
#include "engine/slurm_end.h"
#include "engine/slurm_reply.h"
#include "engine/slurm_script.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- answers --------------------------------------------------------------------------------- */

struct cut {
    struct strbuf text; /* "list:item\n" for each */
};

static int take(void *context, const char *list, const char *json, size_t length, struct error *err)
{
    struct cut *cut = context;
    (void)err;
    strbuf_printf(&cut->text, "%s:%.*s\n", list, (int)length, json);
    return 0;
}

/* Fed in pieces of random sizes. */
static int cut_up(const char *text, uint64_t seed, struct cut *cut, struct error *err)
{
    struct prng prng = {seed};
    struct reply reply;
    size_t length = strlen(text), at = 0;
    int rc = 0;
    *cut = (struct cut){0};
    reply_begin(&reply, take, cut);
    while (rc == 0 && at < length) {
        size_t piece = 1 + (size_t)prng_below(&prng, 7);
        piece = piece < length - at ? piece : length - at;
        rc = reply_feed(&reply, text + at, piece, err);
        at += piece;
    }
    rc = rc == 0 ? reply_end(&reply, err) : rc;
    reply_finish(&reply);
    return rc;
}

static const char answer[] =
    "{\"meta\": {\"jobs\": [{\"a\": 1}]}, \"errors\": [ ], \"jobs\": [ {\"name\": \"}]\\\"{\", "
    "\"deep\": [{\"x\": {}}]}, 7, \"text\", [ {} ],\n {} ], \"last\": \"jobs\", \"more\": "
    "[{\"b\":2}]}";

static void items_are_cut_out_however_they_arrive(void **state)
{
    struct error err;
    (void)state;
    for (uint64_t seed = 1; seed < 200; seed++) {
        struct cut cut;
        assert_int_equal(cut_up(answer, seed, &cut, &err), 0);
        assert_string_equal(strbuf_text(&cut.text),
            "jobs:{\"name\": \"}]\\\"{\", \"deep\": [{\"x\": {}}]}\njobs:{}\nmore:{\"b\":2}\n");
        strbuf_finish(&cut.text);
    }
}

static void an_answer_that_is_cut_is_none(void **state)
{
    struct error err;
    (void)state;
    for (size_t length = 0; length < strlen(answer); length++) {
        SCOPED(mem_scope) char *part = mem_strdup(answer);
        struct cut cut;
        part[length] = '\0';
        assert_int_equal(cut_up(part, length + 1, &cut, &err), -1);
        assert_int_equal(err.code, ERR_CORRUPT);
        strbuf_finish(&cut.text);
    }
}

static void what_is_no_answer_is_refused(void **state)
{
    static const char *const bad[] = {"[]", "<html>", "{}{}", "{]", "{\"a\": [}", "null", "}",
        "\"text\"", "{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["};
    struct error err;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct cut cut;
        assert_int_equal(cut_up(bad[i], 3, &cut, &err), -1);
        strbuf_finish(&cut.text);
    }
}

static void an_item_has_a_bound(void **state)
{
    struct reply reply;
    struct cut cut = {0};
    struct error err;
    static char piece[4096];
    int rc;
    (void)state;
    memset(piece, 'x', sizeof piece);
    reply_begin(&reply, take, &cut);
    rc = reply_feed(&reply, "{\"jobs\": [{\"a\": \"", 17, &err);
    for (size_t fed = 0; rc == 0 && fed < 2 * REPLY_ITEM_BYTES_MAX; fed += sizeof piece)
        rc = reply_feed(&reply, piece, sizeof piece, &err);
    assert_int_equal(rc, -1);
    assert_int_equal(err.code, ERR_TOO_LARGE);
    reply_finish(&reply);
    strbuf_finish(&cut.text);
}

/* ---- versions -------------------------------------------------------------------------------- */

static const struct doc *parse(struct arena *arena, const char *text)
{
    struct error err;
    const struct doc *doc = doc_parse_json(arena, text, strlen(text), 1 << 20, &err);
    if (!doc)
        fail_msg("%s", err.text);
    return doc;
}

/* The same job in the words of three versions. */
static void a_job_reads_the_same_in_every_version(void **state)
{
    static const char *const texts[] = {
        "{\"job_id\": 12, \"job_state\": \"PREEMPTED\", \"comment\": \"m\", \"nodes\": \"n[1-2]\","
        " \"state_reason\": \"None\", \"start_time\": 5, \"end_time\": 7, \"preempt_time\": 6,"
        " \"restart_cnt\": 0, \"node_count\": 2, \"cluster\": \"c\"}",
        "{\"job_id\": 12, \"job_state\": \"PREEMPTED\", \"comment\": \"m\", \"nodes\": \"n[1-2]\","
        " \"state_reason\": \"None\", \"start_time\": {\"set\": true, \"infinite\": false,"
        " \"number\": 5}, \"end_time\": {\"set\": true, \"number\": 7}, \"preempt_time\": {\"set\":"
        " true, \"number\": 6}, \"node_count\": {\"set\": true, \"number\": 2},"
        " \"cluster\": \"c\"}",
        "{\"job_id\": 12, \"job_state\": [\"PREEMPTED\"], \"comment\": {\"administrator\": \"\","
        " \"job\": \"m\"}, \"nodes\": \"n[1-2]\", \"state_reason\": \"None\", \"start_time\":"
        " {\"set\": true, \"number\": 5}, \"end_time\": {\"set\": true, \"number\": 7},"
        " \"preempt_time\": {\"set\": true, \"number\": 6}, \"node_count\": {\"set\": true,"
        " \"number\": 2}, \"cluster\": \"c\"}"};
    SCOPED(arena_scope) struct arena *arena = arena_create();
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct slurm_job job;
        assert_true(dialect_read_job(parse(arena, texts[i]), &job));
        assert_int_equal(job.id, 12);
        assert_int_equal(job.state, SLURM_PREEMPTED);
        assert_string_equal(job.mark, "m");
        assert_string_equal(job.nodes, "n[1-2]");
        assert_int_equal(job.started_ms, 5000);
        assert_true(job.preempted);
        assert_int_equal(job.restarts, 0);
        assert_int_equal(job.node_count, 2);
    }
}

static void flags_beside_a_state_count(void **state)
{
    static const struct {
        const char *text;
        enum slurm_state state;
    } cases[] = {
        {"{\"job_id\": 1, \"job_state\": [\"COMPLETED\", \"COMPLETING\"]}", SLURM_COMPLETING},
        {"{\"job_id\": 1, \"job_state\": [\"RUNNING\"]}", SLURM_RUNNING},
        {"{\"job_id\": 1, \"job_state\": [\"CANCELLED\", \"REQUEUED\"]}", SLURM_PENDING},
        {"{\"job_id\": 1, \"job_state\": \"SOMETHING_NEW\"}", SLURM_UNKNOWN},
        {"{\"job_id\": 1, \"job_state\": 7}", SLURM_UNKNOWN},
        {"{\"job_id\": 1}", SLURM_UNKNOWN},
        {"{\"job_id\": \"1\", \"job_state\": \"BOOT_FAIL\", \"start_time\": 9e18}",
            SLURM_NODE_FAIL},
    };
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct slurm_job job;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_true(dialect_read_job(parse(arena, cases[i].text), &job));
        assert_int_equal(job.state, cases[i].state);
    }
    assert_false(dialect_read_job(parse(arena, "{\"job_state\": \"RUNNING\"}"), &job));
    assert_false(dialect_read_job(parse(arena, "[]"), &job));
    assert_false(dialect_read_job(parse(arena, "{\"job_id\": -4}"), &job));
}

static void accounts_are_read_with_all_their_steps(void **state)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct slurm_account account;
    (void)state;
    assert_true(dialect_read_account(
        parse(arena, "{\"job_id\": 7, \"name\": \"train\", \"cluster\": \"trial\", \"comment\": "
                     "{\"job\": null}, "
                     "\"state\": {\"current\": \"CANCELLED\"}, \"steps\": ["
                     "{\"time\": {\"total\": {\"seconds\": 2, \"microseconds\": 5}}, \"tres\": "
                     "{\"requested\": "
                     "{\"max\": [{\"type\": \"cpu\", \"count\": 9}, {\"type\": \"mem\", \"count\": "
                     "300}]}}}, "
                     "{\"time\": {\"total\": {\"seconds\": 1, \"microseconds\": -4}}, \"tres\": "
                     "{\"requested\": "
                     "{\"max\": [{\"type\": \"mem\", \"count\": 200}]}}}, \"no step\"]}"),
        &account));
    assert_int_equal(account.id, 7);
    assert_int_equal(account.state, SLURM_CANCELLED);
    assert_string_equal(account.name, "train");
    assert_string_equal(account.mark, "");
    assert_int_equal(account.cpu_us, 3000005);
    assert_int_equal(account.memory_peak_bytes, 300);
    assert_true(dialect_read_account(
        parse(arena, "{\"job_id\": 8, \"state\": {\"current\": [\"TIMEOUT\"]}}"), &account));
    assert_int_equal(account.state, SLURM_TIMEOUT);
    assert_int_equal(account.memory_peak_bytes, 0);
    assert_false(dialect_read_account(parse(arena, "{\"name\": \"x\"}"), &account));
    assert_false(dialect_read_account(parse(arena, "7"), &account));
}

static void nodes_are_read_with_their_devices(void **state)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct slurm_node node;
    (void)state;
    assert_true(dialect_read_node(
        parse(arena,
            "{\"name\": \"n1\", \"cpus\": 4, \"real_memory\": 2000, \"gres\": "
            "\"nic:1,gpu:toy:2(S:0-1)\", \"state\": \"idle\", \"state_flags\": [\"DRAIN\"]}"),
        &node));
    assert_string_equal(node.device_type, "toy");
    assert_int_equal(node.devices, 2);
    assert_true(node.closed && !node.down);
    assert_true(dialect_read_node(
        parse(arena, "{\"name\": \"n1\", \"state\": [\"IDLE\", \"NOT_RESPONDING\"], \"gres\": "
                     "\"gpu:3\", \"cpus\": {\"set\": true, \"number\": 8}}"),
        &node));
    assert_true(node.down && !node.closed);
    assert_string_equal(node.device_type, "gpu");
    assert_int_equal(node.devices, 3);
    assert_int_equal(node.cpus, 8);
    assert_string_equal(node.address, "n1");
    assert_true(dialect_read_node(
        parse(arena, "{\"name\": \"n1\", \"address\": \"10.0.0.7\", \"hostname\": \"h\"}"), &node));
    assert_string_equal(node.address, "10.0.0.7");
    assert_true(dialect_read_node(
        parse(arena, "{\"name\": \"n1\", \"address\": \"\", \"hostname\": \"h\"}"), &node));
    assert_string_equal(node.address, "h");
    assert_false(dialect_read_node(parse(arena, "{\"state\": \"idle\"}"), &node));
    assert_true(dialect_read_node(
        parse(arena, "{\"name\": \"n1\", \"gres\": \"gpu:toy:2,shard:toy:8(S:0)\"}"), &node));
    assert_int_equal(node.devices, 2);
    assert_int_equal(node.shards, 8);
    assert_true(dialect_read_node(
        parse(arena, "{\"name\": \"n1\", \"gres\": \"shard:6,nogpu:7,gpu:3\"}"), &node));
    assert_string_equal(node.device_type, "gpu");
    assert_int_equal(node.devices, 3);
    assert_int_equal(node.shards, 6);
}

static void a_share_of_a_device_is_so_many_shards(void **state)
{
    static const struct slurm_submission submission = {.name = "half",
        .script = "#!/bin/sh\n",
        .tasks = 1,
        .devices_per_task = 1,
        .shares = 2,
        .device_type = "toy"};
    static const struct {
        const char *version, *member, *text;
    } cases[] = {{"v0.0.41", "tres_per_task", "gres/shard:toy:2"},
        {"v0.0.40", "tres_per_task", "gres/shard:toy:2"},
        {"v0.0.39", "tres_per_task", "gres:shard:toy:2"}, {"v0.0.38", "gres", "shard:toy:2"}};
    SCOPED(arena_scope) struct arena *arena = arena_create();
    (void)state;
    for (size_t i = 0; dialect_at(i); i++) {
        SCOPED(strbuf_finish) struct strbuf text = {0};
        dialect_write(dialect_at(i), arena, &submission, &text);
        const struct doc *job = doc_get(parse(arena, text.text), "job");
        assert_string_equal(dialect_at(i)->version, cases[i].version);
        assert_string_equal(doc_get_string(job, cases[i].member), cases[i].text);
        assert_null(doc_get(job, "gpus_per_task"));
    }
}

static void a_submission_speaks_the_words_of_its_version(void **state)
{
    static const char *const names[] = {"n1", "n3"};
    static const struct slurm_submission submission = {.name = "train",
        .mark = "muster-a-0000000000000001",
        .script = "#!/bin/sh\n",
        .folder = "/s",
        .partition = "main",
        .node_names = names,
        .node_count = 2,
        .tasks = 2,
        .cpus_per_task = 1,
        .memory_per_cpu_mb = 100,
        .devices_per_task = 1,
        .device_type = "toy",
        .minutes = 5};
    SCOPED(arena_scope) struct arena *arena = arena_create();
    (void)state;
    for (size_t i = 0; dialect_at(i); i++) {
        SCOPED(strbuf_finish) struct strbuf text = {0};
        dialect_write(dialect_at(i), arena, &submission, &text);
        const struct doc *doc = parse(arena, text.text), *job = doc_get(doc, "job");
        bool old = strcmp(dialect_at(i)->version, "v0.0.38") == 0;
        assert_string_equal(doc_get_string(job, "comment"), submission.mark);
        assert_string_equal(doc_get_string(job, "nodes"), "2");
        if (old) {
            assert_string_equal(doc_get_string(job, "nodelist"), "n1,n3");
            assert_string_equal(doc_get_string(job, "gpus_per_task"), "toy:1");
            assert_int_equal(doc_get_int(job, "time_limit", 0), 5);
            assert_non_null(doc_get_string(doc_get(job, "environment"), "PATH"));
        } else {
            assert_int_equal(doc_get(job, "required_nodes")->count, 2);
            assert_int_equal(doc_get_int(doc_get(job, "time_limit"), "number", 0), 5);
            assert_int_equal(doc_get(job, "environment")->type, DOC_LIST);
        }
        bool inside = strcmp(dialect_at(i)->version, "v0.0.41") == 0;
        assert_non_null(doc_get_string(inside ? job : doc, "script"));
    }
}

/* ---- scripts --------------------------------------------------------------------------------- */

/* Whatever bytes a word has, the shell reads them back. */
static void words_are_quoted_for_the_shell(void **state)
{
    struct prng prng = {4};
    (void)state;
    for (int round = 0; round < 20; round++) {
        char word[40], back[200] = "";
        size_t length = (size_t)prng_below(&prng, sizeof word - 1);
        for (size_t i = 0; i < length; i++)
            word[i] = "'\"\\$`!*? \n\t;&|<>(){}a#~"[prng_below(&prng, 23)];
        word[length] = '\0';
        SCOPED(strbuf_finish) struct strbuf command = {0};
        strbuf_puts(&command, "printf '%s.' ");
        script_quote(&command, word);
        FILE *pipe = popen(command.text, "r");
        assert_non_null(pipe);
        size_t got = fread(back, 1, sizeof back - 1, pipe);
        assert_int_equal(pclose(pipe), 0);
        assert_int_equal(got, length + 1);
        assert_memory_equal(back, word, length);
    }
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void ends_follow_from_facts(void **state)
{
    static const struct {
        struct slurm_facts facts;
        enum engine_end_reason reason;
        int code;
    } cases[] = {
        {{.state = SLURM_COMPLETED,
             .claimed = true,
             .ranks = 2,
             .ended = 2,
             .all_zero = true,
             .failed_rank = -1},
            ENGINE_END_SUCCEEDED, 0},
        {{.state = SLURM_COMPLETED,
             .claimed = true,
             .ranks = 2,
             .ended = 2,
             .failed_rank = 1,
             .failed_status = 3},
            ENGINE_END_EXITED, 3},
        {{.state = SLURM_COMPLETED,
             .claimed = true,
             .ranks = 1,
             .ended = 1,
             .failed_rank = 0,
             .failed_status = 139},
            ENGINE_END_SIGNALLED, 11},
        {{.state = SLURM_COMPLETED,
             .claimed = true,
             .ranks = 1,
             .ended = 1,
             .failed_rank = -1,
             .start_errno = 2},
            ENGINE_END_START_FAILED, 2},
        {{.state = SLURM_COMPLETED,
             .claimed = true,
             .ranks = 1,
             .ended = 1,
             .failed_rank = -1,
             .port_taken = true,
             .port = 61000},
            ENGINE_END_START_FAILED, EADDRINUSE},
        /* Preempted, its ranks may have exited 0; a job that says it is complete is. */
        {{.state = SLURM_PREEMPTED,
             .claimed = true,
             .ranks = 1,
             .ended = 1,
             .all_zero = true,
             .failed_rank = -1},
            ENGINE_END_PREEMPTED, 0},
        {{.state = SLURM_COMPLETED,
             .preempted = true,
             .claimed = true,
             .ranks = 1,
             .ended = 1,
             .all_zero = true,
             .failed_rank = -1},
            ENGINE_END_PREEMPTED, 0},
        {{.state = SLURM_PREEMPTED,
             .claimed = true,
             .ranks = 1,
             .ended = 1,
             .all_zero = true,
             .complete = true,
             .failed_rank = -1},
            ENGINE_END_SUCCEEDED, 0},
        {{.state = SLURM_NODE_FAIL, .claimed = true, .ranks = 2, .ended = 1, .failed_rank = -1},
            ENGINE_END_NODE_LOST, 0},
        /* The node's last word got lost, not the job. */
        {{.state = SLURM_NODE_FAIL,
             .claimed = true,
             .ranks = 1,
             .ended = 1,
             .all_zero = true,
             .failed_rank = -1},
            ENGINE_END_SUCCEEDED, 0},
        {{.state = SLURM_NODE_FAIL,
             .claimed = true,
             .ranks = 1,
             .ended = 1,
             .failed_rank = 0,
             .failed_status = 143},
            ENGINE_END_NODE_LOST, 0},
        {{.state = SLURM_TIMEOUT, .claimed = true, .ranks = 1, .failed_rank = -1},
            ENGINE_END_WALLTIME, 0},
        {{.state = SLURM_TIMEOUT,
             .claimed = true,
             .ranks = 1,
             .failed_rank = -1,
             .time_limit = true},
            ENGINE_END_TIME_LIMIT, 0},
        {{.state = SLURM_CANCELLED,
             .claimed = true,
             .ranks = 1,
             .ended = 1,
             .failed_rank = 0,
             .failed_status = 143},
            ENGINE_END_CANCELLED, 0},
        {{.state = SLURM_CANCELLED,
             .claimed = true,
             .ranks = 2,
             .ended = 1,
             .failed_rank = 0,
             .failed_status = 5,
             .kill_sent = true},
            ENGINE_END_EXITED, 5},
        {{.state = SLURM_CANCELLED,
             .claimed = true,
             .ranks = 1,
             .ended = 1,
             .all_zero = true,
             .failed_rank = -1,
             .stop_asked = true},
            ENGINE_END_STOPPED, 0},
        {{.state = SLURM_CANCELLED,
             .claimed = true,
             .ranks = 1,
             .failed_rank = -1,
             .stop_asked = true,
             .kill_sent = true},
            ENGINE_END_KILLED, 0},
        {{.state = SLURM_CANCELLED, .ranks = 1, .failed_rank = -1, .stop_asked = true},
            ENGINE_END_STOPPED, 0},
        {{.state = SLURM_OUT_OF_MEMORY,
             .claimed = true,
             .ranks = 1,
             .ended = 1,
             .failed_rank = 0,
             .failed_status = 137},
            ENGINE_END_OUT_OF_MEMORY, 0},
        {{.state = SLURM_FAILED, .ranks = 1, .failed_rank = -1}, ENGINE_END_START_FAILED, 0},
        {{.state = SLURM_UNKNOWN, .ranks = 1, .failed_rank = -1}, ENGINE_END_LOST, 0},
        {{.state = SLURM_COMPLETED, .claimed = true, .ranks = 1, .failed_rank = -1},
            ENGINE_END_LOST, 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct attempt_end end = {0};
        slurm_end_decide(&cases[i].facts, &end);
        if (end.reason != cases[i].reason || end.code != cases[i].code)
            fail_msg(
                "case %zu: %s %d (%s)", i, engine_end_reason_name(end.reason), end.code, end.text);
    }
}

static void clocks_that_are_apart_are_told_from_what_takes_its_time(void **state)
{
    static const struct {
        int64_t submitted, sent, known, ahead;
    } cases[] = {
        {100000, 100200, 100900, 0}, /* in the same second */
        {100000, 100999, 101400, 0},
        {101000, 100200, 161000, 0},       /* its answer was lost, a listing showed it */
        {700000, 100200, 100900, 599100},  /* ten minutes ahead */
        {100000, 700000, 700300, -599001}, /* ten minutes behind */
        {100000, 0, 700300, 0},            /* what was written down of it was lost */
        {700000, 0, 100900, 599100},
        {0, 100200, 100900, 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(slurm_clock_ahead_ms(cases[i].submitted, cases[i].sent, cases[i].known),
            cases[i].ahead);
}

static void a_command_names_folders_as_they_are_there(void **state)
{
    (void)state;
    static const char *const outputs[] = {"net"};
    const char *const argv[] = {"train", "--data=/inputs/rows/a.csv:/inputs/rows", "/inputs/rows2",
        "/outputs/net", "/inputs/", "/tmp/inputs/rows", NULL};
    const struct launch_input input = {.name = "rows", .folder = "/site/it's"};
    const struct launch_placement placement = {.node = "n1", .ranks = 1};
    const struct launch launch = {.attempt = 1,
        .job = 1,
        .job_name = "j",
        .team_name = "t",
        .argv = argv,
        .inputs = &input,
        .input_count = 1,
        .outputs = outputs,
        .output_count = 1,
        .output_part = "part",
        .world_size = 1,
        .placements = &placement,
        .placement_count = 1};
    const struct script_places places = {.out = "/o",
        .work = "/w",
        .checkpoint = "/c",
        .control = "/k",
        .rank = "/r",
        .outputs = "/site/out",
        .secrets = "/s"};
    struct strbuf text = {0};
    script_write_rank(&launch, &places, &text);
    assert_non_null(strstr(text.text,
        "set -- 'train' '--data=/site/it'\\''s/a.csv:/site/it'\\''s' '/inputs/rows2' "
        "'/site/out/net/part' '/inputs/' '/tmp/inputs/rows'\n"));
    strbuf_finish(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_command_names_folders_as_they_are_there),
        cmocka_unit_test(items_are_cut_out_however_they_arrive),
        cmocka_unit_test(an_answer_that_is_cut_is_none),
        cmocka_unit_test(what_is_no_answer_is_refused),
        cmocka_unit_test(an_item_has_a_bound),
        cmocka_unit_test(a_job_reads_the_same_in_every_version),
        cmocka_unit_test(flags_beside_a_state_count),
        cmocka_unit_test(accounts_are_read_with_all_their_steps),
        cmocka_unit_test(nodes_are_read_with_their_devices),
        cmocka_unit_test(a_submission_speaks_the_words_of_its_version),
        cmocka_unit_test(a_share_of_a_device_is_so_many_shards),
        cmocka_unit_test(words_are_quoted_for_the_shell),
        cmocka_unit_test(ends_follow_from_facts),
        cmocka_unit_test(clocks_that_are_apart_are_told_from_what_takes_its_time),
    };
    return cmocka_run_group_tests_name("slurm", tests, NULL, NULL);
}
