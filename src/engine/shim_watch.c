/* What a shim looks at while the ranks run: their output, and the disk and memory they use. Each
 * look is bounded, and looks at a large tree are made more rarely, so that a request to stop is
 * never kept waiting. */
#include "base/clock.h"
#include "base/memory.h"
#include "engine/shim_state.h"

#include <assert.h>
#include <errno.h>
#include <unistd.h>

enum {
    READ_BYTES = 64 * 1024,
    READS_A_TURN = 16,
    WATCH_MS = 1000,  /* how often disk and memory are looked at, at least */
    WATCH_SHARE = 20, /* and at most this part of the time is spent on it */
    TREE_ENTRIES_MAX = 1000000,
};

/* ---- Output ------------------------------------------------------------------------------ */

static void end_stream(struct shim_stream *stream)
{
    joblog_finish_stream(stream->shim->log, &stream->text, clock_wall_ms());
    event_free(stream->readable);
    close(stream->fd);
    stream->fd = -1;
    stream->shim->open_streams--;
    shim_finish_if_over(stream->shim);
}

/* Takes a bounded part, so that one rank's flood does not keep the others or a stop waiting. */
static void on_output(evutil_socket_t fd, short events, void *context)
{
    char bytes[READ_BYTES];
    struct shim_stream *stream = context;
    (void)events;
    for (int i = 0; i < READS_A_TURN; i++) {
        ssize_t n = read(fd, bytes, sizeof bytes);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            end_stream(stream);
            return;
        }
        joblog_write(stream->shim->log, &stream->text, clock_wall_ms(), bytes, (size_t)n);
    }
}

static void open_stream(struct shim *shim, int fd, uint32_t rank, char kind)
{
    struct shim_stream *stream = &shim->streams[shim->stream_count++];
    stream->shim = shim;
    stream->fd = fd;
    stream->text.rank = rank;
    stream->text.kind = kind;
    stream->readable = event_new(shim->base, fd, EV_READ | EV_PERSIST, on_output, stream);
    assert(stream->readable);
    event_add(stream->readable, NULL);
    shim->open_streams++;
}

void shim_open_streams(struct shim *shim)
{
    const struct launch_placement *place = shim->files.place;
    const struct launch *launch = &shim->files.launch;
    shim->log = joblog_writer_create(shim->files.log_fd, launch->log_file_bytes, launch->log_files);
    shim->streams = mem_alloc(place->ranks * 2, sizeof *shim->streams);
    for (uint32_t i = 0; i < place->ranks; i++) {
        open_stream(shim, shim->child.out[i], place->first_rank + i, 'o');
        open_stream(shim, shim->child.err[i], place->first_rank + i, 'e');
    }
}

/* Nobody is left who could write, but a descriptor may have been carried out of the sandbox. */
void shim_on_drained(evutil_socket_t fd, short events, void *context)
{
    struct shim *shim = context;
    (void)fd, (void)events;
    for (uint32_t i = 0; i < shim->stream_count; i++) {
        if (shim->streams[i].fd >= 0)
            end_stream(&shim->streams[i]);
    }
}

/* ---- Watching disk, memory and checkpoints ----------------------------------------------- */

void shim_tell_sample(struct shim *shim)
{
    struct usage_total usage = shim->usage;
    SCOPED(strbuf_finish) struct strbuf message = {0};
    cgroup_cpu_ns(&shim->files.cgroup, &usage.cpu_ns);
    cgroup_memory_bytes(&shim->files.cgroup, &usage.memory_bytes);
    cgroup_memory_peak_bytes(&shim->files.cgroup, &shim->memory_peak_bytes);
    if (usage.memory_bytes > shim->memory_peak_bytes)
        shim->memory_peak_bytes = usage.memory_bytes;
    record_put(&message, "type", "sample");
    usage_encode(&message, &usage);
    record_put_number(&message, "memory_peak_bytes", shim->memory_peak_bytes);
    record_put_number(&message, "disk_bytes", shim->disk_bytes);
    record_put_number(&message, "checkpoint_ms", (uint64_t)shim->checkpoint.newest_ms);
    record_put_number(&message, "checkpoint_bytes", shim->checkpoint.bytes);
    shim_clients_tell(shim->clients, &message, true);
    shim->sample_at_ms = clock_boot_ms() + (int64_t)shim->files.launch.sample_ms;
}

/* Everything the job can write to that is not memory counts, old checkpoints too. */
void shim_watch_disk(struct shim *shim)
{
    const struct shim_files *files = &shim->files;
    uint64_t most = files->launch.disk_bytes * files->place->ranks;
    struct tree_measure used = {0}, checkpoint = {0};
    tree_measure_add(files->work_fd, TREE_ENTRIES_MAX, &used);
    tree_measure_add(files->tmp_fd, TREE_ENTRIES_MAX, &used);
    tree_measure_add(files->job_fd, TREE_ENTRIES_MAX, &used);
    if (files->serve_fd >= 0)
        tree_measure_add(files->serve_fd, TREE_ENTRIES_MAX, &used);
    for (size_t i = 0; i < files->launch.output_count; i++)
        tree_measure_add(files->output_fds[i], TREE_ENTRIES_MAX, &used);
    tree_measure_add(files->checkpoint_fd, TREE_ENTRIES_MAX, &checkpoint);
    shim->disk_bytes = used.bytes + checkpoint.bytes;
    if (most > 0 && (shim->disk_bytes > most || used.cut || checkpoint.cut))
        shim_end_now(shim, CAUSE_DISK);
    bool changed = checkpoint.newest_ms != shim->checkpoint.newest_ms;
    shim->checkpoint = checkpoint;
    if (changed)
        shim_tell_sample(shim);
}

/* Where no control group bounds memory, what is resident is looked at instead. */
void shim_watch_memory(struct shim *shim)
{
    uint64_t most = shim->files.launch.memory_bytes * shim->files.place->ranks;
    if (shim->usage.memory_bytes > shim->memory_peak_bytes)
        shim->memory_peak_bytes = shim->usage.memory_bytes;
    if (most > 0 && shim->usage.memory_bytes > most && !*shim->files.cgroup.folder[CGROUP_MEMORY])
        shim_end_now(shim, CAUSE_MEMORY);
}

void shim_on_watch(evutil_socket_t fd, short events, void *context)
{
    struct shim *shim = context;
    SCOPED(strbuf_finish) struct strbuf message = {0};
    int64_t before = clock_boot_ms();
    (void)fd, (void)events;
    shim_watch_disk(shim);
    record_put(&message, "type", "usage");
    shim_ask_init(shim, &message, NULL, 0);
    int64_t took = clock_boot_ms() - before;
    int64_t pause = took * WATCH_SHARE > WATCH_MS ? took * WATCH_SHARE : WATCH_MS;
    if (shim->files.launch.sample_ms < (uint64_t)pause && took * WATCH_SHARE < WATCH_MS)
        pause = (int64_t)shim->files.launch.sample_ms;
    shim_set_timer(shim->watch, pause);
}
