/* What the verbs about promotions share: how one is shown, and what it means for the exit status.
 */
#pragma once

#include "cli/cli.h"
#include "cli/view.h"

/* The columns of a list of promotions. */
extern const struct view_column promotion_columns[];
/* Says what has become of a promotion and why; a refused one is exit status 1. */
MUST_CHECK int promotion_say(struct cli *cli, const struct doc *promotion, struct error *err);
/* The verbs that are one POST with a note: approve, refuse, withdraw. Every operand is an id. */
MUST_CHECK int promotion_post_each(struct cli *cli, const char *action, struct error *err);
/* A model's version as people name it ("team/name:3", "name@staging") as a path of the API. NULL:
 * ERR_INVALID. */
MUST_CHECK const char *promotion_target(
    const struct cli *cli, const char *version, struct error *err);
