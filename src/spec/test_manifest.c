/* Manifests of every kind: what is taken, every error at once and in which words, classes, and
 * what is written from the tables. */
#include "base/file.h"
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

static const struct doc *parse(struct arena *arena, const char *text)
{
    struct error err = {0};
    const struct doc *list = doc_parse_yaml(arena, text, strlen(text), &err);
    if (!list || list->count != 1)
        fail_msg("%s: %s", err.text, text);
    return list->first;
}

static struct manifest decode(struct arena *arena, const char *text)
{
    struct field_errors errors = {0};
    struct manifest manifest = {0};
    struct class_lookup classes = class_lookup_in(spec_builtin_classes_doc(arena));
    if (manifest_decode(arena, parse(arena, text), &classes, &manifest, &errors) < 0) {
        SCOPED(strbuf_scope) struct strbuf out = {0};
        field_errors_write(&errors, "-", &out);
        fail_msg("%s", strbuf_text(&out));
    }
    assert_int_equal(errors.count, 0);
    return manifest;
}

static void assert_errors(const char *text, const char *expected)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    SCOPED(strbuf_scope) struct strbuf out = {0};
    struct field_errors errors = {0};
    struct manifest manifest = {.kind = KIND_COUNT};
    struct class_lookup classes = class_lookup_in(spec_builtin_classes_doc(arena));
    assert_int_equal(manifest_decode(arena, parse(arena, text), &classes, &manifest, &errors), -1);
    assert_int_equal(manifest.kind, KIND_COUNT);
    field_errors_write(&errors, "t.yaml", &out);
    assert_string_equal(strbuf_text(&out), expected);
}

static void assert_encoded(
    struct arena *arena, const struct manifest *manifest, const char *expected)
{
    SCOPED(strbuf_scope) struct strbuf out = {0};
    doc_write_yaml(manifest_encode(arena, manifest), &out);
    assert_string_equal(strbuf_text(&out), expected);
}

#define JOB_HEAD   "apiVersion: muster/v1\nkind: Job\nmetadata: {name: a, team: t}\nspec:\n"
#define POOL_HEAD  "apiVersion: muster/v1\nkind: Pool\nmetadata: {name: p}\nspec:\n"
#define TEAM_HEAD  "apiVersion: muster/v1\nkind: Team\nmetadata: {name: t}\nspec:\n"
#define CLASS_HEAD "apiVersion: muster/v1\nkind: Class\nmetadata: {name: c}\nspec:\n"

static void a_job_has_sensible_defaults(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct manifest manifest = decode(arena, JOB_HEAD "  command: [\"true\"]\n");
    const struct job *job = &manifest.job;
    assert_int_equal(manifest.kind, KIND_JOB);
    assert_string_equal(job->metadata.name, "a");
    assert_string_equal(job->command.items[0], "true");
    assert_int_equal(job->gang.size, 1);
    assert_int_equal(job->gang.min, 0);
    assert_int_equal(job->resources.cpu_milli, 1000);
    assert_int_equal(job->resources.memory_bytes, 1 << 30);
    assert_int_equal(job->resources.disk_bytes, 1 << 30);
    assert_null(job->resources.accelerator);
    assert_int_equal(job->resources.accelerator_milli, 0);
    assert_int_equal(job->priority, PRIORITY_NORMAL);
    assert_true(job->preemptible);
    assert_int_equal(job->preemptions_max, 10);
    assert_int_equal(job->grace_ms, 30000);
    assert_int_equal(job->retries.limit, 0);
    assert_int_equal(job->retries.backoff_ms, 10000);
    assert_int_equal(job->retries.backoff_max_ms, 600000);
    assert_int_equal(job->network, NETWORK_NONE);
    assert_int_equal(job->log.max_bytes, 16 << 20);
    assert_int_equal(job->log.files, 4);
    assert_int_equal(job->array.count, 0);
    assert_int_equal(job->deadline_ms, 0);
    assert_false(job->hold || job->service);
    assert_encoded(arena, &manifest,
        "apiVersion: muster/v1\n"
        "kind: Job\n"
        "metadata:\n"
        "  name: a\n"
        "  team: t\n"
        "spec:\n"
        "  command:\n"
        "  - \"true\"\n");
}

