/* The route document: JSON to structs (routes_encode.c is the way back). The decoder is the one
 * place where routes are checked: what passes here is used by the workers without looking at it
 * again. Members that it does not know are skipped, so that a newer server can talk to an older
 * gateway. */
#include "gateway/routes.h"

#include "base/map.h"
#include "base/memory.h"
#include "base/strbuf.h"
#include "gateway/usage.h"
#include "spec/serving.h"
#include "wire/doc.h"
#include "wire/url.h"

#include <arpa/inet.h>
#include <assert.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    /* A key or a replica is about ten values: this many of each fit, and memory stays bounded. */
    ITEMS_MAX = 2000000,
    NAME_BYTES_MAX = 128,
    ADDRESS_BYTES_MAX = 4096,
    KEY_LISTS_MAX = 1000,
    OPTIONS_BYTES_MAX = 64 << 10,
};

const char *const route_arm_names[ROUTE_ARMS] = {"main", "baseline", "canary"};

/* Where the decoder is, for its errors. */
struct decoder {
    struct arena *arena;
    struct error *err;
    char place[96];      /* "services[3].replicas[0]" */
    struct strmap teams; /* struct route_team by name */
};

static int PRINTF_LIKE(3, 4) fault(struct decoder *d, const char *member, const char *format, ...)
{
    struct strbuf text = {0};
    va_list args;
    va_start(args, format);
    strbuf_vprintf(&text, format, args);
    va_end(args);
    error_set(d->err, ERR_INVALID, "%s%s%s: %s", d->place, d->place[0] ? "." : "", member,
        strbuf_text(&text));
    strbuf_finish(&text);
    return -1;
}

/* ---- members -------------------------------------------------------------------------------- */

static bool is_clean(const char *text, size_t most)
{
    size_t length = strlen(text);
    if (length == 0 || length > most)
        return false;
    for (const char *s = text; *s; s++) {
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            return false;
    }
    return true;
}

static int get_text(
    struct decoder *d, const struct doc *map, const char *name, size_t most, const char **ret)
{
    const char *text = doc_get_string(map, name);
    if (!text || !is_clean(text, most))
        return fault(d, name, "expected a text of 1 to %zu characters", most);
    *ret = arena_strdup(d->arena, text);
    return 0;
}

static int get_int(struct decoder *d, const struct doc *map, const char *name, int64_t least,
    int64_t most, int64_t *ret)
{
    int64_t value;
    const struct doc *item = doc_get(map, name);
    if (!item || !doc_as_int(item, &value) || value < least || value > most)
        return fault(d, name, "expected an integer from %" PRId64 " to %" PRId64, least, most);
    *ret = value;
    return 0;
}

static const struct doc *get_list(
    struct decoder *d, const struct doc *map, const char *name, size_t most)
{
    const struct doc *list = doc_get(map, name);
    if (!list || list->type != DOC_LIST || list->count > most) {
        fault(d, name, "expected a list of at most %zu", most);
        return NULL;
    }
    return list;
}

static int get_texts(struct decoder *d, const struct doc *map, const char *name, size_t most,
    const char ***ret, size_t *ret_count)
{
    const struct doc *list = get_list(d, map, name, KEY_LISTS_MAX);
    if (!list)
        return -1;
    const char **texts = arena_alloc(d->arena, list->count + 1, sizeof *texts);
    size_t count = 0;
    for (const struct doc *item = list->first; item; item = item->next) {
        if (item->type != DOC_STRING || !is_clean(item->text, most))
            return fault(d, name, "expected texts of 1 to %zu characters", most);
        texts[count++] = arena_strdup(d->arena, item->text);
    }
    *ret = texts;
    *ret_count = count;
    return 0;
}

/* ---- teams ---------------------------------------------------------------------------------- */

/* What is said of a team or a key; NULL where nothing is. */
static int get_serving(struct decoder *d, const struct doc *map, const struct serving_rights **ret)
{
    const struct doc *doc = doc_get(map, "serving");
    struct serving_rights *serving;
    struct error fault_of;
    if (!doc)
        return 0;
    if (doc->type != DOC_MAP)
        return fault(d, "serving", "expected an object");
    serving = arena_alloc(d->arena, 1, sizeof *serving);
    if (serving_decode(d->arena, doc, true, serving, &fault_of) < 0)
        return fault(d, "serving", "%s", fault_of.text);
    *ret = serving_is_default(serving) ? NULL : serving;
    return 0;
}

