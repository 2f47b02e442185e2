/* What the server's unit tests share: a server without HTTP on a store whose disk can fail, with an
 * engine that has nothing and does nothing. */
#pragma once

#include "server/context.h"
#include "server/ticker.h"
#include "store/fault_vfs.h"

#include "base/test.h"

/* Fails the test with the error's text. */
#define assert_works(call)                                                                         \
    do {                                                                                           \
        struct error works_ = {0};                                                                 \
        struct error *err = &works_;                                                               \
        if ((call) < 0)                                                                            \
            fail_msg("%s: %s: %s", #call, error_name(works_.code), works_.text);                   \
    } while (0)

struct world {
    struct server server;
    struct fault_vfs *vfs;
    char *folder;
};

/* With the objects of a first start: the team root and the built-in classes. */
struct world *world_create(void);
/* The same in a folder that is there and stays, on the real file system (vfs is NULL): what another
 * process left there is opened. */
struct world *world_open(const char *folder);
void world_destroy(struct world *world); /* a folder of its own goes with it */
/* Runs the loop until no command waits and no commit is under way. */
void world_work(struct world *world);
/* As world_work, and until the store can be used again: not while its disk is made to fail. */
void world_settle(struct world *world);

/* A command of a test and what became of it. */
struct probe {
    struct world *world;
    const char *key; /* of the document that it puts */
    bool fail;       /* its command fails, having changed nothing */
    bool spoil;      /* .. or having changed something */
    int ran;
    int answered;
    struct error error;
    bool stored; /* the document was there when the answer came */
};
/* Queues it; -1 with the reason in error. */
int probe_submit(struct world *world, struct probe *probe);
/* Whether the document that it puts is stored. */
bool probe_is_stored(struct world *world, const struct probe *probe);
