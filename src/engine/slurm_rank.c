/* The script of a rank: see slurm_script.h, and slurm_script.c for what holds. */
#include "engine/slurm_script.h"

#include "engine/launch.h"

#include <inttypes.h>
#include <string.h>

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
    "fi\n";

/* Of a rank that has the allocation for itself. */
static const char whole_part[] =
    "export RANK=0 WORLD_SIZE=1 LOCAL_RANK=0 LOCAL_WORLD_SIZE=1 MASTER_ADDR=127.0.0.1\n"
    "mine=$CUDA_VISIBLE_DEVICES\n";

static void put_place(
    const struct launch *launch, const struct script_places *places, struct strbuf *out)
{
    if (launch->world_size == 1)
        strbuf_puts(out, whole_part);
    else
        strbuf_printf(out,
            "export RANK=$SLURM_PROCID WORLD_SIZE=%" PRIu32 " LOCAL_RANK=$SLURM_LOCALID\n"
            "export MASTER_ADDR=${SLURM_LAUNCH_NODE_IPADDR:-127.0.0.1}\n%s",
            launch->world_size, own_part);
    strbuf_puts(out, "export MASTER_PORT=$((20000 + SLURM_JOB_ID % 12000))\n"
                     "export CUDA_VISIBLE_DEVICES=$mine NVIDIA_VISIBLE_DEVICES=$mine\n"
                     "export HIP_VISIBLE_DEVICES=$mine ROCR_VISIBLE_DEVICES=$mine\n");
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

void script_put_command(const struct launch *launch, const struct script_places *places,
    const char *const *argv, struct strbuf *out)
{
    strbuf_puts(out, "set --");
    for (size_t i = 0; argv[i]; i++) {
        strbuf_putc(out, ' ');
        put_argument(launch, places, argv[i], out);
    }
    strbuf_putc(out, '\n');
}

/* What a rank says of itself when it leaves: what it and its processes used, then how it ended, and
 * whether it was asked to. sh says 127 and 126 for commands it could not run, and so may a command:
 * looked at before. A signal is said as 128 and its number. */
static const char leaving[] = "told=unasked\ntrap 'told=asked' TERM\n"
                              "leave() {\n"
                              "    { times; echo \"$1 $told\"; } > \"$out/rank-$RANK.end\"\n"
                              "}\n";

static const char stop_others[] = "stop_others() {\n"
                                  "    [ ! -e \"$out/stopping\" ] || return 0\n"
                                  "    (set -C; : > \"$out/failing\") 2>/dev/null &&\n"
                                  "        scancel --signal=TERM \"$SLURM_JOB_ID.$SLURM_STEP_ID\"\n"
                                  "}\n";

static const char no_others[] = "stop_others() { :; }\n";

static const char find_command[] =
    "if ! command -v \"$1\" >/dev/null 2>&1; then leave 'start 2'; stop_others; exit 0; fi\n";

/* A replica's port is one of its node, where others may listen as well: nobody may before it
 * begins, and it is only asked once the one who listens is of its own user. `hold` is what stands
 * in /proc/net/tcp of a socket that listens there. A replica is one rank. */
static const char watch_port[] =
    "hold=\":$(printf %04X \"$MUSTER_PORT\") [0-9A-F]*:0000 0A \"\n"
    "holder() {\n"
    "    grep -h \"$hold\" /proc/net/tcp /proc/net/tcp6 2>/dev/null | {\n"
    "        read -r _ _ _ _ _ _ _ of _ && echo \"$of\"; }\n"
    "}\n"
    "if [ -n \"$(holder)\" ]; then leave \"port $MUSTER_PORT\"; exit 0; fi\n"
    "own=$(id -u)\n"
    "while sleep 0.2 && kill -0 $$; do\n"
    "    of=$(holder)\n"
    "    [ -n \"$of\" ] || continue\n"
    "    [ \"$of\" != \"$own\" ] || { : > \"$out/serves\"; break; }\n"
    "    leave \"port $MUSTER_PORT\"\n"
    "    kill -KILL 0\n"
    "done 2>/dev/null &\n"
    "watch=$!\n";

/* What the rank's processes use: milliseconds of CPU, KiB of memory. They are found from this one
 * down, itself and what measures among them; bounded, should there be many. */
static const char usage[] =
    "usage() {\n"
    "    [ -n \"$page\" ] || { ticks=$(getconf CLK_TCK); page=$(getconf PAGESIZE); }\n"
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
    "}\n";

/* A command that is asked for while the rank runs (slurm_exec.c), in the rank's environment: its
 * input as the server adds to it, until that says that it is whole, beside this, as nobody has to
 * read it; killed when nobody wants it any more, or when the rank's script is gone. */
static const char run_asked[] =
    "run_asked() (\n"
    "    trap - TERM HUP\n"
    "    number=$1 from=\"${control%/*}/exec-$1\" to=\"$out/exec-$1\" at=0 feeds=\n"
    "    mkfifo \"$to.fifo\" || exit\n"
    "    ( . \"$from\"; exec \"$@\" ) < \"$to.fifo\" > \"$to.out\" 2> \"$to.err\" &\n"
    "    pid=$!\n"
    "    exec 3> \"$to.fifo\"\n"
    "    while kill -0 $pid; do\n"
    "        { read -r word; read -r last wanted; } < \"$control\"\n"
    "        size=$(wc -c < \"$from.in\")\n"
    "        if [ \"$size\" -gt $at ] && ! kill -0 $feeds; then\n"
    "            { tail -c +$((at + 1)) \"$from.in\" | head -c $((size - at)); } >&3 &\n"
    "            feeds=$! at=$size\n"
    "        fi\n"
    "        case \" $wanted \" in\n"
    "        *\" $number= \"*) [ $at -lt $size ] || kill -0 $feeds || exec 3>&- ;;\n"
    "        *\" $number \"*) ;;\n"
    "        *) kill -KILL $pid ;;\n"
    "        esac\n"
    "        kill -0 $$ || kill -KILL $pid\n"
    "        sleep 0.2\n"
    "    done\n"
    "    wait $pid\n"
    "    echo $? > \"$to.new\" && mv \"$to.new\" \"$to.end\"\n"
    ")\n";

/* Beside the command: says what it uses, every five seconds, and does what the server asks for: of
 * the first rank, commands; of a rank without a step, a stop. It ends with the rank's script, also
 * where that is killed alone. */
static const char watch_begin[] =
    "(\n"
    "    trap '' TERM\n"
    "    trap 'kill -KILL $nap; exit 0' HUP\n"
    "    nap= page= told= seconds=0 begun=0\n"
    "    while kill -0 $$; do\n"
    "        sleep 1 & nap=$!; wait $nap\n"
    "        [ $((seconds % 5)) -ne 0 ] || usage\n"
    "        seconds=$((seconds + 1))\n"
    "        [ $RANK -eq 0 ] || continue\n"
    "        word= last= wanted=\n"
    "        { read -r word; read -r last wanted; } < \"$control\"\n"
    "        while [ $begun -lt ${last:-0} ]; do\n"
    "            begun=$((begun + 1))\n"
    "            case \" $wanted \" in\n"
    "            *\" $begun \"*|*\" $begun= \"*) run_asked $begun & ;;\n"
    "            esac\n"
    "        done\n";
static const char watch_control[] = "        case $word$told in\n"
                                    "        kill*) kill -KILL 0 ;;\n"
                                    "        stop) told=1; kill -TERM 0 ;;\n"
                                    "        esac\n";
static const char watch_end[] = "    done\n"
                                ") 2>/dev/null &\n"
                                "watch=\"$watch $!\"\n";

static const char run_rank[] = "{\n"
                               "    : > \"$out/rank-$RANK.begin\"\n"
                               "    \"$@\" >> \"$out/rank-$RANK.out\" 2>> \"$out/rank-$RANK.err\"\n"
                               "    status=$?\n"
                               "    kill -HUP $watch 2>/dev/null\n"
                               "    leave \"exit $status\"\n"
                               "    [ $status -eq 0 ] || stop_others\n"
                               "    exit 0\n"
                               "}\n";

void script_put_rank(
    const struct launch *launch, const struct script_places *places, struct strbuf *out)
{
    bool alone = launch->world_size == 1;
    strbuf_puts(out, leaving);
    put_defaults(launch, places, out);
    put_job_variables(launch, places, out);
    strbuf_puts(out, "out=");
    script_quote(out, places->out);
    strbuf_putc(out, '\n');
    put_outputs(launch, places, out);
    put_place(launch, places, out);
    script_put_command(launch, places, launch->argv, out);
    strbuf_puts(out, alone ? no_others : stop_others);
    strbuf_puts(out, "cd ");
    script_quote(out, places->work);
    if (launch->work_subfolder) {
        strbuf_puts(out, "/");
        script_quote(out, launch->work_subfolder);
    }
    strbuf_puts(out, " 2>/dev/null || { leave 'start 2'; exit 0; }\n");
    strbuf_puts(out, find_command);
    strbuf_puts(out, launch->serve.on && alone ? watch_port : "watch=\n");
    strbuf_puts(out, usage);
    strbuf_puts(out, run_asked);
    strbuf_puts(out, watch_begin);
    if (alone)
        strbuf_puts(out, watch_control);
    strbuf_puts(out, watch_end);
    strbuf_puts(out, run_rank);
}

void script_write_rank(
    const struct launch *launch, const struct script_places *places, struct strbuf *out)
{
    strbuf_puts(out, "umask 077\nexec </dev/null\ncontrol=");
    script_quote(out, places->control);
    strbuf_putc(out, '\n');
    script_put_rank(launch, places, out);
}
