/* The OpenAPI 3.1 document: paths from the route table, schemas from the field tables, and the few
 * bodies that are no manifests. */
#include "server/routes.h"
#include "server/server.h"

#include "base/strbuf.h"
#include "base/version.h"

#include <stdlib.h>
#include <string.h>

/* Schemas that no field table has, as JSON. */
static const char own_schemas[] =
    "{\"Problem\":{\"type\":\"object\",\"description\":\"RFC 9457\",\"required\":[\"type\","
    "\"title\",\"status\"],\"properties\":{\"type\":{\"type\":\"string\"},\"title\":{\"type\":"
    "\"string\"},\"status\":{\"type\":\"integer\"},\"detail\":{\"type\":\"string\"},\"errors\":"
    "{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"path\":{\"type\":"
    "\"string\"},\"line\":{\"type\":\"integer\"},\"detail\":{\"type\":\"string\"}}}}}},"
    "\"Health\":{\"type\":\"object\",\"properties\":{\"status\":{\"type\":\"string\"},"
    "\"version\":{\"type\":\"string\"}}},"
    "\"List\":{\"type\":\"object\",\"required\":[\"items\"],\"properties\":{\"items\":{\"type\":"
    "\"array\",\"items\":{\"type\":\"object\"}},\"next\":{}}},"
    "\"Apply\":{\"type\":\"object\",\"required\":[\"objects\"],\"properties\":{\"objects\":"
    "{\"type\":\"array\",\"items\":{\"type\":\"object\"}},\"dryRun\":{\"type\":\"boolean\"}}},"
    "\"Applied\":{\"type\":\"object\",\"properties\":{\"results\":{\"type\":\"array\",\"items\":"
    "{\"type\":\"object\",\"properties\":{\"kind\":{\"type\":\"string\"},\"name\":{\"type\":"
    "\"string\"},\"team\":{\"type\":\"string\"},\"action\":{\"enum\":[\"created\",\"changed\","
    "\"unchanged\"]},\"id\":{\"type\":\"string\"}}}}}},"
    "\"Submitted\":{\"type\":\"object\",\"properties\":{\"id\":{\"type\":\"string\"},\"name\":"
    "{\"type\":\"string\"},\"team\":{\"type\":\"string\"}}},"
    "\"Reservation\":{\"type\":\"object\",\"properties\":{\"begin\":{\"type\":\"string\","
    "\"format\":\"date-time\"},\"end\":{\"type\":\"string\",\"format\":\"date-time\"},\"clear\":"
    "{\"type\":\"boolean\"}}},"
    "\"Cost\":{\"type\":\"object\",\"properties\":{\"currency\":{\"type\":\"string\"},\"items\":"
    "{\"type\":\"array\",\"items\":{\"type\":\"object\"}},\"total\":{\"type\":\"object\"}}},"
    "\"TokenRequest\":{\"type\":\"object\",\"required\":[\"user\"],\"properties\":{\"user\":"
    "{\"type\":\"string\"},\"description\":{\"type\":\"string\"},\"expires\":{\"type\":\"string\","
    "\"format\":\"date-time\"},\"inference\":{\"type\":\"boolean\"},\"teams\":{\"type\":"
    "\"array\",\"items\":{\"type\":\"string\"}},\"services\":{\"type\":\"array\",\"items\":"
    "{\"type\":\"string\"}}}},"
    "\"Token\":{\"type\":\"object\",\"properties\":{\"id\":{\"type\":\"string\"},\"token\":"
    "{\"type\":\"string\"}}},"
    "\"Secret\":{\"type\":\"object\",\"required\":[\"value\"],\"properties\":{\"value\":{\"type\":"
    "\"string\"}}},"
    "\"Version\":{\"type\":\"object\",\"required\":[\"version\",\"digest\"],\"properties\":{"
    "\"team\":{\"type\":\"string\"},\"name\":{\"type\":\"string\"},\"version\":{\"type\":"
    "\"integer\"},\"digest\":{\"type\":\"string\"},\"bytes\":{\"type\":\"integer\"},\"files\":"
    "{\"type\":\"integer\"},\"stage\":{\"type\":\"string\"},\"source\":{\"type\":\"object\"}}},"
    "\"PromotionRequest\":{\"type\":\"object\",\"required\":[\"stage\"],\"properties\":{"
    "\"stage\":{\"enum\":[\"staging\",\"production\"]},\"note\":{\"type\":\"string\"}}},"
    "\"Note\":{\"type\":\"object\",\"properties\":{\"note\":{\"type\":\"string\"}}},"
    "\"Promotion\":{\"type\":\"object\",\"required\":[\"id\",\"state\"],\"properties\":{"
    "\"id\":{\"type\":\"string\"},\"team\":{\"type\":\"string\"},\"model\":{\"type\":"
    "\"string\"},\"version\":{\"type\":\"integer\"},\"stage\":{\"type\":\"string\"},"
    "\"state\":{\"enum\":[\"evaluating\",\"waiting\",\"granted\",\"refused\",\"withdrawn\"]},"
    "\"reasons\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},\"approvals\":{"
    "\"type\":\"array\",\"items\":{\"type\":\"object\"}}}},"
    "\"Snapshot\":{\"type\":\"object\",\"properties\":{\"digest\":{\"type\":\"string\"}}},"
    "\"Explanation\":{\"type\":\"object\",\"required\":[\"id\",\"state\",\"words\"],"
    "\"properties\":{\"id\":{\"type\":\"string\"},\"name\":{\"type\":\"string\"},\"team\":"
    "{\"type\":\"string\"},\"state\":{\"type\":\"string\"},\"waits\":{\"type\":\"object\"},"
    "\"holders\":{\"type\":\"object\"},\"ahead\":{\"type\":\"object\"},\"start\":{\"$ref\":"
    "\"#/components/schemas/Forecast\"},\"end\":{\"$ref\":\"#/components/schemas/Forecast\"},"
    "\"deadline\":{\"type\":\"object\"},\"basis\":{\"type\":\"object\"},\"noForecast\":"
    "{\"type\":\"string\"},\"words\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}}}},"
    "\"Forecast\":{\"type\":\"object\",\"properties\":{\"median\":{\"type\":\"string\"},"
    "\"earliest\":{\"type\":\"string\"},\"latest\":{\"type\":\"string\"},\"notBefore\":"
    "{\"type\":\"string\"},\"runs\":{\"type\":\"integer\"},\"known\":{\"type\":\"integer\"}}},"
    "\"WhatIfRequest\":{\"type\":\"object\",\"properties\":{\"objects\":{\"type\":\"array\","
    "\"items\":{\"type\":\"object\"}},\"job\":{\"type\":\"string\"},\"policy\":{\"type\":"
    "\"string\"}}},"
    "\"WhatIf\":{\"type\":\"object\",\"properties\":{\"runs\":{\"type\":\"integer\"},\"total\":"
    "{\"type\":\"object\"},\"teams\":{\"type\":\"array\",\"items\":{\"type\":\"object\"}},"
    "\"jobs\":{\"type\":\"object\"}}},"
    "\"TestRequest\":{\"type\":\"object\",\"properties\":{\"version\":{\"type\":"
    "\"integer\"},\"replica\":{\"type\":\"string\"},\"unready\":{\"type\":\"boolean\"},"
    "\"note\":{\"type\":\"string\"}}},"
    "\"Test\":{\"type\":\"object\",\"properties\":{\"test\":{\"type\":\"string\"},"
    "\"service\":{\"type\":\"string\"},\"idleMs\":{\"type\":\"integer\"}}},"
    "\"TestedRequest\":{\"type\":\"object\",\"required\":[\"path\"],\"properties\":{"
    "\"method\":{\"enum\":[\"POST\",\"GET\",\"HEAD\"]},\"path\":{\"type\":\"string\"},"
    "\"fields\":{\"type\":\"object\"},\"text\":{\"type\":\"string\"},\"base64\":{"
    "\"type\":\"string\"},\"timeout\":{\"type\":\"string\"}}},"
    "\"TestedAnswer\":{\"type\":\"object\",\"properties\":{\"replica\":{\"type\":"
    "\"string\"},\"version\":{\"type\":\"integer\"},\"ready\":{\"type\":\"boolean\"},"
    "\"failure\":{\"type\":\"string\"},\"status\":{\"type\":\"integer\"},\"firstUs\":{"
    "\"type\":\"integer\"},\"totalUs\":{\"type\":\"integer\"},\"bytes\":{\"type\":"
    "\"integer\"},\"cut\":{\"type\":\"boolean\"},\"fields\":{\"type\":\"object\"},"
    "\"text\":{\"type\":\"string\"},\"base64\":{\"type\":\"string\"}}},"
    "\"BackupRequest\":{\"type\":\"object\",\"required\":[\"path\"],\"properties\":{\"path\":"
    "{\"type\":\"string\"}}}}";

