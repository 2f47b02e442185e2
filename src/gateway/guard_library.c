/* Hyperscan behind guard_library.h. Only block mode is used: what streams need beyond it is in
 * guard_scan.c, where it can be tested against the plain way. */
#include "gateway/guard_library.h"

#include "base/memory.h"

#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef MUSTER_HYPERSCAN

#include <hs/hs.h>

static const char soname[] = "libhs.so.5";

struct guard_library {
    void *handle;
    hs_database_t *database;
    hs_error_t (*valid)(void);
    hs_error_t (*compile)(const char *const *expressions, const unsigned *flags,
        const unsigned *ids, unsigned count, unsigned mode, const hs_platform_info_t *platform,
        hs_database_t **database, hs_compile_error_t **error);
    hs_error_t (*free_error)(hs_compile_error_t *error);
    hs_error_t (*free_database)(hs_database_t *database);
    hs_error_t (*alloc)(const hs_database_t *database, hs_scratch_t **scratch);
    hs_error_t (*free_scratch)(hs_scratch_t *scratch);
    hs_error_t (*scan)(const hs_database_t *database, const char *text, unsigned length,
        unsigned flags, hs_scratch_t *scratch, match_event_handler on_event, void *context);
};

struct guard_scratch {
    hs_scratch_t *scratch;
    hs_error_t (*release)(hs_scratch_t *scratch); /* the library may be gone by then */
};

static int open_library(struct guard_library *library, struct error *err)
{
    library->handle = dlopen(soname, RTLD_NOW | RTLD_LOCAL);
    const struct {
        const char *name;
        void *place;
    } names[] = {{"hs_valid_platform", &library->valid}, {"hs_compile_multi", &library->compile},
        {"hs_free_compile_error", &library->free_error},
        {"hs_free_database", &library->free_database}, {"hs_alloc_scratch", &library->alloc},
        {"hs_free_scratch", &library->free_scratch}, {"hs_scan", &library->scan}};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        void *found = library->handle ? dlsym(library->handle, names[i].name) : NULL;
        if (!found)
            return error_set(err, ERR_UNAVAILABLE,
                "%s cannot be loaded: install the package libhyperscan5", soname);
        memcpy(names[i].place, &found, sizeof found);
    }
    if (library->valid() != HS_SUCCESS)
        return error_set(err, ERR_UNAVAILABLE, "Hyperscan needs a processor with SSSE3");
    return 0;
}

static int compile(struct guard_library *library, struct error *err)
{
    const char *expressions[GUARD_ANCHORS_MAX];
    unsigned flags[GUARD_ANCHORS_MAX], ids[GUARD_ANCHORS_MAX];
    hs_compile_error_t *fault = NULL;
    size_t count;
    const struct guard_anchor *anchors = guard_anchors(&count);
    for (size_t i = 0; i < count; i++) {
        expressions[i] = anchors[i].expression;
        flags[i] = anchors[i].caseless ? HS_FLAG_CASELESS : 0;
        ids[i] = (unsigned)i;
    }
    if (library->compile(expressions, flags, ids, (unsigned)count, HS_MODE_BLOCK, NULL,
            &library->database, &fault) == HS_SUCCESS)
        return 0;
    error_set(err, ERR_INTERNAL, "the patterns of guards cannot be compiled: %s",
        fault ? fault->message : "no memory");
    library->free_error(fault);
    return -1;
}

int guard_library_load(struct guard_library **ret, struct error *err)
{
    struct guard_library *library = mem_alloc(1, sizeof *library);
    if (open_library(library, err) < 0 || compile(library, err) < 0) {
        guard_library_free(library);
        return -1;
    }
    *ret = library;
    return 0;
}

/* The library stays loaded: threads may have state of it. */
void guard_library_free(struct guard_library *library)
{
    if (library && library->database)
        library->free_database(library->database);
    free(library);
}

struct guard_scratch *guard_scratch_create(const struct guard_library *library)
{
    struct guard_scratch *scratch = mem_alloc(1, sizeof *scratch);
    scratch->release = library->free_scratch;
    if (library->alloc(library->database, &scratch->scratch) == HS_SUCCESS)
        return scratch;
    free(scratch);
    return NULL;
}

void guard_scratch_free(struct guard_scratch *scratch)
{
    if (scratch)
        scratch->release(scratch->scratch);
    free(scratch);
}

struct scan {
    guard_anchor_fn *on_anchor;
    void *context;
    const struct guard_anchor *anchors;
};

static int on_event(
    unsigned id, unsigned long long from, unsigned long long to, unsigned flags, void *context)
{
    struct scan *scan = context;
    (void)from, (void)flags;
    scan->on_anchor(scan->context, id, (size_t)to - scan->anchors[id].length);
    return 0;
}

bool guard_library_scan(const struct guard_library *library, struct guard_scratch *scratch,
    const char *text, size_t length, guard_anchor_fn *on_anchor, void *context)
{
    size_t count;
    struct scan scan = {on_anchor, context, guard_anchors(&count)};
    return length <= UINT32_MAX && library->scan(library->database, text, (unsigned)length, 0,
                                       scratch->scratch, on_event, &scan) == HS_SUCCESS;
}

#else

struct guard_library {
    int none;
};

int guard_library_load(struct guard_library **ret, struct error *err)
{
    (void)ret;
    return error_set(err, ERR_UNAVAILABLE,
        "this muster was built without Hyperscan, which is for x86 alone: guards find nothing "
        "here");
}

void guard_library_free(struct guard_library *library)
{
    (void)library;
}

struct guard_scratch *guard_scratch_create(const struct guard_library *library)
{
    (void)library;
    return NULL;
}

void guard_scratch_free(struct guard_scratch *scratch)
{
    (void)scratch;
}

bool guard_library_scan(const struct guard_library *library, struct guard_scratch *scratch,
    const char *text, size_t length, guard_anchor_fn *on_anchor, void *context)
{
    (void)library, (void)scratch, (void)text, (void)length, (void)on_anchor, (void)context;
    return false;
}

#endif
