/* Scaling: services whose number of replicas is not fixed. Gateways and Prometheus endpoints are
 * asked for figures, core/autoscale.h decides, and the core gets the number by core_service_scale.
 *
 * Nothing is stored but the number itself. A server that starts goes on from it, and takes nothing
 * away before it has seen as much as that needs; without a gateway, or with figures that are stale,
 * everything stays as it is, within its bounds. */
#pragma once

#include "base/error.h"
#include "spec/kinds.h"

#include <stdbool.h>
#include <stdint.h>

struct arena;
struct doc;
struct scaling;
struct server;
struct services;

/* Idle until a service asks for it. ERR_IO. */
MUST_CHECK int scaling_create(struct services *services, struct scaling **ret, struct error *err);
void scaling_destroy(struct scaling *scaling); /* NULL is fine */
/* After a commit: services may have come, gone or changed. */
void scaling_follow(struct scaling *scaling);

/* How many replicas a service is to have that is put now and had so many (-1: it is new): as many,
 * within its bounds. */
int32_t scaling_first(const struct service *service, int32_t had);
/* The options that the gateway gets: with what scaling needs counted and held. */
struct service_gateway scaling_gateway_options(
    const struct server *server, const struct service *service);
/* The HorizontalPodAutoscaler that scales the service, or NULL: the first by name. */
const struct hpa *scaling_hpa(const struct server *server, const char *team, const char *name);
/* Whether the number of the service's replicas is decided here. */
bool scaling_covers(const struct scaling *scaling, const char *team, const char *name);
/* {wanted, min, max, reason, words, signals..}: what was decided last, and why; NULL: nothing. */
struct doc *scaling_status(
    const struct scaling *scaling, struct arena *arena, const char *team, const char *name);
