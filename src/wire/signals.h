/* The signals by which people and systemd speak to a daemon. */
#pragma once

#include <event2/event.h>

struct signal_watch {
    struct event *stop[2]; /* SIGTERM, SIGINT */
    struct event *reload;  /* SIGHUP */
};

/* From now on the loop calls these; SIGPIPE is ignored, so that a peer that went away is an error
 * of a write. To be finished before the loop is freed. */
void signals_watch(struct signal_watch *watch, struct event_base *base, event_callback_fn on_stop,
    event_callback_fn on_reload, void *context);
void signals_finish(struct signal_watch *watch); /* zeroed is fine */
