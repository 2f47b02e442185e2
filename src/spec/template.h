/* Templates: texts of runtimes and services with placeholders, "{model}", that are filled in when a
 * replica or a scoring job is made. "{{" stands for "{"; a "}" alone stands for itself. */
#pragma once

#include "base/error.h"
#include "base/strbuf.h"

#include <stdbool.h>
#include <stddef.h>

/* The placeholders there are. What each stands for: see struct runtime. */
enum placeholder {
    PLACEHOLDER_MODEL,
    PLACEHOLDER_NAME,
    PLACEHOLDER_VERSION,
    PLACEHOLDER_SOCKET,
    PLACEHOLDER_PORT,
    PLACEHOLDER_CPUS,
    PLACEHOLDER_RUNTIMES, /* the folder of the runtimes' programs that come with muster */
    PLACEHOLDER_SERVING,  /* those above can be used to serve; to score all but socket and port */
    PLACEHOLDER_DATA = PLACEHOLDER_SERVING,
    PLACEHOLDER_OUTPUT,
    PLACEHOLDER_SHARD,
    PLACEHOLDER_SHARDS,
    PLACEHOLDER_COUNT
};

enum template_use { TEMPLATE_SERVE, TEMPLATE_SCORE };

/* Whether every placeholder of text is known where it is used. ERR_INVALID names the first that is
 * not. */
MUST_CHECK int template_check(const char *text, enum template_use use, struct error *err);
/* Appends text with its placeholders filled in; values[i] NULL counts as "". The text has been
 * checked before. */
void template_expand(
    const char *text, const char *const values[PLACEHOLDER_COUNT], struct strbuf *out);
