/* Moving versions between stages, within a tick: what promotions and taking a version out of its
 * stage have in common. Nothing else changes a stage. */
#pragma once

#include "server/versions.h"

struct tick;

/* Puts a version into a stage. */
void stages_put(
    struct tick *tick, const struct version *version, enum model_stage stage, const char *by);
