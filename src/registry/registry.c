/* The registry: see registry.h. */
#include "registry/registry.h"
