/* Tests of amounts: tables of what is read and refused, and round trips of random values. */
#include "base/memory.h"
#include "base/prng.h"
#include "base/quantity.h"
#include "base/test.h"

#include <stdio.h>
#include <string.h>

typedef int parse_function(const char *text, int64_t *ret, struct error *err);
typedef char *format_function(int64_t value, char out[QUANTITY_TEXT]);

struct valid {
    const char *text;
    int64_t value;
};

static const int64_t UNTOUCHED = -77;
static const int64_t TIME_END_MS = 253402300800000;

static void check_valid(parse_function *parse, const struct valid *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct error err = {0};
        int64_t value = UNTOUCHED;
        if (parse(cases[i].text, &value, &err) < 0)
            fail_msg("\"%s\" was refused: %s", cases[i].text, err.text);
        if (value != cases[i].value)
            fail_msg("\"%s\" gave %lld", cases[i].text, (long long)value);
    }
}

static void check_invalid(parse_function *parse, const char *const *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct error err = {0};
        int64_t value = UNTOUCHED;
        if (parse(cases[i], &value, &err) == 0)
            fail_msg("\"%s\" was accepted as %lld", cases[i], (long long)value);
        assert_int_equal(value, UNTOUCHED);
        assert_int_equal(err.code, ERR_INVALID);
        assert_non_null(strstr(err.text, "expected"));
        assert_int_equal(parse(cases[i], &value, NULL), -1);
    }
}

/* What no amount looks like. */
static const char *const nonsense[] = {"", " ", "1 ", " 1", "+1", "-1", ".", ".5", "1.", "1..2",
    "1.2.3", "0x10", "1e3", "1,5", "two", "1\n", "99999999999999999999", "NaN", "inf"};

static void test_bytes_are_read(void **state)
{
    (void)state;
    static const struct valid cases[] = {{"0", 0}, {"1", 1}, {"007", 7}, {"1k", 1000},
        {"1Ki", 1024}, {"512Mi", 512 << 20}, {"16Gi", 16LL << 30}, {"1.5G", 1500000000},
        {"0.5Ki", 512}, {"1.50Gi", 3LL << 29}, {"1.000", 1}, {"2T", 2000000000000},
        {"3P", 3000000000000000}, {"8191Pi", 8191LL << 50}, {"0P", 0},
        {"9223372036854775807", INT64_MAX}};
    check_valid(quantity_parse_bytes, cases, ARRAY_LEN(cases));
}

static void test_bytes_are_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {"1K", "1ki", "1KiB", "1m", "1Gib", "G", "0.5", "0.0001Ki",
        "8192Pi", "9223372036854775808", "9223372036854775807k", "1.0000000000000000000", "1 Gi"};
    check_invalid(quantity_parse_bytes, cases, ARRAY_LEN(cases));
    check_invalid(quantity_parse_bytes, nonsense, ARRAY_LEN(nonsense));
}

static void test_milli_is_read(void **state)
{
    (void)state;
    static const struct valid cases[] = {{"0", 0}, {"2", 2000}, {"0.5", 500}, {"250m", 250},
        {"0.001", 1}, {"1.2500", 1250}, {"9223372036854775.807", INT64_MAX},
        {"9223372036854775807m", INT64_MAX}};
    check_valid(quantity_parse_milli, cases, ARRAY_LEN(cases));
}

static void test_milli_is_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "0.0005", "1M", "1.5mm", "0.5m", "m", "9223372036854775.808"};
    check_invalid(quantity_parse_milli, cases, ARRAY_LEN(cases));
    check_invalid(quantity_parse_milli, nonsense, ARRAY_LEN(nonsense));
}

static void test_micro_is_read(void **state)
{
    (void)state;
    static const struct valid cases[] = {
        {"0", 0}, {"2.50", 2500000}, {"0.000001", 1}, {"9223372036854.775807", INT64_MAX}};
    check_valid(quantity_parse_micro, cases, ARRAY_LEN(cases));
}

