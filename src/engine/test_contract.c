/* The contract of engines: one list that each of them passes. As it stands it asks the local one;
 * scenarios start a site and run it again for the engine of that (contract_world.h). Numbers of
 * jobs are small: they are those of one data directory. */
#include "engine/contract_world.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/prng.h"
#include "engine/snapshot.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { KILLS = 6, KILL_SPAN_US = 300000 };

static void run(struct contract *contract, uint64_t job, const char *script)
{
    contract_start(contract, contract_script(contract, job, 1, 1, script));
    contract_wait_end(contract, contract_attempt(job, 1));
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void a_command_runs_and_its_log_is_read(void **state)
{
    struct contract *contract = *state;
    run(contract, 1, "echo out; echo err >&2");
    contract_assert_end(contract, 101, ENGINE_END_SUCCEEDED, 0);
    contract_assert_log(contract, 1, 1, "0 o out\n");
    contract_assert_log(contract, 1, 1, "0 e err\n");
    assert_true(contract_wait_end(contract, 101)->started_ms > 0);
    assert_true(contract_count(contract, ENGINE_REPORT_STARTED, 101) >= 1);
}

static void ends_are_told_apart(void **state)
{
    struct contract *contract = *state;
    static const char *const missing[] = {"/nowhere/at/all", NULL};
    contract_start(contract, contract_script(contract, 1, 1, 1, "exit 3"));
    contract_start(contract, contract_script(contract, 2, 1, 1, "kill -USR1 $$"));
    struct launch *launch = contract_script(contract, 3, 1, 1, "");
    launch->argv = missing;
    contract_start(contract, launch);
    contract_assert_end(contract, 101, ENGINE_END_EXITED, 3);
    contract_assert_end(contract, 201, ENGINE_END_SIGNALLED, 10);
    assert_int_equal(contract_wait_end(contract, 301)->reason, ENGINE_END_START_FAILED);
    assert_int_equal(contract_wait_end(contract, 101)->rank, 0);
}

/* ---- what a job sees ------------------------------------------------------------------------- */

static void variables_and_secrets_reach_it(void **state)
{
    struct contract *contract = *state;
    const struct launch_variable variables[] = {{"COLOUR", "deep 'blue' $HOME \"x\"\n2"}};
    const struct launch_secret secrets[] = {{"TOKEN", "a'b$c", 5, false}, {"KEY", "k\0y", 3, true}};
    struct launch *launch = contract_script(contract, 1, 1, 1,
        "echo \"c=$COLOUR.\" \"t=$TOKEN.\" \"j=$MUSTER_JOB.\" \"n=$MUSTER_ATTEMPT.\""
        " \"k=$(od -An -tx1 < $KEY | tr -d ' ').\"; test -d \"$MUSTER_CHECKPOINT_DIR\"");
    launch->variables = variables;
    launch->variable_count = 1;
    launch->secrets = secrets;
    launch->secret_count = 2;
    contract_start(contract, launch);
    contract_assert_end(contract, 101, ENGINE_END_SUCCEEDED, 0);
    contract_assert_log(contract, 1, 1, "0 o c=deep 'blue' $HOME \"x\"\n");
    contract_assert_log(contract, 1, 1, "t=a'b$c. j=trial. n=1. k=6b0079.\n");
}

static void a_gang_is_told_who_is_who(void **state)
{
    struct contract *contract = *state;
    contract_start(contract,
        contract_script(contract, 1, 1, 4,
            "echo $RANK of $WORLD_SIZE; test -n \"$MASTER_ADDR\" && test -n \"$MASTER_PORT\" &&"
            " test $LOCAL_RANK -lt $LOCAL_WORLD_SIZE"));
    contract_assert_end(contract, 101, ENGINE_END_SUCCEEDED, 0);
    contract_assert_log(contract, 1, 1, "0 o 0 of 4\n");
    contract_assert_log(contract, 1, 1, "1 o 1 of 4\n");
    contract_assert_log(contract, 1, 1, "2 o 2 of 4\n");
    contract_assert_log(contract, 1, 1, "3 o 3 of 4\n");
}

/* One that fails takes the others with it: SIGTERM, and what stays is killed. */
static void a_rank_that_fails_ends_the_gang(void **state)
{
    struct contract *contract = *state;
    contract_start(
        contract, contract_script(contract, 1, 1, 3,
                      "if [ $RANK = 1 ]; then"
                      "  while [ $(ls $MUSTER_CHECKPOINT_DIR | wc -l) -lt 2 ]; do sleep 0.1; done; "
                      "exit 5; fi;"
                      "trap 'echo told; exit 0' TERM; [ $RANK = 2 ] && trap '' TERM;"
                      "touch $MUSTER_CHECKPOINT_DIR/$RANK; while :; do sleep 0.1; done"));
    contract_assert_end(contract, 101, ENGINE_END_EXITED, 5);
    assert_int_equal(contract_wait_end(contract, 101)->rank, 1);
    contract_assert_log(contract, 1, 1, "0 o told\n");
}

static int pack_one_file(void)
{
    char folder[] = "/tmp/muster-contract-work-XXXXXX", path[64], digest[65];
    struct snapshot_limits limits = snapshot_default_limits();
    struct error err;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/train.sh", folder);
    assert_int_equal(file_write(path, "echo from the work directory\n", 29, 0644, NULL), 0);
    int from = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int to = memfd_create("snapshot", MFD_CLOEXEC);
    assert_true(from >= 0 && to >= 0);
    if (snapshot_pack(from, to, &limits, digest, &err) < 0)
        fail_msg("%s", err.text);
    close(from);
    assert_int_equal(file_remove_tree(folder, NULL), 0);
    assert_int_equal(lseek(to, 0, SEEK_SET), 0);
    return to;
}

static void it_starts_in_its_work_directory(void **state)
{
    struct contract *contract = *state;
    struct launch *launch = contract_script(contract, 1, 1, 1, "sh ./train.sh && touch mine");
    launch->snapshot_fd = pack_one_file();
    contract_start(contract, launch);
    close(launch->snapshot_fd);
    contract_assert_end(contract, 101, ENGINE_END_SUCCEEDED, 0);
    contract_assert_log(contract, 1, 1, "0 o from the work directory\n");
}

static void outputs_stay_until_they_are_dropped(void **state)
{
    struct contract *contract = *state;
    static const char *const outputs[] = {"model"};
    struct launch *launch =
        contract_script(contract, 1, 1, 1, "echo weights > $MUSTER_OUTPUT_MODEL/w");
    launch->outputs = outputs;
    launch->output_count = 1;
    contract_start(contract, launch);
    contract_assert_end(contract, 101, ENGINE_END_SUCCEEDED, 0);
    struct engine *engine = contract_engine(contract);
    int folder = engine_output_open(engine, 1, "model", NULL);
    assert_true(folder >= 0);
    assert_int_equal(faccessat(folder, "w", F_OK, 0), 0);
    close(folder);
    assert_int_equal(engine_outputs_drop(engine, 1, NULL), 0);
    assert_true(engine_output_open(engine, 1, "model", NULL) < 0);
}

/* ---- stopping -------------------------------------------------------------------------------- */

static void a_stop_leaves_a_checkpoint_for_the_next(void **state)
{
    struct contract *contract = *state;
    struct engine *engine = contract_engine(contract);
    contract_start(
        contract, contract_script(contract, 1, 1, 1,
                      "trap 'echo 7 > $MUSTER_CHECKPOINT_DIR/step; exit 0' TERM; echo ready;"
                      "while :; do sleep 0.1; done"));
    contract_wait_log(contract, 1, 1, "ready");
    assert_int_equal(engine_stop(engine, 101, 60000, NULL), 0);
    contract_assert_end(contract, 101, ENGINE_END_STOPPED, 0);
    assert_true(contract_wait_end(contract, 101)->stop_asked);
    contract_start(contract,
        contract_script(contract, 1, 2, 1, "echo on from $(cat $MUSTER_CHECKPOINT_DIR/step)"));
    contract_assert_end(contract, 102, ENGINE_END_SUCCEEDED, 0);
    contract_assert_log(contract, 1, 2, "on from 7\n");
}

static void who_does_not_listen_is_killed(void **state)
{
    struct contract *contract = *state;
    contract_start(contract, contract_script(contract, 1, 1, 1,
                                 "trap '' TERM; echo ready; while :; do sleep 0.1; done"));
    contract_start(contract, contract_script(contract, 2, 1, 1, "echo ready; sleep 600"));
    contract_wait_log(contract, 1, 1, "ready");
    contract_wait_log(contract, 2, 1, "ready");
    assert_int_equal(engine_stop(contract_engine(contract), 101, 300, NULL), 0);
    assert_int_equal(engine_kill(contract_engine(contract), 201, NULL), 0);
    for (uint64_t attempt = 101; attempt <= 201; attempt += 100) {
        const struct attempt_end *end = contract_wait_end(contract, attempt);
        if (end->reason != ENGINE_END_KILLED)
            fail_msg("attempt %lu: %s (%s)", (unsigned long)attempt,
                engine_end_reason_name(end->reason), end->text);
    }
}

static void a_stop_may_come_at_once(void **state)
{
    struct contract *contract = *state;
    struct engine *engine = contract_engine(contract);
    contract_start(contract, contract_script(contract, 1, 1, 1, "sleep 600"));
    assert_int_equal(engine_stop(engine, 101, 300, NULL), 0);
    const struct attempt_end *end = contract_wait_end(contract, 101);
    assert_true(end->stop_asked);
    assert_true(end->reason == ENGINE_END_STOPPED || end->reason == ENGINE_END_KILLED);
    assert_int_equal(engine_stop(engine, 101, 300, NULL), 0);
    struct error err;
    assert_int_equal(engine_stop(engine, 999, 300, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
}

/* ---- once, whatever happens ------------------------------------------------------------------ */

static const char counting[] = "echo run >> $MUSTER_CHECKPOINT_DIR/runs; sleep 0.5";

static void assert_ran_once(struct contract *contract, uint64_t job)
{
    contract_start(contract,
        contract_script(contract, job, 2, 1, "echo n=$(wc -l < $MUSTER_CHECKPOINT_DIR/runs)."));
    contract_assert_end(contract, contract_attempt(job, 2), ENGINE_END_SUCCEEDED, 0);
    SCOPED(mem_scope) char *log = contract_log(contract, job, 2);
    if (!strstr(log, "n=1."))
        fail_msg("job %lu did not run once: %s", (unsigned long)job, log);
}

static void started_twice_it_runs_once(void **state)
{
    struct contract *contract = *state;
    contract_start(contract, contract_script(contract, 1, 1, 1, counting));
    contract_start(contract, contract_script(contract, 1, 1, 1, counting));
    contract_assert_end(contract, 101, ENGINE_END_SUCCEEDED, 0);
    contract_clear(contract);
    contract_start(contract, contract_script(contract, 1, 1, 1, counting));
    contract_assert_end(contract, 101, ENGINE_END_SUCCEEDED, 0);
    assert_ran_once(contract, 1);
}

static void it_outlives_its_caller(void **state)
{
    struct contract *contract = *state;
    contract_start(contract,
        contract_script(contract, 1, 1, 1,
            "echo early; while [ ! -e $MUSTER_CHECKPOINT_DIR/go ]; do sleep 0.1; done; echo late"));
    contract_wait_log(contract, 1, 1, "early");
    contract_drop_engine(contract);
    contract_clear(contract);
    contract_make_engine(contract);
    contract_start(
        contract, contract_script(contract, 1, 2, 1, "touch $MUSTER_CHECKPOINT_DIR/go; echo gone"));
    contract_assert_end(contract, 101, ENGINE_END_SUCCEEDED, 0);
    contract_assert_log(contract, 1, 1, "0 o early\n0 o late\n");
}

/* An end is said again by each incarnation, until it is forgotten. */
static void an_end_is_repeated_until_it_is_forgotten(void **state)
{
    struct contract *contract = *state;
    struct error err;
    run(contract, 1, "exit 4");
    contract_drop_engine(contract);
    contract_clear(contract);
    contract_make_engine(contract);
    contract_assert_end(contract, 101, ENGINE_END_EXITED, 4);
    contract_start(contract, contract_script(contract, 2, 1, 1, "sleep 600"));
    assert_int_equal(engine_forget(contract_engine(contract), 201, &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    assert_int_equal(engine_purge(contract_engine(contract), 2, &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    assert_int_equal(engine_forget(contract_engine(contract), 101, NULL), 0);
    assert_int_equal(engine_forget(contract_engine(contract), 101, NULL), 0);
    contract_drop_engine(contract);
    contract_clear(contract);
    contract_make_engine(contract);
    assert_int_equal(engine_kill(contract_engine(contract), 201, NULL), 0);
    contract_wait_end(contract, 201);
    assert_int_equal(contract_count(contract, ENGINE_REPORT_ENDED, 101), 0);
}

/* Started again after the kill it reports what is. What was lost before it ran did not run. */
static void it_runs_once_whenever_the_caller_is_killed(void **state)
{
    struct contract *contract = *state;
    struct prng prng = {20};
    contract_drop_engine(contract);
    for (uint64_t job = 1; job <= KILLS; job++) {
        contract_make_engine(contract);
        struct launch *launch = contract_script(contract, job, 1, 1, counting);
        contract_drop_engine(contract);
        contract_start_and_be_killed(contract, launch, (unsigned)prng_below(&prng, KILL_SPAN_US));
    }
    contract_make_engine(contract);
    for (uint64_t job = 1; job <= KILLS; job++)
        contract_start(contract, contract_script(contract, job, 1, 1, counting));
    for (uint64_t job = 1; job <= KILLS; job++) {
        const struct attempt_end *end = contract_wait_end(contract, contract_attempt(job, 1));
        if (end->reason == ENGINE_END_LOST && end->started_ms == 0)
            continue;
        contract_assert_end(contract, contract_attempt(job, 1), ENGINE_END_SUCCEEDED, 0);
        assert_ran_once(contract, job);
    }
}

/* ---- the site -------------------------------------------------------------------------------- */

static void a_site_has_nodes_and_says_where_an_attempt_is(void **state)
{
    struct contract *contract = *state;
    struct engine_site site;
    struct engine_where where;
    struct error err;
    engine_site(contract_engine(contract), &site);
    assert_true(site.known && site.answers && site.node_count > 0);
    assert_true(site.nodes[0].cpu_milli > 0 && site.nodes[0].memory_bytes > 0);
    assert_true(site.fact_count > 0);
    for (size_t i = 1; i < site.node_count; i++)
        assert_true(strcmp(site.nodes[i - 1].name, site.nodes[i].name) < 0);
    contract_start(contract, contract_script(contract, 1, 1, 1, "echo ready; sleep 600"));
    contract_wait_log(contract, 1, 1, "ready");
    assert_int_equal(engine_where(contract_engine(contract), 101, &where, &err), 0);
    assert_int_equal(where.submission, ENGINE_SUBMISSION_PLACED);
    assert_true(where.nodes[0] != '\0');
    assert_true(contract_is_local(contract) || where.id[0]);
    assert_int_equal(engine_where(contract_engine(contract), 999, &where, &err), -1);
    assert_int_equal(err.code, ERR_NOT_FOUND);
}

static void marks_are_read_back(void **state)
{
    char mark[ENGINE_MARK_TEXT];
    uint64_t attempt = 0;
    (void)state;
    engine_mark("abc", UINT64_C(0xfedcba9876543210), mark);
    assert_string_equal(mark, "muster-abc-fedcba9876543210");
    assert_true(engine_mark_read(mark, "abc", &attempt));
    assert_int_equal(attempt, UINT64_C(0xfedcba9876543210));
    assert_false(engine_mark_read(mark, "ab", &attempt));
    assert_false(engine_mark_read("muster-abc-1", "abc", &attempt));
    assert_false(engine_mark_read("train", "abc", &attempt));
    assert_false(engine_mark_read(NULL, "abc", &attempt));
}

/* ---- faults of the site ---------------------------------------------------------------------- */

/* What was submitted into the fault runs once when it is over; what ran on meanwhile is found. */
static void survive(struct contract *contract, const char *fault)
{
    contract_start(
        contract, contract_script(contract, 1, 1, 1,
                      "echo ready; while [ ! -e $MUSTER_CHECKPOINT_DIR/go ]; do sleep 0.1; done"));
    contract_wait_log(contract, 1, 1, "ready");
    contract_fault(contract, fault, NULL);
    contract_start(contract, contract_script(contract, 2, 1, 1, counting));
    contract_start(contract, contract_script(contract, 3, 1, 1, counting));
    for (int i = 0; i < 60; i++)
        contract_turn(contract);
    assert_int_equal(contract_count(contract, ENGINE_REPORT_ENDED, 101), 0);
    contract_fault(contract, "api-start", NULL);
    contract_assert_end(contract, 201, ENGINE_END_SUCCEEDED, 0);
    contract_assert_end(contract, 301, ENGINE_END_SUCCEEDED, 0);
    assert_ran_once(contract, 2);
    assert_ran_once(contract, 3);
    contract_start(contract, contract_script(contract, 1, 2, 1, "touch $MUSTER_CHECKPOINT_DIR/go"));
    contract_assert_end(contract, 101, ENGINE_END_SUCCEEDED, 0);
}

static void an_api_that_is_gone_is_waited_for(void **state)
{
    survive(*state, "api-stop");
}

static void an_api_that_hangs_is_waited_for(void **state)
{
    survive(*state, "api-hang");
}

static void half_an_answer_is_no_answer(void **state)
{
    survive(*state, "api-cut");
}

static void an_answer_that_comes_too_late_starts_nothing_twice(void **state)
{
    survive(*state, "api-late");
}

static void with_the_site(
    struct contract *contract, const char *fault, bool node, enum engine_end_reason reason)
{
    struct engine_where where;
    contract_start(contract, contract_script(contract, 1, 1, 1, "echo ready; sleep 600"));
    contract_wait_log(contract, 1, 1, "ready");
    assert_int_equal(engine_where(contract_engine(contract), 101, &where, NULL), 0);
    contract_fault(contract, fault, node ? where.nodes : where.id);
    const struct attempt_end *end = contract_wait_end(contract, 101);
    if (end->reason != reason)
        fail_msg("%s: %s (%s)", fault, engine_end_reason_name(end->reason), end->text);
    assert_false(end->stop_asked);
}

static void cancelled_at_the_site(void **state)
{
    with_the_site(*state, "cancel", false, ENGINE_END_CANCELLED);
}

static void preempted_by_the_site(void **state)
{
    with_the_site(*state, "preempt", false, ENGINE_END_PREEMPTED);
}

static void its_node_is_lost_and_comes_back(void **state)
{
    struct contract *contract = *state;
    struct engine_site site;
    contract_start(contract, contract_script(contract, 1, 1, 1, "echo ready; sleep 600"));
    contract_wait_log(contract, 1, 1, "ready");
    struct engine_where where;
    assert_int_equal(engine_where(contract_engine(contract), 101, &where, NULL), 0);
    contract_fault(contract, "node-down", where.nodes);
    const struct attempt_end *end = contract_wait_end(contract, 101);
    if (end->reason != ENGINE_END_NODE_LOST)
        fail_msg("%s (%s)", engine_end_reason_name(end->reason), end->text);
    contract_clear(contract);
    contract_fault(contract, "node-up", where.nodes);
    do {
        contract_turn(contract);
        engine_site(contract_engine(contract), &site);
        size_t up = 0;
        for (size_t i = 0; i < site.node_count; i++)
            up += site.nodes[i].health == ENGINE_NODE_UP;
        if (up == site.node_count)
            break;
    } while (contract_wait(contract, ENGINE_REPORT_SITE, 0));
}

enum { SITE_TESTS = 7 }; /* the last ones; the local engine has no site */

#define TEST(name) cmocka_unit_test_setup_teardown(name, contract_set_up, contract_tear_down)

static int run_suite(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_command_runs_and_its_log_is_read),
        TEST(ends_are_told_apart),
        TEST(variables_and_secrets_reach_it),
        TEST(a_gang_is_told_who_is_who),
        TEST(a_rank_that_fails_ends_the_gang),
        TEST(it_starts_in_its_work_directory),
        TEST(outputs_stay_until_they_are_dropped),
        TEST(a_stop_leaves_a_checkpoint_for_the_next),
        TEST(who_does_not_listen_is_killed),
        TEST(a_stop_may_come_at_once),
        TEST(started_twice_it_runs_once),
        TEST(it_outlives_its_caller),
        TEST(an_end_is_repeated_until_it_is_forgotten),
        TEST(it_runs_once_whenever_the_caller_is_killed),
        TEST(a_site_has_nodes_and_says_where_an_attempt_is),
        cmocka_unit_test(marks_are_read_back),
        /* From here on it is the site that fails. */
        TEST(an_api_that_is_gone_is_waited_for),
        TEST(an_api_that_hangs_is_waited_for),
        TEST(half_an_answer_is_no_answer),
        TEST(an_answer_that_comes_too_late_starts_nothing_twice),
        TEST(cancelled_at_the_site),
        TEST(preempted_by_the_site),
        TEST(its_node_is_lost_and_comes_back),
    };
    size_t of_sites = getenv("MUSTER_CONTRACT_FAULT") ? 0 : SITE_TESTS;
    return _cmocka_run_group_tests("contract", tests, ARRAY_LEN(tests) - of_sites, NULL, NULL);
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "shim"))
        return shim_main(argc - 1, argv + 1);
    if (argc > 1 && !strcmp(argv[1], "init"))
        return init_main(argc - 1, argv + 1);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return run_suite();
}
