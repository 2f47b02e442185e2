/* Deciding about promotions: see promotions.h. Everything here runs within a tick but for composing
 * the evaluation, and whatever can fail comes before the first change. */
#include "server/promotions.h"

#include "core/core.h"
#include "server/catalog.h"
#include "server/context.h"
#include "server/gates.h"
#include "server/identity.h"
#include "server/names.h"
#include "server/promotions_internal.h"
#include "server/services.h"
#include "server/source.h"
#include "server/stages.h"
#include "server/status.h"
#include "server/submit.h"
#include "server/ticker.h"
#include "spec/reference.h"
#include "store/store.h"
#include "wire/doc.h"

#include <inttypes.h>
#include <sodium.h>
#include <string.h>

enum { TEAM_DEPTH_MAX = 64, EVALUATIONS_KEPT = 50 };

/* A stage without a gate: an approver has to agree, and nothing is measured. */
static const struct gate no_gate = {.stage_name = "", .approvals = 1};

/* Everything that a decision rests on, as it is now. */
struct matter {
    const struct doc *model_doc;
    const struct model *model;
    const struct gate *gate;
    struct version version;
    struct version holder;
    bool held; /* there is a holder, another version */
};

static const struct catalog_entry *find_model(
    const struct server *server, const char *team, const char *name, struct error *err)
{
    const struct catalog_entry *entry = catalog_find_in(server->catalog, KIND_MODEL, team, name);
    if (!entry)
        error_set(err, ERR_NOT_FOUND, "there is no model %s/%s", team, name);
    return entry;
}

static enum model_stage stage_of(const char *name)
{
    return strcmp(name, "staging") == 0 ? STAGE_STAGING : STAGE_PRODUCTION;
}

/* Of a promotion's document, or of what is to become one. */
static int find_matter(
    struct tick *tick, const struct doc *promotion, struct matter *ret, struct error *err)
{
    const char *team = doc_get_string(promotion, "team");
    const char *name = doc_get_string(promotion, "model");
    const char *stage = doc_get_string(promotion, "stage");
    int64_t holder;
    const struct catalog_entry *entry = find_model(tick_server(tick), team, name, err);
    if (!entry ||
        versions_in_tick(tick, KIND_MODEL, team, name, doc_get_int(promotion, "version", 0),
            &ret->version, err) < 0 ||
        versions_holder_in_tick(tick, team, name, stage_of(stage), &holder, err) < 0)
        return -1;
    ret->model_doc = entry->doc;
    ret->model = &entry->manifest->model;
    ret->gate = gate_find(ret->model, stage);
    if (!ret->gate)
        ret->gate = &no_gate;
    ret->held = holder > 0 && holder != ret->version.version;
    return ret->held ? versions_in_tick(tick, KIND_MODEL, team, name, holder, &ret->holder, err)
                     : 0;
}

/* Every reason against it; before the evaluation is over, what rests on it does not count. */
static struct doc *find_reasons(
    struct tick *tick, const struct matter *matter, const struct doc *promotion, bool evaluated)
{
    const char *dataset = doc_get_string(promotion, "dataset");
    const struct doc *holder = matter->held ? matter->holder.doc : NULL;
    const struct gate_case what = {.model = matter->model,
        .gate = matter->gate,
        .version = matter->version.doc,
        .holder = holder,
        .evaluation = dataset ? gate_evaluation_of(matter->version.doc, dataset) : NULL,
        .holder_evaluation = dataset && holder ? gate_evaluation_of(holder, dataset) : NULL,
        .evaluated = evaluated};
    struct doc *reasons = gate_refusals(tick_arena(tick), &what);
    if (evaluated && matter->gate->evaluation.dataset && !dataset)
        doc_append(reasons,
            doc_string(tick_arena(tick), "the gate asks for an evaluation since it was asked for: "
                                         "ask for the promotion again"));
    return reasons;
}

/* ---- how it ends ---------------------------------------------------------------------------- */

static void decide(
    struct tick *tick, struct doc *promotion, const char *state, const char *by, const char *action)
{
    struct arena *arena = tick_arena(tick);
    doc_set_string(arena, promotion, "state", state);
    doc_set_string(arena, promotion, "decidedBy", by);
    status_set_time(arena, promotion, "decidedAt", tick_now(tick));
    promotion_store(tick, promotion, action);
}

