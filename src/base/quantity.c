/* Amounts as people write them: see quantity.h. Every parser works on digits and checks for
 * overflow; none accepts white space, a sign, or an empty number. */
#include "base/quantity.h"

#include "base/memory.h"

#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* 9999-12-31T23:59:59.999Z: later moments have no four-digit year. */
static const int64_t TIME_MS_MAX = 253402300799999;

struct unit {
    const char *suffix;
    int64_t factor;
};

static const struct unit byte_units[] = {
    {"", 1},
    {"k", 1000},
    {"M", 1000000},
    {"G", 1000000000},
    {"T", 1000000000000},
    {"P", 1000000000000000},
    {"Ki", 1LL << 10},
    {"Mi", 1LL << 20},
    {"Gi", 1LL << 30},
    {"Ti", 1LL << 40},
    {"Pi", 1LL << 50},
    {0},
};
static const struct unit milli_units[] = {{"", 1000}, {"m", 1}, {0}};
static const struct unit micro_units[] = {{"", 1000000}, {0}};
/* Longest suffix first where one is the start of another. */
static const struct unit duration_units[] = {
    {"ms", 1},
    {"s", 1000},
    {"m", 60000},
    {"h", 3600000},
    {"d", 86400000},
    {"w", 604800000},
    {0},
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A decimal number as digits scaled by a power of ten; false when there is none or too many. */
static bool scan_decimal(const char **text, int64_t *ret_digits, int64_t *ret_scale)
{
    const char *s = *text;
    int64_t digits = 0, scale = 1;
    bool point = false, any = false;
    for (; is_digit(*s) || (*s == '.' && !point && any); s++) {
        if (*s == '.') {
            point = true;
            continue;
        }
        if (__builtin_mul_overflow(digits, 10, &digits) ||
            __builtin_add_overflow(digits, *s - '0', &digits))
            return false;
        if (point && __builtin_mul_overflow(scale, 10, &scale))
            return false;
        any = true;
    }
    if (!any || s[-1] == '.')
        return false;
    *text = s;
    *ret_digits = digits;
    *ret_scale = scale;
    return true;
}

/* digits / scale * factor, which has to come out even. */
static bool apply_unit(int64_t digits, int64_t scale, int64_t factor, int64_t *ret_value)
{
    __int128 product = (__int128)digits * factor;
    if (product % scale != 0 || product / scale > INT64_MAX)
        return false;
    *ret_value = (int64_t)(product / scale);
    return true;
}

static int parse_with_units(const char *text, const struct unit *units, const char *expected,
    int64_t *ret_value, struct error *err)
{
    const char *rest = text;
    int64_t digits, scale;
    if (scan_decimal(&rest, &digits, &scale)) {
        for (const struct unit *unit = units; unit->suffix; unit++) {
            if (strcmp(rest, unit->suffix) == 0 &&
                apply_unit(digits, scale, unit->factor, ret_value))
                return 0;
        }
    }
    return error_set(err, ERR_INVALID, "expected %s, got \"%.60s\"", expected, text);
}

int quantity_parse_bytes(const char *text, int64_t *ret_bytes, struct error *err)
{
    return parse_with_units(text, byte_units, "a size such as 512Mi or 16Gi", ret_bytes, err);
}

int quantity_parse_milli(const char *text, int64_t *ret_milli, struct error *err)
{
    return parse_with_units(text, milli_units,
        "a number >= 0 with at most three decimals, such as 2, 0.5 or 250m", ret_milli, err);
}

int quantity_parse_micro(const char *text, int64_t *ret_micro, struct error *err)
{
    return parse_with_units(
        text, micro_units, "a number >= 0 with at most six decimals, such as 2.5", ret_micro, err);
}

static const struct unit *scan_duration_unit(const char **text)
{
    for (const struct unit *unit = duration_units; unit->suffix; unit++) {
        size_t length = strlen(unit->suffix);
        if (strncmp(*text, unit->suffix, length) == 0) {
            *text += length;
            return unit;
        }
    }
    return NULL;
}

static bool scan_duration(const char *text, int64_t *ret_ms)
{
    int64_t total = 0;
    if (strcmp(text, "0") == 0) {
        *ret_ms = 0;
        return true;
    }
    do {
        int64_t digits, scale, part;
        if (!scan_decimal(&text, &digits, &scale))
            return false;
        const struct unit *unit = scan_duration_unit(&text);
        if (!unit || !apply_unit(digits, scale, unit->factor, &part) ||
            __builtin_add_overflow(total, part, &total))
            return false;
    } while (*text);
    *ret_ms = total;
    return true;
}

int quantity_parse_duration(const char *text, int64_t *ret_ms, struct error *err)
{
    if (scan_duration(text, ret_ms))
        return 0;
    return error_set(
        err, ERR_INVALID, "expected a duration such as 90s, 10m or 1h30m, got \"%.60s\"", text);
}

/* Days since 1970-01-01 of a date of the Gregorian calendar (H. Hinnant, days_from_civil). */
static int64_t days_from_date(int year, int month, int day)
{
    year -= month <= 2;
    int era = year / 400;
    int year_of_era = year - era * 400;
    int day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return (int64_t)era * 146097 + day_of_era - 719468;
}

static bool scan_fixed(const char **text, int width, char after, int low, int high, int *ret)
{
    int value = 0;
    for (int i = 0; i < width; i++, (*text)++) {
        if (!is_digit(**text))
            return false;
        value = value * 10 + (**text - '0');
    }
    if (after && *(*text)++ != after)
        return false;
    *ret = value;
    return value >= low && value <= high;
}

static bool scan_zone(const char *s, int64_t *ret_offset_ms)
{
    int hours, minutes;
    if (strcmp(s, "Z") == 0) {
        *ret_offset_ms = 0;
        return true;
    }
    int sign = *s == '-' ? -1 : 1;
    if (*s != '+' && *s != '-')
        return false;
    s++;
    if (!scan_fixed(&s, 2, ':', 0, 23, &hours) || !scan_fixed(&s, 2, 0, 0, 59, &minutes) || *s)
        return false;
    *ret_offset_ms = sign * (hours * 60LL + minutes) * 60000;
    return true;
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

static bool scan_time(const char *s, int64_t *ret_ms)
{
    int year, month, day, hour, minute, second, ms = 0;
    if (!scan_fixed(&s, 4, '-', 1970, 9999, &year) || !scan_fixed(&s, 2, '-', 1, 12, &month) ||
        !scan_fixed(&s, 2, 'T', 1, days_in_month(year, month), &day) ||
        !scan_fixed(&s, 2, ':', 0, 23, &hour) || !scan_fixed(&s, 2, ':', 0, 59, &minute) ||
        !scan_fixed(&s, 2, 0, 0, 59, &second))
        return false;
    if (*s == '.') {
        s++;
        int weight = 100, digits = 0;
        for (; is_digit(*s); s++, digits++) {
            ms += (*s - '0') * weight;
            weight /= 10;
        }
        if (digits == 0 || digits > 9)
            return false;
    }
    int64_t offset_ms;
    if (!scan_zone(s, &offset_ms))
        return false;
    int64_t seconds = days_from_date(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    int64_t moment_ms = seconds * 1000 + ms - offset_ms;
    if (moment_ms < 0 || moment_ms > TIME_MS_MAX)
        return false;
    *ret_ms = moment_ms;
    return true;
}

int quantity_parse_time(const char *text, int64_t *ret_ms, struct error *err)
{
    if (scan_time(text, ret_ms))
        return 0;
    return error_set(
        err, ERR_INVALID, "expected a time such as 2026-01-31T08:30:00Z, got \"%.60s\"", text);
}

char *quantity_bytes(int64_t bytes, char out[QUANTITY_TEXT])
{
    static const char *const suffixes[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi"};
    size_t i = 0;
    while (bytes != 0 && bytes % 1024 == 0 && i < 5) {
        bytes /= 1024;
        i++;
    }
    snprintf(out, QUANTITY_TEXT, "%" PRId64 "%s", bytes, suffixes[i]);
    return out;
}

static char *format_scaled(int64_t value, int64_t scale, int decimals, char out[QUANTITY_TEXT])
{
    uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    int length = snprintf(out, QUANTITY_TEXT, "%s%" PRIu64 ".%0*" PRIu64, value < 0 ? "-" : "",
        magnitude / (uint64_t)scale, decimals, magnitude % (uint64_t)scale);
    assert(length > 0 && length < QUANTITY_TEXT);
    while (out[length - 1] == '0')
        out[--length] = '\0';
    if (out[length - 1] == '.')
        out[--length] = '\0';
    return out;
}

char *quantity_milli(int64_t milli, char out[QUANTITY_TEXT])
{
    return format_scaled(milli, 1000, 3, out);
}

char *quantity_micro(int64_t micro, char out[QUANTITY_TEXT])
{
    return format_scaled(micro, 1000000, 6, out);
}

/* At most `parts` units, counted from the largest one that is not zero. */
static char *format_duration(int64_t ms, int parts, char out[QUANTITY_TEXT])
{
    static const struct unit units[] = {
        {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(units) && parts > 0; i++) {
        int64_t whole = ms / units[i].factor;
        if (whole > 0)
            used += (size_t)snprintf(
                out + used, QUANTITY_TEXT - used, "%" PRId64 "%s", whole, units[i].suffix);
        ms %= units[i].factor;
        parts -= used > 0;
    }
    if (used == 0)
        snprintf(out, QUANTITY_TEXT, "0s");
    return out;
}

char *quantity_duration(int64_t ms, char out[QUANTITY_TEXT])
{
    assert(ms >= 0);
    return format_duration(ms, 5, out);
}

char *quantity_human_duration(int64_t ms, char out[QUANTITY_TEXT])
{
    if (ms < 0)
        ms = 0;
    if (ms >= 1000)
        ms -= ms % 1000;
    return format_duration(ms, 2, out);
}

char *quantity_time(int64_t ms, char out[QUANTITY_TEXT])
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    if (ms < 0 || ms > TIME_MS_MAX || !gmtime_r(&seconds, &tm)) {
        snprintf(out, QUANTITY_TEXT, "-");
        return out;
    }
    size_t length = strftime(out, QUANTITY_TEXT, "%Y-%m-%dT%H:%M:%S", &tm);
    int rest = (int)(ms % 1000);
    if (rest)
        snprintf(out + length, QUANTITY_TEXT - length, ".%03dZ", rest);
    else
        snprintf(out + length, QUANTITY_TEXT - length, "Z");
    return out;
}

char *quantity_human_bytes(int64_t bytes, char out[QUANTITY_TEXT])
{
    static const char *const names[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    int64_t unit = 1;
    size_t i = 0;
    while (bytes / unit >= 1024 && i < 5) {
        unit *= 1024;
        i++;
    }
    int64_t tenths = (int64_t)((__int128)(bytes % unit) * 10 / unit);
    if (i == 0 || tenths == 0)
        snprintf(out, QUANTITY_TEXT, "%" PRId64 " %s", bytes / unit, names[i]);
    else
        snprintf(out, QUANTITY_TEXT, "%" PRId64 ".%" PRId64 " %s", bytes / unit, tenths, names[i]);
    return out;
}
