/* One call for many requests: see batch_internal.h. Its answer is held until it is complete, and
 * taken apart then. What fails for all is tried once more for each alone, unless the service's
 * options say that it must not be. */
#include "gateway/batch_internal.h"

#include "base/clock.h"
#include "base/memory.h"
#include "gateway/deadline.h"
#include "wire/http.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct batch_call {
    TAILQ_ENTRY(batch_call) link;
    struct batcher *batcher;
    struct batch_service *service;
    struct batch_group *group;
    struct http_exchange *exchange;
    struct replica_state *state;
    uint64_t replica;
    int64_t version, began_ns, rows;
    int status;
    char content_type[BATCH_TYPE_BYTES];
    int64_t head_length;
    bool unfit; /* an answer that cannot be taken apart, whatever its bytes */
    struct strbuf answer;
    size_t count, left;
    struct batch_member *members[];
};

/* ---- the end --------------------------------------------------------------------------------- */

/* The exchange is over. */
static void close_call(struct batch_call *call, bool failed)
{
    TAILQ_REMOVE(&call->batcher->calls, call, link);
    call->exchange = NULL;
    /* Before it is done: it may be freed then. */
    atomic_fetch_sub_explicit(&call->state->batches, 1, memory_order_relaxed);
    replica_state_done(call->state, failed);
    call->group->calls--;
    call->service->calls--;
}

static void free_call(struct batch_call *call)
{
    strbuf_finish(&call->answer);
    free(call);
}

static void return_member(
    struct batch_call *call, struct batch_member *member, enum batch_verdict verdict, int64_t took)
{
    member->verdict = verdict;
    member->status = call->status;
    memcpy(member->content_type, call->content_type, sizeof member->content_type);
    member->replica = call->replica;
    member->replica_version = call->version;
    member->busy_ns = took * member->item.rows / call->rows;
    member->began_ns = call->began_ns;
    member->queue_ns = call->began_ns - member->came_ns;
    member->call_ns = took;
    batch_member_return(call->batcher, member);
}

static void return_all(struct batch_call *call, enum batch_verdict verdict)
{
    int64_t took = clock_held_ns() - call->began_ns;
    for (size_t i = 0; i < call->count; i++)
        return_member(call, call->members[i], verdict, took);
}

/* Each goes on by itself, to another replica if this one is to blame. */
static void all_again(struct batch_call *call, bool failed)
{
    atomic_fetch_add_explicit(
        &call->service->terms->state->batch.again, call->count, memory_order_relaxed);
    for (size_t i = 0; i < call->count; i++)
        call->members[i]->failed = failed;
    return_all(call, BATCH_ALONE);
}

static void learn(struct batch_call *call, int64_t now_ns)
{
    struct batch_figures *figures = &call->service->terms->state->batch;
    struct batch_pace *pace = &call->group->pace;
    batch_pace_done(pace, now_ns, call->rows, now_ns - call->began_ns, call->service->waiting > 0);
    atomic_store_explicit(&figures->gathers, batch_pace_gathers(pace), memory_order_relaxed);
    atomic_store_explicit(&figures->call_ns, (uint64_t)pace->a_ns, memory_order_relaxed);
    atomic_store_explicit(&figures->row_ns, (uint64_t)pace->b_ns, memory_order_relaxed);
    atomic_store_explicit(&figures->depth, (uint64_t)batch_pace_depth(pace), memory_order_relaxed);
}

/* Whether every member has its part. */
static bool split(struct batch_call *call)
{
    SCOPED(mem_scope) const struct batch_item **items = mem_alloc(call->count, sizeof *items);
    SCOPED(mem_scope) struct batch_body *parts = mem_alloc(call->count, sizeof *parts);
    for (size_t i = 0; i < call->count; i++)
        items[i] = &call->members[i]->item;
    if (call->unfit || batch_split(items, call->count, strbuf_text(&call->answer),
                           call->answer.length, call->head_length, parts))
        return false;
    for (size_t i = 0; i < call->count; i++)
        call->members[i]->answer = parts[i];
    return true;
}

/* A single one's answer is its own, as it came and whatever its status. */
static bool take_answer(struct batch_call *call)
{
    if (call->count > 1)
        return call->status == 200 && split(call);
    if (call->unfit)
        return false;
    call->members[0]->answer =
        (struct batch_body){.bytes = call->answer, .head_length = call->head_length};
    call->answer = (struct strbuf){0};
    return true;
}

