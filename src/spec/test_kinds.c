/* Manifests of what the registry and services add: datasets, models, runtimes, services, and the
 * fields of jobs that read and write artifacts. */
#include "spec/spec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void strbuf_scope(struct strbuf *buf)
{
    strbuf_finish(buf);
}

static int try_decode(struct arena *arena, const char *head, const char *text,
    struct manifest *manifest, struct strbuf *complaints)
{
    struct field_errors errors = {0};
    struct error err = {0};
    const char *whole = arena_printf(arena, "apiVersion: muster/v1\nkind: %s%s", head, text);
    const struct doc *list = doc_parse_yaml(arena, whole, strlen(whole), &err);
    if (!list)
        fail_msg("%s: %s", err.text, whole);
    int rc = manifest_decode(arena, list->first, NULL, manifest, &errors);
    field_errors_write(&errors, "t", complaints);
    return rc;
}

static struct manifest decode(struct arena *arena, const char *head, const char *text)
{
    SCOPED(strbuf_scope) struct strbuf out = {0};
    struct manifest manifest = {0};
    if (try_decode(arena, head, text, &manifest, &out) < 0)
        fail_msg("%s", strbuf_text(&out));
    return manifest;
}

#define OWNED        "\nmetadata: {name: a, team: t}\nspec:\n"
#define JOB_HEAD     "Job" OWNED
#define DATASET_HEAD "Dataset" OWNED
#define MODEL_HEAD   "Model" OWNED
#define SERVICE_HEAD "Service" OWNED
#define RUNTIME_HEAD "Runtime\nmetadata: {name: r}\nspec:\n"

static void a_job_reads_and_writes_artifacts(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct manifest manifest = decode(arena, JOB_HEAD,
        "  command: [x]\n"
        "  parameters: {lr: \"0.1\", max-depth: \"6\"}\n"
        "  inputs: [{name: data, dataset: \"digits:3\"}, {name: base, model: v/m@production}]\n"
        "  outputs: [{name: out, model: small, relation: quantized, parent: base}]\n");
    const struct job *job = &manifest.job;
    assert_string_equal(label_find(&job->parameters, "max-depth"), "6");
    assert_string_equal(job->inputs.items[0].dataset, "digits:3");
    assert_string_equal(job->inputs.items[1].model, "v/m@production");
    assert_int_equal(job->outputs.items[0].relation, VARIANT_QUANTIZED);
    assert_string_equal(job->outputs.items[0].parent, "base");
    assert_null(job->score.runtime);

    manifest = decode(arena, JOB_HEAD,
        "  score: {runtime: xgboost}\n"
        "  inputs: [{name: data, dataset: d}, {name: model, model: m}]\n"
        "  outputs: [{name: scores, dataset: s}]\n");
    assert_string_equal(manifest.job.score.runtime, "xgboost");
    assert_int_equal(manifest.job.command.count, 0);
}

static void datasets_and_models_have_defaults(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct manifest manifest = decode(arena, "Dataset\nmetadata: {name: a, team: t}\n", "");
    assert_string_equal(manifest.dataset.metadata.team, "t");
    assert_int_equal(manifest.dataset.retention.versions, 0);
    assert_null(manifest.dataset.jurisdiction);

    manifest = decode(arena, MODEL_HEAD,
        "  runtime: xgboost\n"
        "  owners: {onCall: night shift}\n"
        "  retention: {versions: 5, age: 30d}\n"
        "  gates:\n"
        "  - stage: production\n"
        "    metrics: [{name: accuracy, min: 0.95, source: evaluation, notWorse: true}]\n"
        "    evaluation: {dataset: \"digits:1\", command: [python3, check.py]}\n"
        "    owners: [dataset, onCall]\n"
        "    consent: [research-only]\n");
    const struct model *model = &manifest.model;
    const struct gate *gate = &model->gates.items[0];
    assert_string_equal(model->owners.on_call, "night shift");
    assert_string_equal(gate->metrics.items[0].min, "0.95");
    assert_int_equal(gate->metrics.items[0].source, METRIC_EVALUATION);
    assert_int_equal(gate->evaluation.resources.cpu_milli, 1000);
    assert_int_equal(gate->approvals, 1);
    assert_true(model->retention.age_ms == 30 * 86400000LL);
    manifest = decode(arena, "Team\nmetadata: {name: t}\n", "");
    assert_true(manifest.team.separate_approval);
}

