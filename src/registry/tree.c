/* Trees: see tree.h. The parser accepts what tree_write writes and nothing else, so that equal
 * artifacts have equal trees; the fuzz target holds it to that. */
#include "registry/tree.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { LEVELS_MAX = 32 };

static const char heading[] = "muster-tree 1\n";

void tree_finish(struct tree *tree)
{
    arena_destroy(tree->arena);
    vec_free(&tree->files);
    vec_free(&tree->chunks);
    *tree = (struct tree){0};
}

/* ---- paths -------------------------------------------------------------------------------- */

/* Control characters of ASCII, and U+0080 to U+009F, which terminals obey as well. */
static bool is_control(const char *text)
{
    unsigned char first = (unsigned char)text[0], second = (unsigned char)text[1];
    return first < 0x20 || first == 0x7f || (first == 0xc2 && second >= 0x80 && second <= 0x9f);
}

static int check_segment(const char *path, const char *segment, size_t length, struct error *err)
{
    if (length == 0)
        return error_set(err, ERR_INVALID, "the path \"%s\" has an empty part", path);
    if (segment[0] == '.' && (length == 1 || (length == 2 && segment[1] == '.')))
        return error_set(err, ERR_INVALID, "the path \"%s\" has a part \".\" or \"..\"", path);
    return 0;
}

static int check_characters(const char *path, struct error *err)
{
    for (const char *s = path; *s;) {
        size_t length = utf8_length(s);
        if (length == 0)
            return error_set(err, ERR_INVALID, "the path \"%s\" is not UTF-8: rename it", path);
        /* sha256sum writes lines with a backslash in another way, and escapes what it stands for.
         */
        if (is_control(s) || *s == '\\')
            return error_set(err, ERR_INVALID,
                "the path \"%s\" has a control character or a backslash: rename it", path);
        s += length;
    }
    return 0;
}

int tree_check_path(const char *path, struct error *err)
{
    int levels = 1;
    if (strnlen(path, ARTIFACT_PATH_MAX + 1) > ARTIFACT_PATH_MAX)
        return error_set(
            err, ERR_INVALID, "a path is longer than %d bytes: %s", ARTIFACT_PATH_MAX, path);
    if (check_characters(path, err) < 0)
        return -1;
    /* sha256sum takes it for its standard input. */
    if (!strcmp(path, "-"))
        return error_set(err, ERR_INVALID, "a file is called \"-\": rename it");
    for (const char *segment = path;; levels++) {
        size_t length = strcspn(segment, "/");
        if (check_segment(path, segment, length, err) < 0)
            return -1;
        if (segment[length] == '\0')
            break;
        segment += length + 1;
    }
    if (levels > LEVELS_MAX)
        return error_set(
            err, ERR_INVALID, "the path \"%s\" has more than %d levels", path, LEVELS_MAX);
    return 0;
}

/* ---- reading ------------------------------------------------------------------------------ */

struct cursor {
    const char *next, *end;
    size_t line; /* from 1, for errors */
};

static int malformed(const struct cursor *cursor, const char *what, struct error *err)
{
    return error_set(err, ERR_INVALID, "line %zu of the tree: %s", cursor->line, what);
}

static bool take(struct cursor *cursor, const char *text)
{
    size_t length = strlen(text);
    if ((size_t)(cursor->end - cursor->next) < length || memcmp(cursor->next, text, length) != 0)
        return false;
    cursor->next += length;
    return true;
}

/* Decimal digits without a leading zero, at most `most`. */
static bool take_size(struct cursor *cursor, int64_t most, int64_t *ret)
{
    const char *start = cursor->next;
    int64_t value = 0;
    while (cursor->next < cursor->end && *cursor->next >= '0' && *cursor->next <= '9') {
        value = value * 10 + (*cursor->next++ - '0');
        if (value > most)
            return false;
    }
    *ret = value;
    return cursor->next > start && (*start != '0' || cursor->next == start + 1);
}

static bool take_digest(struct cursor *cursor, struct digest *ret)
{
    if (cursor->end - cursor->next < DIGEST_HEX || !digest_parse(cursor->next, ret))
        return false;
    cursor->next += DIGEST_HEX;
    return true;
}

/* "<size> <digest>", as both kinds of line have it. */
static bool take_object(
    struct cursor *cursor, int64_t most, int64_t *ret_size, struct digest *ret_digest)
{
    return take_size(cursor, most, ret_size) && take(cursor, " ") &&
           take_digest(cursor, ret_digest);
}

/* Reads a path to the end of its line. */
static int take_path(struct cursor *cursor, struct tree *tree, const char **ret, struct error *err)
{
    const char *newline = memchr(cursor->next, '\n', (size_t)(cursor->end - cursor->next));
    size_t length = newline ? (size_t)(newline - cursor->next) : 0;
    if (!newline || length > ARTIFACT_PATH_MAX || memchr(cursor->next, '\0', length))
        return malformed(cursor, "expected a path", err);
    const char *path = arena_strndup(tree->arena, cursor->next, length);
    if (tree_check_path(path, err) < 0)
        return error_prefix(err, "line %zu of the tree", cursor->line);
    if (tree->files.count > 0 && strcmp(tree->files.items[tree->files.count - 1].path, path) >= 0)
        return malformed(cursor, "its path does not come after the one before", err);
    cursor->next = newline + 1;
    *ret = path;
    return 0;
}

static int take_chunk(struct cursor *cursor, struct tree *tree, int64_t *left, struct error *err)
{
    struct tree_chunk chunk;
    int64_t size;
    if (!take(cursor, "chunk ") || !take_object(cursor, CHUNK_MAX, &size, &chunk.digest) ||
        !take(cursor, "\n"))
        return malformed(cursor, "expected \"chunk\", a size and a SHA-256", err);
    if (size == 0 || size > *left || (size < CHUNK_MIN && size != *left))
        return malformed(cursor, "a chunk of a size that cannot be", err);
    chunk.size = (uint32_t)size;
    vec_push(&tree->chunks, chunk);
    *left -= size;
    cursor->line++;
    return 0;
}

