/* Estimates of tokens: see limit_estimate.h. */
#include "gateway/limit_estimate.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

enum {
    PER_BYTES = 65536,
    INPUT_FIRST = PER_BYTES / 4, /* a token is about four letters of English */
    OUTPUT_FIRST = 256 * 16,
    WEIGHT = 16, /* of what is known against one lesson */
    NUMBER_BYTES = 40,
    ESCAPE_BYTES = 6,
};
#define TOKENS_MAX ((int64_t)1 << 32)

/* ---- the wish -------------------------------------------------------------------------------- */

struct reader {
    const char *at, *end;
};

/* Past the text whose opening quotation mark was just read; where it begins and ends. */
static bool skip_text(struct reader *reader, const char **ret, size_t *ret_length)
{
    const char *first = reader->at;
    while (reader->at < reader->end && *reader->at != '"')
        reader->at += *reader->at == '\\' ? 2 : 1;
    if (reader->at >= reader->end)
        return false;
    *ret = first;
    *ret_length = (size_t)(reader->at - first);
    reader->at++;
    return true;
}

static void skip_space(struct reader *reader)
{
    while (reader->at < reader->end && (*reader->at == ' ' || *reader->at == '\n' ||
                                           *reader->at == '\t' || *reader->at == '\r'))
        reader->at++;
}

static bool ends_value(char c)
{
    return c == ',' || c == '}' || c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* A number as JSON has it, or one in a text, which some replicas take for one: what is reserved has
 * to be what they read. -1: it is none. */
static int64_t read_number(struct reader reader)
{
    char text[NUMBER_BYTES] = {0}, *end;
    bool quoted = reader.at < reader.end && *reader.at == '"';
    size_t left = (size_t)(reader.end - reader.at) - quoted;
    const char *first = reader.at + quoted;
    size_t length = 0;
    while (length < left && (strchr("0123456789+-.eE", first[length]) && first[length]))
        length++;
    if (length == 0 || length == left || first[0] == '-' || first[0] == '+' ||
        !(quoted ? first[length] == '"' : ends_value(first[length])))
        return -1;
    if (length >= sizeof text)
        return TOKENS_MAX;
    memcpy(text, first, length);
    double number = strtod(text, &end);
    if (*end)
        return -1;
    if (number >= (double)TOKENS_MAX)
        return TOKENS_MAX;
    return (int64_t)number + ((double)(int64_t)number < number);
}

/* The character that "\u00HH" stands for; -1: something else. */
static int escaped(const char *text, size_t left)
{
    char digits[3] = {0}, *end;
    if (left < ESCAPE_BYTES || memcmp(text, "\\u00", 4) != 0)
        return -1;
    memcpy(digits, text + 4, 2);
    long code = strtol(digits, &end, 16);
    return end == digits + 2 ? (int)code : -1;
}

/* Names may be written with escapes, which replicas undo. */
static bool name_is(const char *name, size_t length, const char *wanted)
{
    size_t at = 0;
    for (; at < length && *wanted; wanted++) {
        bool plain = name[at] != '\\';
        if ((plain ? name[at] : escaped(name + at, length - at)) != *wanted)
            return false;
        at += plain ? 1 : ESCAPE_BYTES;
    }
    return at == length && !*wanted;
}

static void take_member(
    const struct reader *value, const char *name, size_t length, struct limit_wish *wish)
{
    static const struct {
        const char *name;
        bool answers;
    } members[] = {{"max_tokens", false}, {"max_completion_tokens", false},
        {"max_output_tokens", false}, {"n", true}};
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        if (!name_is(name, length, members[i].name))
            continue;
        int64_t number = read_number(*value);
        int64_t *most = members[i].answers ? &wish->answers : &wish->output_max;
        *most = number > *most ? number : *most;
    }
}

void limit_wish_read(const char *text, size_t length, struct limit_wish *ret)
{
    struct reader reader = {text, text + length};
    const char *name;
    size_t name_length;
    int64_t depth = 0;
    *ret = (struct limit_wish){.output_max = -1, .answers = 1};
    while (reader.at < reader.end) {
        char c = *reader.at++;
        if (c == '{' || c == '[')
            depth++;
        else if (c == '}' || c == ']')
            depth--;
        if (c != '"')
            continue;
        if (!skip_text(&reader, &name, &name_length))
            return;
        skip_space(&reader);
        if (depth != 1 || reader.at >= reader.end || *reader.at != ':')
            continue;
        reader.at++;
        skip_space(&reader);
        take_member(&reader, name, name_length, ret);
    }
}

/* ---- estimates ------------------------------------------------------------------------------- */

static int64_t known_or(const atomic_uint_fast32_t *number, int64_t first)
{
    int64_t known = (int64_t)atomic_load_explicit(number, memory_order_relaxed);
    return known ? known : first;
}

int64_t limit_input_estimate(const struct limit_learned *learned, int64_t body_bytes)
{
    int64_t ratio = known_or(&learned->input_per_byte, INPUT_FIRST);
    body_bytes = body_bytes < 0 ? 0 : body_bytes > TOKENS_MAX ? TOKENS_MAX : body_bytes;
    return (body_bytes * ratio + PER_BYTES - 1) / PER_BYTES;
}

int64_t limit_output_estimate(const struct limit_learned *learned, const struct limit_wish *wish)
{
    int64_t each = wish->output_max;
    if (each < 0)
        each = (known_or(&learned->output_mean, OUTPUT_FIRST) + 15) / 16;
    int64_t answers = wish->answers > 1024 ? 1024 : wish->answers;
    return each * answers > TOKENS_MAX ? TOKENS_MAX : each * answers;
}

/* The first lesson is taken as it is. */
static void learn(atomic_uint_fast32_t *number, int64_t lesson)
{
    int64_t before = (int64_t)atomic_load_explicit(number, memory_order_relaxed);
    lesson = lesson < 1 ? 1 : lesson > UINT32_MAX ? UINT32_MAX : lesson;
    int64_t after = before ? (before * (WEIGHT - 1) + lesson + WEIGHT / 2) / WEIGHT : lesson;
    if (after != before)
        atomic_store_explicit(number, (uint_fast32_t)after, memory_order_relaxed);
}

void limit_learn(
    struct limit_learned *learned, int64_t body_bytes, int64_t input_tokens, int64_t output_tokens)
{
    if (input_tokens > 0 && body_bytes > 0 && input_tokens < TOKENS_MAX)
        learn(&learned->input_per_byte, input_tokens * PER_BYTES / body_bytes);
    if (output_tokens > 0 && output_tokens < TOKENS_MAX)
        learn(&learned->output_mean, output_tokens * 16);
}

void limit_learn_time(struct limit_learned *learned, int64_t us)
{
    learn(&learned->mean_us, us);
}
