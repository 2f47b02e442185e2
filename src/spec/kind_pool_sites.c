/* The tables of what a Pool says of its site: how a cluster is reached that runs its jobs. */
#include "spec/tables.h"

#include <stddef.h>
#include <string.h>

/* clang-format off: a field is a paragraph, not a column */

static const struct field_word place_words[] = {
    {"site", SITE_PLACE_SITE, "the site's own scheduler chooses nodes; muster counts capacity"},
    {"muster", SITE_PLACE_MUSTER, "on the nodes that muster chose"},
    {NULL},
};

static const struct field slurm_port_fields[] = {
    {.name = "first",
        .type = FIELD_INT,
        .min = 1024,
        .max = 65535,
        .fallback = 61000,
        .offset = offsetof(struct slurm_site, port_first),
        .doc = "The first port."},
    {.name = "last",
        .type = FIELD_INT,
        .min = 1024,
        .max = 65535,
        .fallback = 64999,
        .offset = offsetof(struct slurm_site, port_last),
        .doc = "The last port."},
};
static const struct field_table slurm_port_table = FIELD_TABLE("SlurmPorts", struct slurm_site,
    slurm_port_fields, .doc = "Ports of the nodes that replicas listen on.");

static const struct field_word users_words[] = {
    {"pool", SLURM_USERS_POOL, "all of them the user's of the pool"},
    {"team", SLURM_USERS_TEAM, "each team's are the user's whose user id is the team's `spec.uid`"},
    {NULL},
};

static const struct field slurm_fields[] = {
    {.name = "endpoint",
        .type = FIELD_TEXT,
        .rule = &rule_line,
        .offset = offsetof(struct slurm_site, endpoint),
        .doc =
            "Of slurmrestd: `unix:/run/slurmrestd.sock`, or `https://` (`http://` on this machine) "
            "with a numeric address and a port. Has to be given."},
    {.name = "caFile",
        .type = FIELD_TEXT,
        .rule = &rule_url_path,
        .offset = offsetof(struct slurm_site, ca_file),
        .doc = "With `https://`: the file of certificates that the endpoint's is checked against. "
               "Default: the system's."},
    {.name = "serverName",
        .type = FIELD_TEXT,
        .rule = &rule_line,
        .offset = offsetof(struct slurm_site, server_name),
        .doc = "With `https://`: the name that the endpoint's certificate is for. Default: the "
               "endpoint's address."},
    {.name = "folder",
        .type = FIELD_TEXT,
        .rule = &rule_url_path,
        .offset = offsetof(struct slurm_site, folder),
        .doc = "A folder on storage that this server and all nodes share under this path. Has to "
               "be given."},
    {.name = "user",
        .type = FIELD_TEXT,
        .rule = &rule_user,
        .offset = offsetof(struct slurm_site, user),
        .doc = "Whose jobs they are at the site. Default: whoever runs this server."},
    {.name = "tokenFile",
        .type = FIELD_TEXT,
        .rule = &rule_url_path,
        .offset = offsetof(struct slurm_site, token_file),
        .doc = "A file with a JSON Web Token for the user. It is read again when it has changed."},
    {.name = "users",
        .type = FIELD_ENUM,
        .words = users_words,
        .fallback = SLURM_USERS_POOL,
        .offset = offsetof(struct slurm_site, users),
        .doc = "Whose jobs they are at the cluster. `team` needs tokens: that of `tokenFile` is "
               "root's or SlurmUser's there, who may name others, or `tokenFolder` has one each."},
    {.name = "tokenFolder",
        .type = FIELD_TEXT,
        .rule = &rule_url_path,
        .offset = offsetof(struct slurm_site, token_folder),
        .doc = "With `users: team`: a folder with a file for each user, of the user's name, with a "
               "token as in `tokenFile`. Whoever has none there is named with that of "
               "`tokenFile`."},
    {.name = "cluster",
        .type = FIELD_TEXT,
        .rule = &rule_user,
        .offset = offsetof(struct slurm_site, cluster),
        .doc = "The cluster's name, where it is to be checked."},
    {.name = "partition",
        .type = FIELD_TEXT,
        .rule = &rule_user,
        .offset = offsetof(struct slurm_site, partition),
        .doc = "The partition. Default: the cluster's."},
    {.name = "account",
        .type = FIELD_TEXT,
        .rule = &rule_user,
        .offset = offsetof(struct slurm_site, account),
        .doc = "The account that is charged."},
    {.name = "qos",
        .type = FIELD_TEXT,
        .rule = &rule_user,
        .offset = offsetof(struct slurm_site, qos),
        .doc = "The quality of service."},
    {.name = "constraint",
        .type = FIELD_TEXT,
        .rule = &rule_line,
        .offset = offsetof(struct slurm_site, constraint),
        .doc = "Features that nodes need to have, in the words of `sbatch --constraint`."},
    {.name = "place",
        .type = FIELD_ENUM,
        .words = place_words,
        .fallback = SITE_PLACE_SITE,
        .offset = offsetof(struct slurm_site, place),
        .doc = "Who chooses nodes."},
    {.name = "poll",
        .type = FIELD_DURATION,
        .min = 50,
        .max = 600000,
        .fallback = 2000,
        .offset = offsetof(struct slurm_site, poll_ms),
        .doc = "How often the cluster is asked what has become of its jobs."},
    {.name = "requests",
        .type = FIELD_INT,
        .min = 1,
        .max = 64,
        .fallback = 4,
        .offset = offsetof(struct slurm_site, requests),
        .doc = "How many requests to slurmrestd may be under way at once."},
    {.name = "ports",
        .type = FIELD_OBJECT,
        .table = &slurm_port_table,
        .doc = "Ports of the nodes that replicas of services listen on, each on one that no other "
               "of the pool has. This server and the gateway have to reach them."},
    {.name = "walltime",
        .type = FIELD_DURATION,
        .min = 60000,
        .max = INT64_C(365) * 24 * 3600 * 1000,
        .offset = offsetof(struct slurm_site, walltime_ms),
        .doc = "The most time that is asked of the cluster for an attempt: no more than what the "
               "partition gives (MaxTime). Work that takes longer is handed over from attempt to "
               "attempt. Default: a job's own time limit, else what the partition gives."},
};
const struct field_table slurm_site_table = FIELD_TABLE(
    "SlurmSite", struct slurm_site, slurm_fields, .doc = "How a Slurm cluster is reached.");

