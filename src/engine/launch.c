/* Launches: see launch.h. The record holds the scalars by table; arguments, variables and
 * placements are repeated fields. */
#include "engine/launch.h"

#include "base/vec.h"
#include "engine/record.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { DEFAULT_GRACE_MS = 10000, DEFAULT_SAMPLE_MS = 5000, DEFAULT_LOG_FILES = 4 };
enum { DEFAULT_LOG_FILE_BYTES = 16 << 20, LEAST_LOG_FILE_BYTES = 64 << 10 };
enum { MOST_LOG_FILES = 64, MOST_NAME = 255 };

#define MEMBER(member, kind) RECORD_MEMBER(struct launch, member, kind)
static const struct record_member members[] = {
    MEMBER(attempt, RECORD_U64),
    MEMBER(job, RECORD_U64),
    MEMBER(attempt_number, RECORD_U32),
    MEMBER(epoch, RECORD_U64),
    MEMBER(job_name, RECORD_TEXT),
    MEMBER(team_name, RECORD_TEXT),
    MEMBER(uid, RECORD_U32),
    MEMBER(gid, RECORD_U32),
    MEMBER(work_subfolder, RECORD_TEXT),
    MEMBER(world_size, RECORD_U32),
    MEMBER(cpu_milli, RECORD_U64),
    MEMBER(memory_bytes, RECORD_U64),
    MEMBER(disk_bytes, RECORD_U64),
    MEMBER(accelerator_type, RECORD_TEXT),
    MEMBER(grace_ms, RECORD_U64),
    MEMBER(time_limit_ms, RECORD_U64),
    MEMBER(log_file_bytes, RECORD_U64),
    MEMBER(log_files, RECORD_U32),
    MEMBER(sample_ms, RECORD_U64),
};

static int check_name(const char *what, const char *name, struct error *err)
{
    if (!name || !*name || strlen(name) > MOST_NAME || strpbrk(name, "/\n"))
        return error_set(err, ERR_INVALID, "the %s of the launch is missing or not a name", what);
    return 0;
}

static int check_variable(const char *name, struct error *err)
{
    if (!name || !*name || strchr(name, '='))
        return error_set(
            err, ERR_INVALID, "\"%.60s\" is not the name of a variable", name ? name : "");
    return 0;
}

