/* A worker thread: see worker.h. Two lists under one lock, jobs to do and jobs done; an eventfd
 * wakes the loop for the second. */
#include "engine/worker.h"

#include "base/memory.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { JOBS_MAX = 1024 };

struct job_item {
    struct job_item *next;
    worker_fn *work;
    worker_fn *done;
    void *context;
};

struct job_list {
    struct job_item *first;
    struct job_item **tail;
};

struct worker {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct job_list todo;
    struct job_list finished;
    size_t waiting;
    bool stopping;
    int fd;
    struct event *event;
};

static void list_init(struct job_list *list)
{
    list->first = NULL;
    list->tail = &list->first;
}

static void list_append(struct job_list *list, struct job_item *item)
{
    item->next = NULL;
    *list->tail = item;
    list->tail = &item->next;
}

static struct job_item *list_take(struct job_list *list)
{
    struct job_item *item = list->first;
    if (item) {
        list->first = item->next;
        if (!list->first)
            list->tail = &list->first;
    }
    return item;
}

static struct job_item *next_todo(struct worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    while (!worker->todo.first && !worker->stopping)
        pthread_cond_wait(&worker->wake, &worker->lock);
    struct job_item *item = list_take(&worker->todo);
    pthread_mutex_unlock(&worker->lock);
    return item;
}

static void *worker_thread(void *argument)
{
    struct worker *worker = argument;
    struct job_item *item;
    while ((item = next_todo(worker)) != NULL) {
        item->work(item->context);
        pthread_mutex_lock(&worker->lock);
        list_append(&worker->finished, item);
        pthread_mutex_unlock(&worker->lock);
        uint64_t one = 1;
        ssize_t ignored = write(worker->fd, &one, sizeof one);
        (void)ignored;
    }
    return NULL;
}

static void on_finished(evutil_socket_t fd, short what, void *context)
{
    struct worker *worker = context;
    (void)what;
    uint64_t count;
    ssize_t ignored = read((int)fd, &count, sizeof count);
    (void)ignored;
    pthread_mutex_lock(&worker->lock);
    struct job_list finished = worker->finished;
    list_init(&worker->finished);
    pthread_mutex_unlock(&worker->lock);
    for (struct job_item *item = finished.first, *next; item; item = next) {
        next = item->next;
        pthread_mutex_lock(&worker->lock);
        worker->waiting--;
        pthread_mutex_unlock(&worker->lock);
        if (item->done)
            item->done(item->context);
        free(item);
    }
}

/* The thread takes no signals: they are the loop's. */
static int start_thread(struct worker *worker, const char *name)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&worker->thread, NULL, worker_thread, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0)
        pthread_setname_np(worker->thread, name);
    return rc;
}

struct worker *worker_create(struct event_base *base, const char *name, struct error *err)
{
    struct worker *worker = mem_alloc(1, sizeof *worker);
    pthread_mutex_init(&worker->lock, NULL);
    pthread_cond_init(&worker->wake, NULL);
    list_init(&worker->todo);
    list_init(&worker->finished);
    worker->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (worker->fd >= 0)
        worker->event = event_new(base, worker->fd, EV_READ | EV_PERSIST, on_finished, worker);
    int rc = worker->event ? start_thread(worker, name) : errno;
    if (rc != 0) {
        errno = rc;
        error_set_errno(err, "cannot start the thread %s", name);
        if (worker->event)
            event_free(worker->event);
        fd_scope(&worker->fd);
        free(worker);
        return NULL;
    }
    event_add(worker->event, NULL);
    return worker;
}

void worker_destroy(struct worker *worker)
{
    if (!worker)
        return;
    pthread_mutex_lock(&worker->lock);
    worker->stopping = true;
    pthread_cond_signal(&worker->wake);
    pthread_mutex_unlock(&worker->lock);
    pthread_join(worker->thread, NULL);
    struct job_item *item;
    while ((item = list_take(&worker->finished)) != NULL)
        free(item);
    event_free(worker->event);
    close(worker->fd);
    pthread_cond_destroy(&worker->wake);
    pthread_mutex_destroy(&worker->lock);
    free(worker);
}

int worker_run(
    struct worker *worker, worker_fn *work, worker_fn *done, void *context, struct error *err)
{
    assert(work);
    pthread_mutex_lock(&worker->lock);
    if (worker->waiting >= JOBS_MAX) {
        pthread_mutex_unlock(&worker->lock);
        return error_set(err, ERR_BUSY, "too much waits for the disk; try again in a moment");
    }
    struct job_item *item = mem_alloc(1, sizeof *item);
    *item = (struct job_item){NULL, work, done, context};
    list_append(&worker->todo, item);
    worker->waiting++;
    pthread_cond_signal(&worker->wake);
    pthread_mutex_unlock(&worker->lock);
    return 0;
}

size_t worker_load(struct worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    size_t load = worker->waiting;
    pthread_mutex_unlock(&worker->lock);
    return load;
}
