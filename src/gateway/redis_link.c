/* hiredis on libevent: see redis_link.h. The hooks of its asynchronous interface are a reading and
 * a writing event. */
#include "gateway/redis_link.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

#include <arpa/inet.h>
#include <assert.h>
#include <dlfcn.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

enum {
    PAUSE_FIRST_MS = 50,
    PAUSE_MOST_MS = 2000,
    SAID_EACH_MS = 60000,
    PORT = 6379,
    HOST_BYTES = 64
};

/* The forms of addresses are known with or without the library. */
static bool read_tcp(const char *address, char host[HOST_BYTES], int *ret_port)
{
    static const char scheme[] = "redis://";
    struct in6_addr bytes;
    const char *at = address + sizeof scheme - 1;
    if (strncmp(address, scheme, sizeof scheme - 1) != 0)
        return false;
    bool brackets = *at == '[';
    size_t length = strcspn(at + brackets, brackets ? "]" : ":");
    const char *port = at + brackets + length + (brackets && at[brackets + length]);
    if (length >= HOST_BYTES)
        return false;
    memcpy(host, at + brackets, length);
    host[length] = '\0';
    *ret_port = *port == ':' ? atoi(port + 1) : PORT;
    return (!*port || *port == ':') && *ret_port > 0 && *ret_port < 65536 &&
           inet_pton(brackets ? AF_INET6 : AF_INET, host, &bytes) == 1;
}

int redis_address_check(const char *address, struct error *err)
{
    char host[HOST_BYTES];
    int port;
    if (!strncmp(address, "unix:/", 6) || read_tcp(address, host, &port))
        return 0;
    return error_set(err, ERR_INVALID,
        "expected unix:/PATH or redis://ADDRESS:PORT with a numeric address, got \"%.80s\"",
        address);
}

#ifdef MUSTER_HIREDIS

#include <hiredis/async.h>

#define TEXT_OF(number) #number
#define SONAME(number)  "libhiredis.so." TEXT_OF(number)

struct redis_library {
    void *handle;
    redisAsyncContext *(*connect)(const char *ip, int port);
    redisAsyncContext *(*connect_unix)(const char *path);
    int (*set_connect)(redisAsyncContext *context, redisConnectCallback *fn);
    int (*set_disconnect)(redisAsyncContext *context, redisDisconnectCallback *fn);
    void (*release)(redisAsyncContext *context);
    void (*read)(redisAsyncContext *context);
    void (*write)(redisAsyncContext *context);
    int (*send)(redisAsyncContext *context, redisCallbackFn *fn, void *data, int argc,
        const char **argv, const size_t *lengths);
};

struct redis_link {
    struct redis_library *library;
    struct event_base *base;
    struct redis_link_options options;
    redisAsyncContext *context; /* NULL: none */
    bool up;
    struct event *reading, *writing, *again;
    int64_t pause_ms;
    void *owner;
    bool said;              /* that it is away */
    int64_t quiet_until_ms; /* one that comes and goes does not fill the log */
};

/* One command under way. */
struct sent {
    redis_reply_fn *fn;
    void *context;
};

int redis_library_load(struct redis_library **ret, struct error *err)
{
    struct redis_library *library = mem_alloc(1, sizeof *library);
    library->handle = dlopen(SONAME(HIREDIS_SONAME), RTLD_NOW | RTLD_LOCAL);
    const struct {
        const char *name;
        void *place;
    } names[] = {{"redisAsyncConnect", &library->connect},
        {"redisAsyncConnectUnix", &library->connect_unix},
        {"redisAsyncSetConnectCallback", &library->set_connect},
        {"redisAsyncSetDisconnectCallback", &library->set_disconnect},
        {"redisAsyncFree", &library->release}, {"redisAsyncHandleRead", &library->read},
        {"redisAsyncHandleWrite", &library->write}, {"redisAsyncCommandArgv", &library->send}};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        void *found = library->handle ? dlsym(library->handle, names[i].name) : NULL;
        if (!found) {
            redis_library_free(library);
            return error_set(err, ERR_UNAVAILABLE,
                "%s cannot be loaded: install the package libhiredis0.14", SONAME(HIREDIS_SONAME));
        }
        memcpy(names[i].place, &found, sizeof found);
    }
    *ret = library;
    return 0;
}

