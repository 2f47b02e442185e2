/* Names of policies: see policy.h. Each kind of policy keeps its own list of names; this is the
 * list of the kinds. */
#include "core/policy.h"

#include "core/allot.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

static const char *allotment_name(size_t i)
{
    const struct allotment_policy *policy = allot_policy(i);
    return policy ? policy->name : NULL;
}

static const struct part {
    const char *option;
    const char *(*name)(size_t i);
    size_t offset; /* in struct core_options */
} parts[POLICY_PARTS] = {
    {"placement", core_placement_name, offsetof(struct core_options, placement)},
    {"allotment", allotment_name, offsetof(struct core_options, allotment)},
    {"victims", core_victims_name, offsetof(struct core_options, victims)},
    {"spot", core_spot_name, offsetof(struct core_options, spot)},
};

const char *policy_option(enum policy_part part)
{
    assert(part < POLICY_PARTS);
    return parts[part].option;
}

const char *policy_name(enum policy_part part, size_t i)
{
    assert(part < POLICY_PARTS);
    return parts[part].name(i);
}

void policy_names(enum policy_part part, struct strbuf *list)
{
    for (size_t i = 0; policy_name(part, i); i++)
        strbuf_printf(list, "%s%s", list->length ? ", " : "", policy_name(part, i));
}

static const char **field(struct core_options *options, enum policy_part part)
{
    assert(part < POLICY_PARTS);
    return (const char **)(void *)((char *)options + parts[part].offset);
}

/* The name as the list has it, so that it outlives the text that it was read from. */
static const char *known(enum policy_part part, const char *name, size_t length)
{
    for (size_t i = 0; policy_name(part, i); i++) {
        const char *one = policy_name(part, i);
        if (strlen(one) == length && memcmp(one, name, length) == 0)
            return one;
    }
    return NULL;
}

bool policy_set(struct core_options *options, enum policy_part part, const char *name)
{
    const char *one = name ? known(part, name, strlen(name)) : NULL;
    if (name && !one)
        return false;
    *field(options, part) = one;
    return true;
}

const char *policy_get(const struct core_options *options, enum policy_part part)
{
    struct core_options copy = *options;
    return *field(&copy, part);
}

static int no_policy(const char *name, size_t length, struct error *err)
{
    SCOPED(strbuf_finish) struct strbuf list = {0};
    for (enum policy_part part = 0; part < POLICY_PARTS; part++)
        policy_names(part, &list);
    return error_set(err, ERR_INVALID, "there is no policy %.*s; there are %s",
        length < 60 ? (int)length : 60, name, strbuf_text(&list));
}

int policy_choose(struct core_options *options, const char *names, struct error *err)
{
    struct core_options chosen = *options;
    const char *name = names ? names : "";
    while (*name) {
        size_t length = strcspn(name, "+");
        enum policy_part part = 0;
        while (part < POLICY_PARTS && !known(part, name, length))
            part++;
        if (part == POLICY_PARTS)
            return no_policy(name, length, err);
        *field(&chosen, part) = known(part, name, length);
        name += length;
        name += *name == '+';
    }
    *options = chosen;
    return 0;
}
