/* What describe shows of a service: the state of the whole in a word, and of each replica what it
 * does, how often it was started again, and why it last ended. Rows come from the store, so that
 * what is shown is committed; the reasons come from the log's last lines, which are read only here.
 */
#include "server/services_internal.h"
#include "server/services_quiet.h"

#include "base/quantity.h"
#include "base/strbuf.h"
#include "core/core.h"
#include "engine/engine.h"
#include "engine/joblog.h"
#include "server/catalog.h"
#include "server/engines.h"
#include "server/names.h"
#include "server/rollout_status.h"
#include "server/scaling.h"
#include "server/status.h"
#include "server/why.h"
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LOG_LINES = 60,        /* of the log that are looked at */
    LOG_BYTES_MAX = 32768, /* of them */
    LAST_LINE_MAX = 200,   /* of the last line, as it is shown */
    REPLICAS_SHOWN_MAX = 1000,
    DEEP_MAX = 50, /* replicas whose log is read: it is the same failure in most */
};

struct listing {
    struct services *services;
    struct arena *arena;
    struct doc *list;
    const struct service_row *service;
    int64_t ready, newest_ready, older, waiting;
    const char *cause; /* of the last failure seen */
    int deep;
    struct doc *scaling; /* NULL: its number of replicas is fixed */
    bool is_scaled;      /* it has no replicas because nobody asks */
};

/* ---- the last end --------------------------------------------------------------------------- */

struct ended {
    bool found;
    struct attempt_row row;
};

static int take_ended(void *context, const void *data, struct error *err)
{
    struct ended *ended = context;
    const struct attempt_row *row = data;
    (void)err;
    if (row->state == ATTEMPT_ENDED && (!ended->found || row->number > ended->row.number)) {
        ended->found = true;
        ended->row = *row;
    }
    return 0;
}

static struct ended last_end(struct server *server, uint64_t job)
{
    struct ended ended = {0};
    struct row_condition condition = {"job", ROW_EQUAL, (int64_t)job};
    struct row_query query = {.kind = ROW_ATTEMPT,
        .conditions = &condition,
        .condition_count = 1,
        .descending = true,
        .limit = 2};
    if (reader_rows(server->reader, &query, take_ended, &ended, NULL) < 0)
        ended.found = false;
    return ended;
}

/* The end of an attempt's log as one text, and its last line that is not empty. */
static void read_log(struct server *server, const struct attempt_row *attempt, struct strbuf *out,
    char last[LAST_LINE_MAX + 1])
{
    SCOPED(mem_scope)
    char *folder = engines_log_folder(server, attempt->job, (uint32_t)attempt->number);
    struct joblog_reader *reader = joblog_open(folder);
    struct joblog_line line;
    last[0] = '\0';
    if (joblog_seek_tail(reader, LOG_LINES, NULL) == 0) {
        while (joblog_next(reader, &line, NULL) > 0) {
            if (out->length + line.size > LOG_BYTES_MAX)
                strbuf_clear(out);
            if (line.size > LOG_BYTES_MAX)
                continue;
            strbuf_append(out, line.text, line.size);
            strbuf_putc(out, '\n');
            if (line.size > 0)
                snprintf(last, LAST_LINE_MAX + 1, "%.*s", (int)line.size, line.text);
        }
    }
    joblog_close(reader);
    /* A NUL in the log would end the text that is looked through. */
    for (size_t i = 0; i < out->length; i++) {
        if (out->text[i] == '\0')
            out->text[i] = ' ';
    }
}

static const char *stored_detail(
    struct server *server, struct arena *arena, const struct attempt_row *row)
{
    char key[DOCUMENT_KEY_TEXT], number[16];
    snprintf(number, sizeof number, "%d", (int)row->number);
    names_document_key(row->job, number, key);
    SCOPED(mem_scope) char *json = NULL;
    if (reader_document(server->reader, "job-attempt", key, &json, NULL, NULL) < 0)
        return NULL;
    return doc_get_string(doc_parse_json(arena, json, strlen(json), DOC_BYTES_MAX, NULL), "detail");
}

/* "wrong-format (exit status 65): cannot read model.ubj". */
static void describe_end(struct listing *listing, const struct revision *revision,
    const struct attempt_row *row, struct doc *item)
{
    struct arena *arena = listing->arena;
    struct server *server = listing->services->server;
    struct strbuf log = {0};
    char last[LAST_LINE_MAX + 1] = "", how[64] = "";
    if (listing->deep++ < DEEP_MAX)
        read_log(server, row, &log, last);
    const char *cause =
        replica_cause(&revision->runtime, row->end_reason, row->exit_status, strbuf_text(&log));
    const char *detail = stored_detail(server, arena, row);
    if (row->end_reason == END_EXIT)
        snprintf(how, sizeof how, " (exit status %d)", (int)row->exit_status);
    if (row->end_reason == END_SIGNAL)
        snprintf(how, sizeof how, " (signal %d)", (int)row->exit_status);
    const char *says = last[0] ? last : detail ? detail : "";
    if (row->end_reason == END_START_FAILED || row->end_reason == END_OUT_OF_MEMORY)
        says = detail ? detail : last;
    doc_set_string(arena, item, "lastEnd",
        arena_printf(arena, "%s%s", cause ? cause : end_reason_names[row->end_reason], how));
    if (cause)
        doc_set_string(arena, item, "cause", cause);
    if (cause && says[0])
        doc_set_string(arena, item, "says", says);
    status_set_time(arena, item, "lastEndAt", row->ended_ms);
    if (cause)
        listing->cause = arena_printf(
            arena, "%s%s%s%s", cause, how, says[0] ? ": " : "", arena_strdup(arena, says));
    strbuf_finish(&log);
}

