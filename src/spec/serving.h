/* The options of a service that the gateway goes by, on their way to it. */
#pragma once

#include "base/error.h"
#include "spec/kinds.h"

struct arena;
struct doc;

/* What a Service that says nothing has. */
void service_gateway_default(struct service_gateway *ret);
/* As `spec.gateway` of a manifest has them, without what is the default. */
struct doc *service_gateway_encode(struct arena *arena, const struct service_gateway *options);
/* Texts are those of doc or of the arena. Fields that are not known, of a newer server, are left
 * out. ERR_INVALID names the field; *ret is untouched then. */
MUST_CHECK int service_gateway_decode(
    struct arena *arena, const struct doc *doc, struct service_gateway *ret, struct error *err);
