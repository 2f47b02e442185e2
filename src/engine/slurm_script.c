/* The scripts: see slurm_script.h. Everything that comes from outside is quoted by script_quote,
 * and nothing else of it is in them.
 *
 * What holds:
 * - A job that finds the claim made already runs nothing: whatever Slurm does with it (requeues it,
 *   runs a second submission of the same attempt), an attempt begins once.
 * - A stop is read from a file that is there from the beginning: opening it asks the storage anew,
 *   where looking for a new file may be answered from a node's cache. slurmrestd cannot pass
 * SIGTERM to ranks alone: it signals srun too, which then kills them at once. Nor can it kill them
 * at once: what it is asked to kill gets SIGTERM, and SIGKILL when the site's KillWait is over.
 * - A rank's file `rank-N.end` is there whole or not at all. */
#include "engine/slurm_script.h"

#include "engine/launch.h"

#include <inttypes.h>
#include <string.h>

void script_quote(struct strbuf *out, const char *text)
{
    strbuf_putc(out, '\'');
    for (; *text; text++) {
        if (*text == '\'')
            strbuf_puts(out, "'\\''");
        else
            strbuf_putc(out, *text);
    }
    strbuf_putc(out, '\'');
}

static void put_variable(struct strbuf *out, const char *name, const char *value)
{
    strbuf_printf(out, "export %s=", name);
    script_quote(out, value);
    strbuf_putc(out, '\n');
}

/* Only what sh takes as a name can be set by it. */
static bool is_name(const char *name)
{
    if ((*name >= '0' && *name <= '9') || !*name)
        return false;
    return strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") ==
           strlen(name);
}

void script_write_submitted(const char *batch, struct strbuf *out)
{
    strbuf_puts(out, "#!/bin/sh\nexec /bin/sh ");
    script_quote(out, batch);
    strbuf_putc(out, '\n');
}

/* ---- the allocation -------------------------------------------------------------------------- */

void script_write_batch(
    const struct launch *launch, const struct script_places *places, struct strbuf *out)
{
    strbuf_puts(out, "cd ");
    script_quote(out, places->out);
    strbuf_puts(out, " || exit 120\n"
                     "umask 077\n"
                     "set -C\n"
                     "{ echo \"$SLURM_JOB_ID\" > claim; } 2>/dev/null || exit 121\n"
                     "set +C\n"
                     "scontrol update jobid=\"$SLURM_JOB_ID\" requeue=0 >/dev/null 2>&1 &\n"
                     "exec </dev/null >batch.log 2>&1\n"
                     "trap : TERM\n"
                     "control=");
    script_quote(out, places->control);
    strbuf_printf(out,
        "\nsrun --quiet --kill-on-bad-exit=0 --ntasks=%" PRIu32 " --output=none --error=none"
        " /bin/sh ",
        launch->world_size);
    script_quote(out, places->rank);
    strbuf_puts(out,
        " &\nstep=$! told=\n"
        "(\n"
        "    trap 'kill $nap 2>/dev/null; exit 0' TERM\n"
        "    while :; do\n"
        "        sleep 1 & nap=$!; wait $nap\n"
        "        read -r word < \"$control\" || continue\n"
        "        [ \"$word\" = run ] || : > stopping\n"
        "        [ \"$word\" = kill ] && scancel --signal=KILL \"$SLURM_JOB_ID.0\" && break\n"
        "        [ \"$word\" = stop ] && [ -z \"$told\" ] || continue\n"
        "        scancel --signal=TERM \"$SLURM_JOB_ID.0\" && told=1\n"
        "    done\n"
        ") &\n"
        "watch=$!\n"
        "wait $step\nstatus=$?\n"
        "while kill -0 $step 2>/dev/null; do wait $step; status=$?; done\n"
        "kill $watch 2>/dev/null; wait $watch 2>/dev/null\n"
        "echo $status > batch.new && mv batch.new batch.end\n"
        "exit 0\n");
}

/* ---- a rank ---------------------------------------------------------------------------------- */

