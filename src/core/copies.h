/* Copies: what is known of where versions are, beside the site that their Dataset or Model names.
 *
 * An attempt that has started has what it reads: its engine says REPORT_STARTED when that is laid
 * out there, and not before. So a start in a pool of another site is how a version gets to that
 * site: from then on it needs no transfer there, for any job, and no egress is counted again. */
#pragma once

#include "core/core.h"
#include "core/table.h"

struct live_attempt;
struct live_data;
struct live_pool;

struct live_copy {
    struct item item;
    struct copy_row row;
    int32_t users; /* live attempts at the site whose job reads it; derived */
};

/* Whether what the row names needs no transfer to the pool. */
bool copies_have(
    const struct core *core, const struct data_row *data, const struct live_pool *pool);
/* An attempt got its places; before it gives them back. */
void copies_hold(struct core *core, const struct live_attempt *attempt);
void copies_release(struct core *core, const struct live_attempt *attempt);
/* It has started. Returns the egress, in millionths, of what came to its site with it. */
int64_t copies_come(struct core *core, const struct live_attempt *attempt);
/* Drops what nobody has used for as long as its site keeps it. */
void copies_run(struct core *core);
/* Loading: the row is the object's, and no other is about the same version and site. False: there
 * is one. */
bool copies_link(struct core *core, struct live_copy *copy);
/* After loading, and when a pool's site or how long it keeps copies changed: users, and
 * core->copies_next_ms. */
void copies_index(struct core *core);
/* Whether what is derived is what the rows say, for core_check. */
bool copies_check(const struct core *core);
