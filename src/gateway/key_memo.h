/* The keys that a worker found last: the SHA-256 of a client's key costs more than all else that is
 * done to find it, and clients come again with the same key.
 *
 * What a memo holds of a text is its tag: 128 bits of SipHash-2-4 under a secret that the process
 * draws for each memo and shows to nobody. Only texts whose SHA-256 is that of a key of the table
 * get in. Why that is as good as the SHA-256 itself: a text that is none is taken for one only if
 * its tag is that of an entry, and for who does not have the secret a tag is a random number
 * (SipHash is a pseudorandom function): one try succeeds with a chance of ENTRIES / 2^128. Neither
 * where an entry is looked for, which the tag says, nor how long the comparison takes, which is the
 * same for all tags, tells anything of the text of another. The text itself is not kept.
 *
 * A memo is of one table: with another it is empty. A key that expires is not found from then on.
 */
#pragma once

#include "gateway/table.h"

#include <stdint.h>

struct key_memo;

/* Empty, with a secret of its own. */
struct key_memo *key_memo_create(void);
void key_memo_destroy(struct key_memo *memo); /* NULL is fine */

/* As route_table_key. */
const struct route_key *key_memo_find(
    struct key_memo *memo, const struct route_table *table, const char *text, int64_t now_ms);
