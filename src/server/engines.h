/* The engines of the pools: that of this machine, which all local pools share, and one for each
 * pool of a site. They follow the catalogue: a pool that is applied gets its engine, and one that
 * says something else about its site gets another, which finds what the one before had. */
#pragma once

#include "base/error.h"
#include "base/memory.h"
#include "engine/engine.h"
#include "spec/kinds.h"

struct engines;
struct server;

/* Without any but that of this machine, server->engine. */
struct engines *engines_create(struct server *server);
/* That of this machine too. NULL is fine. */
void engines_destroy(struct engines *engines);
/* Makes and replaces engines as the catalogue says. One that cannot be made is tried again. */
void engines_follow(struct server *server);
/* Whether the pool's options are fine: its engine could be made here. */
MUST_CHECK int engines_check(struct server *server, const struct pool *pool, struct error *err);

/* Another number whenever there is another engine than before, or one less. */
uint64_t engines_generation(const struct server *server);
/* The i-th: the first is that of this machine. NULL past the last. */
struct engine *engines_at(const struct server *server, size_t i);
/* The one that a pool of the core has; NULL: it has none now. */
struct engine *engines_of_pool(const struct server *server, uint64_t pool);
/* The one that the live attempt is for: it never changes. NULL as above. */
struct engine *engines_of_attempt(const struct server *server, uint64_t attempt);

/* The one that knows the attempt, else that of this machine. Asks no core: for requests. */
struct engine *engines_with(const struct server *server, uint64_t attempt);

/* Puts the nodes of the pool's site into a pool that names none itself: what is up and takes what
 * is new, and whether there are others. False: they are not known, or it names its own. */
bool engines_fill_nodes(const struct server *server, struct arena *arena, struct pool *pool);

/* What the engine of a pool knows of its site, without asking. False: the pool is of this machine,
 * or has no engine now. */
bool engines_site(const struct server *server, const char *pool, struct engine_site *ret_site);

/* As those of an engine, for whichever has something of the job. */
char *engines_log_folder(const struct server *server, uint64_t job, uint32_t attempt_number);
/* See above. */
MUST_CHECK int engines_purge(struct server *server, uint64_t job, struct error *err);
/* See above. */
MUST_CHECK int engines_output_open(
    const struct server *server, uint64_t job, const char *name, struct error *err);
/* See above. */
MUST_CHECK int engines_outputs_drop(struct server *server, uint64_t job, struct error *err);
/* Where a replica's attempt is asked, or NULL. */
char *engines_serve_address(const struct server *server, uint64_t attempt);
