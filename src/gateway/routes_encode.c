/* The route document from structs: what routes_decode takes, and so what a gateway keeps on disk.
 */
#include "base/memory.h"
#include "base/strbuf.h"
#include "gateway/routes.h"
#include "spec/serving.h"
#include "wire/doc.h"

#include <inttypes.h>
#include <sodium.h>

static void put_text(struct strbuf *out, const char *name, const char *text)
{
    strbuf_printf(out, "\"%s\":", name);
    strbuf_json(out, text);
    strbuf_putc(out, ',');
}

static void put_texts(struct strbuf *out, const char *name, const char *const *texts, size_t count)
{
    strbuf_printf(out, "\"%s\":[", name);
    for (size_t i = 0; i < count; i++) {
        strbuf_puts(out, i ? "," : "");
        strbuf_json(out, texts[i]);
    }
    strbuf_puts(out, "],");
}

static void put_serving(
    struct arena *scratch, struct strbuf *out, const struct serving_rights *serving)
{
    if (!serving)
        return;
    strbuf_puts(out, ",\"serving\":");
    doc_write_json(serving_encode(scratch, serving), 0, out);
}

static void encode_team(struct arena *scratch, struct strbuf *out, const struct route_team *team)
{
    strbuf_puts(out, "{\"team\":");
    strbuf_json(out, team->name);
    put_serving(scratch, out, team->serving);
    strbuf_putc(out, '}');
}

static void put_counts(struct strbuf *out, const struct route_key *key)
{
    for (size_t i = 0; i < key->count_count; i++) {
        strbuf_puts(out, i ? "," : ",\"counts\":[");
        strbuf_json(out, key->counts[i]->name);
    }
    strbuf_puts(out, key->count_count ? "]" : "");
}

static void encode_key(struct arena *scratch, struct strbuf *out, const struct route_key *key)
{
    char hex[65];
    sodium_bin2hex(hex, sizeof hex, key->hash, sizeof key->hash);
    strbuf_putc(out, '{');
    put_text(out, "id", key->id);
    put_text(out, "hash", hex);
    put_text(out, "user", key->user);
    if (key->team)
        put_text(out, "team", key->team);
    put_texts(out, "teams", (const char *const *)key->teams, key->team_count);
    put_texts(out, "services", (const char *const *)key->services, key->service_count);
    strbuf_printf(out, "\"expiresMs\":%" PRId64, key->expires_ms);
    put_serving(scratch, out, key->serving);
    put_counts(out, key);
    strbuf_putc(out, '}');
}

static void encode_replica(struct strbuf *out, const struct route_replica *replica)
{
    strbuf_printf(out, "{\"replica\":%" PRIu64 ",\"version\":%" PRId64 ",", replica->replica,
        replica->version);
    put_text(out, "address", replica->address);
    if (replica->uid != (uid_t)-1)
        strbuf_printf(out, "\"uid\":%lu,", (unsigned long)replica->uid);
    if (replica->arm != ROUTE_ARM_MAIN)
        put_text(out, "arm", route_arm_names[replica->arm]);
    strbuf_printf(out, "\"draining\":%s}", replica->draining ? "true" : "false");
}

static void put_split(struct strbuf *out, const struct route_split *split)
{
    if (split->baseline || split->canary || split->shadow)
        strbuf_printf(out,
            ",\"split\":{\"baseline\":%" PRId64 ",\"canary\":%" PRId64 ",\"shadow\":%" PRId64 "}",
            split->baseline, split->canary, split->shadow);
}

static void encode_service(
    struct arena *scratch, struct strbuf *out, const struct route_service *service)
{
    const char *protocols[2];
    size_t count = 0;
    if (service->oip)
        protocols[count++] = "oip";
    if (service->openai)
        protocols[count++] = "openai";
    strbuf_putc(out, '{');
    put_text(out, "route", service->route);
    put_text(out, "service", service->service);
    put_text(out, "team", service->team);
    put_texts(out, "protocols", protocols, count);
    strbuf_puts(out, "\"options\":");
    doc_write_json(service_gateway_encode(scratch, service->options), 0, out);
    put_split(out, &service->split);
    strbuf_puts(out, ",\"replicas\":[");
    for (size_t i = 0; i < service->replica_count; i++) {
        strbuf_puts(out, i ? "," : "");
        encode_replica(out, &service->replicas[i]);
    }
    strbuf_puts(out, "]}");
}

char *routes_encode(const struct routes *routes)
{
    struct strbuf out = {0};
    SCOPED(arena_scope) struct arena *scratch = arena_create();
    strbuf_printf(&out, "{\"generation\":%" PRId64 ",\"keys\":[", routes->generation);
    for (size_t i = 0; i < routes->key_count; i++) {
        strbuf_puts(&out, i ? "," : "");
        encode_key(scratch, &out, &routes->keys[i]);
    }
    strbuf_puts(&out, "],\"teams\":[");
    for (size_t i = 0; i < routes->team_count; i++) {
        strbuf_puts(&out, i ? "," : "");
        encode_team(scratch, &out, &routes->teams[i]);
    }
    strbuf_puts(&out, "],\"services\":[");
    for (size_t i = 0; i < routes->service_count; i++) {
        strbuf_puts(&out, i ? "," : "");
        encode_service(scratch, &out, &routes->services[i]);
    }
    strbuf_puts(&out, "]}\n");
    return strbuf_steal(&out);
}
