/* Reading usage files: see serving_pass.h. On the chores thread, which shares nothing but the pass
 * with the loop. */
#include "server/serving_pass.h"

#include "base/file.h"
#include "server/serving_sums.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char yes[] = "yes";

static void enter_file(struct pass *pass, const char *file)
{
    if (pass->file && strcmp(pass->file, file) == 0) {
        pass->place++;
        return;
    }
    pass->file = arena_strdup(pass->arena, file);
    pass->seen = serving_seen_file(pass->stored, file);
    pass->place = 0;
    strmap_put(&pass->read, file, (void *)(uintptr_t)yes);
}

/* Whether one more is taken in this pass: a new place needs room in the table for as long as its
 * file is there. */
static bool may_take(struct pass *pass, bool is_new)
{
    if (is_new && pass->stored->count + pass->added >= SEEN_MAX) {
        pass->full = true;
        return false;
    }
    bool takes = pass->visited > pass->skip && pass->changes.count < PASS_SERIES;
    pass->more = pass->more || !takes;
    return takes;
}

static int visit_series(void *context, const char *file, const struct usage_series *series,
    const struct usage_counts *counts, struct error *err)
{
    static const struct usage_counts none;
    struct pass *pass = context;
    (void)err;
    enter_file(pass, file);
    pass->visited++;
    bool is_new = !pass->seen || pass->place >= pass->seen->places.count;
    const struct usage_counts *before = is_new ? &none : &pass->seen->places.items[pass->place];
    struct change change = {.file = pass->file, .place = pass->place, .now = *counts};
    serving_counts_since(before, counts, &change.grown);
    if (memcmp(&change.grown, &none, sizeof none) == 0)
        return 0;
    strmap_put(&pass->moved, file, (void *)(uintptr_t)yes);
    if (!may_take(pass, is_new))
        return 0;
    /* What shrank is remembered at its highest: only growth beyond that is new. */
    change.now = *before;
    serving_counts_add(&change.now, &change.grown);
    change.series = *series;
    pass->added += is_new;
    vec_push(&pass->changes, change);
    /* The next pass, if there is more, goes on behind the last that was taken. */
    if (pass->changes.count == PASS_SERIES)
        pass->skip_next = pass->visited;
    return 0;
}

/* Files of gateways that are gone and in which this reading found nothing new: all is stored. */
static void remove_dead(struct pass *pass, char *dead)
{
    char *rest = NULL;
    struct error err;
    for (char *name = strtok_r(dead, "\n", &rest); name; name = strtok_r(NULL, "\n", &rest)) {
        if (strmap_get(&pass->moved, name))
            continue;
        if (usage_file_remove(pass->folder, name, &err) < 0 && !pass->broken) {
            pass->broken = true;
            pass->err = err;
        }
    }
}

/* What was seen of a file may be forgotten when the file is gone for good: were it there again
 * after a stop of the machine, all of it would count anew. */
static void find_gone(struct pass *pass)
{
    const struct serving_seen *stored = pass->stored;
    bool synced = false;
    for (size_t i = 0; i < stored->files.count; i++) {
        const char *name = stored->files.items[i]->name;
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", pass->folder, name);
        if (access(path, F_OK) == 0 || errno != ENOENT)
            continue;
        if (!synced) {
            SCOPED(fd_scope)
            int fd = open(pass->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            if (fd < 0 ? errno != ENOENT : fsync(fd) < 0)
                return;
            synced = true;
        }
        vec_push(&pass->gone, arena_strdup(pass->arena, name));
    }
}

void serving_read(struct pass *pass)
{
    SCOPED(mem_scope) char *dead = NULL;
    pass->broken = usage_read_all(pass->folder, visit_series, pass, &dead, &pass->err) < 0;
    if (pass->full && !pass->broken) {
        pass->broken = true;
        error_set(&pass->err, ERR_FULL,
            "there are more than %d series: new ones stay in their files for now", SEEN_MAX);
    }
    if (dead)
        remove_dead(pass, dead);
    find_gone(pass);
}
