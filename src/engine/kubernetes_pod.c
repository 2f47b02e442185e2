/* What a pod's object says of its rank. Kubernetes says why a pod ended in several places, some of
 * them words of a kubelet or a controller: the tables here are in the order in which they are
 * asked. */
#include "engine/kubernetes.h"

#include "base/quantity.h"

#include <stdio.h>
#include <string.h>

struct cause {
    const char *reason;
    const char *message; /* has to be part of it; NULL: any */
    enum engine_end_reason end;
};

/* status.conditions of type DisruptionTarget: who ended it. */
static const struct cause disruptions[] = {
    {"PreemptionByScheduler", NULL, ENGINE_END_PREEMPTED},
    {"DeletionByTaintManager", NULL, ENGINE_END_NODE_LOST},
    {"DeletionByPodGC", NULL, ENGINE_END_NODE_LOST},
    {"EvictionByEvictionAPI", NULL, ENGINE_END_DRAINED},
    {"TerminationByKubelet", NULL, ENGINE_END_DRAINED},
};

/* status.reason of a failed pod. */
static const struct cause pod_reasons[] = {
    {"Evicted", "ephemeral", ENGINE_END_DISK_QUOTA},
    {"Evicted", NULL, ENGINE_END_DRAINED},
    {"Preempting", NULL, ENGINE_END_PREEMPTED},
    {"DeadlineExceeded", NULL, ENGINE_END_TIME_LIMIT},
    {"NodeLost", NULL, ENGINE_END_NODE_LOST},
    {"Terminated", NULL, ENGINE_END_DRAINED},
    {"NodeShutdown", NULL, ENGINE_END_DRAINED},
    {"Shutdown", NULL, ENGINE_END_DRAINED},
    /* The node had not what it seemed to have: the place was somebody else's after all. */
    {"OutOfcpu", NULL, ENGINE_END_PREEMPTED},
    {"OutOfmemory", NULL, ENGINE_END_PREEMPTED},
    {"OutOfpods", NULL, ENGINE_END_PREEMPTED},
    {"OutOfephemeral-storage", NULL, ENGINE_END_PREEMPTED},
    {"UnexpectedAdmissionError", NULL, ENGINE_END_PREEMPTED},
    {"NodeAffinity", NULL, ENGINE_END_START_FAILED},
};

/* state.waiting.reason of a container that will not start, whatever is waited for. */
static const struct cause stuck[] = {
    {"InvalidImageName", NULL, ENGINE_END_START_FAILED},
    {"ErrImageNeverPull", NULL, ENGINE_END_START_FAILED},
    {"ImagePullBackOff", NULL, ENGINE_END_START_FAILED},
    {"ImageInspectError", NULL, ENGINE_END_START_FAILED},
    {"CreateContainerError", NULL, ENGINE_END_START_FAILED},
    {"RunContainerError", NULL, ENGINE_END_START_FAILED},
};

/* state.terminated.reason. */
static const struct cause container_reasons[] = {
    {"OOMKilled", NULL, ENGINE_END_OUT_OF_MEMORY},
    {"ContainerCannotRun", NULL, ENGINE_END_START_FAILED},
    {"StartError", NULL, ENGINE_END_START_FAILED},
    {"ContainerStatusUnknown", NULL, ENGINE_END_LOST},
};

static enum engine_end_reason find_cause(
    const struct cause *causes, size_t count, const char *reason, const char *message)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(causes[i].reason, reason) == 0 &&
            (!causes[i].message || strstr(message, causes[i].message)))
            return causes[i].end;
    }
    return ENGINE_END_NONE;
}

static int64_t time_of(const char *text)
{
    int64_t ms;
    return quantity_parse_time(text, &ms, NULL) == 0 ? ms : 0;
}

static void say(struct kube_pod *pod, const char *reason, const char *message)
{
    bool both = *reason && *message;
    snprintf(pod->text, sizeof pod->text, "%s%s%s", reason, both ? ": " : "", message);
    for (char *c = pod->text; *c; c++)
        *c = *c < ' ' && *c >= 0 ? ' ' : *c;
}

/* The status of a container by name, or of the first. */
static const struct doc *container_of(const struct doc *status, const char *list)
{
    const struct doc *all = doc_get(status, list);
    return all && all->type == DOC_LIST ? all->first : NULL;
}

