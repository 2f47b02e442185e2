/* Tests of usage files: what a worker counted is read after its SIGKILL, whose gateway lives is
 * told apart, and files that lie are named. */
#include "base/file.h"
#include "base/memory.h"
#include "base/test.h"
#include "gateway/usage.h"
#include "gateway/usage_format.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "%s", "/tmp/muster-usage-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return file_remove_tree(folder, NULL);
}

static const struct usage_series digits = {.service = "vision/digits",
    .version = 3,
    .replica = 7,
    .key = "k1",
    .team = "vision",
    .labels = "project=x"};

/* What was read: the sum over all series, and the last series seen. */
struct sum {
    size_t series;
    uint64_t requests, succeeded, latency;
    struct usage_series last;
};

static int add_up(void *context, const char *file, const struct usage_series *series,
    const struct usage_counts *counts, struct error *err)
{
    struct sum *sum = context;
    (void)file, (void)err;
    if (counts->requests == 0)
        return 0;
    sum->series++;
    sum->requests += counts->requests;
    sum->succeeded += counts->succeeded;
    sum->latency += counts->latency[0];
    sum->last = *series;
    return 0;
}

static struct sum read_all(char **ret_dead)
{
    struct sum sum = {0};
    assert_int_equal(usage_read_all(folder, add_up, &sum, ret_dead, NULL), 0);
    return sum;
}

static void test_what_is_counted_is_read(void **state)
{
    (void)state;
    struct usage_file *file;
    assert_int_equal(usage_file_create(folder, "abc", 0, &file, NULL), 0);
    usage_add(&usage_counts_of(file, &digits)->requests, 2);
    usage_add(&usage_counts_of(file, &digits)->requests, 3);
    usage_add(&usage_counts_of(file, &digits)->latency[0], 5);
    struct usage_series other = digits;
    other.version = 4;
    usage_add(&usage_counts_of(file, &other)->requests, 1);
    /* Where one text ends and the next begins tells series apart. */
    struct usage_series moved = digits;
    snprintf(moved.key, sizeof moved.key, "%s", "k1vision");
    moved.team[0] = '\0';
    assert_ptr_not_equal(usage_counts_of(file, &moved), usage_counts_of(file, &digits));
    moved = digits;
    snprintf(moved.labels, sizeof moved.labels, "%s", "project=y");
    assert_ptr_not_equal(usage_counts_of(file, &moved), usage_counts_of(file, &digits));
    SCOPED(mem_scope) char *dead = NULL;
    struct sum sum = read_all(&dead);
    assert_int_equal(sum.series, 2);
    assert_int_equal(sum.requests, 6);
    assert_int_equal(sum.latency, 5);
    assert_string_equal(sum.last.service, "vision/digits");
    assert_string_equal(sum.last.key, "k1");
    assert_string_equal(dead, "");
    struct error err;
    assert_int_equal(usage_file_remove(folder, "abc-0", &err), -1);
    assert_int_equal(err.code, ERR_CONFLICT);
    usage_file_close(file);
}

static void test_a_folder_that_is_not_there_has_no_usage(void **state)
{
    (void)state;
    struct sum sum = {0};
    assert_int_equal(usage_read_all("/tmp/muster-no-such-folder", add_up, &sum, NULL, NULL), 0);
    assert_int_equal(sum.series, 0);
}

/* The child tells how far it is before and after each count; it is killed in the middle. */
static void count_for_ever(int fd)
{
    struct usage_file *file;
    if (usage_file_create(folder, "child", 1, &file, NULL) < 0)
        _exit(1);
    for (uint64_t i = 1;; i++) {
        struct usage_series series = digits;
        series.replica = i % 100 + 1;
        struct usage_counts *counts = usage_counts_of(file, &series);
        usage_add(&counts->requests, 1);
        usage_add(&counts->succeeded, 1);
        if (write(fd, &i, sizeof i) != sizeof i)
            _exit(2);
    }
}

