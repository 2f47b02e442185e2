/* Reading metrics: see metrics.h. */
#include "engine/metrics.h"

#include "base/memory.h"
#include "base/strbuf.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

size_t metrics_clean(const char *text, size_t size, char *out, size_t out_size)
{
    size_t used = 0;
    for (size_t at = 0; at < size;) {
        size_t length = utf8_length_within(text + at, size - at);
        size_t put = length ? length : 3;
        if (used + put > out_size)
            break;
        memcpy(out + used, length ? text + at : "\xef\xbf\xbd", put);
        used += put;
        at += length ? length : 1;
    }
    return used;
}

struct giving {
    metrics_line_fn *on_line;
    void *context;
    bool passing; /* up to the next newline */
};

static void give(struct giving *giving, const char *line, size_t size, uint64_t offset)
{
    char clean[METRICS_LINE_MAX];
    bool rest = giving->passing;
    giving->passing = false;
    if (rest || size == 0 || size > METRICS_LINE_MAX || memchr(line, '\0', size))
        return;
    giving->on_line(giving->context, clean, metrics_clean(line, size, clean, sizeof clean), offset);
}

/* Gives the lines of a chunk and says how much of it was used up. */
static size_t give_lines(
    struct giving *giving, const char *chunk, size_t size, uint64_t offset, bool whole)
{
    size_t used = 0;
    for (const char *newline; (newline = memchr(chunk + used, '\n', size - used));) {
        size_t length = (size_t)(newline - chunk) - used;
        give(giving, chunk + used, length, offset + used + length + 1);
        used += length + 1;
    }
    if (whole && used < size)
        give(giving, chunk + used, size - used, offset + size);
    return whole ? size : used;
}

bool metrics_read(struct metrics_reader *reader, const char *path, bool last,
    metrics_line_fn *on_line, void *context)
{
    char chunk[METRICS_TURN_BYTES];
    struct stat st;
    SCOPED(fd_scope) int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return false;
    if ((uint64_t)st.st_size < reader->offset)
        *reader = (struct metrics_reader){0};
    struct giving giving = {on_line, context, reader->passing};
    ssize_t n = pread(fd, chunk, sizeof chunk, (off_t)reader->offset);
    if (n <= 0)
        return false;
    bool full = (size_t)n == sizeof chunk;
    size_t used = give_lines(&giving, chunk, (size_t)n, reader->offset, last && !full);
    reader->passing = giving.passing;
    /* A chunk without any newline is a line that is too long: its parts are passed over. */
    if (used == 0 && full) {
        used = sizeof chunk;
        reader->passing = true;
    }
    reader->offset += used;
    return full;
}
