/* Labels of requests: what clients say that a request is for, so that costs can be told apart by
 * it. A Service names which it takes; the header is
 *
 *     X-Muster-Labels: project=search, stage=test
 *
 * Names and values are of letters, digits, '-', '_' and '.'. Names that the Service does not name
 * are passed over: one client may ask several services. */
#pragma once

#include "gateway/usage.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text_list;

enum { LABEL_NAMES_MAX = 4, LABEL_NAME_BYTES = 23, LABEL_VALUE_BYTES = 39, LABEL_SETS_MAX = 1000 };
_Static_assert(LABEL_NAMES_MAX *(LABEL_NAME_BYTES + 1 + LABEL_VALUE_BYTES + 1) <= USAGE_LABELS,
    "the longest labels fit into a series");
_Static_assert(LABEL_VALUE_BYTES >= sizeof "other", "also when every value is other");

/* Reads the header's value into "name=value,.." in the order of the names. At most LABEL_NAMES_MAX
 * names. What is wrong, in words for the client; NULL: nothing, and ret is set. */
const char *labels_read(const char *text, const struct text_list *names, char ret[USAGE_LABELS]);
/* The value of a name in labels as labels_read makes them; -1: it has none. */
int labels_value(const char *labels, const char *name, char ret[LABEL_VALUE_BYTES + 1]);
/* Puts "other" in the place of every value. */
void labels_other(char labels[USAGE_LABELS]);

/* The different labels of a service since the gateway began, shared by its workers. */
struct label_sets;
/* Destroyed by the caller, who knows that no worker uses it any more. */
struct label_sets *label_sets_create(void);
void label_sets_destroy(struct label_sets *sets); /* NULL is fine */
/* Whether the labels are among those that are told apart, of which there are at most sets_max
 * (LABEL_SETS_MAX at most): known already, or known from now on. Lock-free. */
bool label_sets_admit(struct label_sets *sets, const char *labels, int64_t sets_max);
