/* Tests of how many processors there are for this process. */
#include "base/file.h"
#include "base/processors.h"
#include "base/test.h"

#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char folder[PATH_MAX];

static int make_folder(void **state)
{
    const char *base = getenv("TMPDIR");
    (void)state;
    snprintf(folder, sizeof folder, "%s/muster-processors-XXXXXX", base ? base : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return file_remove_tree(folder, NULL);
}

static void put(const char *group, const char *name, const char *text)
{
    char path[2 * PATH_MAX];
    struct error err;
    snprintf(path, sizeof path, "%s/root/%s", folder, group);
    assert_int_equal(file_make_dirs(path, 0700, &err), 0);
    snprintf(path, sizeof path, "%s/root/%s/%s", folder, group, name);
    assert_int_equal(file_write(path, text, strlen(text), 0600, &err), 0);
}

static int64_t quota(const char *groups)
{
    char path[2 * PATH_MAX], root[2 * PATH_MAX];
    struct error err;
    snprintf(path, sizeof path, "%s/groups", folder);
    snprintf(root, sizeof root, "%s/root", folder);
    assert_int_equal(file_write(path, groups, strlen(groups), 0600, &err), 0);
    return processors_quota_milli(path, root);
}

static void test_no_group_has_a_quota(void **state)
{
    (void)state;
    put("a", "cpu.max", "max 100000\n");
    put("cpu/a", "cpu.cfs_quota_us", "-1\n");
    put("cpu/a", "cpu.cfs_period_us", "100000\n");
    assert_int_equal(quota("0::/a\n1:cpu:/a\n"), INT64_MAX);
    assert_int_equal(quota("0::/not/there\n"), INT64_MAX);
    assert_int_equal(quota("nonsense\n\n:\n"), INT64_MAX);
    char longest[3 * PATH_MAX];
    memset(longest, 'a', sizeof longest);
    memcpy(longest, "0::/", 4);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(quota(longest), INT64_MAX);
    assert_int_equal(processors_quota_milli("/not/there", "/not/there"), INT64_MAX);
}

static void test_the_least_of_the_groups_above_counts(void **state)
{
    (void)state;
    put("b/c/d", "cpu.max", "max 100000\n");
    put("b/c", "cpu.max", "350000 100000\n");
    put("b", "cpu.max", "150000 100000\n");
    assert_int_equal(quota("0::/b/c/d\n"), 1500);
    put("b/c", "cpu.max", "50000 100000\n");
    assert_int_equal(quota("0::/b/c/d\n"), 500);
    assert_int_equal(quota("0::/b\n"), 1500);
}

static void test_both_versions(void **state)
{
    (void)state;
    put("cpu,cpuacct", "cpu.cfs_quota_us", "200000\n");
    put("cpu,cpuacct", "cpu.cfs_period_us", "100000\n");
    assert_int_equal(quota("4:memory:/\n3:cpu,cpuacct:/docker/of-the-host\n0::/\n"), 2000);
}

static void test_the_mask_counts(void **state)
{
    cpu_set_t before, one;
    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    assert_in_range(processors_allowed(), 1, CPU_COUNT(&before));
    int at_work = processors_at_work();
    CPU_ZERO(&one);
    for (int i = 0; CPU_COUNT(&one) == 0; i++) {
        if (CPU_ISSET(i, &before))
            CPU_SET(i, &one);
    }
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(processors_allowed(), 1);
    assert_int_equal(processors_at_work(), at_work);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_group_has_a_quota),
        cmocka_unit_test(test_the_least_of_the_groups_above_counts),
        cmocka_unit_test(test_both_versions),
        cmocka_unit_test(test_the_mask_counts),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
