/* The plan of init: see init_plan.h. It holds the secrets of all ranks, which are written where
 * these look for them, and nowhere else. */
#include "engine/init_plan.h"

#include "base/file.h"
#include "engine/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PLAN_BYTES_MAX = 64 << 20 };

static char *read_all(int fd, struct arena *arena, size_t *ret_size)
{
    struct stat st;
    if (fstat(fd, &st) < 0 || st.st_size <= 0 || st.st_size > PLAN_BYTES_MAX)
        return NULL;
    char *text = arena_alloc(arena, (size_t)st.st_size, 1);
    if (pread(fd, text, (size_t)st.st_size, 0) != st.st_size)
        return NULL;
    *ret_size = (size_t)st.st_size;
    return text;
}

char **init_plan_values(
    struct arena *arena, const struct record *record, const char *name, size_t from, size_t to)
{
    char **values = arena_alloc(arena, to - from + 1, sizeof *values);
    size_t count = 0;
    for (size_t i = from; i < to; i++) {
        if (!strcmp(record->fields[i].name, name))
            values[count++] = (char *)record->fields[i].value;
    }
    return values;
}

static size_t find_rank(const struct record *plan, size_t from)
{
    while (from < plan->count && strcmp(plan->fields[from].name, "rank") != 0)
        from++;
    return from;
}

static bool same_name(const char *a, const char *b)
{
    size_t length = strcspn(a, "=");
    return !strncmp(a, b, length + 1);
}

/* Sets a variable in env, which has room for it; the last setting of a name counts. */
static void set_variable(char **env, char *variable)
{
    size_t i = 0;
    while (env[i] && !same_name(env[i], variable))
        i++;
    env[i] = variable;
}

static char **merge_env(struct arena *arena, char **common, char **own)
{
    size_t count = 0;
    while (common[count])
        count++;
    for (size_t i = 0; own[i]; i++)
        count++;
    char **env = arena_alloc(arena, count + 1, sizeof *env);
    for (size_t i = 0; common[i]; i++)
        set_variable(env, common[i]);
    for (size_t i = 0; own[i]; i++)
        set_variable(env, own[i]);
    return env;
}

static void read_rank(struct arena *arena, const struct record *record, size_t from, size_t to,
    char **common, struct init_rank *ret)
{
    const struct record part = {record->fields + from, to - from};
    char **own = init_plan_values(arena, record, "env", from, to);
    *ret = (struct init_rank){
        .number = (uint32_t)record_number(&part, "rank", 0),
        .out = (int)record_number(&part, "out", 0),
        .err = (int)record_number(&part, "err", 0),
        .env = merge_env(arena, common, own),
        .cores = record_text(&part, "cores"),
    };
}

static int write_secret(const struct record_field *name, const struct record_field *content)
{
    char path[512];
    snprintf(path, sizeof path, SANDBOX_SECRETS "/%s", name->value);
    SCOPED(fd_scope)
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0400);
    if (fd < 0)
        return -1;
    return file_write_all(fd, content->value, content->size, NULL);
}

static int write_secrets(const struct record *plan)
{
    for (size_t i = 0; i + 1 < plan->count; i++) {
        if (!strcmp(plan->fields[i].name, "secret") &&
            write_secret(&plan->fields[i], &plan->fields[i + 1]) < 0)
            return -1;
    }
    return 0;
}

int init_plan_read(int plan_fd, struct arena *arena, struct init_plan *ret)
{
    size_t size;
    struct record record;
    char *text = read_all(plan_fd, arena, &size);
    errno = EPROTO;
    if (!text || record_parse(arena, text, size, &record, NULL) < 0)
        return -1;
    explicit_bzero(text, size);
    size_t first = find_rank(&record, 0);
    *ret = (struct init_plan){.folder = record_text(&record, "folder"),
        .argv = init_plan_values(arena, &record, "argument", 0, first),
        .fsize = record_number(&record, "fsize", 0),
        .nofile = record_number(&record, "nofile", 0),
        .nproc = record_number(&record, "nproc", 0),
        .relay_port = (uint16_t)record_number(&record, "relay_port", 0)};
    char **common = init_plan_values(arena, &record, "env", 0, first);
    for (size_t at = first; at < record.count && ret->rank_count < ENGINE_RANKS_MAX;) {
        size_t next = find_rank(&record, at + 1);
        read_rank(arena, &record, at, next, common, &ret->ranks[ret->rank_count++]);
        at = next;
    }
    if (!ret->folder || !ret->argv[0] || ret->rank_count == 0)
        return -1;
    return write_secrets(&record);
}
