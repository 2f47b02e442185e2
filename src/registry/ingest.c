/* Taking a folder in: see registry_ingest. One thread reads, cuts and hashes files; WORKERS others
 * hash, pack and write chunks. A fixed number of pieces goes round between them, so whoever is
 * faster waits, and memory has a bound. */
#include "registry/cut.h"
#include "registry/internal.h"

#include <stdlib.h>

enum { WORKERS = 2, PIECES = 5 };

/* The pieces: free ones on a stack, full ones in a ring. */
struct intake {
    struct registry *registry;
    const char *team;
    struct batch batch;

    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    struct piece *free[PIECES], *full[PIECES];
    size_t free_count, full_first, full_count;
    size_t working; /* pieces that workers have */
    bool done;      /* no more pieces will come */
    bool failed;
    struct error failure;
    VEC(struct digest) digests; /* by the index of the chunk */

    pthread_t threads[WORKERS];
    size_t started;
};

static void intake_fail(struct intake *intake, const struct error *failure)
{
    if (!intake->failed)
        intake->failure = *failure;
    intake->failed = true;
}

static int tell_failure(const struct intake *intake, struct error *err)
{
    return error_set(err, intake->failure.code, "%s", intake->failure.text);
}

/* ---- the workers -------------------------------------------------------------------------- */

/* What is there already is only held; the rest is packed and written. */
static int keep_piece(struct intake *intake, struct piece *piece, struct codec *codec,
    unsigned char *out, struct error *err)
{
    bool held;
    if (!piece->digest_known)
        piece->digest = sha_of(codec_sha(codec), piece->raw, piece->size);
    if (object_hold(&intake->registry->objects, intake->team, OBJECT_CHUNK, &piece->digest,
            HOLD_TAKE, &held, err) < 0)
        return -1;
    if (held)
        return 0;
    size_t size = codec_pack(codec, piece->raw, piece->size, out);
    return batch_add(&intake->batch, OBJECT_CHUNK, &piece->digest, out, size, piece->size, err);
}

/* The next full piece, or NULL when there will be none. With the lock. */
static struct piece *next_full(struct intake *intake)
{
    while (intake->full_count == 0 && !intake->done)
        pthread_cond_wait(&intake->changed, &intake->lock);
    if (intake->full_count == 0)
        return NULL;
    struct piece *piece = intake->full[intake->full_first];
    intake->full_first = (intake->full_first + 1) % PIECES;
    intake->full_count--;
    intake->working++;
    return piece;
}

/* With the lock. */
static void note_digest(struct intake *intake, const struct piece *piece)
{
    while (intake->digests.count <= piece->index)
        vec_push(&intake->digests, (struct digest){0});
    intake->digests.items[piece->index] = piece->digest;
}

static void *work(void *context)
{
    struct intake *intake = context;
    SCOPED(codec_scope) struct codec *codec = codec_create();
    SCOPED(mem_scope) unsigned char *out = mem_alloc(OBJECT_STORED_MAX, 1);
    struct piece *piece;
    struct error err;
    pthread_mutex_lock(&intake->lock);
    while ((piece = next_full(intake))) {
        /* After a failure the rest is only passed round. */
        bool skip = intake->failed;
        pthread_mutex_unlock(&intake->lock);
        int kept = skip ? 0 : keep_piece(intake, piece, codec, out, &err);
        pthread_mutex_lock(&intake->lock);
        if (kept < 0)
            intake_fail(intake, &err);
        note_digest(intake, piece);
        intake->free[intake->free_count++] = piece;
        intake->working--;
        pthread_cond_broadcast(&intake->changed);
    }
    pthread_mutex_unlock(&intake->lock);
    return NULL;
}

/* ---- the sink ----------------------------------------------------------------------------- */

static struct piece *intake_take(void *context, struct error *err)
{
    struct intake *intake = context;
    struct piece *piece = NULL;
    pthread_mutex_lock(&intake->lock);
    while (intake->free_count == 0 && !intake->failed)
        pthread_cond_wait(&intake->changed, &intake->lock);
    if (intake->failed)
        (void)tell_failure(intake, err);
    else
        piece = intake->free[--intake->free_count];
    pthread_mutex_unlock(&intake->lock);
    return piece;
}

