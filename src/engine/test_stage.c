/* The stage with real folders: what arrives, what is told, what is kept and what goes. */
#include "engine/stage.h"

#include "base/file.h"
#include "base/strbuf.h"
#include "base/test.h"
#include "engine/stage_copy.h"
#include "engine/trash.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct world {
    char top[64];
    char from[80], root[80];
    struct event_base *base;
    struct trash *trash;
    struct stage *stage;
    int changes;
};

static void on_changed(void *context)
{
    ((struct world *)context)->changes++;
}

static void open_stage(struct world *world, int64_t keep_ms)
{
    struct error err;
    world->stage = stage_create(&(struct stage_options){.base = world->base,
                                    .root = world->root,
                                    .trash = world->trash,
                                    .keep_ms = keep_ms,
                                    .changed = on_changed,
                                    .context = world},
        &err);
    assert_non_null(world->stage);
}

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    struct error err;
    char trash[80];
    snprintf(world->top, sizeof world->top, "/tmp/muster-stage-XXXXXX");
    assert_non_null(mkdtemp(world->top));
    snprintf(world->from, sizeof world->from, "%s/from", world->top);
    snprintf(world->root, sizeof world->root, "%s/site", world->top);
    snprintf(trash, sizeof trash, "%s/trash", world->top);
    world->base = event_base_new();
    world->trash = trash_create(world->base, trash, &err);
    assert_non_null(world->trash);
    open_stage(world, 0);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    struct error err;
    stage_destroy(world->stage);
    trash_destroy(world->trash);
    event_base_free(world->base);
    assert_int_equal(file_remove_tree(world->top, &err), 0);
    free(world);
    return 0;
}

static void put_file(const struct world *world, const char *name, const char *text)
{
    char path[200];
    struct error err;
    snprintf(path, sizeof path, "%s/%s", world->from, name);
    assert_int_equal(file_write(path, text, strlen(text), 0644, &err), 0);
}

static void make_folder(const struct world *world)
{
    struct error err;
    char path[200];
    snprintf(path, sizeof path, "%s/below/deeper", world->from);
    assert_int_equal(file_make_dirs(path, 0755, &err), 0);
    put_file(world, "a", "hello");
    put_file(world, "empty", "");
    put_file(world, "below/deeper/b", "world");
    snprintf(path, sizeof path, "%s/link", world->from);
    assert_int_equal(symlink("below/deeper/b", path), 0);
}

static void assert_file(const char *folder, const char *name, const char *text)
{
    char path[300], *found;
    size_t size;
    struct error err;
    struct stat status;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0444);
    assert_int_equal(file_read(path, 1000, &found, &size, &err), 0);
    assert_string_equal(found, text);
    free(found);
}

/* Looks until the state is another than COMING. */
static enum stage_state settle(struct world *world, char text[STAGE_TEXT])
{
    enum stage_state state;
    while ((state = stage_look(world->stage, world->from, text)) == STAGE_COMING) {
        int before = world->changes;
        while (world->changes == before)
            assert_int_equal(event_base_loop(world->base, EVLOOP_ONCE), 0);
    }
    return state;
}

static void a_folder_arrives_whole(void **state)
{
    struct world *world = *state;
    char text[STAGE_TEXT];
    make_folder(world);
    char *path = stage_path(world->stage, world->from);
    stage_hold(world->stage, world->from);
    assert_int_equal(stage_look(world->stage, world->from, text), STAGE_COMING);
    assert_non_null(strstr(text, "copied to the site"));
    assert_int_equal(settle(world, text), STAGE_THERE);
    assert_file(path, "a", "hello");
    assert_file(path, "empty", "");
    assert_file(path, "below/deeper/b", "world");
    assert_file(path, "link", "world");
    free(path);
}

static void what_is_not_there_is_missing(void **state)
{
    struct world *world = *state;
    char text[STAGE_TEXT];
    stage_hold(world->stage, world->from);
    assert_int_equal(settle(world, text), STAGE_MISSING);
    assert_non_null(strstr(text, world->from));
}

static void another_incarnation_finds_it(void **state)
{
    struct world *world = *state;
    char text[STAGE_TEXT], part[200];
    make_folder(world);
    stage_hold(world->stage, world->from);
    assert_int_equal(settle(world, text), STAGE_THERE);
    stage_destroy(world->stage);
    snprintf(part, sizeof part, "%s/0123.new", world->root); /* cut short by a crash */
    assert_int_equal(mkdir(part, 0755), 0);
    open_stage(world, 0);
    assert_int_equal(access(part, F_OK), -1);
    stage_hold(world->stage, world->from);
    assert_int_equal(stage_look(world->stage, world->from, text), STAGE_THERE);
}

static void only_what_nobody_holds_goes(void **state)
{
    struct world *world = *state;
    char text[STAGE_TEXT];
    make_folder(world);
    stage_destroy(world->stage);
    open_stage(world, -1); /* not kept at all */
    char *path = stage_path(world->stage, world->from);
    stage_hold(world->stage, world->from);
    stage_hold(world->stage, world->from);
    assert_int_equal(settle(world, text), STAGE_THERE);
    stage_release(world->stage, world->from);
    stage_tidy(world->stage);
    assert_int_equal(access(path, F_OK), 0);
    stage_release(world->stage, world->from);
    stage_tidy(world->stage);
    assert_int_equal(access(path, F_OK), -1);
    stage_hold(world->stage, world->from);
    assert_int_equal(settle(world, text), STAGE_THERE);
    assert_file(path, "a", "hello");
    free(path);
}

static void what_is_kept_stays_a_while(void **state)
{
    struct world *world = *state;
    char text[STAGE_TEXT];
    make_folder(world);
    char *path = stage_path(world->stage, world->from);
    stage_hold(world->stage, world->from);
    assert_int_equal(settle(world, text), STAGE_THERE);
    stage_release(world->stage, world->from);
    stage_tidy(world->stage);
    assert_int_equal(access(path, F_OK), 0);
    free(path);
}

static void a_copy_that_was_given_up_leaves_nothing_under_the_name(void **state)
{
    struct world *world = *state;
    struct stage_progress progress = {.stop = true};
    struct error err;
    char to[200];
    make_folder(world);
    snprintf(to, sizeof to, "%s/to", world->top);
    assert_int_equal(stage_copy(world->from, to, &progress, &err), -1);
    assert_int_equal(err.code, ERR_UNAVAILABLE);
}

static void what_is_no_file_is_refused(void **state)
{
    struct world *world = *state;
    struct stage_progress progress = {0};
    struct error err;
    char path[200], to[200];
    make_folder(world);
    snprintf(path, sizeof path, "%s/pipe", world->from);
    snprintf(to, sizeof to, "%s/to", world->top);
    assert_int_equal(mkfifo(path, 0644), 0);
    assert_int_equal(stage_copy(world->from, to, &progress, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_folder_arrives_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_not_there_is_missing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_incarnation_finds_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_what_nobody_holds_goes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_kept_stays_a_while, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_copy_that_was_given_up_leaves_nothing_under_the_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_file_is_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
