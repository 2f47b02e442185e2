/* The scripts: see slurm_script.h. Everything that comes from outside is quoted by script_quote,
 * and nothing else of it is in them.
 *
 * What holds:
 * - A job that finds the claim made already runs nothing: whatever Slurm does with it (requeues it,
 *   runs a second submission of the same attempt), an attempt begins once.
 * - A stop is read from a file that is there from the beginning: opening it asks the storage anew,
 *   where looking for a new file may be answered from a node's cache. slurmrestd cannot pass
 *   SIGTERM to ranks alone: it signals srun too, which then kills them at once. Nor can it kill
 * them at once: what it is asked to kill gets SIGTERM, and SIGKILL when the site's KillWait is
 * over.
 * - A job of one rank needs no step: the batch script runs the command itself, in its own process
 *   group, which gets the signals. A preemption's first SIGTERM is for steps only (slurm_attempt.c
 *   passes it on), all others reach the whole tree.
 * - A rank's file `rank-N.end` counts when its last line is whole. It says whether the rank was
 * asked to end: one that was not and exited 0 is done, whatever the cluster says later.
 * - Nothing is read of a script any more when a rank has left its end: it may be removed then. */
#include "engine/slurm_script.h"

#include "engine/launch.h"

#include <inttypes.h>

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

void script_write_submitted(const char *batch, struct strbuf *out)
{
    strbuf_puts(out, "#!/bin/sh\nexec /bin/sh ");
    script_quote(out, batch);
    strbuf_putc(out, '\n');
}

static void put_claim(const struct script_places *places, struct strbuf *out)
{
    strbuf_puts(out, "cd ");
    script_quote(out, places->out);
    strbuf_puts(out,
        " || exit 120\n"
        "umask 077\n"
        "set -C\n"
        "{ echo \"$SLURM_JOB_ID $SLURMD_NODENAME\" > claim; } 2>/dev/null || exit 121\n"
        "set +C\n"
        "exec </dev/null >batch.log 2>&1\n"
        "control=");
    script_quote(out, places->control);
    strbuf_putc(out, '\n');
}

/* The ranks are one step: it is asked to end, and nothing else of the job. */
static void put_step(
    const struct launch *launch, const struct script_places *places, struct strbuf *out)
{
    strbuf_printf(out,
        "trap : TERM\n"
        "srun --quiet --kill-on-bad-exit=0 --ntasks=%" PRIu32 " --output=none --error=none"
        " /bin/sh ",
        launch->world_size);
    script_quote(out, places->rank);
    strbuf_puts(out,
        " &\nstep=$! told=\n"
        "(\n"
        "    trap 'kill $nap 2>/dev/null; exit 0' TERM\n"
        "    while kill -0 $$ 2>/dev/null; do\n"
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
        "{\n"
        "    kill $watch 2>/dev/null; wait $watch 2>/dev/null\n"
        "    echo $status > batch.end\n"
        "    exit 0\n"
        "}\n");
}

void script_write_batch(
    const struct launch *launch, const struct script_places *places, struct strbuf *out)
{
    put_claim(places, out);
    if (launch->world_size == 1)
        script_put_rank(launch, places, out);
    else
        put_step(launch, places, out);
}
