/* What a job of Slurm runs: a batch script for the allocation and, of gangs, one for each rank,
 * plain sh. See README.md for what they leave on the shared storage. */
#pragma once

#include "base/strbuf.h"
#include "engine/engine.h"

/* Where an attempt's parts are on the shared storage, as absolute paths. */
struct script_places {
    const char *out;  /* the job's user writes there: claim, ends, what ranks print */
    const char *work; /* where ranks start */
    const char *checkpoint;
    const char *control; /* what the server changes: a word, run, stop or kill; in the second line
                          * the commands that are wanted */
    const char *rank;    /* the rank's script, of a gang */
    const char *outputs; /* folder of NAME or NAME/PART */
    const char *secrets; /* folder of those that are files */
};

/* The script that is submitted: starts the other one where the storage is there. */
void script_write_submitted(const char *batch, struct strbuf *out);
/* Claims the attempt, runs the ranks as one step, passes a stop on to them. One that is alone it
 * runs itself. */
void script_write_batch(
    const struct launch *launch, const struct script_places *places, struct strbuf *out);
/* Sets what a rank is told, runs the command, leaves its end. */
void script_write_rank(
    const struct launch *launch, const struct script_places *places, struct strbuf *out);
/* The same as the end of another script. */
void script_put_rank(
    const struct launch *launch, const struct script_places *places, struct strbuf *out);
/* Sets the arguments of a script to a command, with the folders of inputs and outputs as they are
 * there; of the places only `outputs` is needed. */
void script_put_command(const struct launch *launch, const struct script_places *places,
    const char *const *argv, struct strbuf *out);
/* Appends text as one word of sh, whatever bytes it has. */
void script_quote(struct strbuf *out, const char *text);
