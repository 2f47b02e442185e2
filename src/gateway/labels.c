/* Labels of requests: see labels.h. The sets are open addressing over hashes, under a key of their
 * own, so that nobody aims for collisions; entries are never removed, and the table is never more
 * than half full, so that every search ends. */
#include "gateway/labels.h"

#include "base/memory.h"
#include "spec/kinds.h"

#include <assert.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 2048 };
_Static_assert(SLOTS >= 2 * LABEL_SETS_MAX, "half empty");

struct label_sets {
    atomic_uint_fast64_t count;
    unsigned char hash_key[crypto_shorthash_KEYBYTES];
    atomic_uint_fast64_t slots[SLOTS]; /* 0: free */
};

/* ---- the header ------------------------------------------------------------------------------ */

struct given {
    const char *name, *value;
    size_t name_length, value_length;
};

static bool is_of_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
}

static const char *skip_word(const char *text)
{
    while (is_of_word(*text))
        text++;
    return text;
}

static const char *skip_blanks(const char *text)
{
    return text + strspn(text, " \t");
}

/* One of the list; *at goes on behind it. What is wrong, or NULL. */
static const char *read_label(const char **at, struct given *ret)
{
    const char *name = skip_blanks(*at), *equals = skip_word(name);
    if (equals == name || *equals != '=')
        return "expected NAME=VALUE, separated by commas";
    const char *value = equals + 1, *end = skip_word(value), *next = skip_blanks(end);
    if (end == value || (*next != ',' && *next != '\0'))
        return "expected values of letters, digits, '-', '_' and '.'";
    *ret = (struct given){name, value, (size_t)(equals - name), (size_t)(end - value)};
    *at = next;
    return NULL;
}

/* Its place among the names; -1: it is not there. */
static int place_of(const struct given *label, const struct text_list *names)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strlen(names->items[i]) == label->name_length &&
            !memcmp(names->items[i], label->name, label->name_length))
            return (int)i;
    }
    return -1;
}

static void write_labels(
    const struct given *found, const struct text_list *names, char ret[USAGE_LABELS])
{
    char *end = ret;
    for (size_t i = 0; i < names->count; i++) {
        if (!found[i].name)
            continue;
        if (end > ret)
            *end++ = ',';
        memcpy(end, found[i].name, found[i].name_length);
        end += found[i].name_length;
        *end++ = '=';
        memcpy(end, found[i].value, found[i].value_length);
        end += found[i].value_length;
    }
    *end = '\0';
    assert(end < ret + USAGE_LABELS);
}

const char *labels_read(const char *text, const struct text_list *names, char ret[USAGE_LABELS])
{
    struct given found[LABEL_NAMES_MAX] = {{0}};
    assert(names->count <= LABEL_NAMES_MAX);
    for (const char *at = text;; at++) {
        struct given label;
        const char *wrong = read_label(&at, &label);
        if (wrong)
            return wrong;
        int place = place_of(&label, names);
        if (place >= 0 && found[place].name)
            return "a name is there twice";
        if (place >= 0 && label.value_length > LABEL_VALUE_BYTES)
            return "a value has more than 39 characters";
        if (place >= 0)
            found[place] = label;
        if (*at == '\0')
            break;
    }
    write_labels(found, names, ret);
    return NULL;
}

int labels_value(const char *labels, const char *name, char ret[LABEL_VALUE_BYTES + 1])
{
    size_t length = strlen(name);
    for (const char *at = labels; *at; at += strcspn(at, ","), at += *at == ',') {
        if (strncmp(at, name, length) != 0 || at[length] != '=')
            continue;
        size_t value = strcspn(at + length + 1, ",");
        value = value > LABEL_VALUE_BYTES ? LABEL_VALUE_BYTES : value;
        memcpy(ret, at + length + 1, value);
        ret[value] = '\0';
        return 0;
    }
    return -1;
}

void labels_other(char labels[USAGE_LABELS])
{
    static const char other[] = "other";
    char given[USAGE_LABELS], *end = labels;
    size_t length = strlen(labels);
    memcpy(given, labels, length + 1);
    for (const char *at = given; *at; at += strcspn(at, ","), at += *at == ',') {
        size_t name = strcspn(at, "=") + 1;
        if (end > labels)
            *end++ = ',';
        assert((size_t)(end - labels) + name + sizeof other <= USAGE_LABELS);
        memcpy(end, at, name);
        memcpy(end + name, other, sizeof other - 1);
        end += name + sizeof other - 1;
    }
    *end = '\0';
}

/* ---- sets ------------------------------------------------------------------------------------ */

struct label_sets *label_sets_create(void)
{
    struct label_sets *sets = mem_alloc(1, sizeof *sets);
    randombytes_buf(sets->hash_key, sizeof sets->hash_key);
    return sets;
}

void label_sets_destroy(struct label_sets *sets)
{
    free(sets);
}

static uint64_t hash_of(const struct label_sets *sets, const char *labels)
{
    unsigned char bytes[crypto_shorthash_BYTES];
    uint64_t hash;
    crypto_shorthash(bytes, (const unsigned char *)labels, strlen(labels), sets->hash_key);
    memcpy(&hash, bytes, sizeof hash);
    return hash ? hash : 1;
}

/* Room is taken before a slot is, and given back when somebody else put the same there meanwhile.
 */
static bool take_slot(
    struct label_sets *sets, atomic_uint_fast64_t *slot, uint64_t hash, int64_t sets_max)
{
    uint_fast64_t expected = 0;
    if (atomic_fetch_add(&sets->count, 1) >= (uint64_t)sets_max) {
        atomic_fetch_sub(&sets->count, 1);
        return false;
    }
    if (atomic_compare_exchange_strong(slot, &expected, hash))
        return true;
    atomic_fetch_sub(&sets->count, 1);
    return expected == hash;
}

bool label_sets_admit(struct label_sets *sets, const char *labels, int64_t sets_max)
{
    uint64_t hash = hash_of(sets, labels);
    assert(sets_max <= LABEL_SETS_MAX);
    for (size_t tried = 0, i = hash % SLOTS; tried < SLOTS; tried++, i = (i + 1) % SLOTS) {
        uint64_t found = atomic_load_explicit(&sets->slots[i], memory_order_relaxed);
        if (found == hash)
            return true;
        if (found != 0)
            continue;
        if (take_slot(sets, &sets->slots[i], hash, sets_max))
            return true;
        /* Full; or another took the slot for something else, and the search goes on. */
        if (atomic_load_explicit(&sets->slots[i], memory_order_relaxed) == 0)
            return false;
    }
    return false;
}
