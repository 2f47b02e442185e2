/* The nodes of a cluster, as the Kubernetes engine sees them: what they have, what the pods of
 * others hold of it, and whether there is room for another pod. */
#pragma once

#include "engine/kubernetes.h"

/* Accelerators by the name of their resource. */
struct kube_devices {
    char resource[64];
    uint64_t count;
};

struct kube_amounts {
    uint64_t cpu_milli, memory_bytes, disk_bytes;
    struct kube_devices devices; /* of the kind that there is most of */
};

/* A pod of somebody else, for what it holds of its node. */
struct kube_foreign {
    char *name; /* namespace/name */
    struct kube_node *node;
    uint64_t cpu_milli, memory_bytes;
    struct kube_devices devices; /* of one kind: pods with several are not seen in the wild */
    uint64_t seen;
};

enum { KUBE_DEVICE_KINDS_MAX = 8 };

struct kube_node {
    char *name;
    struct arena *arena;
    struct engine_site_node about; /* as allocatable; texts in the arena */
    struct kube_devices devices;   /* what it has most of: a node of a pool has one kind */
    uint64_t pods;                 /* that it takes; 0: it does not say */
    uint64_t held_pods, own_pods;
    uint64_t held_cpu_milli, held_memory_bytes;
    struct kube_devices held[KUBE_DEVICE_KINDS_MAX];
    bool there; /* the cluster has it; else only pods name it */
    uint64_t seen;
};

/* ---- kubernetes_node.c --------------------------------------------------------------------- */

/* The node of that name; added where it is not known yet. */
struct kube_node *kube_node_of(struct kubernetes *engine, const char *name);
/* Whether the cluster has given a node up. */
bool kube_node_is_down(const struct kubernetes *engine, const char *name);
/* Whether its owner may take it back at any time. */
bool kube_node_is_spot(const struct kubernetes *engine, const char *name);
/* The i-th label, and key of a taint, by which clouds mark such nodes; NULL past the last. */
const char *kube_node_spot_marker(size_t i, const char **ret_value);
/* Fills what is known of the node from its object. */
void kube_node_read(struct kube_node *node, const struct doc *object);
/* What a list of resources says. Kubernetes writes amounts in more ways than we do: what cannot be
 * read counts as nothing. */
void kube_amounts_read(const struct doc *resources, struct kube_amounts *ret_amounts);

/* ---- kubernetes_foreign.c ------------------------------------------------------------------ */

/* A pod of somebody else was seen, or is not there any more. */
void kube_foreign_saw(struct kubernetes *engine, const struct doc *object, bool there);
/* What the list that was read has not is gone. */
void kube_foreign_synced(struct kubernetes *engine);
/* How many of the node's accelerators they hold. */
uint64_t kube_foreign_devices(struct kube_node *node);
void kube_foreign_finish(struct kubernetes *engine);

/* ---- kubernetes_room.c --------------------------------------------------------------------- */

enum kube_room {
    KUBE_ROOM_HERE,
    KUBE_ROOM_ELSEWHERE, /* and the scheduler will see that, if it places the job again */
    KUBE_ROOM_NONE,
};

/* Whether the nodes that a launch is placed on take its pods; err says which does not (ERR_BUSY).
 */
enum kube_room kube_room_of(
    const struct kubernetes *engine, const struct launch *launch, struct error *err);
/* The rank has a pod on the node from here on, or will. name "": it is not known. */
void kube_room_take(struct kube_rank *rank, const char *name);
/* It has none any more. Again is fine. */
void kube_room_leave(struct kube_rank *rank);
/* The node takes no more pods, and another to which all could go that could go to it does. */
bool kube_room_is_elsewhere(const struct kube_node *node, const struct kubernetes *engine);