/* ---- a replica --------------------------------------------------------------------------------
 */

static const char *replica_state(const struct replica_row *row, const struct job_row *job)
{
    if (job->state == JOB_WAITING)
        return "backoff";
    if (job->state == JOB_RUNNING)
        return row->ready && row->attempt == job->attempt ? "ready" : "unready";
    return job_state_names[job->state];
}

static void set_why(struct listing *listing, const struct job_row *job, struct doc *item)
{
    struct arena *arena = listing->arena;
    struct services *services = listing->services;
    const struct replica *replica = services_replica(services, job->id);
    const char *says = doc_get_string(item, "says"), *why = NULL;
    char moment[QUANTITY_TEXT];
    if (job->state == JOB_WAITING && job->not_before_ms > 0)
        why = arena_printf(arena, "starts again at %s%s%s",
            quantity_time(job->not_before_ms, moment), says ? "; it said: " : "", says ? says : "");
    else if (job->state == JOB_QUEUED || job->state == JOB_WAITING)
        why = why_job_waits(services->server, arena, job);
    else if (replica && replica->draining)
        why = "requests under way are finished first";
    else if (replica && replica->trouble[0])
        why = replica->trouble;
    else if (replica && !replica->started && !replica->stopping)
        why = "it has not answered its startup check yet";
    else if (job->state != JOB_RUNNING)
        why = says;
    if (why)
        doc_set_string(arena, item, "why", arena_strdup(arena, why));
}

static void set_place(struct listing *listing, const struct job_row *job, struct doc *item)
{
    const struct doc *attempts =
        job->attempt ? status_attempts(listing->services->server, listing->arena, job->id) : NULL;
    const struct doc *placements = attempts ? doc_get(attempts->last, "placements") : NULL;
    if (placements && placements->first)
        doc_set_string(listing->arena, item, "node", doc_get_string(placements->first, "node"));
}

static int add_replica(void *context, const void *data, struct error *err)
{
    struct listing *listing = context;
    const struct replica_row *row = data;
    struct arena *arena = listing->arena;
    struct server *server = listing->services->server;
    struct job_row job;
    char id[JOB_ID_TEXT];
    (void)err;
    if (reader_row(server->reader, ROW_JOB, row->job, &job, NULL) < 0 || job_state_ended(job.state))
        return 0;
    const struct revision *revision =
        services_revision_of(listing->services, row->service, row->revision);
    const char *state = replica_state(row, &job);
    bool ready = strcmp(state, "ready") == 0;
    int32_t goal = core_service_goal(server->core, row->service);
    bool newest = row->revision == goal || row->arm != ARM_MAIN;
    struct doc *item = doc_append(listing->list, doc_map(arena));
    doc_set_string(arena, item, "name", reader_symbol(server->reader, job.name));
    doc_set_string(arena, item, "id", names_job_id(job.id, id));
    doc_set_int(arena, item, "revision", row->revision);
    if (revision)
        doc_set_int(arena, item, "version", revision->version);
    doc_set_string(arena, item, "state", state);
    doc_set_int(arena, item, "restarts", job.attempts > 1 ? job.attempts - 1 : 0);
    status_set_time(arena, item, "since", row->since_ms);
    if (job.state == JOB_WAITING)
        status_set_time(arena, item, "backoffUntil", job.not_before_ms);
    struct ended ended = last_end(server, job.id);
    if (ended.found && revision)
        describe_end(listing, revision, &ended.row, item);
    set_place(listing, &job, item);
    set_why(listing, &job, item);
    if (row->arm != ARM_MAIN)
        doc_set_string(arena, item, "arm", replica_arm_names[row->arm]);
    listing->ready += ready && row->arm == ARM_MAIN;
    listing->newest_ready += ready && newest;
    listing->older += !newest;
    listing->waiting += job.state == JOB_QUEUED;
    return 0;
}

/* ---- the whole --------------------------------------------------------------------------------
 */

/* In a word: what somebody who was woken up wants to know first. */
static const char *whole_state(
    const struct listing *listing, const struct revision *revision, const char *refusal)
{
    const struct service_row *row = listing->service;
    if (row->deleted)
        return "deleting";
    if (row->replicas == 0)
        return listing->list->count > 0 ? "stopping" : listing->is_scaled ? "idle" : "stopped";
    if (listing->older > 0)
        return "rolling";
    if (listing->ready >= row->replicas)
        return "ready";
    if (listing->ready > 0)
        return "degraded";
    /* No version yet is no failure: somebody has to train or promote one. */
    if (refusal && revision && !revision->model_name)
        return "waiting";
    return refusal || listing->cause ? "failing" : "starting";
}

