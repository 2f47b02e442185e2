/* Tests of lines of the access log, against the plain way to print them. */
#include "base/memory.h"
#include "base/prng.h"
#include "base/quantity.h"
#include "base/strbuf.h"
#include "base/test.h"
#include "gateway/log_line.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* ---- the plain way --------------------------------------------------------------------------- */

static void print_text(struct strbuf *out, const char *member, const char *text, size_t longest)
{
    char cut[LOG_LINE_PATH_BYTES + 1];
    size_t length = strnlen(text, longest);
    memcpy(cut, text, length);
    cut[length] = '\0';
    strbuf_printf(out, ",\"%s\":", member);
    strbuf_json(out, cut);
}

static void print_ms(struct strbuf *out, const char *member, int64_t ns)
{
    strbuf_printf(out, ",\"%s\":%" PRId64 ".%03" PRId64, member, ns / 1000000, ns / 1000 % 1000);
}

static void print_number(struct strbuf *out, const char *member, int64_t number)
{
    strbuf_printf(out, ",\"%s\":%" PRId64, member, number);
}

static void print_line(struct strbuf *out, const struct log_line *line)
{
    char moment[QUANTITY_TEXT];
    quantity_time(line->wall_ms / 1000 * 1000, moment);
    moment[strlen(moment) - 1] = '\0';
    strbuf_printf(out, "{\"time\":\"%s.%03dZ\"", moment, (int)(line->wall_ms % 1000));
    print_text(out, "id", line->id, LOG_LINE_TEXT_BYTES);
    print_text(out, "key", line->key, LOG_LINE_TEXT_BYTES);
    print_text(out, "method", line->method, LOG_LINE_TEXT_BYTES);
    print_text(out, "path", line->path, LOG_LINE_PATH_BYTES);
    print_text(out, "route", line->route, LOG_LINE_TEXT_BYTES);
    print_number(out, "version", line->version);
    print_number(out, "replica", line->replica);
    if (line->arm)
        print_text(out, "arm", line->arm, LOG_LINE_TEXT_BYTES);
    print_number(out, "status", line->status);
    print_text(out, "end", line->end, LOG_LINE_TEXT_BYTES);
    print_number(out, "bytesIn", line->bytes_in);
    print_number(out, "bytesOut", line->bytes_out);
    print_number(out, "retries", line->retries);
    if (line->first_ns >= 0)
        print_ms(out, "firstMs", line->first_ns);
    print_ms(out, "totalMs", line->total_ns);
    if (line->asked)
        print_text(out, "asked", line->asked, LOG_LINE_TEXT_BYTES);
    if (line->tried)
        print_text(out, "tried", line->tried, LOG_LINE_TEXT_BYTES);
    if (line->answered_by)
        print_text(out, "answeredBy", line->answered_by, LOG_LINE_TEXT_BYTES);
    print_text(out, "client", line->client, LOG_LINE_TEXT_BYTES);
    strbuf_puts(out, "}\n");
}

static void check(const struct log_line *line, struct log_moment *moment)
{
    SCOPED(strbuf_finish) struct strbuf plain = {0};
    char *out = mem_alloc(1, LOG_LINE_BYTES);
    print_line(&plain, line);
    size_t length = log_line_write(line, moment, out);
    assert_int_equal(length, plain.length);
    assert_memory_equal(out, plain.text, length);
    free(out);
}

/* ---- lines ----------------------------------------------------------------------------------- */

static const struct log_line usual = {1772357400123, "5f1c", "k1", "POST",
    "/v2/models/digits/infer", "digits", 3, 4711, 200, "complete", 310, 120, 0, 2105000, 2180000,
    "127.0.0.1:40312"};