/* Before the job's own variables, which may say otherwise. */
static void put_defaults(
    const struct launch *launch, const struct script_places *places, struct strbuf *out)
{
    uint64_t threads = launch->cpu_milli ? (launch->cpu_milli + 999) / 1000 : 1;
    put_variable(out, "HOME", places->work);
    put_variable(out, "LANG", "C.UTF-8");
    put_variable(out, "PYTHONUNBUFFERED", "1");
    strbuf_printf(out, "export OMP_NUM_THREADS=%" PRIu64 "\n", threads);
}

static void put_job_variables(
    const struct launch *launch, const struct script_places *places, struct strbuf *out)
{
    for (size_t i = 0; i < launch->variable_count; i++) {
        if (is_name(launch->variables[i].name))
            put_variable(out, launch->variables[i].name, launch->variables[i].value);
    }
    for (size_t i = 0; i < launch->secret_count; i++) {
        const struct launch_secret *secret = &launch->secrets[i];
        SCOPED(strbuf_finish) struct strbuf value = {0};
        if (!is_name(secret->name))
            continue;
        if (secret->as_file)
            strbuf_printf(&value, "%s/%s", places->secrets, secret->name);
        else
            strbuf_append(&value, secret->value, secret->size);
        put_variable(out, secret->name, strbuf_text(&value));
    }
}

static void put_output(
    const struct launch *launch, const struct script_places *places, size_t i, struct strbuf *out)
{
    strbuf_printf(out, "%s/%s%s%s", places->outputs, launch->outputs[i],
        launch->output_part ? "/" : "", launch->output_part ? launch->output_part : "");
}

static void put_outputs(
    const struct launch *launch, const struct script_places *places, struct strbuf *out)
{
    for (size_t i = 0; i < launch->output_count; i++) {
        SCOPED(strbuf_finish) struct strbuf name = {0}, folder = {0};
        launch_artifact_variable(&name, "MUSTER_OUTPUT_", launch->outputs[i]);
        put_output(launch, places, i, &folder);
        put_variable(out, strbuf_text(&name), strbuf_text(&folder));
    }
    for (size_t i = 0; i < launch->input_count; i++) {
        SCOPED(strbuf_finish) struct strbuf name = {0};
        launch_artifact_variable(&name, "MUSTER_INPUT_", launch->inputs[i].name);
        put_variable(out, strbuf_text(&name), launch->inputs[i].folder);
    }
}

/* How many ranks share this node: SLURM_STEP_TASKS_PER_NODE is "2(x3),1". The accelerators that the
 * job has on the node are shared out to them in order; with fewer than ranks each sees all. */
static const char own_part[] =
    "node=0\nexport LOCAL_WORLD_SIZE=1\n"
    "for part in $(echo \"$SLURM_STEP_TASKS_PER_NODE\" | tr , ' '); do\n"
    "    size=${part%%\\(*}; times=1\n"
    "    case $part in *x*) times=${part##*x}; times=${times%\\)};; esac\n"
    "    [ \"$SLURM_NODEID\" -ge $node ] && [ \"$SLURM_NODEID\" -lt $((node + times)) ] &&\n"
    "        LOCAL_WORLD_SIZE=$size\n"
    "    node=$((node + times))\n"
    "done\n"
    "set -- $(echo \"$CUDA_VISIBLE_DEVICES\" | tr , ' ')\n"
    "each=$(($# / LOCAL_WORLD_SIZE)); mine=$CUDA_VISIBLE_DEVICES\n"
    "if [ $each -gt 0 ]; then\n"
    "    shift $((LOCAL_RANK * each)); mine=$1; i=1\n"
    "    while [ $i -lt $each ]; do shift; mine=$mine,$1; i=$((i + 1)); done\n"
    "fi\n"
    "export CUDA_VISIBLE_DEVICES=$mine NVIDIA_VISIBLE_DEVICES=$mine\n"
    "export HIP_VISIBLE_DEVICES=$mine ROCR_VISIBLE_DEVICES=$mine\n";

