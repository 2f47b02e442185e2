/* muster describe: one thing as people want to know it.
 *
 * Each kind is a list of sections, each section lines or a table by paths into the document; what
 * the document does not have is not shown. */
#include "base/clock.h"
#include "base/memory.h"
#include "cli/api.h"
#include "cli/job.h"
#include "cli/promotion.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "cli/view.h"

#include <string.h>

struct section {
    const char *title;
    const char *path;                  /* of the list of a table; NULL: lines about the whole */
    const struct view_column *columns; /* of the table, or the lines */
};

static const struct view_column job_lines[] = {
    {"Name", "metadata.name"},
    {"Team", "metadata.team"},
    {"Id", "status.id"},
    {"Labels", "metadata.labels", VIEW_LIST},
    {"State", "status.state", VIEW_STATE},
    {"Reason", "status.reason"},
    {"Waits because", "status.why"},
    {"Exit status", "status.exitStatus"},
    {"Signal", "status.signal"},
    {"Class", "spec.class"},
    {"Command", "spec.command", VIEW_COMMAND},
    {"Elements", "status.elements"},
    {"Of them", "status.elementStates", VIEW_LIST},
    {"Ranks", "status.size"},
    {"Each has", "spec.resources", VIEW_RESOURCES},
    {"Priority", "status.priority|spec.priority"},
    {"Attempts", "status.attempts", VIEW_COUNT},
    {"Preempted", "status.preemptions"},
    {"Retries left", "status.retriesLeft"},
    {"Submitted", "status.submitted", VIEW_TIME},
    {"Not before", "status.notBefore", VIEW_TIME},
    {"Deadline", "status.deadline", VIEW_TIME},
    {"Started", "status.started", VIEW_TIME},
    {"Checkpoint", "status.checkpoint", VIEW_TIME},
    {"Ended", "status.ended", VIEW_TIME},
    {"Cost so far", "status.cost"},
    {"Of it wasted", "status.wasted"},
    {"Outputs", "status.outputs.state", VIEW_STATE},
    {"Because", "status.outputs.text"},
    {NULL},
};

static const struct view_column output_columns[] = {
    {"OUTPUT", "name"},
    {"KIND", "kind"},
    {"NAME", "artifact"},
    {"VERSION", "version", .right = true},
    {"FILES", "files", .right = true},
    {"SIZE", "bytes", VIEW_BYTES, .right = true},
    {"NOT TAKEN IN BECAUSE", "error"},
    {NULL},
};

static const struct view_column attempt_columns[] = {
    {"NUMBER", "number", .right = true},
    {"STATE", "state", VIEW_STATE},
    {"REASON", "reason|stopping"},
    {"EXIT", "exitStatus|signal", .right = true},
    {"RANKS", "size", .right = true},
    {"STARTED", "started", VIEW_TIME},
    {"ENDED", "ended", VIEW_TIME},
    {"CHECKPOINT", "checkpoint", VIEW_TIME},
    {"NODES", "placements", VIEW_LIST},
    {"SAYS", "detail"},
    {NULL},
};

static const struct view_column epoch_columns[] = {
    {"EPOCH", "epoch", .right = true},
    {"ATTEMPT", "attempt", .right = true},
    {"AT", "at", VIEW_TIME},
    {"TOOK", "milliseconds", VIEW_MILLISECONDS, .right = true},
    {"COST", "cost", .right = true},
    {"REPORTED", "data", VIEW_LIST},
    {NULL},
};

static const struct section job_sections[] = {
    {NULL, NULL, job_lines},
    {"Attempts", "status.attemptList", attempt_columns},
    {"Outputs", "status.outputs.outputs", output_columns},
    {"Progress", "progress.items", epoch_columns},
    {NULL},
};

static const struct view_column pool_lines[] = {
    {"Name", "metadata.name"},
    {"Description", "spec.description"},
    {"Engine", "spec.engine", .fallback = "local"},
    {"Jurisdiction", "spec.jurisdiction"},
    {"Spot", "spec.spot"},
    {"Currency", "spec.prices.currency"},
    {"Node prices an hour", "spec.prices.nodes", VIEW_LIST},
    {"CPU an hour", "spec.prices.cpu"},
    {"GiB of memory an hour", "spec.prices.memoryGiB"},
    {"Accelerators an hour", "spec.prices.accelerators", VIEW_LIST},
    {NULL},
};

