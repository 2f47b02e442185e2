/* What the gateway answers itself: health, and which models a key may use. */
#include "gateway/relay.h"

#include "base/memory.h"
#include "base/version.h"

#include <stdbool.h>
#include <string.h>

static enum stage_result respond(struct relay *relay, int status, struct strbuf *body)
{
    strbuf_putc(body, '\n');
    relay_respond(relay, status, "application/json", body->text, body->length);
    strbuf_finish(body);
    return STAGE_ENDED;
}

static enum stage_result answer_live(struct relay *relay)
{
    struct strbuf body = {0};
    strbuf_puts(&body, "{\"live\":true}");
    return respond(relay, 200, &body);
}

/* Ready: routes were given once, and no end is near. */
static enum stage_result answer_ready(struct relay *relay)
{
    struct strbuf body = {0};
    bool ready = !relay->view->draining && route_table_routes(relay->view->table)->generation > 0;
    strbuf_printf(&body, "{\"ready\":%s}", ready ? "true" : "false");
    return respond(relay, ready ? 200 : 503, &body);
}

static enum stage_result answer_server(struct relay *relay)
{
    struct strbuf body = {0};
    strbuf_puts(&body, "{\"name\":\"muster\",\"version\":\"" MUSTER_VERSION
                       "\",\"extensions\":[\"binary_tensor_data\",\"model_repository\"]}");
    return respond(relay, 200, &body);
}

static bool has_replica(const struct route_service *service, int64_t version)
{
    for (size_t i = 0; i < service->replica_count; i++) {
        const struct route_replica *replica = &service->replicas[i];
        if (!replica->draining && (version == BALANCE_ANY_VERSION || version == replica->version))
            return true;
    }
    return false;
}

static bool may_see(const struct relay *relay, const struct route_service *service)
{
    bool openai = relay->target.protocol == PROTOCOL_OPENAI;
    return (openai ? service->openai : service->oip) && route_allows(service, relay->key);
}

/* The service that the path names, or NULL and the relay has ended. */
static const struct route_service *named(struct relay *relay)
{
    const struct table_service *found =
        route_table_service(relay->view->table, relay->target.route);
    if (found && may_see(relay, found->route))
        return found->route;
    if (relay->key)
        relay_refuse(
            relay, 404, "model_not_found", "there is no model \"%s\"", relay->target.route);
    else
        relay_refuse(relay, 401, "invalid_api_key", "a valid key is needed");
    return NULL;
}

/* Which models run is said by Services. Triton refuses it likewise where it is told to. */
static enum stage_result refuse_load(struct relay *relay)
{
    if (named(relay))
        relay_refuse(relay, 403, "not_here",
            "models are loaded and unloaded by their Service, with muster apply");
    return STAGE_ENDED;
}

static enum stage_result answer_model_ready(struct relay *relay)
{
    struct strbuf body = {0};
    const struct route_service *service = named(relay);
    if (!service)
        return STAGE_ENDED;
    bool ready = has_replica(service, relay->target.version);
    strbuf_puts(&body, "{\"name\":");
    strbuf_json(&body, service->route);
    strbuf_printf(&body, ",\"ready\":%s}", ready ? "true" : "false");
    return respond(relay, ready ? 200 : 503, &body);
}

static void put_index_entry(struct strbuf *out, const struct route_service *service)
{
    bool ready = has_replica(service, BALANCE_ANY_VERSION);
    strbuf_puts(out, "{\"name\":");
    strbuf_json(out, service->route);
    strbuf_printf(out, ",\"state\":\"%s\",\"reason\":\"%s\"}", ready ? "READY" : "UNAVAILABLE",
        ready ? "" : "no replica is ready");
}

static void put_model(struct strbuf *out, const struct route_service *service)
{
    strbuf_puts(out, "{\"id\":");
    strbuf_json(out, service->route);
    strbuf_puts(out, ",\"object\":\"model\",\"created\":0,\"owned_by\":");
    strbuf_json(out, service->team);
    strbuf_putc(out, '}');
}

static void put_visible(const struct relay *relay, struct strbuf *out,
    void (*put)(struct strbuf *out, const struct route_service *service))
{
    const struct routes *routes = route_table_routes(relay->view->table);
    bool first = true;
    for (size_t i = 0; i < routes->service_count; i++) {
        if (!may_see(relay, &routes->services[i]))
            continue;
        strbuf_puts(out, first ? "" : ",");
        put(out, &routes->services[i]);
        first = false;
    }
}

static enum stage_result answer_index(struct relay *relay)
{
    struct strbuf body = {0};
    strbuf_putc(&body, '[');
    put_visible(relay, &body, put_index_entry);
    strbuf_putc(&body, ']');
    return respond(relay, 200, &body);
}

static enum stage_result answer_model_list(struct relay *relay)
{
    struct strbuf body = {0};
    strbuf_puts(&body, "{\"object\":\"list\",\"data\":[");
    put_visible(relay, &body, put_model);
    strbuf_puts(&body, "]}");
    return respond(relay, 200, &body);
}

static enum stage_result answer_model_entry(struct relay *relay)
{
    struct strbuf body = {0};
    const struct route_service *service = named(relay);
    if (!service)
        return STAGE_ENDED;
    put_model(&body, service);
    return respond(relay, 200, &body);
}

enum stage_result relay_answer_here(struct relay *relay)
{
    static enum stage_result (*const answers[])(struct relay * relay) = {
        [ASK_LIVE] = answer_live,
        [ASK_READY] = answer_ready,
        [ASK_SERVER] = answer_server,
        [ASK_INDEX] = answer_index,
        [ASK_LOAD] = refuse_load,
        [ASK_MODEL_READY] = answer_model_ready,
        [ASK_MODEL_LIST] = answer_model_list,
        [ASK_MODEL_ENTRY] = answer_model_entry,
        [ASK_FEEDBACK] = relay_feedback,
    };
    return answers[relay->target.ask](relay);
}
