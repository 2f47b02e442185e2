/* Questions under way: see children.h.
 *
 * The planner has one thread, so that forking it is safe: nobody else can hold a lock in the child.
 * A child has a lower priority, a limit of processor time and of wall time, and dies with its
 * parent. It writes its answer to a pipe and ends; what it breaks, it breaks in its own memory. */
#include "planner/children.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/vec.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    ANSWER_BYTES_MAX = 8 << 20,
    READ_BYTES = 64 << 10,
    NICE = 10,
    REMEMBERED_MAX = 16,
    REMEMBERED_BYTES_MAX = 256 << 10,
    SAME_TICK_MS = 10000, /* an answer about the same state is good for so long.. */
    OTHER_TICK_MS = 2000, /* ..and about one that changed meanwhile for so long */
};

struct question {
    uint64_t number;
    char *text;
    size_t length;
    bool change; /* tries one: takes several times as long */
};

struct child {
    pid_t pid; /* 0: none */
    int fd;
    struct question question;
    struct strbuf answer;
    int64_t tick, begun_ms;
};

struct remembered {
    char *question, *answer;
    size_t length;
    int64_t tick, at_ms;
};

struct children {
    children_answer_fn *answer;
    void *context;
    struct child running[CHILDREN_MAX];
    VEC(struct question) queue;
    struct remembered remembered[REMEMBERED_MAX];
    size_t remembered_next;
    struct children_stats stats;
};

struct children *children_create(children_answer_fn *answer, void *context)
{
    struct children *children = mem_alloc(1, sizeof *children);
    children->answer = answer;
    children->context = context;
    return children;
}

/* ---- answers that are remembered ----------------------------------------------------------- */

static const struct remembered *recall(
    const struct children *children, const char *text, int64_t tick, int64_t now_ms)
{
    for (size_t i = 0; i < REMEMBERED_MAX; i++) {
        const struct remembered *one = &children->remembered[i];
        if (!one->question || strcmp(one->question, text) != 0)
            continue;
        if (now_ms - one->at_ms <= (one->tick == tick ? SAME_TICK_MS : OTHER_TICK_MS))
            return one;
    }
    return NULL;
}

static void remember(struct children *children, const struct child *child, int64_t now_ms)
{
    struct remembered *one = &children->remembered[children->remembered_next];
    if (child->answer.length + child->question.length > REMEMBERED_BYTES_MAX)
        return;
    children->remembered_next = (children->remembered_next + 1) % REMEMBERED_MAX;
    free(one->question);
    free(one->answer);
    *one = (struct remembered){.question = mem_strdup(child->question.text),
        .answer = mem_strdup(strbuf_text(&child->answer)),
        .length = child->answer.length,
        .tick = child->tick,
        .at_ms = now_ms};
}

static void forget_answers(struct children *children)
{
    for (size_t i = 0; i < REMEMBERED_MAX; i++) {
        free(children->remembered[i].question);
        free(children->remembered[i].answer);
        children->remembered[i] = (struct remembered){0};
    }
}

/* ---- a child ------------------------------------------------------------------------------- */

static void limit_child(void)
{
    struct rlimit cpu = {CHILD_CPU_S, CHILD_CPU_S + 1};
    struct rlimit core = {0, 0};
    setrlimit(RLIMIT_CPU, &cpu);
    setrlimit(RLIMIT_CORE, &core);
    if (nice(NICE) < 0)
        errno = 0; /* with the priority it has, then */
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void write_answer(int fd, const struct strbuf *answer)
{
    for (size_t at = 0; at < answer->length;) {
        ssize_t written = write(fd, answer->text + at, answer->length - at);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            _exit(1);
        at += (size_t)written;
    }
}

static void run_child(
    const struct answer_state *state, const struct question *question, int fd, pid_t parent)
{
    struct strbuf answer = {0};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    limit_child();
    answer_question(state, question->text, question->length, &answer);
    write_answer(fd, &answer);
    _exit(0);
}

static void question_free(struct question *question)
{
    free(question->text);
    *question = (struct question){0};
}

/* Takes the question over, whatever comes of it. */
static void begin(struct children *children, struct child *child, struct question question,
    const struct answer_state *state, int64_t now_ms)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) {
        children->stats.failed++;
        children->answer(children->context, question.number, NULL, 0);
        question_free(&question);
        return;
    }
    int64_t begin_ns = clock_monotonic_ns();
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        close(ends[0]);
        run_child(state, &question, ends[1], parent);
    }
    children->stats.fork_ns = clock_monotonic_ns() - begin_ns;
    close(ends[1]);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    *child = (struct child){
        .pid = pid, .fd = ends[0], .question = question, .tick = state->tick, .begun_ms = now_ms};
    if (pid < 0) {
        child->pid = 0;
        close(ends[0]);
        children->stats.failed++;
        children->answer(children->context, question.number, NULL, 0);
        question_free(&child->question);
    }
}

