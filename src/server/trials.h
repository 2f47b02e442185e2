/* Trials: requests that are made of a service's replicas to find out what they answer, synthetic
 * ones and recorded ones (`muster test`, `muster replay`). They go from the server to a replica and
 * not through the gateway, so that nothing which is known of users' requests counts them: usage,
 * limits, caches, batches, latencies, failures in a row, what rollouts and scaling go by.
 *
 * Who may ask opens a trial, which is in the audit log before anything is sent; then requests are
 * made in it, by the same user. A trial that nobody asks in for TRIAL_IDLE_MS is over. Trials live
 * in memory: after a restart of the server they have to be opened again. */
#pragma once

#include "base/error.h"
#include "wire/http.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct services;
struct trials;

enum {
    TRIALS_MAX = 256,
    TRIAL_IDLE_MS = 10 * 60 * 1000,
    TRIAL_REQUESTS_MAX = 16, /* under way at once, of all trials: users' requests come first */
    TRIAL_FIELDS_MAX = 16,
    TRIAL_ANSWER_BYTES_MAX = 1 << 20,
    TRIAL_TIMEOUT_MAX_MS = 10 * 60 * 1000,
    TRIAL_ID_TEXT = 33,
    TRIAL_NAME_BYTES = 160,
    TRIAL_ANY_VERSION = -1,
};

/* What the requests of a trial are made of. */
struct trial {
    char id[TRIAL_ID_TEXT];
    char service[TRIAL_NAME_BYTES]; /* "team/name" */
    char user[128];
    char replica[TRIAL_NAME_BYTES]; /* "": any of them */
    int64_t version;                /* TRIAL_ANY_VERSION */
    bool unready;                   /* also those that their checks have taken out */
    int64_t used_ms;                /* monotonic */
    struct trial *next;
};

/* A request of one. Everything has to live until trial_ask returns. */
struct trial_request {
    const char *method, *target;
    const struct http_field *fields;
    size_t field_count;
    const char *body;
    size_t length;
    int64_t timeout_ms; /* of all of it */
};

/* What came of one; valid for the call. */
struct trial_answer {
    const char *replica; /* its name */
    int64_t version;
    bool ready;
    const char *failure; /* NULL: there is an answer */
    int status;
    const struct http_field *fields;
    size_t field_count;
    const char *body; /* length bytes: as many as came, TRIAL_ANSWER_BYTES_MAX at most */
    size_t length;
    bool cut;                   /* there was more */
    int64_t first_us, total_us; /* to the answer's head, and to its end */
};
typedef void trial_done(void *context, const struct trial_answer *answer);
struct trial_ask;

/* Of the replicas that services has; destroyed by the caller. */
struct trials *trials_create(struct services *services);
/* Requests under way fail. NULL is fine. */
void trials_destroy(struct trials *trials);

/* Whether there is such a replica now: the service, the version, the replica, one that is ready.
 * ERR_NOT_FOUND or ERR_UNAVAILABLE says what is there. */
MUST_CHECK int trial_check(struct trials *trials, const struct trial *trial, struct error *err);
/* Keeps a copy under an id of its own, which it returns; NULL with ERR_BUSY when there are
 * TRIALS_MAX. */
struct trial *trial_open(struct trials *trials, const struct trial *trial, struct error *err);
/* The trial of that service and user, or NULL with ERR_NOT_FOUND. Valid until the loop is returned
 * to. */
struct trial *trial_find(struct trials *trials, const char *service, const char *user,
    const char *id, struct error *err);
/* Makes a request; done is called once, later, unless it is cancelled. NULL with ERR_BUSY,
 * ERR_UNAVAILABLE (no replica) or ERR_NOT_FOUND. */
struct trial_ask *trial_ask_begin(struct trials *trials, const struct trial *trial,
    const struct trial_request *request, trial_done *done, void *context, struct error *err);
/* Gives it up; the caller must not use it any more. */
void trial_ask_cancel(struct trial_ask *ask);

struct strbuf;
/* Appends what was asked, in Prometheus' text form. */
void trials_write_metrics(const struct trials *trials, struct strbuf *out);