static void test_a_sigkill_loses_and_doubles_nothing(void **state)
{
    (void)state;
    int fds[2], status;
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    if (child == 0)
        count_for_ever(fds[1]);
    close(fds[1]);
    uint64_t told = 0, next;
    while (told < 5000 && read(fds[0], &next, sizeof next) == sizeof next)
        told = next;
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status));
    while (read(fds[0], &next, sizeof next) == sizeof next)
        told = next;
    close(fds[0]);
    SCOPED(mem_scope) char *dead = NULL;
    struct sum sum = read_all(&dead);
    assert_in_range(sum.requests, told, told + 1);
    assert_in_range(sum.succeeded, told, told + 1);
    assert_string_equal(dead, "child-1\n");
    assert_int_equal(usage_file_remove(folder, "child-1", NULL), 0);
    assert_int_equal(usage_file_remove(folder, "child-1", NULL), 0);
    assert_int_equal(read_all(NULL).series, 0);
}

static void test_a_full_file_counts_in_the_overflow(void **state)
{
    (void)state;
    struct usage_file *file;
    enum { SERVICES = 300, SERIES = USAGE_SERIES_MAX + 5000 };
    assert_int_equal(usage_file_create(folder, "full", 0, &file, NULL), 0);
    for (int i = 0; i < SERIES; i++) {
        struct usage_series series = {.replica = (uint64_t)i + 1};
        snprintf(series.service, sizeof series.service, "team/s%d", i % SERVICES);
        usage_add(&usage_counts_of(file, &series)->requests, 1);
    }
    struct sum sum = read_all(NULL);
    assert_int_equal(sum.requests, SERIES);
    assert_in_range(sum.series, USAGE_SERIES_MAX - 1, USAGE_SERIES_MAX);
    usage_file_close(file);
}

static void test_long_names_are_cut_between_characters(void **state)
{
    (void)state;
    struct usage_file *file;
    struct usage_series series = digits;
    memset(series.service, 'a', USAGE_NAME);
    memcpy(series.service + USAGE_NAME - 2, "\xc3\xa9", 2);
    memset(series.key, 'k', USAGE_NAME);
    assert_int_equal(usage_file_create(folder, "long", 0, &file, NULL), 0);
    usage_add(&usage_counts_of(file, &series)->requests, 1);
    struct sum sum = read_all(NULL);
    assert_int_equal(strlen(sum.last.service), USAGE_NAME - 2);
    assert_int_equal(strlen(sum.last.key), USAGE_NAME - 1);
    usage_file_close(file);
}

static void damage(const char *name, off_t at, const void *bytes, size_t length)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, length, at), length);
    close(fd);
}

static void make_file(const char *incarnation)
{
    struct usage_file *file;
    assert_int_equal(usage_file_create(folder, incarnation, 0, &file, NULL), 0);
    usage_add(&usage_counts_of(file, &digits)->requests, 1);
    usage_file_close(file);
}

static void test_files_that_lie_are_named_and_the_others_read(void **state)
{
    (void)state;
    const off_t record = offsetof(struct usage_map, records);
    const struct {
        off_t at;
        const char *bytes;
        size_t length;
    } cases[] = {
        {0, "X", 1},
        {offsetof(struct usage_header, record_bytes), "\x08\0\0\0", 4},
        {offsetof(struct usage_header, series_max), "\xff\xff\xff\xff", 4},
        {record, "\x02", 1},
        {record + (off_t)offsetof(struct usage_record, series.service), "\xff", 1},
        {record + (off_t)offsetof(struct usage_record, series.service), "a\nb", 4},
    };
    make_file("good");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sum sum = {0};
        struct error err = {0};
        make_file("bad");
        damage("bad-0", cases[i].at, cases[i].bytes, cases[i].length);
        SCOPED(mem_scope) char *dead = NULL;
        assert_int_equal(usage_read_all(folder, add_up, &sum, &dead, &err), -1);
        assert_int_equal(err.code, ERR_CORRUPT);
        assert_non_null(strstr(err.text, "bad-0"));
        assert_int_equal(sum.requests, 1);
        assert_string_equal(dead, "good-0\n");
    }
}

