/* Scores of answers: see feedback.h. */
#include "gateway/feedback.h"

#include "base/memory.h"
#include "gateway/post.h"
#include "gateway/usage.h"
#include "gateway/worker.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

struct place {
    uint64_t hash;
    struct usage_counts *counts; /* NULL: nothing, or it has its score */
};

struct feedback {
    unsigned char key[crypto_shorthash_KEYBYTES];
    struct place *places; /* made with the first request on trial */
};

struct feedback *feedback_create(void)
{
    struct feedback *feedback = mem_alloc(1, sizeof *feedback);
    crypto_shorthash_keygen(feedback->key);
    return feedback;
}

void feedback_destroy(struct feedback *feedback)
{
    if (!feedback)
        return;
    free(feedback->places);
    free(feedback);
}

/* Of both names: who has another key finds nothing. Keyed, so that nobody aims at a place. */
static uint64_t hash_of(const struct feedback *feedback, const char *request_id, const char *key_id)
{
    uint64_t one, other;
    crypto_shorthash((unsigned char *)&one, (const unsigned char *)request_id, strlen(request_id),
        feedback->key);
    crypto_shorthash(
        (unsigned char *)&other, (const unsigned char *)key_id, strlen(key_id), feedback->key);
    return one ^ (other * 0x9e3779b97f4a7c15u);
}

void feedback_note(struct feedback *feedback, const char *request_id, const char *key_id,
    struct usage_counts *counts)
{
    uint64_t hash = hash_of(feedback, request_id, key_id);
    if (!feedback->places)
        feedback->places = mem_alloc(FEEDBACK_PLACES, sizeof *feedback->places);
    feedback->places[hash % FEEDBACK_PLACES] = (struct place){hash, counts};
}

bool feedback_score(
    struct feedback *feedback, const char *request_id, const char *key_id, int32_t tenths)
{
    assert(tenths >= 0 && tenths < FEEDBACK_SCORES);
    if (!feedback->places)
        return false;
    uint64_t hash = hash_of(feedback, request_id, key_id);
    struct place *place = &feedback->places[hash % FEEDBACK_PLACES];
    if (!place->counts || place->hash != hash)
        return false;
    usage_add(&place->counts->scores[tenths], 1);
    place->counts = NULL;
    return true;
}

/* ---- to all workers -------------------------------------------------------------------------- */

struct told {
    struct post post;
    int32_t tenths;
    char key_id[USAGE_NAME];
    char request_id[];
};

static void on_told(struct worker_view *view, struct post *post)
{
    struct told *told = (struct told *)post;
    if (feedback_score(view->feedback, told->request_id, told->key_id, told->tenths))
        figure_add(view->figures, FIGURE_SCORES, 1);
    free(told);
}

void feedback_tell(
    struct worker_view *view, const char *request_id, const char *key_id, int32_t tenths)
{
    size_t length = strlen(request_id);
    for (int i = 0; i < post_office_workers(view->office); i++) {
        struct told *told = mem_alloc(1, sizeof *told + length + 1);
        told->post.deliver = on_told;
        told->tenths = tenths;
        memccpy(told->key_id, key_id, 0, sizeof told->key_id - 1);
        memcpy(told->request_id, request_id, length + 1);
        post_send(view->office, i, &told->post);
    }
}
