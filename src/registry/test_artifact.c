/* Artifacts from end to end: taken in, sent by a client, read, extracted, verified. */
#include "registry/test_support.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/strbuf.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* What the shell line of registry.h prints for a folder. */
static void shell_digest(const char *folder, char out[65])
{
    char command[1000];
    snprintf(command, sizeof command,
        "cd '%s' && find . -type f -printf '%%P\\n' | LC_ALL=C sort | xargs -d '\\n' sha256sum -- "
        "| sha256sum",
        folder);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    assert_int_equal(fread(out, 1, 64, pipe), 64);
    out[64] = '\0';
    pclose(pipe);
}

static void test_ingest_gives_the_digest_of_the_shell(void **state)
{
    struct world *world = *state;
    struct artifact_facts facts;
    char shell[65];
    world_write(world, "model.bin", 9 << 20, 1);
    world_write(world, "a b/c\xc3\xa4 'x'.txt", 100, 2);
    world_write(world, "a-b", 1, 3);
    world_write(world, "a/b", 300000, 4);
    world_write(world, "--help", 5, 5);
    world_write(world, "empty", 0, 6);
    assert_ok(registry_ingest(world->registry, "red", world->from_fd, 0, &facts, &world->err));
    shell_digest(world->from, shell);
    assert_string_equal(facts.digest, shell);
    assert_int_equal(facts.files, 6);
    assert_int_equal(facts.bytes, (9 << 20) + 100 + 1 + 300000 + 5);
    assert_int_equal(facts.new_bytes, facts.bytes);
    assert_ok(registry_verify(world->registry, facts.tree, &world->err));
}

static void test_extracted_files_are_those_taken_in(void **state)
{
    struct world *world = *state;
    struct artifact_facts facts;
    char before[65], after[65];
    world_write(world, "deep/er/model.bin", 11 << 20, 7);
    world_write(world, "deep/text", 4000, 8);
    world_write(world, "empty", 0, 9);
    assert_ok(registry_ingest(world->registry, "red", world->from_fd, 0, &facts, &world->err));
    assert_ok(registry_extract(world->registry, facts.tree, world->to_fd, &world->err));
    shell_digest(world->from, before);
    shell_digest(world->to, after);
    assert_string_equal(before, after);
}

static void test_what_is_there_is_stored_once(void **state)
{
    enum { LAYERS = 10, VERSIONS = 10, LAYER_BYTES = 3 << 20 };
    struct world *world = *state;
    struct artifact_facts facts;
    int64_t raw = 0, stored = 0;
    char path[32];
    for (int layer = 0; layer < LAYERS; layer++) {
        snprintf(path, sizeof path, "layer-%d", layer);
        world_write(world, path, LAYER_BYTES, (uint64_t)layer);
    }
    for (int version = 0; version < VERSIONS; version++) {
        snprintf(path, sizeof path, "layer-%d", version % LAYERS);
        world_write(world, path, LAYER_BYTES, 1000 + (uint64_t)version);
        assert_ok(registry_ingest(world->registry, "red", world->from_fd, 0, &facts, &world->err));
        raw += facts.bytes;
        stored += facts.new_stored;
        assert_int_equal(facts.new_bytes, version ? LAYER_BYTES : LAYERS * LAYER_BYTES);
    }
    /* Ten whole versions in the room of one and nine layers. */
    assert_true(stored < raw * 2 / 10);
}

static void test_teams_share_bytes_but_not_knowledge(void **state)
{
    struct world *world = *state;
    struct artifact_facts red, blue;
    char digests[2][65];
    bool missing[2];
    void *stored;
    size_t size;
    world_write(world, "model", 3 << 20, 1);
    assert_ok(registry_ingest(world->registry, "red", world->from_fd, 0, &red, &world->err));
    world_chunk_digest(world, red.tree, 0, digests[0]);
    memset(digests[1], 'a', 64);
    digests[1][64] = '\0';
    assert_ok(registry_missing(world->registry, "red", digests, 2, missing, &world->err));
    assert_false(missing[0]);
    assert_true(missing[1]);
    assert_ok(registry_missing(world->registry, "blue", digests, 2, missing, &world->err));
    assert_true(missing[0]);
    assert_refused(
        registry_get_chunk(world->registry, "blue", digests[0], &stored, &size, &world->err),
        ERR_NOT_FOUND, digests[0]);
    assert_ok(registry_ingest(world->registry, "blue", world->from_fd, 0, &blue, &world->err));
    assert_int_equal(blue.new_bytes, 0);
    assert_string_equal(blue.tree, red.tree);
    assert_ok(registry_missing(world->registry, "blue", digests, 2, missing, &world->err));
    assert_false(missing[0]);
    assert_refused(registry_missing(world->registry, "../red", digests, 1, missing, &world->err),
        ERR_INVALID, "team");
}

