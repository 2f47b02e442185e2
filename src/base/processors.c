/* See processors.h. Inside a container a group may be named by its path on the host, which is not
 * there: the folders above it lead to the root, which is the container's own group. */
#include "base/processors.h"

#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Microseconds of processor time in a period: "max 100000", "150000 100000", "-1", "150000". */
static bool read_numbers(const char *folder, const char *name, long long ret[2])
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return false;
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    int count = fscanf(file, "%lld %lld", &ret[0], &ret[1]);
    fclose(file);
    return count > 0;
}

static int64_t quota_of(const char *folder)
{
    long long numbers[2] = {-1, 0}, period[2] = {0, 0};
    if (!read_numbers(folder, "cpu.max", numbers) &&
        read_numbers(folder, "cpu.cfs_quota_us", numbers) &&
        read_numbers(folder, "cpu.cfs_period_us", period))
        numbers[1] = period[0];
    if (numbers[0] <= 0 || numbers[0] > INT64_MAX / 1000 || numbers[1] <= 0)
        return INT64_MAX;
    return numbers[0] * 1000 / numbers[1];
}

/* The least of a group's and of those above it. line: "4:cpu,cpuacct:/a/b", "0::/a/b". */
static int64_t quota_of_line(char *line, const char *root)
{
    char folder[PATH_MAX];
    char *controllers = strchr(line, ':');
    char *path = controllers ? strchr(controllers + 1, ':') : NULL;
    int64_t least = INT64_MAX;
    if (!path)
        return least;
    *path++ = '\0';
    size_t top = (size_t)snprintf(folder, sizeof folder, "%s/%s", root, controllers + 1);
    if (top + strlen(path) >= sizeof folder)
        return least;
    strcpy(folder + top, path);
    for (char *end = folder + strlen(folder); end; end = strrchr(folder + top, '/')) {
        *end = '\0';
        int64_t quota = quota_of(folder);
        least = quota < least ? quota : least;
    }
    return least;
}

int64_t processors_quota_milli(const char *groups, const char *root)
{
    int64_t least = INT64_MAX;
    FILE *file = fopen(groups, "re");
    char *line = NULL;
    size_t size = 0;
    while (file && getline(&line, &size, file) > 0) {
        line[strcspn(line, "\n")] = '\0';
        int64_t quota = quota_of_line(line, root);
        least = quota < least ? quota : least;
    }
    free(line);
    if (file)
        fclose(file);
    return least;
}

static int within_quota(int64_t count)
{
    int64_t quota = processors_quota_milli("/proc/self/cgroup", "/sys/fs/cgroup") / 1000;
    count = quota < count ? quota : count;
    return count < 1 ? 1 : (int)count;
}

int processors_allowed(void)
{
    cpu_set_t set;
    bool known = sched_getaffinity(0, sizeof set, &set) == 0;
    return known ? within_quota(CPU_COUNT(&set)) : processors_at_work();
}

int processors_at_work(void)
{
    return within_quota(sysconf(_SC_NPROCESSORS_ONLN));
}
