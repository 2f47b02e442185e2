/* Manifests from files: errors, order, work directories, what the server says. */
#include "cli/load.h"

#include "base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define TEAM(name) "apiVersion: muster/v1\nkind: Team\nmetadata: {name: " name "}\n"
#define JOB(name, more)                                                                            \
    "apiVersion: muster/v1\nkind: Job\nmetadata: {name: " name ", team: t}\n"                      \
    "spec:\n  command: [/bin/true]\n" more

struct world {
    char folder[64];
    struct arena *arena;
    struct loaded_list list;
    struct strbuf complaints;
};

static int set_up(void **state)
{
    struct world *world = mem_alloc(1, sizeof *world);
    strcpy(world->folder, "/tmp/muster-test-XXXXXX");
    if (!mkdtemp(world->folder))
        return -1;
    world->arena = arena_create();
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    int failed = file_remove_tree(world->folder, NULL);
    load_finish(&world->list);
    strbuf_finish(&world->complaints);
    arena_destroy(world->arena);
    free(world);
    return failed;
}

static const char *add_file(struct world *world, const char *name, const char *text)
{
    struct error err = {0};
    const char *path = arena_printf(world->arena, "%s/%s", world->folder, name);
    assert_int_equal(file_write(path, text, strlen(text), 0644, &err), 0);
    return path;
}

static int load(struct world *world, const char *path, struct error *err)
{
    return load_paths(world->arena, &path, 1, &world->list, &world->complaints, err);
}

static void a_folder_gives_its_manifests_by_name_and_kind(void **state)
{
    struct world *world = *state;
    add_file(world, "b.yaml", TEAM("b"));
    add_file(world, "a.yaml", JOB("job", ""));
    add_file(world, "c.json",
        "{\"apiVersion\":\"muster/v1\",\"kind\":\"Team\","
        "\"metadata\":{\"name\":\"c\"}}");
    add_file(world, "notes.txt", "not a manifest");
    add_file(world, ".hidden.yaml", "nor this");
    struct error err = {0};
    assert_int_equal(load(world, world->folder, &err), 0);
    assert_int_equal(world->list.count, 3);
    assert_string_equal(world->list.items[0].name, "b");
    assert_string_equal(world->list.items[1].name, "c");
    assert_string_equal(world->list.items[2].name, "job");
    assert_int_equal(world->list.items[2].kind, KIND_JOB);
}

static void every_error_of_every_file_is_told_and_nothing_is_loaded(void **state)
{
    struct world *world = *state;
    const char *first = add_file(world, "1.yaml", JOB("one", "  gang: {size: two}\n"));
    const char *second = add_file(world, "2.yaml", TEAM("fine"));
    const char *third = add_file(world, "3.yaml", JOB("three", "  commnd: [x]\n"));
    struct error err = {0};
    assert_int_equal(load(world, world->folder, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    assert_string_equal(err.text, "2 errors: nothing was sent");
    assert_int_equal(world->list.count, 0);
    const char *said = world->complaints.text;
    assert_non_null(strstr(said, arena_printf(world->arena, "%s:6: spec.gang.size", first)));
    assert_non_null(strstr(said, arena_printf(world->arena, "%s:6: spec.commnd", third)));
    assert_null(strstr(said, second));
}

static void a_file_that_is_no_yaml_says_where(void **state)
{
    struct world *world = *state;
    const char *path = add_file(world, "bad.yaml", "a: b\nc: [unclosed\n");
    struct error err = {0};
    assert_int_equal(load(world, path, &err), -1);
    assert_non_null(strstr(world->complaints.text, "bad.yaml: line "));
}

static void the_same_object_twice_is_refused(void **state)
{
    struct world *world = *state;
    const char *path = add_file(world, "twice.yaml", TEAM("a") "---\n" TEAM("b") "---\n" TEAM("a"));
    struct error err = {0};
    assert_int_equal(load(world, path, &err), -1);
    assert_string_equal(world->complaints.text,
        arena_printf(world->arena, "%s:9: Team \"a\" is in %s:1 already\n", path, path));
}

static void nothing_to_load_is_an_error(void **state)
{
    struct world *world = *state;
    struct error err = {0};
    assert_int_equal(load(world, world->folder, &err), -1);
    assert_non_null(strstr(world->complaints.text, "no .yaml, .yml or .json file"));
    const char *empty = add_file(world, "empty.yaml", "# nothing\n");
    assert_int_equal(load(world, empty, &err), -1);
    assert_non_null(strstr(world->complaints.text, "there is no manifest in it"));
    assert_int_equal(load(world, "/nowhere.yaml", &err), -1);
}

static void a_dash_is_standard_input(void **state)
{
    struct world *world = *state;
    int saved = dup(STDIN_FILENO), ends[2];
    static const char text[] = TEAM("piped");
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], text, sizeof text - 1), sizeof text - 1);
    close(ends[1]);
    dup2(ends[0], STDIN_FILENO);
    close(ends[0]);
    struct error err = {0};
    int failed = load(world, "-", &err);
    dup2(saved, STDIN_FILENO);
    close(saved);
    assert_int_equal(failed, 0);
    assert_string_equal(world->list.items[0].name, "piped");
    assert_string_equal(world->list.items[0].file, "standard input");
}