static void refuse_for(struct tick *tick, struct doc *promotion, struct doc *reasons)
{
    doc_set(tick_arena(tick), promotion, "reasons", reasons);
    decide(tick, promotion, "refused", "gate", "promotion-refuse");
}

static void refuse_for_one(struct tick *tick, struct doc *promotion, const char *reason)
{
    struct doc *reasons = doc_list(tick_arena(tick));
    doc_append(reasons, doc_string(tick_arena(tick), reason));
    refuse_for(tick, promotion, reasons);
}

/* Who moves the stage: the last who approved, or who asked where nobody has to. */
static const char *mover(const struct doc *promotion)
{
    const struct doc *approvals = doc_get(promotion, "approvals");
    const char *by = approvals && approvals->last ? doc_get_string(approvals->last, "by") : NULL;
    return by ? by : doc_get_string(promotion, "askedBy");
}

static void grant(struct tick *tick, struct doc *promotion, const struct matter *matter)
{
    const char *by = mover(promotion);
    if (matter->held)
        stages_put(tick, &matter->holder, STAGE_ARCHIVED, by);
    stages_put(tick, &matter->version, stage_of(doc_get_string(promotion, "stage")), by);
    decide(tick, promotion, "granted", by, "promotion-grant");
    services_follow(tick, matter->version.team, matter->version.name);
}

/* Nothing is against it so far: approvals are waited for, where the gate asks for any. */
static void go_on(
    struct tick *tick, struct doc *promotion, const struct matter *matter, const char *action)
{
    if (matter->gate->approvals == 0) {
        grant(tick, promotion, matter);
        return;
    }
    doc_set_string(tick_arena(tick), promotion, "state", "waiting");
    promotion_store(tick, promotion, action);
}

/* ---- asking --------------------------------------------------------------------------------- */

/* A name that no live job of the team has: the promotion's id ends in what tells it apart. */
static const char *job_name(struct arena *arena, const struct promotion_request *request)
{
    return arena_printf(arena, "evaluate-%.24s-%" PRId64 "-%s", request->model, request->version,
        request->id + strlen(request->id) - 8);
}

/* The model's labels, since the team may demand some of every job, and the promotion's id. */
static struct doc *job_labels(
    struct arena *arena, const struct model *model, const struct promotion_request *request)
{
    struct doc *labels = doc_map(arena);
    for (size_t i = 0; i < model->metadata.labels.count; i++)
        doc_set_string(arena, labels, model->metadata.labels.items[i].key,
            model->metadata.labels.items[i].value);
    doc_set_string(arena, labels, PROMOTION_LABEL, request->id);
    return labels;
}

static void add_input(struct arena *arena, struct doc *inputs, const char *name, const char *kind,
    const char *reference)
{
    struct doc *input = doc_append(inputs, doc_map(arena));
    doc_set_string(arena, input, "name", name);
    doc_set_string(arena, input, kind, reference);
}

/* The Job as somebody would have written it: what the gate says of it is taken over as it stands in
 * the Model, so that the class fills in what it does not say. */
static struct doc *evaluation_doc(struct arena *arena, const struct catalog_entry *model,
    const struct gate *gate, const struct promotion_request *request)
{
    static const char *const taken[] = {"class", "command", "workdir", "resources", "timeLimit"};
    const struct doc *gates = doc_get(doc_get(model->doc, "spec"), "gates");
    const struct doc *evaluation = NULL;
    for (const struct doc *one = gates ? gates->first : NULL; one; one = one->next) {
        const char *stage = doc_get_string(one, "stage");
        if (stage && strcmp(stage, gate->stage_name) == 0)
            evaluation = doc_get(one, "evaluation");
    }
    struct doc *doc = doc_map(arena), *metadata = doc_map(arena), *spec = doc_map(arena);
    doc_set_string(arena, doc, "apiVersion", "muster/v1");
    doc_set_string(arena, doc, "kind", "Job");
    doc_set(arena, doc, "metadata", metadata);
    doc_set(arena, doc, "spec", spec);
    doc_set_string(arena, metadata, "name", job_name(arena, request));
    doc_set_string(arena, metadata, "team", request->team);
    doc_set(arena, metadata, "labels", job_labels(arena, &model->manifest->model, request));
    for (size_t i = 0; i < ARRAY_LEN(taken); i++) {
        const struct doc *value = doc_get(evaluation, taken[i]);
        if (value)
            doc_set(arena, spec, taken[i], doc_copy(arena, value));
    }
    struct doc *inputs = doc_set(arena, spec, "inputs", doc_list(arena));
    add_input(arena, inputs, "model", "model",
        arena_printf(arena, "%s/%s:%" PRId64, request->team, request->model, request->version));
    add_input(arena, inputs, "data", "dataset", gate->evaluation.dataset);
    return doc;
}