static const struct view_column pool_node_columns[] = {
    {"NODE", "name"},
    {"STATE", "state", VIEW_STATE},
    {"CORDONED", "cordoned"},
    {"HELD", "held", VIEW_RESOURCES},
    {"CAPACITY", "capacity", VIEW_RESOURCES},
    {NULL},
};

static const struct section pool_sections[] = {
    {NULL, NULL, pool_lines},
    {"Nodes", "status.nodes", pool_node_columns},
    {NULL},
};

static const struct view_column team_lines[] = {
    {"Name", "metadata.name"},
    {"Description", "spec.description"},
    {"Parent", "spec.parent"},
    {"Weight", "spec.weight"},
    {"Borrows", "spec.borrow"},
    {"Live jobs", "status.liveJobs"},
    {"Required labels", "spec.requiredLabels", VIEW_LIST},
    {NULL},
};

static const struct view_column member_columns[] = {
    {"USER", "user"},
    {"ROLE", "role"},
    {NULL},
};

static const struct section team_sections[] = {
    {NULL, NULL, team_lines},
    {"Members", "spec.members", member_columns},
    {NULL},
};

static const struct view_column class_lines[] = {
    {"Name", "metadata.name"},
    {"Description", "spec.description"},
    {"Priority", "spec.template.priority"},
    {"Preemptible", "spec.template.preemptible"},
    {"Retries", "spec.template.retries.limit"},
    {NULL},
};

static const struct section class_sections[] = {{NULL, NULL, class_lines}, {NULL}};

static const struct view_column node_lines[] = {
    {"Pool", "pool"},
    {"Name", "name"},
    {"State", "state", VIEW_STATE},
    {"Cordoned", "cordoned"},
    {"Draining", "draining"},
    {"Type", "type"},
    {"Accelerator", "accelerator"},
    {"Capacity", "capacity", VIEW_RESOURCES},
    {"Held", "held", VIEW_RESOURCES},
    {"Ranks", "ranks"},
    {NULL},
};

static const struct view_column fact_columns[] = {
    {"PROMISE", "name"},
    {"ENFORCED", "enforced"},
    {"HOW", "text"},
    {NULL},
};

static const struct section node_sections[] = {
    {NULL, NULL, node_lines},
    {"Isolation", "enforcement", fact_columns},
    {NULL},
};

static const struct view_column dataset_lines[] = {
    {"Name", "metadata.name"},
    {"Team", "metadata.team"},
    {"Labels", "metadata.labels", VIEW_LIST},
    {"Description", "spec.description"},
    {"Owner", "spec.owner"},
    {"Jurisdiction", "spec.jurisdiction"},
    {"Consent", "spec.consent"},
    {"Versions kept", "spec.retention.versions"},
    {"And those younger than", "spec.retention.age"},
    {NULL},
};

static const struct section dataset_sections[] = {{NULL, NULL, dataset_lines}, {NULL}};

static const struct view_column model_lines[] = {
    {"Name", "metadata.name"},
    {"Team", "metadata.team"},
    {"Labels", "metadata.labels", VIEW_LIST},
    {"Description", "spec.description"},
    {"Runtime", "spec.runtime"},
    {"Owner of its data", "spec.owners.dataset"},
    {"Approves", "spec.owners.approval"},
    {"Pays", "spec.owners.bill"},
    {"On call", "spec.owners.onCall"},
    {"Versions kept", "spec.retention.versions"},
    {"And those younger than", "spec.retention.age"},
    {NULL},
};

static const struct view_column gate_columns[] = {
    {"STAGE", "stage"},
    {"METRICS", "metrics", VIEW_LIST},
    {"EVALUATED ON", "evaluation.dataset"},
    {"OWNERS", "owners", VIEW_LIST},
    {"CONSENT", "consent", VIEW_LIST},
    {"APPROVALS", "approvals", .right = true, .fallback = "1"},
    {NULL},
};

static const struct view_column stage_columns[] = {
    {"STAGE", "stage"},
    {"VERSION", "version", .right = true},
    {"SINCE", "stageSince", VIEW_TIME},
    {"BY", "stageBy"},
    {NULL},
};

static const struct section model_sections[] = {{NULL, NULL, model_lines},
    {"Gates", "spec.gates", gate_columns}, {"Stages", "stages", stage_columns},
    {"Promotions", "promotions", promotion_columns}, {NULL}};