static void runtimes_and_services_have_defaults(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct manifest manifest = decode(arena, RUNTIME_HEAD,
        "  command: [serve, \"--name={name}\", \"{{}\"]\n"
        "  listen: port\n"
        "  protocols: [openai]\n"
        "  readiness: {path: \"/v2/models/{name}/ready\", period: 500ms}\n"
        "  failures: [{cause: bad-port, log: in use}, {cause: out-of-memory, exitStatus: 137}]\n");
    const struct runtime *runtime = &manifest.runtime;
    assert_int_equal(runtime->port, 8080);
    assert_int_equal(runtime->readiness.period_ms, 500);
    assert_int_equal(runtime->readiness.failures, 0);
    assert_null(runtime->liveness.path);
    assert_int_equal(runtime->failures.items[0].exit_status, -1);
    assert_int_equal(runtime->failures.items[1].exit_status, 137);

    manifest = decode(arena, SERVICE_HEAD, "  model: digits@production\n");
    const struct service *service = &manifest.service;
    assert_int_equal(service->replicas, 1);
    assert_int_equal(service->priority, PRIORITY_HIGH);
    assert_false(service->preemptible);
    assert_int_equal(service->placement.spread, SPREAD_SPREAD);
    assert_int_equal(service->rollout.surge, 1);
    assert_int_equal(service->rollout.unavailable, 0);
    assert_int_equal(service->drain_ms, 30000);
    assert_int_equal(service->grace_ms, 10000);
    assert_int_equal(service->restart.backoff_ms, 1000);
    assert_int_equal(service->restart.backoff_max_ms, 300000);
    assert_int_equal(service->gateway.access, ACCESS_TEAM);
    assert_int_equal(service->gateway.retry, RETRY_SAFE);
    assert_int_equal(service->gateway.body_bytes_max, 16 << 20);
    assert_int_equal(service->gateway.timeout_ms, 60000);
    assert_null(service->runtime);
}

static void a_service_says_who_is_asked_in_its_place(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct manifest manifest = decode(arena, SERVICE_HEAD,
        "  model: d\n"
        "  gateway:\n"
        "    deadline: {total: 1m, header: true}\n"
        "    hedge: {after: p95, safe: [infer]}\n"
        "    fallback: {to: [b, {route: c, on: [timeout], firstByte: 2s}]}\n"
        "    cascade: {first: s, name: sure}\n");
    const struct service_gateway *gateway = &manifest.service.gateway;
    assert_int_equal(gateway->deadline.total_ms, 60000);
    assert_int_equal(gateway->hedge.percent, 5);
    assert_int_equal(gateway->fallback.to.count, 2);
    assert_string_equal(gateway->fallback.to.items[0].route, "b");
    assert_int_equal(gateway->fallback.to.items[1].first_byte_ms, 2000);
    assert_int_equal(gateway->fallback.broken, BROKEN_EVENT);
    assert_int_equal(gateway->cascade.threshold_micro, 800000);
    assert_int_equal(gateway->circuit.failures, 0);
    manifest = decode(arena, SERVICE_HEAD, "  model: d\n");
    assert_int_equal(manifest.service.gateway.fallback.broken, BROKEN_CUT);
    assert_null(manifest.service.gateway.hedge.after);
}

