/* The feed of committed changes: a ring of recent events for whoever watches. An event is one line
 * of JSON; a watcher who is further behind than the ring is told to list anew. */
#pragma once

#include "wire/http.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct feed;
struct identity;
struct server;

/* An empty ring without watchers. */
struct feed *feed_create(struct server *server);
void feed_destroy(struct feed *feed); /* ends every stream; NULL is fine */
/* Adds an event of a committed tick; team may be "" for what everybody may see. line has no
 * newline and is copied. */
void feed_publish(struct feed *feed, int64_t tick, const char *team, const char *line);
/* Answers the request with a stream of the events after tick `after` (-1: from now on) that the
 * identity may see. -1, and nothing was answered: ERR_CONFLICT, the ring does not reach back that
 * far; ERR_BUSY, too many watch. */
MUST_CHECK int feed_watch(struct feed *feed, struct http_request *request,
    const struct identity *identity, int64_t after, struct error *err);
size_t feed_watchers(const struct feed *feed);