/* A file whose header, series and records are as long as the arguments say: as an older or a newer
 * gateway makes it. Its counters are 1, 2, 3 and so on. */
static void write_version(
    const char *magic, size_t header_bytes, size_t series_bytes, size_t counters)
{
    struct usage_header header = {.record_bytes = (uint32_t)(8 + series_bytes + 8 * counters),
        .series_max = USAGE_SERIES_MAX,
        .header_bytes = (uint32_t)header_bytes,
        .series_bytes = (uint32_t)series_bytes,
        .counters = (uint32_t)counters};
    size_t size = header_bytes + 2 * header.record_bytes;
    SCOPED(mem_scope) unsigned char *bytes = mem_alloc(size, 1);
    const uint64_t published = USAGE_PUBLISHED;
    char path[128];
    memcpy(header.magic, magic, sizeof header.magic);
    memcpy(bytes, &header, header_bytes < sizeof header ? header_bytes : sizeof header);
    unsigned char *record = bytes + header_bytes;
    memcpy(record, &published, sizeof published);
    memcpy(record + 8, &digits, series_bytes < sizeof digits ? series_bytes : sizeof digits);
    for (uint64_t i = 0; i < counters; i++) {
        const uint64_t value = i + 1;
        memcpy(record + 8 + series_bytes + 8 * i, &value, sizeof value);
    }
    snprintf(path, sizeof path, "%s/version", folder);
    assert_int_equal(file_write(path, (const char *)bytes, size, 0600, NULL), 0);
}

struct kept {
    size_t visited;
    struct usage_series series;
    struct usage_counts counts;
};

static int keep(void *context, const char *file, const struct usage_series *series,
    const struct usage_counts *counts, struct error *err)
{
    struct kept *kept = context;
    (void)file, (void)err;
    kept->visited++;
    kept->series = *series;
    kept->counts = *counts;
    return 0;
}

static void test_files_of_older_and_newer_gateways_are_read_as_far_as_they_are_known(void **state)
{
    (void)state;
    const struct {
        const char *magic;
        size_t header, series, counters;
    } versions[] = {
        {USAGE_MAGIC_1, USAGE_HEADER_BYTES_1, USAGE_SERIES_BYTES_1, USAGE_COUNTERS_1},
        {USAGE_MAGIC, sizeof(struct usage_header), sizeof(struct usage_series), USAGE_COUNTERS},
        {USAGE_MAGIC, sizeof(struct usage_header) + 48, sizeof(struct usage_series) + 64,
            USAGE_COUNTERS + 7},
    };
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        struct kept kept = {0};
        struct error err;
        write_version(
            versions[i].magic, versions[i].header, versions[i].series, versions[i].counters);
        assert_int_equal(usage_read_all(folder, keep, &kept, NULL, &err), 0);
        assert_int_equal(kept.visited, 1);
        assert_string_equal(kept.series.service, digits.service);
        assert_string_equal(kept.series.key, digits.key);
        assert_string_equal(kept.series.team, i == 0 ? "" : digits.team);
        assert_string_equal(kept.series.labels, i == 0 ? "" : digits.labels);
        assert_int_equal(kept.counts.requests, 1);
        assert_int_equal(kept.counts.latency[23], USAGE_COUNTERS_1);
        assert_int_equal(kept.counts.cache_hits, i == 0 ? 0 : USAGE_COUNTERS_1 + 1);
        assert_int_equal(kept.counts.scores[10], i == 0 ? 0 : USAGE_COUNTERS);
    }
}