static int compose_evaluation(struct server *server, const struct identity *identity,
    struct arena *arena, const struct catalog_entry *model, const struct gate *gate,
    struct promotion_request *request, struct error *err)
{
    struct field_errors *errors = arena_alloc(arena, 1, sizeof *errors);
    struct class_lookup classes = catalog_classes(server->catalog);
    struct manifest *job = &request->evaluation;
    const struct doc *doc = evaluation_doc(arena, model, gate, request);
    if (manifest_decode(arena, doc, &classes, job, errors) < 0 ||
        submit_check(server, identity, arena, job, "", errors) < 0) {
        field_errors_summary(errors, err);
        return error_prefix(err, "the evaluation of the gate cannot be submitted");
    }
    request->dataset = job->job.inputs.items[1].dataset;
    request->has_evaluation = true;
    return 0;
}

int promotion_prepare(struct server *server, const struct identity *identity, struct arena *arena,
    struct promotion_request *request, struct error *err)
{
    char id[JOB_ID_TEXT];
    const struct catalog_entry *model = find_model(server, request->team, request->model, err);
    if (!model)
        return -1;
    /* Milliseconds first, so that ids are in the order of asking; twenty bits tell apart those of
     * one millisecond. */
    uint64_t number = (uint64_t)server_now_ms() << 20 | (randombytes_random() & 0xfffff);
    request->id = arena_strdup(arena, names_id('p', number, id));
    request->model_doc = doc_copy(arena, model->doc);
    const struct gate *gate = gate_find(&model->manifest->model, request->stage);
    if (!gate || !gate->evaluation.dataset)
        return 0;
    return compose_evaluation(server, identity, arena, model, gate, request, err);
}

static struct doc *new_promotion(struct tick *tick, const struct promotion_request *request)
{
    struct arena *arena = tick_arena(tick);
    struct doc *doc = doc_map(arena);
    doc_set_string(arena, doc, "id", request->id);
    doc_set_string(arena, doc, "team", request->team);
    doc_set_string(arena, doc, "model", request->model);
    doc_set_int(arena, doc, "version", request->version);
    doc_set_string(arena, doc, "stage", request->stage);
    doc_set_string(arena, doc, "state", "waiting");
    doc_set_string(arena, doc, "askedBy", tick_actor(tick));
    status_set_time(arena, doc, "askedAt", tick_now(tick));
    doc_set_string(arena, doc, "note", request->note);
    doc_set(arena, doc, "reasons", doc_list(arena));
    doc_set(arena, doc, "approvals", doc_list(arena));
    return doc;
}

static int check_free(struct tick *tick, const struct promotion_request *request,
    const struct matter *matter, struct error *err)
{
    const char *open;
    if (!doc_equal(request->model_doc, matter->model_doc))
        return error_set(err, ERR_CONFLICT, "the model %s/%s changed just now; ask again",
            request->team, request->model);
    if (matter->version.stage == stage_of(request->stage))
        return error_set(err, ERR_CONFLICT, "version %" PRId64 " of %s/%s is in the stage %s",
            request->version, request->team, request->model, request->stage);
    if (promotion_find_open(
            tick, request->team, request->model, request->version, request->stage, &open, err) < 0)
        return -1;
    if (open)
        return error_set(err, ERR_CONFLICT, "the promotion %s of this version to %s is open", open,
            request->stage);
    return 0;
}

