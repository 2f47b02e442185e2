/* Snapshots: canonical bytes out, nothing outside touched when hostile bytes come in. */
#include "base/file.h"
#include "base/memory.h"
#include "engine/snapshot.h"
#include "engine/snapshot_entry.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    char from[40];
    char to[40];
    int from_fd;
    int to_fd;
    int stream;
    struct snapshot_limits limits;
};

static int set_up(void **state)
{
    struct fixture *fixture = mem_alloc(1, sizeof *fixture);
    strcpy(fixture->from, "/tmp/muster-from-XXXXXX");
    strcpy(fixture->to, "/tmp/muster-to-XXXXXX");
    assert_non_null(mkdtemp(fixture->from));
    assert_non_null(mkdtemp(fixture->to));
    fixture->from_fd = open(fixture->from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fixture->to_fd = open(fixture->to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fixture->stream = memfd_create("stream", MFD_CLOEXEC);
    fixture->limits = snapshot_default_limits();
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    close(fixture->from_fd);
    close(fixture->to_fd);
    close(fixture->stream);
    int result = file_remove_tree(fixture->from, NULL) | file_remove_tree(fixture->to, NULL);
    free(fixture);
    return result;
}

static int shell(const struct fixture *fixture, const char *script)
{
    char command[1000];
    snprintf(command, sizeof command, "cd %s && { %s; } 2>/dev/null", fixture->from, script);
    return system(command);
}

static void assert_unpacks_the_same(struct fixture *fixture)
{
    char packed[65], verified[65], again[65], command[200];
    struct error err;
    SCOPED(fd_scope) int second = memfd_create("second", MFD_CLOEXEC);
    if (snapshot_pack(fixture->from_fd, fixture->stream, &fixture->limits, packed, &err) < 0 ||
        snapshot_verify(fixture->stream, &fixture->limits, verified, &err) < 0 ||
        snapshot_unpack(fixture->stream, fixture->to_fd, &fixture->limits, &err) < 0 ||
        snapshot_pack(fixture->to_fd, second, &fixture->limits, again, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(packed, verified);
    assert_string_equal(packed, again);
    snprintf(command, sizeof command, "diff -r --no-dereference %s %s", fixture->from, fixture->to);
    assert_int_equal(system(command), 0);
}

static void test_a_folder_comes_back(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(
        shell(fixture,
            "mkdir -p a/b a-b empty && echo one > a/b/file && printf x > a-b/x && echo run > a/run "
            "&& "
            "chmod 755 a/run && ln -s ../a/run a-b/link && head -c 1000000 /dev/urandom > big && "
            "head -c 512 /dev/zero > block && : > none && echo u > '\xc3\xbcn\xc3\xaf"
            "code name'"),
        0);
    assert_unpacks_the_same(fixture);
    struct stat st;
    assert_int_equal(fstatat(fixture->to_fd, "a/run", &st, 0), 0);
    assert_int_equal(st.st_mode & 0777, 0755);
    assert_int_equal(fstatat(fixture->to_fd, "big", &st, 0), 0);
    assert_int_equal(st.st_mode & 0777, 0644);
}

static void test_long_paths_come_back(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(shell(fixture, "d=$(printf %070d 0); mkdir -p $d/$d && echo x > "
                                    "$d/$d/$(printf %090d 1) && echo y > $d/f"),
        0);
    assert_unpacks_the_same(fixture);
}

static void test_the_digest_depends_on_content_alone(void **state)
{
    struct fixture *fixture = *state;
    char first[65], second[65];
    assert_int_equal(shell(fixture, "echo a > x; echo b > y; mkdir .git; echo c > .git/config"), 0);
    assert_int_equal(
        snapshot_pack(fixture->from_fd, fixture->stream, &fixture->limits, first, NULL), 0);
    assert_int_equal(
        shell(fixture, "rm -r x y .git; umask 077; echo b > y; echo a > x; touch -d 1999-01-01 x"),
        0);
    assert_int_equal(
        snapshot_pack(fixture->from_fd, fixture->stream, &fixture->limits, second, NULL), 0);
    assert_string_equal(first, second);
}

static void test_tar_reads_it(void **state)
{
    struct fixture *fixture = *state;
    char digest[65], path[64];
    assert_int_equal(shell(fixture, "mkdir d; echo a > d/x; ln -s d/x l"), 0);
    assert_int_equal(
        snapshot_pack(fixture->from_fd, fixture->stream, &fixture->limits, digest, NULL), 0);
    snprintf(path, sizeof path, "[ \"$(tar tf /proc/%d/fd/%d | tr '\\n' ' ')\" = 'd/ d/x l ' ]",
        getpid(), fixture->stream);
    assert_int_equal(system(path), 0);
}

static void test_what_cannot_be_in_a_snapshot_is_named(void **state)
{
    static const char *const scripts[] = {"mkfifo bad", "ln -s /etc/passwd bad", "ln -s ../x bad",
        "mkdir d; ln -s ../../x d/bad", "ln -s $(printf %0120d 1) bad"};
    struct fixture *fixture = *state;
    for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
        char digest[65];
        struct error err;
        assert_int_equal(shell(fixture, scripts[i]), 0);
        assert_int_equal(
            snapshot_pack(fixture->from_fd, fixture->stream, &fixture->limits, digest, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
        assert_non_null(strstr(err.text, "bad"));
        assert_int_equal(shell(fixture, "rm -rf d bad"), 0);
    }
}

static void test_bounds_hold_when_packing(void **state)
{
    struct fixture *fixture = *state;
    char digest[65];
    struct error err;
    assert_int_equal(shell(fixture, "echo a > x; echo b > y; head -c 100000 /dev/zero > z"), 0);
    struct snapshot_limits few = {.bytes = 1 << 20, .entries = 2};
    struct snapshot_limits small = {.bytes = 50000, .entries = 10};
    assert_int_equal(snapshot_pack(fixture->from_fd, fixture->stream, &few, digest, &err), -1);
    assert_int_equal(err.code, ERR_TOO_LARGE);
    assert_int_equal(snapshot_pack(fixture->from_fd, fixture->stream, &small, digest, &err), -1);
    assert_int_equal(err.code, ERR_TOO_LARGE);
}

/* ---- Hostile streams --------------------------------------------------------------------- */

struct piece {
    const char *path;
    enum snapshot_type type;
    const char *target;
};

/* A header for a path that snapshot_entry_encode may refuse: made from a plain one. */
static void write_piece(int fd, const struct piece *piece)
{
    struct snapshot_entry entry = {.type = piece->type};
    char block[SNAPSHOT_BLOCK];
    unsigned sum = 0;
    /* The encoder puts the slash of a folder itself. */
    memset(
        entry.path, 'p', strlen(piece->path) - (piece->type == SNAPSHOT_FOLDER && piece->path[1]));
    if (piece->target)
        memset(entry.target, 't', strlen(piece->target));
    assert_true(snapshot_entry_encode(&entry, block));
    memcpy(block, piece->path, strlen(piece->path));
    if (piece->target)
        memcpy(block + 157, piece->target, strlen(piece->target));
    memset(block + 148, ' ', 8);
    for (size_t i = 0; i < sizeof block; i++)
        sum += (unsigned char)block[i];
    snprintf(block + 148, 8, "%06o", sum);
    block[155] = ' ';
    assert_int_equal(file_write_all(fd, block, sizeof block, NULL), 0);
}

static void test_streams_that_lead_outside_are_refused(void **state)
{
    static const struct piece streams[][3] = {
        {{"../evil", SNAPSHOT_FILE, NULL}},
        {{"/tmp/evil", SNAPSHOT_FILE, NULL}},
        {{"a/../../evil", SNAPSHOT_FILE, NULL}},
        {{"./evil", SNAPSHOT_FILE, NULL}},
        {{"a//evil", SNAPSHOT_FILE, NULL}},
        {{"evil/x", SNAPSHOT_FILE, NULL}},
        {{"a", SNAPSHOT_LINK, "/tmp"}},
        {{"a", SNAPSHOT_LINK, "../.."}},
        {{"a", SNAPSHOT_LINK, "b"}, {"a/evil", SNAPSHOT_FILE, NULL}},
        {{"b", SNAPSHOT_FILE, NULL}, {"a", SNAPSHOT_FILE, NULL}},
        {{"a", SNAPSHOT_FILE, NULL}, {"a", SNAPSHOT_FILE, NULL}},
        {{"a/", SNAPSHOT_FOLDER, NULL}, {"a", SNAPSHOT_LINK, "b"}},
        {{"a", SNAPSHOT_FILE, NULL}, {"a/b", SNAPSHOT_FILE, NULL}},
    };
    static const char zeros[2 * SNAPSHOT_BLOCK];
    struct fixture *fixture = *state;
    for (size_t i = 0; i < ARRAY_LEN(streams); i++) {
        struct error err;
        assert_int_equal(ftruncate(fixture->stream, 0), 0);
        lseek(fixture->stream, 0, SEEK_SET);
        for (size_t j = 0; j < 3 && streams[i][j].path; j++)
            write_piece(fixture->stream, &streams[i][j]);
        assert_int_equal(file_write_all(fixture->stream, zeros, sizeof zeros, NULL), 0);
        SCOPED(fd_scope) int folder = -1;
        assert_int_equal(file_remove_tree(fixture->to, NULL), 0);
        assert_int_equal(mkdir(fixture->to, 0700), 0);
        folder = open(fixture->to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (snapshot_unpack(fixture->stream, folder, &fixture->limits, &err) == 0)
            fail_msg("stream %zu was accepted", i);
        assert_int_equal(err.code, ERR_INVALID);
    }
    assert_int_equal(access("/tmp/evil", F_OK), -1);
}

/* The pieces above are refused for what they say, not for how they are written. */
static void test_pieces_that_stay_inside_are_accepted(void **state)
{
    static const struct piece pieces[] = {{"a", SNAPSHOT_FOLDER, NULL},
        {"a/b", SNAPSHOT_FILE, NULL}, {"a/c", SNAPSHOT_LINK, "../x"}, {"x", SNAPSHOT_FILE, NULL}};
    static const char zeros[2 * SNAPSHOT_BLOCK];
    struct fixture *fixture = *state;
    struct error err;
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        struct piece piece = pieces[i];
        piece.path = piece.type == SNAPSHOT_FOLDER ? "a/" : piece.path;
        write_piece(fixture->stream, &piece);
    }
    assert_int_equal(file_write_all(fixture->stream, zeros, sizeof zeros, NULL), 0);
    if (snapshot_unpack(fixture->stream, fixture->to_fd, &fixture->limits, &err) < 0)
        fail_msg("%s", err.text);
}

/* Any byte changed in a header must be noticed; in content it changes the digest. */
static void test_every_byte_of_a_stream_matters(void **state)
{
    struct fixture *fixture = *state;
    char digest[65], other[65];
    struct stat st;
    assert_int_equal(shell(fixture, "mkdir d; echo a > d/x; ln -s d/x l"), 0);
    assert_int_equal(
        snapshot_pack(fixture->from_fd, fixture->stream, &fixture->limits, digest, NULL), 0);
    assert_int_equal(fstat(fixture->stream, &st), 0);
    for (off_t at = 0; at < st.st_size; at++) {
        char byte, changed;
        assert_int_equal(pread(fixture->stream, &byte, 1, at), 1);
        changed = (char)(byte ^ 0x15);
        assert_int_equal(pwrite(fixture->stream, &changed, 1, at), 1);
        if (snapshot_verify(fixture->stream, &fixture->limits, other, NULL) == 0)
            assert_string_not_equal(digest, other);
        assert_int_equal(pwrite(fixture->stream, &byte, 1, at), 1);
    }
    for (off_t size = 0; size < st.st_size; size += 100) {
        assert_int_equal(ftruncate(fixture->stream, st.st_size - size - 1), 0);
        assert_int_equal(snapshot_verify(fixture->stream, &fixture->limits, other, NULL), -1);
    }
}

static void test_existing_files_are_not_written_over(void **state)
{
    struct fixture *fixture = *state;
    char digest[65];
    assert_int_equal(shell(fixture, "echo new > x"), 0);
    assert_int_equal(
        snapshot_pack(fixture->from_fd, fixture->stream, &fixture->limits, digest, NULL), 0);
    assert_int_equal(symlinkat("/tmp/elsewhere", fixture->to_fd, "x"), 0);
    assert_int_equal(snapshot_unpack(fixture->stream, fixture->to_fd, &fixture->limits, NULL), -1);
    assert_int_equal(access("/tmp/elsewhere", F_OK), -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_folder_comes_back),
        TEST(test_long_paths_come_back),
        TEST(test_the_digest_depends_on_content_alone),
        TEST(test_tar_reads_it),
        TEST(test_what_cannot_be_in_a_snapshot_is_named),
        TEST(test_bounds_hold_when_packing),
        TEST(test_streams_that_lead_outside_are_refused),
        TEST(test_pieces_that_stay_inside_are_accepted),
        TEST(test_every_byte_of_a_stream_matters),
        TEST(test_existing_files_are_not_written_over),
    };
    return cmocka_run_group_tests_name("snapshots", tests, NULL, NULL);
}
