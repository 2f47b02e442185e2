/* Manifests from files: see load.h. */
#include "cli/load.h"

#include "base/file.h"
#include "spec/spec.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Stands for a folder that is not packed yet. */
#define DIGEST_LATER "sha256:0000000000000000000000000000000000000000000000000000000000000000"

void load_finish(struct loaded_list *list)
{
    vec_free(list);
}

/* When the map names a folder as its "workdir": notes it, and puts a digest in its place. */
static void take_workdir(
    struct arena *arena, struct loaded *loaded, struct doc *owner, const char *path)
{
    const char *workdir = doc_get_string(owner, "workdir");
    if (!workdir || !strncmp(workdir, "sha256:", 7))
        return;
    const char *slash = strrchr(loaded->file, '/');
    struct loaded_workdir *taken = arena_alloc(arena, 1, sizeof *taken);
    taken->owner = owner;
    taken->path = path;
    taken->folder =
        workdir[0] == '/' || !slash
            ? arena_strdup(arena, workdir)
            : arena_printf(arena, "%.*s/%s", (int)(slash - loaded->file), loaded->file, workdir);
    taken->next = loaded->workdirs;
    loaded->workdirs = taken;
    /* In place, and not by doc_set: errors are told with the line of the field. */
    for (struct doc *item = owner->first; item; item = item->next) {
        if (!strcmp(item->key, "workdir")) {
            item->text = DIGEST_LATER;
            item->length = strlen(DIGEST_LATER);
        }
    }
}

/* Jobs have a work directory, and so has the job that a model's gate evaluates with. */
static void take_workdirs(struct arena *arena, struct loaded *loaded)
{
    const char *kind = doc_get_string(loaded->doc, "kind");
    const struct doc *spec = doc_get(loaded->doc, "spec");
    if (kind && !strcmp(kind, kind_name(KIND_JOB)))
        take_workdir(arena, loaded, (struct doc *)spec, "spec.workdir");
    if (!kind || strcmp(kind, kind_name(KIND_MODEL)) != 0)
        return;
    const struct doc *gates = doc_get(spec, "gates");
    int index = 0;
    for (const struct doc *gate = gates ? gates->first : NULL; gate; gate = gate->next)
        take_workdir(arena, loaded, (struct doc *)doc_get(gate, "evaluation"),
            arena_printf(arena, "spec.gates[%d].evaluation.workdir", index++));
}

static size_t load_one(struct arena *arena, const char *file, struct doc *doc,
    struct loaded_list *list, struct strbuf *complaints)
{
    struct loaded loaded = {.file = arena_strdup(arena, file), .doc = doc};
    take_workdirs(arena, &loaded);
    struct field_errors errors = {0};
    struct manifest manifest;
    if (manifest_decode(arena, doc, NULL, &manifest, &errors) < 0) {
        field_errors_write(&errors, file, complaints);
        return errors.count + errors.left_out;
    }
    loaded.kind = manifest.kind;
    loaded.name = manifest_metadata(&manifest)->name;
    loaded.team = manifest_metadata(&manifest)->team;
    vec_push(list, loaded);
    return 0;
}

size_t load_text(struct arena *arena, const char *file, const char *text, size_t length,
    struct loaded_list *list, struct strbuf *complaints)
{
    struct error err = {0};
    struct doc *docs = doc_parse_yaml(arena, text, length, &err);
    if (!docs) {
        strbuf_printf(complaints, "%s: %s\n", file, err.text);
        return 1;
    }
    if (docs->count == 0) {
        strbuf_printf(complaints, "%s: there is no manifest in it\n", file);
        return 1;
    }
    size_t errors = 0;
    for (struct doc *doc = docs->first; doc; doc = doc->next)
        errors += load_one(arena, file, doc, list, complaints);
    return errors;
}

static int read_stdin(char **ret_text, size_t *ret_size, struct error *err)
{
    struct strbuf text = {0};
    char piece[16384];
    for (;;) {
        ssize_t n = read(STDIN_FILENO, piece, sizeof piece);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 || text.length + (size_t)n > DOC_BYTES_MAX) {
            strbuf_finish(&text);
            return n < 0 ? error_set_errno(err, "cannot read standard input")
                         : error_set(err, ERR_TOO_LARGE, "standard input is larger than %d bytes",
                               DOC_BYTES_MAX);
        }
        if (n == 0)
            break;
        strbuf_append(&text, piece, (size_t)n);
    }
    *ret_size = text.length;
    *ret_text = strbuf_steal(&text);
    return 0;
}

static size_t load_file(
    struct arena *arena, const char *path, struct loaded_list *list, struct strbuf *complaints)
{
    bool standard = !strcmp(path, "-");
    SCOPED(mem_scope) char *text = NULL;
    size_t size;
    struct error err = {0};
    int failed = standard ? read_stdin(&text, &size, &err)
                          : file_read(path, DOC_BYTES_MAX, &text, &size, &err);
    if (failed) {
        strbuf_printf(complaints, "%s\n", err.text);
        return 1;
    }
    return load_text(arena, standard ? "standard input" : path, text, size, list, complaints);
}

static int is_manifest_file(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');
    return entry->d_name[0] != '.' && dot &&
           (!strcmp(dot, ".yaml") || !strcmp(dot, ".yml") || !strcmp(dot, ".json"));
}