static int start_evaluation(struct tick *tick, const struct promotion_request *request,
    struct doc *promotion, struct error *err)
{
    struct arena *arena = tick_arena(tick);
    uint64_t job;
    char id[JOB_ID_TEXT];
    if (submit_apply(tick, &request->evaluation, &job, err) < 0)
        return error_prefix(err, "the evaluation of the gate cannot be submitted");
    doc_set_string(arena, promotion, "state", "evaluating");
    doc_set_string(arena, promotion, "evaluationJob", names_job_id(job, id));
    doc_set_string(arena, promotion, "dataset", request->dataset);
    promotion_store(tick, promotion, "promotion-ask");
    promotions_expect(tick_server(tick)->promotions, job, request->id);
    return 0;
}

int promotion_ask(struct tick *tick, const struct promotion_request *request,
    const struct doc **ret, struct error *err)
{
    struct matter matter;
    struct doc *promotion = new_promotion(tick, request);
    *ret = promotion;
    if (find_matter(tick, promotion, &matter, err) < 0 ||
        check_free(tick, request, &matter, err) < 0)
        return -1;
    struct doc *reasons = find_reasons(tick, &matter, promotion, false);
    if (reasons->count == 0 && request->has_evaluation)
        return start_evaluation(tick, request, promotion, err);
    promotion_store(tick, promotion, "promotion-ask");
    if (reasons->count > 0)
        refuse_for(tick, promotion, reasons);
    else if (matter.gate->approvals == 0)
        grant(tick, promotion, &matter);
    return 0;
}

/* ---- the evaluation's end -------------------------------------------------------------------- */

/* What a version was evaluated with before: a list of its own, bounded, the newest kept. */
static struct doc *earlier_evaluations(struct arena *arena, const struct doc *version)
{
    struct doc *kept = doc_list(arena);
    const struct doc *list = doc_get(version, "evaluations");
    size_t skip = list && list->count >= EVALUATIONS_KEPT ? list->count - EVALUATIONS_KEPT + 1 : 0;
    for (const struct doc *one = list ? list->first : NULL; one; one = one->next) {
        if (skip > 0)
            skip--;
        else
            doc_append(kept, doc_copy(arena, one));
    }
    return kept;
}

/* What the evaluation measured becomes a part of the version. */
static void record_evaluation(
    struct tick *tick, const struct doc *promotion, uint64_t job, struct version *version)
{
    struct arena *arena = tick_arena(tick);
    struct doc *doc = doc_copy(arena, version->doc);
    struct doc *list = doc_set(arena, doc, "evaluations", earlier_evaluations(arena, version->doc));
    struct doc *one = doc_append(list, doc_map(arena));
    doc_set_string(arena, one, "promotion", doc_get_string(promotion, "id"));
    doc_set_string(arena, one, "job", doc_get_string(promotion, "evaluationJob"));
    doc_set_string(arena, one, "dataset", doc_get_string(promotion, "dataset"));
    doc_set(arena, one, "metrics", source_metrics(tick_server(tick), arena, job));
    versions_put(tick, version, doc);
    version->doc = doc;
}

static int settle_success(struct tick *tick, struct doc *promotion, uint64_t job, struct error *err)
{
    struct matter matter;
    struct error why;
    if (find_matter(tick, promotion, &matter, &why) < 0) {
        if (why.code != ERR_NOT_FOUND)
            return error_set(err, why.code, "%s", why.text);
        refuse_for_one(tick, promotion, why.text);
        return 0;
    }
    record_evaluation(tick, promotion, job, &matter.version);
    struct doc *reasons = find_reasons(tick, &matter, promotion, true);
    if (reasons->count == 0)
        go_on(tick, promotion, &matter, "promotion-evaluate");
    else
        refuse_for(tick, promotion, reasons);
    return 0;
}

static const char *failure(struct arena *arena, const struct job_row *row, const char *job)
{
    if (row->state == JOB_CANCELLED)
        return arena_printf(arena, "its evaluation %s was cancelled", job);
    return arena_printf(arena, "its evaluation %s failed: %s%s", job,
        end_reason_names[row->end_reason],
        row->end_reason == END_EXIT ? arena_printf(arena, " with status %d", (int)row->exit_status)
                                    : "");
}

