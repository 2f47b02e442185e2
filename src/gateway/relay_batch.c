/* The request's side of batching: see relay_batch.h and batch_internal.h. */
#include "gateway/relay_batch.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/memory.h"
#include "gateway/answer.h"
#include "gateway/balance.h"
#include "gateway/batch_internal.h"
#include "gateway/relay_care.h"
#include "gateway/relay_trace.h"
#include "wire/http.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* To the worker that has a service's batches: look again. */
struct look {
    struct post post;
    char service[];
};

/* ---- members --------------------------------------------------------------------------------- */

/* The home has it again, or one of its messages. */
static void member_release(struct batch_member *member)
{
    assert(member->under_way > 0 && !member->relay);
    if (--member->under_way > 0)
        return;
    terms_drop(member->terms, member->home_number);
    strbuf_finish(&member->held);
    strbuf_finish(&member->key);
    batch_body_finish(&member->answer);
    free(member);
}

static struct batch_member *member_of_post(struct post *post)
{
    return (struct batch_member *)((char *)post - offsetof(struct batch_member, post));
}

static struct batch_member *member_of_leave(struct post *post)
{
    return (struct batch_member *)((char *)post - offsetof(struct batch_member, leave));
}

/* ---- verdicts -------------------------------------------------------------------------------- */

/* Counts the member's part of the call as an attempt of its relay. */
static void note_attempt(struct relay *relay, const struct batch_member *member)
{
    relay->attempt.counts = relay_counts_of(relay, member->replica_version, member->replica);
    relay->attempt.replica = member->replica;
    relay->attempt.version = member->replica_version;
    usage_add(&relay->attempt.counts->busy_us, (uint64_t)member->busy_ns / 1000);
    relay_wait_over(relay);
    relay->times.queue_ns += member->queue_ns;
    relay->times.model_ns += member->call_ns;
    relay->times.batch_size = member->batch_size;
    relay->times.batch_micro = member->batch_micro;
    if (relay->trace)
        relay_trace_batch_over(relay, member->began_ns, member->began_ns + member->call_ns,
            member->verdict == BATCH_ANSWERED ? member->status : 0, member->batch_size);
}

static void answer_member(struct relay *relay, struct batch_member *member)
{
    struct arena *arena = http_request_arena(relay->request);
    struct http_field *fields = arena_alloc(arena, 3, sizeof *fields);
    const struct strbuf *body = &member->answer.bytes;
    size_t count = 0;
    note_attempt(relay, member);
    relay->sent++;
    if (member->content_type[0])
        fields[count++] =
            (struct http_field){"Content-Type", arena_strdup(arena, member->content_type)};
    if (member->answer.head_length != OIP_NO_HEAD)
        fields[count++] = (struct http_field){"Inference-Header-Content-Length",
            arena_printf(arena, "%lld", (long long)member->answer.head_length)};
    fields[count++] = (struct http_field){"X-Request-ID", relay->id};
    answer_begin(relay, member->status, fields, count, (int64_t)body->length, NULL);
    if (answer_piece(relay, strbuf_text(body), body->length))
        answer_end(relay);
}

static void go_alone(struct relay *relay, const struct batch_member *member)
{
    if (member->failed) {
        note_attempt(relay, member);
        usage_add(&relay->attempt.counts->retried, 1);
        figure_add(relay->view->figures, FIGURE_RETRIED, 1);
        relay->retries++;
        relay->sent++;
        relay->again = true;
        balance_note(&relay->tried, member->replica);
    }
    relay->batch_passed = relay->batch_counts = true;
    relay_go(relay);
}

static void refuse_member(struct relay *relay, const struct batch_member *member)
{
    note_attempt(relay, member);
    relay->sent++;
    if (member->failure == HTTP_FAILED_TIMEOUT)
        relay_refuse(relay, 504, "timeout", "the replica did not answer in time");
    else
        relay_refuse(relay, 502, "bad_gateway", "the replica failed");
}

static void take_verdict(struct batch_member *member)
{
    struct relay *relay = member->relay;
    member->relay = NULL;
    if (relay) {
        relay->batch = NULL;
        if (member->verdict == BATCH_ANSWERED)
            answer_member(relay, member);
        else if (member->verdict == BATCH_ALONE)
            go_alone(relay, member);
        else
            refuse_member(relay, member);
    }
    member_release(member);
}

static void on_verdict(struct worker_view *view, struct post *post)
{
    (void)view;
    take_verdict(member_of_post(post));
}

/* Those who go on alone do so in a later turn, as nobody's request goes on from inside another's.
 */
void batch_member_return(struct batcher *batcher, struct batch_member *member)
{
    if (member->home_number == batcher->view->number &&
        (member->verdict != BATCH_ALONE || batcher->closing)) {
        take_verdict(member);
        return;
    }
    member->post.deliver = on_verdict;
    post_send(batcher->view->office, member->home_number, &member->post);
}

/* ---- joining and leaving --------------------------------------------------------------------- */

static void on_join(struct worker_view *view, struct post *post)
{
    batch_join(view->batcher, member_of_post(post));
}

static void on_leave_back(struct worker_view *view, struct post *post)
{
    (void)view;
    member_release(member_of_leave(post));
}

static void on_leave(struct worker_view *view, struct post *post)
{
    struct batch_member *member = member_of_leave(post);
    batch_leave(view->batcher, member);
    post->deliver = on_leave_back;
    post_send(view->office, member->home_number, post);
}

static bool is_home_owned(const struct batch_member *member)
{
    return member->owner == member->home_number;
}

static void join(struct batch_member *member)
{
    if (is_home_owned(member)) {
        batch_join(member->home->batcher, member);
        return;
    }
    member->post.deliver = on_join;
    post_send(member->home->office, member->owner, &member->post);
}

