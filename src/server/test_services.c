/* What replicas are made of, and why one ended: no server is needed for either. */
#include "engine/engine.h"
#include "server/services_compose.h"
#include "server/versions.h"
#include "spec/spec.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct manifest decode(struct arena *arena, const char *kind, const char *spec)
{
    struct field_errors errors = {0};
    struct manifest manifest = {0};
    struct error err = {0};
    const char *text = arena_printf(arena,
        "apiVersion: muster/v1\nkind: %s\nmetadata: {name: digits%s}\nspec:\n%s", kind,
        strcmp(kind, "Runtime") == 0 ? "" : ", team: vision", spec);
    const struct doc *list = doc_parse_yaml(arena, text, strlen(text), &err);
    if (!list || manifest_decode(arena, list->first, NULL, &manifest, &errors) < 0)
        fail_msg("%s%s: %s", err.text, errors.count ? errors.items[0].text : "", text);
    return manifest;
}

static const char runtime_text[] =
    "  command: [\"{runtimes}/serve\", \"--model={model}\", \"{name}:{version}\", \"{socket}\",\n"
    "    \"{{\\\"cpus\\\": {cpus}}\"]\n"
    "  env: {A: \"{name}\", B: below}\n"
    "  protocols: [oip]\n"
    "  readiness: {path: \"/v2/models/{name}/ready\", period: 300ms}\n"
    "  liveness: {failures: 7}\n";

static const struct version third = {.kind = KIND_MODEL,
    .team = "vision",
    .name = "digits",
    .version = 3,
    .digest = "sha256:00",
    .tree = "00"};

/* The revision of a service, written and read again as the store does it. */
static struct revision revision_of(
    struct arena *arena, const char *runtime, const char *spec, const struct version *version)
{
    struct manifest service = decode(arena, "Service", spec);
    struct manifest served = decode(arena, "Runtime", runtime);
    struct strbuf json = {0};
    struct error err = {0};
    doc_write_json(revision_compose(arena, &service.service, &served.runtime, version), 0, &json);
    const struct doc *doc = doc_parse_json(arena, strbuf_text(&json), json.length, 1 << 20, &err);
    strbuf_finish(&json);
    struct revision revision;
    assert_non_null(doc);
    if (revision_read(arena, doc, &revision, &err) < 0)
        fail_msg("%s", err.text);
    return revision;
}

static struct job job_of(struct arena *arena, const struct revision *revision)
{
    struct job job;
    struct error err = {0};
    if (revision_job(arena, revision, "/programs", 2, 7, &job, &err) < 0)
        fail_msg("%s", err.text);
    return job;
}

static void a_replica_is_made_of_service_runtime_and_version(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct revision revision = revision_of(arena, runtime_text,
        "  model: digits@production\n  route: Digits\n  env: {B: above}\n  priority: urgent\n"
        "  resources: {cpu: 1.5}\n  restart: {backoff: 3s}\n  grace: 4s\n",
        &third);
    struct job job = job_of(arena, &revision);
    assert_string_equal(job.metadata.name, "digits-r2-7");
    assert_string_equal(job.metadata.team, "vision");
    assert_string_equal(label_find(&job.metadata.labels, "service"), "digits");
    assert_int_equal(job.command.count, 5);
    assert_string_equal(job.command.items[0], "/programs/serve");
    assert_string_equal(job.command.items[1], "--model=/inputs/model");
    assert_string_equal(job.command.items[2], "Digits:3");
    assert_string_equal(job.command.items[3], ENGINE_SOCKET_PATH);
    assert_string_equal(job.command.items[4], "{\"cpus\": 2}");
    assert_string_equal(label_find(&job.env, "A"), "Digits");
    assert_string_equal(label_find(&job.env, "B"), "above");
    assert_string_equal(job.inputs.items[0].name, "model");
    assert_string_equal(job.inputs.items[0].model, "vision/digits:3");
    assert_true(job.service && job.gang.size == 1 && job.priority == PRIORITY_URGENT);
    assert_int_equal(job.placement.spread, SPREAD_SPREAD);
    assert_int_equal(job.retries.backoff_ms, 3000);
    assert_int_equal(job.grace_ms, 4000);
    /* Stored as a manifest it is the same job again. */
    struct manifest manifest = {.kind = KIND_JOB, .job = job}, again;
    struct field_errors errors = {0};
    assert_int_equal(
        manifest_decode(arena, manifest_encode(arena, &manifest), NULL, &again, &errors), 0);
    assert_true(manifest_equal(&manifest, &again));
}

static void names_of_replicas_fit_and_differ(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct revision revision = revision_of(arena, runtime_text, "  model: digits\n", &third);
    struct job one, two;
    revision.service.metadata.name =
        "a-service-whose-name-is-nearly-as-long-as-names-can-be-63-one";
    one = job_of(arena, &revision);
    revision.service.metadata.name =
        "a-service-whose-name-is-nearly-as-long-as-names-can-be-63-two";
    two = job_of(arena, &revision);
    assert_true(name_valid(one.metadata.name) && name_valid(two.metadata.name));
    assert_string_not_equal(one.metadata.name, two.metadata.name);
}

