/* Finding control groups, on machines of each kind as they describe themselves. */
#include "engine/cgroup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define V2_MOUNT "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"

static const char v1_mounts[] =
    "21 1 0:20 / /sys rw - sysfs sysfs rw\n"
    "31 24 0:27 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
    "32 24 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:10 - cgroup cgroup rw,cpu,cpuacct\n"
    "33 24 0:29 / /sys/fs/cgroup/pids rw shared:11 - cgroup cgroup rw,pids\n";

static void assert_folder(
    const struct cgroup *group, enum cgroup_kind kind, bool unified, const char *folder)
{
    assert_string_equal(group->folder[kind], folder);
    if (*folder)
        assert_int_equal(group->unified[kind], unified);
}

static void test_version_2_is_found(void **state)
{
    struct cgroup group;
    (void)state;
    cgroup_locate(
        "0::/system.slice/muster.service\n", V2_MOUNT, "cpuset cpu io memory pids\n", &group);
    for (int kind = 0; kind < CGROUP_KINDS; kind++)
        assert_folder(
            &group, (enum cgroup_kind)kind, true, "/sys/fs/cgroup/system.slice/muster.service");
}

static void test_version_2_without_controllers_only_has_the_tree(void **state)
{
    struct cgroup group;
    (void)state;
    cgroup_locate("0::/\n", V2_MOUNT, "io\n", &group);
    assert_folder(&group, CGROUP_MEMORY, true, "");
    assert_folder(&group, CGROUP_TREE, true, "/sys/fs/cgroup");
}

static void test_version_1_is_found(void **state)
{
    struct cgroup group;
    (void)state;
    cgroup_locate(
        "4:memory:/a/b\n3:cpu,cpuacct:/\n2:pids:/p\n1:name=systemd:/x\n", v1_mounts, "", &group);
    assert_folder(&group, CGROUP_MEMORY, false, "/sys/fs/cgroup/memory/a/b");
    assert_folder(&group, CGROUP_CPU, false, "/sys/fs/cgroup/cpu,cpuacct");
    assert_folder(&group, CGROUP_CPUACCT, false, "/sys/fs/cgroup/cpu,cpuacct");
    assert_folder(&group, CGROUP_PIDS, false, "/sys/fs/cgroup/pids/p");
    assert_folder(&group, CGROUP_TREE, false, "");
}

static void test_a_hybrid_uses_each_where_it_is(void **state)
{
    char mounts[1024];
    struct cgroup group;
    (void)state;
    strcpy(mounts, v1_mounts);
    strcat(mounts, "40 24 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
    cgroup_locate("4:memory:/m\n0::/u\n", mounts, "cpu pids\n", &group);
    assert_folder(&group, CGROUP_MEMORY, false, "/sys/fs/cgroup/memory/m");
    assert_folder(&group, CGROUP_CPU, true, "/sys/fs/cgroup/unified/u");
    assert_folder(&group, CGROUP_PIDS, true, "/sys/fs/cgroup/unified/u");
    assert_folder(&group, CGROUP_TREE, true, "/sys/fs/cgroup/unified/u");
}

static void test_a_mount_of_a_part_is_stripped(void **state)
{
    struct cgroup group;
    (void)state;
    cgroup_locate("0::/docker/abc/inner\n",
        "30 23 0:26 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "memory\n", &group);
    assert_folder(&group, CGROUP_MEMORY, true, "/sys/fs/cgroup/inner");
    cgroup_locate("0::/docker/abcdef\n",
        "30 23 0:26 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "memory\n", &group);
    assert_true(cgroup_is_empty(&group));
}

static void test_none_is_found_where_none_is(void **state)
{
    struct cgroup group;
    (void)state;
    cgroup_locate("", "", "", &group);
    assert_true(cgroup_is_empty(&group));
    cgroup_locate("no colon\n0:\n::\n4:memory\n", "short line\n- - -\n", "memory", &group);
    assert_true(cgroup_is_empty(&group));
}

static void test_keyed_values_are_found_by_whole_keys(void **state)
{
    static const char events[] = "low 0\noom 3\noom_kill 2\noom_group_kill 0\n";
    uint64_t value = 0;
    (void)state;
    assert_true(cgroup_keyed_value(events, "oom_kill", &value));
    assert_int_equal(value, 2);
    assert_true(
        cgroup_keyed_value("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", "oom_kill", &value));
    assert_int_equal(value, 1);
    assert_false(cgroup_keyed_value(events, "oom_k", &value));
    assert_false(cgroup_keyed_value("oom_kill x\n", "oom_kill", &value));
}

static void test_a_group_comes_back_from_its_record(void **state)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    SCOPED(strbuf_finish) struct strbuf text = {0};
    struct cgroup group, back;
    struct record record;
    (void)state;
    cgroup_locate("4:memory:/m m\n", v1_mounts, "", &group);
    cgroup_encode(&text, &group);
    assert_int_equal(record_parse(arena, text.text, text.length, &record, NULL), 0);
    cgroup_decode(&record, &back);
    assert_folder(&back, CGROUP_MEMORY, false, "/sys/fs/cgroup/memory/m m");
    assert_folder(&back, CGROUP_CPU, false, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version_2_is_found),
        cmocka_unit_test(test_version_2_without_controllers_only_has_the_tree),
        cmocka_unit_test(test_version_1_is_found),
        cmocka_unit_test(test_a_hybrid_uses_each_where_it_is),
        cmocka_unit_test(test_a_mount_of_a_part_is_stripped),
        cmocka_unit_test(test_none_is_found_where_none_is),
        cmocka_unit_test(test_keyed_values_are_found_by_whole_keys),
        cmocka_unit_test(test_a_group_comes_back_from_its_record),
    };
    return cmocka_run_group_tests_name("control groups", tests, NULL, NULL);
}
