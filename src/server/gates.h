/* Gates: what a model's version has to show before it takes a stage. Pure: documents in, sentences
 * out; who runs evaluations and collects approvals is promotions.h. */
#pragma once

#include "spec/kinds.h"
#include "wire/doc.h"

#include <stdbool.h>

/* What a decision is about. Version documents are as server/versions.h says. */
struct gate_case {
    const struct model *model;
    const struct gate *gate;
    const struct doc *version; /* that asks for the stage */
    const struct doc *holder;  /* that has it now, or NULL */
    /* The metrics of the gate's evaluation of either, {name: text of a number}; NULL: none. */
    const struct doc *evaluation;
    const struct doc *holder_evaluation;
    /* Whether the evaluation is over: before, what rests on it is not looked at. */
    bool evaluated;
};

/* The gate of a stage, or NULL when the model has none for it. */
const struct gate *gate_find(const struct model *model, const char *stage);
/* Every reason against it, a sentence each, as a list in the order of the gate: an empty list when
 * there is none. Texts belong to the arena. */
struct doc *gate_refusals(struct arena *arena, const struct gate_case *what);
/* The metrics that a version was evaluated with on a dataset, most recently: of its "evaluations"
 * the last whose "dataset" is the text. NULL: never. */
const struct doc *gate_evaluation_of(const struct doc *version, const char *dataset);
