/* What the handlers about versions share. Their routes have SCOPE_OWNED: the first parameter is
 * "team/name" when they run, call->kind says of what kind. */
#pragma once

#include "server/call.h"
#include "server/versions.h"

/* The name without its team. */
const char *call_artifact(const struct call *call);
/* The version that the second parameter names: a number, "newest", or a stage. ERR_NOT_FOUND. */
MUST_CHECK int call_version(struct call *call, struct version *ret, struct error *err);
/* A number, "newest" or a stage as a reference to a version of team/name. ERR_INVALID. */
MUST_CHECK int version_reference(
    const char *team, const char *name, const char *text, struct reference *ret, struct error *err);
