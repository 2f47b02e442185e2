/* The options of a service that the gateway goes by, on their way to it. */
#pragma once

#include "base/error.h"
#include "spec/kinds.h"

#include <stdbool.h>

struct arena;
struct doc;

/* As manifests and answers name them. */
extern const char *const guard_kind_names[GUARD_KINDS];

/* Why another service is asked, and which requests may be made twice; both end with NULL. */
extern const char *const fallback_reason_names[], *const hedge_safe_names[];
/* "p95" is a percentage, "200ms" a time; the other of the two is 0. False: neither. */
bool hedge_after_parse(const char *text, int64_t *ret_ms, int *ret_percent);

/* What a Service that says nothing has. */
void service_gateway_default(struct service_gateway *ret);
/* What a Service that says nothing of autoscaling has: none. */
void service_autoscale_default(struct service_autoscale *ret);
/* Never quiet. */
void service_quiet_default(struct service_quiet *ret);
/* As `spec.gateway` of a manifest has them, without what is the default. */
struct doc *service_gateway_encode(struct arena *arena, const struct service_gateway *options);
/* Texts are those of doc or of the arena. Fields that are not known, of a newer server, are left
 * out. ERR_INVALID names the field; *ret is untouched then. */
MUST_CHECK int service_gateway_decode(
    struct arena *arena, const struct doc *doc, struct service_gateway *ret, struct error *err);

/* How a Service that says nothing is rolled. */
void service_rollout_default(struct service_rollout *ret);

/* Nothing limited, the usual weight, no priority of its own. */
void serving_default(struct serving_rights *ret);
/* As `spec.serving` of a Team has it, without what is the default: an empty map for that. */
struct doc *serving_encode(struct arena *arena, const struct serving_rights *serving);
/* Nothing of doc is kept. known: a newer program's fields are skipped, else they are an error.
 * ERR_INVALID names the field; *ret is untouched then. */
MUST_CHECK int serving_decode(struct arena *arena, const struct doc *doc, bool known,
    struct serving_rights *ret, struct error *err);
/* Whether it says nothing. */
bool serving_is_default(const struct serving_rights *serving);
/* "low" .. "urgent", or a number from 0 to 1000. False for any other text. */
bool serving_priority_parse(const char *text, int64_t *ret);
