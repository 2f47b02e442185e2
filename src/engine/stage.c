/* Folders on a site's storage: see stage.h. What holds:
 *  1. a folder under its final name is whole: it is copied beside it and renamed;
 *  2. one copy is under way at a time, on the thread, which touches nothing but its own item's
 *     progress and error; an item is freed only when no copy of it is under way;
 *  3. only what nobody holds is removed. */
#include "engine/stage.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/quantity.h"
#include "base/strbuf.h"
#include "base/vec.h"
#include "engine/stage_copy.h"
#include "engine/trash.h"
#include "engine/worker.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KEEP_MS = 10 * 60 * 1000, AGAIN_MS = 10 * 1000, KEY_TEXT = 33, ENTRIES_MAX = 100000 };

struct item {
    struct stage *stage;
    char key[KEY_TEXT];
    char *folder; /* NULL: found on the storage, and asked for by nobody since */
    char *path, *beside;
    size_t holders;
    int64_t idle_ms;  /* since when nobody holds it, boot clock */
    int64_t again_ms; /* not before this: the last try failed */
    bool there, copying, missing;
    struct stage_progress progress;
    struct error failed; /* of the last copy; code 0: it did not fail */
};

struct stage {
    struct stage_options options;
    char *root;
    struct worker *worker;
    VEC(struct item *) items;
    struct item *copying;
};

/* ---- items ----------------------------------------------------------------------------------- */

static void key_of(const char *folder, char key[KEY_TEXT])
{
    char hex[65];
    file_sha256_hex(folder, strlen(folder), hex);
    memcpy(key, hex, KEY_TEXT - 1);
    key[KEY_TEXT - 1] = '\0';
}

static struct item *item_find(const struct stage *stage, const char *key)
{
    for (size_t i = 0; i < stage->items.count; i++) {
        if (strcmp(stage->items.items[i]->key, key) == 0)
            return stage->items.items[i];
    }
    return NULL;
}

static struct item *item_add(struct stage *stage, const char *key)
{
    struct item *item = mem_alloc(1, sizeof *item);
    struct strbuf text = {0};
    item->stage = stage;
    memcpy(item->key, key, KEY_TEXT);
    strbuf_printf(&text, "%s/%s", stage->root, key);
    item->path = strbuf_steal(&text);
    strbuf_printf(&text, "%s/%s.new", stage->root, key);
    item->beside = strbuf_steal(&text);
    item->idle_ms = clock_boot_ms();
    vec_push(&stage->items, item);
    return item;
}

static void item_free(struct item *item)
{
    free(item->folder);
    free(item->path);
    free(item->beside);
    free(item);
}

static struct item *item_held(const struct stage *stage, const char *folder)
{
    char key[KEY_TEXT];
    key_of(folder, key);
    struct item *item = item_find(stage, key);
    assert(item && item->holders > 0);
    return item;
}

char *stage_path(const struct stage *stage, const char *folder)
{
    struct strbuf path = {0};
    char key[KEY_TEXT];
    key_of(folder, key);
    strbuf_printf(&path, "%s/%s", stage->root, key);
    return strbuf_steal(&path);
}

void stage_hold(struct stage *stage, const char *folder)
{
    char key[KEY_TEXT];
    key_of(folder, key);
    struct item *item = item_find(stage, key);
    if (!item)
        item = item_add(stage, key);
    if (!item->folder)
        item->folder = mem_strdup(folder);
    item->holders++;
}

void stage_release(struct stage *stage, const char *folder)
{
    struct item *item = item_held(stage, folder);
    item->idle_ms = clock_boot_ms();
    if (--item->holders == 0 && item->copying)
        atomic_store(&item->progress.stop, true);
}

/* ---- copying --------------------------------------------------------------------------------- */

/* On the thread. */
static void copy_work(void *context)
{
    struct item *item = context;
    int rc = stage_copy(item->folder, item->beside, &item->progress, &item->failed);
    if (rc == 0 && rename(item->beside, item->path) < 0)
        error_set_errno(&item->failed, "cannot rename %s", item->beside);
    else if (rc == 0)
        item->failed.code = ERR_NONE;
}

static void clear_away(struct stage *stage, const char *path)
{
    struct error err;
    if (trash_put(stage->options.trash, path, &err) < 0)
        log_warn("%s", err.text);
}

