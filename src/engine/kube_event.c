/* Events of watches: see kube_event.h. */
#include "engine/kube_event.h"

#include <string.h>

static const struct {
    const char *name;
    enum kube_event_kind kind;
} kinds[] = {
    {"ADDED", KUBE_CHANGED},
    {"MODIFIED", KUBE_CHANGED},
    {"DELETED", KUBE_DELETED},
    {"BOOKMARK", KUBE_BOOKMARK},
    {"ERROR", KUBE_FAILED},
};

static int kind_of(const char *name, enum kube_event_kind *ret_kind, struct error *err)
{
    for (size_t i = 0; name && i < ARRAY_LEN(kinds); i++) {
        if (strcmp(kinds[i].name, name) == 0) {
            *ret_kind = kinds[i].kind;
            return 0;
        }
    }
    return error_set(
        err, ERR_INVALID, "an event of a watch has the type %.40s", name ? name : "none");
}

int kube_event_parse(struct arena *arena, const char *line, size_t length,
    struct kube_event *ret_event, struct error *err)
{
    struct kube_event event = {.version = ""};
    const struct doc *doc = doc_parse_json_bounded(
        arena, line, length, KUBE_EVENT_BYTES_MAX, KUBE_EVENT_ITEMS_MAX, err);
    if (!doc)
        return error_prefix(err, "an event of a watch");
    if (kind_of(doc_get_string(doc, "type"), &event.kind, err) < 0)
        return -1;
    event.object = doc_get(doc, "object");
    if (!event.object || event.object->type != DOC_MAP)
        return error_set(err, ERR_INVALID, "an event of a watch has no object");
    if (event.kind == KUBE_FAILED) {
        event.status = (int)doc_get_int(event.object, "code", 500);
    } else {
        event.version = doc_get_string(doc_get(event.object, "metadata"), "resourceVersion");
        if (!event.version || !*event.version)
            return error_set(err, ERR_INVALID, "the object of an event has no resourceVersion");
    }
    *ret_event = event;
    return 0;
}