static void on_end(struct http_exchange *exchange, void *context)
{
    struct batch_call *call = context;
    struct batch_service *service = call->service;
    (void)exchange;
    int64_t now = clock_held_ns();
    if (call->status == 200)
        learn(call, now);
    close_call(call, false);
    /* The next batch goes before this one's answers are written: the replica is not kept waiting.
     * Who comes back at once is in the one after it, or is waited for. */
    batch_pump(service);
    if (take_answer(call))
        return_all(call, BATCH_ANSWERED);
    else
        all_again(call, false);
    free_call(call);
}

/* As for a request alone: what may have been done is not done again where it must not be. */
static bool may_retry(const struct batch_call *call, enum http_failure failure, bool answered)
{
    if (failure == HTTP_FAILED_CONNECT || failure == HTTP_FAILED_REQUEST)
        return true;
    return call->service->terms->options.retry == RETRY_SAFE && !answered &&
           (failure == HTTP_FAILED_STALE || failure == HTTP_FAILED_CLOSED);
}

static void on_fail(struct http_exchange *exchange, enum http_failure failure, bool answered,
    const char *text, void *context)
{
    struct batch_call *call = context;
    struct batch_service *service = call->service;
    (void)exchange, (void)text;
    if (failure == HTTP_FAILED_CONNECT)
        replica_state_refused(call->state, clock_held_ns() / 1000000);
    close_call(call, true);
    if (may_retry(call, failure, answered)) {
        all_again(call, true);
    } else {
        for (size_t i = 0; i < call->count; i++)
            call->members[i]->failure = failure;
        return_all(call, BATCH_BROKEN);
    }
    free_call(call);
    batch_pump(service);
}

/* ---- the answer ------------------------------------------------------------------------------ */

static void on_head(struct http_exchange *exchange, const struct http_answer *head, void *context)
{
    struct batch_call *call = context;
    const char *head_length = NULL;
    (void)exchange;
    replica_state_answered(call->state);
    call->status = head->status;
    for (size_t i = 0; i < head->field_count; i++) {
        const struct http_field *field = &head->fields[i];
        if (!strcasecmp(field->name, "Inference-Header-Content-Length"))
            head_length = field->value;
        else if (!strcasecmp(field->name, "Content-Type"))
            snprintf(call->content_type, sizeof call->content_type, "%s", field->value);
        else if (!strcasecmp(field->name, "Content-Encoding"))
            call->unfit = true;
    }
    if (!oip_head_length(head_length, &call->head_length) || head->status < 200 ||
        head->status == 204 || head->status == 304)
        call->unfit = true;
}

static void on_piece(
    struct http_exchange *exchange, const void *bytes, size_t length, void *context)
{
    struct batch_call *call = context;
    (void)exchange;
    if (call->answer.length + length > BATCH_CALL_BYTES_MAX)
        call->unfit = true;
    if (!call->unfit)
        strbuf_append(&call->answer, bytes, length);
}

/* ---- the beginning --------------------------------------------------------------------------- */

/* The parts of a whole, as equal as can be; together they are the whole. */
static uint64_t part_of(uint64_t whole, size_t i, size_t count)
{
    return whole * (i + 1) / count - whole * i / count;
}

static struct batch_call *create_call(struct batch_service *service, struct batch_group *group,
    const struct table_replica *replica, struct batch_member **members, size_t count)
{
    struct batch_call *call = mem_alloc(1, sizeof *call + count * sizeof *members);
    *call = (struct batch_call){.batcher = service->batcher,
        .service = service,
        .group = group,
        .state = replica->state,
        .replica = replica->route->replica,
        .version = replica->route->version,
        .began_ns = clock_held_ns(),
        .head_length = OIP_NO_HEAD,
        .count = count};
    for (size_t i = 0; i < count; i++) {
        call->members[i] = members[i];
        call->rows += members[i]->item.rows;
        members[i]->batch_size = count;
        members[i]->batch_micro = part_of(1000000, i, count);
    }
    TAILQ_INSERT_TAIL(&service->batcher->calls, call, link);
    group->calls++;
    service->calls++;
    replica_state_begin(replica->state);
    atomic_fetch_add_explicit(&replica->state->batches, 1, memory_order_relaxed);
    return call;
}