void relay_batch_leave(struct relay *relay)
{
    struct batch_member *member = relay->batch;
    if (!member)
        return;
    relay->batch = NULL;
    member->relay = NULL;
    /* What the owner may be reading goes along. */
    member->held = relay->body.held;
    relay->view->held_bytes -= member->held.length;
    relay->body.held = (struct strbuf){0};
    if (is_home_owned(member)) {
        batch_leave(member->home->batcher, member);
        return;
    }
    member->under_way++;
    member->leave.deliver = on_leave;
    post_send(member->home->office, member->owner, &member->leave);
}

/* ---- passing by ------------------------------------------------------------------------------ */

static int owner_of(const struct relay *relay)
{
    struct post_office *office = relay->view->office;
    if (post_office_workers(office) == 1)
        return 0;
    return post_owner(office, (uint64_t)hash_text(relay->terms->service));
}

static void on_look(struct worker_view *view, struct post *post)
{
    struct look *look = (struct look *)post;
    batch_look(view->batcher, look->service);
    free(look);
}

void relay_batch_attempt_begun(struct relay *relay)
{
    atomic_fetch_add_explicit(&relay->attempt.state->batches, 1, memory_order_relaxed);
}

/* Also to this worker by a message: the attempt ends inside of something else. */
void relay_batch_attempt_over(struct relay *relay)
{
    const char *service = relay->terms->service;
    atomic_fetch_sub_explicit(&relay->attempt.state->batches, 1, memory_order_relaxed);
    if (atomic_load_explicit(&relay->terms->state->batch.waiting, memory_order_relaxed) == 0)
        return;
    size_t length = strlen(service);
    struct look *look = mem_alloc(1, sizeof *look + length + 1);
    memcpy(look->service, service, length + 1);
    look->post.deliver = on_look;
    post_send(relay->view->office, owner_of(relay), &look->post);
}

/* An idle replica, nobody who waits, and nothing to be won: a batch would be of one. */
static bool may_pass(struct relay *relay)
{
    const struct batch_figures *figures = &relay->terms->state->batch;
    const struct table_service *service =
        route_table_service(relay->view->table, relay->terms->route);
    struct balance_query query = {.version = relay->target.version,
        .tried = &relay->tried,
        .now_ms = clock_held_ns() / 1000000};
    if (atomic_load_explicit(&figures->waiting, memory_order_relaxed) > 0 ||
        atomic_load_explicit(&figures->gathers, memory_order_relaxed))
        return false;
    const struct table_replica *replica =
        service ? balance_pick(service, &query, &relay->view->turn) : NULL;
    return !replica || atomic_load_explicit(&replica->state->batches, memory_order_relaxed) == 0;
}

/* ---- the stage ------------------------------------------------------------------------------- */

static bool is_kind(const struct relay *relay, enum batch_form *ret)
{
    static const struct {
        const char *verb;
        enum batch_form form;
    } kinds[] = {{"/infer", BATCH_OIP}, {"/v1/embeddings", BATCH_EMBEDDINGS}};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (!strcmp(relay->target.verb, kinds[i].verb)) {
            *ret = kinds[i].form;
            return true;
        }
    }
    return false;
}

/* A body that is all there and that nobody has encoded, and no question mark in the path. */
static bool is_plain(const struct relay *relay)
{
    return relay->target.has_body && relay->body.ended && !relay->body.let_go &&
           relay->terms->options.retry != RETRY_NEVER && relay->retries == 0 &&
           !strchr(http_request_target(relay->request), '?') &&
           !http_request_header(relay->request, "Content-Encoding");
}

/* NULL: the request cannot be in a batch. */
static struct batch_member *member_create(struct relay *relay, enum batch_form form)
{
    const char *head = http_request_header(relay->request, "Inference-Header-Content-Length");
    struct batch_member *member = mem_alloc(1, sizeof *member);
    member->body = strbuf_text(&relay->body.held);
    member->length = relay->body.held.length;
    if (!oip_head_length(head, &member->head_length) ||
        (form == BATCH_EMBEDDINGS && member->head_length != OIP_NO_HEAD) ||
        batch_item_parse(form, member->body, member->length, member->head_length, &member->item)) {
        free(member);
        return NULL;
    }
    batch_item_key(&member->item, &member->key);
    member->relay = relay;
    member->home = relay->view;
    member->home_number = relay->view->number;
    member->owner = owner_of(relay);
    member->under_way = 1;
    member->terms = relay->terms;
    member->version = relay->target.version;
    member->priority = relay->turn.level;
    member->deadline_ns = relay->care ? relay->care->deadline_ns : 0;
    terms_hold(member->terms, member->home_number);
    if (relay->trace)
        relay_trace_batch_begin(relay, member->trace_parent);
    return member;
}

/* counts: it could have been in a batch, and keeps a replica as busy as one. */
static enum stage_result pass_by(struct relay *relay, bool counts)
{
    relay->batch_passed = true;
    relay->batch_counts = counts;
    return STAGE_DONE;
}

enum stage_result relay_stage_batch(struct relay *relay)
{
    enum batch_form form;
    if (relay->terms->options.batching.max < 2 || relay->batch_passed)
        return STAGE_DONE;
    if (relay->batch)
        return STAGE_WAITS;
    if (!is_kind(relay, &form) || !is_plain(relay))
        return pass_by(relay, false);
    if (may_pass(relay))
        return pass_by(relay, true);
    relay->batch = member_create(relay, form);
    if (!relay->batch) {
        atomic_fetch_add_explicit(&relay->terms->state->batch.alone, 1, memory_order_relaxed);
        return pass_by(relay, true);
    }
    /* Of the body nothing is changed while the owner may read it. */
    join(relay->batch);
    return STAGE_WAITS;
}
