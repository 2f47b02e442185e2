/* Taking from several counters: see limit.h. They are taken in the order of the rules, and given
 * back when one refuses: between the two another request may be refused that would have fitted,
 * but none is admitted that would not. */
#include "gateway/limit.h"

#include <assert.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

enum { SUBJECT_BYTES = 512, MICRO = 1000000 };

/* ---- rules ----------------------------------------------------------------------------------- */

static size_t put_part(char *out, size_t at, const char *part)
{
    size_t length = strnlen(part, SUBJECT_BYTES / 3 - 2);
    memcpy(out + at, part, length);
    out[at + length] = '\0';
    return at + length + 1;
}

static void add_rule(struct limit_rules *rules, const struct limit *limit, uint64_t subject,
    const uint64_t shared[2])
{
    assert(rules->count < rules->room);
    int64_t most = limit->what == LIMIT_MONEY ? limit->most_micro : limit->most_micro / MICRO;
    rules->items[rules->count++] = (struct limit_rule){
        /* An odd factor: different sorts of one subject have different names. */
        .name = subject + ((uint64_t)limit->what << 3) * 0x9e3779b97f4a7c15u,
        .shared = {shared[0], shared[1]},
        .what = limit->what,
        .window = limit->what == LIMIT_CONCURRENCY ? LIMIT_NOW : limit->window,
        .most = most > LIMIT_AMOUNT_MAX ? LIMIT_AMOUNT_MAX : most};
}

void limit_rules_add(struct limit_rules *rules, const struct limit_store *store,
    const struct limit_list *list, const char *subject, const char *first, const char *second)
{
    char text[SUBJECT_BYTES];
    uint64_t shared[2] = {0};
    if (list->count == 0)
        return;
    size_t length = put_part(text, 0, subject);
    length = put_part(text, length, first);
    length = put_part(text, length, second);
    uint64_t name = limit_store_name(store, text, length);
    if (rules->shared)
        crypto_generichash(
            (unsigned char *)shared, sizeof shared, (const unsigned char *)text, length, NULL, 0);
    for (size_t i = 0; i < list->count; i++)
        add_rule(rules, &list->items[i], name, shared);
}

/* ---- taking ---------------------------------------------------------------------------------- */

int64_t limit_amount_of(enum limit_what what, const struct limit_cost *cost)
{
    switch (what) {
    case LIMIT_INPUT_TOKENS: return cost->input_tokens;
    case LIMIT_OUTPUT_TOKENS: return cost->output_tokens;
    case LIMIT_TOKENS: return cost->input_tokens + cost->output_tokens;
    case LIMIT_MONEY: return cost->money_micro;
    default: return 1;
    }
}

void limits_give_back(struct limit_store *store, struct limit_hold *hold, int64_t now_ms)
{
    for (size_t i = 0; i < hold->count; i++)
        limit_store_settle(store, &hold->items[i].taken, 0, now_ms);
    hold->count = 0;
}

static void refuse(struct limit_store *store, const struct limit_rule *rule, int64_t amount,
    int64_t now_ms, struct limit_refusal *ret)
{
    struct limit_state state;
    limit_store_state(store, rule->name, rule->window, rule->most, amount, now_ms, &state);
    *ret = (struct limit_refusal){rule->what, rule->window, rule->most, amount, state.wait_ms};
}

bool limits_take(struct limit_store *store, const struct limit_rules *rules,
    const struct limit_cost *cost, int64_t now_ms, struct limit_hold *ret_hold,
    struct limit_refusal *ret_refusal)
{
    ret_hold->count = 0;
    for (size_t i = 0; i < rules->count; i++) {
        const struct limit_rule *rule = &rules->items[i];
        int64_t amount = limit_amount_of(rule->what, cost);
        if (!limit_store_take(store, rule->name, rule->window, rule->most, amount, now_ms,
                &ret_hold->items[i].taken)) {
            refuse(store, rule, amount, now_ms, ret_refusal);
            limits_give_back(store, ret_hold, now_ms);
            return false;
        }
        ret_hold->items[i].what = rule->what;
        ret_hold->count++;
    }
    return true;
}

