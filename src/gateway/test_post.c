/* Tests of messages between workers: each arrives once, on the receiver's thread, and those of one
 * sender in their order. */
#include "base/memory.h"
#include "base/test.h"
#include "gateway/post.h"

#include <event2/event.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

enum { SENDERS = 3, MESSAGES = 20000 };

struct message {
    struct post post;
    struct receiver *receiver;
    int sender, number;
};

struct receiver {
    struct event_base *base;
    pthread_t thread;
    int next[SENDERS];
    int left;
    bool disordered, elsewhere;
};

static void on_message(struct worker_view *view, struct post *post)
{
    struct message *message = (struct message *)post;
    struct receiver *receiver = message->receiver;
    (void)view;
    receiver->disordered |= message->number != receiver->next[message->sender]++;
    receiver->elsewhere |= !pthread_equal(receiver->thread, pthread_self());
    free(message);
    if (--receiver->left == 0)
        event_base_loopbreak(receiver->base);
}

struct sender {
    struct post_office *office;
    struct receiver *receiver;
    int number;
};

static void *send_all(void *context)
{
    struct sender *sender = context;
    for (int i = 0; i < MESSAGES; i++) {
        struct message *message = mem_alloc(1, sizeof *message);
        *message = (struct message){{.deliver = on_message}, sender->receiver, sender->number, i};
        post_send(sender->office, 1, &message->post);
    }
    return NULL;
}

static void every_message_arrives_once_and_in_order(void **state)
{
    (void)state;
    struct post_office *office;
    struct receiver receiver = {
        .base = event_base_new(), .thread = pthread_self(), .left = SENDERS * MESSAGES};
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS];
    assert_int_equal(post_office_create(2, &office, NULL), 0);
    struct post_box *box = post_box_open(office, 1, receiver.base, NULL);
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){office, &receiver, i};
        assert_int_equal(pthread_create(&threads[i], NULL, send_all, &senders[i]), 0);
    }
    event_base_dispatch(receiver.base);
    for (int i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(receiver.left, 0);
    assert_false(receiver.disordered || receiver.elsewhere);
    post_box_close(box);
    post_office_destroy(office);
    event_base_free(receiver.base);
}

static void what_is_left_is_delivered_at_the_end(void **state)
{
    (void)state;
    struct post_office *office;
    struct receiver receiver = {
        .base = event_base_new(), .thread = pthread_self(), .left = MESSAGES};
    struct sender sender;
    assert_int_equal(post_office_create(2, &office, NULL), 0);
    sender = (struct sender){office, &receiver, 0};
    struct post_box *box = post_box_open(office, 1, receiver.base, NULL);
    send_all(&sender);
    post_box_close(box);
    assert_int_equal(receiver.left, MESSAGES);
    post_office_settle(office, (struct worker_view *const[]){NULL, NULL});
    assert_int_equal(receiver.left, 0);
    assert_false(receiver.disordered);
    post_office_destroy(office);
    event_base_free(receiver.base);
}

static void every_hash_has_an_owner(void **state)
{
    (void)state;
    struct post_office *office;
    int owned[3] = {0};
    assert_int_equal(post_office_create(3, &office, NULL), 0);
    for (uint64_t i = 0; i < 3000; i++)
        owned[post_owner(office, i * 0x9e3779b97f4a7c15u)]++;
    for (int i = 0; i < 3; i++)
        assert_in_range(owned[i], 800, 1200);
    post_office_destroy(office);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_arrives_once_and_in_order),
        cmocka_unit_test(what_is_left_is_delivered_at_the_end),
        cmocka_unit_test(every_hash_has_an_owner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
