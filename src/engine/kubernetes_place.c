/* Where a pod may go: the node that muster chose, or, where that is left to the cluster's
 * scheduler, all that the job says of nodes in its words. Who may be near whom is said by labels
 * that pods of such pools get for each label of their job; they are hashes, since a label of a job
 * may be any line of text. */
#include "engine/kubernetes_node.h"
#include "engine/kubernetes_objects.h"

#include "base/strbuf.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define HOST_LABEL "kubernetes.io/hostname"

enum { LABEL_TEXT = 40 };

const char *kube_place_node(const struct launch *launch, uint32_t rank)
{
    for (size_t i = 0; i < launch->placement_count; i++) {
        const struct launch_placement *place = &launch->placements[i];
        if (rank >= place->first_rank && rank < place->first_rank + place->ranks)
            return place->node;
    }
    return NULL;
}

/* A taint that is tolerated is so whatever its effect. value NULL: any. */
static void put_toleration(struct strbuf *out, const char *key, const char *value)
{
    strbuf_putc(out, '{');
    kube_put_pair(out, "key", key);
    strbuf_printf(out, ",\"operator\":\"%s\"", value ? "Equal" : "Exists");
    if (value) {
        strbuf_putc(out, ',');
        kube_put_pair(out, "value", value);
    }
    strbuf_puts(out, "},");
}

static void put_tolerations(
    struct strbuf *out, const struct kubernetes *engine, const struct launch *launch)
{
    const char *key, *value;
    if (!engine->spot && launch->toleration_count == 0)
        return;
    strbuf_puts(out, "\"tolerations\":[");
    for (size_t i = 0; i < launch->toleration_count; i++)
        put_toleration(out, launch->tolerations[i].key, launch->tolerations[i].value);
    for (size_t i = 0; engine->spot && (key = kube_node_spot_marker(i, &value)); i++)
        put_toleration(out, key, NULL);
    kube_drop_comma(out);
    strbuf_puts(out, "],");
}

/* ---- nodes -------------------------------------------------------------------------------------
 */

static void put_requirement(
    struct strbuf *out, const char *key, const char *operation, const struct text_list *values)
{
    strbuf_putc(out, '{');
    kube_put_pair(out, "key", key);
    strbuf_printf(out, ",\"operator\":\"%s\"", operation);
    if (values->count > 0)
        strbuf_puts(out, ",\"values\":[");
    for (size_t i = 0; i < values->count; i++) {
        strbuf_json(out, values->items[i]);
        strbuf_putc(out, i + 1 < values->count ? ',' : ']');
    }
    strbuf_puts(out, "},");
}

static void put_required(struct strbuf *out, const struct placement *placement)
{
    static const char *const words[] = {[LABEL_IN] = "In",
        [LABEL_NOT_IN] = "NotIn",
        [LABEL_EXISTS] = "Exists",
        [LABEL_ABSENT] = "DoesNotExist"};
    static const struct text_list none = {0};
    for (size_t i = 0; placement && i < placement->require.count; i++) {
        const struct node_requirement *one = &placement->require.items[i];
        bool valued = one->operation == LABEL_IN || one->operation == LABEL_NOT_IN;
        put_requirement(out, one->key, words[one->operation], valued ? &one->values : &none);
    }
}

/* The nodes of the pool: one marker makes a spot node, and a node of another pool has none. Of the
 * terms one has to hold, of a term all. */
static void put_nodes(struct strbuf *out, bool spot, const struct placement *placement)
{
    const char *key, *value;
    strbuf_puts(out, "\"nodeAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":{"
                     "\"nodeSelectorTerms\":[{\"matchExpressions\":[");
    for (size_t i = 0; (key = kube_node_spot_marker(i, &value)); i++) {
        const struct text_list values = {.items = &value, .count = 1};
        if (i > 0 && spot) {
            kube_drop_comma(out);
            strbuf_puts(out, "]},{\"matchExpressions\":[");
        }
        put_requirement(out, key, spot ? "In" : "NotIn", &values);
        if (spot)
            put_required(out, placement);
    }
    if (!spot)
        put_required(out, placement);
    kube_drop_comma(out);
    strbuf_puts(out, "]}]}},");
}

/* ---- other pods --------------------------------------------------------------------------------
 */

static void name_label(const struct label *label, char ret_name[LABEL_TEXT])
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    const char *const texts[] = {label->key, label->value};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        const char *c = texts[i];
        do
            hash = (hash ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
        while (*c++);
    }
    snprintf(ret_name, LABEL_TEXT, "job.muster.dev/%016" PRIx64, hash);
}

void kube_place_put_labels(struct strbuf *out, const struct launch *launch)
{
    char name[LABEL_TEXT];
    for (size_t i = 0; launch->manifest && i < launch->manifest->metadata.labels.count; i++) {
        name_label(&launch->manifest->metadata.labels.items[i], name);
        strbuf_printf(out, ",\"%s\":\"yes\"", name);
    }
}

/* Pods that have the label, and are not of this attempt. */
static void put_others(struct strbuf *out, const struct kube_attempt *attempt, const char *label)
{
    strbuf_printf(out,
        "{\"labelSelector\":{\"matchExpressions\":[{\"key\":\"%s\",\"operator\":\"Exists\"},"
        "{\"key\":\"" KUBE_LABEL_ATTEMPT "\",\"operator\":\"NotIn\",\"values\":[\"%s\"]}]},"
        "\"namespaceSelector\":{},\"topologyKey\":\"" HOST_LABEL "\"},",
        label, attempt->name);
}

