/* muster replay: what was recorded of a service's users is asked of a version again.
 *
 * The records are read first, so that they are there when they are due. Then several threads, each
 * with a connection of its own, take one after the other: the next that is due waits for its
 * moment, and for nothing else but a free thread. */
#include "base/clock.h"
#include "base/memory.h"
#include "base/quantity.h"
#include "base/vec.h"
#include "cli/api.h"
#include "cli/job.h"
#include "cli/replay_compare.h"
#include "cli/table.h"
#include "cli/trial.h"
#include "cli/verbs.h"
#include "cli/view.h"
#include "wire/url.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    RECORDS_MAX = 1000000,
    BYTES_MAX = 512 << 20, /* of records that are held */
    THREADS_MAX = 8,
    PAGE = 1000,
    SHOWN_MAX = 20, /* differences in the table */
    BUSY_TRIES = 100,
    BUSY_MS = 100,
};

static const struct option_spec options[] = {
    {"version", 'v', OPTION_NUMBER, "VERSION", "ask replicas of this version"},
    {"replica", 0, OPTION_TEXT, "NAME", "ask this replica"},
    {"unready", 0, OPTION_FLAG, NULL, "also a replica that its checks have taken out"},
    {"from", 0, OPTION_MOMENT, "TIME", "only what was recorded from then on"},
    {"to", 0, OPTION_MOMENT, "TIME", "only what was recorded before"},
    {"limit", 'n', OPTION_NUMBER, "COUNT", "so many records; 1000, at most 1000000"},
    {"rate", 0, OPTION_TEXT, "NUMBER", "so many requests a second"},
    {"speed", 0, OPTION_TEXT, "NUMBER",
        "as fast as they came, or so many times: 2 is twice as fast, 0.5 half"},
    {"parallel", 'p', OPTION_NUMBER, "COUNT", "requests under way at most; 4, at most 8"},
    {"timeout", 0, OPTION_TEXT, "TIME", "of each request; 60s, at most 10m"},
    {"ignore", 0, OPTION_LIST, "MEMBER",
        "an outermost member of answers that may differ; id, created, model_version and "
        "system_fingerprint always may"},
    {"output", 'o', OPTION_CHOICE, "FORMAT", "how to show it", "table|json|yaml"},
    JOB_TEAM_OPTION,
    {NULL},
};

enum outcome { NOT_ASKED, SAME, DIFFERENT, NO_ANSWER, OUTCOMES };
static const char *const outcome_names[OUTCOMES] = {"not-asked", "same", "different", "no-answer"};

struct record {
    const char *id, *path, *type, *request;
    const char *request_tensors;   /* in Base64; NULL: there are none */
    struct replay_expected answer; /* without text: only the status counts */
    int64_t ms, version, status, total_us;
    /* What came of it. */
    enum outcome outcome;
    int64_t now_status, now_us, late_ms;
    char *why, *replica; /* freed */
};

struct replay {
    struct cli *cli;
    VEC(struct record) records;
    struct arena *arena; /* theirs */
    int64_t torn, damaged, unfit;
    const char *target, *timeout;
    const char *ignored[24];
    double per_ms, speed; /* at most one of them is set */
    int64_t began_ms;
    atomic_size_t next;
    atomic_bool failed;
    pthread_mutex_t lock;
    struct error err; /* under the lock: the first */
};

/* ---- records --------------------------------------------------------------------------------- */

static bool take_record(struct replay *replay, const struct doc *doc)
{
    struct record record = {.id = doc_get_string(doc, "id"),
        .path = doc_get_string(doc, "path"),
        .type = doc_get_string(doc, "type"),
        .request = doc_get_string(doc, "request"),
        .request_tensors = doc_get_string(doc, "requestTensors"),
        .answer = {doc_get_string(doc, "answer"), doc_get_string(doc, "answerTensors"),
            doc_get_bool(doc, "stream", false)},
        .ms = doc_get_int(doc, "ms", 0),
        .version = doc_get_int(doc, "version", 0),
        .status = doc_get_int(doc, "status", 0),
        .total_us = doc_get_int(doc, "totalUs", 0)};
    if (!record.id || !record.path || !record.request || record.status == 0)
        return false;
    vec_push(&replay->records, record);
    return true;
}