int promotion_settle(struct tick *tick, const char *id, bool *ret_waits, struct error *err)
{
    struct job_row row;
    struct error why;
    struct doc *promotion = promotion_load(tick, id, err);
    if (!promotion)
        return -1;
    if (strcmp(doc_get_string(promotion, "state"), "evaluating") != 0)
        return 0;
    const char *job_id = doc_get_string(promotion, "evaluationJob");
    uint64_t job = job_id ? names_parse_job_id(job_id) : 0;
    if (reader_row(tick_server(tick)->reader, ROW_JOB, job, &row, &why) < 0) {
        if (why.code != ERR_NOT_FOUND)
            return error_set(err, why.code, "%s", why.text);
        refuse_for_one(tick, promotion, "its evaluation was forgotten before it was looked at");
        return 0;
    }
    *ret_waits = !job_state_ended(row.state);
    if (*ret_waits)
        return 0;
    if (row.state == JOB_SUCCEEDED)
        return settle_success(tick, promotion, job, err);
    refuse_for_one(tick, promotion, failure(tick_arena(tick), &row, job_id));
    return 0;
}

/* ---- approving ------------------------------------------------------------------------------- */

static bool is_member(const struct catalog *catalog, const char *team_name, const char *user)
{
    const struct team *team = catalog_team(catalog, team_name);
    for (int depth = 0; team && depth < TEAM_DEPTH_MAX; depth++) {
        for (size_t i = 0; i < team->members.count; i++) {
            if (strcmp(team->members.items[i].user, user) == 0)
                return true;
        }
        team = team->parent ? catalog_team(catalog, team->parent) : NULL;
    }
    return false;
}

/* What somebody's approval counts as. */
static const char *standing(
    const struct server *server, const struct identity *identity, const struct model *model)
{
    if (model->owners.approval && strcmp(model->owners.approval, identity->user) == 0)
        return "owner";
    return identity_role(server->catalog, identity, ROOT_TEAM) >= ROLE_ADMIN ? "administrator"
                                                                             : "approver";
}

/* The person whom the model names has to be among those who approve, or an administrator of all
 * teams in their place: the last approval that is missing is kept for them. */
static int check_owner(const struct server *server, const struct doc *promotion,
    const struct matter *matter, const char *as, struct error *err)
{
    const struct doc *approvals = doc_get(promotion, "approvals");
    const char *owner = matter->model->owners.approval;
    bool by_owner = strcmp(as, "approver") != 0;
    if (!owner || !is_member(server->catalog, matter->version.team, owner))
        return 0;
    for (const struct doc *one = approvals->first; one; one = one->next)
        by_owner = by_owner || strcmp(doc_get_string(one, "as"), "approver") != 0;
    if (by_owner || (int64_t)approvals->count + 1 < matter->gate->approvals)
        return 0;
    return error_set(err, ERR_DENIED,
        "the model %s/%s names %s in spec.owners.approval: the approval that is missing is theirs, "
        "or that of an administrator of the team %s",
        matter->version.team, matter->version.name, owner, ROOT_TEAM);
}

static int check_approver(struct tick *tick, const struct identity *identity,
    const struct doc *promotion, const struct matter *matter, const char *as, struct error *err)
{
    const struct server *server = tick_server(tick);
    const struct team *team = catalog_team(server->catalog, matter->version.team);
    const char *asked_by = doc_get_string(promotion, "askedBy");
    const struct doc *approvals = doc_get(promotion, "approvals");
    if ((!team || team->separate_approval) && strcmp(asked_by, identity->user) == 0)
        return error_set(err, ERR_DENIED,
            "%s asked for this promotion: in the team %s somebody else has to approve it "
            "(spec.separateApproval)",
            asked_by, matter->version.team);
    for (const struct doc *one = approvals->first; one; one = one->next) {
        if (strcmp(doc_get_string(one, "by"), identity->user) == 0)
            return error_set(err, ERR_CONFLICT, "%s has approved it already; %" PRId64 " have to",
                identity->user, matter->gate->approvals);
    }
    return check_owner(server, promotion, matter, as, err);
}

