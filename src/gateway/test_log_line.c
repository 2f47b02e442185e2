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
    if (!text)
        return;
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
    quantity_time(line->numbers.wall_ms / 1000 * 1000, moment);
    moment[strlen(moment) - 1] = '\0';
    strbuf_printf(out, "{\"time\":\"%s.%03dZ\"", moment, (int)(line->numbers.wall_ms % 1000));
    print_text(out, "id", line->texts[LOG_ID].bytes, LOG_LINE_TEXT_BYTES);
    print_text(out, "key", line->texts[LOG_KEY].bytes, LOG_LINE_TEXT_BYTES);
    print_text(out, "method", line->texts[LOG_METHOD].bytes, LOG_LINE_TEXT_BYTES);
    print_text(out, "path", line->texts[LOG_PATH].bytes, LOG_LINE_PATH_BYTES);
    print_text(out, "route", line->texts[LOG_ROUTE].bytes, LOG_LINE_TEXT_BYTES);
    print_number(out, "version", line->numbers.version);
    print_number(out, "replica", line->numbers.replica);
    print_text(out, "arm", line->numbers.arm, LOG_LINE_TEXT_BYTES);
    print_number(out, "status", line->numbers.status);
    print_text(out, "end", line->numbers.end, LOG_LINE_TEXT_BYTES);
    print_number(out, "bytesIn", line->numbers.bytes_in);
    print_number(out, "bytesOut", line->numbers.bytes_out);
    print_number(out, "retries", line->numbers.retries);
    if (line->numbers.first_ns >= 0)
        print_ms(out, "firstMs", line->numbers.first_ns);
    print_ms(out, "totalMs", line->numbers.total_ns);
    print_text(out, "asked", line->texts[LOG_ASKED].bytes, LOG_LINE_TEXT_BYTES);
    print_text(out, "tried", line->texts[LOG_TRIED].bytes, LOG_LINE_TEXT_BYTES);
    print_text(out, "answeredBy", line->texts[LOG_ANSWERED_BY].bytes, LOG_LINE_TEXT_BYTES);
    print_text(out, "client", line->texts[LOG_CLIENT].bytes, LOG_LINE_TEXT_BYTES);
    strbuf_puts(out, "}\n");
}

static size_t write_through_record(
    const struct log_line *line, struct log_moment *moment, char *out)
{
    SCOPED(mem_scope) char *record = mem_alloc(1, LOG_RECORD_BYTES);
    struct log_line again;
    size_t size = log_record_write(line, record);
    assert_true(size <= LOG_RECORD_BYTES && size % 8 == 0);
    assert_int_equal(log_record_read(record, &again), size);
    size_t length = log_line_write(&again, moment, out);
    assert_true(size <= length);
    return length;
}

static void check(const struct log_line *line, struct log_moment *moment)
{
    SCOPED(strbuf_finish) struct strbuf plain = {0};
    SCOPED(mem_scope) char *out = mem_alloc(1, LOG_LINE_BYTES);
    print_line(&plain, line);
    assert_int_equal(write_through_record(line, moment, out), plain.length);
    assert_memory_equal(out, plain.text, plain.length);
    assert_int_equal(log_line_write(line, moment, out), plain.length);
    assert_memory_equal(out, plain.text, plain.length);
}

/* ---- lines ----------------------------------------------------------------------------------- */

#define TEXT(text)                                                                                 \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }

static const struct log_line usual = {
    {1772357400123, 3, 4711, 310, 120, 2105000, 2180000, 200, 0, "complete", NULL},
    {TEXT("5f1c"), TEXT("k1"), TEXT("POST"), TEXT("/v2/models/digits/infer"), TEXT("digits"),
        TEXT("127.0.0.1:40312")}};

static void a_line_reads_as_documented(void **state)
{
    struct log_moment moment = {0};
    char out[LOG_LINE_BYTES];
    (void)state;
    size_t length = write_through_record(&usual, &moment, out);
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
    struct log_line line = {{INT64_MAX / 1000000, INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN,
        INT64_MAX, INT64_MAX, INT32_MIN, INT32_MIN, longest, longest}};
    for (size_t i = 0; i < LOG_TEXTS; i++)
        line.texts[i] = log_text(longest);
    check(&line, &moment);
}

static void moments_of_other_seconds_are_made_anew(void **state)
{
    struct log_moment moment = {0};
    struct log_line line = usual;
    (void)state;
    for (int64_t ms = 0; ms < 5000; ms += 499) {
        line.numbers.wall_ms = ms;
        check(&line, &moment);
        line.numbers.wall_ms = usual.numbers.wall_ms - ms;
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
    char rooms[LOG_TEXTS + 2][LONGEST + 1];
    struct prng prng = {5};
    struct log_moment moment = {0};
    (void)state;
    for (int round = 0; round < 5000; round++) {
        struct log_line line = {{(int64_t)prng_below(&prng, 4000000000000),
            (int64_t)prng_next(&prng), (int64_t)(prng_next(&prng) >> prng_below(&prng, 64)),
            (int64_t)prng_below(&prng, 1 << 30), (int64_t)prng_next(&prng) >> 3,
            (int64_t)prng_below(&prng, 1 << 30) - (1 << 28), (int64_t)(prng_next(&prng) >> 1),
            (int)prng_below(&prng, 600), (int)prng_below(&prng, 3),
            draw_text(&prng, rooms[LOG_TEXTS], LONGEST),
            prng_below(&prng, 3) ? NULL : draw_text(&prng, rooms[LOG_TEXTS + 1], LONGEST)}};
        for (size_t i = 0; i < LOG_TEXTS; i++) {
            bool is_there = i < LOG_ASKED || prng_below(&prng, 3) == 0;
            line.texts[i] = log_text(is_there ? draw_text(&prng, rooms[i], LONGEST) : NULL);
        }
        check(&line, &moment);
    }
}

/* Routes may go away, and the request does, while a record waits. */
static void a_record_has_texts_of_its_own(void **state)
{
    struct log_moment moment = {0};
    char route[] = "digits", before[LOG_LINE_BYTES], after[LOG_LINE_BYTES];
    SCOPED(mem_scope) char *record = mem_alloc(1, LOG_RECORD_BYTES);
    struct log_line line = usual, again;
    (void)state;
    line.texts[LOG_ROUTE] = log_text(route);
    size_t length = log_line_write(&line, &moment, before);
    (void)log_record_write(&line, record);
    memset(route, 'x', sizeof route);
    memset(&line, 'x', sizeof line);
    (void)log_record_read(record, &again);
    assert_int_equal(log_line_write(&again, &moment, after), length);
    assert_memory_equal(before, after, length);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_reads_as_documented),
        cmocka_unit_test(what_is_extreme_has_room),
        cmocka_unit_test(moments_of_other_seconds_are_made_anew),
        cmocka_unit_test(drawn_lines_are_as_printed_plainly),
        cmocka_unit_test(a_record_has_texts_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