static const char *page_target(struct replay *replay, const char *service, const char *after)
{
    static const char *const bounds[] = {"from", "to"};
    SCOPED(strbuf_finish) struct strbuf target = {0};
    char moment[QUANTITY_TEXT];
    strbuf_puts(&target, "/v1/services");
    view_append_name(&target, service);
    strbuf_printf(&target, "/recording?limit=%d", PAGE);
    for (size_t i = 0; i < ARRAY_LEN(bounds); i++) {
        int64_t ms = arguments_number(replay->cli->args, bounds[i], -1);
        if (ms >= 0)
            url_add_query(&target, bounds[i], quantity_time(ms, moment));
    }
    if (after)
        url_add_query(&target, "after", after);
    return arena_strdup(replay->arena, strbuf_text(&target));
}

static int read_records(
    struct replay *replay, struct api *api, const char *service, struct error *err)
{
    size_t most = (size_t)arguments_number(replay->cli->args, "limit", 1000);
    const char *after = NULL;
    const struct doc *known = NULL;
    if (trial_describe(replay->cli, api, service, &known, err) < 0)
        return -1;
    do {
        const struct doc *page = NULL;
        if (api_get(api, replay->arena, page_target(replay, service, after), &page, err) < 0)
            return -1;
        const struct doc *items = doc_get(page, "items");
        for (const struct doc *item = items ? items->first : NULL;
             item && replay->records.count < most; item = item->next)
            replay->unfit += !take_record(replay, item);
        replay->torn += doc_get_int(page, "torn", 0);
        replay->damaged += doc_get_int(page, "damaged", 0);
        after = doc_get_string(page, "next");
        if (arena_used(replay->arena) > BYTES_MAX)
            return error_set(err, ERR_TOO_LARGE,
                "the recording has more than 512 MiB: say less with --from, --to or --limit");
    } while (after && replay->records.count < most);
    if (replay->records.count == 0)
        return error_set(err, ERR_NOT_FOUND,
            "nothing is recorded of %s/%s in that time: spec.gateway.record.sample says how much "
            "is",
            view_text(known, "metadata.team"), view_text(known, "metadata.name"));
    return 0;
}

/* ---- asking ---------------------------------------------------------------------------------- */

static int64_t now_ms(void)
{
    return clock_monotonic_ns() / 1000000;
}

/* When record i is to be sent, after the beginning. */
static int64_t due_ms(const struct replay *replay, size_t i)
{
    const struct record *records = replay->records.items;
    if (replay->per_ms > 0)
        return (int64_t)((double)i / replay->per_ms);
    if (replay->speed > 0)
        return (int64_t)((double)(records[i].ms - records[0].ms) / replay->speed);
    return 0;
}

static void wait_until_due(const struct replay *replay, size_t i, struct record *record)
{
    int64_t due = replay->began_ms + due_ms(replay, i);
    int64_t now = now_ms();
    while (now < due && !cli_interrupted()) {
        cli_pause(due - now < 200 ? due - now : 200);
        now = now_ms();
    }
    record->late_ms = replay->per_ms > 0 || replay->speed > 0 ? now - due : 0;
}

static void compare(const struct replay *replay, struct arena *arena, struct record *record,
    const struct doc *answer)
{
    SCOPED(strbuf_finish) struct strbuf why = {0};
    const char *failure = doc_get_string(answer, "failure");
    const char *replica = doc_get_string(answer, "replica");
    record->now_status = doc_get_int(answer, "status", 0);
    record->now_us = doc_get_int(answer, "totalUs", 0);
    record->replica = replica ? mem_strdup(replica) : NULL;
    record->outcome = DIFFERENT;
    if (failure) {
        record->outcome = NO_ANSWER;
        strbuf_puts(&why, failure);
    } else if (record->now_status != record->status) {
        strbuf_printf(&why, "status %" PRId64 ", was %" PRId64, record->now_status, record->status);
    } else if (!record->answer.text ||
               replay_same(arena, &record->answer, answer, replay->ignored, &why)) {
        record->outcome = SAME;
    }
    if (record->outcome != SAME)
        record->why = mem_strdup(strbuf_text(&why));
}

static void fail(struct replay *replay, const struct error *err)
{
    pthread_mutex_lock(&replay->lock);
    if (!atomic_exchange(&replay->failed, true))
        replay->err = *err;
    pthread_mutex_unlock(&replay->lock);
}

