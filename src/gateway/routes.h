/* Routes: which services there are, who may ask them, and where their replicas listen. One document
 * (JSON) with everything; the server makes it, the gateway decodes it and keeps it on disk.
 *
 *     {"generation": 17,
 *      "keys": [{"id": "k1", "hash": "<SHA-256 of the key, hex>", "user": "ann",
 *                "team": "vision", "teams": ["vision"], "services": ["digits"], "expiresMs": 0,
 *                "serving": {"limits": [..], "priority": 500}, "counts": ["vision"]}],
 *      "teams": [{"team": "vision", "serving": {"limits": [..], "weight": 2}}],
 *      "services": [{"route": "digits", "service": "vision/digits", "team": "vision",
 *                    "protocols": ["oip", "openai"],
 *                    "options": {"access": "known", "timeout": "10s", ..},
 *                    "split": {"baseline": 10, "canary": 10, "shadow": 0},
 *                    "replicas": [{"replica": 4711, "version": 3, "address": "unix:/..",
 *                                  "uid": 20001, "draining": false, "arm": "canary"}]}]}
 *
 * The options are `spec.gateway` of the Service, of which docs/kinds.md has the table; `serving` is
 * that of the Team, or of the token. A key's requests count for the teams in "counts": the one it
 * belongs to, then those above it. "team" is the one it belongs to, for whoever adds up costs.
 * "serving", "counts", "team" and the document's "teams" may be missing.
 * A key counts for a service when its teams hold the service's team ("access": "team"), or whatever
 * its teams ("known"), and its services are none or hold the service. `replica` is the id of the
 * replica's job. Of a service with a split each request is drawn for an arm, in percent, and gets a
 * replica of that arm; without one ("split" may be missing, as "arm") all are for the arm "main".
 * Of "shadow" percent copies go to the canary. A draining replica gets no new request. Generations
 * ascend; they go on over restarts of the server. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct arena;
struct service_gateway;
struct serving_rights;

enum {
    ROUTES_BYTES_MAX = 16 << 20,
    ROUTE_SERVICES_MAX = 10000,
    ROUTE_REPLICAS_MAX = 1000, /* of a service */
    ROUTE_KEYS_MAX = 100000,
    ROUTE_TEAMS_MAX = 10000,
    ROUTE_COUNTS_MAX = 4, /* teams that a key counts for */
};

enum route_arm { ROUTE_ARM_MAIN, ROUTE_ARM_BASELINE, ROUTE_ARM_CANARY, ROUTE_ARMS };
extern const char *const route_arm_names[ROUTE_ARMS];

/* Percent; all 0: there is no split. */
struct route_split {
    int64_t baseline, canary, shadow;
};

struct route_team {
    const char *name;
    const struct serving_rights *serving;
};

struct route_key {
    const char *id;
    uint8_t hash[32];
    const char *user;
    const char *team; /* that it belongs to; NULL: none */
    const char **teams;
    size_t team_count;
    const char **services; /* "team/name"; none: all */
    size_t service_count;
    int64_t expires_ms;                   /* 0: never */
    const struct serving_rights *serving; /* NULL: nothing is said */
    const struct route_team **counts;     /* of routes.teams */
    size_t count_count;
};

struct route_replica {
    uint64_t replica;
    int64_t version;
    const char *address;
    uid_t uid; /* whose the socket has to be; (uid_t)-1: anybody's */
    bool draining;
    enum route_arm arm;
};

struct route_service {
    const char *route;
    const char *service; /* "team/name" */
    const char *team;
    bool oip, openai;
    const struct service_gateway *options;
    const char *options_text; /* decoded: the same as JSON, in its canonical form */
    struct route_split split;
    const struct route_replica *replicas;
    size_t replica_count;
};

struct routes {
    int64_t generation;
    const struct route_key *keys;
    size_t key_count;
    const struct route_service *services;
    size_t service_count;
    const struct route_team *teams;
    size_t team_count;
};

/* Decodes a document into the arena. ERR_INVALID names the place. Route names are unique. */
MUST_CHECK int routes_decode(struct arena *arena, const char *text, size_t length,
    const struct routes **ret, struct error *err);
/* Its document, to be freed by the caller. routes_decode gives an equal value. */
char *routes_encode(const struct routes *routes);
