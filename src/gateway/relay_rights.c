/* Which rights a request has: see relay_rights.h. */
#include "gateway/relay_rights.h"

#include "base/hash.h"
#include "gateway/limit.h"
#include "gateway/relay_limits.h"
#include "spec/serving.h"
#include "wire/http.h"

#include <arpa/inet.h>
#include <string.h>

size_t relay_rights_count(const struct service_limits *limits, const struct route_key *key)
{
    size_t count = limits->key.count + limits->address.count + limits->all.count;
    if (key && key->serving)
        count += key->serving->limits.count;
    for (size_t i = 0; key && i < key->count_count; i++)
        count += key->counts[i]->serving ? key->counts[i]->serving->limits.count : 0;
    return count;
}

bool relay_limits_needed(const struct routes *routes)
{
    static const struct service_limits nothing;
    for (size_t i = 0; i < routes->service_count; i++) {
        if (relay_rights_count(&routes->services[i].options->limits, NULL) > 0)
            return true;
    }
    for (size_t i = 0; i < routes->key_count; i++) {
        if (relay_rights_count(&nothing, &routes->keys[i]) > 0)
            return true;
    }
    return false;
}

/* Without the port; of IPv6 the /64, which is one customer's. */
static void client_address(const struct http_request *request, char out[64])
{
    const char *address = http_request_peer(request)->address, *port = strrchr(address, ':');
    struct in6_addr six;
    bool brackets = address[0] == '[' && port && port > address + 1;
    size_t length = port ? (size_t)(port - address) - (brackets ? 2 : 0) : strlen(address);
    length = length > 63 ? 63 : length;
    memcpy(out, address + (brackets ? 1 : 0), length);
    out[length] = '\0';
    if (!brackets || inet_pton(AF_INET6, out, &six) != 1)
        return;
    memset(six.s6_addr + 8, 0, 8);
    inet_ntop(AF_INET6, &six, out, 64);
}

/* What concerns most is asked first. */
void relay_rights_gather(const struct relay *relay, const struct route_key *key,
    const struct limit_store *store, struct limit_rules *rules)
{
    const struct service_limits *limits = &relay->terms->options.limits;
    const char *service = relay->terms->service;
    char address[64];
    limit_rules_add(rules, store, &limits->all, "service", service, "");
    for (size_t i = 0; key && i < key->count_count; i++) {
        if (key->counts[i]->serving)
            limit_rules_add(
                rules, store, &key->counts[i]->serving->limits, "team", key->counts[i]->name, "");
    }
    if (key && key->serving)
        limit_rules_add(rules, store, &key->serving->limits, "key", key->id, "");
    if (key)
        limit_rules_add(rules, store, &limits->key, "service key", service, key->id);
    if (limits->address.count == 0)
        return;
    client_address(relay->request, address);
    limit_rules_add(rules, store, &limits->address, "service address", service, address);
}

/* The key's own priority, or that of the nearest team that has one. */
static int64_t priority_of(const struct route_key *key)
{
    if (key && key->serving && key->serving->priority >= 0)
        return key->serving->priority;
    for (size_t i = 0; key && i < key->count_count; i++) {
        if (key->counts[i]->serving && key->counts[i]->serving->priority >= 0)
            return key->counts[i]->serving->priority;
    }
    return PRIORITY_NORMAL;
}

static int level_of(int64_t priority)
{
    return priority >= PRIORITY_URGENT ? 3
           : priority >= PRIORITY_HIGH ? 2
                                       : priority >= PRIORITY_NORMAL;
}

void relay_rights_turn(struct relay *relay, const struct route_key *key)
{
    struct relay_turn *turn = &relay->turn;
    const char *asked = http_request_header(relay->request, "X-Muster-Priority");
    int64_t priority = priority_of(key), wanted;
    char address[64];
    if (asked && serving_priority_parse(asked, &wanted) && wanted < priority)
        priority = wanted;
    turn->level = level_of(priority);
    turn->weight_micro = 1000000;
    if (!key) {
        client_address(relay->request, address);
        turn->tenant = (uint64_t)hash_text(address);
        return;
    }
    const struct serving_rights *rights = key->serving;
    if (key->count_count > 0)
        rights = key->counts[0]->serving;
    turn->tenant = (uint64_t)hash_text(key->count_count > 0 ? key->counts[0]->name : key->id);
    if (rights)
        turn->weight_micro = rights->weight_micro;
}
