/* Prefix affinity of a relay: the prompt of the OpenAI API, or the whole body, cut into blocks. */
#include "gateway/relay_affine.h"

#include "base/memory.h"
#include "gateway/member_scan.h"
#include "gateway/prefix.h"
#include "gateway/relay.h"
#include "wire/http.h"

#include <string.h>

struct span {
    uint64_t begin, end;
};

static void on_member(const struct json_member *member, void *context)
{
    static const char *const names[] = {"messages", "prompt", "input"};
    struct span *span = context;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (member->depth == 1 && !strcmp(member->name, names[i]))
            *span = (struct span){member->begin, member->end};
    }
}

/* What stands before the prompt (the model, the temperature) is no part of it. */
static struct span prompt_of(const struct relay *relay)
{
    const struct strbuf *held = &relay->body.held;
    struct span span = {0, held->length};
    struct member_scan scan;
    if (relay->target.protocol != PROTOCOL_OPENAI)
        return span;
    member_scan_init(&scan, on_member, &span);
    member_scan_feed(&scan, strbuf_text(held), held->length);
    return span.end <= held->length && span.begin <= span.end ? span
                                                              : (struct span){0, held->length};
}

uint32_t relay_affine(struct relay *relay)
{
    const struct service_routing *options = &relay->terms->options.routing;
    if (options->affinity != AFFINITY_PREFIX || !relay->body.ended || relay->body.let_go)
        return 0;
    if (!relay->prefix) {
        struct span span = prompt_of(relay);
        relay->prefix = arena_alloc(http_request_arena(relay->request), 1, sizeof *relay->prefix);
        prefix_make(strbuf_text(&relay->body.held) + span.begin, (size_t)(span.end - span.begin),
            (size_t)options->block_bytes, relay->prefix);
    }
    return prefix_map_find(relay->terms->state->prefixes, relay->prefix, NULL);
}

void relay_affine_note(struct relay *relay, uint64_t replica)
{
    if (relay->prefix)
        prefix_map_note(relay->terms->state->prefixes, relay->prefix, prefix_tag(replica));
}
