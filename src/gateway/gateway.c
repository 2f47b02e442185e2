/* The gateway: see gateway.h. */
#include "gateway/gateway.h"