/* The gang's own pods, in a domain. */
static void put_gang(struct strbuf *out, const struct kube_attempt *attempt, const char *label)
{
    strbuf_printf(out, "{\"labelSelector\":{\"matchLabels\":{\"" KUBE_LABEL_ATTEMPT "\":\"%s\"}},",
        attempt->name);
    kube_put_pair(out, "topologyKey", label);
    strbuf_puts(out, "},");
}

/* A socket is for the node's own kubelet to see to. */
static bool is_of_node(const char *level)
{
    return strcmp(level, "node") == 0 || strcmp(level, "socket") == 0;
}

/* The label of the level that a gang is to be within; NULL: none. */
static const char *level_label(const struct kube_attempt *attempt, const struct job *job)
{
    const char *within = attempt->ledger.ranks > 1 ? job->topology.within : NULL;
    if (within && is_of_node(within))
        return HOST_LABEL;
    return within ? kubernetes_level_label(attempt->engine, within) : NULL;
}

static void put_preferred(struct strbuf *out, const struct kube_attempt *attempt, const char *label)
{
    strbuf_puts(out, "\"preferredDuringSchedulingIgnoredDuringExecution\":[{\"weight\":100,"
                     "\"podAffinityTerm\":");
    put_gang(out, attempt, label);
    kube_drop_comma(out);
    strbuf_puts(out, "}],");
}

static void put_near(struct strbuf *out, const struct kube_attempt *attempt, const struct job *job)
{
    const struct placement *placement = &job->placement;
    const char *label = level_label(attempt, job);
    bool required = label && job->topology.mode == TOPOLOGY_REQUIRED;
    bool packed = attempt->ledger.ranks > 1 && placement->spread == SPREAD_PACK;
    char name[LABEL_TEXT];
    strbuf_puts(out, "\"podAffinity\":{");
    if (required || placement->near.count > 0)
        strbuf_puts(out, "\"requiredDuringSchedulingIgnoredDuringExecution\":[");
    if (required)
        put_gang(out, attempt, label);
    for (size_t i = 0; i < placement->near.count; i++) {
        name_label(&placement->near.items[i], name);
        put_others(out, attempt, name);
    }
    if (required || placement->near.count > 0) {
        kube_drop_comma(out);
        strbuf_puts(out, "],");
    }
    if (label && !required)
        put_preferred(out, attempt, label);
    else if (packed)
        put_preferred(out, attempt, HOST_LABEL);
    kube_drop_comma(out);
    strbuf_puts(out, "},");
}

static void put_apart(
    struct strbuf *out, const struct kube_attempt *attempt, const struct placement *placement)
{
    char name[LABEL_TEXT];
    if (!placement->exclusive && placement->apart.count == 0)
        return;
    strbuf_puts(out, "\"podAntiAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":[");
    if (placement->exclusive)
        put_others(out, attempt, KUBE_LABEL_ATTEMPT);
    for (size_t i = 0; i < placement->apart.count; i++) {
        name_label(&placement->apart.items[i], name);
        put_others(out, attempt, name);
    }
    kube_drop_comma(out);
    strbuf_puts(out, "]},");
}

/* ---- the whole ---------------------------------------------------------------------------------
 */

int kube_place_check(
    const struct kubernetes *engine, const struct launch *launch, struct error *err)
{
    const struct job *job = launch->manifest;
    if (engine->site.place == SITE_PLACE_MUSTER || !job)
        return 0;
    if (job->placement.near.count > 1)
        return error_set(err, ERR_INVALID,
            "placement.near has %zu labels, and a cluster's scheduler can be told of one that has "
            "to be near: give one, or use a pool with place: muster",
            job->placement.near.count);
    if (job->topology.mode == TOPOLOGY_REQUIRED && !is_of_node(job->topology.within) &&
        !kubernetes_level_label(engine, job->topology.within))
        return error_set(err, ERR_INVALID, "the pool %s has no level %s of a topology",
            engine->pool, job->topology.within);
    return 0;
}

static void put_affinity(
    struct strbuf *out, const struct kube_attempt *attempt, const struct launch *launch)
{
    const struct job *job = launch->manifest;
    strbuf_puts(out, "\"affinity\":{");
    put_nodes(out, attempt->engine->spot, job ? &job->placement : NULL);
    if (job) {
        put_near(out, attempt, job);
        put_apart(out, attempt, &job->placement);
    }
    kube_drop_comma(out);
    strbuf_puts(out, "},");
    if (job && job->placement.spread == SPREAD_SPREAD)
        strbuf_printf(out,
            "\"topologySpreadConstraints\":[{\"maxSkew\":1,\"topologyKey\":\"" HOST_LABEL "\","
            "\"whenUnsatisfiable\":\"ScheduleAnyway\",\"labelSelector\":{\"matchLabels\":{"
            "\"%s\":\"%s\"}}}],",
            launch->serve.on ? KUBE_LABEL_SERVES : KUBE_LABEL_ATTEMPT,
            launch->serve.on ? "yes" : attempt->name);
}

void kube_place_put(struct strbuf *out, const struct kube_attempt *attempt,
    const struct launch *launch, uint32_t rank)
{
    const struct kubernetes *engine = attempt->engine;
    const char *node =
        engine->site.place == SITE_PLACE_MUSTER ? kube_place_node(launch, rank) : NULL;
    put_tolerations(out, engine, launch);
    if (!node) {
        put_affinity(out, attempt, launch);
        return;
    }
    kube_put_pair(out, "nodeName", node);
    strbuf_putc(out, ',');
}