static void what_does_not_fit_is_said(void **state)
{
    (void)state;
    static const struct {
        const char *head;
        const char *text;
        const char *expected;
    } examples[] = {
        {JOB_HEAD, "  hold: true\n", "t:4: spec.command: required, but not given\n"},
        {JOB_HEAD, "  score: {runtime: x}\n",
            "t:4: spec.inputs: scoring needs an input \"model\" that is a model\n"
            "t:4: spec.inputs: scoring needs an input \"data\" that is a dataset\n"
            "t:4: spec.outputs: scoring needs an output \"scores\"\n"},
        {JOB_HEAD, "  command: [x]\n  inputs: [{name: a}, {name: b, dataset: d, model: m}]\n",
            "t:6: spec.inputs[0]: expected either dataset or model, got neither\n"
            "t:6: spec.inputs[1]: expected either dataset or model, got both\n"},
        {JOB_HEAD, "  command: [x]\n  inputs: [{name: a, dataset: d@staging}]\n",
            "t:6: spec.inputs[0].dataset: only models have stages; name a version, such as d:1\n"},
        {JOB_HEAD, "  command: [x]\n  inputs: [{name: a, model: d@live}]\n",
            "t:6: spec.inputs[0].model: expected a reference such as digits, digits:3 or "
            "vision/digits@production, got \"d@live\"\n"},
        {JOB_HEAD, "  command: [x]\n  inputs: [{name: a-b, model: d}, {name: a.b, model: e}]\n",
            "t:6: spec.inputs[1].name: inputs[0] has that name\n"},
        {JOB_HEAD, "  command: [x]\n  outputs: [{name: a, model: m}, {name: b, model: m}]\n",
            "t:6: spec.outputs[1]: outputs[0] makes the same version\n"},
        {JOB_HEAD, "  command: [x]\n  outputs: [{name: a, model: m, relation: pruned}]\n",
            "t:6: spec.outputs[0].relation: needs a parent beside it\n"},
        {JOB_HEAD,
            "  command: [x]\n  inputs: [{name: i, dataset: d}]\n"
            "  outputs: [{name: a, model: m, relation: pruned, parent: i}]\n",
            "t:7: spec.outputs[0].parent: expected the name of an input that is a model\n"},
        {JOB_HEAD, "  command: [x]\n  parameters: {a-b: \"1\", A_B: \"2\"}\n",
            "t:6: spec.parameters: a-b and A_B are the same variable\n"},
        {"Dataset\nmetadata: {name: a}\nspec: {}", "\n",
            "t:3: metadata.team: required, but not given\n"},
        {MODEL_HEAD, "  gates: [{stage: production}, {stage: production}, {stage: live}]\n",
            "t:5: spec.gates[2].stage: expected staging or production, got \"live\"\n"},
        {MODEL_HEAD, "  gates: [{stage: production}, {stage: production}]\n",
            "t:5: spec.gates[1].stage: gates[0] stands before it already\n"},
        {MODEL_HEAD,
            "  gates: [{stage: staging, metrics: [{name: x}, {name: y, min: high},\n"
            "    {name: z, min: 2, max: 1e-1}]}]\n",
            "t:5: spec.gates[0].metrics[0]: expected min, max or notWorse\n"
            "t:5: spec.gates[0].metrics[1].min: expected a number such as 0.95 or 1e-3, got "
            "\"high\"\n"
            "t:6: spec.gates[0].metrics[2].max: expected at least min, 2\n"},
        {MODEL_HEAD,
            "  gates: [{stage: staging, metrics: [{name: x, min: 1, source: evaluation}]}]\n",
            "t:5: spec.gates[0].metrics[0].source: the gate has no evaluation\n"},
        {MODEL_HEAD, "  gates: [{stage: staging, evaluation: {dataset: d}}]\n",
            "t:5: spec.gates[0].evaluation: needs a command beside its dataset\n"},
        {RUNTIME_HEAD, "  command: [x, \"{modle}\"]\n  env: {A: \"{data}\"}\n",
            "t:5: spec.command[1]: there is no placeholder {modle}; a \"{\" that stands for "
            "itself is written \"{{\"\n"
            "t:6: spec.env.A: the placeholder {data} has no meaning when serving\n"},
        {RUNTIME_HEAD, "  command: [x]\n  port: 80\n  protocols: [oip, oip]\n",
            "t:6: spec.port: a runtime that listens on its socket has none\n"
            "t:7: spec.protocols[1]: is said twice\n"},
        {RUNTIME_HEAD, "  command: [x]\n  readiness: {path: ready}\n",
            "t:6: spec.readiness.path: expected a path that begins with /, got \"ready\"\n"},
        {RUNTIME_HEAD, "  command: [x]\n  failures: [{cause: y}]\n",
            "t:6: spec.failures[0]: expected exitStatus or log\n"},
        {SERVICE_HEAD, "  replicas: 2\n", "t:4: spec.model: required, but not given\n"},
        {SERVICE_HEAD, "  model: d\n  route: a/b\n",
            "t:6: spec.route: expected a name of letters, digits, -, _ and ., got \"a/b\"\n"},
        {SERVICE_HEAD, "  model: d\n  rollout: {surge: 0}\n",
            "t:6: spec.rollout.surge: expected at least 1 while unavailable is 0, or no replica "
            "could ever be replaced\n"},
        {SERVICE_HEAD, "  model: d\n  restart: {backoff: 1m, backoffMax: 1s}\n",
            "t:6: spec.restart.backoffMax: expected at least as long as backoff\n"},
        {SERVICE_HEAD, "  model: d\n  env: {MUSTER_X: y}\n",
            "t:6: spec.env.MUSTER_X: MUSTER_X is set by muster\n"},
        {SERVICE_HEAD,
            "  model: d\n  gateway: {fallback: {to: [b, a]}, cascade: {first: a, name: x}}\n",
            "t:6: spec.gateway.cascade.first: expected another service than this one\n"
            "t:6: spec.gateway.fallback.to[1].route: expected another service than this one\n"},
        {SERVICE_HEAD, "  model: d\n  route: r\n  gateway: {fallback: {to: [a, r]}}\n",
            "t:7: spec.gateway.fallback.to[1].route: expected another service than this one\n"},
        {SERVICE_HEAD, "  model: d\n  gateway:\n    fallback: {to: [b, {route: c, on: [no]}, b]}\n",
            "t:7: spec.gateway.fallback.to[1].on[0]: expected one of error, timeout, overload, "
            "connection, got \"no\"\n"},
        {SERVICE_HEAD, "  model: d\n  gateway: {fallback: {to: [b, {route: b, version: 2}, b]}}\n",
            "t:6: spec.gateway.fallback.to[2].route: expected each service once\n"},
        {SERVICE_HEAD, "  model: d\n  gateway: {hedge: {after: p40}}\n",
            "t:6: spec.gateway.hedge.after: expected p50 to p99, or a duration of 1ms to 1h, got "
            "\"p40\"\n"},
        {SERVICE_HEAD, "  model: d\n  gateway: {hedge: {after: 20ms}}\n",
            "t:6: spec.gateway.hedge.safe: expected the requests that may be made twice, as "
            "[infer]\n"},
        {SERVICE_HEAD, "  model: d\n  gateway: {circuit: {open: 1m}}\n",
            "t:6: spec.gateway.circuit.openMax: expected at least as long as open\n"},
        {SERVICE_HEAD, "  model: d\n  gateway: {cascade: {first: b}}\n",
            "t:6: spec.gateway.cascade.name: expected the name of the output or field, or the "
            "pointer\n"},
        {SERVICE_HEAD,
            "  model: d\n  gateway: {cascade: {first: b, confidence: logprobs, name: x}}\n",
            "t:6: spec.gateway.cascade.name: expected none: logprobs have their place\n"},
        {SERVICE_HEAD,
            "  model: d\n  gateway: {cascade: {first: b, confidence: pointer, name: x}}\n",
            "t:6: spec.gateway.cascade.name: expected a JSON pointer, as /choices/0/confidence\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
        SCOPED(arena_scope) struct arena *arena = arena_create();
        SCOPED(strbuf_scope) struct strbuf out = {0};
        struct manifest manifest;
        int rc = try_decode(arena, examples[i].head, examples[i].text, &manifest, &out);
        assert_string_equal(strbuf_text(&out), examples[i].expected);
        assert_int_equal(rc, -1);
    }
}

static void the_built_in_runtimes_are_sound(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct doc *list = spec_builtin_runtimes_doc(arena);
    assert_int_equal(list->count, 10);
    for (const struct doc *doc = list->first; doc; doc = doc->next) {
        SCOPED(strbuf_scope) struct strbuf out = {0};
        struct field_errors errors = {0};
        struct manifest manifest;
        if (manifest_decode(arena, doc, NULL, &manifest, &errors) < 0) {
            field_errors_write(&errors, "runtimes", &out);
            fail_msg("%s", strbuf_text(&out));
        }
        const struct runtime *runtime = &manifest.runtime;
        bool own = strncmp(runtime->metadata.name, "command", 7) == 0;
        assert_int_equal(manifest.kind, KIND_RUNTIME);
        assert_int_equal(runtime->command.count == 0, own);
        assert_true(runtime->failures.count >= 4 && runtime->description);
        assert_true(own || (runtime->startup.path && runtime->liveness.path));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_reads_and_writes_artifacts),
        cmocka_unit_test(datasets_and_models_have_defaults),
        cmocka_unit_test(runtimes_and_services_have_defaults),
        cmocka_unit_test(a_service_says_who_is_asked_in_its_place),
        cmocka_unit_test(what_does_not_fit_is_said),
        cmocka_unit_test(the_built_in_runtimes_are_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
