/* What attempts read, on the volume of the pool's claim. A folder that lies there already is shown
 * as it is; any other is copied there once, where this server sees the volume, and goes some time
 * after the last attempt that held it (stage.h). Which folders an attempt holds is in its ledger: a
 * server that comes back must not take them from under pods that run. */
#include "engine/kubernetes.h"

#include "base/file.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "engine/stage.h"
#include "engine/trash.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TIDY_S = 60, LOOK_AGAIN_MS = 1000 };

/* On the volume, beside what jobs keep: .muster/OWNER.POOL/ has `inputs` and `trash`. */
struct kube_inputs {
    struct kubernetes *engine;
    struct stage *stage;
    struct trash *trash;
    struct event tidy;
};

/* ---- where ------------------------------------------------------------------------------------
 */

static bool lies_on_volume(const struct kubernetes *engine, const char *real)
{
    size_t length = strlen(engine->volume);
    return strncmp(real, engine->volume, length) == 0 && real[length] == '/';
}

char *kube_inputs_path(const struct kubernetes *engine, const char *folder)
{
    if (!engine->volume || !engine->site.claim)
        return NULL;
    SCOPED(mem_scope) char *real = realpath(folder, NULL);
    if (!real)
        return NULL;
    if (!lies_on_volume(engine, real)) {
        free(real);
        real = engine->inputs ? stage_path(engine->inputs->stage, folder) : NULL;
    }
    return real ? mem_strdup(real + strlen(engine->volume) + 1) : NULL;
}

int kube_inputs_check(
    const struct kubernetes *engine, const struct launch *launch, struct error *err)
{
    for (size_t i = 0; i < launch->input_count; i++) {
        const struct launch_input *input = &launch->inputs[i];
        SCOPED(mem_scope) char *path = kube_inputs_path(engine, input->folder);
        if (!path)
            return error_set(err, ERR_INVALID,
                "pods do not see the input %s: give the pool a claim, and in "
                "spec.kubernetes.folder a folder in which this server sees and writes its volume "
                "(the input is in %.200s)",
                input->name, input->folder);
    }
    return 0;
}

/* ---- what an attempt holds --------------------------------------------------------------------
 */

void kube_inputs_hold(struct kube_attempt *attempt, const char *folder)
{
    struct kube_inputs *inputs = attempt->engine->inputs;
    vec_push(&attempt->inputs, mem_strdup(folder));
    if (inputs)
        stage_hold(inputs->stage, folder);
}

void kube_inputs_take(struct kube_attempt *attempt, const struct launch *launch)
{
    const struct kubernetes *engine = attempt->engine;
    for (size_t i = 0; engine->inputs && i < launch->input_count; i++) {
        SCOPED(mem_scope) char *real = realpath(launch->inputs[i].folder, NULL);
        if (real && !lies_on_volume(engine, real))
            kube_inputs_hold(attempt, launch->inputs[i].folder);
    }
}

void kube_inputs_release(struct kube_attempt *attempt)
{
    struct kube_inputs *inputs = attempt->engine->inputs;
    for (size_t i = 0; i < attempt->inputs.count; i++) {
        if (inputs)
            stage_release(inputs->stage, attempt->inputs.items[i]);
        free(attempt->inputs.items[i]);
    }
    vec_free(&attempt->inputs);
}

bool kube_inputs_are_there(struct kube_attempt *attempt)
{
    struct kube_inputs *inputs = attempt->engine->inputs;
    char text[STAGE_TEXT];
    for (size_t i = 0; inputs && i < attempt->inputs.count; i++) {
        enum stage_state state = stage_look(inputs->stage, attempt->inputs.items[i], text);
        if (state == STAGE_THERE)
            continue;
        kube_attempt_note(attempt, text);
        if (state == STAGE_COMING) {
            kubernetes_retry_later(attempt, LOOK_AGAIN_MS);
        } else if (!kube_attempt_is_ending(attempt)) {
            kube_verdict_decide(attempt, ENGINE_END_START_FAILED, 0, -1, text);
            kube_attempt_due(attempt);
        }
        return false;
    }
    return true;
}

/* ---- the whole --------------------------------------------------------------------------------
 */

static void on_changed(void *context)
{
    struct kubernetes *engine = ((struct kube_inputs *)context)->engine;
    for (size_t i = 0; i < engine->attempts.count; i++) {
        if (engine->attempts.items[i]->step == KUBE_STEP_INPUTS)
            kube_attempt_due(engine->attempts.items[i]);
    }
}

static void on_tidy(int fd, short what, void *context)
{
    struct kube_inputs *inputs = context;
    const struct timeval later = {TIDY_S, 0};
    (void)fd, (void)what;
    stage_tidy(inputs->stage);
    event_add(&inputs->tidy, &later);
}

static char *place_on_volume(const struct kubernetes *engine, const char *name)
{
    struct strbuf path = {0};
    strbuf_printf(&path, "%s/.muster/%s.%s/%s", engine->volume, engine->owner, engine->pool, name);
    return strbuf_steal(&path);
}

static int open_places(struct kube_inputs *inputs, struct error *err)
{
    struct kubernetes *engine = inputs->engine;
    SCOPED(mem_scope) char *root = place_on_volume(engine, "inputs");
    SCOPED(mem_scope) char *trash = place_on_volume(engine, "trash");
    if (file_make_dirs(root, 0755, err) < 0)
        return -1;
    inputs->trash = trash_create(engine->base, trash, err);
    if (!inputs->trash)
        return -1;
    inputs->stage = stage_create(&(struct stage_options){.base = engine->base,
                                     .root = root,
                                     .trash = inputs->trash,
                                     .changed = on_changed,
                                     .context = inputs},
        err);
    return inputs->stage ? 0 : -1;
}

struct kube_inputs *kube_inputs_create(struct kubernetes *engine)
{
    struct error err;
    if (!engine->volume || !engine->site.claim)
        return NULL;
    struct kube_inputs *inputs = mem_alloc(1, sizeof *inputs);
    inputs->engine = engine;
    evtimer_assign(&inputs->tidy, engine->base, on_tidy, inputs);
    if (open_places(inputs, &err) == 0) {
        on_tidy(-1, 0, inputs);
        return inputs;
    }
    log_warn("the pool %s: nothing can be copied to the volume of its claim: %s", engine->pool,
        err.text);
    kube_inputs_destroy(inputs);
    return NULL;
}

void kube_inputs_destroy(struct kube_inputs *inputs)
{
    if (!inputs)
        return;
    event_del(&inputs->tidy);
    stage_destroy(inputs->stage);
    trash_destroy(inputs->trash);
    free(inputs);
}