static void read_disruption(const struct doc *status, struct kube_pod *pod)
{
    const struct doc *conditions = doc_get(status, "conditions");
    for (const struct doc *item = conditions && conditions->type == DOC_LIST ? conditions->first
                                                                             : NULL;
         item; item = item->next) {
        if (strcmp(kube_text(item, "type", NULL), "DisruptionTarget") != 0 ||
            strcmp(kube_text(item, "status", NULL), "True") != 0)
            continue;
        const char *reason = kube_text(item, "reason", NULL);
        enum engine_end_reason cause = find_cause(disruptions, ARRAY_LEN(disruptions), reason, "");
        if (!cause)
            continue;
        pod->cause = cause;
        say(pod, reason, kube_text(item, "message", NULL));
    }
}

/* An exit status above 128 is how shells and runtimes say that a signal ended it. */
static void read_exit(const struct doc *ended, struct kube_pod *pod)
{
    const char *reason = kube_text(ended, "reason", NULL);
    int64_t code = doc_get_int(ended, "exitCode", 0);
    enum engine_end_reason cause =
        find_cause(container_reasons, ARRAY_LEN(container_reasons), reason, "");
    bool signalled = code > 128 && code <= 128 + 64;
    pod->code = (int)(signalled ? code - 128 : code);
    pod->cause = cause       ? cause
                 : code == 0 ? ENGINE_END_SUCCEEDED
                 : signalled ? ENGINE_END_SIGNALLED
                             : ENGINE_END_EXITED;
    if (cause) {
        pod->code = 0;
        say(pod, reason, kube_text(ended, "message", NULL));
    }
    pod->ended_ms = time_of(kube_text(ended, "finishedAt", NULL));
    pod->began = cause != ENGINE_END_START_FAILED;
}

static void read_container(const struct doc *container, struct kube_pod *pod)
{
    const struct doc *state = doc_get(container, "state");
    const struct doc *ended = doc_get(state, "terminated"), *waiting = doc_get(state, "waiting");
    const char *reason = kube_text(waiting, "reason", NULL);
    if (doc_get(state, "running"))
        pod->began = pod->ready = true;
    if (ended)
        read_exit(ended, pod);
    enum engine_end_reason cause = find_cause(stuck, ARRAY_LEN(stuck), reason, "");
    if (cause && !pod->cause) {
        pod->cause = cause;
        say(pod, reason, kube_text(waiting, "message", NULL));
    }
}

/* What unpacks the work directory failed: the job has not begun. */
static void read_unpacking(const struct doc *status, struct kube_pod *pod)
{
    const struct doc *state = doc_get(container_of(status, "initContainerStatuses"), "state");
    const struct doc *ended = doc_get(state, "terminated");
    if (!ended || doc_get_int(ended, "exitCode", 0) == 0 || pod->began)
        return;
    pod->cause = ENGINE_END_START_FAILED;
    say(pod, "the work directory could not be unpacked in the image (it needs tar)",
        kube_text(ended, "message", NULL));
}

void kube_pod_read(const struct doc *object, struct kube_pod *ret_pod)
{
    struct kube_pod pod = {.exists = true, .created = true, .began = ret_pod->began};
    const struct doc *status = doc_get(object, "status");
    const char *phase = kube_text(status, "phase", NULL);
    const char *reason = kube_text(status, "reason", NULL);
    const char *message = kube_text(status, "message", NULL);
    pod.deleting = *kube_text(object, "metadata", "deletionTimestamp", NULL) != '\0';
    snprintf(pod.node, sizeof pod.node, "%s", kube_text(object, "spec", "nodeName", NULL));
    snprintf(pod.address, sizeof pod.address, "%s", kube_text(status, "podIP", NULL));
    pod.over = strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0;
    read_container(container_of(status, "containerStatuses"), &pod);
    read_unpacking(status, &pod);
    enum engine_end_reason cause =
        pod.over ? find_cause(pod_reasons, ARRAY_LEN(pod_reasons), reason, message)
                 : ENGINE_END_NONE;
    if (cause) {
        pod.cause = cause;
        say(&pod, reason, message);
    }
    /* A job that ended by itself before it was to be moved has ended by itself. */
    if (pod.cause != ENGINE_END_SUCCEEDED && pod.cause != ENGINE_END_EXITED)
        read_disruption(status, &pod);
    if (pod.over && !pod.cause) {
        pod.cause = strcmp(phase, "Succeeded") == 0 ? ENGINE_END_SUCCEEDED : ENGINE_END_LOST;
        say(&pod, reason, message);
    }
    *ret_pod = pod;
}
