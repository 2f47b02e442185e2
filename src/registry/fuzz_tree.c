/* Fuzz target: a tree that is taken has exactly one text, and its paths are safe to open. */
#include "registry/tree.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tree tree;
    struct strbuf again = {0};
    int64_t bytes = 0;
    if (tree_parse((const char *)data, size, &tree, NULL) < 0)
        return 0;
    tree_write(&tree, &again);
    assert(again.length == size && memcmp(again.text, data, size) == 0);
    for (size_t i = 0; i < tree.files.count; i++) {
        const struct tree_entry *file = &tree.files.items[i];
        assert(file->path[0] && file->path[0] != '/' && !strstr(file->path, "/../"));
        assert(tree_find(&tree, file->path) == file);
        int64_t chunks = 0;
        for (size_t k = file->first; k < file->first + file->count; k++)
            chunks += tree.chunks.items[k].size;
        assert(chunks == file->size);
        bytes += file->size;
    }
    assert(bytes == tree.bytes);
    strbuf_finish(&again);
    tree_finish(&tree);
    return 0;
}