static void a_whole_job_is_read(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct manifest manifest = decode(arena, JOB_HEAD
        "  command: [python3, train.py]\n"
        "  env: {EPOCHS: \"10\"}\n"
        "  secrets: [{name: hub, env: TOKEN}, {name: key, file: key.pem}]\n"
        "  workdir: sha256:0123456789012345678901234567890123456789012345678901234567890abc\n"
        "  gang: {size: 4, min: 2, max: 8}\n"
        "  resources: {cpu: 500m, memory: 16Gi, disk: 20G, accelerator: {type: a100, count: 0.5}}\n"
        "  placement:\n"
        "    pool: here\n"
        "    nodeType: big\n"
        "    jurisdiction: ch\n"
        "    require: [{key: zone, values: [a, b]}, {key: old, operator: absent}]\n"
        "    tolerations: [gpu, {key: x, value: y}]\n"
        "    near: {app: cache}\n"
        "    apart: {app: noisy}\n"
        "    spread: spread\n"
        "  priority: high\n"
        "  preemptible: false\n"
        "  minRuntime: 10m\n"
        "  preemptionsMax: -1\n"
        "  grace: 0\n"
        "  shrinkOnNodeLoss: true\n"
        "  retries: {limit: 3, backoff: 20m}\n"
        "  startAfter: 2026-01-01T00:00:00Z\n"
        "  deadline: 2026-01-02T00:00:00+01:00\n"
        "  timeLimit: 1h30m\n"
        "  dependsOn: [prep, {job: \"sweep[3]\", condition: ended}]\n"
        "  array: {count: 10, parallel: 2}\n"
        "  hold: true\n"
        "  log: {maxBytes: 1Mi, files: 1}\n"
        "  checkpoint: {interval: 5m}\n");
    const struct job *job = &manifest.job;
    assert_string_equal(label_find(&job->env, "EPOCHS"), "10");
    assert_string_equal(job->secrets.items[1].file, "key.pem");
    assert_int_equal(job->gang.max, 8);
    assert_int_equal(job->resources.cpu_milli, 500);
    assert_true(job->resources.disk_bytes == 20000000000);
    assert_string_equal(job->resources.accelerator, "a100");
    assert_int_equal(job->resources.accelerator_milli, 500);
    assert_int_equal(job->placement.require.items[0].operation, LABEL_IN);
    assert_string_equal(job->placement.require.items[0].values.items[1], "b");
    assert_int_equal(job->placement.require.items[1].operation, LABEL_ABSENT);
    assert_string_equal(job->placement.tolerations.items[0].key, "gpu");
    assert_null(job->placement.tolerations.items[0].value);
    assert_int_equal(job->placement.spread, SPREAD_SPREAD);
    assert_int_equal(job->priority, PRIORITY_HIGH);
    assert_int_equal(job->preemptions_max, -1);
    assert_int_equal(job->grace_ms, 0);
    assert_int_equal(job->retries.backoff_max_ms, 1200000);
    assert_true(job->deadline_ms - job->start_after_ms == 23 * 3600000);
    assert_int_equal(job->time_limit_ms, 5400000);
    assert_string_equal(job->depends_on.items[0].job, "prep");
    assert_int_equal(job->depends_on.items[1].condition, DEPENDENCY_ENDED);
    assert_int_equal(job->array.parallel, 2);
    assert_int_equal(job->network, NETWORK_GANG);
    assert_int_equal(job->checkpoint.interval_ms, 300000);
}

static void a_pool_and_a_team_are_read(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct manifest pool = decode(arena, POOL_HEAD
        "  jurisdiction: ch\n"
        "  nodes:\n"
        "  - {name: n, count: 3, type: big, cpu: 64, memory: 512Gi,\n"
        "     accelerators: {type: a100, count: 8}, fractional: true,\n"
        "     labels: {zone: a}, taints: [gpu, {key: x, value: \"1\", effect: noExecute}]}\n"
        "  prices: {currency: CHF, nodes: {big: 31.5}, cpu: \"0.05\", accelerators: {a100: "
        "\"2.5\"}}\n");
    const struct node *node = &pool.pool.nodes.items[0];
    assert_int_equal(pool.pool.engine, ENGINE_LOCAL);
    assert_int_equal(node->capacity.cpu_milli, 64000);
    assert_int_equal(node->capacity.accelerator_milli, 8000);
    assert_int_equal(node->taints.items[1].effect, TAINT_NO_EXECUTE);
    assert_int_equal(pool.pool.prices.cpu_hour_micro, 50000);
    assert_int_equal(pool.pool.prices.nodes.items[0].hour_micro, 31500000);

    struct manifest team = decode(arena, TEAM_HEAD
        "  parent: research\n"
        "  quota: {cpu: {guarantee: 4, limit: 8.5}, memory: {guarantee: 16Gi}, a100: {limit: 8}}\n"
        "  members: [{user: ada@example.org, role: admin}]\n"
        "  requiredLabels: [owner]\n");
    assert_int_equal(team.team.quotas.count, 3);
    assert_int_equal(team.team.quotas.items[0].guarantee, 4000);
    assert_int_equal(team.team.quotas.items[0].limit, 8500);
    assert_true(team.team.quotas.items[1].guarantee == 16LL << 30);
    assert_int_equal(team.team.quotas.items[1].limit, -1);
    assert_int_equal(team.team.uid, -1);
    assert_true(team.team.borrow);
    assert_int_equal(team.team.weight_micro, 1000000);
    assert_int_equal(team.team.jobs_max, 100000);
    struct manifest job = decode(arena, JOB_HEAD "  command: [x]\n");
    assert_string_equal(job_missing_label(&job.job, &team.team), "owner");
    decode(arena, "apiVersion: muster/v1\nkind: Team\nmetadata: {name: t}\n");
}

