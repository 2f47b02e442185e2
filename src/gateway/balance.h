/* Chooses the replica for an attempt: the one that is expected to answer first, by its latency
 * (peak EWMA) times the requests outstanding over all workers and this one; ties take turns. Of
 * more than a few two are drawn and compared (Mitzenmacher 2001), so that workers with the same
 * view do not all choose the same. */
#pragma once

#include "gateway/table.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BALANCE_TRIED_MAX = 16, BALANCE_ANY_VERSION = -1 };

/* What a request has been through. Zeroed: nothing. */
struct balance_tried {
    uint64_t replicas[BALANCE_TRIED_MAX];
    size_t count; /* more than fit are not remembered */
};

/* Notes that the replica was tried. */
void balance_note(struct balance_tried *tried, uint64_t replica);

struct balance_query {
    int64_t version;                   /* BALANCE_ANY_VERSION: any */
    enum route_arm arm;                /* others are not asked */
    const struct balance_tried *tried; /* these come last, and with again == false not at all */
    bool again;
    int64_t now_ms;       /* monotonic */
    uint32_t affine;      /* prefix_tag of the replica that would know best; 0: none */
    int64_t load_percent; /* it is passed over when it has more under way than this part of the
                           * mean */
};

/* NULL when no replica may be asked. Draining ones never are; those set aside only when no other is
 * there. turn: the worker's counter of choices. */
const struct table_replica *balance_pick(
    const struct table_service *service, const struct balance_query *query, uint64_t *turn);