/* ---- what clients send ------------------------------------------------------------------- */

struct sending {
    struct world *world;
    const char *team;
    size_t sent;
};

static int send_chunk(void *context, const char *path, int64_t offset, const void *raw, size_t size,
    const char *digest, struct error *err)
{
    struct sending *sending = context;
    SCOPED(mem_scope) void *stored = mem_alloc(OBJECT_STORED_MAX, 1);
    char is[65];
    (void)path;
    (void)offset;
    size_t packed = registry_pack_chunk(raw, size, stored, is);
    assert_string_equal(is, digest);
    sending->sent++;
    return registry_put_chunk(sending->world->registry, sending->team, digest, stored, packed, err);
}

static char *send_all(struct world *world, const char *team, struct artifact_facts *facts)
{
    struct sending sending = {.world = world, .team = team};
    char *text;
    size_t size;
    assert_ok(registry_cut_folder(
        world->from_fd, 0, send_chunk, &sending, &text, &size, facts, &world->err));
    assert_int_equal(strlen(text), size);
    return text;
}

static void test_a_client_sends_what_the_registry_takes_in(void **state)
{
    struct world *world = *state;
    struct artifact_facts cut, put, taken;
    world_write(world, "a/model", 5 << 20, 1);
    world_write(world, "a/small", 10, 2);
    SCOPED(mem_scope) char *text = send_all(world, "red", &cut);
    assert_ok(registry_put_tree(world->registry, "red", text, strlen(text), &put, &world->err));
    assert_ok(registry_ingest(world->registry, "blue", world->from_fd, 0, &taken, &world->err));
    assert_string_equal(cut.digest, put.digest);
    assert_string_equal(cut.tree, put.tree);
    assert_string_equal(taken.tree, put.tree);
    assert_int_equal(taken.new_bytes, 0);
    assert_int_equal(put.bytes, (5 << 20) + 10);
}

static void test_chunks_that_lie_are_refused(void **state)
{
    struct world *world = *state;
    unsigned char stored[1000];
    char digest[65];
    bool missing = false;
    size_t size = registry_pack_chunk("hello", 5, stored, digest);
    stored[size - 1] ^= 1;
    assert_refused(registry_put_chunk(world->registry, "red", digest, stored, size, &world->err),
        ERR_INVALID, digest);
    assert_ok(registry_missing(
        world->registry, "red", (const char(*)[65]) & digest, 1, &missing, &world->err));
    assert_true(missing);
    assert_refused(registry_put_chunk(world->registry, "red", "ABC", stored, size, &world->err),
        ERR_INVALID, "SHA-256");
}

/* Replaces the first `from` after `after` by `to`, of the same length. */
static void replace(char *text, const char *after, const char *from, const char *to)
{
    char *at = strstr(strstr(text, after), from);
    assert_non_null(at);
    memcpy(at, to, strlen(to));
}

