/* The text of trees: what is read is what was written, and nothing else is. */
#include "registry/test_support.h"
#include "registry/tree.h"

#include <stdio.h>
#include <string.h>

#define D "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define E "file 0 " D " "
#define H "muster-tree 1\n"

static void test_text_comes_back_as_it_was(void **state)
{
    (void)state;
    static const char text[] = H "file 1048583 " D " a/layer 0.bin\nchunk 1048576 " D "\nchunk 7 " D
                                 "\n" E "a/\xc3\xa4\n" E "b\n";
    struct tree tree;
    struct strbuf again = {0};
    assert_int_equal(tree_parse(text, sizeof text - 1, &tree, NULL), 0);
    assert_int_equal(tree.files.count, 3);
    assert_int_equal(tree.bytes, 1048583);
    assert_int_equal(tree_find(&tree, "a/layer 0.bin")->count, 2);
    assert_null(tree_find(&tree, "a"));
    tree_write(&tree, &again);
    assert_string_equal(again.text, text);
    strbuf_finish(&again);
    tree_finish(&tree);
}

static void test_everything_else_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "muster-tree 1",
        H,
        "muster-tree 2\n" E "a\n",
        H E "a",
        H E "a\n\n",
        H E "a\r\n",
        H "file 00 " D " a\n",
        H "file  0 " D " a\n",
        H "file -0 " D " a\n",
        H "file 0  " D " a\n",
        H "file 99999999999999999999 " D " a\n",
        H "file 1 " D " a\n",
        H "file 1 " D " a\nchunk 2 " D "\n",
        H "file 1 " D " a\nchunk 0 " D "\n",
        H "file 1 " D " a\nchunk 01 " D "\n",
        H "file 2 " D " a\nchunk 1 " D "\nchunk 1 " D "\n",
        H "file 4194305 " D " a\nchunk 4194305 " D "\n",
        H "file 0 " D " a\nchunk 0 " D "\n",
        H "file 0 0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef a\n",
        H E "b\n" E "a\n",
        H E "a\n" E "a\n",
        H E "a\n" E "a-b\n" E "a/b\n",
        H E "\n",
        H E "/a\n",
        H E "a/\n",
        H E "a//b\n",
        H E ".\n",
        H E "..\n",
        H E "../a\n",
        H E "a/../b\n",
        H E "a/./b\n",
        H E "-\n",
        H E "a\\b\n",
        H E "a\tb\n",
        H E "a\x7f\n",
        H E "a\xc2\x85\n",
        H E "a\xff\n",
        H E "a\xc0\xaf\n",
    };
    struct tree tree;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (tree_parse(bad[i], strlen(bad[i]), &tree, NULL) == 0)
            fail_msg("number %zu was taken: %s", i, bad[i]);
    static const char nul[] = H E "a\0b\n";
    assert_int_equal(tree_parse(nul, sizeof nul - 1, &tree, NULL), -1);
}

static void test_paths_have_bounds(void **state)
{
    (void)state;
    char path[ARTIFACT_PATH_MAX + 2];
    memset(path, 'a', sizeof path);
    path[ARTIFACT_PATH_MAX + 1] = '\0';
    assert_int_equal(tree_check_path(path, NULL), -1);
    path[ARTIFACT_PATH_MAX] = '\0';
    assert_int_equal(tree_check_path(path, NULL), 0);
    for (size_t i = 1; i < 2 * 31; i += 2)
        path[i] = '/';
    assert_int_equal(tree_check_path(path, NULL), 0);
    path[2 * 31 + 1] = '/';
    assert_int_equal(tree_check_path(path, NULL), -1);
}

static void test_the_number_of_files_has_a_bound(void **state)
{
    (void)state;
    struct tree tree;
    struct error err;
    struct strbuf text = {0};
    strbuf_puts(&text, H);
    for (int i = 0; i < ARTIFACT_FILES_MAX; i++)
        strbuf_printf(&text, E "f%06d\n", i);
    assert_int_equal(tree_parse(text.text, text.length, &tree, &err), 0);
    tree_finish(&tree);
    strbuf_puts(&text, E "z\n");
    assert_int_equal(tree_parse(text.text, text.length, &tree, &err), -1);
    assert_int_equal(err.code, ERR_TOO_LARGE);
    strbuf_finish(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_comes_back_as_it_was),
        cmocka_unit_test(test_everything_else_is_refused),
        cmocka_unit_test(test_paths_have_bounds),
        cmocka_unit_test(test_the_number_of_files_has_a_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