static struct doc *content(struct arena *arena, const char *type, const char *schema)
{
    struct doc *map = doc_map(arena);
    struct doc *media = doc_set(arena, map, type, doc_map(arena));
    struct doc *body = doc_set(arena, media, "schema", doc_map(arena));
    doc_set_string(arena, body, "$ref", arena_printf(arena, "#/components/schemas/%s", schema));
    return map;
}

static void add_parameters(struct arena *arena, const struct route *route, struct doc *operation)
{
    struct doc *list = doc_list(arena);
    for (const char *open = strchr(route->path, '{'); open; open = strchr(open + 1, '{')) {
        struct doc *parameter = doc_append(list, doc_map(arena));
        size_t length = strcspn(open + 1, ".}");
        doc_set_string(arena, parameter, "name", arena_strndup(arena, open + 1, length));
        doc_set_string(arena, parameter, "in", "path");
        doc_set_bool(arena, parameter, "required", true);
        struct doc *schema = doc_set(arena, parameter, "schema", doc_map(arena));
        doc_set_string(arena, schema, "type", "string");
    }
    if (list->count > 0)
        doc_set(arena, operation, "parameters", list);
}

static void add_answers(struct arena *arena, const struct route *route, struct doc *operation)
{
    struct doc *answers = doc_set(arena, operation, "responses", doc_map(arena));
    struct doc *good = doc_set(arena, answers, "2XX", doc_map(arena));
    doc_set_string(arena, good, "description", "Done");
    if (route->answer)
        doc_set(arena, good, "content", content(arena, "application/json", route->answer));
    struct doc *bad = doc_set(arena, answers, "default", doc_map(arena));
    doc_set_string(arena, bad, "description", "A problem");
    doc_set(arena, bad, "content", content(arena, "application/problem+json", "Problem"));
}

