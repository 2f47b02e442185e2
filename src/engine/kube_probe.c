/* A program of the tests: the client layer from the command line, against a real API server.
 *
 *   kube_probe KUBECONFIG call METHOD TARGET [CONTENT-TYPE]   the body on standard input; prints
 * the status and the body, or "0" and the problem kube_probe KUBECONFIG check METHOD TARGET prints
 * the error as the engine would say it kube_probe KUBECONFIG watch PATH [QUERY] prints a line for
 * each thing that happens kube_probe - call ...                                     the service
 * account in $KUBE_PROBE_ACCOUNT
 *
 * TIMEOUT_MS in the environment is the client's timeout. */
#include "engine/kube_watch.h"

#include "base/memory.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct probe {
    struct event_base *base;
    struct kube_client *client;
    bool check;
    const char *what;
};

static void on_done(void *ctx, const struct kube_answer *answer)
{
    struct probe *probe = ctx;
    struct error err = {0};
    if (probe->check)
        printf("%s\n", kube_answer_check(answer, probe->what, &err) < 0 ? err.text : "well");
    else
        printf("%d\n%s\n", answer->status, answer->status ? answer->body : answer->problem);
    event_base_loopbreak(probe->base);
}

static int call(struct probe *probe, int argc, char **argv)
{
    char *body = mem_alloc(1, 1 << 20);
    size_t length = argc > 3 ? fread(body, 1, (1 << 20) - 1, stdin) : 0;
    const struct kube_request request = {.method = argv[1],
        .target = argv[2],
        .content_type = argc > 3 ? argv[3] : NULL,
        .body = length ? body : NULL,
        .length = length};
    probe->what = argv[2];
    kube_client_call(probe->client, &request, on_done, probe);
    event_base_loop(probe->base, EVLOOP_NO_EXIT_ON_EMPTY);
    free(body);
    return 0;
}

static void on_begin(void *ctx)
{
    (void)ctx;
    puts("begin");
}

static void on_object(void *ctx, enum kube_event_kind kind, const struct doc *object)
{
    static const char *const names[] = {"listed", "changed", "deleted", "bookmark", "failed"};
    (void)ctx;
    printf("%s %s %s\n", names[kind], kube_text(object, "metadata", "name", NULL),
        kube_text(object, "metadata", "resourceVersion", NULL));
}

static void on_synced(void *ctx)
{
    (void)ctx;
    puts("synced");
}

static void on_trouble(void *ctx, const char *text)
{
    (void)ctx;
    printf("%s\n", text ? text : "well");
}

static int watch(struct probe *probe, int argc, char **argv)
{
    static const struct kube_watch_callbacks callbacks = {
        on_begin, on_object, on_synced, on_trouble};
    kube_watch_start(
        probe->client, probe->base, argv[1], argc > 2 ? argv[2] : NULL, &callbacks, NULL);
    return event_base_loop(probe->base, EVLOOP_NO_EXIT_ON_EMPTY);
}

int main(int argc, char **argv)
{
    struct probe probe = {.base = event_base_new()};
    struct kube_config config;
    struct error err = {0};
    const char *timeout = getenv("TIMEOUT_MS");
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 4)
        return 2;
    int rc = strcmp(argv[1], "-") == 0
                 ? kube_config_service_account(getenv("KUBE_PROBE_ACCOUNT"), &config, &err)
                 : kube_config_load(argv[1], NULL, &config, &err);
    if (rc == 0)
        probe.client = kube_client_create(probe.base, &config, timeout ? atoll(timeout) : 0, &err);
    if (!probe.client) {
        printf("%s\n", err.text);
        return 1;
    }
    probe.check = strcmp(argv[2], "check") == 0;
    rc = strcmp(argv[2], "watch") == 0 ? watch(&probe, argc - 2, argv + 2)
                                       : call(&probe, argc - 2, argv + 2);
    kube_client_destroy(probe.client);
    event_base_free(probe.base);
    return rc;
}