/* What its replicas are made with, which in quiet hours is not what spec.resources says. */
static void set_resources(struct arena *arena, struct doc *status, const struct revision *revision)
{
    const struct doc *service = revision ? doc_get(revision->doc, "service") : NULL;
    const struct doc *resources = service ? doc_get(doc_get(service, "spec"), "resources") : NULL;
    if (resources)
        doc_set(arena, status, "resources", doc_copy(arena, resources));
}

static void set_whole(struct listing *listing, struct doc *status)
{
    struct services *services = listing->services;
    struct arena *arena = listing->arena;
    const struct service_row *row = listing->service;
    int32_t goal = core_service_goal(services->server->core, row->id);
    const struct revision *revision = services_revision_of(services, row->id, goal);
    const char *refusal = services_refusal(services, row->id);
    doc_set_string(arena, status, "state", whole_state(listing, revision, refusal));
    doc_set_int(arena, status, "ready", listing->ready);
    doc_set_int(arena, status, "revision", goal);
    if (revision && revision->model_name)
        doc_set_int(arena, status, "version", revision->version);
    if (revision)
        doc_set_string(arena, status, "runtime", revision->runtime.metadata.name);
    set_resources(arena, status, revision);
    if (listing->older > 0)
        doc_set_string(arena, status, "rollout",
            arena_printf(arena,
                "%lld of %d replicas of revision %d are ready, %lld older ones left",
                (long long)listing->newest_ready, (int)row->replicas, (int)goal,
                (long long)listing->older));
    const char *line = rollout_line(services->server, arena, row->id);
    if (line && listing->older == 0)
        doc_set_string(arena, status, "rollout", line);
    if (refusal)
        doc_set_string(arena, status, "refused", refusal);
    const char *why = listing->ready < row->replicas ? listing->cause : NULL;
    if (why)
        doc_set_string(arena, status, "why", why);
    doc_set_int(arena, status, "wanted", row->replicas);
    if (listing->scaling)
        doc_set(arena, status, "autoscale", listing->scaling);
    doc_set_string(arena, status, "gateway", gateway_link_text(services->link, arena));
    doc_set(arena, status, "replicas", listing->list);
}

struct doc *services_status(
    struct services *services, struct arena *arena, const char *team, const char *name)
{
    struct server *server = services->server;
    struct doc *status = doc_map(arena);
    struct service_row row;
    uint64_t id = core_service_find(server->core, team, name);
    const struct catalog_entry *entry = catalog_find_in(server->catalog, KIND_SERVICE, team, name);
    if (entry)
        doc_set_string(arena, status, "route", service_route(&entry->manifest->service));
    struct doc *quiet = entry ? quiet_status(arena, &entry->manifest->service,
                                    quiet_load_of(services->quiet, &entry->manifest->service, NULL),
                                    server_now_ms())
                              : NULL;
    if (quiet)
        doc_set(arena, status, "quiet", quiet);
    if (!id || reader_row(server->reader, ROW_SERVICE, id, &row, NULL) < 0)
        return status;
    struct listing listing = {.services = services,
        .arena = arena,
        .list = doc_list(arena),
        .service = &row,
        .scaling = scaling_status(services->scaling, arena, team, name),
        .is_scaled = scaling_covers(services->scaling, team, name)};
    struct row_condition condition = {"service", ROW_EQUAL, (int64_t)id};
    struct row_query query = {.kind = ROW_REPLICA,
        .conditions = &condition,
        .condition_count = 1,
        .descending = true,
        .limit = REPLICAS_SHOWN_MAX};
    if (reader_rows(server->reader, &query, add_replica, &listing, NULL) < 0)
        return status;
    set_whole(&listing, status);
    return status;
}

struct doc *services_hpa_status(
    struct services *services, struct arena *arena, const char *team, const char *name)
{
    const struct catalog_entry *entry =
        catalog_find_in(services->server->catalog, KIND_HPA, team, name);
    const char *target = entry ? entry->manifest->hpa.target : "";
    struct doc *status = scaling_status(services->scaling, arena, team, target);
    const struct hpa *hpa = scaling_hpa(services->server, team, target);
    if (status && hpa && !strcmp(hpa->metadata.name, name))
        return status;
    status = doc_map(arena);
    doc_append(doc_set(arena, status, "words", doc_list(arena)),
        doc_string(
            arena, !catalog_find_in(services->server->catalog, KIND_SERVICE, team, target)
                       ? arena_printf(arena, "There is no service %s/%s.", team, target)
                   : hpa && strcmp(hpa->metadata.name, name) != 0
                       ? arena_printf(arena, "%s scales this service already.", hpa->metadata.name)
                       : "Nothing was decided yet."));
    return status;
}
