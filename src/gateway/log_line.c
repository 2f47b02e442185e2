/* See log_line.h. The log was the dearest part of a request: a worker copies numbers and texts of
 * known lengths, and the log's thread puts the lines together, with warm caches. They are put
 * together in one buffer that holds the longest there can be, without formats and without asking
 * for room at each piece. Texts that stand for themselves in JSON, as nearly all do, are copied as
 * they are looked at, sixteen or eight bytes at a time; others are left to strbuf_json. */
#include "gateway/log_line.h"

#include "base/memory.h"
#include "base/quantity.h"
#include "base/strbuf.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* ---- texts ----------------------------------------------------------------------------------- */

typedef unsigned char lanes16 __attribute__((vector_size(16)));
typedef uint64_t words16 __attribute__((vector_size(16)));

/* Copies sixteen bytes; not zero when one of them is not plain. */
static words16 copy16(char *to, const char *from)
{
    lanes16 bytes;
    memcpy(&bytes, from, sizeof bytes);
    memcpy(to, &bytes, sizeof bytes);
    return (words16)((bytes < 0x20) | (bytes >= 0x7f) | (bytes == '"') | (bytes == '\\'));
}

/* The highest bit of each byte says whether it is 0. */
static uint64_t zeros8(uint64_t word)
{
    const uint64_t low = UINT64_C(0x7f7f7f7f7f7f7f7f);
    return ~(((word & low) + low) | word);
}

/* The same for eight: the highest bit of each byte tells. */
static uint64_t copy8(char *to, const char *from)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), low = ones * 0x7f;
    uint64_t word;
    memcpy(&word, from, sizeof word);
    memcpy(to, &word, sizeof word);
    return (~((word & low) + ones * 0x60) | ((word & low) + ones) | word |
               zeros8(word ^ ones * '"') | zeros8(word ^ ones * '\\')) &
           ones * 0x80;
}

/* Copies the bytes if all of them are plain; the last ones may be copied twice. */
static bool copy_plain(char *to, const char *from, size_t length)
{
    uint64_t bad = 0;
    if (length < 8) {
        for (size_t i = 0; i < length; i++) {
            unsigned char byte = (unsigned char)(to[i] = from[i]);
            bad |= byte < 0x20 || byte >= 0x7f || byte == '"' || byte == '\\';
        }
        return bad == 0;
    }
    if (length < 16)
        return (copy8(to, from) | copy8(to + length - 8, from + length - 8)) == 0;
    words16 odd = copy16(to + length - 16, from + length - 16);
    for (size_t i = 0; i + 16 < length; i += 16)
        odd |= copy16(to + i, from + i);
    return (odd[0] | odd[1]) == 0;
}

static char *put_odd(char *at, const char *text, size_t length)
{
    char cut[LOG_LINE_PATH_BYTES + 1];
    SCOPED(strbuf_finish) struct strbuf json = {0};
    memcpy(cut, text, length);
    cut[length] = '\0';
    strbuf_json(&json, cut);
    memcpy(at, json.text, json.length);
    return at + json.length;
}

static char *put_bytes(char *at, const char *text, size_t length)
{
    if (!copy_plain(at + 1, text, length))
        return put_odd(at, text, length);
    *at = '"';
    at[length + 1] = '"';
    return at + length + 2;
}

static size_t cut_length(enum log_text_name name, size_t length)
{
    size_t longest = name == LOG_PATH ? LOG_LINE_PATH_BYTES : LOG_LINE_TEXT_BYTES;
    return length < longest ? length : longest;
}

static char *put_text(char *at, const struct log_line *line, enum log_text_name name)
{
    const struct log_text *text = &line->texts[name];
    return put_bytes(at, text->bytes, cut_length(name, text->length));
}

static char *put_constant(char *at, const char *text)
{
    return put_bytes(at, text, strnlen(text, LOG_LINE_TEXT_BYTES));
}

/* ---- numbers --------------------------------------------------------------------------------- */

/* Of at most 2^63, so that `least` is at most 10^19. Most numbers of a line have few digits: to
 * count them first costs less than to copy them. */
static char *put_digits(char *at, uint64_t number)
{
    int more = 0; /* digits but the first */
    for (uint64_t least = 10; number >= least; least *= 10)
        more++;
    for (int i = more; i > 0; i--) {
        at[i] = (char)('0' + number % 10);
        number /= 10;
    }
    at[0] = (char)('0' + number);
    return at + more + 1;
}

static char *put_number(char *at, int64_t number)
{
    if (number < 0)
        *at++ = '-';
    /* Unsigned, because the least number has no positive of its own. */
    return put_digits(at, number < 0 ? -(uint64_t)number : (uint64_t)number);
}

static char *put_thousandths(char *at, int64_t number)
{
    at[0] = '.';
    at[1] = (char)('0' + number / 100);
    at[2] = (char)('0' + number / 10 % 10);
    at[3] = (char)('0' + number % 10);
    return at + 4;
}

/* Milliseconds with three digits, without floating point. */
static char *put_ms(char *at, int64_t ns)
{
    return put_thousandths(put_number(at, ns / 1000000), ns / 1000 % 1000);
}

