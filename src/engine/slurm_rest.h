/* Asking slurmrestd: requests over the loop's own HTTP client, a bounded number at once, each
 * with an end. Nothing is asked again here: what an answer that did not come means is the caller's
 * to know.
 *
 * Why wire/http_agent and not libcurl: it speaks Unix sockets, HTTP and TLS without blocking, is
 * strict with what it is sent, and is there already. */
#pragma once

#include "base/error.h"
#include "spec/kinds.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;
struct rest;

enum { REST_BODY_MAX = 4 << 20 };

enum rest_outcome {
    REST_ANSWERED,
    REST_UNSENT, /* nothing of it reached anybody */
    REST_UNSURE, /* it may or may not have been done */
};

struct rest_answer {
    enum rest_outcome outcome;
    int status;       /* REST_ANSWERED */
    const char *body; /* "" where it was given in pieces; terminated */
    size_t length;
    const char *text; /* why there is no answer */
};

typedef void rest_done_fn(void *context, const struct rest_answer *answer);
/* -1 gives the answer up: it counts as none. */
typedef int rest_piece_fn(void *context, const char *bytes, size_t length, struct error *err);

struct rest_question {
    const char *method;
    const char *target;
    const char *user; /* who asks; NULL: the user of the site */
    const char *body; /* JSON, NULL: none */
    size_t length;
    int64_t timeout_ms;      /* more than the usual; 0: the usual */
    bool first;              /* it is about all jobs: it waits for none that is about one */
    rest_piece_fn *on_piece; /* of an answer with status 200; NULL: it is gathered */
    rest_done_fn *on_done;   /* once, from the loop */
    void *context;
};

/* The endpoint, user and token of the site. NULL: ERR_INVALID. */
MUST_CHECK struct rest *rest_create(
    struct event_base *base, const struct slurm_site *site, struct error *err);
/* Gives up what is under way; nobody is called any more. NULL is fine. */
void rest_destroy(struct rest *rest);
/* Whether there is a token by which that user can ask; text is why not. The user of the site always
 * can. */
bool rest_may_ask(const struct rest *rest, const char *user, char *text, size_t size);
/* Everything is copied. */
void rest_ask(struct rest *rest, const struct rest_question *question);
