/* The policies that a core decides by, as users name them: four questions, of each one answer. What
 * reads such names (options of the server, of a simulation, of a forecast) goes by this table. */
#pragma once

#include "base/strbuf.h"
#include "core/core.h"

enum policy_part {
    POLICY_PLACEMENT, /* which node and device */
    POLICY_ALLOTMENT, /* who runs with how many ranks */
    POLICY_VICTIMS,   /* who gives way */
    POLICY_SPOT,      /* who uses spot capacity when */
    POLICY_PARTS
};

/* "placement", "allotment", "victims", "spot": the option that chooses it. */
const char *policy_option(enum policy_part part);
/* The i-th name of the part, or NULL past the last; the first is what is done where none is said.
 */
const char *policy_name(enum policy_part part, size_t i);
/* Appends all names of the part, with ", " between them and what is there already. */
void policy_names(enum policy_part part, struct strbuf *list);
/* Sets the part of the options to the policy of that name, NULL: the default; the options then
 * point to a text that lives as long as the program. Whether there is one. */
bool policy_set(struct core_options *options, enum policy_part part, const char *name);
/* What the options say of the part; NULL: the default. */
const char *policy_get(const struct core_options *options, enum policy_part part);
/* Names joined with '+', in any order; of a part that is named twice the last counts. NULL or "":
 * nothing is changed. ERR_INVALID with all names there are. */
MUST_CHECK int policy_choose(struct core_options *options, const char *names, struct error *err);
