/* Usage from inside a sandbox: see init_usage.h. */
#include "engine/init_usage.h"

#include "base/file.h"
#include "base/memory.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PROCESSES_MAX = 65536, BLOCK_BYTES = 512 };

#define MEMBER(member) RECORD_MEMBER(struct usage_total, member, RECORD_U64)
static const struct record_member members[] = {
    MEMBER(cpu_ns), MEMBER(memory_bytes), MEMBER(read_bytes), MEMBER(written_bytes)};

static uint64_t time_ns(const struct timeval *time)
{
    return (uint64_t)time->tv_sec * 1000000000 + (uint64_t)time->tv_usec * 1000;
}

void usage_add_ended(struct usage_total *total, const struct rusage *usage)
{
    total->cpu_ns += time_ns(&usage->ru_utime) + time_ns(&usage->ru_stime);
    total->read_bytes += (uint64_t)usage->ru_inblock * BLOCK_BYTES;
    total->written_bytes += (uint64_t)usage->ru_oublock * BLOCK_BYTES;
}

static char *read_process_file(const char *pid, const char *name)
{
    char path[300];
    char *text;
    size_t size;
    snprintf(path, sizeof path, "/proc/%s/%s", pid, name);
    return file_read(path, 8192, &text, &size, NULL) == 0 ? text : NULL;
}

/* CPU time of a process and the children it waited for, and what it has in memory. */
static void add_stat(struct usage_total *total, const char *pid)
{
    SCOPED(mem_scope) char *text = read_process_file(pid, "stat");
    const char *rest = text ? strrchr(text, ')') : NULL;
    uint64_t user, system, user_children, system_children, resident;
    if (!rest || sscanf(rest,
                     ") %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %" SCNu64 " %" SCNu64
                     " %" SCNu64 " %" SCNu64 " %*s %*s %*s %*s %*s %*s %" SCNu64,
                     &user, &system, &user_children, &system_children, &resident) != 5)
        return;
    uint64_t tick_ns = 1000000000 / (uint64_t)sysconf(_SC_CLK_TCK);
    total->cpu_ns += (user + system + user_children + system_children) * tick_ns;
    total->memory_bytes += resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t line_value(const char *text, const char *name)
{
    const char *line = strstr(text, name);
    return line ? strtoull(line + strlen(name), NULL, 10) : 0;
}

static void add_io(struct usage_total *total, const char *pid)
{
    SCOPED(mem_scope) char *text = read_process_file(pid, "io");
    if (!text)
        return;
    total->read_bytes += line_value(text, "\nread_bytes: ");
    total->written_bytes += line_value(text, "\nwrite_bytes: ");
}

void usage_add_living(struct usage_total *total)
{
    DIR *folder = opendir("/proc");
    const struct dirent *entry;
    for (int i = 0; folder && i < PROCESSES_MAX && (entry = readdir(folder)); i++) {
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9' || !strcmp(entry->d_name, "1"))
            continue;
        add_stat(total, entry->d_name);
        add_io(total, entry->d_name);
    }
    if (folder)
        closedir(folder);
}

void usage_encode(struct strbuf *out, const struct usage_total *total)
{
    record_encode(out, members, ARRAY_LEN(members), total);
}

void usage_decode(const struct record *record, struct usage_total *ret)
{
    (void)!record_decode(record, members, ARRAY_LEN(members), ret, NULL);
}
