/* GET /v1/watch: committed changes as they come. */
#include "server/context.h"
#include "server/feed.h"
#include "server/handlers.h"

void api_watch(struct call *call)
{
    struct error err;
    int64_t after;
    if (call_query_int(call, "after", -1, &after, &err) < 0) {
        call_fail(call, &err);
        return;
    }
    if (feed_watch(call->server->feed, call->request, &call->identity, after, &err) < 0)
        call_fail(call, &err);
}