static int decode_team(struct decoder *d, const struct doc *map, struct route_team *team)
{
    if (get_text(d, map, "team", USAGE_NAME - 1, &team->name) < 0)
        return -1;
    return get_serving(d, map, &team->serving);
}

static int decode_teams(struct decoder *d, const struct doc *root, struct routes *routes)
{
    if (!doc_get(root, "teams"))
        return 0;
    const struct doc *list = get_list(d, root, "teams", ROUTE_TEAMS_MAX);
    if (!list)
        return -1;
    struct route_team *teams = arena_alloc(d->arena, list->count + 1, sizeof *teams);
    size_t count = 0;
    for (const struct doc *item = list->first; item; item = item->next, count++) {
        snprintf(d->place, sizeof d->place, "teams[%zu]", count);
        if (decode_team(d, item, &teams[count]) < 0)
            return -1;
        if (strmap_get(&d->teams, teams[count].name))
            return fault(d, "team", "%s is there twice", teams[count].name);
        strmap_put(&d->teams, teams[count].name, &teams[count]);
    }
    d->place[0] = '\0';
    routes->teams = teams;
    routes->team_count = count;
    return 0;
}

/* ---- keys ----------------------------------------------------------------------------------- */

static int get_counts(struct decoder *d, const struct doc *map, struct route_key *key)
{
    const char **names;
    size_t count;
    if (!doc_get(map, "counts"))
        return 0;
    if (get_texts(d, map, "counts", USAGE_NAME - 1, &names, &count) < 0)
        return -1;
    if (count > ROUTE_COUNTS_MAX)
        return fault(d, "counts", "expected at most %d teams", ROUTE_COUNTS_MAX);
    key->counts = arena_alloc(d->arena, count + 1, sizeof *key->counts);
    for (size_t i = 0; i < count; i++) {
        const struct route_team *team = strmap_get(&d->teams, names[i]);
        if (!team)
            return fault(d, "counts", "there is no team %s among the teams", names[i]);
        key->counts[key->count_count++] = team;
    }
    return 0;
}

static int get_hash(struct decoder *d, const struct doc *map, uint8_t hash[32])
{
    const char *text = doc_get_string(map, "hash");
    size_t size = 0;
    if (!text || strlen(text) != 64 || sodium_hex2bin(hash, 32, text, 64, NULL, &size, NULL) != 0 ||
        size != 32)
        return fault(d, "hash", "expected 64 hexadecimal digits");
    return 0;
}

static int decode_key(struct decoder *d, const struct doc *map, struct route_key *key)
{
    if (get_text(d, map, "id", USAGE_NAME - 1, &key->id) < 0 || get_hash(d, map, key->hash) < 0 ||
        get_text(d, map, "user", USAGE_NAME - 1, &key->user) < 0 ||
        (doc_get(map, "team") && get_text(d, map, "team", USAGE_NAME - 1, &key->team) < 0) ||
        get_texts(d, map, "teams", USAGE_NAME - 1, &key->teams, &key->team_count) < 0 ||
        get_texts(d, map, "services", USAGE_NAME - 1, &key->services, &key->service_count) < 0 ||
        get_serving(d, map, &key->serving) < 0 || get_counts(d, map, key) < 0)
        return -1;
    return get_int(d, map, "expiresMs", 0, INT64_MAX, &key->expires_ms);
}

/* ---- services ------------------------------------------------------------------------------- */

/* A route is a segment of paths and a member of bodies: no character in it has a meaning there. */
static bool is_route_name(const char *text)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    return text[0] != '.' && strspn(text, letters) == strlen(text);
}

static bool is_address(const char *text)
{
    struct url_endpoint endpoint;
    uint8_t bytes[16];
    if (!strncmp(text, "unix:/", 6))
        return true;
    return url_endpoint_parse(text, &endpoint, NULL) == 0 && endpoint.scheme == URL_HTTP &&
           (inet_pton(AF_INET, endpoint.host, bytes) == 1 ||
               inet_pton(AF_INET6, endpoint.host, bytes) == 1);
}

