/* Signals as events of a loop: see signals.h. */
#include "wire/signals.h"

#include <assert.h>
#include <signal.h>

static struct event *watch_one(
    struct event_base *base, int number, event_callback_fn callback, void *context)
{
    struct event *event = evsignal_new(base, number, callback, context);
    assert(event);
    event_add(event, NULL);
    return event;
}

void signals_watch(struct signal_watch *watch, struct event_base *base, event_callback_fn on_stop,
    event_callback_fn on_reload, void *context)
{
    signal(SIGPIPE, SIG_IGN);
    *watch = (struct signal_watch){
        .stop = {watch_one(base, SIGTERM, on_stop, context),
            watch_one(base, SIGINT, on_stop, context)},
        .reload = watch_one(base, SIGHUP, on_reload, context),
    };
}

static void end(struct event **event)
{
    if (*event)
        event_free(*event);
    *event = NULL;
}

void signals_finish(struct signal_watch *watch)
{
    end(&watch->stop[0]);
    end(&watch->stop[1]);
    end(&watch->reload);
}
