/* One event of a watch, as its line says it. */
#pragma once

#include "base/error.h"
#include "wire/doc.h"

enum kube_event_kind {
    KUBE_LISTED,   /* an object of a list */
    KUBE_CHANGED,  /* made or changed */
    KUBE_DELETED,  /* the object as it was last */
    KUBE_BOOKMARK, /* only the version counts */
    KUBE_FAILED,   /* the watch is over; the object is a Status */
};

enum { KUBE_EVENT_BYTES_MAX = 2 << 20, KUBE_EVENT_ITEMS_MAX = 1 << 17 };

struct kube_event {
    enum kube_event_kind kind;
    const struct doc *object; /* a map */
    const char *version;      /* its resourceVersion, "" for KUBE_FAILED */
    int status;               /* KUBE_FAILED: as HTTP would say it; 410: too old a version */
};

/* Reads a line into the arena. ERR_INVALID, ERR_TOO_LARGE. */
MUST_CHECK int kube_event_parse(struct arena *arena, const char *line, size_t length,
    struct kube_event *ret_event, struct error *err);