/* Other tests may be under way: a busy server is asked again, within bounds. */
static int ask(struct replay *replay, struct api *api, struct arena *arena, struct record *record,
    struct error *err)
{
    size_t head = strlen(record->request);
    struct replay_body tensors = {0};
    if (record->request_tensors && !replay_decode(arena, record->request_tensors, &tensors)) {
        record->outcome = NO_ANSWER;
        record->why = mem_strdup("the tensors that were recorded are damaged");
        return 0;
    }
    char *bytes = arena_alloc(arena, head + tensors.length + 1, 1);
    memcpy(bytes, record->request, head);
    if (tensors.length)
        memcpy(bytes + head, tensors.bytes, tensors.length);
    const struct trial_body body = {.path = record->path,
        .type = record->type,
        .tensors = record->request_tensors ? arena_printf(arena, "%zu", head) : NULL,
        .bytes = bytes,
        .length = head + tensors.length,
        .timeout = replay->timeout};
    const struct doc *answer = NULL;
    int rc = trial_post(api, arena, replay->target, &body, &answer, err);
    for (int i = 0; rc < 0 && err->code == ERR_BUSY && i < BUSY_TRIES && !cli_interrupted(); i++) {
        cli_pause(BUSY_MS);
        rc = trial_post(api, arena, replay->target, &body, &answer, err);
    }
    if (rc == 0)
        compare(replay, arena, record, answer);
    return rc;
}

static void *ask_thread(void *context)
{
    struct replay *replay = context;
    struct error err = {0};
    struct api *api = cli_api_another(replay->cli, &err);
    SCOPED(arena_scope) struct arena *arena = arena_create();
    if (!api)
        fail(replay, &err);
    while (api && !atomic_load(&replay->failed) && !cli_interrupted()) {
        size_t i = atomic_fetch_add(&replay->next, 1);
        if (i >= replay->records.count)
            break;
        struct record *record = &replay->records.items[i];
        arena_reset(arena);
        wait_until_due(replay, i, record);
        if (!cli_interrupted() && ask(replay, api, arena, record, &err) < 0)
            fail(replay, &err);
    }
    api_destroy(api);
    return NULL;
}

static int ask_all(struct replay *replay, struct error *err)
{
    pthread_t threads[THREADS_MAX];
    int count = (int)arguments_number(replay->cli->args, "parallel", 4), started = 0;
    assert(count >= 1 && count <= THREADS_MAX);
    cli_catch_interrupts(-1);
    replay->began_ms = now_ms();
    while (started < count && pthread_create(&threads[started], NULL, ask_thread, replay) == 0)
        started++;
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    if (started == 0)
        return error_set(err, ERR_UNAVAILABLE, "no thread can be started");
    if (atomic_load(&replay->failed))
        return error_set(err, replay->err.code, "%s", replay->err.text);
    return 0;
}

/* ---- what came of it ------------------------------------------------------------------------- */

struct latencies {
    int64_t median_us, p95_us, max_us;
};

static int by_value(const void *a, const void *b)
{
    int64_t one = *(const int64_t *)a, other = *(const int64_t *)b;
    return (one > other) - (one < other);
}

/* Of those that were answered, then (now false) and now. */
static struct latencies latencies_of(const struct replay *replay, bool now)
{
    struct latencies ret = {0};
    size_t count = 0;
    SCOPED(mem_scope) int64_t *all = mem_alloc(replay->records.count + 1, sizeof *all);
    for (size_t i = 0; i < replay->records.count; i++) {
        const struct record *record = &replay->records.items[i];
        if (record->outcome == SAME || record->outcome == DIFFERENT)
            all[count++] = now ? record->now_us : record->total_us;
    }
    if (count == 0)
        return ret;
    qsort(all, count, sizeof *all, by_value);
    ret.median_us = all[(count - 1) / 2];
    ret.p95_us = all[(count * 95 + 99) / 100 - 1];
    ret.max_us = all[count - 1];
    return ret;
}

static void count_outcomes(const struct replay *replay, size_t counts[OUTCOMES], int64_t *ret_late)
{
    memset(counts, 0, OUTCOMES * sizeof *counts);
    *ret_late = 0;
    for (size_t i = 0; i < replay->records.count; i++) {
        counts[replay->records.items[i].outcome]++;
        if (replay->records.items[i].late_ms > *ret_late)
            *ret_late = replay->records.items[i].late_ms;
    }
}

static const char *ms_text(struct arena *arena, int64_t us)
{
    return arena_printf(arena, "%.1f", (double)us / 1000);
}

static void add_row(const struct cli *cli, struct table *table, const struct record *record)
{
    struct arena *arena = cli->arena;
    char moment[QUANTITY_TEXT];
    table_add_cell(table, quantity_time(record->ms / 1000 * 1000, moment));
    table_add_cell(table, record->id);
    table_add_cell_coloured(table, outcome_names[record->outcome], cli->colour ? "31" : NULL);
    table_add_cell(table, ms_text(arena, record->total_us));
    table_add_cell(table, ms_text(arena, record->now_us));
    table_add_cell(table, record->why);
}

