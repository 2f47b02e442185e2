/* When services are quiet (`spec.quiet`): what replicas are made of then, and when that changes.
 * Whether a window holds is for core/hours.h to say, and whether little is asked for core/quiet.h.
 */
#pragma once

#include "spec/kinds.h"
#include "wire/doc.h"

#include <stdbool.h>
#include <stdint.h>

struct arena;
struct services;

struct quiet_load;

/* The service as its replicas are made at that moment. load NULL: nothing is known of it. */
struct service quiet_service(struct arena *arena, const struct service *service,
    const struct quiet_load *load, int64_t now_ms);
/* What describe and explain say of it; NULL: it is never quiet. */
struct doc *quiet_status(struct arena *arena, const struct service *service,
    const struct quiet_load *load, int64_t now_ms);
/* Whether anything is said of when it is quiet. */
bool quiet_may(const struct service *service);

struct quiet_clock;
/* Looks at services whenever hours of theirs begin or end, and when their load says so; freed with
 * quiet_clock_destroy. */
struct quiet_clock *quiet_clock_create(struct services *services);
void quiet_clock_destroy(struct quiet_clock *clock); /* NULL is fine */
/* The services may be others, or have other hours. */
void quiet_clock_follow(struct quiet_clock *clock);
/* What is known of the load of the service; NULL: its load decides nothing. Valid until
 * quiet_clock_follow. `first`, if not NULL, is set where nothing was known before: the caller says
 * by quiet_load_begin whether its replicas are quiet ones. */
const struct quiet_load *quiet_load_of(
    struct quiet_clock *clock, const struct service *service, bool *first);
/* Its replicas are quiet ones, or not, from before the server was started. */
void quiet_load_begin(struct quiet_clock *clock, const struct service *service, bool holds);
/* What a gateway has counted so far. */
void quiet_load_take(struct quiet_clock *clock, const struct service *service, uint64_t source,
    int64_t at_ms, int64_t arrived);