static void test_trees_that_lie_are_refused(void **state)
{
    struct world *world = *state;
    struct artifact_facts facts;
    char chunk[65];
    world_write(world, "one", 1000, 1);
    world_write(world, "two", 3 << 20, 2);
    SCOPED(mem_scope) char *text = send_all(world, "red", &facts);
    SCOPED(mem_scope) char *lie = mem_strdup(text);
    size_t size = strlen(text);
    assert_refused(registry_put_tree(world->registry, "blue", text, size, &facts, &world->err),
        ERR_NOT_FOUND, "is missing");
    /* Another size, for the file and its chunk. */
    replace(lie, "file", "1000", "1001");
    replace(lie, "chunk", "1000", "1001");
    assert_refused(registry_put_tree(world->registry, "red", lie, size, &facts, &world->err),
        ERR_INVALID, "\"one\"");
    /* Another digest of a file of several chunks. */
    memcpy(lie, text, size);
    char *digest = strstr(lie, "file 3145728 ") + 13;
    digest[0] = digest[0] == '0' ? '1' : '0';
    assert_refused(registry_put_tree(world->registry, "red", lie, size, &facts, &world->err),
        ERR_INVALID, "\"two\"");
    /* And of a file of one. */
    memcpy(lie, text, size);
    digest = strstr(lie, "file 1000 ") + 10;
    digest[0] = digest[0] == '0' ? '1' : '0';
    assert_refused(registry_put_tree(world->registry, "red", lie, size, &facts, &world->err),
        ERR_INVALID, "\"one\"");
    /* A chunk whose bytes are a tree is none. */
    memcpy(chunk, strstr(text, "chunk 1000 ") + 11, 64);
    chunk[64] = '\0';
    assert_refused(registry_verify(world->registry, chunk, &world->err), ERR_NOT_FOUND, chunk);
    assert_ok(registry_put_tree(world->registry, "red", text, size, &facts, &world->err));
}

/* One chunk named over and over costs a line each, and would cost hours to read. */
static void test_a_tree_larger_than_the_disk_is_refused(void **state)
{
    struct world *world = *state;
    struct artifact_facts facts;
    struct statvfs disk;
    char digest[65];
    assert_int_equal(fstatvfs(world->from_fd, &disk), 0);
    uint64_t count = (uint64_t)disk.f_blocks * disk.f_frsize / CHUNK_MAX + 2;
    memset(digest, 'a', 64);
    digest[64] = '\0';
    struct strbuf text = {0};
    strbuf_printf(&text, "muster-tree 1\nfile %" PRIu64 " %s all\n", count * CHUNK_MAX, digest);
    for (uint64_t i = 0; i < count && text.length <= TREE_BYTES_MAX; i++)
        strbuf_printf(&text, "chunk %d %s\n", CHUNK_MAX, digest);
    assert_refused(
        registry_put_tree(world->registry, "red", text.text, text.length, &facts, &world->err),
        ERR_TOO_LARGE, "");
    strbuf_finish(&text);
}

/* ---- reading ----------------------------------------------------------------------------- */

static void test_readers_begin_anywhere(void **state)
{
    enum { BYTES = 5 << 20 };
    static const int64_t offsets[] = {0, 1, CHUNK_MIN, BYTES / 2, BYTES - 1, BYTES};
    struct world *world = *state;
    struct artifact_facts facts;
    SCOPED(mem_scope) unsigned char *bytes = mem_alloc(BYTES, 1);
    fill_random(bytes, BYTES, 5);
    world_write_bytes(world, "model", bytes, BYTES);
    assert_ok(registry_ingest(world->registry, "red", world->from_fd, 0, &facts, &world->err));
    for (size_t i = 0; i < ARRAY_LEN(offsets); i++) {
        struct artifact_reader *reader;
        int64_t size, at = offsets[i];
        const void *piece;
        size_t length;
        assert_ok(artifact_reader_open(
            world->registry, facts.tree, "model", at, &reader, &size, &world->err));
        assert_int_equal(size, BYTES);
        for (;;) {
            assert_ok(artifact_reader_next(reader, &piece, &length, &world->err));
            if (length == 0)
                break;
            assert_true(at + (int64_t)length <= BYTES);
            assert_memory_equal(bytes + at, piece, length);
            at += (int64_t)length;
        }
        assert_int_equal(at, BYTES);
        artifact_reader_close(reader);
    }
    struct artifact_reader *none;
    int64_t size;
    assert_refused(
        artifact_reader_open(world->registry, facts.tree, "mode", 0, &none, &size, &world->err),
        ERR_NOT_FOUND, "mode");
    assert_refused(artifact_reader_open(
                       world->registry, facts.tree, "model", BYTES + 1, &none, &size, &world->err),
        ERR_INVALID, "offset");
}

