/* The server's context: the few opaque parts that a request or an effect may need. Private to
 * src/server; each part's own header says what can be done with it. */
#pragma once

#include "server/server.h"

struct access;
struct artifacts;
struct collector;
struct catalog;
struct core;
struct engine;
struct engines;
struct event_base;
struct exec_sessions;
struct feed;
struct http_server;
struct job_traces;
struct outputs;
struct progress;
struct forecasts;
struct planner_link;
struct promotions;
struct reconciler;
struct services;
struct serving_usage;
struct store;
struct store_reader;
struct ticker;
struct tls_client;
struct tokens;
struct uids;
struct usage;
struct vault;
struct worker;

struct server {
    struct server_config config;
    struct event_base *base;
    struct store *store;         /* the commit thread's while a commit is under way */
    struct store_reader *reader; /* the loop's */
    struct core *core;           /* replaced when a commit failed: never keep a copy */
    struct engine *engine;       /* of this machine */
    struct engines *engines;     /* of all pools */
    struct exec_sessions *execs;
    struct catalog *catalog;
    struct tokens *tokens;
    struct vault *vault;
    struct uids *uids;
    struct usage *usage;
    struct ticker *ticker;
    struct worker *commits;
    struct worker *chores; /* hashing, verifying, copying */
    struct artifacts *artifacts;
    struct outputs *outputs;
    struct planner_link *planner; /* NULL before it is there */
    struct forecasts *forecasts;
    struct promotions *promotions;
    struct collector *collector;
    struct http_server *http;
    struct feed *feed;
    struct progress *progress;
    struct reconciler *reconciler;
    struct services *services;
    struct serving_usage *serving_usage; /* NULL: nothing is collected */
    struct job_traces *job_traces;       /* NULL: jobs are not traced */
    struct tls_client *trust;            /* see server_trust */
    int64_t started_ms;
    bool stopping;
};

/* What endpoints over https are held against, such as of metrics; made when it is first asked for,
 * valid as long as the server. */
MUST_CHECK int server_trust(struct server *server, struct tls_client **ret, struct error *err);

/* The wall clock, as answers use it. */
int64_t server_now_ms(void);
