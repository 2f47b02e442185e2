/* Quiet hours of services (`spec.quiet`): what replicas are made of then, and when that changes.
 * Whether a window holds is for core/hours.h to say. */
#pragma once

#include "spec/kinds.h"
#include "wire/doc.h"

#include <stdbool.h>
#include <stdint.h>

struct arena;
struct services;

/* The service as its replicas are made at that moment. */
struct service quiet_service(struct arena *arena, const struct service *service, int64_t now_ms);
/* What describe says of it; NULL: it has no quiet hours. */
struct doc *quiet_status(struct arena *arena, const struct service *service, int64_t now_ms);

struct quiet_clock;
/* Looks at services whenever hours of theirs begin or end; freed with quiet_clock_destroy. */
struct quiet_clock *quiet_clock_create(struct services *services);
void quiet_clock_destroy(struct quiet_clock *clock); /* NULL is fine */
/* The services may be others, or have other hours. */
void quiet_clock_follow(struct quiet_clock *clock);
