/* Prometheus' text format: see prom_text.h. A line is read when it is complete; each part of the
 * reader takes the text it has left and returns what is after it, or NULL when the line is none. */
#include "wire/prom_text.h"

#include <assert.h>
#include <string.h>

/* ---- numbers --------------------------------------------------------------------------------- */

enum { DIGITS_MAX = 18, EXPONENT_MAX = 400 };

struct decimal {
    int64_t digits;
    int kept, exponent; /* of ten */
    bool any;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Digits beyond those that matter only move the point. */
static const char *take_digits(
    const char *at, const char *end, bool fraction, struct decimal *decimal)
{
    for (; at < end && is_digit(*at); at++) {
        decimal->any = true;
        if (decimal->kept < DIGITS_MAX) {
            decimal->digits = decimal->digits * 10 + (*at - '0');
            decimal->kept += decimal->digits > 0;
            decimal->exponent -= fraction;
        } else {
            decimal->exponent += !fraction;
        }
        if (decimal->exponent > EXPONENT_MAX || decimal->exponent < -EXPONENT_MAX)
            decimal->exponent = decimal->exponent > 0 ? EXPONENT_MAX : -EXPONENT_MAX;
    }
    return at;
}

static const char *take_exponent(const char *at, const char *end, struct decimal *decimal)
{
    if (at == end || (*at != 'e' && *at != 'E'))
        return at;
    bool minus = ++at < end && *at == '-';
    int exponent = 0;
    at += at < end && (*at == '-' || *at == '+');
    if (at == end || !is_digit(*at))
        return NULL;
    for (; at < end && is_digit(*at); at++)
        exponent = exponent < EXPONENT_MAX ? exponent * 10 + (*at - '0') : EXPONENT_MAX;
    decimal->exponent += minus ? -exponent : exponent;
    return at;
}

static int64_t micro_of(const struct decimal *decimal)
{
    int64_t value = decimal->digits;
    int exponent = decimal->exponent + 6;
    for (; exponent < 0 && value > 0; exponent++)
        value /= 10;
    for (; exponent > 0 && value > 0 && value < PROM_MICRO_MAX; exponent--)
        value *= 10;
    return value < PROM_MICRO_MAX ? value : PROM_MICRO_MAX;
}

bool prom_number(const char *text, size_t length, int64_t *ret_micro)
{
    const char *at = text, *end = text + length;
    struct decimal decimal = {0};
    bool minus = length > 0 && *at == '-';
    at += length > 0 && (*at == '-' || *at == '+');
    at = take_digits(at, end, false, &decimal);
    if (at < end && *at == '.')
        at = take_digits(at + 1, end, true, &decimal);
    if (!decimal.any)
        return false;
    at = take_exponent(at, end, &decimal);
    if (!at || at != end)
        return false;
    *ret_micro = minus ? -micro_of(&decimal) : micro_of(&decimal);
    return true;
}

/* ---- a line ---------------------------------------------------------------------------------- */

static const char *skip_space(const char *at)
{
    return at + strspn(at, " \t");
}

/* The value of a label, between its quotes: whether it is `wanted` (NULL: no matter). */
static const char *take_value(const char *at, const char *wanted, bool *ret_same)
{
    bool same = wanted != NULL;
    for (; *at && *at != '"'; at++) {
        char c = *at;
        if (c == '\\') {
            at++;
            if (*at != '\\' && *at != '"' && *at != 'n')
                return NULL;
            c = *at == 'n' ? '\n' : *at;
        }
        same = same && *wanted == c;
        if (same)
            wanted++;
    }
    *ret_same = same && *wanted == '\0';
    return *at == '"' ? at + 1 : NULL;
}

static size_t label_length(const char *at)
{
    return strspn(at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
}

/* {a="b",c="d"}: how many of the labels asked for were there, each counted once. */
static const char *take_labels(const struct prom_query *query, const char *at, size_t *ret_found)
{
    uint64_t found = 0;
    for (at = skip_space(at + 1); *at != '}';) {
        size_t length = label_length(at), wanted = 0;
        const char *key = at;
        bool same;
        while (
            wanted < query->label_count && (strncmp(query->labels[wanted].key, key, length) != 0 ||
                                               query->labels[wanted].key[length] != '\0'))
            wanted++;
        bool asked = wanted < query->label_count;
        at = skip_space(at + length);
        if (length == 0 || *at != '=')
            return NULL;
        at = skip_space(at + 1);
        if (*at != '"')
            return NULL;
        at = take_value(at + 1, asked ? query->labels[wanted].value : NULL, &same);
        if (!at)
            return NULL;
        if (asked && same)
            found |= (uint64_t)1 << wanted;
        at = skip_space(at);
        if (*at == ',')
            at = skip_space(at + 1);
        else if (*at != '}')
            return NULL;
    }
    *ret_found = (size_t)__builtin_popcountll(found);
    return at + 1;
}

/* A time is whole milliseconds; OpenMetrics' seconds, which have a point, are not looked at. */
static bool is_stale(const struct prom_query *query, const char *at)
{
    size_t length = strspn(at, "0123456789");
    int64_t at_ms = 0;
    if (query->now_ms == 0 || length == 0 || length > DIGITS_MAX || !strchr(" \t", at[length]))
        return false;
    for (size_t i = 0; i < length; i++)
        at_ms = at_ms * 10 + (at[i] - '0');
    return at_ms < query->now_ms - PROM_STALE_MS;
}

static void take_sample(struct prom_reader *reader, int64_t micro)
{
    struct prom_figures *figures = &reader->figures;
    int64_t sum = figures->sum_micro + micro;
    if (figures->count >= PROM_SAMPLES_MAX)
        return;
    figures->most_micro =
        figures->count == 0 || micro > figures->most_micro ? micro : figures->most_micro;
    figures->count++;
    figures->sum_micro = sum > PROM_MICRO_MAX    ? PROM_MICRO_MAX
                         : sum < -PROM_MICRO_MAX ? -PROM_MICRO_MAX
                                                 : sum;
}

static void take_line(struct prom_reader *reader, const char *line)
{
    const struct prom_query *query = &reader->query;
    size_t length = strlen(query->series), found = 0;
    int64_t micro;
    if (strncmp(line, query->series, length) != 0 || !strchr(" \t{", line[length]))
        return;
    const char *at = skip_space(line + length);
    if (*at == '{')
        at = take_labels(query, at, &found);
    if (!at || found < query->label_count)
        return;
    at = skip_space(at);
    length = strcspn(at, " \t");
    if (prom_number(at, length, &micro) && !is_stale(query, skip_space(at + length)))
        take_sample(reader, micro);
}

/* ---- a document ------------------------------------------------------------------------------ */

void prom_begin(struct prom_reader *reader, const struct prom_query *query)
{
    assert(query->series && query->label_count <= 64);
    reader->query = *query;
    reader->figures = (struct prom_figures){0};
    reader->length = 0;
    reader->too_long = false;
}

static void end_line(struct prom_reader *reader)
{
    if (reader->length > 0 && reader->line[reader->length - 1] == '\r')
        reader->length--;
    reader->line[reader->length] = '\0';
    /* A NUL would hide what is after it. */
    if (!reader->too_long && !memchr(reader->line, '\0', reader->length))
        take_line(reader, reader->line);
    reader->length = 0;
    reader->too_long = false;
}

void prom_feed(struct prom_reader *reader, const char *bytes, size_t length)
{
    while (length > 0) {
        const char *newline = memchr(bytes, '\n', length);
        size_t piece = newline ? (size_t)(newline - bytes) : length;
        if (reader->too_long || piece >= PROM_LINE_MAX - reader->length) {
            reader->too_long = true;
        } else {
            memcpy(reader->line + reader->length, bytes, piece);
            reader->length += piece;
        }
        if (!newline)
            return;
        end_line(reader);
        bytes += piece + 1;
        length -= piece + 1;
    }
}

struct prom_figures prom_end(struct prom_reader *reader)
{
    /* A last line without its end may have been cut off: half a number is another number. */
    return reader->figures;
}