void redis_library_free(struct redis_library *library)
{
    if (library && library->handle)
        dlclose(library->handle);
    free(library);
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void on_readable(evutil_socket_t fd, short what, void *context)
{
    struct redis_link *link = context;
    size_t most = link->options.reply_bytes_max;
    (void)fd, (void)what;
    link->library->read(link->context);
    if (most > 0 && link->context && link->context->c.reader->len > most)
        redis_link_reset(link, "it brings more than was asked for");
}

static void on_writable(evutil_socket_t fd, short what, void *context)
{
    struct redis_link *link = context;
    (void)fd, (void)what;
    link->library->write(link->context);
}

static void add_read(void *data)
{
    event_add(((struct redis_link *)data)->reading, NULL);
}

static void del_read(void *data)
{
    event_del(((struct redis_link *)data)->reading);
}

static void add_write(void *data)
{
    event_add(((struct redis_link *)data)->writing, NULL);
}

static void del_write(void *data)
{
    event_del(((struct redis_link *)data)->writing);
}

static void cleanup(void *data)
{
    struct redis_link *link = data;
    if (link->reading)
        event_free(link->reading);
    if (link->writing)
        event_free(link->writing);
    link->reading = link->writing = NULL;
}

/* ---- the connection -------------------------------------------------------------------------- */

static void try_later(struct redis_link *link, const char *why)
{
    struct timeval pause = {link->pause_ms / 1000, link->pause_ms % 1000 * 1000};
    int64_t now_ms = clock_monotonic_ns() / 1000000;
    if (!link->said && now_ms >= link->quiet_until_ms) {
        log_warn("%s at %s cannot be used: %s", link->options.what, link->options.address, why);
        link->said = true;
        link->quiet_until_ms = now_ms + SAID_EACH_MS;
    }
    link->context = NULL;
    link->up = false;
    event_add(link->again, &pause);
    link->pause_ms = link->pause_ms * 2 > PAUSE_MOST_MS ? PAUSE_MOST_MS : link->pause_ms * 2;
}

static void on_connect(const redisAsyncContext *context, int status)
{
    struct redis_link *link = context->data;
    if (status != REDIS_OK) {
        try_later(link, context->errstr);
        return;
    }
    link->up = true;
    link->pause_ms = PAUSE_FIRST_MS;
    link->options.on_up(link->owner);
}

static void on_disconnect(const redisAsyncContext *context, int status)
{
    struct redis_link *link = context->data;
    (void)status;
    if (link->context == context)
        try_later(link, context->errstr && *context->errstr ? context->errstr : "it went away");
}

static void connect_now(struct redis_link *link)
{
    const struct redis_library *library = link->library;
    char host[HOST_BYTES];
    int port;
    redisAsyncContext *context =
        read_tcp(link->options.address, host, &port)
            ? library->connect(host, port)
            : library->connect_unix(link->options.address + strlen("unix:"));
    if (!context || context->err) {
        try_later(link, context ? context->errstr : "no memory");
        if (context)
            library->release(context);
        return;
    }
    link->context = context;
    context->data = link;
    link->reading = event_new(link->base, context->c.fd, EV_READ | EV_PERSIST, on_readable, link);
    link->writing = event_new(link->base, context->c.fd, EV_WRITE | EV_PERSIST, on_writable, link);
    context->ev.data = link;
    context->ev.addRead = add_read;
    context->ev.delRead = del_read;
    context->ev.addWrite = add_write;
    context->ev.delWrite = del_write;
    context->ev.cleanup = cleanup;
    library->set_connect(context, on_connect);
    library->set_disconnect(context, on_disconnect);
}

static void on_again(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what;
    connect_now(context);
}

struct redis_link *redis_link_open(struct redis_library *library, struct event_base *base,
    const struct redis_link_options *options, void *context)
{
    struct redis_link *link = mem_alloc(1, sizeof *link);
    link->library = library;
    link->base = base;
    link->options = *options;
    link->pause_ms = PAUSE_FIRST_MS;
    link->owner = context;
    link->again = evtimer_new(base, on_again, link);
    assert(link->again);
    connect_now(link);
    return link;
}

void redis_link_reset(struct redis_link *link, const char *why)
{
    redisAsyncContext *context = link->context;
    if (!context)
        return;
    try_later(link, why);
    link->library->release(context);
}

void redis_link_close(struct redis_link *link)
{
    if (!link)
        return;
    redisAsyncContext *context = link->context;
    link->context = NULL;
    link->up = false;
    if (context)
        link->library->release(context);
    event_free(link->again);
    free(link);
}

bool redis_link_is_up(const struct redis_link *link)
{
    return link->up;
}

/* ---- commands -------------------------------------------------------------------------------- */

static void read_text(const redisReply *from, struct redis_reply *ret)
{
    if (ret->text || (from->type != REDIS_REPLY_STRING && from->type != REDIS_REPLY_ERROR))
        return;
    ret->text = from->str;
    ret->length = from->len;
}

static void read_reply(const redisReply *from, struct redis_reply *ret)
{
    ret->failed = !from || from->type == REDIS_REPLY_ERROR;
    ret->text = NULL;
    ret->length = ret->count = 0;
    if (from)
        read_text(from, ret);
    if (!from || from->type != REDIS_REPLY_ARRAY)
        return;
    for (size_t i = 0; i < from->elements && ret->count < ARRAY_LEN(ret->numbers); i++) {
        read_text(from->element[i], ret);
        if (from->element[i]->type == REDIS_REPLY_INTEGER)
            ret->numbers[ret->count++] = from->element[i]->integer;
    }
}

static void on_reply(redisAsyncContext *context, void *from, void *data)
{
    struct sent *sent = data;
    struct redis_link *link = context->data;
    struct redis_reply reply;
    read_reply(from, &reply);
    if (from && link && link->said) {
        log_info("%s at %s is used again", link->options.what, link->options.address);
        link->said = false;
    }
    sent->fn(sent->context, &reply);
    free(sent);
}

bool redis_link_send_sized(struct redis_link *link, int count, const char *const *words,
    const size_t *lengths, redis_reply_fn *fn, void *context)
{
    if (!link->up)
        return false;
    struct sent *sent = NULL;
    if (fn) {
        sent = mem_alloc(1, sizeof *sent);
        *sent = (struct sent){fn, context};
    }
    const char **argv = (const char **)(uintptr_t)words;
    if (link->library->send(link->context, fn ? on_reply : NULL, sent, count, argv, lengths) ==
        REDIS_OK)
        return true;
    free(sent);
    return false;
}

#else

int redis_library_load(struct redis_library **ret, struct error *err)
{
    (void)ret;
    return error_set(
        err, ERR_UNAVAILABLE, "this muster was built without hiredis: nothing can be shared");
}

void redis_library_free(struct redis_library *library)
{
    (void)library;
}

struct redis_link *redis_link_open(struct redis_library *library, struct event_base *base,
    const struct redis_link_options *options, void *context)
{
    (void)library, (void)base, (void)options, (void)context;
    return NULL;
}

void redis_link_close(struct redis_link *link)
{
    (void)link;
}

void redis_link_reset(struct redis_link *link, const char *why)
{
    (void)link, (void)why;
}

bool redis_link_is_up(const struct redis_link *link)
{
    (void)link;
    return false;
}

bool redis_link_send_sized(struct redis_link *link, int count, const char *const *words,
    const size_t *lengths, redis_reply_fn *fn, void *context)
{
    (void)link, (void)count, (void)words, (void)lengths, (void)fn, (void)context;
    return false;
}

#endif

bool redis_link_send(
    struct redis_link *link, int count, const char *const *words, redis_reply_fn *fn, void *context)
{
    return redis_link_send_sized(link, count, words, NULL, fn, context);
}
