/* What a new data directory starts with: the classes and runtimes, and with embedded defaults a
 * pool of this machine and two teams. They go through the same door as everybody's manifests. */
#include "server/defaults.h"

#include "base/log.h"
#include "server/catalog.h"
#include "server/context.h"
#include "server/submit.h"
#include "server/ticker.h"
#include "spec/spec.h"

#include <string.h>

static const char embedded[] =
    "apiVersion: muster/v1\n"
    "kind: Team\n"
    "metadata: {name: root}\n"
    "spec: {description: 'Everybody; its admins administer everything'}\n"
    "---\n"
    "apiVersion: muster/v1\n"
    "kind: Team\n"
    "metadata: {name: default}\n"
    "spec: {parent: root, description: 'For trying things out'}\n"
    "---\n"
    "apiVersion: muster/v1\n"
    "kind: Pool\n"
    "metadata: {name: local}\n"
    "spec:\n"
    "  description: This machine\n"
    "  engine: local\n"
    "  nodes:\n"
    "  - {name: here}\n";

static const char root_only[] =
    "apiVersion: muster/v1\n"
    "kind: Team\n"
    "metadata: {name: root}\n"
    "spec: {description: 'Everybody; its admins administer everything'}\n";

static int apply_one(struct tick *tick, const struct doc *doc, struct error *err)
{
    struct arena *arena = tick_arena(tick);
    struct field_errors *errors = arena_alloc(arena, 1, sizeof *errors);
    struct identity identity = {.user = "muster", .administrator = true};
    struct manifest manifest;
    if (manifest_decode(arena, doc, NULL, &manifest, errors) < 0 ||
        submit_check(tick_server(tick), &identity, arena, &manifest, "", errors) < 0)
        return field_errors_summary(errors, err);
    if (catalog_find(tick_server(tick)->catalog, manifest.kind, manifest_metadata(&manifest)->name))
        return 0;
    return submit_apply(tick, &manifest, NULL, err);
}

static int run_defaults(struct tick *tick, void *context, struct error *err)
{
    struct server *server = tick_server(tick);
    (void)context;
    const char *text = server->config.embedded_defaults ? embedded : root_only;
    struct doc *classes = spec_builtin_classes_doc(tick_arena(tick));
    struct doc *own = doc_parse_yaml(tick_arena(tick), text, strlen(text), err);
    if (!own)
        return -1;
    const struct doc *lists[] = {classes, spec_builtin_runtimes_doc(tick_arena(tick)), own};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        for (const struct doc *doc = lists[i]->first; doc; doc = doc->next) {
            if (apply_one(tick, doc, err) == 0)
                continue;
            log_error("an embedded default cannot be applied: %s", err->text);
            tick_spoil(tick);
            return -1;
        }
    }
    return 0;
}

void defaults_apply(struct server *server)
{
    bool fresh = !catalog_find(server->catalog, KIND_TEAM, ROOT_TEAM);
    if (fresh)
        ticker_report(server->ticker, "muster", run_defaults, NULL, NULL);
}
