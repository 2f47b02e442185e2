/* See guard_scan.h. In each feed:
 *
 *   1. runs that are under way (a token's further bytes) take what is theirs;
 *   2. the anchors of the window are found, and what stands there is decided;
 *   3. what begins before the border is counted, and redacted in the order of beginnings;
 *   4. text up to the border goes out, and the window lets go of what nobody looks at again.
 *
 * The border is GUARD_REACH before the end, or behind the last blank after a byte that nothing to
 * be found has before a blank. A decision that is made for a beginning before the border has seen
 * all bytes that it depends on: so it is the one that the whole text would have had. */
#include "gateway/guard_scan.h"

#include "base/memory.h"
#include "spec/serving.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct pass {
    const struct guard_rules *rules;
    struct guard_text text;
    size_t decided, border;
    struct guard_match *items;
    size_t count, capacity;
};

/* ---- finding --------------------------------------------------------------------------------- */

static bool before(const struct guard_match *a, const struct guard_match *b)
{
    return a->begin != b->begin ? a->begin < b->begin : a->kind < b->kind;
}

/* They come nearly in order. */
static void add(struct pass *pass, const struct guard_match *match)
{
    if (pass->count == pass->capacity) {
        pass->capacity = pass->capacity ? 2 * pass->capacity : 8;
        pass->items = mem_resize(pass->items, pass->capacity, sizeof *pass->items);
    }
    size_t at = pass->count++;
    for (; at > 0 && before(match, &pass->items[at - 1]); at--)
        pass->items[at] = pass->items[at - 1];
    pass->items[at] = *match;
}

static void on_anchor(void *context, unsigned number, size_t at)
{
    struct pass *pass = context;
    size_t count;
    const struct guard_anchor *anchor = &guard_anchors(&count)[number];
    struct guard_match match;
    if (pass->rules->action[anchor->kind] != GUARD_PASS &&
        anchor->find(&pass->text, at, anchor->kind, &match) && match.begin >= pass->decided &&
        match.begin < pass->border)
        add(pass, &match);
}

/* Every anchor at every offset: what it finds twice is counted once. */
static void find_plainly(struct pass *pass)
{
    size_t count;
    (void)guard_anchors(&count);
    for (size_t at = 0; at < pass->text.length; at++) {
        for (unsigned i = 0; i < count; i++)
            on_anchor(pass, i, at);
    }
}

static void find(struct pass *pass, struct guard_counts *counts)
{
    const struct guard_rules *rules = pass->rules;
    if (!rules->patterns)
        find_plainly(pass);
    else if (!guard_library_scan(rules->patterns, rules->scratch, pass->text.text,
                 pass->text.length, on_anchor, pass))
        counts->unreadable = true;
}

/* ---- the border ------------------------------------------------------------------------------ */

/* Whether something that is found may have it before a blank: groups of digits and of capital
 * letters, brackets of area codes, the lines of keys. */
