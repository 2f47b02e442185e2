/* Tests of the canonical form of JSON, against the plain way: jansson's tree, whose members are
 * sorted and whose values are printed. Bodies are drawn, and written in two ways or changed. */
#include "base/memory.h"
#include "base/prng.h"
#include "base/strbuf.h"
#include "base/test.h"
#include "gateway/canon.h"
#include "wire/doc.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BYTES_MAX = 1 << 20 };

/* ---- the plain way --------------------------------------------------------------------------- */

static int by_key(const void *a, const void *b)
{
    return strcmp((*(const struct doc *const *)a)->key, (*(const struct doc *const *)b)->key);
}

static void print_text(struct strbuf *out, const char *text, size_t length)
{
    strbuf_printf(out, "%zu:", length);
    strbuf_append(out, text, length);
}

static void print_value(struct strbuf *out, struct arena *arena, const struct doc *value)
{
    strbuf_printf(out, "<%d ", (int)value->type);
    if (value->type == DOC_BOOL)
        strbuf_puts(out, value->boolean ? "yes" : "no");
    if (value->type == DOC_NUMBER || value->type == DOC_STRING)
        print_text(out, value->text, value->length);
    const struct doc **items = arena_alloc(arena, value->count + 1, sizeof *items);
    size_t count = 0;
    bool nests = value->type == DOC_LIST || value->type == DOC_MAP;
    for (const struct doc *item = nests ? value->first : NULL; item; item = item->next)
        items[count++] = item;
    if (value->type == DOC_MAP)
        qsort(items, count, sizeof *items, by_key);
    for (size_t i = 0; i < count; i++) {
        if (value->type == DOC_MAP)
            print_text(out, items[i]->key, strlen(items[i]->key));
        print_value(out, arena, items[i]);
    }
    strbuf_putc(out, '>');
}

/* False: it is refused. */
static bool form_plainly(struct strbuf *out, const char *text, size_t length)
{
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct error err;
    const struct doc *doc =
        doc_parse_json_bounded(arena, text, length, BYTES_MAX, CANON_VALUES_MAX, &err);
    if (doc)
        print_value(out, arena, doc);
    return doc != NULL;
}

/* In memory of its own size, so that a look past the end is seen by the sanitizer. */
static bool form(struct canon *canon, const char *text, size_t length)
{
    SCOPED(mem_scope) char *copy = mem_alloc(length ? length : 1, 1);
    memcpy(copy, text, length);
    return canon_make(canon, copy, length);
}

static bool same(const char *one, size_t one_length, const char *other, size_t other_length)
{
    SCOPED(canon_finish) struct canon left = {0}, right = {0};
    assert_true(form(&left, one, one_length));
    assert_true(form(&right, other, other_length));
    return left.length == right.length && !memcmp(left.text, right.text, left.length);
}

static bool same_plainly(const struct strbuf *one, const struct strbuf *other)
{
    SCOPED(strbuf_finish) struct strbuf left = {0}, right = {0};
    assert_true(form_plainly(&left, one->text, one->length));
    assert_true(form_plainly(&right, other->text, other->length));
    return left.length == right.length && !memcmp(left.text, right.text, left.length);
}

/* ---- drawn bodies: the same seed gives the same value, style how it is written -----------------
 */

struct draw {
    struct prng value, style;
    struct strbuf *out;
    size_t left; /* values that may still come */
};

static uint64_t styled(struct draw *draw, uint64_t bound)
{
    return prng_below(&draw->style, bound);
}

static void put_space(struct draw *draw)
{
    while (styled(draw, 4) == 0)
        strbuf_putc(draw->out, " \n\r\t"[styled(draw, 4)]);
}

static void put_character(struct draw *draw, unsigned code)
{
    static const char *const usual[] = {
        "\"", "\\", "/", "a", "e", "\t", "\xc3\xa4", "\xf0\x9f\x98\x80"};
    static const char *const escaped[] = {
        "\\\"", "\\\\", "\\/", "a", "e", "\\t", "\xc3\xa4", "\xf0\x9f\x98\x80"};
    static const char *const coded[] = {"\\u0022", "\\u005C", "\\u002f", "\\u0061", "\\u0065",
        "\\u0009", "\\u00E4", "\\ud83D\\uDE00"};
    bool must = code < 2 || code == 5;
    uint64_t way = styled(draw, 3);
    strbuf_puts(draw->out, way == 0 ? coded[code] : way == 1 || must ? escaped[code] : usual[code]);
}

static void put_string(struct draw *draw)
{
    size_t length =
        prng_below(&draw->value, 4) ? prng_below(&draw->value, 6) : prng_below(&draw->value, 40);
    strbuf_putc(draw->out, '"');
    bool plain = prng_below(&draw->value, 2);
    for (size_t i = 0; i < length; i++) {
        unsigned code = (unsigned)prng_below(&draw->value, 8);
        if (plain)
            strbuf_putc(draw->out, (char)('a' + code));
        else
            put_character(draw, code);
    }
    strbuf_putc(draw->out, '"');
}

