/* JSON that is posted to addresses of services' choice, once and a bounded number of times again,
 * by a thread of its own. Whoever gives it some waits for nothing: what would be too much of a
 * service, or of all, is dropped and counted, and so is what no attempt got through. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct strbuf;

enum {
    HOOK_WAITING_MAX = 1024,   /* of all services, under way or not */
    HOOK_OF_SERVICE_MAX = 128, /* of one */
    HOOK_BYTES_MAX = 32 << 20, /* of all */
    HOOK_RUNNING_MAX = 32,     /* at once, of all */
    HOOK_RUNNING_OF_SERVICE_MAX = 4,
    HOOK_PAUSE_MS_MAX = 30000,
};

struct hook_post {
    const char *service, *url; /* "https://judge.example:9000/verdicts" */
    const char *body;
    size_t length;
    int64_t timeout_ms; /* of an attempt, as a whole */
    int retries;        /* attempts after the first */
};

struct hook;
/* instance: a name of this run, which begins the name of each post; trust: see outside.h. ERR_IO:
 * there is no thread. */
MUST_CHECK int hook_create(
    const char *instance, const char *trust, struct hook **ret, struct error *err);
/* What waits and is under way is given up. NULL is fine. */
void hook_destroy(struct hook *hook);

/* From any thread; copies what it is given. False: it was dropped, and counted. */
bool hook_put(struct hook *hook, const struct hook_post *post);
/* Appends what happened so far in Prometheus' text form. */
void hook_write_metrics(struct hook *hook, struct strbuf *out);

/* ---- what is decided about an attempt, for tests --------------------------------------------- */

enum hook_outcome { HOOK_TAKEN, HOOK_AGAIN, HOOK_REFUSED };
/* Of a final status; 0: there was no answer. */
enum hook_outcome hook_outcome_of(int status);
/* Before the attempt after so many. */
int64_t hook_pause_ms(int attempts);