static bool may_precede_blank(char c)
{
    return guard_is_digit(c) || (c >= 'A' && c <= 'Z') || c == ')' || c == '-' || c == ' ' ||
           c == '\t' || c == '\r' || c == '\n' || c == '\\';
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static size_t border_of(const struct guard_text *text, size_t decided, bool final)
{
    size_t border = text->length > GUARD_REACH ? text->length - GUARD_REACH : 0;
    if (final)
        return text->length;
    border = border > decided ? border : decided;
    for (size_t i = text->length; i > border + 1; i--) {
        if (is_blank(text->text[i - 1]) && !may_precede_blank(text->text[i - 2]))
            return i;
    }
    /* Not within a character. */
    while (border > decided && ((unsigned char)text->text[border] & 0xc0) == 0x80)
        border--;
    return border;
}

/* ---- redaction ------------------------------------------------------------------------------- */

static void count_match(struct guard_scan *scan, const struct guard_rules *rules,
    const struct guard_match *match, struct guard_counts *counts)
{
    if (scan->base + match->begin < scan->counted[match->kind])
        return;
    scan->counted[match->kind] = scan->base + match->end;
    counts->of[match->kind]++;
    counts->total++;
    if (rules->action[match->kind] == GUARD_BLOCK && !counts->blocked) {
        counts->blocked = true;
        counts->first = match->kind;
    }
}

static void extend(
    struct guard_scan *scan, const struct guard_text *text, enum guard_run run, size_t from)
{
    size_t end = guard_run_end(run, text, from);
    scan->passed = end > scan->passed ? end : scan->passed;
    scan->runs = end == text->length ? scan->runs | run : scan->runs & ~(unsigned)run;
}

static void redact(struct guard_scan *scan, const struct guard_text *text,
    const struct guard_match *match, struct strbuf *out, struct guard_counts *counts)
{
    if (match->begin >= scan->passed) {
        strbuf_append(out, text->text + scan->passed, match->begin - scan->passed);
        strbuf_puts(out, "[REDACTED:");
        strbuf_puts(out, guard_kind_names[match->kind]);
        strbuf_putc(out, ']');
        counts->redacted++;
    }
    scan->passed = match->end > scan->passed ? match->end : scan->passed;
    /* Further matches may not end a run that is under way: its end is the same for both. */
    if (match->run != RUN_NONE)
        extend(scan, text, match->run, match->end);
}

static void go_on(struct guard_scan *scan, const struct guard_text *text, size_t from)
{
    for (int i = 0; i < RUN_COUNT; i++) {
        if (scan->runs >> i & 1)
            extend(scan, text, (enum guard_run)(1 << i), from);
    }
}

/* text is the window with the new bytes, from `from` on. */
static void work(struct guard_scan *scan, const struct guard_rules *rules,
    const struct guard_text *text, size_t from, bool final, struct strbuf *out,
    struct guard_counts *counts)
{
    struct pass pass = {.rules = rules, .text = *text, .decided = scan->decided};
    pass.border = border_of(text, scan->decided, final);
    go_on(scan, text, from);
    if (!rules->idle && text->length > 0 && pass.border > scan->decided)
        find(&pass, counts);
    for (size_t i = 0; i < pass.count; i++) {
        count_match(scan, rules, &pass.items[i], counts);
        if (rules->action[pass.items[i].kind] == GUARD_REDACT)
            redact(scan, text, &pass.items[i], out, counts);
    }
    free(pass.items);
    if (scan->passed < pass.border) {
        strbuf_append(out, text->text + scan->passed, pass.border - scan->passed);
        scan->passed = pass.border;
    }
    scan->decided = pass.border;
}

/* ---- interface ------------------------------------------------------------------------------- */

void guard_scan_feed(struct guard_scan *scan, const struct guard_rules *rules, const char *bytes,
    size_t length, bool final, struct strbuf *out, struct guard_counts *counts)
{
    size_t from = scan->window.length;
    if (length > 0)
        strbuf_append(&scan->window, bytes, length);
    struct guard_text text = {strbuf_text(&scan->window), scan->window.length};
    work(scan, rules, &text, from, final, out, counts);
    size_t gone = scan->decided > GUARD_BEFORE ? scan->decided - GUARD_BEFORE : 0;
    if (gone == 0)
        return;
    strbuf_consume(&scan->window, gone);
    scan->base += gone;
    scan->decided -= gone;
    scan->passed -= gone;
}

size_t guard_scan_held(const struct guard_scan *scan)
{
    return scan->passed < scan->window.length ? scan->window.length - scan->passed : 0;
}

void guard_scan_finish(struct guard_scan *scan)
{
    strbuf_finish(&scan->window);
}

bool guard_scan_whole(const struct guard_rules *rules, const char *text, size_t length,
    struct strbuf *out, struct guard_counts *counts)
{
    struct guard_scan scan = {0};
    const struct guard_text whole = {text, length};
    uint32_t redacted = counts->redacted;
    size_t before_length = out->length;
    work(&scan, rules, &whole, 0, true, out, counts);
    if (counts->redacted > redacted)
        return true;
    out->length = before_length;
    if (out->text)
        out->text[out->length] = '\0';
    return false;
}