static void test_versions_that_do_not_add_up_are_corrupt(void **state)
{
    (void)state;
    const struct {
        const char *magic;
        size_t header, series, counters;
    } versions[] = {
        {USAGE_MAGIC_1, USAGE_HEADER_BYTES_1, USAGE_SERIES_BYTES_1 + 8, USAGE_COUNTERS_1},
        {USAGE_MAGIC, sizeof(struct usage_header), USAGE_SERIES_BYTES_1, USAGE_COUNTERS_1},
        {USAGE_MAGIC, sizeof(struct usage_header) + 4, sizeof(struct usage_series), USAGE_COUNTERS},
        {USAGE_MAGIC, sizeof(struct usage_header), sizeof(struct usage_series), 1 << 14},
        {"MUSTUSG3", sizeof(struct usage_header), sizeof(struct usage_series), USAGE_COUNTERS},
    };
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        struct kept kept = {0};
        struct error err = {0};
        write_version(
            versions[i].magic, versions[i].header, versions[i].series, versions[i].counters);
        assert_int_equal(usage_read_all(folder, keep, &kept, NULL, &err), -1);
        assert_int_equal(err.code, ERR_CORRUPT);
        assert_int_equal(kept.visited, 0);
    }
}

static void test_a_name_without_end_is_corrupt(void **state)
{
    (void)state;
    char name[USAGE_NAME];
    struct error err = {0};
    struct sum sum = {0};
    memset(name, 'a', sizeof name);
    make_file("bad");
    damage("bad-0",
        offsetof(struct usage_map, records) + (off_t)offsetof(struct usage_record, series.service),
        name, sizeof name);
    assert_int_equal(usage_read_all(folder, add_up, &sum, NULL, &err), -1);
    assert_int_equal(err.code, ERR_CORRUPT);
}

static void test_short_files_links_and_folders_are_corrupt(void **state)
{
    (void)state;
    char path[128];
    struct sum sum = {0};
    struct error err = {0};
    snprintf(path, sizeof path, "%s/short", folder);
    assert_int_equal(file_write(path, "abc", 3, 0600, NULL), 0);
    assert_int_equal(usage_read_all(folder, add_up, &sum, NULL, &err), -1);
    assert_int_equal(err.code, ERR_CORRUPT);
    unlink(path);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    assert_int_equal(usage_read_all(folder, add_up, &sum, NULL, &err), -1);
    assert_int_equal(err.code, ERR_CORRUPT);
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(usage_read_all(folder, add_up, &sum, NULL, &err), -1);
    assert_int_equal(err.code, ERR_CORRUPT);
    assert_int_equal(usage_file_remove(folder, "../x", &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
}

static int refuse(void *context, const char *file, const struct usage_series *series,
    const struct usage_counts *counts, struct error *err)
{
    (void)context, (void)file, (void)series, (void)counts;
    return error_set(err, ERR_FULL, "no more");
}

static void test_an_error_of_the_visitor_ends_the_reading(void **state)
{
    (void)state;
    struct error err = {0};
    char *dead = NULL;
    make_file("good");
    assert_int_equal(usage_read_all(folder, refuse, NULL, &dead, &err), -1);
    assert_int_equal(err.code, ERR_FULL);
    assert_null(dead);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_what_is_counted_is_read),
        IN_FOLDER(test_a_folder_that_is_not_there_has_no_usage),
        IN_FOLDER(test_a_sigkill_loses_and_doubles_nothing),
        IN_FOLDER(test_a_full_file_counts_in_the_overflow),
        IN_FOLDER(test_long_names_are_cut_between_characters),
        IN_FOLDER(test_files_that_lie_are_named_and_the_others_read),
        IN_FOLDER(test_files_of_older_and_newer_gateways_are_read_as_far_as_they_are_known),
        IN_FOLDER(test_versions_that_do_not_add_up_are_corrupt),
        IN_FOLDER(test_a_name_without_end_is_corrupt),
        IN_FOLDER(test_short_files_links_and_folders_are_corrupt),
        IN_FOLDER(test_an_error_of_the_visitor_ends_the_reading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