static void put_place(
    const struct launch *launch, const struct script_places *places, struct strbuf *out)
{
    strbuf_printf(out,
        "export RANK=$SLURM_PROCID WORLD_SIZE=%" PRIu32 " LOCAL_RANK=$SLURM_LOCALID\n"
        "export MASTER_ADDR=${SLURM_LAUNCH_NODE_IPADDR:-127.0.0.1}\n"
        "export MASTER_PORT=$((20000 + SLURM_JOB_ID %% 12000))\n",
        launch->world_size);
    strbuf_puts(out, own_part);
    put_variable(out, "MUSTER_JOB", launch->job_name);
    put_variable(out, "MUSTER_TEAM", launch->team_name);
    strbuf_printf(out, "export MUSTER_ATTEMPT=%" PRIu32 "\n", launch->attempt_number);
    put_variable(out, "MUSTER_CHECKPOINT_DIR", places->checkpoint);
    if (launch->serve.on)
        strbuf_printf(out, "export MUSTER_PORT=%" PRIu32 "\n", launch->serve.port);
    strbuf_puts(out, "export MUSTER_METRICS=\"$out/metrics\" MUSTER_COMPLETE=\"$out/complete\"\n");
}

static bool in_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("._-", c));
}

/* The rest of a path behind prefix/name, where the text begins with it and the name ends there;
 * else NULL. */
static const char *behind(const char *text, const char *prefix, const char *name)
{
    size_t prefix_length = strlen(prefix), length = strlen(name);
    if (strncmp(text, prefix, prefix_length) != 0 || text[prefix_length] != '/' ||
        strncmp(text + prefix_length + 1, name, length) != 0)
        return NULL;
    const char *rest = text + prefix_length + 1 + length;
    return in_name(*rest) ? NULL : rest;
}

/* Where the folder that the contract calls /inputs/NAME or /outputs/NAME is there. Returns what is
 * behind that name; NULL: the text begins with neither. */
static const char *place_of(const struct launch *launch, const struct script_places *places,
    const char *text, struct strbuf *folder)
{
    const char *rest;
    for (size_t i = 0; i < launch->input_count; i++) {
        if ((rest = behind(text, ENGINE_INPUTS_PATH, launch->inputs[i].name))) {
            strbuf_puts(folder, launch->inputs[i].folder);
            return rest;
        }
    }
    for (size_t i = 0; i < launch->output_count; i++) {
        if ((rest = behind(text, ENGINE_OUTPUTS_PATH, launch->outputs[i]))) {
            put_output(launch, places, i, folder);
            return rest;
        }
    }
    return NULL;
}

/* There is no /inputs and no /outputs on a node: what the command says of them is written as what
 * it is there. */
static void put_argument(const struct launch *launch, const struct script_places *places,
    const char *text, struct strbuf *out)
{
    SCOPED(strbuf_finish) struct strbuf argument = {0};
    char before = '\0';
    while (*text) {
        bool begins = *text == '/' && !in_name(before);
        const char *rest = begins ? place_of(launch, places, text, &argument) : NULL;
        before = *text;
        if (!rest) {
            strbuf_putc(&argument, *text);
            rest = text + 1;
        }
        text = rest;
    }
    script_quote(out, strbuf_text(&argument));
}

static void put_command(
    const struct launch *launch, const struct script_places *places, struct strbuf *out)
{
    strbuf_puts(out, "set --");
    for (size_t i = 0; launch->argv[i]; i++) {
        strbuf_putc(out, ' ');
        put_argument(launch, places, launch->argv[i], out);
    }
    strbuf_putc(out, '\n');
}

/* sh says 127 and 126 for commands it could not run, and so may a command: looked at before. A
 * signal is said as 128 and its number. */
static const char before_command[] =
    "leave() {\n"
    "    echo \"$1\" > \"$out/rank-$RANK.new\" && mv \"$out/rank-$RANK.new\" "
    "\"$out/rank-$RANK.end\"\n"
    "}\n"
    "stop_others() {\n"
    "    [ \"$WORLD_SIZE\" -gt 1 ] && [ ! -e \"$out/stopping\" ] || return 0\n"
    "    (set -C; : > \"$out/failing\") 2>/dev/null &&\n"
    "        scancel --signal=TERM \"$SLURM_JOB_ID.$SLURM_STEP_ID\"\n"
    "}\n"
    "if ! command -v \"$1\" >/dev/null 2>&1; then leave 'start 2'; stop_others; exit 0; fi\n";

/* A replica's port is one of its node, where others may listen as well: nobody may before it
 * begins, and it is only asked once the one who listens is of its own user. `hold` is what stands
 * in /proc/net/tcp of a socket that listens there. */