static void test_micro_is_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {"0.0000001", "1m", "$1", "9223372036854.775808"};
    check_invalid(quantity_parse_micro, cases, ARRAY_LEN(cases));
    check_invalid(quantity_parse_micro, nonsense, ARRAY_LEN(nonsense));
}

static void test_durations_are_read(void **state)
{
    (void)state;
    static const struct valid cases[] = {{"0", 0}, {"0s", 0}, {"90s", 90000}, {"10m", 600000},
        {"1h30m", 5400000}, {"250ms", 250}, {"2d", 172800000}, {"1w", 604800000}, {"1.5h", 5400000},
        {"1m1ms", 60001}, {"0.001s", 1}, {"1d2h3m4s5ms", 93784005},
        {"9223372036854775807ms", INT64_MAX}};
    check_valid(quantity_parse_duration, cases, ARRAY_LEN(cases));
}

static void test_durations_are_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {"5", "1h30", "s", "1x", "1hour", "0.5ms", "1H", "1s ", "00",
        "9223372036854775807s", "9223372036854775807ms1ms", "1h 30m", "1h-30m"};
    check_invalid(quantity_parse_duration, cases, ARRAY_LEN(cases));
    check_invalid(quantity_parse_duration, nonsense, ARRAY_LEN(nonsense));
}

static void test_times_are_read(void **state)
{
    (void)state;
    static const struct valid cases[] = {{"1970-01-01T00:00:00Z", 0},
        {"1970-01-01T02:00:00+02:00", 0}, {"1970-01-01T00:00:00.001Z", 1},
        {"2026-01-31T08:30:00Z", 1769848200000}, {"2026-01-31T08:30:00.5Z", 1769848200500},
        {"2026-01-31T08:30:00.123456789Z", 1769848200123},
        {"2026-01-31T10:30:00+02:00", 1769848200000}, {"2026-01-31T03:00:00-05:30", 1769848200000},
        {"2000-02-29T00:00:00Z", 951782400000}, {"2024-02-29T23:59:59Z", 1709251199000},
        {"2024-12-31T23:59:59Z", 1735689599000}, {"2100-03-01T00:00:00Z", 4107542400000},
        {"9999-12-31T23:59:59.999Z", 253402300799999}};
    check_valid(quantity_parse_time, cases, ARRAY_LEN(cases));
}

static void test_times_are_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {"2026-01-31", "2026-01-31T08:30:00", "2026-01-31 08:30:00Z",
        "2026-02-29T00:00:00Z", "2100-02-29T00:00:00Z", "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z", "2026-01-00T00:00:00Z", "2026-04-31T00:00:00Z",
        "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z", "2026-01-01T00:00:60Z",
        "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00.0123456789Z", "2026-01-01T00:00:00z",
        "2026-01-01T00:00:00ZZ", "2026-01-01T00:00:00+0200", "2026-01-01T00:00:00+24:00",
        "2026-01-01T00:00:00+02:60", "2026-01-01T00:00:00+02:00Z", "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+02:00", "9999-12-31T23:59:59-01:00", "10000-01-01T00:00:00Z",
        "2026-1-01T00:00:00Z", "2026-01-01T00:00", "2026-01-"};
    check_invalid(quantity_parse_time, cases, ARRAY_LEN(cases));
    check_invalid(quantity_parse_time, nonsense, ARRAY_LEN(nonsense));
}

