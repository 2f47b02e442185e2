/* The registry beside cp and zstd: `registry FOLDER MIB` makes two files of that size in the folder
 * (which has room for six of them), one that does not compress and one of words, takes each in,
 * copies and compresses it, one right after the other, and prints one line of JSON. Everything that
 * is written is synced, and every input was read just before. */
#include "registry/registry.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/prng.h"
#include "base/strbuf.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 1 << 20, WORDS = 5000, LAYERS = 10, VERSIONS = 10, LAYER_BYTES = 8 << 20 };
enum { MISSING = 20000 };

struct bench {
    const char *folder;
    int64_t bytes;
    struct registry *registry;
    struct strbuf json;
};

static void die(const char *what, const struct error *err)
{
    fprintf(stderr, "registry: %s: %s\n", what, err ? err->text : "failed");
    exit(1);
}

static void need(int done, const char *what, const struct error *err)
{
    if (done < 0)
        die(what, err);
}

/* ---- files --------------------------------------------------------------------------------- */

static void fill_random(char *piece, struct prng *prng)
{
    for (size_t i = 0; i < PIECE; i += 8) {
        uint64_t x = prng_next(prng);
        memcpy(piece + i, &x, 8);
    }
}

/* Words of 3 to 9 letters; the product of two draws makes the early ones frequent. */
static void fill_words(char *piece, struct prng *prng)
{
    for (size_t i = 0; i < PIECE;) {
        uint64_t pick = prng_below(prng, WORDS) * prng_below(prng, WORDS) / WORDS;
        struct prng word = {.state = pick};
        size_t length = 3 + prng_below(&word, 7);
        for (size_t k = 0; k < length && i < PIECE; k++)
            piece[i++] = (char)('a' + prng_below(&word, 16));
        if (i < PIECE)
            piece[i++] = ' ';
    }
}

static void make_file(
    const char *path, int64_t bytes, uint64_t seed, void (*fill)(char *piece, struct prng *prng))
{
    struct prng prng = {.state = seed};
    struct error err;
    SCOPED(mem_scope) char *piece = mem_alloc(PIECE, 1);
    SCOPED(fd_scope) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        die(path, NULL);
    for (int64_t at = 0; at < bytes; at += PIECE) {
        fill(piece, &prng);
        need(file_write_all(fd, piece, PIECE, &err), path, &err);
    }
    if (fsync(fd) < 0)
        die(path, NULL);
}

static int open_new(const struct bench *bench, const char *name, char path[4096])
{
    struct error err;
    snprintf(path, 4096, "%s/%s", bench->folder, name);
    need(file_remove_tree(path, &err), path, &err);
    need(file_make_dirs(path, 0700, &err), path, &err);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        die(path, NULL);
    return fd;
}

/* ---- figures ------------------------------------------------------------------------------- */

static void put(struct bench *bench, const char *kind, const char *what, double value)
{
    strbuf_printf(&bench->json, "%s\"%s%s%s\": %.6g", bench->json.length ? ", " : "", kind,
        *kind ? "." : "", what, value);
}

static void put_rate(struct bench *bench, const char *kind, const char *what, int64_t begin_ns)
{
    put(bench, kind, what,
        (double)bench->bytes / 1e6 / ((double)(clock_monotonic_ns() - begin_ns) / 1e9));
}