static void a_service_says_more_than_its_runtime(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct revision revision = revision_of(arena, runtime_text,
        "  model: digits\n  command: [own]\n  readiness: {timeout: 700ms}\n"
        "  liveness: {path: /alive}\n",
        &third);
    assert_string_equal(job_of(arena, &revision).command.items[0], "own");
    assert_string_equal(revision.readiness.path, "/v2/models/{name}/ready");
    assert_int_equal(revision.readiness.period_ms, 300);
    assert_int_equal(revision.readiness.timeout_ms, 700);
    assert_int_equal(revision.readiness.failures, 3);
    assert_string_equal(revision.startup.path, "/v2/models/{name}/ready");
    assert_int_equal(revision.startup.failures, 600);
    assert_string_equal(revision.liveness.path, "/alive");
    assert_int_equal(revision.liveness.failures, 7);
    assert_int_equal(revision.liveness.period_ms, 10000);
    assert_string_equal(
        revision_expand(arena, &revision, "", revision.readiness.path), "/v2/models/digits/ready");
}

static void only_what_replicas_depend_on_makes_another_revision(void **state)
{
    (void)state;
    static const struct {
        const char *spec;
        bool same;
    } examples[] = {
        {"  model: digits\n  replicas: 9\n", true},
        {"  model: digits\n  description: other words\n", true},
        {"  model: digits\n  rollout: {surge: 3, unavailable: 2}\n", true},
        {"  model: digits\n  gateway: {access: public, timeout: 1s, retry: never}\n", true},
        {"  model: digits\n  env: {A: b}\n", false},
        {"  model: digits\n  resources: {cpu: 2}\n", false},
        {"  model: digits\n  route: other\n", false},
        {"  model: digits\n  command: [other]\n", false},
        {"  model: digits\n  liveness: {path: /x}\n", false},
    };
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct revision before = revision_of(arena, runtime_text, "  model: digits\n", &third);
    for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
        struct revision after = revision_of(arena, runtime_text, examples[i].spec, &third);
        if (doc_equal(before.doc, after.doc) != examples[i].same)
            fail_msg("%s", examples[i].spec);
    }
    struct version fourth = third;
    fourth.version = 4;
    assert_false(
        doc_equal(before.doc, revision_of(arena, runtime_text, "  model: digits\n", &fourth).doc));
}

static void what_cannot_be_made_says_why(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct job job;
    struct error err;
    struct revision revision =
        revision_of(arena, runtime_text, "  model: digits@production\n", NULL);
    assert_int_equal(revision_job(arena, &revision, "", 1, 1, &job, &err), -1);
    assert_string_equal(err.text, "there is no version yet that digits@production means");
    revision = revision_of(arena, "  protocols: [oip]\n", "  model: digits\n", &third);
    assert_int_equal(revision_job(arena, &revision, "", 1, 1, &job, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    struct version bound = third;
    bound.jurisdiction = "ch";
    revision = revision_of(arena, runtime_text, "  model: digits\n", &bound);
    assert_string_equal(job_of(arena, &revision).placement.jurisdiction, "ch");
    revision = revision_of(
        arena, runtime_text, "  model: digits\n  placement: {jurisdiction: us}\n", &bound);
    assert_int_equal(revision_job(arena, &revision, "", 1, 1, &job, &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
}

static void an_end_is_told_apart_by_reason_status_and_log(void **state)
{
    (void)state;
    static const struct {
        enum end_reason reason;
        int32_t status;
        const char *log;
        const char *cause;
    } examples[] = {
        {END_OUT_OF_MEMORY, 9, "bad magic", "out-of-memory"},
        {END_EXIT, 65, "", "wrong-format"},
        {END_EXIT, 1, "x\nOSError: Address already in use\n", "bad-port"},
        {END_EXIT, 1, "No such file or directory: 'm.bin'\n", "missing-file"},
        {END_EXIT, 2, "CUDA out of memory", "out-of-memory"},
        {END_EXIT, 1, "No such file or directory", "missing-file"},
        {END_EXIT, 7, "license", "licence"},
        {END_EXIT, 8, "license", "failed"},
        {END_EXIT, 1, "no idea", "failed"},
        /* A signal's number is no exit status. */
        {END_SIGNAL, 65, "", "failed"},
        {END_SIGNAL, SIGKILL, "", "killed"},
        {END_SIGNAL, SIGSEGV, "Address already in use", "bad-port"},
        {END_START_FAILED, ENOENT, "", "missing-file"},
        {END_START_FAILED, EACCES, "", "not-started"},
        {END_UNHEALTHY, 0, "", "unhealthy"},
        {END_DISK_QUOTA, 0, "", "disk-full"},
        {END_LOST, 0, "", "lost"},
        {END_SUCCEEDED, 0, "", "ended"},
        {END_PREEMPTED, 0, "Address already in use", NULL},
        {END_REPLACED, 1, "No such file or directory", NULL},
    };
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct manifest manifest = decode(arena, "Runtime",
        "  command: [x]\n"
        "  failures:\n"
        "  - {cause: licence, exitStatus: 7, log: license}\n"
        "  - {cause: wrong-format, exitStatus: 65}\n"
        "  - {cause: bad-port, log: Address already in use}\n"
        "  - {cause: missing-file, log: No such file}\n"
        "  - {cause: out-of-memory, log: out of memory}\n");
    for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
        const char *cause = replica_cause(
            &manifest.runtime, examples[i].reason, examples[i].status, examples[i].log);
        bool same = cause && examples[i].cause ? strcmp(cause, examples[i].cause) == 0
                                               : cause == examples[i].cause;
        if (!same)
            fail_msg("%zu: %s", i, cause ? cause : "nothing");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_replica_is_made_of_service_runtime_and_version),
        cmocka_unit_test(names_of_replicas_fit_and_differ),
        cmocka_unit_test(a_service_says_more_than_its_runtime),
        cmocka_unit_test(only_what_replicas_depend_on_makes_another_revision),
        cmocka_unit_test(what_cannot_be_made_says_why),
        cmocka_unit_test(an_end_is_told_apart_by_reason_status_and_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