/* The order of bytes, not of the user's language: the same on every machine. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static size_t load_folder(
    struct arena *arena, const char *path, struct loaded_list *list, struct strbuf *complaints)
{
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, is_manifest_file, by_name);
    size_t errors = 0;
    if (count <= 0 || count > LOAD_FILES_MAX) {
        strbuf_printf(complaints,
            count < 0    ? "%s: cannot be read\n"
            : count == 0 ? "%s: no .yaml, .yml or .json file is in it\n"
                         : "%s: too many files\n",
            path);
        errors = 1;
    }
    for (int i = 0; i < count; i++) {
        if (count <= LOAD_FILES_MAX) {
            const char *file = arena_printf(arena, "%s/%s", path, entries[i]->d_name);
            errors += load_file(arena, file, list, complaints);
        }
        free(entries[i]);
    }
    free(entries);
    return errors;
}

static void sort_by_kind(struct loaded_list *list)
{
    /* Insertion keeps the order within a kind; lists are short. */
    for (size_t i = 1; i < list->count; i++) {
        struct loaded moved = list->items[i];
        size_t k = i;
        for (; k > 0 && list->items[k - 1].kind > moved.kind; k--)
            list->items[k] = list->items[k - 1];
        list->items[k] = moved;
    }
}

static size_t refuse_twice(const struct loaded_list *list, struct strbuf *complaints)
{
    size_t errors = 0;
    for (size_t i = 1; i < list->count; i++) {
        const struct loaded *one = &list->items[i];
        for (size_t k = 0; k < i; k++) {
            const struct loaded *other = &list->items[k];
            bool same_team = (one->team == NULL) == (other->team == NULL) &&
                             (!one->team || !strcmp(one->team, other->team));
            if (one->kind != other->kind || strcmp(one->name, other->name) != 0 || !same_team)
                continue;
            strbuf_printf(complaints, "%s:%d: %s \"%s\" is in %s:%d already\n", one->file,
                one->doc->line, kind_name(one->kind), one->name, other->file, other->doc->line);
            errors++;
            break;
        }
    }
    return errors;
}

int load_paths(struct arena *arena, const char *const *paths, size_t count, struct loaded_list *ret,
    struct strbuf *complaints, struct error *err)
{
    struct loaded_list list = {0};
    size_t errors = 0;
    for (size_t i = 0; i < count; i++) {
        struct stat st;
        bool folder = strcmp(paths[i], "-") != 0 && stat(paths[i], &st) == 0 && S_ISDIR(st.st_mode);
        errors += folder ? load_folder(arena, paths[i], &list, complaints)
                         : load_file(arena, paths[i], &list, complaints);
    }
    errors += refuse_twice(&list, complaints);
    if (errors) {
        load_finish(&list);
        return error_set(
            err, ERR_INVALID, "%zu error%s: nothing was sent", errors, errors == 1 ? "" : "s");
    }
    sort_by_kind(&list);
    *ret = list;
    return 0;
}

/* "objects[2].spec.gang": the index, and what follows it; with a single object the prefix may be
 * left out. */
static const struct loaded *locate(const struct loaded_list *list, const char **path)
{
    unsigned long index;
    int used = 0;
    if (sscanf(*path, "objects[%lu]%n", &index, &used) == 1 && used > 0 && index < list->count) {
        *path += used;
        *path += **path == '.';
        return &list->items[index];
    }
    return list->count == 1 ? &list->items[0] : NULL;
}

void load_locate_problem(
    const struct loaded_list *list, const struct doc *problem, struct strbuf *complaints)
{
    const struct doc *errors = doc_get(problem, "errors");
    for (const struct doc *item = errors ? errors->first : NULL; item; item = item->next) {
        const char *path = doc_get_string(item, "path");
        const char *detail = doc_get_string(item, "detail");
        path = path ? path : "";
        const struct loaded *loaded = locate(list, &path);
        const struct doc *at = loaded ? doc_find(loaded->doc, path) : NULL;
        if (loaded)
            strbuf_printf(complaints, "%s:%d: ", loaded->file, at ? at->line : loaded->doc->line);
        strbuf_printf(
            complaints, "%s%s%s\n", path, *path ? ": " : "", detail ? detail : "is refused");
    }
}

void load_locate_error(const struct loaded_list *list, struct error *err)
{
    unsigned long index;
    int used = 0;
    if (sscanf(err->text, "objects[%lu]%n", &index, &used) != 1 || used == 0 ||
        index >= list->count)
        return;
    const struct loaded *loaded = &list->items[index];
    const char *text = strstr(err->text + used, ": ");
    if (!text)
        return;
    text += 2;
    /* "metadata.team: there is no .." begins with a path; a sentence has spaces first. */
    char path[128];
    size_t length = strcspn(text, ": ");
    bool is_path = text[length] == ':' && length < sizeof path;
    snprintf(path, sizeof path, "%.*s", is_path ? (int)length : 0, text);
    const struct doc *at = doc_find(loaded->doc, path);
    struct error located = {.code = err->code};
    error_set(
        &located, err->code, "%s:%d: %s", loaded->file, at ? at->line : loaded->doc->line, text);
    *err = located;
}
