/* See relay_secondary.h. Answers of the cache and of the gateway itself get no second one, nor do
 * streams, and errors of the replica. */
#include "gateway/relay_secondary.h"

#include "base/clock.h"
#include "base/memory.h"
#include "gateway/answer.h"
#include "gateway/recorder.h"
#include "gateway/relay.h"
#include "gateway/relay_record.h"
#include "gateway/secondary.h"

static bool is_wanted(struct relay *relay)
{
    if (!relay->terms || !relay->terms->options.secondary.route || !relay->view->secondary ||
        !relay->view->recorder || !relay->target.has_body || relay->answer.status != 200)
        return false;
    return relay_record_draw(relay->view, relay->terms->options.secondary.sample_micro);
}

static bool secondary_begin(struct relay *relay)
{
    if (!is_wanted(relay))
        return false;
    if (!secondary_may(relay->terms, clock_held_ns() / 1000000)) {
        figure_add(relay->view->figures, FIGURE_SECONDARY_DROPPED, 1);
        return false;
    }
    const struct service_secondary *options = &relay->terms->options.secondary;
    struct record_entry *entry = relay_record_start(relay, options->body_bytes_max, 3);
    if (!entry)
        return false;
    if (entry->without) {
        recorder_give_up(relay->view->recorder, entry, true);
        return false;
    }
    entry->shelf = RECORD_VERDICTS;
    entry->bytes_max = options->bytes_max;
    entry->keep_ms = options->keep_ms;
    if (options->post.url) {
        entry->post_url = mem_strdup(options->post.url);
        entry->post_timeout_ms = options->post.timeout_ms;
        entry->post_retries = (int)options->post.retries;
    }
    entry->light_status = entry->status;
    entry->light_version = entry->version;
    entry->status = 0;
    relay->secondary = entry;
    return true;
}

static bool secondary_piece(struct relay *relay, const char *bytes, size_t length)
{
    struct record_entry *entry = relay->secondary;
    if (entry &&
        (int64_t)(entry->light.length + length) > relay->terms->options.secondary.body_bytes_max) {
        recorder_give_up(relay->view->recorder, entry, true);
        relay->secondary = entry = NULL;
    }
    if (entry)
        strbuf_append(&entry->light, bytes, length);
    return answer_pass(relay, ANSWER_SECONDARY, bytes, length);
}

static bool secondary_end(struct relay *relay)
{
    struct record_entry *entry = relay->secondary;
    const struct secondary_target target = {.protocol = (int)relay->target.protocol,
        .by_body = relay->target.ask == ASK_FORWARD_BODY,
        .verb = relay->target.verb};
    if (!entry)
        return true;
    relay->secondary = NULL;
    if (relay_record_has_key(relay, entry))
        recorder_give_up(relay->view->recorder, entry, true);
    else
        secondary_ask(relay->view->secondary, relay->terms, &target, entry);
    return true;
}

static void secondary_finish(struct relay *relay)
{
    if (relay->secondary)
        recorder_give_up(relay->view->recorder, relay->secondary, false);
    relay->secondary = NULL;
}

const struct answer_filter relay_secondary_filter = {
    secondary_begin, secondary_piece, secondary_end, secondary_finish};
