/* Tests of labels: what the header may say, and how many are told apart. */
#include "base/memory.h"
#include "base/test.h"
#include "gateway/labels.h"
#include "spec/kinds.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

static const char *items[] = {"project", "stage"};
static const struct text_list names = {items, 2};

static void test_labels_are_put_in_the_order_of_their_names(void **state)
{
    (void)state;
    static const struct {
        const char *given, *labels;
    } rows[] = {
        {"project=x", "project=x"},
        {" stage=b ,\tproject=a", "project=a,stage=b"},
        {"other=1,stage=b", "stage=b"},
        {"other=1", ""},
        {"stage=A-z_0.9", "stage=A-z_0.9"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char labels[USAGE_LABELS];
        assert_null(labels_read(rows[i].given, &names, labels));
        assert_string_equal(labels, rows[i].labels);
    }
}

static void test_what_is_no_list_of_labels_is_refused(void **state)
{
    (void)state;
    static const char *const rows[] = {"", "project", "project=", "=x", "project=x,", ",project=x",
        "project=a b", "project=\"x\"", "project=x;stage=y", "project=a,project=b",
        "project=1234567890123456789012345678901234567890", "project==x", "project=x\n"};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char labels[USAGE_LABELS] = "as it was";
        assert_non_null(labels_read(rows[i], &names, labels));
        assert_string_equal(labels, "as it was");
    }
}

static void test_the_longest_labels_fit(void **state)
{
    (void)state;
    const char *long_names[LABEL_NAMES_MAX];
    char texts[LABEL_NAMES_MAX][LABEL_NAME_BYTES + 1], header[512] = "", labels[USAGE_LABELS];
    for (size_t i = 0; i < LABEL_NAMES_MAX; i++) {
        memset(texts[i], 'a' + (int)i, LABEL_NAME_BYTES);
        texts[i][LABEL_NAME_BYTES] = '\0';
        long_names[i] = texts[i];
        size_t length = strlen(header);
        snprintf(header + length, sizeof header - length, "%s%s=%039d", i ? "," : "", texts[i], 7);
    }
    const struct text_list list = {long_names, LABEL_NAMES_MAX};
    assert_null(labels_read(header, &list, labels));
    assert_string_equal(labels, header);
    labels_other(labels);
    char value[LABEL_VALUE_BYTES + 1];
    for (size_t i = 0; i < LABEL_NAMES_MAX; i++) {
        assert_int_equal(labels_value(labels, long_names[i], value), 0);
        assert_string_equal(value, "other");
    }
}

static void test_a_value_is_found_by_the_whole_name(void **state)
{
    (void)state;
    char value[LABEL_VALUE_BYTES + 1];
    assert_int_equal(labels_value("project=x,stage=test", "stage", value), 0);
    assert_string_equal(value, "test");
    assert_int_equal(labels_value("project=x,stage=test", "stag", value), -1);
    assert_int_equal(labels_value("project=stage", "stage", value), -1);
    assert_int_equal(labels_value("", "stage", value), -1);
}

static void test_so_many_are_told_apart_and_no_more(void **state)
{
    (void)state;
    enum { MOST = 100 };
    struct label_sets *sets = label_sets_create();
    char labels[USAGE_LABELS];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 3 * MOST; i++) {
            snprintf(labels, sizeof labels, "project=p%d", i);
            assert_int_equal(label_sets_admit(sets, labels, MOST), i < MOST);
        }
    }
    /* More are when the Service says so later, and those that were known stay so when it says less.
     */
    assert_true(label_sets_admit(sets, "project=p200", 2 * MOST));
    assert_true(label_sets_admit(sets, "project=p0", 1));
    label_sets_destroy(sets);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_labels_are_put_in_the_order_of_their_names),
        cmocka_unit_test(test_what_is_no_list_of_labels_is_refused),
        cmocka_unit_test(test_the_longest_labels_fit),
        cmocka_unit_test(test_a_value_is_found_by_the_whole_name),
        cmocka_unit_test(test_so_many_are_told_apart_and_no_more),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