static int count_file(void *context, const struct tree_file *file, struct error *err)
{
    struct strbuf *seen = context;
    strbuf_printf(seen, "%s:%d ", file->path, (int)file->size);
    return strcmp(file->path, "c") ? 0 : error_set(err, ERR_CONFLICT, "enough");
}

static void test_files_are_visited_in_order(void **state)
{
    struct world *world = *state;
    struct artifact_facts facts;
    struct strbuf seen = {0};
    for (int i = 0; i < 4; i++)
        world_write(world, (const char *[]){"d", "b/x", "c", "a"}[i], (size_t)i, 1);
    assert_ok(registry_ingest(world->registry, "red", world->from_fd, 0, &facts, &world->err));
    assert_refused(registry_files(world->registry, facts.tree, count_file, &seen, &world->err),
        ERR_CONFLICT, "enough");
    assert_string_equal(seen.text, "a:3 b/x:1 c:2 ");
    strbuf_finish(&seen);
}

static void test_a_changed_byte_is_named(void **state)
{
    struct world *world = *state;
    struct artifact_facts facts;
    char digest[65], path[300], *cached;
    struct artifact_reader *reader;
    const void *piece;
    int64_t size;
    size_t length;
    void *stored;
    world_write(world, "deep/model", 6 << 20, 1);
    assert_ok(registry_ingest(world->registry, "red", world->from_fd, 0, &facts, &world->err));
    world_chunk_digest(world, facts.tree, 1, digest);
    world_object_path(world, digest, path);
    flip_byte(path, 70000);
    assert_refused(registry_verify(world->registry, facts.tree, &world->err), ERR_CORRUPT,
        "\"deep/model\" at");
    assert_non_null(strstr(world->err.text, digest));
    assert_refused(registry_extract(world->registry, facts.tree, world->to_fd, &world->err),
        ERR_CORRUPT, digest);
    assert_refused(
        registry_cached(world->registry, facts.tree, &cached, &world->err), ERR_CORRUPT, digest);
    assert_refused(
        registry_get_chunk(world->registry, "red", digest, &stored, &length, &world->err),
        ERR_CORRUPT, digest);
    assert_ok(artifact_reader_open(
        world->registry, facts.tree, "deep/model", 0, &reader, &size, &world->err));
    assert_ok(artifact_reader_next(reader, &piece, &length, &world->err));
    assert_refused(artifact_reader_next(reader, &piece, &length, &world->err), ERR_CORRUPT, digest);
    artifact_reader_close(reader);
    unlink(path);
    assert_refused(registry_verify(world->registry, facts.tree, &world->err), ERR_CORRUPT, digest);
    /* Once its names are gone, the same bytes mend it. */
    char held[400];
    snprintf(held, sizeof held, "%s/registry/teams/red/%.2s/%s", world->data, digest, digest);
    assert_int_equal(unlink(held), 0);
    assert_ok(registry_ingest(world->registry, "red", world->from_fd, 0, &facts, &world->err));
    assert_ok(registry_verify(world->registry, facts.tree, &world->err));
}

static void test_a_changed_tree_is_named(void **state)
{
    struct world *world = *state;
    struct artifact_facts facts;
    char path[310];
    world_write(world, "model", 1000, 1);
    assert_ok(registry_ingest(world->registry, "red", world->from_fd, 0, &facts, &world->err));
    world_object_path(world, facts.tree, path);
    strcat(path, ".tree");
    flip_byte(path, 30);
    assert_refused(
        registry_verify(world->registry, facts.tree, &world->err), ERR_CORRUPT, facts.tree);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_ingest_gives_the_digest_of_the_shell),
        TEST(test_extracted_files_are_those_taken_in),
        TEST(test_what_is_there_is_stored_once),
        TEST(test_teams_share_bytes_but_not_knowledge),
        TEST(test_a_client_sends_what_the_registry_takes_in),
        TEST(test_chunks_that_lie_are_refused),
        TEST(test_trees_that_lie_are_refused),
        TEST(test_a_tree_larger_than_the_disk_is_refused),
        TEST(test_readers_begin_anywhere),
        TEST(test_files_are_visited_in_order),
        TEST(test_a_changed_byte_is_named),
        TEST(test_a_changed_tree_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