static const char *lower_method(struct arena *arena, const char *method)
{
    char *lower = arena_strdup(arena, method);
    for (char *c = lower; *c; c++)
        *c = (char)(*c + ('a' - 'A'));
    return lower;
}

/* OpenAPI has no word for a parameter that may hold slashes: "{path...}" is {path} there. */
static const char *path_template(struct arena *arena, const char *path)
{
    char *template = arena_strdup(arena, path);
    char *dots = strstr(template, "...}");
    if (dots)
        memcpy(dots, "}", 2);
    return template;
}

static void add_route(struct arena *arena, const struct route *route, struct doc *paths)
{
    const char *template = path_template(arena, route->path);
    struct doc *path = (struct doc *)(uintptr_t)doc_get(paths, template);
    if (!path)
        path = doc_set(arena, paths, template, doc_map(arena));
    struct doc *operation =
        doc_set(arena, path, lower_method(arena, route->method), doc_map(arena));
    doc_set_string(arena, operation, "summary", route->summary);
    doc_set_string(arena, operation, "description",
        route->scope == SCOPE_PUBLIC
            ? "For everybody."
            : arena_printf(arena, "Takes the role %s or a higher one.", role_name(route->least)));
    if (route->scope == SCOPE_PUBLIC)
        doc_set(arena, operation, "security", doc_list(arena));
    add_parameters(arena, route, operation);
    if (route->body) {
        struct doc *body = doc_set(arena, operation, "requestBody", doc_map(arena));
        doc_set_bool(arena, body, "required", true);
        doc_set(arena, body, "content", content(arena, "application/json", route->body));
    }
    add_answers(arena, route, operation);
}

static void add_security(struct arena *arena, struct doc *document, struct doc *components)
{
    struct doc *schemes = doc_set(arena, components, "securitySchemes", doc_map(arena));
    struct doc *bearer = doc_set(arena, schemes, "token", doc_map(arena));
    doc_set_string(arena, bearer, "type", "http");
    doc_set_string(arena, bearer, "scheme", "bearer");
    struct doc *security = doc_set(arena, document, "security", doc_list(arena));
    struct doc *item = doc_append(security, doc_map(arena));
    doc_set(arena, item, "token", doc_list(arena));
}

struct doc *routes_openapi(struct arena *arena)
{
    struct doc *document = doc_map(arena);
    size_t count;
    const struct route *table = routes(&count);
    doc_set_string(arena, document, "openapi", "3.1.0");
    struct doc *info = doc_set(arena, document, "info", doc_map(arena));
    doc_set_string(arena, info, "title", "muster");
    doc_set_string(arena, info, "version", MUSTER_VERSION);
    struct doc *paths = doc_set(arena, document, "paths", doc_map(arena));
    for (size_t i = 0; i < count; i++)
        add_route(arena, &table[i], paths);
    struct doc *components = doc_set(arena, document, "components", doc_map(arena));
    struct doc *schemas = doc_set(arena, components, "schemas",
        doc_parse_json(arena, own_schemas, sizeof own_schemas - 1, DOC_BYTES_MAX, NULL));
    spec_openapi_components(arena, schemas);
    add_security(arena, document, components);
    return document;
}

char *server_openapi(void)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct strbuf text = {0};
    doc_write_json(routes_openapi(arena), 2, &text);
    return strbuf_steal(&text);
}