static void a_folder_as_workdir_is_kept_for_packing(void **state)
{
    struct world *world = *state;
    static const char digest[] =
        "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    assert_int_equal(load_text(world->arena, "dir/a.yaml", JOB("a", "  workdir: ./src\n"),
                         strlen(JOB("a", "  workdir: ./src\n")), &world->list, &world->complaints),
        0);
    assert_string_equal(world->list.items[0].workdirs->folder, "dir/./src");
    assert_int_equal(load_text(world->arena, "b.yaml", JOB("b", "  workdir: /abs\n"),
                         strlen(JOB("b", "  workdir: /abs\n")), &world->list, &world->complaints),
        0);
    assert_string_equal(world->list.items[1].workdirs->folder, "/abs");
    const char *packed = arena_printf(world->arena, JOB("c", "  workdir: %s\n"), digest);
    assert_int_equal(
        load_text(world->arena, "c.yaml", packed, strlen(packed), &world->list, &world->complaints),
        0);
    assert_null(world->list.items[2].workdirs);
    assert_string_equal(
        doc_get_string(doc_get(world->list.items[2].doc, "spec"), "workdir"), digest);
}

static void a_gate_evaluates_in_a_folder(void **state)
{
    struct world *world = *state;
    static const char text[] = "apiVersion: muster/v1\nkind: Model\n"
                               "metadata: {name: digits, team: vision}\n"
                               "spec:\n  gates:\n"
                               "  - {stage: staging}\n"
                               "  - stage: production\n"
                               "    evaluation:\n"
                               "      dataset: test\n"
                               "      command: [./try]\n"
                               "      workdir: ../src\n";
    assert_int_equal(
        load_text(world->arena, "dir/a.yaml", text, strlen(text), &world->list, &world->complaints),
        0);
    const struct loaded_workdir *workdir = world->list.items[0].workdirs;
    assert_non_null(workdir);
    assert_null(workdir->next);
    assert_string_equal(workdir->folder, "dir/../src");
    assert_string_equal(workdir->path, "spec.gates[1].evaluation.workdir");
    const struct doc *field = doc_find(world->list.items[0].doc, workdir->path);
    assert_ptr_equal(field, doc_get(workdir->owner, "workdir"));
    assert_int_equal(field->line, 11);
    assert_memory_equal(field->text, "sha256:", 7);
}

static void what_the_server_says_is_found_in_the_files(void **state)
{
    struct world *world = *state;
    static const char both[] =
        JOB("a", "  gang:\n    size: 2\n") "---\n" JOB("b", "  hold: true\n");
    assert_int_equal(
        load_text(world->arena, "two.yaml", both, strlen(both), &world->list, &world->complaints),
        0);
    static const char problem[] =
        "{\"errors\": [{\"path\": \"objects[0].spec.gang.size\", \"detail\": \"too many\"},"
        "{\"path\": \"objects[1].metadata.team\", \"detail\": \"no such team\"},"
        "{\"path\": \"objects[1].spec.absent\", \"detail\": \"missing\"},"
        "{\"path\": \"objects[7].spec\", \"detail\": \"who\"}, {\"detail\": \"all wrong\"}]}";
    const struct doc *doc =
        doc_parse_json(world->arena, problem, strlen(problem), DOC_BYTES_MAX, NULL);
    load_locate_problem(&world->list, doc, &world->complaints);
    assert_string_equal(world->complaints.text, "two.yaml:7: spec.gang.size: too many\n"
                                                "two.yaml:11: metadata.team: no such team\n"
                                                "two.yaml:12: spec.absent: missing\n"
                                                "objects[7].spec: who\n"
                                                "all wrong\n");
}

static void an_error_about_one_object_is_found_too(void **state)
{
    struct world *world = *state;
    static const char text[] = JOB("a", "  hold: true\n");
    assert_int_equal(
        load_text(world->arena, "one.yaml", text, strlen(text), &world->list, &world->complaints),
        0);
    static const char *const cases[][2] = {
        {"objects[0] (Job a): metadata.team: there is no team t",
            "one.yaml:3: metadata.team: there is no team t"},
        {"objects[0]: it is used: delete it later", "one.yaml:1: it is used: delete it later"},
        {"objects[4]: who", "objects[4]: who"},
        {"nothing of ours", "nothing of ours"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct error err = {0};
        assert_int_equal(error_set(&err, ERR_NOT_FOUND, "%s", cases[i][0]), -1);
        load_locate_error(&world->list, &err);
        assert_string_equal(err.text, cases[i][1]);
        assert_int_equal(err.code, ERR_NOT_FOUND);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_folder_gives_its_manifests_by_name_and_kind),
        TEST(every_error_of_every_file_is_told_and_nothing_is_loaded),
        TEST(a_file_that_is_no_yaml_says_where),
        TEST(the_same_object_twice_is_refused),
        TEST(nothing_to_load_is_an_error),
        TEST(a_dash_is_standard_input),
        TEST(a_folder_as_workdir_is_kept_for_packing),
        TEST(a_gate_evaluates_in_a_folder),
        TEST(what_the_server_says_is_found_in_the_files),
        TEST(an_error_about_one_object_is_found_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