static double cpu_s(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* A shell command with the folder as its own. */
static void peer(struct bench *bench, const char *kind, const char *what, const char *command)
{
    struct strbuf line = {0};
    int64_t begin = clock_monotonic_ns();
    strbuf_printf(&line, "cd '%s' && %s", bench->folder, command);
    if (system(line.text) != 0)
        die(line.text, NULL);
    strbuf_finish(&line);
    put_rate(bench, kind, what, begin);
}

static void sync_tree(int fd)
{
    if (syncfs(fd) < 0)
        die("syncfs", NULL);
}

static void measure(
    struct bench *bench, const char *kind, void (*fill)(char *piece, struct prng *prng))
{
    char path[4096], file[4200];
    struct artifact_facts facts;
    struct error err;
    SCOPED(fd_scope) int from = open_new(bench, "from", path);
    snprintf(file, sizeof file, "%s/model", path);
    make_file(file, bench->bytes, (uint64_t)clock_monotonic_ns(), fill);
    /* Every input in the page cache; nobody's output on its way to the disk. */
    sync_tree(from);
    peer(bench, kind, "cp", "cp from/model copy && sync copy");
    double cpu = cpu_s();
    int64_t begin = clock_monotonic_ns();
    need(registry_ingest(bench->registry, "bench", from, 0, &facts, &err), "ingest", &err);
    put_rate(bench, kind, "ingest", begin);
    put(bench, kind, "ingest_cpu_ms_per_mib",
        (cpu_s() - cpu) * 1e3 / ((double)bench->bytes / PIECE));
    put(bench, kind, "ingest_ratio", (double)facts.bytes / (double)facts.new_stored);
    peer(bench, kind, "zstd1", "zstd -q -f -1 -T1 from/model -o packed && sync packed");
    struct stat st;
    snprintf(file, sizeof file, "%s/packed", bench->folder);
    if (stat(file, &st) == 0)
        put(bench, kind, "zstd1_ratio", (double)bench->bytes / (double)st.st_size);
    peer(bench, kind, "zstd3", "zstd -q -f -3 -T1 from/model -o packed && sync packed");
    SCOPED(fd_scope) int to = open_new(bench, "to", path);
    begin = clock_monotonic_ns();
    need(registry_extract(bench->registry, facts.tree, to, &err), "extract", &err);
    sync_tree(to);
    put_rate(bench, kind, "extract", begin);
    peer(bench, kind, "cp_again", "cp from/model copy && sync copy");
}

/* Ten versions of a model of ten layers, each with one layer new. */
static void measure_dedup(struct bench *bench)
{
    char path[4096], file[4200];
    struct artifact_facts facts;
    struct error err;
    int64_t raw = 0, stored = 0;
    uint64_t seed = (uint64_t)clock_monotonic_ns();
    SCOPED(fd_scope) int from = open_new(bench, "layers", path);
    for (int version = 0; version < VERSIONS; version++) {
        for (int layer = 0; layer < LAYERS; layer++) {
            snprintf(file, sizeof file, "%s/%d", path, layer);
            if (version == 0 || layer == version % LAYERS)
                make_file(file, LAYER_BYTES, seed++, fill_random);
        }
        need(registry_ingest(bench->registry, "bench", from, 0, &facts, &err), "ingest", &err);
        raw += facts.bytes;
        stored += facts.new_stored;
    }
    put(bench, "", "dedup", (double)raw / (double)stored);
}

/* What the server does first when a client sends a model of 20 GB. */
static void measure_missing(struct bench *bench)
{
    struct error err;
    struct prng prng = {.state = 1};
    SCOPED(mem_scope) char(*digests)[65] = mem_alloc(MISSING, sizeof *digests);
    SCOPED(mem_scope) bool *missing = mem_alloc(MISSING, sizeof *missing);
    for (int i = 0; i < MISSING; i++)
        for (int k = 0; k < 4; k++)
            snprintf(digests[i] + 16 * k, 17, "%016llx", (unsigned long long)prng_next(&prng));
    int64_t begin = clock_monotonic_ns();
    need(registry_missing(
             bench->registry, "bench", (const char(*)[65])digests, MISSING, missing, &err),
        "missing", &err);
    put(bench, "", "missing_ms", (double)(clock_monotonic_ns() - begin) / 1e6);
}

int main(int argc, char **argv)
{
    struct bench bench = {.folder = argc == 3 ? argv[1] : ""};
    struct error err;
    bench.bytes = argc == 3 ? atoll(argv[2]) * PIECE : 0;
    if (bench.bytes < PIECE) {
        fprintf(stderr, "usage: registry FOLDER MIB\n");
        return 2;
    }
    need(registry_open(bench.folder, &bench.registry, &err), "open", &err);
    measure(&bench, "random", fill_random);
    measure(&bench, "words", fill_words);
    measure_dedup(&bench);
    measure_missing(&bench);
    registry_close(bench.registry);
    printf("{%s}\n", strbuf_text(&bench.json));
    strbuf_finish(&bench.json);
    return 0;
}