static const struct view_column runtime_lines[] = {
    {"Name", "metadata.name"},
    {"Description", "spec.description"},
    {"Command", "spec.command", VIEW_COMMAND},
    {"Scores with", "spec.scoreCommand", VIEW_COMMAND},
    {"Listens on", "spec.listen", .fallback = "socket"},
    {"Port", "spec.port"},
    {"Protocols", "spec.protocols", VIEW_LIST},
    {"Ready when", "spec.readiness.path"},
    {"Alive when", "spec.liveness.path"},
    {NULL},
};

static const struct view_column sign_columns[] = {
    {"CAUSE", "cause"},
    {"EXIT", "exitStatus", .right = true},
    {"LOG", "log"},
    {NULL},
};

static const struct section runtime_sections[] = {
    {NULL, NULL, runtime_lines}, {"Failures", "spec.failures", sign_columns}, {NULL}};

static const struct view_column service_lines[] = {
    {"Name", "metadata.name"},
    {"Team", "metadata.team"},
    {"Labels", "metadata.labels", VIEW_LIST},
    {"Description", "spec.description"},
    {"State", "status.state", VIEW_STATE},
    {"Because", "status.why"},
    {"Route", "status.route|spec.route|metadata.name"},
    {"Access", "spec.gateway.access", .fallback = "team"},
    {"Model", "spec.model"},
    {"Version", "status.version"},
    {"Runtime", "status.runtime|spec.runtime"},
    {"Replicas wanted", "status.wanted|spec.replicas", .fallback = "1"},
    {"Replicas ready", "status.ready"},
    {"Revision", "status.revision"},
    {"Rollout", "status.rollout"},
    {"Autoscale", "status.autoscale.words", VIEW_SENTENCES},
    {"Not made because", "status.refused"},
    {"Quiet", "status.quiet.why"},
    {"Each has", "status.resources|spec.resources", VIEW_RESOURCES},
    {"Gateway", "status.gateway"},
    {NULL},
};

static const struct view_column hpa_lines[] = {
    {"Name", "metadata.name"},
    {"Namespace", "metadata.namespace", .fallback = "default"},
    {"Labels", "metadata.labels", VIEW_LIST},
    {"Scales", "spec.scaleTargetRef.name"},
    {"At least", "spec.minReplicas", .fallback = "1"},
    {"At most", "spec.maxReplicas"},
    {"Now", "status.words", VIEW_SENTENCES},
    {NULL},
};

static const struct section hpa_sections[] = {{NULL, NULL, hpa_lines}, {NULL}};

static const struct view_column replica_columns[] = {
    {"REPLICA", "name"},
    {"REVISION", "revision", .right = true},
    {"VERSION", "version", .right = true},
    {"ARM", "arm", .fallback = ""},
    {"STATE", "state", VIEW_STATE},
    {"RESTARTS", "restarts", .right = true},
    {"SINCE", "since", VIEW_AGE, .right = true},
    {"NODE", "node"},
    {"LAST END", "lastEnd"},
    {"SAYS", "why"},
    {NULL},
};

static const struct section service_sections[] = {
    {NULL, NULL, service_lines}, {"Replicas", "status.replicas", replica_columns}, {NULL}};

static const struct {
    const char *view;
    const struct section *sections;
} kinds[] = {{"jobs", job_sections}, {"pools", pool_sections}, {"teams", team_sections},
    {"classes", class_sections}, {"nodes", node_sections}, {"datasets", dataset_sections},
    {"models", model_sections}, {"runtimes", runtime_sections}, {"services", service_sections},
    {"horizontalpodautoscalers", hpa_sections}};

/* "Name:     train", values aligned. */
static void write_lines(const struct cli *cli, const struct view_column *lines,
    const struct doc *doc, struct strbuf *out)
{
    size_t width = 0;
    int64_t now_ms = clock_wall_ms();
    for (const struct view_column *line = lines; line->title; line++) {
        size_t title = text_width(line->title);
        width = title > width ? title : width;
    }
    for (const struct view_column *line = lines; line->title; line++) {
        const char *text = view_value(cli->arena, view_at(doc, line->path), line->format, now_ms);
        text = text ? text : line->fallback;
        if (!text || !*text)
            continue;
        strbuf_printf(out, "%s:%*s", line->title, (int)(width - text_width(line->title)) + 2, "");
        const char *colour = line->format == VIEW_STATE ? view_state_colour(text) : NULL;
        view_append_line(cli, out, "", text, colour);
    }
}