static void copy_done(void *context)
{
    struct item *item = context;
    struct stage *stage = item->stage;
    item->copying = false;
    stage->copying = NULL;
    item->there = item->failed.code == ERR_NONE;
    item->missing = item->failed.code == ERR_NOT_FOUND;
    if (!item->there) {
        clear_away(stage, item->beside);
        item->again_ms = clock_boot_ms() + AGAIN_MS;
        if (item->holders > 0)
            log_warn("%s cannot be brought to the site: %s", item->folder, item->failed.text);
    }
    stage->options.changed(stage->options.context);
}

static void copy_begin(struct stage *stage, struct item *item)
{
    struct error err;
    if (stage->copying || clock_boot_ms() < item->again_ms)
        return;
    if (!stage->worker && !(stage->worker = worker_create(stage->options.base, "stage", &err))) {
        log_warn("%s", err.text);
        return;
    }
    clear_away(stage, item->beside);
    atomic_store(&item->progress.bytes, 0);
    atomic_store(&item->progress.stop, false);
    item->failed.code = ERR_NONE;
    if (worker_run(stage->worker, copy_work, copy_done, item, &err) < 0)
        return;
    item->copying = true;
    stage->copying = item;
}

static void say_copying(struct item *item, char text[STAGE_TEXT])
{
    char bytes[QUANTITY_TEXT];
    uint64_t copied = atomic_load(&item->progress.bytes);
    snprintf(text, STAGE_TEXT, "its inputs are being copied to the site: %s so far",
        quantity_human_bytes((int64_t)copied, bytes));
}

enum stage_state stage_look(struct stage *stage, const char *folder, char text[STAGE_TEXT])
{
    struct item *item = item_held(stage, folder);
    text[0] = '\0';
    if (item->there)
        return STAGE_THERE;
    if (item->missing) {
        snprintf(text, STAGE_TEXT, "%.190s", item->failed.text);
        return STAGE_MISSING;
    }
    if (!item->copying)
        copy_begin(stage, item);
    if (item->copying)
        say_copying(item, text);
    else if (item->failed.code)
        snprintf(
            text, STAGE_TEXT, "its inputs cannot be copied to the site: %.150s", item->failed.text);
    else
        snprintf(text, STAGE_TEXT, "its inputs wait to be copied to the site");
    return STAGE_COMING;
}

/* ---- tidying --------------------------------------------------------------------------------- */

void stage_tidy(struct stage *stage)
{
    int64_t now_ms = clock_boot_ms();
    for (size_t i = stage->items.count; i-- > 0;) {
        struct item *item = stage->items.items[i];
        if (item->holders > 0 || item->copying || now_ms - item->idle_ms < stage->options.keep_ms)
            continue;
        clear_away(stage, item->path);
        vec_remove(&stage->items, i);
        item_free(item);
    }
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void take_entry(struct stage *stage, const char *name)
{
    SCOPED(strbuf_finish) struct strbuf path = {0};
    char key[KEY_TEXT];
    if (strlen(name) == KEY_TEXT - 1) {
        memcpy(key, name, KEY_TEXT);
        item_add(stage, key)->there = true;
        return;
    }
    strbuf_printf(&path, "%s/%s", stage->root, name);
    clear_away(stage, path.text);
}

static int take_stock(struct stage *stage, struct error *err)
{
    DIR *listing = opendir(stage->root);
    const struct dirent *entry;
    if (!listing)
        return error_set_errno(err, "cannot read %s", stage->root);
    while ((entry = readdir(listing)) && stage->items.count < ENTRIES_MAX) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            take_entry(stage, entry->d_name);
    }
    closedir(listing);
    return 0;
}

struct stage *stage_create(const struct stage_options *options, struct error *err)
{
    struct stage *stage = mem_alloc(1, sizeof *stage);
    stage->options = *options;
    stage->root = mem_strdup(options->root);
    if (stage->options.keep_ms == 0)
        stage->options.keep_ms = KEEP_MS;
    if (file_make_dirs(stage->root, 0755, err) == 0 && take_stock(stage, err) == 0)
        return stage;
    stage_destroy(stage);
    return NULL;
}

void stage_destroy(struct stage *stage)
{
    if (!stage)
        return;
    if (stage->copying)
        atomic_store(&stage->copying->progress.stop, true);
    worker_destroy(stage->worker);
    for (size_t i = 0; i < stage->items.count; i++)
        item_free(stage->items.items[i]);
    vec_free(&stage->items);
    free(stage->root);
    free(stage);
}
