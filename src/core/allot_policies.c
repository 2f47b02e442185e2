/* The allotment policies by name. A policy is one function of a round; see allot.h. */
#include "core/allot_policies.h"
#include "core/allot.h"

#include <string.h>

static const struct allotment_policy policies[] = {
    {.name = "fair"},
    {.name = "tiresias", .round_ms = 60000, .widest = true, .decide = allot_tiresias},
    {.name = "elastic", .round_ms = 60000, .decide = allot_elastic},
    {.name = "elastic-attained", .round_ms = 60000, .decide = allot_elastic_attained},
    {.name = "fairness", .round_ms = 120000, .decide = allot_fairness},
    {.name = "gandiva-fair", .round_ms = 120000, .decide = allot_gandiva_fair},
    {.name = "max-min", .round_ms = 120000, .decide = allot_max_min},
    {.name = "deadline", .round_ms = 60000, .late_goes_on = true, .decide = allot_deadline},
    {.name = "elasticflow", .round_ms = 60000, .late_goes_on = true, .decide = allot_elasticflow},
    {.name = "edf", .round_ms = 60000, .late_goes_on = true, .decide = allot_edf},
};

enum { POLICIES = sizeof policies / sizeof *policies };

const struct allotment_policy *allot_policy(size_t i)
{
    return i < POLICIES ? &policies[i] : NULL;
}

const struct allotment_policy *allot_find(const char *name)
{
    if (!name)
        return &policies[0];
    for (size_t i = 0; i < POLICIES; i++) {
        if (strcmp(policies[i].name, name) == 0)
            return &policies[i];
    }
    return NULL;
}
