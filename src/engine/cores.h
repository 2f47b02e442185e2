/* Cores for attempts: which of this machine's cores an attempt that asks for whole CPUs gets.
 *
 * The rule: an attempt with pinned cores is the only pinned one on each of them. Attempts without
 * run anywhere the server may, on pinned cores too, so there is always a core for them. */
#pragma once

#include "base/error.h"
#include "base/strbuf.h"

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CORES_MAX = CPU_SETSIZE };

/* One of the system's CPUs. Hardware threads of one physical core have the same `physical`. */
struct core {
    uint32_t number;
    uint32_t physical; /* the lowest number among the threads of its physical core */
};

/* Cores in the order they are handed to ranks: threads of a physical core beside each other. */
struct core_list {
    uint32_t numbers[CORES_MAX];
    size_t count; /* 0: not pinned */
};

/* The cores this process may run on, threads of a physical core beside each other. cores has room
 * for CORES_MAX. Gives how many; 0: the machine does not tell. */
size_t cores_find(struct core *cores);
/* Picks `wanted` of the cores, which are in the order of cores_find, and none that is taken. Whole
 * physical cores come first, then threads of those that are in part taken, and lowest numbers
 * before higher: the same question always has the same answer. False: so many are not free. */
bool cores_choose(const struct core *cores, size_t count, const cpu_set_t *taken, size_t wanted,
    struct core_list *ret_list);
/* Makes this process, and what it starts, run on these cores only. -1: ERR_INVALID, this machine
 * has none of them for it, or ERR_DENIED. */
MUST_CHECK int cores_pin(const uint32_t *numbers, size_t count, struct error *err);

/* Appends "0,4,5". */
void cores_print(struct strbuf *out, const uint32_t *numbers, size_t count);
/* The inverse; NULL and "" are no cores. False: it is not such a list. */
bool cores_parse(const char *text, struct core_list *ret_list);