static void write_sections(const struct cli *cli, const struct section *sections,
    const struct doc *doc, struct strbuf *out)
{
    for (const struct section *section = sections; section->columns; section++) {
        if (!section->path) {
            write_lines(cli, section->columns, doc, out);
            continue;
        }
        const struct doc *list = view_at(doc, section->path);
        if (!list || list->type != DOC_LIST || list->count == 0)
            continue;
        strbuf_printf(out, "\n%s\n", section->title);
        view_write_table(cli, section->columns, list, false, out);
    }
}

/* A job's progress is a list of its own in the API. */
static const struct doc *with_progress(
    struct cli *cli, struct api *api, const char *target, const struct doc *job)
{
    const struct doc *progress = NULL;
    const char *path = arena_printf(cli->arena, "%s/progress", target);
    if (api_get(api, cli->arena, path, &progress, NULL) < 0 || !progress)
        return job;
    struct doc *whole = doc_copy(cli->arena, job);
    doc_set(cli->arena, whole, "progress", doc_copy(cli->arena, progress));
    return whole;
}

/* Which versions hold the stages, and the promotions that are not decided. */
static const struct doc *with_stages(
    struct cli *cli, struct api *api, const char *target, const struct doc *model)
{
    static const char *const stages[] = {"staging", "production"};
    static const char *const states[] = {"evaluating", "waiting"};
    struct arena *arena = cli->arena;
    struct doc *whole = doc_copy(arena, model);
    struct doc *held = doc_set(arena, whole, "stages", doc_list(arena));
    struct doc *open = doc_set(arena, whole, "promotions", doc_list(arena));
    const struct doc *one = NULL;
    for (size_t i = 0; i < ARRAY_LEN(stages); i++) {
        const char *path = arena_printf(arena, "%s/versions/%s", target, stages[i]);
        if (api_get(api, arena, path, &one, NULL) == 0 && one)
            doc_append(held, doc_copy(arena, one));
    }
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        const char *path = arena_printf(arena, "/v1/promotions?team=%s&model=%s&state=%s",
            view_text(model, "metadata.team"), view_text(model, "metadata.name"), states[i]);
        if (api_list(api, arena, path, &one, NULL) < 0 || !one)
            continue;
        for (const struct doc *item = one->first; item; item = item->next)
            doc_append(open, doc_copy(arena, item));
    }
    return whole;
}

static int describe(struct cli *cli, struct api *api, const struct view *view, const char *name,
    struct strbuf *out, struct error *err)
{
    bool job = !strcmp(view->name, "jobs");
    struct strbuf target = {0};
    job_append_view_target(cli, &target, view, name);
    const struct doc *doc = NULL;
    int failed = api_get(api, cli->arena, target.text, &doc, err);
    if (!failed && job)
        doc = with_progress(cli, api, target.text, doc);
    if (!failed && !strcmp(view->name, "models"))
        doc = with_stages(cli, api, target.text, doc);
    strbuf_finish(&target);
    const char *format = arguments_text(cli->args, "output");
    if (failed || (format && strcmp(format, "table") != 0))
        return failed ? -1 : cli_write_doc(cli, doc, format, err);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (!strcmp(kinds[i].view, view->name))
            write_sections(cli, kinds[i].sections, doc, out);
    }
    return 0;
}

static int run(struct cli *cli, struct error *err)
{
    const struct view *view = view_find(arguments_operand(cli->args, 0), err);
    struct api *api = view ? cli_api(cli, err) : NULL;
    if (!api)
        return -1;
    struct strbuf out = {0};
    int failed = 0;
    for (size_t i = 1; !failed && i < arguments_operand_count(cli->args); i++) {
        if (i > 1)
            strbuf_putc(&out, '\n');
        failed = describe(cli, api, view, arguments_operand(cli->args, i), &out, err);
    }
    if (!failed)
        failed = cli_puts(cli, strbuf_text(&out), err);
    strbuf_finish(&out);
    return failed;
}

static const struct option_spec options[] = {
    JOB_TEAM_OPTION,
    {"output", 'o', OPTION_CHOICE, "FORMAT", "the same as a document", "table|json|yaml"},
    {NULL},
};

const struct verb verb_describe = {
    .name = "describe",
    .operands = "KIND NAME...",
    .summary = "tell what one thing is, does and cost",
    .description =
        "For people: a job with its attempts, where they ran, what it reported and what that cost; "
        "a service with its replicas, and why one failed or waits; a pool with its nodes; a node "
        "with what it enforces and what not. Programs use muster get "
        "-o json.",
    .examples = "muster describe job vision/train\n"
                "muster describe node local/node-1",
    .options = options,
    .scope = VERB_REMOTE,
    .run = run,
};
