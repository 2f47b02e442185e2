/* What init is told to run, and running it: see init.c, whose alone this is. */
#pragma once

#include "base/memory.h"
#include "engine/engine.h"
#include "engine/record.h"

#include <sys/types.h>

struct init_rank {
    uint32_t number;
    int out;
    int err;
    char **env;
    const char *cores; /* NULL: those of init */
    pid_t pid;         /* 0: not running */
};

/* What plan.h writes. All texts are of the arena it was read into. */
struct init_plan {
    const char *folder;            /* in which commands run */
    char **argv;                   /* of every rank */
    uint64_t fsize, nofile, nproc; /* 0: not bounded */
    uint16_t relay_port;           /* 0: nothing is relayed */
    struct init_rank ranks[ENGINE_RANKS_MAX];
    size_t rank_count;
};

/* Reads the plan and writes the secrets that are in it. -1: it cannot be read or they not be
 * written; errno says why. */
MUST_CHECK int init_plan_read(int plan_fd, struct arena *arena, struct init_plan *ret);
/* The values of the fields `name` in [from, to), terminated by NULL. */
char **init_plan_values(
    struct arena *arena, const struct record *record, const char *name, size_t from, size_t to);

struct init_start {
    char **argv;
    char **env;
    int fds[3];
    bool terminal;     /* fds[0] is one, and becomes the command's */
    const char *cores; /* NULL: those of init */
};

/* Why a command was not executed. */
struct init_refusal {
    int error;   /* errno */
    bool folder; /* it is the folder that cannot be entered, not the command */
};

/* The pid, once the command has been executed; -1 with the refusal when it could not be. */
pid_t init_start_process(
    const struct init_plan *plan, const struct init_start *start, struct init_refusal *ret_refusal);