static void a_line_reads_as_documented(void **state)
{
    struct log_moment moment = {0};
    char out[LOG_LINE_BYTES];
    (void)state;
    size_t length = log_line_write(&usual, &moment, out);
    out[length] = '\0';
    assert_string_equal(out,
        "{\"time\":\"2026-03-01T09:30:00.123Z\",\"id\":\"5f1c\",\"key\":\"k1\",\"method\":\"POST\","
        "\"path\":\"/v2/models/digits/infer\",\"route\":\"digits\",\"version\":3,\"replica\":4711,"
        "\"status\":200,\"end\":\"complete\",\"bytesIn\":310,\"bytesOut\":120,\"retries\":0,"
        "\"firstMs\":2.105,\"totalMs\":2.180,\"client\":\"127.0.0.1:40312\"}\n");
}

static void what_is_extreme_has_room(void **state)
{
    struct log_moment moment = {0};
    char longest[2 * LOG_LINE_PATH_BYTES];
    (void)state;
    memset(longest, 1, sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    struct log_line line = {INT64_MAX / 1000000, longest, longest, longest, longest, longest,
        INT64_MIN, INT64_MIN, INT32_MIN, longest, INT64_MIN, INT64_MIN, INT64_MIN, INT64_MAX,
        INT64_MAX, longest, longest, longest, longest, longest};
    check(&line, &moment);
}

static void moments_of_other_seconds_are_made_anew(void **state)
{
    struct log_moment moment = {0};
    struct log_line line = usual;
    (void)state;
    for (int64_t ms = 0; ms < 5000; ms += 499) {
        line.wall_ms = ms;
        check(&line, &moment);
        line.wall_ms = usual.wall_ms - ms;
        check(&line, &moment);
    }
}

/* Mostly plain; of any length up to beyond what is kept. */
static char *draw_text(struct prng *prng, char *room, size_t longest)
{
    size_t length = prng_below(prng, 8) ? prng_below(prng, 40) : prng_below(prng, longest);
    uint64_t odd = prng_below(prng, 3) ? UINT64_MAX : prng_below(prng, 60) + 1;
    for (size_t i = 0; i < length; i++) {
        bool is_odd = odd != UINT64_MAX && prng_below(prng, odd) == 0;
        room[i] = (char)(is_odd ? 1 + prng_below(prng, 255) : '#' + prng_below(prng, 90 - '#'));
    }
    room[length] = '\0';
    return room;
}

static void drawn_lines_are_as_printed_plainly(void **state)
{
    enum { LONGEST = LOG_LINE_PATH_BYTES + 100 };
    char rooms[11][LONGEST + 1];
    struct prng prng = {5};
    struct log_moment moment = {0};
    (void)state;
    for (int round = 0; round < 5000; round++) {
        const char *texts[11];
        for (size_t i = 0; i < ARRAY_LEN(texts); i++)
            texts[i] = draw_text(&prng, rooms[i], LONGEST);
        struct log_line line = {(int64_t)prng_below(&prng, 4000000000000), texts[0], texts[1],
            texts[2], texts[3], texts[4], (int64_t)prng_next(&prng),
            (int64_t)(prng_next(&prng) >> prng_below(&prng, 64)), (int)prng_below(&prng, 600),
            texts[5], (int64_t)prng_below(&prng, 1 << 30), (int64_t)prng_next(&prng) >> 3,
            (int64_t)prng_below(&prng, 3), (int64_t)prng_below(&prng, 1 << 30) - (1 << 28),
            (int64_t)(prng_next(&prng) >> 1), texts[6], prng_below(&prng, 3) ? NULL : texts[7],
            prng_below(&prng, 3) ? NULL : texts[8], prng_below(&prng, 3) ? NULL : texts[9],
            prng_below(&prng, 3) ? NULL : texts[10]};
        check(&line, &moment);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_reads_as_documented),
        cmocka_unit_test(what_is_extreme_has_room),
        cmocka_unit_test(moments_of_other_seconds_are_made_anew),
        cmocka_unit_test(drawn_lines_are_as_printed_plainly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
