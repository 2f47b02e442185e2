/* What a job's cost is told apart by. It is kept when the job is forgotten (cost_keep), since its
 * charges stay. */
#pragma once

#include <stdint.h>

struct arena;
struct doc;
struct server;

struct cost_subject {
    const char *name;
    const char *team;
    const char *state;
    const char *class_name;
    const struct doc *labels; /* or NULL */
    uint64_t array;           /* the first element's job, or 0 */
    const char *service;      /* "team/name" of a replica, else NULL */
    const char *model;        /* "team/name:3" that a replica serves, else NULL */
};

/* Zeroed but for what is known: nothing is, of a job that was never there. Everything is of the
 * arena. Labels and model come from the job's manifest, which is read and parsed for them. */
void cost_subject_find(
    struct server *server, struct arena *arena, uint64_t job, struct cost_subject *ret);
/* The same without labels, reading the manifests of replicas only: for the reports that do not tell
 * apart by labels and have many jobs. */
void cost_subject_serving(
    struct server *server, struct arena *arena, uint64_t job, struct cost_subject *ret);
