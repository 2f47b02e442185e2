/* See outside.h. The oldest endpoint makes room for a new one: an address that is still used is
 * opened again, which costs a connection. */
#include "gateway/outside.h"

#include "base/memory.h"
#include "wire/http_agent.h"
#include "wire/tls.h"

#include <stdlib.h>
#include <string.h>

struct place {
    char *url;
    struct http_endpoint *endpoint;
};

struct outside {
    struct http_agent *agent;
    struct tls_client *tls; /* NULL: no address of https was asked for yet */
    char *trust;
    struct place places[OUTSIDE_ENDPOINTS_MAX];
    size_t count, oldest; /* oldest: only of a full table */
};

struct outside *outside_create(struct event_base *base, const char *trust)
{
    struct outside *outside = mem_alloc(1, sizeof *outside);
    outside->agent = http_agent_create(base, NULL);
    outside->trust = trust ? mem_strdup(trust) : NULL;
    return outside;
}

void outside_destroy(struct outside *outside)
{
    if (!outside)
        return;
    /* The endpoints go with their agent. */
    http_agent_destroy(outside->agent);
    tls_client_destroy(outside->tls);
    for (size_t i = 0; i < outside->count; i++)
        free(outside->places[i].url);
    free(outside->trust);
    free(outside);
}

static void keep(struct outside *outside, const char *url, struct http_endpoint *endpoint)
{
    struct place *place;
    if (outside->count < OUTSIDE_ENDPOINTS_MAX) {
        place = &outside->places[outside->count++];
    } else {
        place = &outside->places[outside->oldest];
        outside->oldest = (outside->oldest + 1) % OUTSIDE_ENDPOINTS_MAX;
        http_endpoint_release(place->endpoint);
        free(place->url);
    }
    *place = (struct place){mem_strdup(url), endpoint};
}

struct http_endpoint *outside_endpoint(struct outside *outside, const char *url, struct error *err)
{
    struct http_endpoint *endpoint;
    for (size_t i = 0; i < outside->count; i++) {
        if (strcmp(outside->places[i].url, url) == 0)
            return outside->places[i].endpoint;
    }
    if (strncmp(url, "https:", 6) == 0 && !outside->tls &&
        tls_client_create(outside->trust, &outside->tls, err) < 0)
        return NULL;
    if (http_endpoint_create_url(outside->agent, url, outside->tls, &endpoint, err) < 0)
        return NULL;
    keep(outside, url, endpoint);
    return endpoint;
}