/* ---- the line -------------------------------------------------------------------------------- */

/* Of a known length, which the compiler turns into a few moves. */
#define PUT(at, text) ((char *)memcpy(at, text, sizeof(text) - 1) + sizeof(text) - 1)

static void moment_make(struct log_moment *moment, int64_t second)
{
    char text[QUANTITY_TEXT];
    quantity_time(second * 1000, text);
    moment->length = strcspn(text, "Z");
    assert(moment->length < sizeof moment->text);
    memcpy(moment->text, text, moment->length);
    moment->second = second;
}

static char *put_moment(char *at, struct log_moment *moment, int64_t wall_ms)
{
    if (moment->length == 0 || moment->second != wall_ms / 1000)
        moment_make(moment, wall_ms / 1000);
    at = PUT(at, "{\"time\":\"");
    memcpy(at, moment->text, moment->length);
    at = put_thousandths(at + moment->length, wall_ms % 1000);
    return PUT(at, "Z\"");
}

static char *put_what(char *at, const struct log_line *line)
{
    const struct log_numbers *numbers = &line->numbers;
    at = put_text(PUT(at, ",\"id\":"), line, LOG_ID);
    at = put_text(PUT(at, ",\"key\":"), line, LOG_KEY);
    at = put_text(PUT(at, ",\"method\":"), line, LOG_METHOD);
    at = put_text(PUT(at, ",\"path\":"), line, LOG_PATH);
    at = put_text(PUT(at, ",\"route\":"), line, LOG_ROUTE);
    at = put_number(PUT(at, ",\"version\":"), numbers->version);
    at = put_number(PUT(at, ",\"replica\":"), numbers->replica);
    return numbers->arm ? put_constant(PUT(at, ",\"arm\":"), numbers->arm) : at;
}

static char *put_tries(char *at, const struct log_line *line)
{
    if (line->texts[LOG_ASKED].bytes)
        at = put_text(PUT(at, ",\"asked\":"), line, LOG_ASKED);
    if (line->texts[LOG_TRIED].bytes)
        at = put_text(PUT(at, ",\"tried\":"), line, LOG_TRIED);
    if (line->texts[LOG_ANSWERED_BY].bytes)
        at = put_text(PUT(at, ",\"answeredBy\":"), line, LOG_ANSWERED_BY);
    return at;
}

size_t log_line_write(
    const struct log_line *line, struct log_moment *moment, char out[LOG_LINE_BYTES])
{
    const struct log_numbers *numbers = &line->numbers;
    char *at = put_moment(out, moment, numbers->wall_ms);
    at = put_what(at, line);
    at = put_number(PUT(at, ",\"status\":"), numbers->status);
    at = put_constant(PUT(at, ",\"end\":"), numbers->end);
    at = put_number(PUT(at, ",\"bytesIn\":"), numbers->bytes_in);
    at = put_number(PUT(at, ",\"bytesOut\":"), numbers->bytes_out);
    at = put_number(PUT(at, ",\"retries\":"), numbers->retries);
    if (numbers->first_ns >= 0)
        at = put_ms(PUT(at, ",\"firstMs\":"), numbers->first_ns);
    at = put_ms(PUT(at, ",\"totalMs\":"), numbers->total_ns);
    at = put_tries(at, line);
    at = put_text(PUT(at, ",\"client\":"), line, LOG_CLIENT);
    at = PUT(at, "}\n");
    assert(at <= out + LOG_LINE_BYTES);
    return (size_t)(at - out);
}

/* ---- the record ------------------------------------------------------------------------------ */

enum { NO_TEXT = UINT16_MAX };

struct log_record {
    struct log_numbers numbers;
    uint16_t size;
    uint16_t lengths[LOG_TEXTS]; /* of the texts, which stand one after another */
    char texts[];
};

static_assert(sizeof(struct log_record) + 8 <= 112, "LOG_RECORD_BYTES has room for the numbers");
static_assert(LOG_RECORD_BYTES < UINT16_MAX && LOG_RECORD_BYTES % 8 == 0, "");

size_t log_record_write(const struct log_line *line, void *room)
{
    struct log_record *record = room;
    char *at = record->texts;
    record->numbers = line->numbers;
    for (size_t i = 0; i < LOG_TEXTS; i++) {
        const struct log_text *text = &line->texts[i];
        record->lengths[i] = NO_TEXT;
        if (!text->bytes)
            continue;
        size_t length = cut_length((enum log_text_name)i, text->length);
        memcpy(at, text->bytes, length);
        at += length;
        record->lengths[i] = (uint16_t)length;
    }
    record->size = (uint16_t)(((size_t)(at - (char *)room) + 7) / 8 * 8);
    return record->size;
}

size_t log_record_read(const void *from, struct log_line *ret)
{
    const struct log_record *record = from;
    const char *at = record->texts;
    ret->numbers = record->numbers;
    for (size_t i = 0; i < LOG_TEXTS; i++) {
        bool is_there = record->lengths[i] != NO_TEXT;
        size_t length = is_there ? record->lengths[i] : 0;
        ret->texts[i] = (struct log_text){is_there ? at : NULL, length};
        at += length;
    }
    return record->size;
}