static const struct field kubernetes_fields[] = {
    {.name = "kubeconfig",
        .type = FIELD_TEXT,
        .rule = &rule_url_path,
        .offset = offsetof(struct kubernetes_site, kubeconfig),
        .doc = "The file that says how the cluster is reached. Default: the service account this "
               "server runs as."},
    {.name = "context",
        .type = FIELD_TEXT,
        .rule = &rule_line,
        .offset = offsetof(struct kubernetes_site, context),
        .doc = "A context of that file. Default: its current one."},
    {.name = "namespace",
        .type = FIELD_TEXT,
        .rule = &rule_name,
        .offset = offsetof(struct kubernetes_site, name_space),
        .doc = "The namespace of the pods. Default: the context's."},
    {.name = "place",
        .type = FIELD_ENUM,
        .words = place_words,
        .fallback = SITE_PLACE_SITE,
        .offset = offsetof(struct kubernetes_site, place),
        .doc = "Who chooses nodes."},
    {.name = "image",
        .type = FIELD_TEXT,
        .rule = &rule_line,
        .offset = offsetof(struct kubernetes_site, image),
        .doc = "The image that jobs run in. Has to be given."},
    {.name = "pullSecret",
        .type = FIELD_TEXT,
        .rule = &rule_name,
        .offset = offsetof(struct kubernetes_site, pull_secret),
        .doc = "A secret of the namespace by which the image is pulled."},
    {.name = "claim",
        .type = FIELD_TEXT,
        .rule = &rule_name,
        .offset = offsetof(struct kubernetes_site, claim),
        .doc =
            "A volume claim of the namespace, for checkpoints and outputs, which without one are "
            "gone with their pod, and for inputs and models, which without one cannot be had."},
    {.name = "folder",
        .type = FIELD_TEXT,
        .rule = &rule_url_path,
        .offset = offsetof(struct kubernetes_site, folder),
        .doc = "Where this server sees the volume of the claim, so that outputs can be kept, and "
               "inputs and models copied there."},
    {.name = "timeout",
        .type = FIELD_DURATION,
        .min = 100,
        .max = 600000,
        .fallback = 30000,
        .offset = offsetof(struct kubernetes_site, timeout_ms),
        .doc =
            "After how long without an answer a request to the API server is given up, and tried "
            "again."},
};
const struct field_table kubernetes_site_table = FIELD_TABLE("KubernetesSite",
    struct kubernetes_site, kubernetes_fields, .doc = "How a Kubernetes cluster is reached.");

/* A pool that names one engine and describes the site of another means one of the two. */
void pool_site_check(struct field_reader *reader, const struct pool *pool)
{
    const struct slurm_site *slurm = &pool->slurm;
    const struct kubernetes_site *kubernetes = &pool->kubernetes;
    if (pool->engine == ENGINE_SLURM && !slurm->endpoint)
        fields_report(reader, "slurm.endpoint", "a pool with the engine slurm has one");
    if (pool->engine == ENGINE_SLURM && !slurm->folder)
        fields_report(reader, "slurm.folder", "a pool with the engine slurm has one");
    if (slurm->port_first > slurm->port_last)
        fields_report(reader, "slurm.ports.first", "expected no more than slurm.ports.last");
    if (pool->engine != ENGINE_SLURM && (slurm->endpoint || slurm->folder))
        fields_report(reader, "slurm", "only a pool with the engine slurm has this");
    if (pool->engine == ENGINE_KUBERNETES && !kubernetes->image)
        fields_report(reader, "kubernetes.image", "a pool with the engine kubernetes has one");
    if (pool->engine != ENGINE_KUBERNETES && (kubernetes->kubeconfig || kubernetes->name_space))
        fields_report(reader, "kubernetes", "only a pool with the engine kubernetes has this");
}