static void test_a_refusal_quotes_no_more_than_a_line(void **state)
{
    (void)state;
    struct error err;
    int64_t value;
    char text[4096];
    memset(text, '\n', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_int_equal(quantity_parse_bytes(text, &value, &err), -1);
    assert_null(strchr(err.text, '\n'));
    assert_true(strlen(err.text) < 200);
}

static void check_round_trip(parse_function *parse, format_function *format, int64_t value)
{
    char text[QUANTITY_TEXT];
    struct error err = {0};
    int64_t again = UNTOUCHED;
    assert_ptr_equal(format(value, text), text);
    assert_true(strlen(text) < QUANTITY_TEXT);
    if (parse(text, &again, &err) < 0)
        fail_msg("%lld was written as \"%s\": %s", (long long)value, text, err.text);
    if (again != value)
        fail_msg("%lld came back as %lld from \"%s\"", (long long)value, (long long)again, text);
}

/* Values of every size, and ones that are a multiple of a unit. */
static int64_t random_value(struct prng *prng)
{
    static const int64_t factors[] = {1, 1000, 1024, 60000, 3600000, 1 << 20, 86400000, 1LL << 40};
    int64_t value = (int64_t)(prng_next(prng) >> (1 + prng_below(prng, 63)));
    int64_t factor = factors[prng_below(prng, ARRAY_LEN(factors))];
    return value <= INT64_MAX / factor ? value * factor : value;
}

static void test_what_is_written_reads_back(void **state)
{
    (void)state;
    static const int64_t edges[] = {0, 1, 999, 1000, 1023, 1024, 1048576, INT64_MAX, INT64_MAX - 1};
    struct prng prng = {42};
    for (size_t i = 0; i < 20000 + ARRAY_LEN(edges); i++) {
        int64_t value = i < ARRAY_LEN(edges) ? edges[i] : random_value(&prng);
        check_round_trip(quantity_parse_bytes, quantity_bytes, value);
        check_round_trip(quantity_parse_milli, quantity_milli, value);
        check_round_trip(quantity_parse_micro, quantity_micro, value);
        check_round_trip(quantity_parse_duration, quantity_duration, value);
        check_round_trip(quantity_parse_time, quantity_time, value % TIME_END_MS);
    }
}

static void check_text(format_function *format, int64_t value, const char *expected)
{
    char text[QUANTITY_TEXT];
    assert_string_equal(format(value, text), expected);
}

static void test_texts_are_short(void **state)
{
    (void)state;
    check_text(quantity_bytes, 16LL << 30, "16Gi");
    check_text(quantity_bytes, 1536LL << 20, "1536Mi");
    check_text(quantity_bytes, 1000, "1000");
    check_text(quantity_milli, 500, "0.5");
    check_text(quantity_milli, -500, "-0.5");
    check_text(quantity_milli, INT64_MIN, "-9223372036854775.808");
    check_text(quantity_milli, 10000, "10");
    check_text(quantity_micro, 2500000, "2.5");
    check_text(quantity_duration, 0, "0s");
    check_text(quantity_duration, 5400000, "1h30m");
    check_text(quantity_time, 1769848200000, "2026-01-31T08:30:00Z");
    check_text(quantity_time, 1769848200050, "2026-01-31T08:30:00.050Z");
    check_text(quantity_time, -1, "-");
    check_text(quantity_time, TIME_END_MS, "-");
}

static void test_texts_for_people(void **state)
{
    (void)state;
    check_text(quantity_human_bytes, 0, "0 B");
    check_text(quantity_human_bytes, 1023, "1023 B");
    check_text(quantity_human_bytes, 1536, "1.5 KiB");
    check_text(quantity_human_bytes, 16LL << 30, "16 GiB");
    check_text(quantity_human_bytes, INT64_MAX, "8191.9 PiB");
    check_text(quantity_human_duration, -5, "0s");
    check_text(quantity_human_duration, 250, "250ms");
    check_text(quantity_human_duration, 1250, "1s");
    check_text(quantity_human_duration, 192000, "3m12s");
    check_text(quantity_human_duration, 3605000, "1h");
    check_text(quantity_human_duration, 90061000, "1d1h");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_are_read),
        cmocka_unit_test(test_bytes_are_refused),
        cmocka_unit_test(test_milli_is_read),
        cmocka_unit_test(test_milli_is_refused),
        cmocka_unit_test(test_micro_is_read),
        cmocka_unit_test(test_micro_is_refused),
        cmocka_unit_test(test_durations_are_read),
        cmocka_unit_test(test_durations_are_refused),
        cmocka_unit_test(test_times_are_read),
        cmocka_unit_test(test_times_are_refused),
        cmocka_unit_test(test_a_refusal_quotes_no_more_than_a_line),
        cmocka_unit_test(test_what_is_written_reads_back),
        cmocka_unit_test(test_texts_are_short),
        cmocka_unit_test(test_texts_for_people),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
