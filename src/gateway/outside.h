/* Addresses outside that Services name (hooks, classifiers): endpoints by their URLs, of one
 * thread. Names are looked up by threads that nobody waits for (wire/resolve.h), certificates are
 * checked against what the gateway trusts. How many endpoints are kept is bounded. */
#pragma once

#include "base/error.h"

enum { OUTSIDE_ENDPOINTS_MAX = 64 };

struct event_base;
struct http_endpoint;

struct outside;
/* trust: a PEM file of certificates, NULL for the system's; read with the first address of https.
 * Destroyed by the caller, before base. */
struct outside *outside_create(struct event_base *base, const char *trust);
/* What is under way is given up without calling back. NULL is fine. */
void outside_destroy(struct outside *outside);

/* The endpoint of "http://host:8080", "https://host" or "unix:/path", kept for whoever asks for it
 * again; the caller uses it before the next call, as it may be let go of then (exchanges that are
 * under way go on). NULL with err: the URL is none, or what is trusted cannot be read. */
MUST_CHECK struct http_endpoint *outside_endpoint(
    struct outside *outside, const char *url, struct error *err);