static void say_latencies(struct strbuf *out, const struct replay *replay)
{
    struct latencies then = latencies_of(replay, false), now = latencies_of(replay, true);
    strbuf_printf(out,
        "latency ms: median %.1f, was %.1f; p95 %.1f, was %.1f; most %.1f, was %.1f\n",
        (double)now.median_us / 1000, (double)then.median_us / 1000, (double)now.p95_us / 1000,
        (double)then.p95_us / 1000, (double)now.max_us / 1000, (double)then.max_us / 1000);
}

static int say_table(struct replay *replay, struct error *err)
{
    SCOPED(table_scope) struct table *table = table_create();
    SCOPED(strbuf_finish) struct strbuf out = {0};
    size_t counts[OUTCOMES], shown = 0;
    int64_t late;
    static const char *const titles[] = {
        "RECORDED", "ID", "NOW", "MS-THEN", "MS-NOW", "DIFFERENCE"};
    for (size_t i = 0; i < ARRAY_LEN(titles); i++)
        table_add_column(table, titles[i], i == 3 || i == 4);
    for (size_t i = 0; i < replay->records.count && shown < SHOWN_MAX; i++) {
        const struct record *record = &replay->records.items[i];
        if (record->outcome != DIFFERENT && record->outcome != NO_ANSWER)
            continue;
        add_row(replay->cli, table, record);
        shown++;
    }
    count_outcomes(replay, counts, &late);
    if (shown > 0)
        table_write(table, &out);
    if (counts[DIFFERENT] + counts[NO_ANSWER] > shown)
        strbuf_printf(&out, "and %zu more: -o json has them all\n",
            counts[DIFFERENT] + counts[NO_ANSWER] - shown);
    strbuf_printf(&out, "%zu same, %zu different, %zu without an answer", counts[SAME],
        counts[DIFFERENT], counts[NO_ANSWER]);
    if (counts[NOT_ASKED] > 0)
        strbuf_printf(&out, ", %zu not asked", counts[NOT_ASKED]);
    strbuf_putc(&out, '\n');
    say_latencies(&out, replay);
    if (late > 100)
        strbuf_printf(&out, "up to %.1f s late: its answers are slower than was asked for\n",
            (double)late / 1000);
    return cli_write(replay->cli, strbuf_text(&out), out.length, err);
}

static void set_latencies(
    struct arena *arena, struct doc *doc, const char *name, struct latencies of)
{
    struct doc *map = doc_set(arena, doc, name, doc_map(arena));
    doc_set_int(arena, map, "medianUs", of.median_us);
    doc_set_int(arena, map, "p95Us", of.p95_us);
    doc_set_int(arena, map, "maxUs", of.max_us);
}

static struct doc *record_doc(struct arena *arena, const struct record *record)
{
    struct doc *doc = doc_map(arena);
    doc_set_string(arena, doc, "id", record->id);
    doc_set_int(arena, doc, "ms", record->ms);
    doc_set_string(arena, doc, "outcome", outcome_names[record->outcome]);
    doc_set_string(arena, doc, "difference", record->why);
    doc_set_int(arena, doc, "versionThen", record->version);
    doc_set_int(arena, doc, "statusThen", record->status);
    doc_set_int(arena, doc, "statusNow", record->now_status);
    doc_set_int(arena, doc, "usThen", record->total_us);
    doc_set_int(arena, doc, "usNow", record->now_us);
    doc_set_string(arena, doc, "replica", record->replica);
    doc_set_bool(arena, doc, "statusOnly", !record->answer.text);
    return doc;
}

static int say_doc(struct replay *replay, const char *format, struct error *err)
{
    struct arena *arena = replay->cli->arena;
    struct doc *doc = doc_map(arena), *items = doc_list(arena);
    size_t counts[OUTCOMES];
    int64_t late;
    count_outcomes(replay, counts, &late);
    for (size_t i = 0; i < OUTCOMES; i++)
        doc_set_int(arena, doc, outcome_names[i], (int64_t)counts[i]);
    set_latencies(arena, doc, "then", latencies_of(replay, false));
    set_latencies(arena, doc, "now", latencies_of(replay, true));
    doc_set_int(arena, doc, "lateMs", late);
    doc_set_int(arena, doc, "torn", replay->torn);
    doc_set_int(arena, doc, "damaged", replay->damaged + replay->unfit);
    for (size_t i = 0; i < replay->records.count; i++)
        doc_append(items, record_doc(arena, &replay->records.items[i]));
    doc_set(arena, doc, "requests", items);
    return cli_write_doc(replay->cli, doc, format, err);
}

