/* What is there of one kind of object, and every change of it: list, then watch, for as long as it
 * takes. A version that the server has forgotten (410) leads to a new list; a server that does not
 * answer, to asking again, ever more seldom. Objects come from the loop, in the order in which the
 * server tells. */
#pragma once

#include "engine/kube_client.h"
#include "engine/kube_event.h"

struct kube_watch;

struct kube_watch_callbacks {
    /* A list begins: objects follow as KUBE_LISTED. One that is broken off begins again. */
    void (*on_begin)(void *ctx);
    /* KUBE_LISTED, KUBE_CHANGED or KUBE_DELETED; the object lives for the call only. */
    void (*on_object)(void *ctx, enum kube_event_kind kind, const struct doc *object);
    /* The list is complete: what was not in it is gone. */
    void (*on_synced)(void *ctx);
    /* Why there is no news, one sentence; NULL: there is again. */
    void (*on_trouble)(void *ctx, const char *text);
};

/* path: of the collection, "/api/v1/pods"; query: more of it, percent-encoded
 * ("labelSelector=a%3Db"), or NULL. Callbacks come from the loop; kube_watch_stop may be called in
 * none of them. */
struct kube_watch *kube_watch_start(struct kube_client *client, struct event_base *base,
    const char *path, const char *query, const struct kube_watch_callbacks *callbacks, void *ctx);
/* NULL is fine. */
void kube_watch_stop(struct kube_watch *watch);