static void finish(struct child *child)
{
    close(child->fd);
    while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR) {
    }
    strbuf_finish(&child->answer);
    question_free(&child->question);
    child->pid = 0;
}

static void kill_child(struct child *child)
{
    if (!child->pid)
        return;
    kill(child->pid, SIGKILL);
    finish(child);
}

void children_forget(struct children *children)
{
    for (size_t i = 0; i < CHILDREN_MAX; i++)
        kill_child(&children->running[i]);
    for (size_t i = 0; i < children->queue.count; i++)
        question_free(&children->queue.items[i]);
    vec_clear(&children->queue);
    forget_answers(children);
}

void children_destroy(struct children *children)
{
    if (!children)
        return;
    children_forget(children);
    vec_free(&children->queue);
    free(children);
}

/* ---- asking -------------------------------------------------------------------------------- */

/* A place for such a question now, or NULL. */
static struct child *free_child(struct children *children, bool change)
{
    struct child *found = NULL;
    for (size_t i = 0; i < CHILDREN_MAX; i++) {
        struct child *child = &children->running[i];
        if (child->pid && change && child->question.change)
            return NULL;
        found = child->pid ? found : child;
    }
    return found;
}

/* The place in the queue of the first question that may be begun; who asks why goes first. */
static size_t next_question(struct children *children, struct child **ret_child)
{
    for (int change = 0; change < 2; change++) {
        *ret_child = free_child(children, change);
        for (size_t i = 0; *ret_child && i < children->queue.count; i++) {
            if (children->queue.items[i].change == change)
                return i;
        }
    }
    return SIZE_MAX;
}

void children_ask(struct children *children, uint64_t number, const char *text, size_t length,
    const struct answer_state *state, int64_t now_ms)
{
    static const char tries[] = "{\"ask\":\"whatif\"";
    struct question question = {number, mem_alloc(length + 1, 1), length, false};
    memcpy(question.text, text, length);
    question.change = strncmp(question.text, tries, sizeof tries - 1) == 0;
    const struct remembered *known = recall(children, question.text, state->tick, now_ms);
    struct child *child = free_child(children, question.change);
    children->stats.asked++;
    if (known) {
        children->stats.remembered++;
        children->answer(children->context, number, known->answer, known->length);
        question_free(&question);
    } else if (child) {
        begin(children, child, question, state, now_ms);
    } else if (children->queue.count < CHILDREN_QUEUE_MAX) {
        vec_push(&children->queue, question);
    } else {
        children->stats.failed++;
        children->answer(children->context, number, NULL, 0);
        question_free(&question);
    }
}

int children_poll(const struct children *children, struct pollfd fds[CHILDREN_MAX])
{
    int count = 0;
    for (size_t i = 0; i < CHILDREN_MAX; i++) {
        if (children->running[i].pid)
            fds[count++] = (struct pollfd){.fd = children->running[i].fd, .events = POLLIN};
    }
    return count;
}

/* False: it has ended, or wrote too much. */
static bool read_child(struct child *child)
{
    char bytes[READ_BYTES];
    for (;;) {
        ssize_t count = read(child->fd, bytes, sizeof bytes);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return errno == EAGAIN;
        if (count == 0 || child->answer.length + (size_t)count > ANSWER_BYTES_MAX)
            return false;
        strbuf_append(&child->answer, bytes, (size_t)count);
    }
}

/* An answer is whole when it ends as an object does; a child that was killed leaves less. */
static void take_answer(struct children *children, struct child *child, int64_t now_ms)
{
    struct strbuf *answer = &child->answer;
    bool whole = answer->length > 1 && answer->text[answer->length - 1] == '}';
    children->stats.failed += !whole;
    if (whole)
        remember(children, child, now_ms);
    children->answer(children->context, child->question.number, whole ? answer->text : NULL,
        whole ? answer->length : 0);
    kill_child(child);
}

void children_run(struct children *children, const struct answer_state *state, int64_t now_ms)
{
    for (size_t i = 0; i < CHILDREN_MAX; i++) {
        struct child *child = &children->running[i];
        if (child->pid && (!read_child(child) || now_ms - child->begun_ms > CHILD_WALL_MS))
            take_answer(children, child, now_ms);
    }
    struct child *child;
    for (size_t i; (i = next_question(children, &child)) != SIZE_MAX;) {
        struct question question = children->queue.items[i];
        vec_remove(&children->queue, i);
        begin(children, child, question, state, now_ms);
    }
}

int64_t children_due_ms(const struct children *children, int64_t now_ms)
{
    int64_t due = -1;
    for (size_t i = 0; i < CHILDREN_MAX; i++) {
        const struct child *child = &children->running[i];
        if (!child->pid)
            continue;
        int64_t left = child->begun_ms + CHILD_WALL_MS + 1 - now_ms;
        left = left < 0 ? 0 : left;
        due = due < 0 || left < due ? left : due;
    }
    return due;
}

void children_stats(const struct children *children, struct children_stats *ret)
{
    *ret = children->stats;
}
