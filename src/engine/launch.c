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
    MEMBER(walltime_ms, RECORD_U64),
    MEMBER(log_file_bytes, RECORD_U64),
    MEMBER(log_files, RECORD_U32),
    MEMBER(sample_ms, RECORD_U64),
    MEMBER(output_job, RECORD_U64),
    MEMBER(output_part, RECORD_TEXT),
    MEMBER(serve.on, RECORD_BOOL),
    MEMBER(serve.port, RECORD_U32),
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

/* ---- Inputs, outputs and the socket ------------------------------------------------------ */

static bool is_lower_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool launch_is_artifact_name(const char *name)
{
    if (!name || !is_lower_or_digit(*name) || strlen(name) > MOST_NAME)
        return false;
    for (; *name; name++) {
        if (!is_lower_or_digit(*name) && !strchr("._-", *name))
            return false;
    }
    return true;
}

static char variable_character(char c)
{
    if (c >= 'a' && c <= 'z')
        return (char)(c - 'a' + 'A');
    return c == '-' || c == '.' ? '_' : c;
}

void launch_artifact_variable(struct strbuf *out, const char *prefix, const char *name)
{
    strbuf_puts(out, prefix);
    for (; *name; name++)
        strbuf_putc(out, variable_character(*name));
}

bool launch_has_share(const struct launch *launch)
{
    const struct launch_placement *first = &launch->placements[0];
    return first->device_count && first->device_milli && first->device_milli < 1000;
}

uint64_t launch_output_job(const struct launch *launch)
{
    return launch->output_job ? launch->output_job : launch->job;
}

/* Would both be the same variable? */
static bool same_variable(const char *a, const char *b)
{
    while (*a && variable_character(*a) == variable_character(*b))
        a++, b++;
    return !*a && !*b;
}

/* A list of names as the two kinds of artifacts have them: the name of each at a stride. */
struct name_list {
    const char *what;
    const char *const *first;
    size_t stride;
    size_t count;
};

static const char *name_at(const struct name_list *list, size_t i)
{
    return *(const char *const *)((const char *)list->first + i * list->stride);
}

static int check_artifact_names(const struct name_list *list, struct error *err)
{
    if (list->count > ENGINE_ARTIFACTS_MAX)
        return error_set(err, ERR_INVALID, "the job has %zu %ss: at most %d are possible",
            list->count, list->what, ENGINE_ARTIFACTS_MAX);
    for (size_t i = 0; i < list->count; i++) {
        const char *name = name_at(list, i);
        if (!launch_is_artifact_name(name))
            return error_set(err, ERR_INVALID,
                "\"%.60s\" is not the name of an %s: it begins with a-z or 0-9, and has "
                "only those, '.', '_' and '-'",
                name ? name : "", list->what);
        for (size_t j = 0; j < i; j++) {
            if (same_variable(name, name_at(list, j)))
                return error_set(err, ERR_INVALID,
                    "the %ss %.60s and %.60s would be the same variable: rename one", list->what,
                    name_at(list, j), name);
        }
    }
    return 0;
}

/* On the machine's network a port may be anybody's: what would be asked there need not be the
 * replica. */
static int check_serve(const struct launch *launch, struct error *err)
{
    const struct launch_serve *serve = &launch->serve;
    if (serve->port > UINT16_MAX || (serve->port && !serve->on))
        return error_set(err, ERR_INVALID,
            "port %u cannot be served: it is 1 to 65535, of a job that serves", serve->port);
    if (serve->port && launch->network == ENGINE_NETWORK_HOST)
        return error_set(err, ERR_INVALID,
            "port %u is served from a network of the job's own: choose the network none or gang, "
            "or listen at MUSTER_SOCKET",
            serve->port);
    return 0;
}

static int check_artifacts(const struct launch *launch, struct error *err)
{
    const struct name_list inputs = {"input", launch->input_count ? &launch->inputs->name : NULL,
        sizeof *launch->inputs, launch->input_count};
    const struct name_list outputs = {
        "output", launch->outputs, sizeof *launch->outputs, launch->output_count};
    if (check_artifact_names(&inputs, err) < 0 || check_artifact_names(&outputs, err) < 0)
        return -1;
    for (size_t i = 0; i < launch->input_count; i++) {
        const char *folder = launch->inputs[i].folder;
        if (!folder || folder[0] != '/')
            return error_set(err, ERR_INVALID, "the folder of the input %s is not an absolute path",
                launch->inputs[i].name);
    }
    if (launch->output_part && !launch_is_artifact_name(launch->output_part))
        return error_set(err, ERR_INVALID, "\"%.60s\" is not the name of a part of an output",
            launch->output_part);
    return check_serve(launch, err);
}

/* ---- The whole launch -------------------------------------------------------------------- */

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
    if (check_variables(launch, err) < 0 || check_artifacts(launch, err) < 0 ||
        check_placements(launch, err) < 0)
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
    for (size_t i = 0; i < launch->input_count; i++) {
        record_put(out, "input", launch->inputs[i].name);
        record_put(out, "input_folder", launch->inputs[i].folder);
    }
    for (size_t i = 0; i < launch->output_count; i++)
        record_put(out, "output", launch->outputs[i]);
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

/* Inputs and outputs; a launch file of an older server has none. An input without its folder is
 * left with none, which launch_check refuses. */
static void decode_artifacts(
    struct arena *arena, const struct record *record, struct launch *launch)
{
    struct launch_input *inputs = arena_alloc(arena, count_fields(record, "input"), sizeof *inputs);
    const char **outputs = arena_alloc(arena, count_fields(record, "output"), sizeof *outputs);
    for (size_t i = 0; i < record->count; i++) {
        const struct record_field *field = &record->fields[i];
        if (!strcmp(field->name, "input"))
            inputs[launch->input_count++] = (struct launch_input){field->value, NULL};
        else if (!strcmp(field->name, "input_folder") && launch->input_count > 0)
            inputs[launch->input_count - 1].folder = field->value;
        else if (!strcmp(field->name, "output"))
            outputs[launch->output_count++] = field->value;
    }
    launch->inputs = inputs;
    launch->outputs = outputs;
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
    decode_artifacts(arena, record, launch);
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

struct launch launch_without_optional(struct arena *arena, const struct launch *launch)
{
    struct launch kept = *launch;
    struct launch_input *inputs = arena_alloc(arena, launch->input_count + 1, sizeof *inputs);
    kept.input_count = 0;
    for (size_t i = 0; i < launch->input_count; i++) {
        if (!launch->inputs[i].optional)
            inputs[kept.input_count++] = launch->inputs[i];
    }
    kept.inputs = inputs;
    return kept;
}
