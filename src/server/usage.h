/* What running attempts use, as engines sample it: kept in memory for `top` and `describe`, and
 * written down with an attempt's end. */
#pragma once

#include "engine/engine.h"
#include "wire/doc.h"

struct usage;

/* Without samples. */
struct usage *usage_create(void);
void usage_destroy(struct usage *usage); /* NULL is fine */
void usage_put(struct usage *usage, uint64_t attempt, const struct attempt_usage *sample);
/* NULL when there is no sample. */
const struct attempt_usage *usage_get(const struct usage *usage, uint64_t attempt);
/* Forgets it; fine when there is none. */
void usage_remove(struct usage *usage, uint64_t attempt);
/* {cpuSeconds, memory, memoryPeak, read, written, disk, accelerator}, or NULL. */
struct doc *usage_doc(const struct usage *usage, struct arena *arena, uint64_t attempt);
