/* Where the gateway listens: one address that all workers share. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

/* Checks an address ("127.0.0.1:8080", ":8443") before the workers share it: without TLS only
 * loopback is taken (ERR_INVALID), and nobody else may listen there (ERR_CONFLICT): sharing would
 * spread requests over two gateways without a word. A port 0 is free by nature. */
MUST_CHECK int listen_check(const char *address, bool tls, struct error *err);
/* The first half of it: the address and what TLS it needs, not whether it is free. */
MUST_CHECK int listen_allowed(const char *address, bool tls, struct error *err);
/* The address with the port in place of its own, in out. */
void listen_with_port(const char *address, unsigned port, char *out, size_t size);
