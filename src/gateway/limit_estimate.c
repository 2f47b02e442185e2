/* Estimates of tokens: see limit_estimate.h. */
#include "gateway/limit_estimate.h"

#include "base/memory.h"

#include <string.h>

enum {
    PER_BYTES = 65536,
    INPUT_FIRST = PER_BYTES / 4, /* a token is about four letters of English */
    OUTPUT_FIRST = 256 * 16,
    WEIGHT = 16, /* of what is known against one lesson */
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

static int64_t read_number(struct reader reader)
{
    int64_t number = 0;
    const char *first = reader.at;
    for (; reader.at < reader.end && *reader.at >= '0' && *reader.at <= '9'; reader.at++) {
        number = number * 10 + (*reader.at - '0');
        number = number > TOKENS_MAX ? TOKENS_MAX : number;
    }
    bool whole = reader.at > first && reader.at < reader.end &&
                 (*reader.at == ',' || *reader.at == '}' || *reader.at == ' ' ||
                     *reader.at == '\n' || *reader.at == '\r' || *reader.at == '\t');
    return whole ? number : -1;
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
        if (strlen(members[i].name) != length || memcmp(members[i].name, name, length) != 0)
            continue;
        int64_t number = read_number(*value);
        if (number < 0)
            return;
        if (members[i].answers)
            wish->answers = number > 0 ? number : 1;
        else
            wish->output_max = number > wish->output_max ? number : wish->output_max;
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
