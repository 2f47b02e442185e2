/* The uid that each team's jobs run as. A uid is given out once and never again, so that files left
 * behind never fall to another team. */
#pragma once

#include "base/error.h"

#include <sys/types.h>

struct store_reader;
struct tick;
struct uids;

/* Without uids until they are loaded. */
struct uids *uids_create(void);
void uids_destroy(struct uids *uids); /* NULL is fine */
MUST_CHECK int uids_load(struct uids *uids, struct store_reader *reader, struct error *err);
/* Whether the team may have the uid; a negative one says that any will do. ERR_INVALID for one
 * below 1000, ERR_CONFLICT for another team's. */
MUST_CHECK int uids_check(
    const struct uids *uids, const char *team, int64_t wanted, struct error *err);
/* Makes sure that the team has a uid, within a tick: the wanted one, which was checked; when that
 * is negative, the one it has, or a new one. */
void uids_assign(struct uids *uids, struct tick *tick, const char *team, int64_t wanted);
/* The team's uid, or 0 when it has none. */
uid_t uids_get(const struct uids *uids, const char *team);