static int check_variables(const struct launch *launch, struct error *err)
{
    for (size_t i = 0; i < launch->variable_count; i++) {
        if (check_variable(launch->variables[i].name, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < launch->secret_count; i++) {
        const struct launch_secret *secret = &launch->secrets[i];
        if (check_variable(secret->name, err) < 0)
            return -1;
        if (strpbrk(secret->name, "/") || secret->name[0] == '.')
            return error_set(
                err, ERR_INVALID, "the secret \"%.60s\" cannot be a file's name", secret->name);
        if (!secret->as_file && memchr(secret->value, '\0', secret->size))
            return error_set(err, ERR_INVALID,
                "the secret %s has a NUL byte: it can only be a file", secret->name);
    }
    return 0;
}

static int check_placements(const struct launch *launch, struct error *err)
{
    uint64_t ranks = 0;
    for (size_t i = 0; i < launch->placement_count; i++) {
        const struct launch_placement *place = &launch->placements[i];
        if (check_name("node", place->node, err) < 0)
            return -1;
        if (place->ranks == 0 || place->ranks > ENGINE_RANKS_MAX ||
            place->device_count > ENGINE_DEVICES_MAX)
            return error_set(err, ERR_INVALID,
                "%u ranks with %zu devices on %s: 1 to %d ranks "
                "and at most %d devices a node are possible",
                place->ranks, place->device_count, place->node, ENGINE_RANKS_MAX,
                ENGINE_DEVICES_MAX);
        if ((uint64_t)place->first_rank + place->ranks > launch->world_size)
            return error_set(err, ERR_INVALID, "ranks %u to %u of a gang of %u", place->first_rank,
                place->first_rank + place->ranks - 1, launch->world_size);
        ranks += place->ranks;
    }
    if (ranks != launch->world_size)
        return error_set(err, ERR_INVALID, "a gang of %u has places for %llu ranks",
            launch->world_size, (unsigned long long)ranks);
    return 0;
}

int launch_check(const struct launch *launch, struct error *err)
{
    if (launch->attempt == 0 || launch->job == 0 || launch->attempt_number == 0)
        return error_set(err, ERR_INVALID, "a launch without attempt, job or attempt number");
    if (check_name("job's name", launch->job_name, err) < 0 ||
        check_name("team's name", launch->team_name, err) < 0)
        return -1;
    if (!launch->argv || !launch->argv[0] || !*launch->argv[0])
        return error_set(err, ERR_INVALID, "the job has no command");
    size_t arguments = 0;
    while (launch->argv[arguments])
        arguments++;
    if (arguments > ENGINE_ARGUMENTS_MAX)
        return error_set(
            err, ERR_INVALID, "the command has more than %d arguments", ENGINE_ARGUMENTS_MAX);
    if (launch->network > ENGINE_NETWORK_HOST)
        return error_set(err, ERR_INVALID, "the network is none, gang or host");
    if (launch->log_files > MOST_LOG_FILES)
        return error_set(err, ERR_INVALID, "at most %d log files are possible", MOST_LOG_FILES);
    if (check_variables(launch, err) < 0 || check_placements(launch, err) < 0)
        return -1;
    return 0;
}

static void encode_placement(struct strbuf *out, const struct launch_placement *place)
{
    SCOPED(strbuf_finish) struct strbuf text = {0};
    strbuf_printf(&text, "%u %u %u ", place->first_rank, place->ranks, place->device_milli);
    for (size_t i = 0; i < place->device_count; i++)
        strbuf_printf(&text, "%s%u", i ? "," : "", place->devices[i]);
    strbuf_printf(&text, "%s %s", place->device_count ? "" : "-", place->node);
    record_put(out, "placement", strbuf_text(&text));
}

void launch_encode(struct strbuf *out, const struct launch *launch)
{
    record_encode(out, members, ARRAY_LEN(members), launch);
    record_put_number(out, "network", launch->network);
    for (size_t i = 0; launch->argv[i]; i++)
        record_put(out, "argument", launch->argv[i]);
    for (size_t i = 0; i < launch->variable_count; i++) {
        record_put(out, "variable", launch->variables[i].name);
        record_put(out, "value", launch->variables[i].value);
    }
    for (size_t i = 0; i < launch->placement_count; i++)
        encode_placement(out, &launch->placements[i]);
}

static size_t count_fields(const struct record *record, const char *name)
{
    size_t count = 0;
    for (size_t i = 0; i < record->count; i++)
        count += !strcmp(record->fields[i].name, name);
    return count;
}

/* "0,1,5": the devices of a placement. -1: not such a list. */
static int decode_devices(struct arena *arena, const char *text, struct launch_placement *place)
{
    uint32_t *devices = arena_alloc(arena, ENGINE_DEVICES_MAX, sizeof *devices);
    place->devices = devices;
    while (*text) {
        int used = 0;
        if (place->device_count == ENGINE_DEVICES_MAX ||
            sscanf(text, "%10u%n", &devices[place->device_count], &used) != 1)
            return -1;
        place->device_count++;
        text += used;
        text += *text == ',';
    }
    return 0;
}

/* "FIRST RANKS MILLI DEVICES NODE", where the devices are "-" when there are none. */
static int decode_placement(struct arena *arena, const char *text, struct launch_placement *place)
{
    char devices[ENGINE_DEVICES_MAX * 11 + 1];
    int used = 0;
    _Static_assert(sizeof devices == 705, "the format below has its size");
    if (sscanf(text, "%9u %9u %9u %704s %n", &place->first_rank, &place->ranks,
            &place->device_milli, devices, &used) != 4 ||
        used == 0)
        return -1;
    place->node = text + used;
    return decode_devices(arena, devices[0] == '-' ? "" : devices, place);
}

/* Fills the repeated fields. -1: one of them is not what it should be. */
static int decode_lists(struct arena *arena, const struct record *record, struct launch *launch)
{
    const char **argv = arena_alloc(arena, count_fields(record, "argument") + 1, sizeof *argv);
    struct launch_variable *variables =
        arena_alloc(arena, count_fields(record, "variable"), sizeof *variables);
    struct launch_placement *places =
        arena_alloc(arena, count_fields(record, "placement"), sizeof *places);
    size_t arguments = 0;
    for (size_t i = 0; i < record->count; i++) {
        const struct record_field *field = &record->fields[i];
        if (!strcmp(field->name, "argument"))
            argv[arguments++] = field->value;
        else if (!strcmp(field->name, "variable"))
            variables[launch->variable_count++] = (struct launch_variable){field->value, ""};
        else if (!strcmp(field->name, "value") && launch->variable_count > 0)
            variables[launch->variable_count - 1].value = field->value;
        else if (!strcmp(field->name, "placement") &&
                 decode_placement(arena, field->value, &places[launch->placement_count++]) < 0)
            return -1;
    }
    launch->argv = argv;
    launch->variables = variables;
    launch->placements = places;
    return 0;
}

static void set_defaults(struct launch *launch)
{
    if (launch->grace_ms == 0)
        launch->grace_ms = DEFAULT_GRACE_MS;
    if (launch->sample_ms == 0)
        launch->sample_ms = DEFAULT_SAMPLE_MS;
    if (launch->log_files < 2)
        launch->log_files = launch->log_files ? 2 : DEFAULT_LOG_FILES;
    if (launch->log_file_bytes == 0)
        launch->log_file_bytes = DEFAULT_LOG_FILE_BYTES;
    if (launch->log_file_bytes < LEAST_LOG_FILE_BYTES)
        launch->log_file_bytes = LEAST_LOG_FILE_BYTES;
}

int launch_decode(struct arena *arena, const char *text, size_t size, struct launch *ret_launch,
    struct error *err)
{
    struct record record;
    struct launch launch = {.snapshot_fd = -1};
    if (record_parse(arena, text, size, &record, err) < 0 ||
        record_decode(&record, members, ARRAY_LEN(members), &launch, err) < 0)
        return -1;
    launch.network = (enum launch_network)record_number(&record, "network", ENGINE_NETWORK_NONE);
    if (decode_lists(arena, &record, &launch) < 0)
        return error_set(err, ERR_CORRUPT, "a placement of the launch file is not valid");
    if (launch_check(&launch, err) < 0)
        return -1;
    set_defaults(&launch);
    *ret_launch = launch;
    return 0;
}

const struct launch_placement *launch_placement_on(const struct launch *launch, const char *node)
{
    for (size_t i = 0; i < launch->placement_count; i++) {
        if (!strcmp(launch->placements[i].node, node))
            return &launch->placements[i];
    }
    return NULL;
}