/* The body of one is sent as it came. */
static void make_body(const struct batch_call *call, struct batch_body *ret)
{
    const struct batch_member *first = call->members[0];
    if (call->count == 1) {
        strbuf_append(&ret->bytes, first->body, first->length);
        ret->head_length = first->head_length;
        return;
    }
    SCOPED(mem_scope) const struct batch_item **items = mem_alloc(call->count, sizeof *items);
    for (size_t i = 0; i < call->count; i++)
        items[i] = &call->members[i]->item;
    batch_merge(items, call->count, ret);
}

static void put_target(const struct batch_call *call, struct strbuf *out)
{
    if (call->members[0]->item.form == BATCH_EMBEDDINGS) {
        strbuf_puts(out, "/v1/embeddings");
        return;
    }
    strbuf_puts(out, "/v2/models/");
    strbuf_puts(out, call->service->terms->route);
    strbuf_puts(out, "/infer");
}

/* The least that any of its requests has left, at least a millisecond: who has none leaves by its
 * own clock. -1: they all have as long as they like. */
static int64_t least_left_ms(const struct batch_call *call)
{
    int64_t least = -1;
    for (size_t i = 0; i < call->count; i++) {
        int64_t deadline_ns = call->members[i]->deadline_ns;
        int64_t left = deadline_ns ? deadline_left_ms(deadline_ns, call->began_ns) : -1;
        if (left >= 0 && (least < 0 || left < least))
            least = left > 0 ? left : 1;
    }
    return least;
}

static void begin_exchange(struct batch_call *call, struct http_endpoint *endpoint)
{
    static const struct http_exchange_callbacks callbacks = {
        on_head, on_piece, on_end, on_fail, NULL};
    SCOPED(strbuf_finish) struct strbuf target = {0}, length = {0};
    struct batch_body body = {0};
    make_body(call, &body);
    put_target(call, &target);
    bool binary = body.head_length != OIP_NO_HEAD;
    strbuf_int(&length, body.head_length);
    int64_t left_ms = least_left_ms(call);
    char left[DEADLINE_TEXT];
    struct http_field fields[4] = {
        {"Content-Type", binary ? "application/octet-stream" : "application/json"}};
    size_t count = 1;
    if (binary)
        fields[count++] = (struct http_field){"Inference-Header-Content-Length", length.text};
    /* What the replica does is told in the trace of the one that came first. */
    if (*call->members[0]->trace_parent)
        fields[count++] = (struct http_field){"traceparent", call->members[0]->trace_parent};
    if (left_ms >= 0)
        fields[count++] = (struct http_field){DEADLINE_FIELD, deadline_text(left_ms, left)};
    struct http_exchange_request request = {.method = "POST",
        .target = target.text,
        .fields = fields,
        .field_count = count,
        .body = strbuf_text(&body.bytes),
        .length = (int64_t)body.bytes.length,
        .timeout_ms = call->service->terms->options.timeout_ms};
    call->exchange = http_exchange_begin(endpoint, &request, &callbacks, call);
    batch_body_finish(&body);
}

bool batch_call_begin(struct batch_service *service, struct batch_group *group,
    const struct table_replica *replica, struct batch_member **members, size_t count)
{
    struct http_endpoint *endpoint = gateway_worker_endpoint(service->batcher->worker, replica);
    assert(count > 0);
    for (size_t i = 0; i < count && !endpoint; i++) {
        members[i]->verdict = BATCH_ALONE;
        batch_member_return(service->batcher, members[i]);
    }
    if (!endpoint)
        return false;
    begin_exchange(create_call(service, group, replica, members, count), endpoint);
    return true;
}

/* ---- giving up ------------------------------------------------------------------------------- */

static struct batch_call *call_of(struct batcher *batcher, const struct batch_member *member)
{
    struct batch_call *call;
    TAILQ_FOREACH(call, &batcher->calls, link)
    {
        for (size_t i = 0; i < call->count; i++) {
            if (call->members[i] == member)
                return call;
        }
    }
    return NULL;
}

void batch_call_left(struct batcher *batcher, struct batch_member *member)
{
    struct batch_call *call = call_of(batcher, member);
    if (!call || ++call->left < call->count)
        return;
    struct batch_service *service = call->service;
    http_exchange_cancel(call->exchange);
    close_call(call, false);
    return_all(call, BATCH_ALONE);
    free_call(call);
    batch_pump(service);
}

void batch_calls_destroy(struct batcher *batcher)
{
    while (!TAILQ_EMPTY(&batcher->calls)) {
        struct batch_call *call = TAILQ_FIRST(&batcher->calls);
        http_exchange_cancel(call->exchange);
        close_call(call, false);
        return_all(call, BATCH_ALONE);
        free_call(call);
    }
}