static int say(struct replay *replay, struct error *err)
{
    const char *format = arguments_text(replay->cli->args, "output");
    size_t counts[OUTCOMES];
    int64_t late;
    count_outcomes(replay, counts, &late);
    replay->cli->exit_status = counts[SAME] == replay->records.count ? 0 : 1;
    if (replay->torn + replay->damaged + replay->unfit > 0)
        cli_note(replay->cli, "%" PRId64 " torn and %" PRId64 " damaged records were skipped",
            replay->torn, replay->damaged + replay->unfit);
    if (format && strcmp(format, "table") != 0)
        return say_doc(replay, format, err);
    return say_table(replay, err);
}

/* ---- the verb -------------------------------------------------------------------------------- */

static int take_number(const struct cli *cli, const char *name, double *ret, struct error *err)
{
    const char *text = arguments_text(cli->args, name);
    int64_t micro = 0;
    if (text && (quantity_parse_micro(text, &micro, err) < 0 || micro == 0))
        return error_set(err, ERR_INVALID, "--%s: expected a number above 0, such as 2.5", name);
    *ret = (double)micro / 1e6;
    return 0;
}

static int check_count(const struct cli *cli, const char *name, int64_t most, struct error *err)
{
    int64_t count = arguments_number(cli->args, name, 1);
    if (count < 1 || count > most)
        return error_set(err, ERR_INVALID,
            "--%s: expected a number from 1 to %" PRId64 ", got %" PRId64, name, most, count);
    return 0;
}

static int take_options(struct replay *replay, struct error *err)
{
    static const char *const always[] = {"id", "created", "model_version", "system_fingerprint"};
    double rate = 0;
    size_t count = 0;
    if (check_count(replay->cli, "limit", RECORDS_MAX, err) < 0 ||
        check_count(replay->cli, "parallel", THREADS_MAX, err) < 0 ||
        take_number(replay->cli, "rate", &rate, err) < 0 ||
        take_number(replay->cli, "speed", &replay->speed, err) < 0)
        return -1;
    if (rate > 0 && replay->speed > 0)
        return error_set(err, ERR_INVALID, "--rate and --speed exclude each other");
    replay->per_ms = rate / 1000;
    replay->timeout = arguments_text(replay->cli->args, "timeout");
    for (; count < ARRAY_LEN(always); count++)
        replay->ignored[count] = always[count];
    for (size_t i = 0; arguments_item(replay->cli->args, "ignore", i); i++) {
        if (count + 1 >= ARRAY_LEN(replay->ignored))
            return error_set(err, ERR_INVALID, "--ignore: at most %zu members",
                ARRAY_LEN(replay->ignored) - 1 - ARRAY_LEN(always));
        replay->ignored[count++] = arguments_item(replay->cli->args, "ignore", i);
    }
    return 0;
}

static void replay_finish(struct replay *replay)
{
    for (size_t i = 0; i < replay->records.count; i++) {
        free(replay->records.items[i].why);
        free(replay->records.items[i].replica);
    }
    vec_free(&replay->records);
    arena_destroy(replay->arena);
    pthread_mutex_destroy(&replay->lock);
}

static int run(struct cli *cli, struct error *err)
{
    SCOPED(replay_finish) struct replay replay = {.cli = cli, .arena = arena_create()};
    const char *service = trial_service(cli, arguments_operand(cli->args, 0));
    pthread_mutex_init(&replay.lock, NULL);
    struct api *api = cli_api(cli, err);
    if (!api || take_options(&replay, err) < 0 || read_records(&replay, api, service, err) < 0)
        return -1;
    const char *note = arena_printf(cli->arena, "replay of %zu records", replay.records.count);
    if (trial_start(cli, api, service, note, &replay.target, err) < 0 || ask_all(&replay, err) < 0)
        return -1;
    return say(&replay, err);
}

const struct verb verb_replay = {
    .name = "replay",
    .operands = "SERVICE",
    .summary = "ask a version what users were recorded asking",
    .description =
        "Sends what the gateway recorded of the service (spec.gateway.record) to its replicas, of "
        "the version given, in the way of muster test: beside its users, around the gateway, "
        "audited. Each answer is compared with the one that was recorded: the status, JSON by "
        "value (but for members that always differ), and how long it took. Where something was "
        "redacted any text will do; of streams what their events say is compared.\n\n"
        "Without --rate or --speed the next request goes out as soon as one of those under way is "
        "answered. The exit status is 1 unless all answers are the same.",
    .examples = "muster replay vision/digits --version 7\n"
                "muster replay vision/digits -v 7 --from 2026-01-31T08:00:00Z --speed 2\n"
                "muster replay chat -v 3 --rate 20 --ignore usage -o json",
    .options = options,
    .scope = VERB_REMOTE,
    .run = run,
};
