/* Where the replicas of a pool on Slurm are asked: a port that no other has, and the address of the
 * node that the controller says they are on.
 *
 * Invariants:
 * - Nothing that a job wrote says where it is asked: the port is the launch's, the node that of the
 * listing of jobs, its address that of the listing of nodes. A job can say only that it listens.
 * - A name is looked up on a thread, one at a time, and no more often than every RESOLVE_MS for an
 * attempt. */
#include "engine/slurm.h"

#include "base/clock.h"
#include "engine/worker.h"

#include <arpa/inet.h>
#include <event2/event.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PORTS = 65536, RESOLVE_MS = 5000, NAME_MOST = 253 };

/* ---- ports ------------------------------------------------------------------------------- */

/* From a place that follows from the attempt's number, so that the next attempt of a replica whose
 * port somebody else had is likely to get another one. */
uint32_t slurm_serve_port(const struct slurm *slurm, uint64_t id)
{
    const struct slurm_attempt *known = slurm_attempt_find(slurm, id);
    uint32_t first = (uint32_t)slurm->site.port_first, last = (uint32_t)slurm->site.port_last;
    uint32_t count = last - first + 1;
    uint32_t begin = (uint32_t)((id * 0x9e3779b97f4a7c15u >> 32) % count);
    bool taken[PORTS] = {0};
    if (known)
        return known->launch.serve.port;
    for (size_t i = 0; i < slurm->attempts.count; i++) {
        const struct slurm_attempt *attempt = slurm->attempts.items[i];
        if (!attempt->ledger.ended && attempt->launch.serve.port < PORTS)
            taken[attempt->launch.serve.port] = true;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t port = first + (begin + i) % count;
        if (!taken[port])
            return port;
    }
    return 0;
}

/* ---- addresses --------------------------------------------------------------------------- */

struct slurm_name {
    struct slurm *slurm;
    uint64_t attempt;
    char host[NAME_MOST + 1];
    char address[INET6_ADDRSTRLEN]; /* "": see text */
    char text[160];
};

static const char *find_address(const struct slurm *slurm, const char *node)
{
    size_t low = 0, high = slurm->places.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(slurm->places.items[middle].node, node);
        if (order == 0)
            return slurm->places.items[middle].address;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static bool is_number(const char *host)
{
    struct in6_addr v6;
    struct in_addr v4;
    return inet_pton(AF_INET, host, &v4) == 1 || inet_pton(AF_INET6, host, &v6) == 1;
}

static bool is_host(const char *host)
{
    size_t length =
        strspn(host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_");
    return length > 0 && length <= NAME_MOST && host[length] == '\0';
}

/* An address that needs the name of an interface beside it is of no use. */
static void take_address(struct slurm_name *name, const struct addrinfo *found, int family)
{
    for (const struct addrinfo *one = found; one && !name->address[0]; one = one->ai_next) {
        const struct sockaddr_in6 *v6 = (const void *)one->ai_addr;
        if (one->ai_family != family ||
            (family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr)))
            continue;
        if (getnameinfo(one->ai_addr, one->ai_addrlen, name->address, sizeof name->address, NULL, 0,
                NI_NUMERICHOST) != 0)
            name->address[0] = '\0';
    }
}

/* On the thread. As Slurm does, by IPv4 where there is some. */
static void resolve(void *context)
{
    struct slurm_name *name = context;
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(name->host, NULL, &hints, &found);
    take_address(name, found, AF_INET);
    take_address(name, found, AF_INET6);
    if (!name->address[0])
        snprintf(name->text, sizeof name->text, "%.60s: %.80s", name->host,
            rc ? gai_strerror(rc) : "no address that can be connected to");
    if (found)
        freeaddrinfo(found);
}

static void resolved(void *context)
{
    struct slurm_name *name = context;
    struct slurm *slurm = name->slurm;
    struct slurm_attempt *attempt = slurm_attempt_find(slurm, name->attempt);
    slurm->resolving = NULL;
    if (attempt) {
        snprintf(attempt->node_address, sizeof attempt->node_address, "%s", name->address);
        snprintf(attempt->serve_text, sizeof attempt->serve_text, "%s%.140s",
            name->text[0] ? "this server cannot look up the address of its node: " : "",
            name->text);
    }
    free(name);
    slurm_soon(slurm);
}

static void look_up(struct slurm_attempt *attempt, const char *host)
{
    struct slurm *slurm = attempt->slurm;
    int64_t now_ms = clock_boot_ms();
    struct error err;
    if (slurm->resolving || (attempt->resolve_ms && now_ms - attempt->resolve_ms < RESOLVE_MS))
        return;
    attempt->resolve_ms = now_ms;
    struct slurm_name *name = mem_alloc(1, sizeof *name);
    name->slurm = slurm;
    name->attempt = attempt->launch.attempt;
    snprintf(name->host, sizeof name->host, "%s", host);
    if ((slurm->resolver || (slurm->resolver = worker_create(slurm->base, "slurm-names", &err))) &&
        worker_run(slurm->resolver, resolve, resolved, name, &err) == 0) {
        slurm->resolving = name;
        return;
    }
    snprintf(attempt->serve_text, sizeof attempt->serve_text, "%.150s", err.text);
    free(name);
}

static void find_node_address(struct slurm_attempt *attempt)
{
    const char *host = find_address(attempt->slurm, attempt->nodes);
    if (!host) {
        snprintf(attempt->serve_text, sizeof attempt->serve_text,
            "the cluster has not said yet how its node %.60s is reached", attempt->nodes);
    } else if (is_number(host)) {
        snprintf(attempt->node_address, sizeof attempt->node_address, "%.63s", host);
        attempt->serve_text[0] = '\0';
    } else if (is_host(host)) {
        look_up(attempt, host);
    } else {
        snprintf(attempt->serve_text, sizeof attempt->serve_text,
            "what the cluster says is the address of %.60s is none", attempt->nodes);
    }
}

/* ---- replicas ---------------------------------------------------------------------------- */

void slurm_serve_look(struct slurm_attempt *attempt)
{
    struct slurm_ledger *ledger = &attempt->ledger;
    if (!attempt->launch.serve.on || ledger->serve_address[0] || !attempt->nodes[0])
        return;
    if (!attempt->node_address[0])
        find_node_address(attempt);
    if (!attempt->node_address[0] || !attempt->traces.serves)
        return;
    memcpy(ledger->serve_address, attempt->node_address, sizeof ledger->serve_address);
    if (slurm_ledger_save(attempt) < 0)
        ledger->serve_address[0] = '\0';
}

bool slurm_serve_placed(const struct slurm_attempt *attempt)
{
    return !attempt->launch.serve.on || attempt->node_address[0] ||
           attempt->ledger.serve_address[0];
}

void slurm_serve_finish(struct slurm *slurm)
{
    worker_destroy(slurm->resolver); /* `resolved` is not called any more */
    free(slurm->resolving);
}
