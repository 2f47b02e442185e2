/* Between the parts of batching: relay_batch.c (the worker that has the request: its home),
 * batch_queue.c (the worker that has the service's batches: the owner), batch_call.c (one call).
 *
 * A member goes from its home to the owner and back with a verdict. In between the owner has it,
 * but for the fields that are said to be the home's; what it reads of the request's body stays
 * where it is. A client that goes away is told to the owner by a second message, which comes back
 * too; the home frees the member when all that it sent is back. */
#pragma once

#include "gateway/batch_item.h"
#include "gateway/batch_pace.h"
#include "gateway/post.h"
#include "gateway/relay.h"
#include "gateway/trace_context.h"
#include "gateway/worker.h"
#include "wire/http_agent.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct batch_call;
struct batch_group;

enum {
    BATCH_GROUPS_MAX = 64,    /* of a service: kinds of requests that do not mix */
    BATCH_WAITING_MAX = 4096, /* of a service */
    BATCH_CALL_BYTES_MAX = 64 << 20,
    BATCH_TYPE_BYTES = 128,
};

enum batch_verdict {
    BATCH_ANSWERED, /* `answer` is the client's */
    BATCH_ALONE,    /* on by itself, as if there were no batching */
    BATCH_BROKEN,   /* the call failed in a way that is not tried again */
};

struct batch_member {
    struct post post, leave;
    /* The home's. */
    struct relay *relay; /* NULL: the client went away */
    struct worker_view *home;
    int owner, under_way; /* messages that will come back */
    struct service_terms *terms;
    struct strbuf held; /* the body, once the relay is gone */
    /* Does not change. */
    int home_number;
    const char *body;
    size_t length;
    int64_t head_length, version, priority;
    int64_t deadline_ns;                  /* monotonic; 0: none */
    char trace_parent[TRACE_PARENT_TEXT]; /* of the call, should it lead it; "": no traces */
    struct batch_item item;
    struct strbuf key;
    /* The owner's. */
    TAILQ_ENTRY(batch_member) link; /* of its group, while it waits */
    struct batch_group *group;      /* NULL: it does not wait */
    int64_t came_ns;
    bool left;
    /* The verdict. */
    enum batch_verdict verdict;
    struct batch_body answer;
    int status;
    char content_type[BATCH_TYPE_BYTES];
    uint64_t replica;
    int64_t replica_version;
    int64_t busy_ns;           /* its share of the call */
    int64_t began_ns;          /* the call */
    int64_t queue_ns, call_ns; /* until the call began, and the call */
    uint64_t batch_size;       /* requests of the call */
    uint64_t batch_micro;      /* its part of the call, in millionths */
    bool failed;               /* the call was tried, and failed */
    enum http_failure failure;
};
TAILQ_HEAD(batch_members, batch_member);

/* Requests that may go together, and what is learned of them. */
struct batch_group {
    TAILQ_ENTRY(batch_group) link;
    struct strbuf key;
    int64_t version;
    struct batch_members members; /* by priority, then as they came */
    int64_t waiting, rows;
    size_t calls; /* under way */
    struct batch_pace pace;
    int64_t used_ns;
};

struct batch_service {
    TAILQ_ENTRY(batch_service) link;
    struct batcher *batcher;
    struct service_terms *terms; /* held */
    TAILQ_HEAD(, batch_group) groups;
    size_t group_count, calls;
    int64_t waiting;
    int64_t look_ns; /* asked again then; 0: when something happens */
};

struct batcher {
    struct gateway_worker *worker;
    struct worker_view *view;
    TAILQ_HEAD(, batch_service) services;
    TAILQ_HEAD(, batch_call) calls;
    int timer_fd;
    int64_t timer_ns; /* what it is set to; 0: nothing */
    struct event *timer;
    bool closing;
};

/* ---- batch_queue.c, on the owner's thread -----------------------------------------------------
 */

/* A member comes; its verdict is sent sooner or later. */
void batch_join(struct batcher *batcher, struct batch_member *member);
/* Its client is gone. */
void batch_leave(struct batcher *batcher, struct batch_member *member);
/* Something happened at a replica of the service that is not the batcher's doing. */
void batch_look(struct batcher *batcher, const char *service);
/* Sends what can be sent now. */
void batch_pump(struct batch_service *service);

/* ---- batch_call.c, on the owner's thread ------------------------------------------------------
 */

/* Sends these, which wait no more, to the replica; false: its address cannot be used, and the
 * verdict is alone. */
bool batch_call_begin(struct batch_service *service, struct batch_group *group,
    const struct table_replica *replica, struct batch_member **members, size_t count);
/* A member of a call has left: a call without any other is given up. */
void batch_call_left(struct batcher *batcher, struct batch_member *member);
/* Gives all up, without verdicts but to this worker's own. */
void batch_calls_destroy(struct batcher *batcher);

/* ---- relay_batch.c ----------------------------------------------------------------------------
 */

/* From the owner: the verdict is in the member, which is the home's from now on. */
void batch_member_return(struct batcher *batcher, struct batch_member *member);