static int get_arm(struct decoder *d, const struct doc *map, enum route_arm *ret)
{
    const char *text = doc_get_string(map, "arm");
    if (!doc_get(map, "arm"))
        return 0;
    for (int arm = 0; text && arm < ROUTE_ARMS; arm++) {
        if (strcmp(text, route_arm_names[arm]) != 0)
            continue;
        *ret = (enum route_arm)arm;
        return 0;
    }
    return fault(d, "arm", "expected main, baseline or canary");
}

static int decode_split(struct decoder *d, const struct doc *map, struct route_split *split)
{
    const struct doc *doc = doc_get(map, "split");
    if (!doc)
        return 0;
    if (doc->type != DOC_MAP)
        return fault(d, "split", "expected an object");
    split->baseline = doc_get_int(doc, "baseline", 0);
    split->canary = doc_get_int(doc, "canary", 0);
    split->shadow = doc_get_int(doc, "shadow", 0);
    if (split->baseline < 0 || split->baseline > 100 || split->canary < 0 ||
        split->canary > 100 - split->baseline || split->shadow < 0 || split->shadow > 100)
        return fault(d, "split", "expected percentages, together at most 100");
    return 0;
}

static int decode_replica(struct decoder *d, const struct doc *map, struct route_replica *replica)
{
    int64_t id = 0, uid = -1;
    const struct doc *draining = doc_get(map, "draining");
    if (get_int(d, map, "replica", 1, INT64_MAX, &id) < 0 ||
        get_int(d, map, "version", 0, INT64_MAX, &replica->version) < 0 ||
        get_text(d, map, "address", ADDRESS_BYTES_MAX, &replica->address) < 0 ||
        (doc_get(map, "uid") && get_int(d, map, "uid", -1, UINT32_MAX - 1, &uid) < 0) ||
        get_arm(d, map, &replica->arm) < 0)
        return -1;
    if (!is_address(replica->address))
        return fault(d, "address", "expected unix:/PATH or http://ADDRESS:PORT");
    if (draining && draining->type != DOC_BOOL)
        return fault(d, "draining", "expected true or false");
    replica->replica = (uint64_t)id;
    replica->uid = (uid_t)uid;
    replica->draining = draining && draining->boolean;
    return 0;
}

static int decode_replicas(struct decoder *d, const struct doc *map, struct route_service *service)
{
    const struct doc *list = get_list(d, map, "replicas", ROUTE_REPLICAS_MAX);
    if (!list)
        return -1;
    struct route_replica *replicas = arena_alloc(d->arena, list->count + 1, sizeof *replicas);
    SCOPED(idmap_finish) struct idmap seen = {0};
    size_t count = 0, length = strlen(d->place);
    for (const struct doc *item = list->first; item; item = item->next, count++) {
        snprintf(d->place + length, sizeof d->place - length, ".replicas[%zu]", count);
        if (decode_replica(d, item, &replicas[count]) < 0)
            return -1;
        if (idmap_get(&seen, replicas[count].replica))
            return fault(d, "replica", "is there twice");
        idmap_put(&seen, replicas[count].replica, d);
    }
    d->place[length] = '\0';
    service->replicas = replicas;
    service->replica_count = count;
    return 0;
}

static int decode_protocols(struct decoder *d, const struct doc *map, struct route_service *service)
{
    const char **names;
    size_t count;
    if (get_texts(d, map, "protocols", NAME_BYTES_MAX, &names, &count) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        if (!strcmp(names[i], "oip"))
            service->oip = true;
        else if (!strcmp(names[i], "openai"))
            service->openai = true;
        else
            return fault(d, "protocols", "expected oip and openai");
    }
    return 0;
}

