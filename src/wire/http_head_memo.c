/* Heads that came before: see http_head_memo.h. Entries stand in sets by a hash of their bytes; in
 * a set the one that was used last the longest ago is replaced. */
#include "wire/http_head_memo.h"

#include "base/memory.h"
#include "wire/http_parse_internal.h"

#include <stdlib.h>
#include <string.h>

enum {
    SETS = 16,
    WAYS = 4, /* entries of a set */
    BYTES_MAX = 1024,
    FIELDS_MAX = 24,
    MISSES_MAX = 16, /* then the next 240 heads are parsed and not looked at here */
};

struct entry {
    uint32_t value; /* where that of Content-Length begins; the head's end without one */
    uint32_t rest;  /* where it ends */
    uint32_t hash;
    uint32_t used;         /* the memo's tick then */
    struct http_head head; /* of 0 bytes: nothing is here */
    struct http_field_slice fields[FIELDS_MAX];
    char bytes[BYTES_MAX];
};

struct http_head_memo {
    enum http_message message;
    struct http_head_limits limits;
    uint32_t tick;
    struct entry entries[SETS * WAYS];
};

struct http_head_memo *http_head_memo_create(
    enum http_message message, const struct http_head_limits *limits)
{
    struct http_head_memo *memo = mem_alloc(1, sizeof *memo);
    memo->message = message;
    memo->limits = *limits;
    return memo;
}

static void entry_wipe(struct entry *entry)
{
    if (entry->head.bytes > 0)
        explicit_bzero(entry, sizeof *entry);
}

void http_head_memo_destroy(struct http_head_memo *memo)
{
    if (!memo)
        return;
    for (size_t i = 0; i < ARRAY_LEN(memo->entries); i++)
        entry_wipe(&memo->entries[i]);
    free(memo);
}

/* ------- looking ------- */

/* Whether bytes begin with the entry's, but for the value of Content-Length. */
static bool entry_fits(const struct entry *entry, const char *bytes, size_t length)
{
    size_t whole = entry->head.bytes;
    return whole > 0 && whole <= length && memcmp(entry->bytes, bytes, entry->value) == 0 &&
           memcmp(entry->bytes + entry->rest, bytes + entry->rest, whole - entry->rest) == 0;
}

static bool entry_read(
    const struct entry *entry, struct http_head_parser *parser, const char *bytes, size_t length)
{
    uint64_t content = 0;
    size_t digits = entry->rest - entry->value;
    if (!entry_fits(entry, bytes, length) ||
        (digits > 0 && !http_length_read(bytes + entry->value, digits, &content)))
        return false;
    parser->head = entry->head;
    if (digits > 0)
        http_head_set_length(&parser->head, content);
    return true;
}

/* ------- learning ------- */

static uint64_t hash_bytes(uint64_t hash, const char *bytes, size_t length)
{
    uint64_t word = length;
    for (; length >= sizeof word; bytes += sizeof word, length -= sizeof word) {
        hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 32;
        memcpy(&word, bytes, sizeof word);
    }
    uint64_t last = 0;
    memcpy(&last, bytes, length);
    hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return (hash ^ hash >> 32 ^ last) * UINT64_C(0xd6e8feb86659fd93);
}

/* A head that was parsed, as an entry would have it. */
struct parsed {
    const struct http_head *head;
    const char *bytes;
    uint32_t value, rest, hash;
};

static struct parsed parsed_make(const struct http_head *head, const char *bytes)
{
    struct parsed parsed = {head, bytes, head->bytes, head->bytes, 0};
    for (uint32_t i = 0; i < head->field_count; i++) {
        if (head->fields[i].known != HTTP_NAME_CONTENT_LENGTH)
            continue;
        parsed.value = head->fields[i].value.offset;
        parsed.rest = parsed.value + head->fields[i].value.length;
        break;
    }
    uint64_t hash = hash_bytes(parsed.rest, bytes, parsed.value);
    hash = hash_bytes(hash, bytes + parsed.rest, head->bytes - parsed.rest);
    parsed.hash = (uint32_t)(hash >> 32);
    return parsed;
}

static bool entry_is(const struct entry *entry, const struct parsed *parsed)
{
    return entry->hash == parsed->hash && entry->head.bytes == parsed->head->bytes &&
           entry->value == parsed->value && entry->rest == parsed->rest &&
           entry_fits(entry, parsed->bytes, parsed->head->bytes);
}

/* The entry, or NULL; *ret_oldest: the one of its set that is to be replaced. */
static struct entry *entry_find(
    struct http_head_memo *memo, const struct parsed *parsed, struct entry **ret_oldest)
{
    struct entry *set = &memo->entries[parsed->hash % SETS * WAYS];
    *ret_oldest = set;
    for (struct entry *entry = set; entry < set + WAYS; entry++) {
        if (entry_is(entry, parsed))
            return entry;
        if (memo->tick - entry->used > memo->tick - (*ret_oldest)->used)
            *ret_oldest = entry;
    }
    return NULL;
}

static void entry_fill(struct entry *entry, const struct parsed *parsed)
{
    const struct http_head *head = parsed->head;
    entry_wipe(entry);
    entry->value = parsed->value;
    entry->rest = parsed->rest;
    entry->hash = parsed->hash;
    memcpy(entry->fields, head->fields, head->field_count * sizeof *head->fields);
    memcpy(entry->bytes, parsed->bytes, head->bytes);
    entry->head = *head;
    entry->head.fields = entry->fields;
}

static void head_learn(struct http_head_memo *memo, struct http_head_hint *hint,
    const struct http_head *head, const char *bytes)
{
    if (head->bytes > BYTES_MAX || head->field_count > FIELDS_MAX)
        return;
    struct parsed parsed = parsed_make(head, bytes);
    struct entry *oldest, *entry = entry_find(memo, &parsed, &oldest);
    if (!entry && parsed.hash == hint->hash) {
        entry = oldest;
        entry_fill(entry, &parsed);
    }
    hint->hash = parsed.hash;
    if (!entry)
        return;
    hint->entry = (uint16_t)(entry - memo->entries + 1);
    hint->entry_hash = parsed.hash;
    entry->used = ++memo->tick;
}

/* ------- the whole ------- */

static bool same_limits(const struct http_head_memo *memo, const struct http_head_parser *parser)
{
    const struct http_head_limits *a = &memo->limits, *b = &parser->limits;
    return memo->message == parser->message && a->line_bytes == b->line_bytes &&
           a->field_bytes == b->field_bytes && a->field_count == b->field_count;
}

enum http_parse_result http_head_memo_parse(struct http_head_memo *memo,
    struct http_head_hint *hint, struct http_head_parser *parser, const char *bytes, size_t length)
{
    assert(same_limits(memo, parser));
    if (parser->scanned > 0)
        return http_head_parse(parser, bytes, length);
    if (hint->misses < MISSES_MAX && hint->entry > 0) {
        struct entry *entry = &memo->entries[hint->entry - 1];
        /* Another's may stand there by now, which is not for this connection to feel its way to. */
        if (entry->hash == hint->entry_hash && entry_read(entry, parser, bytes, length)) {
            entry->used = ++memo->tick;
            hint->misses = 0;
            return HTTP_PARSE_DONE;
        }
    }
    enum http_parse_result result = http_head_parse(parser, bytes, length);
    if (result == HTTP_PARSE_DONE && hint->misses++ < MISSES_MAX)
        head_learn(memo, hint, &parser->head, bytes);
    return result;
}