static int intake_give(void *context, struct piece *piece, struct error *err)
{
    struct intake *intake = context;
    (void)err;
    pthread_mutex_lock(&intake->lock);
    if (piece->size == 0) {
        intake->free[intake->free_count++] = piece;
    } else {
        assert(intake->full_count < PIECES);
        intake->full[(intake->full_first + intake->full_count++) % PIECES] = piece;
    }
    pthread_cond_broadcast(&intake->changed);
    pthread_mutex_unlock(&intake->lock);
    return 0;
}

static int intake_settle(void *context, struct tree *tree, struct error *err)
{
    struct intake *intake = context;
    pthread_mutex_lock(&intake->lock);
    while (intake->full_count + intake->working > 0)
        pthread_cond_wait(&intake->changed, &intake->lock);
    int done = intake->failed ? tell_failure(intake, err) : 0;
    for (size_t i = 0; i < intake->digests.count; i++)
        tree->chunks.items[i].digest = intake->digests.items[i];
    pthread_mutex_unlock(&intake->lock);
    return done;
}

/* ---- all of it ---------------------------------------------------------------------------- */

static int intake_start(struct intake *intake, struct error *err)
{
    pthread_mutex_init(&intake->lock, NULL);
    pthread_cond_init(&intake->changed, NULL);
    for (size_t i = 0; i < PIECES; i++)
        intake->free[intake->free_count++] = mem_alloc(1, sizeof(struct piece));
    while (intake->started < WORKERS &&
           pthread_create(&intake->threads[intake->started], NULL, work, intake) == 0)
        intake->started++;
    return intake->started > 0
               ? 0
               : error_set(err, ERR_UNAVAILABLE, "cannot start a thread: try again");
}

static void intake_stop(struct intake *intake)
{
    pthread_mutex_lock(&intake->lock);
    intake->done = true;
    pthread_cond_broadcast(&intake->changed);
    pthread_mutex_unlock(&intake->lock);
    for (size_t i = 0; i < intake->started; i++)
        pthread_join(intake->threads[i], NULL);
    assert(intake->free_count == PIECES);
    for (size_t i = 0; i < PIECES; i++)
        free(intake->free[i]);
    vec_free(&intake->digests);
    pthread_cond_destroy(&intake->changed);
    pthread_mutex_destroy(&intake->lock);
}

static int ingest(struct intake *intake, int folder_fd, int64_t bytes_max, struct tree *tree,
    struct artifact_facts *facts, struct error *err)
{
    struct cut_sink sink = {intake_take, intake_give, intake_settle, intake};
    int done = intake_start(intake, err);
    if (done == 0)
        done = cut_folder(folder_fd, bytes_max, &sink, tree, err);
    intake_stop(intake);
    if (done < 0 || batch_flush(&intake->batch, err) < 0)
        return -1;
    if (tree_store(intake->registry, intake->team, tree, facts, err) < 0)
        return -1;
    facts->new_bytes = intake->batch.new_bytes;
    facts->new_stored = intake->batch.new_stored;
    return 0;
}

int registry_ingest(struct registry *registry, const char *team, int folder_fd, int64_t bytes_max,
    struct artifact_facts *ret, struct error *err)
{
    struct intake intake = {.registry = registry, .team = team};
    struct tree tree = {0};
    struct upload upload;
    struct artifact_facts facts;
    int64_t disk_bytes;
    if (objects_check_team(team, err) < 0 || registry_disk_bytes(registry, &disk_bytes, err) < 0)
        return -1;
    /* Files with holes can have far more bytes than they take room, and all of them are read. */
    if (bytes_max == 0 || bytes_max > disk_bytes)
        bytes_max = disk_bytes;
    batch_init(&intake.batch, &registry->objects, team);
    upload_begin(registry, &upload);
    int done = ingest(&intake, folder_fd, bytes_max, &tree, &facts, err);
    upload_end(registry, &upload);
    batch_finish(&intake.batch);
    tree_finish(&tree);
    if (done == 0)
        *ret = facts;
    return done;
}
