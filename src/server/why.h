/* Why a job waits, in a sentence for people. */
#pragma once

#include "core/rows.h"

struct arena;
struct server;

/* What keeps the job from running now: that it is held, what it waits for, a limit of its team or
 * of one above it, or that there is no room. NULL when nothing does, or when it is not known. */
const char *why_job_waits(struct server *server, struct arena *arena, const struct job_row *job);
