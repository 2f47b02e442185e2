/* The classes that come with muster, and looking classes up in a list of manifests. They are plain
 * manifests: whoever runs muster may change and apply them again. */
#include "spec/spec.h"

#include <assert.h>
#include <string.h>

const char spec_builtin_classes[] =
    "apiVersion: muster/v1\n"
    "kind: Class\n"
    "metadata: {name: experiment}\n"
    "spec:\n"
    "  description: A try that may wait, and may be stopped for what matters more.\n"
    "  template:\n"
    "    priority: 300\n"
    "    preemptible: true\n"
    "    preemptionsMax: -1\n"
    "    timeLimit: 1d\n"
    "---\n"
    "apiVersion: muster/v1\n"
    "kind: Class\n"
    "metadata: {name: production-training}\n"
    "spec:\n"
    "  description: Training that has to get done; it writes checkpoints and goes on from them.\n"
    "  template:\n"
    "    priority: 700\n"
    "    preemptible: true\n"
    "    minRuntime: 10m\n"
    "    preemptionsMax: 5\n"
    "    grace: 2m\n"
    "    retries: {limit: 3, backoff: 30s}\n"
    "    checkpoint: {interval: 10m}\n"
    "---\n"
    "apiVersion: muster/v1\n"
    "kind: Class\n"
    "metadata: {name: tuning}\n"
    "spec:\n"
    "  description: One of many short trainings with other parameters.\n"
    "  template:\n"
    "    priority: 400\n"
    "    preemptible: true\n"
    "    minRuntime: 1m\n"
    "    retries: {limit: 1}\n"
    "    timeLimit: 12h\n"
    "---\n"
    "apiVersion: muster/v1\n"
    "kind: Class\n"
    "metadata: {name: batch-scoring}\n"
    "spec:\n"
    "  description: A model run over a whole dataset, when there is room.\n"
    "  template:\n"
    "    priority: 450\n"
    "    preemptible: true\n"
    "    preemptionsMax: -1\n"
    "    retries: {limit: 3}\n"
    "    timeLimit: 1d\n"
    "---\n"
    "apiVersion: muster/v1\n"
    "kind: Class\n"
    "metadata: {name: real-time-inference}\n"
    "spec:\n"
    "  description: A model that answers requests; it runs until it is stopped.\n"
    "  template:\n"
    "    service: true\n"
    "    priority: 900\n"
    "    preemptible: false\n"
    "    grace: 1m\n"
    "    retries: {limit: 1000, backoff: 1s, backoffMax: 1m}\n"
    "    placement: {spread: spread}\n"
    "---\n"
    "apiVersion: muster/v1\n"
    "kind: Class\n"
    "metadata: {name: data-preparation}\n"
    "spec:\n"
    "  description: Reading, cleaning and writing data that others wait for.\n"
    "  template:\n"
    "    priority: 500\n"
    "    preemptible: true\n"
    "    minRuntime: 5m\n"
    "    retries: {limit: 2}\n"
    "    timeLimit: 1d\n";

static struct doc *builtin_doc(struct arena *arena, const char *text)
{
    struct error err = {0};
    struct doc *list = doc_parse_yaml(arena, text, strlen(text), &err);
    assert(list && list->count > 0);
    return list;
}

struct doc *spec_builtin_classes_doc(struct arena *arena)
{
    return builtin_doc(arena, spec_builtin_classes);
}

struct doc *spec_builtin_runtimes_doc(struct arena *arena)
{
    return builtin_doc(arena, spec_builtin_runtimes);
}

static const struct doc *find_template(void *context, const char *name)
{
    const struct doc *list = context;
    for (const struct doc *item = list->first; item; item = item->next) {
        const char *item_name = doc_get_string(doc_get(item, "metadata"), "name");
        if (item_name && strcmp(item_name, name) == 0)
            return doc_get(doc_get(item, "spec"), "template");
    }
    return NULL;
}

struct class_lookup class_lookup_in(const struct doc *list)
{
    assert(list && list->type == DOC_LIST);
    return (struct class_lookup){.template_of = find_template, .context = (void *)list};
}
