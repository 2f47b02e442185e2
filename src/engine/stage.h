/* Folders of this machine on the storage of a site: what jobs there read has to be where their
 * nodes see it. Each folder is copied once, on a thread, to a place that follows from its path, and
 * lies there whole or not at all; it goes some time after the last attempt that held it. A folder's
 * content must never change: those of the registry are named by what is in them. */
#pragma once

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct event_base;
struct stage;
struct trash;

enum stage_state {
    STAGE_THERE,
    STAGE_COMING,  /* it waits to be copied, is being copied, or is tried again later */
    STAGE_MISSING, /* this machine does not have the folder */
};

enum { STAGE_TEXT = 200 };

struct stage_options {
    struct event_base *base;        /* outlives the stage */
    const char *root;               /* a folder of the site's storage; made when missing */
    struct trash *trash;            /* in the same file system; outlives the stage */
    int64_t keep_ms;                /* how long what nobody holds is kept; 0: ten minutes */
    void (*changed)(void *context); /* on the loop: some folder's state is another */
    void *context;
};

/* Finds what is there already, and clears away what was cut short. NULL: the root cannot be used.
 */
MUST_CHECK struct stage *stage_create(const struct stage_options *options, struct error *err);
/* Gives up a copy under way. NULL is fine. */
void stage_destroy(struct stage *stage);

/* Where the folder is, or will be; to be freed by the caller. Asks nobody. */
char *stage_path(const struct stage *stage, const char *folder);
/* From now on the folder is wanted; counted. */
void stage_hold(struct stage *stage, const char *folder);
/* One that was held. */
void stage_release(struct stage *stage, const char *folder);
/* Of a folder that is held; text says what there is to say about it, "" for STAGE_THERE. Begins the
 * copy when it is due. */
enum stage_state stage_look(struct stage *stage, const char *folder, char text[STAGE_TEXT]);
/* Removes what nobody has held for long. To be called now and then. */
void stage_tidy(struct stage *stage);