/* The options are kept as their text, and decoded from that: nothing is kept of the document. */
static int decode_options(struct decoder *d, const struct doc *map, struct route_service *service)
{
    SCOPED(arena_scope) struct arena *scratch = arena_create();
    struct service_gateway *options = arena_alloc(d->arena, 1, sizeof *options);
    const struct doc *doc = doc_get(map, "options");
    struct error fault_of;
    if (doc && doc->type != DOC_MAP)
        return fault(d, "options", "expected an object");
    if (!doc)
        doc = doc_map(scratch);
    if (service_gateway_decode(scratch, doc, options, &fault_of) < 0)
        return fault(d, "options", "%s", fault_of.text);
    struct strbuf text = {0};
    doc_write_json(service_gateway_encode(scratch, options), 0, &text);
    service->options_text = arena_strdup(d->arena, strbuf_text(&text));
    strbuf_finish(&text);
    const struct doc *kept = doc_parse_json(d->arena, service->options_text,
        strlen(service->options_text), OPTIONS_BYTES_MAX, &fault_of);
    if (!kept || service_gateway_decode(d->arena, kept, options, &fault_of) < 0)
        return fault(d, "options", "expected at most %d bytes", OPTIONS_BYTES_MAX);
    service->options = options;
    return 0;
}

static int decode_service(struct decoder *d, const struct doc *map, struct route_service *service)
{
    if (get_text(d, map, "route", NAME_BYTES_MAX, &service->route) < 0 ||
        get_text(d, map, "service", USAGE_NAME - 1, &service->service) < 0 ||
        get_text(d, map, "team", USAGE_NAME - 1, &service->team) < 0 ||
        decode_protocols(d, map, service) < 0 || decode_options(d, map, service) < 0 ||
        decode_split(d, map, &service->split) < 0)
        return -1;
    if (!is_route_name(service->route))
        return fault(d, "route", "expected letters, digits, '.', '_' and '-'");
    return decode_replicas(d, map, service);
}

/* ---- the document --------------------------------------------------------------------------- */

static int decode_keys(struct decoder *d, const struct doc *root, struct routes *routes)
{
    const struct doc *list = get_list(d, root, "keys", ROUTE_KEYS_MAX);
    if (!list)
        return -1;
    struct route_key *keys = arena_alloc(d->arena, list->count + 1, sizeof *keys);
    size_t count = 0;
    for (const struct doc *item = list->first; item; item = item->next, count++) {
        snprintf(d->place, sizeof d->place, "keys[%zu]", count);
        if (decode_key(d, item, &keys[count]) < 0)
            return -1;
    }
    d->place[0] = '\0';
    routes->keys = keys;
    routes->key_count = count;
    return 0;
}

static int decode_services(struct decoder *d, const struct doc *root, struct routes *routes)
{
    const struct doc *list = get_list(d, root, "services", ROUTE_SERVICES_MAX);
    if (!list)
        return -1;
    struct route_service *services = arena_alloc(d->arena, list->count + 1, sizeof *services);
    SCOPED(strmap_finish) struct strmap seen = {0};
    size_t count = 0;
    for (const struct doc *item = list->first; item; item = item->next, count++) {
        snprintf(d->place, sizeof d->place, "services[%zu]", count);
        if (decode_service(d, item, &services[count]) < 0)
            return -1;
        if (strmap_get(&seen, services[count].route))
            return fault(d, "route", "%s is there twice", services[count].route);
        strmap_put(&seen, services[count].route, d);
    }
    d->place[0] = '\0';
    routes->services = services;
    routes->service_count = count;
    return 0;
}

static void decoder_scope(struct decoder *d)
{
    strmap_finish(&d->teams);
}

int routes_decode(struct arena *arena, const char *text, size_t length, const struct routes **ret,
    struct error *err)
{
    assert(arena && ret);
    SCOPED(decoder_scope) struct decoder d = {.arena = arena, .err = err};
    /* The tree is needed no longer than the decoding; what is kept is copied out of it. */
    SCOPED(arena_scope) struct arena *scratch = arena_create();
    const struct doc *root =
        doc_parse_json_bounded(scratch, text, length, ROUTES_BYTES_MAX, ITEMS_MAX, err);
    if (!root)
        return -1;
    if (root->type != DOC_MAP)
        return error_set(err, ERR_INVALID, "routes: expected an object");
    struct routes *routes = arena_alloc(arena, 1, sizeof *routes);
    if (get_int(&d, root, "generation", 0, INT64_MAX, &routes->generation) < 0 ||
        decode_teams(&d, root, routes) < 0 || decode_keys(&d, root, routes) < 0 ||
        decode_services(&d, root, routes) < 0)
        return -1;
    *ret = routes;
    return 0;
}