static struct doc *load_open(
    struct tick *tick, const char *id, const char *wanted, struct error *err)
{
    struct doc *promotion = promotion_load(tick, id, err);
    if (!promotion)
        return NULL;
    const char *state = doc_get_string(promotion, "state");
    if (wanted ? strcmp(state, wanted) == 0 : promotion_is_open(promotion))
        return promotion;
    error_set(err, ERR_CONFLICT, "the promotion %s is %s", id, state);
    return NULL;
}

static void add_approval(struct tick *tick, const struct doc *promotion, const char *by,
    const char *as, const char *note)
{
    struct arena *arena = tick_arena(tick);
    struct doc *list = (struct doc *)(uintptr_t)doc_get(promotion, "approvals");
    struct doc *approval = doc_append(list, doc_map(arena));
    doc_set_string(arena, approval, "by", by);
    doc_set_string(arena, approval, "as", as);
    status_set_time(arena, approval, "at", tick_now(tick));
    doc_set_string(arena, approval, "note", note);
}

int promotion_approve(struct tick *tick, const struct identity *identity, const char *id,
    const char *note, const struct doc **ret, struct error *err)
{
    struct matter matter;
    struct doc *promotion = load_open(tick, id, "waiting", err);
    if (!promotion || find_matter(tick, promotion, &matter, err) < 0)
        return -1;
    const char *as = standing(tick_server(tick), identity, matter.model);
    if (check_approver(tick, identity, promotion, &matter, as, err) < 0)
        return -1;
    add_approval(tick, promotion, identity->user, as, note);
    promotion_store(tick, promotion, "promotion-approve");
    *ret = promotion;
    if ((int64_t)doc_get(promotion, "approvals")->count < matter.gate->approvals)
        return 0;
    struct doc *reasons = find_reasons(tick, &matter, promotion, true);
    if (reasons->count == 0)
        grant(tick, promotion, &matter);
    else
        refuse_for(tick, promotion, reasons);
    return 0;
}

/* ---- refusing and withdrawing -----------------------------------------------------------------
 */

/* What an evaluation would still say does not matter any more. One that is ending anyway is left
 * alone, as is one that cannot be cancelled: it only uses what it was given. */
static void cancel_evaluation(struct tick *tick, const struct doc *promotion)
{
    const char *job_id = doc_get_string(promotion, "evaluationJob");
    uint64_t job = job_id ? names_parse_job_id(job_id) : 0;
    struct error ignored;
    if (job && core_job(tick_core(tick), job) &&
        core_job_cancel(tick_core(tick), job, &ignored) < 0)
        return;
}

static void end_by(struct tick *tick, struct doc *promotion, const struct identity *identity,
    const char *note, const char *state, const char *action)
{
    cancel_evaluation(tick, promotion);
    doc_set_string(tick_arena(tick), promotion, "decisionNote", note);
    decide(tick, promotion, state, identity->user, action);
}

int promotion_refuse(struct tick *tick, const struct identity *identity, const char *id,
    const char *note, const struct doc **ret, struct error *err)
{
    struct doc *promotion = load_open(tick, id, NULL, err);
    if (!promotion)
        return -1;
    *ret = promotion;
    end_by(tick, promotion, identity, note, "refused", "promotion-refuse");
    return 0;
}

int promotion_withdraw(struct tick *tick, const struct identity *identity, const char *id,
    const char *note, const struct doc **ret, struct error *err)
{
    struct doc *promotion = load_open(tick, id, NULL, err);
    if (!promotion)
        return -1;
    const char *team = doc_get_string(promotion, "team");
    if (strcmp(doc_get_string(promotion, "askedBy"), identity->user) != 0 &&
        identity_role(tick_server(tick)->catalog, identity, team) < ROLE_ADMIN)
        return error_set(err, ERR_DENIED,
            "only %s, who asked for it, or an administrator of the team %s withdraws it",
            doc_get_string(promotion, "askedBy"), team);
    *ret = promotion;
    end_by(tick, promotion, identity, note, "withdrawn", "promotion-withdraw");
    return 0;
}