static int take_file(struct cursor *cursor, struct tree *tree, struct error *err)
{
    struct tree_entry file = {.first = tree->chunks.count};
    if (!take(cursor, "file ") ||
        !take_object(cursor, INT64_MAX / 16 - tree->bytes, &file.size, &file.digest) ||
        !take(cursor, " "))
        return malformed(cursor, "expected \"file\", a size, a SHA-256 and a path", err);
    if (tree->files.count == ARTIFACT_FILES_MAX)
        return error_set(err, ERR_TOO_LARGE, "the tree has more than %d files", ARTIFACT_FILES_MAX);
    if (take_path(cursor, tree, &file.path, err) < 0)
        return -1;
    cursor->line++;
    int64_t left = file.size;
    while (left > 0)
        if (take_chunk(cursor, tree, &left, err) < 0)
            return -1;
    file.count = tree->chunks.count - file.first;
    vec_push(&tree->files, file);
    tree->bytes += file.size;
    return 0;
}

/* A path of one file must not be a folder of another. Between "a" and "a/b" others may stand
 * ("a-b"), so each folder is looked up. */
static int check_folders(const struct tree *tree, struct error *err)
{
    char folder[ARTIFACT_PATH_MAX + 1];
    for (size_t i = 0; i < tree->files.count; i++) {
        const char *path = tree->files.items[i].path;
        for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
            memcpy(folder, path, (size_t)(slash - path));
            folder[slash - path] = '\0';
            if (tree_find(tree, folder))
                return error_set(
                    err, ERR_INVALID, "\"%s\" is a file and a folder of the tree", folder);
        }
    }
    return 0;
}

static int parse(struct cursor *cursor, struct tree *tree, struct error *err)
{
    tree->arena = arena_create();
    if (!take(cursor, heading))
        return malformed(cursor, "expected \"muster-tree 1\"", err);
    cursor->line++;
    while (cursor->next < cursor->end)
        if (take_file(cursor, tree, err) < 0)
            return -1;
    if (tree->files.count == 0)
        return error_set(err, ERR_INVALID, "the tree has no files");
    return check_folders(tree, err);
}

int tree_parse(const char *text, size_t size, struct tree *ret, struct error *err)
{
    struct cursor cursor = {.next = text, .end = text + size, .line = 1};
    struct tree tree = {0};
    if (size > TREE_BYTES_MAX)
        return error_set(err, ERR_TOO_LARGE, "the tree is larger than %d bytes", TREE_BYTES_MAX);
    if (parse(&cursor, &tree, err) < 0) {
        tree_finish(&tree);
        return -1;
    }
    *ret = tree;
    return 0;
}

/* ---- writing ------------------------------------------------------------------------------ */

void tree_write(const struct tree *tree, struct strbuf *text)
{
    char hex[DIGEST_HEX + 1];
    strbuf_puts(text, heading);
    for (size_t i = 0; i < tree->files.count; i++) {
        const struct tree_entry *file = &tree->files.items[i];
        digest_hex(&file->digest, hex);
        strbuf_printf(text, "file %" PRId64 " %s %s\n", file->size, hex, file->path);
        for (size_t k = file->first; k < file->first + file->count; k++) {
            digest_hex(&tree->chunks.items[k].digest, hex);
            strbuf_printf(text, "chunk %" PRIu32 " %s\n", tree->chunks.items[k].size, hex);
        }
    }
}

struct digest tree_artifact_digest(const struct tree *tree)
{
    SCOPED(sha_scope) struct sha *sha = sha_create();
    char hex[DIGEST_HEX + 1];
    sha_start(sha);
    for (size_t i = 0; i < tree->files.count; i++) {
        const struct tree_entry *file = &tree->files.items[i];
        digest_hex(&file->digest, hex);
        sha_add(sha, hex, DIGEST_HEX);
        sha_add(sha, "  ", 2);
        sha_add(sha, file->path, strlen(file->path));
        sha_add(sha, "\n", 1);
    }
    return sha_end(sha);
}

static int compare_path(const void *key, const void *file)
{
    return strcmp(key, ((const struct tree_entry *)file)->path);
}

const struct tree_entry *tree_find(const struct tree *tree, const char *path)
{
    if (tree->files.count == 0)
        return NULL;
    return bsearch(
        path, tree->files.items, tree->files.count, sizeof *tree->files.items, compare_path);
}

static int64_t distinct_chunks(const struct tree *tree)
{
    size_t count = tree->chunks.count;
    int64_t distinct = 0;
    SCOPED(mem_scope) struct digest *digests = mem_alloc(count + 1, sizeof *digests);
    for (size_t i = 0; i < count; i++)
        digests[i] = tree->chunks.items[i].digest;
    qsort(digests, count, sizeof *digests, digest_compare);
    for (size_t i = 0; i < count; i++)
        distinct += i == 0 || digest_compare(&digests[i - 1], &digests[i]) != 0;
    return distinct;
}

void tree_facts(
    const struct tree *tree, const char *text, size_t size, struct artifact_facts *facts)
{
    SCOPED(sha_scope) struct sha *sha = sha_create();
    struct digest artifact = tree_artifact_digest(tree), of_text = sha_of(sha, text, size);
    *facts = (struct artifact_facts){
        .files = (int64_t)tree->files.count, .bytes = tree->bytes, .chunks = distinct_chunks(tree)};
    digest_hex(&artifact, facts->digest);
    digest_hex(&of_text, facts->tree);
}