static const char watch_port[] =
    "hold=\":$(printf %04X \"$MUSTER_PORT\") [0-9A-F]*:0000 0A \"\n"
    "holder() {\n"
    "    grep -h \"$hold\" /proc/net/tcp /proc/net/tcp6 2>/dev/null | {\n"
    "        read -r _ _ _ _ _ _ _ of _ && echo \"$of\"; }\n"
    "}\n"
    "if [ -n \"$(holder)\" ]; then leave \"port $MUSTER_PORT\"; exit 0; fi\n"
    "own=$(id -u)\n"
    "while sleep 0.2; do\n"
    "    of=$(holder)\n"
    "    [ -n \"$of\" ] || continue\n"
    "    [ \"$of\" != \"$own\" ] || { : > \"$out/serves\"; break; }\n"
    "    leave \"port $MUSTER_PORT\"\n"
    "    scancel --signal=KILL \"$SLURM_JOB_ID.$SLURM_STEP_ID\"\n"
    "    break\n"
    "done &\n"
    "watch=$!\n";

/* What the rank's processes use, every five seconds: milliseconds of CPU, KiB of memory. They are
 * found from this one down, itself and what measures among them; bounded, should there be many. */
static const char watch_usage[] =
    "ticks=$(getconf CLK_TCK) page=$(getconf PAGESIZE)\n"
    "usage() {\n"
    "    todo=$$ cpu=0 pages=0 looked=0\n"
    "    while [ -n \"$todo\" ] && [ $looked -lt 1024 ]; do\n"
    "        next=\n"
    "        for pid in $todo; do\n"
    "            looked=$((looked + 1))\n"
    "            [ -r \"/proc/$pid/stat\" ] && read -r line < \"/proc/$pid/stat\" || continue\n"
    "            set -- ${line##*) }\n"
    "            cpu=$((cpu + ${12} + ${13} + ${14} + ${15})) pages=$((pages + ${22}))\n"
    "            next=$(echo $next $(cat /proc/$pid/task/*/children 2>/dev/null))\n"
    "        done\n"
    "        todo=$next\n"
    "    done\n"
    "    echo \"$((cpu * 1000 / ${ticks:-100})) $((pages * ${page:-4096} / 1024))\" \\\n"
    "        > \"$out/usage-$RANK.new\" && mv \"$out/usage-$RANK.new\" \"$out/rank-$RANK.usage\"\n"
    "}\n"
    "seconds=0\n"
    "while sleep 1; do\n"
    "    [ $((seconds % 5)) -ne 0 ] || usage\n"
    "    seconds=$((seconds + 1))\n"
    "done 2>/dev/null &\n"
    "watch=\"$watch $!\"\n";

static const char run_rank[] = ": > \"$out/rank-$RANK.begin\"\n"
                               "\"$@\" >> \"$out/rank-$RANK.out\" 2>> \"$out/rank-$RANK.err\"\n"
                               "status=$?\n"
                               "kill $watch 2>/dev/null\n"
                               "leave \"exit $status\"\n"
                               "[ $status -eq 0 ] || stop_others\n"
                               "exit 0\n";

void script_write_rank(
    const struct launch *launch, const struct script_places *places, struct strbuf *out)
{
    strbuf_puts(out, "umask 077\ntrap : TERM\nexec </dev/null\n");
    put_defaults(launch, places, out);
    put_job_variables(launch, places, out);
    strbuf_puts(out, "out=");
    script_quote(out, places->out);
    strbuf_putc(out, '\n');
    put_outputs(launch, places, out);
    put_place(launch, places, out);
    put_command(launch, places, out);
    strbuf_puts(out, "cd ");
    script_quote(out, places->work);
    if (launch->work_subfolder) {
        strbuf_puts(out, "/");
        script_quote(out, launch->work_subfolder);
    }
    strbuf_puts(out, " 2>/dev/null || { echo 'start 2' > \"$out/rank-$RANK.end\"; exit 0; }\n");
    strbuf_puts(out, before_command);
    strbuf_puts(out, launch->serve.on ? watch_port : "watch=\n");
    strbuf_puts(out, watch_usage);
    strbuf_puts(out, run_rank);
}