/* One broken thing each: the line and the words. */
static void each_error_says_what_was_expected_and_what_came(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *expected;
    } examples[] = {
        {JOB_HEAD "  command: [x]\n  resources: {cpu: two}\n",
            "t.yaml:6: spec.resources.cpu: expected a number from 0.001 to 1024, got \"two\"\n"},
        {JOB_HEAD "  command: [x]\n  resources: {cpu: 0.0001}\n",
            "t.yaml:6: spec.resources.cpu: expected a number from 0.001 to 1024, with at most 3 "
            "decimals, got 0.0001\n"},
        {JOB_HEAD "  command: [x]\n  resources: {memory: 1TB}\n",
            "t.yaml:6: spec.resources.memory: expected a size from 1Mi to 16Ti such as 512Mi or "
            "16Gi, got \"1TB\"\n"},
        {JOB_HEAD "  command: [x]\n  resources: {accelerator: {type: a100, count: 1.5}}\n",
            "t.yaml:6: spec.resources.accelerator.count: expected whole devices, or a share below "
            "1 "
            "of one\n"},
        {JOB_HEAD "  command: [x]\n  resources: {accelerator: {count: 1}}\n",
            "t.yaml:6: spec.resources.accelerator.type: required, but not given\n"},
        {JOB_HEAD "  command: x\n",
            "t.yaml:5: spec.command: expected a list of texts, got \"x\"\n"},
        {JOB_HEAD "  command: []\n", "t.yaml:5: spec.command: expected at least 1 item, got 0\n"},
        {JOB_HEAD "  command: [\"\"]\n",
            "t.yaml:5: spec.command[0]: expected a program, got \"\"\n"},
        {JOB_HEAD "  command: [x, 10]\n",
            "t.yaml:5: spec.command[1]: expected text, got 10; in quotes it is text: \"10\"\n"},
        {JOB_HEAD "  hold: true\n", "t.yaml:4: spec.command: required, but not given\n"},
        {JOB_HEAD "  command:\n", "t.yaml:4: spec.command: required, but not given\n"},
        {JOB_HEAD "  command: [x]\n  placment: {}\n",
            "t.yaml:6: spec.placment: unknown field; did you mean \"placement\"?\n"},
        {JOB_HEAD "  command: [x]\n  TimeLimit: 1h\n",
            "t.yaml:6: spec.TimeLimit: unknown field; did you mean \"timeLimit\"?\n"},
        {JOB_HEAD "  command: [x]\n  xyzzy: 1\n", "t.yaml:6: spec.xyzzy: unknown field\n"},
        {JOB_HEAD "  command: [x]\n  \"a\\nb.c\": 1\n",
            "t.yaml:6: spec[\"a\\nb.c\"]: unknown field\n"},
        {JOB_HEAD "  command: [x]\n  priority: hihg\n",
            "t.yaml:6: spec.priority: expected a whole number from 0 to 1000, or one of low, "
            "normal, "
            "high, urgent, got \"hihg\"; did you mean \"high\"?\n"},
        {JOB_HEAD "  command: [x]\n  priority: 1001\n",
            "t.yaml:6: spec.priority: expected a whole number from 0 to 1000, or one of low, "
            "normal, "
            "high, urgent, got 1001\n"},
        {JOB_HEAD "  command: [x]\n  network: hots\n",
            "t.yaml:6: spec.network: expected one of none, gang, host, got \"hots\"; did you mean "
            "\"host\"?\n"},
        {JOB_HEAD "  command: [x]\n  hold: \"yes\"\n",
            "t.yaml:6: spec.hold: expected true or false, got \"yes\"\n"},
        {JOB_HEAD "  command: [x]\n  grace: 90\n", "t.yaml:6: spec.grace: expected a duration from "
                                                   "0s to 1h such as 90s, 10m or 1h30m, got "
                                                   "90\n"},
        {JOB_HEAD "  command: [x]\n  deadline: tomorrow\n",
            "t.yaml:6: spec.deadline: expected a time such as 2026-01-31T08:30:00Z, got "
            "\"tomorrow\"\n"},
        {JOB_HEAD "  command: [x]\n  startAfter: 2026-01-02T00:00:00Z\n"
                  "  deadline: 2026-01-01T00:00:00Z\n",
            "t.yaml:7: spec.deadline: expected a time after startAfter\n"},
        {JOB_HEAD "  command: [x]\n  gang: {size: 5000}\n",
            "t.yaml:6: spec.gang.size: expected a whole number from 1 to 4096, got 5000\n"},
        {JOB_HEAD "  command: [x]\n  gang:\n    size: 4\n    min: 5\n    max: 3\n",
            "t.yaml:8: spec.gang.min: expected at most size, 4, got 5\n"
            "t.yaml:9: spec.gang.max: expected at least size, 4, got 3\n"},
        {JOB_HEAD "  command: [x]\n  shrinkOnNodeLoss: true\n",
            "t.yaml:6: spec.shrinkOnNodeLoss: needs a gang.min below gang.size\n"},
        {JOB_HEAD "  command: [x]\n  env: {RANK: \"1\", MUSTER_X: \"\", 1x: y}\n",
            "t.yaml:6: spec.env.RANK: RANK is set by muster\n"
            "t.yaml:6: spec.env.MUSTER_X: MUSTER_X is set by muster\n"
            "t.yaml:6: spec.env.1x: expected the key to be a variable name of letters, digits and "
            "_, "
            "got \"1x\"\n"},
        {JOB_HEAD "  command: [x]\n  secrets:\n  - {name: a}\n  - {name: b, env: X, file: y}\n",
            "t.yaml:7: spec.secrets[0]: expected either env or file, got neither\n"
            "t.yaml:8: spec.secrets[1]: expected either env or file, got both\n"},
        {JOB_HEAD "  command: [x]\n  env: {A: b}\n  secrets: [{name: a, env: A}]\n",
            "t.yaml:7: spec.secrets[0].env: is set twice\n"},
        {JOB_HEAD "  command: [x]\n  secrets: [{name: a, file: ../x}]\n",
            "t.yaml:6: spec.secrets[0].file: expected a file name of letters, digits, -, _ and ., "
            "got "
            "\"../x\"\n"},
        {JOB_HEAD "  command: [x]\n  dependsOn: [{job: x, condition: succeded}, 3, a]\n",
            "t.yaml:6: spec.dependsOn[0].condition: expected one of succeeded, ended, got "
            "\"succeded\"; did you mean \"succeeded\"?\n"
            "t.yaml:6: spec.dependsOn[1]: expected a map or text, got 3\n"},
        {JOB_HEAD "  command: [x]\n  dependsOn: [x, a, x]\n",
            "t.yaml:6: spec.dependsOn[2]: dependsOn[0] is the same job\n"},
        {JOB_HEAD "  command: [x]\n  dependsOn: [a]\n",
            "t.yaml:6: spec.dependsOn[0]: a job cannot wait for itself\n"},
        {JOB_HEAD "  command: [x]\n  array: {count: 3, parallel: 4}\n",
            "t.yaml:6: spec.array.parallel: expected at most count, 3, got 4\n"},
        {JOB_HEAD "  command: [x]\n  retries: {backoff: 1h, backoffMax: 1m}\n",
            "t.yaml:6: spec.retries.backoffMax: expected at least as long as backoff\n"},
        {JOB_HEAD "  command: [x]\n  retries: 3\n",
            "t.yaml:6: spec.retries: expected a map, got 3\n"},
        {JOB_HEAD "  command: [x]\n  placement: {exclusive: true, near: {a: b}}\n",
            "t.yaml:6: spec.placement.near: a job with nodes of its own cannot be near others\n"},
        {JOB_HEAD "  command: [x]\n  placement: {require: [{key: a}, {key: b, operator: exists, "
                  "values: [x]}]}\n",
            "t.yaml:6: spec.placement.require[0].values: expected at least 1 item with this "
            "operator, "
            "got 0\n"
            "t.yaml:6: spec.placement.require[1].values: expected none with this operator\n"},
        {JOB_HEAD "  command: [x]\n  workdir: /tmp\n",
            "t.yaml:6: spec.workdir: expected a digest, sha256: and 64 hex digits, got \"/tmp\"\n"},
        {JOB_HEAD "  command: [x]\n  class: experment\n",
            "t.yaml:6: spec.class: there is no class \"experment\"\n"},
        {POOL_HEAD "  engine: local\n",
            "t.yaml:4: spec.nodes: a local pool has at least one node\n"},
        {POOL_HEAD
            "  nodes:\n  - {name: a, count: 2}\n  - {name: a-1}\n  - {name: a}\n  - {name: a}\n",
            "t.yaml:7: spec.nodes[1].name: nodes[0] already has a node of this name\n"
            "t.yaml:9: spec.nodes[3].name: nodes[2] already has a node of this name\n"},
        {POOL_HEAD "  nodes: [{name: a, accelerators: {type: x, count: 0.5}}]\n",
            "t.yaml:5: spec.nodes[0].accelerators.count: expected a whole number from 1 to 1024, "
            "got "
            "0.5\n"},
        {POOL_HEAD
            "  nodes: [{name: a, count: 10000}, {name: b, count: 10000}, {name: c, count: 10000},"
            "{name: d, count: 10000}, {name: e, count: 10000}, {name: f, count: 10000},"
            "{name: g, count: 5537}]\n",
            "t.yaml:5: spec.nodes: expected at most 65536 nodes in all, got 65537\n"},
        {POOL_HEAD
            "  nodes: [{name: a}]\n  prices: {cpu: free, nodes: {big: -1}, currency: euro}\n",
            "t.yaml:6: spec.prices.currency: expected a currency such as EUR, got \"euro\"\n"
            "t.yaml:6: spec.prices.nodes.big: expected a number from 0 to 1000000, got -1\n"
            "t.yaml:6: spec.prices.cpu: expected a number from 0 to 1000000, got \"free\"\n"},
        {TEAM_HEAD "  quota: {memory: {limit: \"3\\ax\"}, cpu: {guarantee: 4, limit: 2}}\n",
            "t.yaml:5: spec.quota.memory.limit: expected a size such as 512Mi or 16Gi, got "
            "\"3\\u0007x\"\n"
            "t.yaml:5: spec.quota.cpu.guarantee: is above the limit of 2\n"},
        {TEAM_HEAD "  uid: 0\n",
            "t.yaml:5: spec.uid: expected a whole number from 1000 to 4294967293, got 0\n"},
        {TEAM_HEAD "  members: [{user: ada, role: boss}, {user: bob}]\n",
            "t.yaml:5: spec.members[0].role: expected one of viewer, member, approver, admin, got "
            "\"boss\"\n"
            "t.yaml:5: spec.members[1].role: required, but not given\n"},
        {TEAM_HEAD "  members: [{user: ada, role: admin}, {user: ada, role: viewer}]\n",
            "t.yaml:5: spec.members[1].user: members[0] is the same user\n"},
        {CLASS_HEAD "  template: {gang: {size: 0}, priorty: 3}\n",
            "t.yaml:5: spec.template.priorty: unknown field; did you mean \"priority\"?\n"
            "t.yaml:5: spec.template.gang.size: expected a whole number from 1 to 4096, got 0\n"},
        {CLASS_HEAD "  template: {class: x}\n",
            "t.yaml:5: spec.template.class: a class is not built on another class\n"},
        {"[x]", "t.yaml:1: expected a manifest, a map, got a list\n"},
        {"metadata: {}\n", "t.yaml:1: kind: required, but not given\n"},
        {"kind: Jub\n",
            "t.yaml:1: kind: expected one of Pool, Team, Class, Job, Dataset, Model, Runtime, "
            "Service, HorizontalPodAutoscaler, got \"Jub\"; did you mean \"Job\"?\n"},
        {"kind: pool\nmetadata: {name: p}\nspec: {nodes: [{name: a}]}\n",
            "t.yaml:1: apiVersion: required, but not given\n"
            "t.yaml:1: kind: expected Pool, got \"pool\"\n"},
        {"apiVersion: muster/v2\nkind: Team\nmetadata: {name: Vision Team}\n",
            "t.yaml:1: apiVersion: expected muster/v1, got \"muster/v2\"\n"
            "t.yaml:3: metadata.name: expected a name of lower-case letters, digits, - and ., got "
            "\"Vision Team\"\n"},
        {"apiVersion: muster/v1\nkind: Team\nmetadata: {name: t, team: x, labels: {a b: c, d: "
         "3}}\n",
            "t.yaml:3: metadata.team: unknown field\n"
            "t.yaml:3: metadata.labels[\"a b\"]: expected the key to be a name of letters, digits, "
            "-, "
            "_, . and /, got \"a b\"\n"
            "t.yaml:3: metadata.labels.d: expected text, got 3; in quotes it is text: \"3\"\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(examples); i++)
        assert_errors(examples[i].text, examples[i].expected);
}

static void all_errors_come_at_once(void **state)
{
    (void)state;
    assert_errors("kind: Job\n"
                  "metadata:\n"
                  "  name: Train\n"
                  "spec:\n"
                  "  comand: [python3]\n"
                  "  gang: {size: none}\n"
                  "  resources:\n"
                  "    gpu: two\n"
                  "    memory: lots\n"
                  "  hold: 1\n",
        "t.yaml:1: apiVersion: required, but not given\n"
        "t.yaml:2: metadata.team: required, but not given\n"
        "t.yaml:3: metadata.name: expected a name of lower-case letters, digits, - and ., got "
        "\"Train\"\n"
        "t.yaml:4: spec.command: required, but not given\n"
        "t.yaml:5: spec.comand: unknown field; did you mean \"command\"?\n"
        "t.yaml:6: spec.gang.size: expected a whole number from 1 to 4096, got \"none\"\n"
        "t.yaml:8: spec.resources.gpu: unknown field; did you mean \"accelerator\"?\n"
        "t.yaml:9: spec.resources.memory: expected a size from 1Mi to 16Ti such as 512Mi or 16Gi, "
        "got "
        "\"lots\"\n"
        "t.yaml:10: spec.hold: expected true or false, got 1\n");
}

static void errors_are_bounded(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    SCOPED(strbuf_scope) struct strbuf text = {0};
    strbuf_puts(&text, JOB_HEAD "  command: [x]\n");
    for (int i = 0; i < 250; i++)
        strbuf_printf(&text, "  x%d: 1\n", i);
    struct field_errors errors = {0};
    struct manifest manifest;
    assert_int_equal(manifest_decode(arena, parse(arena, text.text), NULL, &manifest, &errors), -1);
    assert_int_equal(errors.count, FIELD_ERRORS_MAX);
    assert_int_equal(errors.left_out, 150);
    struct error err;
    assert_int_equal(field_errors_summary(&errors, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    assert_string_equal(err.text, "spec.x0: unknown field (and 249 more errors)");
    const struct doc *doc = field_errors_doc(&errors, arena);
    assert_int_equal(doc->count, FIELD_ERRORS_MAX);
    assert_string_equal(doc_get_string(doc->first, "path"), "spec.x0");
    assert_int_equal(doc_get_int(doc->first, "line", 0), 6);
}

static void sizes_of_lists_and_texts_are_bounded(void **state)
{
    (void)state;
    SCOPED(strbuf_scope) struct strbuf text = {0};
    strbuf_puts(&text, JOB_HEAD "  command: [");
    for (int i = 0; i < 257; i++)
        strbuf_puts(&text, "x,");
    strbuf_puts(&text, "]\n");
    assert_errors(text.text, "t.yaml:5: spec.command: expected at most 256 items, got 257\n");
    strbuf_clear(&text);
    strbuf_puts(&text, JOB_HEAD "  command:\n");
    for (int i = 0; i < 3; i++)
        strbuf_printf(&text, "  - \"%030000d\"\n", i);
    assert_errors(
        text.text, "t.yaml:5: spec.command: expected at most 65536 bytes in all, got 90003\n");
    strbuf_clear(&text);
    strbuf_printf(&text, JOB_HEAD "  command: [\"%040000d\"]\n", 1);
    assert_errors(
        text.text, "t.yaml:5: spec.command[0]: expected at most 32768 bytes, got 40000\n");
    strbuf_clear(&text);
    strbuf_printf(&text, "kind: Team\napiVersion: muster/v1\nmetadata: {name: n%063d}\n", 1);
    assert_errors(text.text, "t.yaml:3: metadata.name: expected at most 63 bytes, got 64\n");
}

static void a_class_is_laid_under_its_jobs(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct manifest manifest = decode(arena, JOB_HEAD "  class: production-training\n"
                                                      "  command: [x]\n"
                                                      "  priority: low\n"
                                                      "  retries: {limit: 9}\n"
                                                      "  checkpoint: null\n");
    const struct job *job = &manifest.job;
    assert_string_equal(job->class_name, "production-training");
    assert_int_equal(job->priority, PRIORITY_LOW);
    assert_int_equal(job->retries.limit, 9);
    assert_int_equal(job->retries.backoff_ms, 30000);
    assert_int_equal(job->grace_ms, 120000);
    assert_int_equal(job->checkpoint.interval_ms, 0);
    /* Stored, it stays what it was, whatever becomes of the class. */
    struct field_errors errors = {0};
    struct manifest again;
    assert_int_equal(
        manifest_decode(arena, manifest_encode(arena, &manifest), NULL, &again, &errors), 0);
    assert_true(manifest_equal(&manifest, &again));
}

static void a_class_keeps_no_lines_of_its_own(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct doc *classes = doc_list(arena);
    doc_append(classes, doc_copy(arena, parse(arena, CLASS_HEAD "  template: {gang: {min: 3}}\n")));
    struct class_lookup lookup = class_lookup_in(classes);
    struct field_errors errors = {0};
    struct manifest manifest;
    const struct doc *doc = parse(arena, JOB_HEAD "  class: c\n  command: [x]\n");
    assert_int_equal(manifest_decode(arena, doc, &lookup, &manifest, &errors), -1);
    assert_int_equal(errors.count, 1);
    assert_string_equal(errors.items[0].path, "spec.gang.min");
    assert_int_equal(errors.items[0].line, 0);
    SCOPED(strbuf_scope) struct strbuf out = {0};
    field_errors_write(&errors, NULL, &out);
    assert_string_equal(out.text, "spec.gang.min: expected at most size, 1, got 3\n");
}

static void the_built_in_classes_are_sound(void **state)
{
    (void)state;
    static const char *const names[] = {"experiment", "production-training", "tuning",
        "batch-scoring", "real-time-inference", "data-preparation"};
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct doc *list = spec_builtin_classes_doc(arena);
    const struct doc *doc = list->first;
    for (size_t i = 0; i < ARRAY_LEN(names); i++, doc = doc->next) {
        struct field_errors errors = {0};
        struct manifest manifest;
        assert_int_equal(manifest_decode(arena, doc, NULL, &manifest, &errors), 0);
        assert_int_equal(manifest.kind, KIND_CLASS);
        assert_string_equal(manifest.class_kind.metadata.name, names[i]);
        assert_non_null(manifest.class_kind.description);
        SCOPED(strbuf_scope) struct strbuf text = {0};
        strbuf_printf(&text, JOB_HEAD "  class: %s\n  command: [x]\n", names[i]);
        struct manifest job = decode(arena, text.text);
        bool serving = strcmp(names[i], "real-time-inference") == 0;
        assert_int_equal(job.job.service, serving);
        assert_int_equal(job.job.preemptible, !serving);
    }
    assert_null(doc);
}

static void a_status_is_ignored(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct manifest with = decode(arena, JOB_HEAD "  command: [x]\nstatus: {state: running}\n");
    struct manifest without = decode(arena, JOB_HEAD "  command: [x]\n");
    assert_true(manifest_equal(&with, &without));
}

static void immutable_fields_cannot_change(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    SCOPED(strbuf_scope) struct strbuf out = {0};
    struct field_errors errors = {0};
    struct manifest before = decode(arena, JOB_HEAD "  command: [x]\n");
    struct manifest after = decode(arena, JOB_HEAD "  command: [x, y]\n  gang: {size: 2}\n");
    assert_int_equal(manifest_check_update(arena, &before, &before, &errors), 0);
    assert_int_equal(manifest_check_update(arena, &before, &after, &errors), -1);
    field_errors_write(&errors, NULL, &out);
    assert_string_equal(out.text,
        "spec.command: cannot be changed: delete the object and make it again\n"
        "spec.gang.size: cannot be changed: delete the object and make it again\n"
        "spec.network: cannot be changed: delete the object and make it again\n");
    before = decode(arena, TEAM_HEAD "  weight: 1\n");
    after = decode(arena, TEAM_HEAD "  weight: 2\n");
    assert_int_equal(manifest_check_update(arena, &before, &after, &errors), 0);
    after = decode(arena, TEAM_HEAD "  uid: 2000\n");
    assert_int_equal(manifest_check_update(arena, &before, &after, &errors), -1);
}

static void differences_are_listed_by_path(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    SCOPED(strbuf_scope) struct strbuf out = {0};
    const struct doc *before =
        parse(arena, "a: 1\nb: [x, {c: 1}]\nd: {\"e.f\": true}\ng: 1\nsame: [1]\n");
    const struct doc *after =
        parse(arena, "same: [1]\na: 2\nb: [x, {c: 2}, y]\nd: {\"e.f\": {}}\nh: text\n");
    struct doc_changes changes = doc_diff(arena, before, after);
    doc_changes_write(&changes, &out);
    assert_string_equal(out.text, "~ a: 1 -> 2\n"
                                  "~ b[1].c: 1 -> 2\n"
                                  "+ b[2]: \"y\"\n"
                                  "~ d[\"e.f\"]: true -> {}\n"
                                  "- g: 1\n"
                                  "+ h: \"text\"\n");
    assert_int_equal(doc_diff(arena, before, before).count, 0);
    assert_int_equal(doc_diff(arena, NULL, after).count, 1);
    assert_int_equal(doc_diff(arena, NULL, NULL).count, 0);
}

static void kinds_are_found_by_any_name(void **state)
{
    (void)state;
    enum kind kind = KIND_COUNT;
    struct error err = {0};
    assert_int_equal(kind_find("jobs", &kind, &err), 0);
    assert_int_equal(kind, KIND_JOB);
    assert_int_equal(kind_find("Class", &kind, &err), 0);
    assert_int_equal(kind, KIND_CLASS);
    assert_int_equal(kind_find("teems", &kind, &err), -1);
    assert_int_equal(kind, KIND_CLASS);
    assert_string_equal(err.text,
        "expected one of Pool, Team, Class, Job, Dataset, Model, Runtime, "
        "Service, HorizontalPodAutoscaler, got \"teems\"; did you mean \"Team\"?");
    assert_string_equal(priority_name(800), "high");
    assert_null(priority_name(801));
    assert_true(name_valid("a.b-1"));
    assert_false(name_valid("-a") || name_valid("a-") || name_valid("") || name_valid("A"));
}

static void docs_kinds_md_is_up_to_date(void **state)
{
    (void)state;
    SCOPED(strbuf_scope) struct strbuf out = {0};
    SCOPED(mem_scope) char *text = NULL;
    size_t size;
    struct error err = {0};
    spec_write_markdown(&out);
    if (getenv("MUSTER_WRITE_DOCS"))
        assert_int_equal(file_write(KINDS_MD, out.text, out.length, 0644, &err), 0);
    if (file_read(KINDS_MD, 1 << 20, &text, &size, &err) < 0)
        fail_msg("%s", err.text);
    if (strcmp(text, out.text) != 0)
        fail_msg(
            "docs/kinds.md is not what the tables say: run this test with MUSTER_WRITE_DOCS=1");
}

/* Every $ref in a schema leads somewhere. */
static void check_references(
    const struct doc *doc, const char *prefix, const struct doc *components)
{
    for (const struct doc *item = doc->first; item; item = item->next) {
        if (item->key && strcmp(item->key, "$ref") == 0) {
            assert_int_equal(strncmp(item->text, prefix, strlen(prefix)), 0);
            assert_non_null(doc_get(components, item->text + strlen(prefix)));
        }
        check_references(item, prefix, components);
    }
}

static void schemas_are_whole(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct doc *schema = spec_json_schema(arena);
    check_references(schema, "#/$defs/", doc_get(schema, "$defs"));
    struct doc *components = doc_map(arena);
    spec_openapi_components(arena, components);
    check_references(components, "#/components/schemas/", components);
    assert_non_null(doc_get(components, "Job"));
    assert_non_null(doc_get(components, "JobSpecPartial"));
    const struct doc *size = doc_find(components, "Gang.properties.size");
    assert_int_equal(doc_get_int(size, "maximum", 0), 4096);
    SCOPED(strbuf_scope) struct strbuf out = {0};
    spec_write_json_schema(&out);
    assert_non_null(doc_parse_json(arena, out.text, out.length, out.length, NULL));
    strbuf_clear(&out);
    spec_write_openapi_components(&out);
    assert_non_null(doc_parse_json(arena, out.text, out.length, out.length, NULL));
}

static void completion_knows_every_path(void **state)
{
    (void)state;
    SCOPED(strbuf_scope) struct strbuf out = {0};
    spec_write_paths(KIND_JOB, &out);
    assert_non_null(strstr(out.text, "spec.network\tnone gang host\n"));
    assert_non_null(strstr(out.text, "spec.dependsOn[].condition\tsucceeded ended\n"));
    assert_non_null(strstr(out.text, "metadata.labels.*\t\n"));
    strbuf_clear(&out);
    spec_write_paths(KIND_TEAM, &out);
    assert_non_null(strstr(out.text, "spec.quota.*.guarantee\t\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_has_sensible_defaults),
        cmocka_unit_test(a_whole_job_is_read),
        cmocka_unit_test(a_pool_and_a_team_are_read),
        cmocka_unit_test(each_error_says_what_was_expected_and_what_came),
        cmocka_unit_test(all_errors_come_at_once),
        cmocka_unit_test(errors_are_bounded),
        cmocka_unit_test(sizes_of_lists_and_texts_are_bounded),
        cmocka_unit_test(a_class_is_laid_under_its_jobs),
        cmocka_unit_test(a_class_keeps_no_lines_of_its_own),
        cmocka_unit_test(the_built_in_classes_are_sound),
        cmocka_unit_test(a_status_is_ignored),
        cmocka_unit_test(immutable_fields_cannot_change),
        cmocka_unit_test(differences_are_listed_by_path),
        cmocka_unit_test(kinds_are_found_by_any_name),
        cmocka_unit_test(docs_kinds_md_is_up_to_date),
        cmocka_unit_test(schemas_are_whole),
        cmocka_unit_test(completion_knows_every_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
