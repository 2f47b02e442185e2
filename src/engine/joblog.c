/* Writing the log of an attempt: see joblog.h. The shim is the only writer. It writes whole
 * lines, several at once; a file is closed when the next batch would pass its bound, and the
 * oldest is removed when there are more than `files`. Nothing here waits for the disk. */
#include "engine/joblog.h"

#include "base/memory.h"
#include "base/strbuf.h"

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES_MAX = 64, NAME_SIZE = 24, BATCH_BYTES = 256 * 1024 };

struct joblog_writer {
    int folder_fd;
    int fd; /* of the newest file, -1 before the first line */
    uint64_t file_bytes;
    uint32_t files;
    uint64_t position;          /* of the next byte */
    uint64_t starts[FILES_MAX]; /* of the files there are, oldest first */
    uint32_t start_count;
    struct strbuf batch;
};

void joblog_writer_destroy(struct joblog_writer *writer)
{
    if (!writer)
        return;
    fd_scope(&writer->fd);
    strbuf_finish(&writer->batch);
    free(writer);
}

static void file_name(uint64_t start, char out[NAME_SIZE])
{
    snprintf(out, NAME_SIZE, "%020" PRIu64, start);
}

static int compare_starts(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The names of the files there are. Of more than the bound, which a writer never leaves, the rest
 * stays as it is. */
static void find_files(struct joblog_writer *writer)
{
    int copy = openat(writer->folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = copy < 0 ? NULL : fdopendir(copy);
    const struct dirent *entry;
    if (!folder && copy >= 0)
        close(copy);
    while (folder && writer->start_count < writer->files && (entry = readdir(folder))) {
        uint64_t start;
        if (joblog_parse_name(entry->d_name, &start))
            writer->starts[writer->start_count++] = start;
    }
    if (folder)
        closedir(folder);
    qsort(writer->starts, writer->start_count, sizeof writer->starts[0], compare_starts);
}

/* Goes on behind what was written before. Where that cannot be appended to, or ends in a line that
 * was torn, with the machine, the next line begins a new file. */
static void resume(struct joblog_writer *writer)
{
    char name[NAME_SIZE], last = '\n';
    struct stat st = {0};
    find_files(writer);
    if (writer->start_count == 0)
        return;
    writer->position = writer->starts[writer->start_count - 1];
    file_name(writer->position, name);
    (void)fstatat(writer->folder_fd, name, &st, AT_SYMLINK_NOFOLLOW);
    SCOPED(fd_scope)
    int fd = openat(writer->folder_fd, name, O_RDWR | O_APPEND | O_NOFOLLOW | O_CLOEXEC);
    writer->position += (uint64_t)st.st_size;
    if (fd < 0 || (st.st_size > 0 && pread(fd, &last, 1, st.st_size - 1) < 1) || last != '\n') {
        writer->position++;
        return;
    }
    writer->fd = fd;
    fd = -1;
}

struct joblog_writer *joblog_writer_create(int folder_fd, uint64_t file_bytes, uint32_t files)
{
    assert(files >= 2 && files <= FILES_MAX && file_bytes >= 2 * JOBLOG_LINE_MAX);
    struct joblog_writer *writer = mem_alloc(1, sizeof *writer);
    *writer = (struct joblog_writer){
        .folder_fd = folder_fd, .fd = -1, .file_bytes = file_bytes, .files = files};
    resume(writer);
    return writer;
}

static void remove_oldest(struct joblog_writer *writer)
{
    char name[NAME_SIZE];
    file_name(writer->starts[0], name);
    unlinkat(writer->folder_fd, name, 0);
    writer->start_count--;
    memmove(writer->starts, writer->starts + 1, writer->start_count * sizeof writer->starts[0]);
}

/* Begins the file for the next byte. */
static void open_next(struct joblog_writer *writer)
{
    char name[NAME_SIZE];
    if (writer->start_count == writer->files)
        remove_oldest(writer);
    fd_scope(&writer->fd);
    file_name(writer->position, name);
    writer->fd = openat(
        writer->folder_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (writer->fd >= 0)
        writer->starts[writer->start_count++] = writer->position;
}

/* Writes the lines gathered. When the disk takes only a part, the rest is refused and the next
 * line begins a new file, so that no line is torn for a reader. */
static void flush(struct joblog_writer *writer)
{
    struct strbuf *batch = &writer->batch;
    if (batch->length == 0)
        return;
    uint64_t start = writer->start_count ? writer->starts[writer->start_count - 1] : 0;
    if (writer->fd < 0 || writer->position + batch->length > start + writer->file_bytes)
        open_next(writer);
    ssize_t n = writer->fd < 0 ? -1 : write(writer->fd, batch->text, batch->length);
    size_t written = n < 0 ? 0 : (size_t)n;
    writer->position += written;
    if (written < batch->length) {
        writer->position++; /* a file of its own, even when nothing was written */
        fd_scope(&writer->fd);
        writer->fd = -1;
    }
    strbuf_clear(batch);
}

static void put_line(struct joblog_writer *writer, struct joblog_stream *stream, int64_t at_ms)
{
    /* A batch is at most half a file, so that rotation keeps what the bounds promise. */
    size_t most =
        writer->file_bytes / 2 < BATCH_BYTES ? (size_t)writer->file_bytes / 2 : BATCH_BYTES;
    strbuf_printf(&writer->batch, "%" PRId64 " %u %c ", at_ms, stream->rank, stream->kind);
    strbuf_append(&writer->batch, stream->text, stream->held);
    strbuf_putc(&writer->batch, '\n');
    stream->held = 0;
    if (writer->batch.length + JOBLOG_LINE_MAX > most)
        flush(writer);
}

void joblog_write(struct joblog_writer *writer, struct joblog_stream *stream, int64_t at_ms,
    const char *bytes, size_t size)
{
    assert(stream->kind == 'o' || stream->kind == 'e');
    while (size > 0) {
        const char *newline = memchr(bytes, '\n', size);
        size_t line = newline ? (size_t)(newline - bytes) : size;
        size_t space = sizeof stream->text - stream->held;
        size_t taken = line < space ? line : space;
        memcpy(stream->text + stream->held, bytes, taken);
        stream->held += taken;
        bool ends = newline && taken == line;
        if (ends || stream->held == sizeof stream->text)
            put_line(writer, stream, at_ms);
        bytes += taken + ends;
        size -= taken + ends;
    }
    flush(writer);
}

void joblog_finish_stream(struct joblog_writer *writer, struct joblog_stream *stream, int64_t at_ms)
{
    if (stream->held > 0)
        put_line(writer, stream, at_ms);
    flush(writer);
}
