/* Requests to an API server of Kubernetes, on a loop: HTTPS over wire/http_agent.h, with the
 * identity of a kube_config. Answers are bounded; no more requests are under way at once than
 * stated, others wait.
 *
 * Every call ends in exactly one kube_done_fn from the loop, unless it is cancelled. A call that
 * failed may have been done by the server all the same: who asks again looks first. */
#pragma once

#include "base/error.h"
#include "engine/kube_config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct doc;
struct arena;
struct event_base;
struct kube_client;
struct kube_call;

enum {
    KUBE_ANSWER_MAX = 16 << 20, /* bytes of one answer that is kept as a whole */
    KUBE_ITEMS_MAX = 1 << 20,   /* values in it */
    KUBE_CALLS_MAX = 16,        /* under way at once, streams not counted */
};

/* The outcome. status 0: there was no whole answer, and problem says why. */
struct kube_answer {
    int status;
    const char *body; /* ended by NUL; valid for the call only */
    size_t length;
    const char *problem;
    int64_t retry_after_ms; /* as the server asks for; 0: it does not */
};

/* The call is invalid from here on; the callback may begin others and destroy its own context, not
 * the client. */
typedef void kube_done_fn(void *ctx, const struct kube_answer *answer);
/* A piece of a streamed answer with a status of 2xx; first one of no bytes, when its head has come.
 * False: no more of it; then no kube_done_fn comes. */
typedef bool kube_piece_fn(void *ctx, const char *bytes, size_t length);

struct kube_request {
    const char *method;
    const char *target;       /* path and query, percent-encoded */
    const char *content_type; /* NULL: application/json */
    const char *body;         /* NULL: none */
    size_t length;
    int64_t timeout_ms; /* without a byte; 0: the client's */
    /* A stream: pieces are handed over as they come and not kept. It does not count as under way.
     */
    kube_piece_fn *on_piece;
};

/* Takes over what config holds, whether it succeeds or not. timeout_ms: of a request without an
 * answer, 0 is 30 s. ERR_INVALID: what the config says cannot be used. */
MUST_CHECK struct kube_client *kube_client_create(
    struct event_base *base, struct kube_config *config, int64_t timeout_ms, struct error *err);
/* Cancels all calls. NULL is fine. */
void kube_client_destroy(struct kube_client *client);
const char *kube_client_namespace(const struct kube_client *client);
int64_t kube_client_timeout_ms(const struct kube_client *client);
/* Texts and body are copied. */
struct kube_call *kube_client_call(
    struct kube_client *client, const struct kube_request *request, kube_done_fn *done, void *ctx);
/* Its outcome is not told any more. */
void kube_call_cancel(struct kube_call *call);

/* 0 for 2xx; else err has what the server says (its Status object) or why there is no answer:
 * ERR_UNAVAILABLE (also 5xx), ERR_BUSY (429), ERR_UNAUTHENTICATED, ERR_DENIED, ERR_FULL (a quota is
 * used up), ERR_NOT_FOUND, ERR_CONFLICT (409, 410), ERR_INVALID. `what` begins the text. */
MUST_CHECK int kube_answer_check(
    const struct kube_answer *answer, const char *what, struct error *err);
/* As kube_answer_check, and the body as a document in the arena. NULL with an error. */
MUST_CHECK const struct doc *kube_answer_doc(
    const struct kube_answer *answer, struct arena *arena, const char *what, struct error *err);
/* The value under one key after another, NULL at the end; NULL where there is none. */
const struct doc *kube_at(const struct doc *map, ...) __attribute__((sentinel));
/* The same for a text; "" where there is none. */
const char *kube_text(const struct doc *map, ...) __attribute__((sentinel));