/* A whole number of at most four digits, times a power of ten. */
static void put_number(struct draw *draw)
{
    int64_t number = (int64_t)prng_below(&draw->value, 2000) - 1000;
    int power = (int)prng_below(&draw->value, 5) - 2;
    const char *sign = number < 0 ? "-" : "";
    number = number < 0 ? -number : number;
    int64_t scale = power == -1 ? 10 : 100;
    if (power < 0 && styled(draw, 2))
        strbuf_printf(
            draw->out, "%s%d.%0*d", sign, (int)(number / scale), -power, (int)(number % scale));
    else if (power >= 0 && styled(draw, 2))
        strbuf_printf(draw->out, "%s%d%.*s%s", sign, (int)number, number ? power : 0, "0000",
            styled(draw, 2) ? ".0" : "");
    else
        strbuf_printf(draw->out, "%s%d%s%c%s%d", sign, (int)number, styled(draw, 2) ? ".00" : "",
            styled(draw, 2) ? 'e' : 'E', power >= 0 && styled(draw, 2) ? "+" : "", power);
}

static void put_value(struct draw *draw, int depth);

/* Rotated: names are numbered, so that none is there twice. */
static void put_map(struct draw *draw, int depth)
{
    enum { MOST = 6 };
    struct draw members[MOST];
    size_t count = prng_below(&draw->value, MOST), first = count ? styled(draw, count) : 0;
    for (size_t i = 0; i < count; i++) {
        members[i] = *draw;
        members[i].value = (struct prng){prng_next(&draw->value)};
    }
    strbuf_putc(draw->out, '{');
    for (size_t i = 0; i < count; i++) {
        size_t at = (first + i) % count;
        put_space(draw);
        strbuf_printf(draw->out, styled(draw, 2) ? "\"n%zu\"" : "\"\\u006e%zu\"", at * 7);
        put_space(draw);
        strbuf_putc(draw->out, ':');
        members[at].style = (struct prng){prng_next(&draw->style)};
        put_value(&members[at], depth + 1);
        strbuf_puts(draw->out, i + 1 < count ? "," : "");
    }
    put_space(draw);
    strbuf_putc(draw->out, '}');
}

static void put_list(struct draw *draw, int depth)
{
    size_t count = prng_below(&draw->value, 6);
    strbuf_putc(draw->out, '[');
    for (size_t i = 0; i < count; i++) {
        put_value(draw, depth + 1);
        strbuf_puts(draw->out, i + 1 < count ? "," : "");
    }
    put_space(draw);
    strbuf_putc(draw->out, ']');
}

static void put_value(struct draw *draw, int depth)
{
    static const char *const words[] = {"true", "false", "null"};
    uint64_t kind = prng_below(&draw->value, depth < 4 ? 8 : 4);
    put_space(draw);
    if (kind == 0)
        strbuf_puts(draw->out, words[prng_below(&draw->value, 3)]);
    else if (kind == 1)
        put_string(draw);
    else if (kind < 4)
        put_number(draw);
    else if (kind < 6)
        put_list(draw, depth);
    else
        put_map(draw, depth);
    put_space(draw);
}

static void write_body(struct strbuf *out, uint64_t value, uint64_t style)
{
    struct draw draw = {.value = {value}, .style = {style}, .out = out};
    strbuf_clear(out);
    put_value(&draw, 0);
}

static void the_same_written_otherwise_has_the_same_form(void **state)
{
    SCOPED(strbuf_finish) struct strbuf one = {0}, other = {0};
    (void)state;
    for (uint64_t seed = 0; seed < 3000; seed++) {
        write_body(&one, seed, 2 * seed);
        write_body(&other, seed, 2 * seed + 1);
        assert_true(same_plainly(&one, &other));
        assert_true(same(one.text, one.length, other.text, other.length));
    }
}

static void two_bodies_are_the_same_where_they_are_plainly(void **state)
{
    SCOPED(strbuf_finish) struct strbuf one = {0}, other = {0};
    (void)state;
    for (uint64_t seed = 0; seed < 3000; seed++) {
        write_body(&one, seed, seed);
        write_body(&other, seed + 1 + seed % 7, seed + 1);
        assert_int_equal(
            same(one.text, one.length, other.text, other.length), same_plainly(&one, &other));
    }
}

/* What jansson refuses because of a number's size has a form: it is exact at any size. */
static void what_is_damaged_is_refused_where_it_is_plainly(void **state)
{
    SCOPED(strbuf_finish) struct strbuf text = {0}, plain = {0};
    struct prng prng = {3};
    size_t refused = 0;
    (void)state;
    for (uint64_t seed = 0; seed < 20000; seed++) {
        write_body(&text, seed % 500, seed);
        size_t at = prng_below(&prng, text.length);
        text.text[at] = prng_below(&prng, 3) ? "{}[],:\"\\-.0e1utn \n"[prng_below(&prng, 19)]
                                             : (char)prng_below(&prng, 256);
        SCOPED(canon_finish) struct canon canon = {0};
        bool has_form = form(&canon, text.text, text.length);
        bool has_plainly = form_plainly(&plain, text.text, text.length);
        strbuf_clear(&plain);
        if (has_form != has_plainly && !strpbrk(text.text, "eE"))
            fail_msg("%s: %d, plainly %d", text.text, has_form, has_plainly);
        assert_true(has_form || !has_plainly);
        refused += !has_form;
    }
    assert_true(refused > 1000);
}

