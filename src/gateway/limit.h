/* Limits of a request: several counters at once, taken all or none, settled once. See limit_cell.h
 * for what a limit promises. Time comes in as a parameter. */
#pragma once

#include "gateway/limit_store.h"
#include "spec/kinds.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Lists that one request may be subject to: the service's three, its key's, four teams'. */
enum { LIMIT_RULES_MAX = 8 * LIMIT_LIST_MAX };

/* What a request costs: an estimate when it is admitted, what it was when it has ended. */
struct limit_cost {
    int64_t input_tokens, output_tokens;
    int64_t money_micro;
};

struct limit_rule {
    uint64_t name;      /* of its counter */
    uint64_t shared[2]; /* its name among gateways, where rules are shared */
    enum limit_what what;
    enum limit_window window;
    int64_t most; /* requests, tokens or millionths of the currency */
};

/* In memory of the caller: most requests have few, and none pays for more. */
struct limit_rules {
    bool shared; /* set before rules are added */
    size_t count, room;
    struct limit_rule *items;
};

/* Adds the limits of a list, which count for the subject ("key" and the key's name, say). There is
 * room for them. */
void limit_rules_add(struct limit_rules *rules, const struct limit_store *store,
    const struct limit_list *list, const char *subject, const char *first, const char *second);

/* What a request has taken; with room for all of its rules. */
struct limit_hold {
    size_t count;
    struct limit_held {
        enum limit_what what;
        struct limit_taken taken;
    } * items;
};

/* Why a request was not admitted. */
struct limit_refusal {
    enum limit_what what;
    enum limit_window window;
    int64_t most, asked;
    int64_t wait_ms; /* until it can be; -1: never, or for LIMIT_CONCURRENCY not known */
};

/* Takes the cost from every counter, or from none. */
bool limits_take(struct limit_store *store, const struct limit_rules *rules,
    const struct limit_cost *cost, int64_t now_ms, struct limit_hold *ret_hold,
    struct limit_refusal *ret_refusal);
/* What a limit of that sort takes of the cost. */
int64_t limit_amount_of(enum limit_what what, const struct limit_cost *cost);
/* As if it had never been taken, nor the request been asked. */
void limits_give_back(struct limit_store *store, struct limit_hold *hold, int64_t now_ms);
/* Sets every counter right and forgets the hold. With NULL it cost nothing but its being asked. */
void limits_settle(struct limit_store *store, struct limit_hold *hold,
    const struct limit_cost *cost, int64_t now_ms);

/* How the limit stands that is closest to being reached: of requests, and of tokens. */
struct limit_standing {
    bool known;
    int64_t most, left, reset_ms;
};
struct limit_standings {
    struct limit_standing requests, tokens;
};
/* elsewhere: what counts for each rule at least; NULL: nothing more than here. */
void limits_stand(struct limit_store *store, const struct limit_rules *rules,
    const int64_t *elsewhere, int64_t now_ms, struct limit_standings *ret);

/* "requests", "input tokens", .. */
const char *limit_what_text(enum limit_what what);
/* "a second", .. "at once". */
const char *limit_window_text(enum limit_window window);

enum { LIMIT_DURATION_TEXT = 40 };
/* As OpenAI writes durations: "20ms", "1.5s", "6m0s", "1h0m0s". ms: 0 or more. */
const char *limit_duration(int64_t ms, char text[LIMIT_DURATION_TEXT]);

/* What the tokens cost at these prices, rounded up to a millionth. Prices: millionths for each
 * thousand. */
struct limit_prices {
    int64_t request, input, output;
};
int64_t limit_money(const struct limit_prices *prices, int64_t input_tokens, int64_t output_tokens);
