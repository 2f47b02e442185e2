/* See key_memo.h. One place for each tag: who comes next takes it. */
#include "gateway/key_memo.h"

#include "base/memory.h"
#include "gateway/routes.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { ENTRIES = 512 };

struct tag {
    uint64_t high, low;
};

struct entry {
    struct tag tag;
    const struct route_key *key; /* NULL: nothing is here */
};

struct key_memo {
    unsigned char secret[crypto_shorthash_siphashx24_KEYBYTES];
    uint64_t sequence; /* of the table whose keys these are */
    struct entry entries[ENTRIES];
};

struct key_memo *key_memo_create(void)
{
    struct key_memo *memo = mem_alloc(1, sizeof *memo);
    randombytes_buf(memo->secret, sizeof memo->secret);
    return memo;
}

void key_memo_destroy(struct key_memo *memo)
{
    if (memo)
        sodium_memzero(memo, sizeof *memo);
    free(memo);
}

static struct tag tag_of(const struct key_memo *memo, const char *text, size_t length)
{
    struct tag tag;
    unsigned char bytes[crypto_shorthash_siphashx24_BYTES];
    _Static_assert(sizeof tag == sizeof bytes, "a tag is all of the hash");
    crypto_shorthash_siphashx24(bytes, (const unsigned char *)text, length, memo->secret);
    memcpy(&tag, bytes, sizeof tag);
    return tag;
}

/* Both halves are always looked at. */
static bool same(const struct tag *one, const struct tag *other)
{
    return ((one->high ^ other->high) | (one->low ^ other->low)) == 0;
}

static void turn_to(struct key_memo *memo, const struct route_table *table)
{
    uint64_t sequence = route_table_sequence(table);
    if (memo->sequence == sequence)
        return;
    memset(memo->entries, 0, sizeof memo->entries);
    memo->sequence = sequence;
}

const struct route_key *key_memo_find(
    struct key_memo *memo, const struct route_table *table, const char *text, int64_t now_ms)
{
    size_t length = strlen(text);
    if (length > ROUTE_KEY_TEXT_MAX)
        return NULL;
    turn_to(memo, table);
    struct tag tag = tag_of(memo, text, length);
    struct entry *entry = &memo->entries[tag.low % ENTRIES];
    if (entry->key && same(&entry->tag, &tag))
        return route_key_expired(entry->key, now_ms) ? NULL : entry->key;
    const struct route_key *key = route_table_key(table, text, now_ms);
    if (key)
        *entry = (struct entry){tag, key};
    return key;
}