/* ---- borders --------------------------------------------------------------------------------- */

static bool has_form(const char *text)
{
    SCOPED(canon_finish) struct canon canon = {0};
    SCOPED(strbuf_finish) struct strbuf plain = {0};
    bool is = form(&canon, text, strlen(text));
    assert_int_equal(is, form_plainly(&plain, text, strlen(text)));
    return is;
}

static void depth_and_count_have_the_bounds_of_documents(void **state)
{
    char text[200];
    (void)state;
    for (int depth = CANON_DEPTH_MAX - 1; depth <= CANON_DEPTH_MAX + 1; depth++) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        text[2 * depth] = '\0';
        assert_int_equal(has_form(text), depth <= CANON_DEPTH_MAX);
    }
    for (size_t count = CANON_VALUES_MAX - 2; count <= CANON_VALUES_MAX; count++) {
        SCOPED(strbuf_finish) struct strbuf list = {0};
        strbuf_puts(&list, "[0");
        for (size_t i = 1; i < count; i++)
            strbuf_puts(&list, ",0");
        strbuf_putc(&list, ']');
        assert_int_equal(has_form(list.text), count < CANON_VALUES_MAX);
    }
}

static void each_is_taken_or_refused(void **state)
{
    static const char *const taken[] = {"{}", "[]", " null ", "0", "-0", "-0.0e5", "1E+2",
        "\"\\u00e4\"", "\"\\ud83d\\ude00\"", "{\"\":{}}", "\"\x7f\""};
    static const char *const refused[] = {"", " ", "{", "[", "[1,]", "{,}", "{\"a\":1,}", "01", "-",
        "1.", ".1", "1e", "1e+", "+1", "nul", "nulll", "tru", "\"", "\"\\x\"", "\"\\u00g0\"",
        "\"\\ud800\"", "\"\\udc00\"", "\"\\ud800\\u0041\"", "\"\\u0000\"", "\"\n\"", "\"\xff\"",
        "\"\xc0\x80\"", "{\"a\":1,\"a\":1}", "{\"a\":1,\"b\":2,\"\\u0061\":3}", "[1 2]",
        "{\"a\" 1}", "1 1", "{a:1}", "[}", "'a'", "\"\\"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(taken); i++)
        assert_true(has_form(taken[i]));
    for (size_t i = 0; i < ARRAY_LEN(refused); i++)
        assert_false(has_form(refused[i]));
}

static void numbers_are_exact(void **state)
{
    static const char *const forms[][2] = {{"0", "0"}, {"-0.00e7", "0"}, {"10", "1e1"},
        {"1.0", "1"}, {"-12.50", "-125e-1"}, {"0.001", "1e-3"}, {"1e999999999", "1e999999999"},
        {"100e-2", "1"}, {"9007199254740993", "9007199254740993"},
        {"0.1000000000000000055511151231257827", "1000000000000000055511151231257827e-34"}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        SCOPED(canon_finish) struct canon canon = {0};
        assert_true(form(&canon, forms[i][0], strlen(forms[i][0])));
        assert_int_equal(canon.length, strlen(forms[i][1]));
        assert_memory_equal(canon.text, forms[i][1], canon.length);
    }
    SCOPED(canon_finish) struct canon canon = {0};
    assert_false(form(&canon, "1e1000000000", 12));
}

static void members_of_the_outermost_map_are_found(void **state)
{
    static const char text[] = "{\"z\":[1],\"stream\":true,\"m\":{\"id\":1},\"\\u0061\":1.0}";
    SCOPED(canon_finish) struct canon canon = {0}, list = {0};
    (void)state;
    assert_true(form(&canon, text, sizeof text - 1));
    assert_true(canon_has(&canon, "z") && canon_is(&canon, "stream", "true"));
    assert_true(canon_is(&canon, "a", "1") && canon_is(&canon, "m", "{\"id\":1,}"));
    assert_false(canon_has(&canon, "id") || canon_is(&canon, "stream", "tru"));
    assert_true(form(&list, "[{\"id\":1}]", 10));
    assert_false(canon_has(&list, "id"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_written_otherwise_has_the_same_form),
        cmocka_unit_test(two_bodies_are_the_same_where_they_are_plainly),
        cmocka_unit_test(what_is_damaged_is_refused_where_it_is_plainly),
        cmocka_unit_test(depth_and_count_have_the_bounds_of_documents),
        cmocka_unit_test(each_is_taken_or_refused),
        cmocka_unit_test(numbers_are_exact),
        cmocka_unit_test(members_of_the_outermost_map_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
