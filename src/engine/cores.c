/* Cores: see cores.h. The choice is a function of the cores and of what is taken, so it can be
 * tested for machines that are not at hand; only cores_find looks at this one. */
#include "engine/cores.h"

#include "base/file.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The first of "0,4" or "0-1" in the topology of a CPU; the CPU itself where nothing is told. */
static uint32_t physical_of(uint32_t number)
{
    char path[96], *text;
    size_t size;
    uint32_t first = number;
    snprintf(
        path, sizeof path, "/sys/devices/system/cpu/cpu%u/topology/thread_siblings_list", number);
    if (file_read(path, 4096, &text, &size, NULL) < 0)
        return number;
    if (sscanf(text, "%9u", &first) != 1 || first > number)
        first = number;
    free(text);
    return first;
}

static int by_physical(const void *a, const void *b)
{
    const struct core *left = a, *right = b;
    if (left->physical != right->physical)
        return left->physical < right->physical ? -1 : 1;
    return (left->number > right->number) - (left->number < right->number);
}

size_t cores_find(struct core *cores)
{
    cpu_set_t allowed;
    size_t count = 0;
    if (sched_getaffinity(0, sizeof allowed, &allowed) < 0)
        return 0; /* more CPUs than such a set holds */
    for (uint32_t number = 0; number < CORES_MAX; number++) {
        if (CPU_ISSET(number, &allowed))
            cores[count++] = (struct core){number, physical_of(number)};
    }
    qsort(cores, count, sizeof *cores, by_physical);
    return count;
}

struct choice {
    const struct core *cores;
    size_t count;
    const cpu_set_t *taken;
    cpu_set_t chosen;
    size_t wanted; /* still */
};

/* How many threads the physical core beginning at `from` has, and how many of them are free. */
static size_t threads_at(const struct choice *choice, size_t from, size_t *ret_free)
{
    size_t at = from;
    *ret_free = 0;
    for (; at < choice->count && choice->cores[at].physical == choice->cores[from].physical; at++)
        *ret_free += !CPU_ISSET(choice->cores[at].number, choice->taken) &&
                     !CPU_ISSET(choice->cores[at].number, &choice->chosen);
    return at - from;
}

static void take_threads(struct choice *choice, size_t from, size_t threads)
{
    for (size_t at = from; at < from + threads && choice->wanted > 0; at++) {
        uint32_t number = choice->cores[at].number;
        if (CPU_ISSET(number, choice->taken) || CPU_ISSET(number, &choice->chosen))
            continue;
        CPU_SET(number, &choice->chosen);
        choice->wanted--;
    }
}

enum pass { WHOLE_CORES, PARTS_OF_CORES, ANY_THREADS, PASSES };

static void choose_in_pass(struct choice *choice, enum pass pass)
{
    for (size_t at = 0, threads; at < choice->count && choice->wanted > 0; at += threads) {
        size_t available;
        threads = threads_at(choice, at, &available);
        bool whole = available == threads;
        if (pass == ANY_THREADS || (pass == WHOLE_CORES && whole && threads <= choice->wanted) ||
            (pass == PARTS_OF_CORES && !whole))
            take_threads(choice, at, threads);
    }
}

bool cores_choose(const struct core *cores, size_t count, const cpu_set_t *taken, size_t wanted,
    struct core_list *ret_list)
{
    assert(count <= CORES_MAX);
    struct choice choice = {.cores = cores, .count = count, .taken = taken, .wanted = wanted};
    for (int pass = 0; pass < PASSES; pass++)
        choose_in_pass(&choice, (enum pass)pass);
    ret_list->count = 0;
    if (choice.wanted > 0)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (CPU_ISSET(cores[i].number, &choice.chosen))
            ret_list->numbers[ret_list->count++] = cores[i].number;
    }
    return true;
}

int cores_pin(const uint32_t *numbers, size_t count, struct error *err)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    for (size_t i = 0; i < count; i++) {
        assert(numbers[i] < CORES_MAX);
        CPU_SET(numbers[i], &set);
    }
    if (sched_setaffinity(0, sizeof set, &set) < 0)
        return error_set_errno(err, "cannot run on the cores that were chosen");
    return 0;
}

void cores_print(struct strbuf *out, const uint32_t *numbers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        strbuf_printf(out, "%s%u", i ? "," : "", numbers[i]);
}

bool cores_parse(const char *text, struct core_list *ret_list)
{
    ret_list->count = 0;
    while (text && *text) {
        int used = 0;
        uint32_t number;
        if (ret_list->count == CORES_MAX || *text < '0' || *text > '9' ||
            sscanf(text, "%9u%n", &number, &used) != 1 || number >= CORES_MAX)
            return false;
        ret_list->numbers[ret_list->count++] = number;
        text += used;
        if (*text == ',' && text[1] != '\0')
            text++;
        else if (*text)
            return false;
    }
    return true;
}
