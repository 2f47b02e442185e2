/* The engine of a Kubernetes cluster, for engine_create. */
#pragma once

#include "engine/engine.h"

/* As engine_create. */
MUST_CHECK struct engine *engine_kubernetes_create(
    const struct engine_options *options, struct error *err);