void limits_settle(struct limit_store *store, struct limit_hold *hold,
    const struct limit_cost *cost, int64_t now_ms)
{
    static const struct limit_cost nothing;
    for (size_t i = 0; i < hold->count; i++)
        limit_store_settle(store, &hold->items[i].taken,
            limit_amount_of(hold->items[i].what, cost ? cost : &nothing), now_ms);
    hold->count = 0;
}

/* ---- how they stand -------------------------------------------------------------------------- */

static struct limit_standing *standing_of(struct limit_standings *standings, enum limit_what what)
{
    if (what == LIMIT_REQUESTS)
        return &standings->requests;
    bool tokens = what == LIMIT_TOKENS || what == LIMIT_INPUT_TOKENS || what == LIMIT_OUTPUT_TOKENS;
    return tokens ? &standings->tokens : NULL;
}

void limits_stand(struct limit_store *store, const struct limit_rules *rules,
    const int64_t *elsewhere, int64_t now_ms, struct limit_standings *ret)
{
    *ret = (struct limit_standings){0};
    for (size_t i = 0; i < rules->count; i++) {
        const struct limit_rule *rule = &rules->items[i];
        struct limit_standing *standing = standing_of(ret, rule->what);
        struct limit_state state;
        if (!standing)
            continue;
        limit_store_state(store, rule->name, rule->window, rule->most, 0, now_ms, &state);
        int64_t used = elsewhere && elsewhere[i] > state.used ? elsewhere[i] : state.used;
        int64_t left = rule->most > used ? rule->most - used : 0;
        if (!standing->known || left < standing->left)
            *standing = (struct limit_standing){true, rule->most, left, state.reset_ms};
    }
}

/* ---- words and money ------------------------------------------------------------------------- */

const char *limit_what_text(enum limit_what what)
{
    static const char *const texts[] = {
        "requests", "input tokens", "output tokens", "tokens", "of the currency", "requests"};
    return texts[what];
}

const char *limit_window_text(enum limit_window window)
{
    static const char *const texts[] = {
        "at once", "a second", "a minute", "an hour", "a day", "a month"};
    return texts[window];
}

/* On the way of each answer: without a format. */
static char *put_number(char *out, int64_t number, int least_digits)
{
    char digits[24];
    int count = 0;
    do {
        digits[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0 || count < least_digits);
    while (count > 0)
        *out++ = digits[--count];
    return out;
}

const char *limit_duration(int64_t ms, char text[LIMIT_DURATION_TEXT])
{
    int64_t s = ms / 1000, rest = ms % 1000;
    char *out = text;
    assert(ms >= 0);
    if (s >= 3600)
        *(out = put_number(out, s / 3600, 1)) = 'h', out++;
    if (s >= 60)
        *(out = put_number(out, s / 60 % 60, 1)) = 'm', out++;
    out = put_number(out, s >= 60 ? s % 60 : s > 0 ? s : rest, 1);
    if (s > 0 && s < 60 && rest > 0) {
        *out++ = '.';
        out = put_number(out, rest, 3);
    }
    memcpy(out, s > 0 ? "s" : "ms", s > 0 ? 2 : 3);
    return text;
}

static int64_t bounded(int64_t number)
{
    return number < 0 ? 0 : number > LIMIT_AMOUNT_MAX ? LIMIT_AMOUNT_MAX : number;
}

int64_t limit_money(const struct limit_prices *prices, int64_t input_tokens, int64_t output_tokens)
{
    __int128 thousandths = (__int128)prices->request +
                           (__int128)bounded(input_tokens) * prices->input +
                           (__int128)bounded(output_tokens) * prices->output;
    __int128 micro = (thousandths + 999) / 1000;
    return micro > LIMIT_AMOUNT_MAX ? LIMIT_AMOUNT_MAX : (int64_t)micro;
}
