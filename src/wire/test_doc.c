/* Documents: what is read, what is refused and with which words, and that what is written reads
 * back the same. */
#include "base/prng.h"
#include "wire/doc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void strbuf_scope(struct strbuf *buf)
{
    strbuf_finish(buf);
}

static struct doc *parse_json(struct arena *arena, const char *text, struct error *err)
{
    return doc_parse_json(arena, text, strlen(text), DOC_BYTES_MAX, err);
}

static struct doc *parse_yaml(struct arena *arena, const char *text, struct error *err)
{
    return doc_parse_yaml(arena, text, strlen(text), err);
}

static void assert_json(const struct doc *doc, const char *expected)
{
    SCOPED(strbuf_scope) struct strbuf text = {0};
    assert_non_null(doc);
    doc_write_json(doc, 0, &text);
    assert_string_equal(strbuf_text(&text), expected);
}

struct example {
    const char *text;
    const char *expected;
};

static void json_is_read(void **state)
{
    (void)state;
    static const struct example examples[] = {
        {"{\"a\": [1, -2.5, \"x\", true, null, {}], \"b\": []}",
            "{\"a\":[1,-2.5,\"x\",true,null,{}],\"b\":[]}"},
        {" 0 ", "0"},
        {"2.10", "2.1"},
        {"0.1", "0.1"},
        {"1e3", "1000"},
        {"[-0.0, -0, 0.0, -0e5]", "[0,0,0,0]"},
        {"9223372036854775807", "9223372036854775807"},
        {"\"\\u00e9\\n\\u0001\"", "\"\xc3\xa9\\n\\u0001\""},
    };
    SCOPED(arena_scope) struct arena *arena = arena_create();
    for (size_t i = 0; i < ARRAY_LEN(examples); i++)
        assert_json(parse_json(arena, examples[i].text, NULL), examples[i].expected);
}

static void json_is_refused(void **state)
{
    (void)state;
    static const struct example examples[] = {
        {"{\n \"a\": 1,\n \"a\": 2}", "line 3, column 4: duplicate object key near '\"a\"'"},
        {"[1] x", "line 1, column 5: end of file expected near 'x'"},
        {"[1,]", "line 1, column 4: unexpected token near ']'"},
        {"[\"\\u0000\"]", "line 1, column 9: text with a NUL"},
        {"[1e400]", "line 1, column 6: real number overflow near '1e400'"},
        {"[NaN]", "line 1, column 4: invalid token near 'NaN'"},
    };
    SCOPED(arena_scope) struct arena *arena = arena_create();
    for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
        struct error err = {0};
        assert_null(parse_json(arena, examples[i].text, &err));
        assert_int_equal(err.code, ERR_INVALID);
        assert_string_equal(err.text, examples[i].expected);
    }
    struct error err = {0};
    assert_null(parse_json(arena, "[\"\xff\"]", &err));
    assert_int_equal(err.code, ERR_INVALID);
    assert_null(doc_parse_json(arena, "[\0]", 3, 100, &err));
    /* Behind a number, where a reader of C strings would see the end. */
    assert_null(doc_parse_json(arena, "{\"n\":2\0}", 8, 100, &err));
    assert_null(doc_parse_json(arena, "1\0", 2, 100, &err));
    assert_null(doc_parse_json(arena, "[1,\n2\0]", 7, 100, &err));
    assert_string_equal(err.text, "line 2, column 2: a NUL byte");
    assert_null(doc_parse_json(arena, "[1, 2]", 6, 5, &err));
    assert_int_equal(err.code, ERR_TOO_LARGE);
}

static void write_nested(struct strbuf *text, int depth)
{
    strbuf_clear(text);
    for (int i = 0; i < depth; i++)
        strbuf_putc(text, '[');
    strbuf_putc(text, '1');
    for (int i = 0; i < depth; i++)
        strbuf_putc(text, ']');
}

static void nesting_is_bounded(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    SCOPED(strbuf_scope) struct strbuf text = {0};
    struct error err = {0};
    write_nested(&text, DOC_DEPTH_MAX);
    assert_non_null(parse_json(arena, text.text, &err));
    assert_non_null(parse_yaml(arena, text.text, &err));
    write_nested(&text, DOC_DEPTH_MAX + 1);
    assert_null(parse_json(arena, text.text, &err));
    assert_string_equal(err.text, "nested more than 32 levels deep");
    assert_null(parse_yaml(arena, text.text, &err));
    assert_string_equal(err.text, "line 1: nested more than 32 levels deep");
    write_nested(&text, 100000);
    assert_null(parse_json(arena, text.text, &err));
    assert_null(parse_yaml(arena, text.text, &err));
}

static void values_and_bytes_are_bounded(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    SCOPED(strbuf_scope) struct strbuf text = {0};
    struct error err = {0};
    strbuf_putc(&text, '[');
    for (int i = 0; i < DOC_ITEMS_MAX; i++)
        strbuf_puts(&text, i ? ",0" : "0");
    strbuf_putc(&text, ']');
    assert_null(parse_json(arena, text.text, &err));
    assert_int_equal(err.code, ERR_TOO_LARGE);
    assert_null(parse_yaml(arena, text.text, &err));
    assert_int_equal(err.code, ERR_TOO_LARGE);
    strbuf_clear(&text);
    while (text.length <= DOC_BYTES_MAX)
        strbuf_puts(&text, "# nothing\n");
    assert_null(parse_yaml(arena, text.text, &err));
    assert_int_equal(err.code, ERR_TOO_LARGE);
    assert_non_null(doc_parse_yaml(arena, text.text, DOC_BYTES_MAX, &err));
}

static void yaml_is_read(void **state)
{
    (void)state;
    static const struct example examples[] = {
        {"", "[]"},
        {"# only a comment\n", "[]"},
        {"---\n---\na: 1\n---\nnull\n...\n", "[{\"a\":1}]"},
        {"a: 1\n---\nb: 2\n", "[{\"a\":1},{\"b\":2}]"},
        {"[1, 2.50, 16Gi, no, True, ~, \"1\", 'x', 0x1f, +1, .5, 007]",
            "[[1,2.50,\"16Gi\",\"no\",true,null,\"1\",\"x\",\"0x1f\",\"+1\",\".5\",\"007\"]]"},
        {"a:\nb: ''\n", "[{\"a\":null,\"b\":\"\"}]"},
        {"a: |\n  x\n   y\nb: >-\n  c\n  d\n", "[{\"a\":\"x\\n y\\n\",\"b\":\"c d\"}]"},
        {"{\n\t\"a\": 1,\n\t\"b\": [1, 2]\n}\n", "[{\"a\":1,\"b\":[1,2]}]"},
        {"a: |\nb: >-\nc: |\n\n", "[{\"a\":\"\",\"b\":\"\",\"c\":\"\"}]"},
        {"\xef\xbb\xbf"
         "a: 1\n",
            "[{\"a\":1}]"},
        {"a: |\n", "[{\"a\":\"\"}]"},
        {"? >\n", "[{\"\":null}]"},
        {"a: '\'\'\'\'x'\nb: \"\\\"\\\"x\"\n", "[{\"a\":\"''x\",\"b\":\"\\\"\\\"x\"}]"},
        {"a: '\'\'\'\'\'\'\'\'\'\'\'\'\'\'\'\'x'\n", "[{\"a\":\"''''''''x\"}]"},
        {"\"x\n%y\"\n", "[\"x %y\"]"},
        {"true: 1\n2: x\n", "[{\"true\":1,\"2\":\"x\"}]"},
        {"t: 2026-01-31T08:30:00Z", "[{\"t\":\"2026-01-31T08:30:00Z\"}]"},
    };
    SCOPED(arena_scope) struct arena *arena = arena_create();
    for (size_t i = 0; i < ARRAY_LEN(examples); i++)
        assert_json(parse_yaml(arena, examples[i].text, NULL), examples[i].expected);
}

static void yaml_is_refused(void **state)
{
    (void)state;
    static const struct example examples[] = {
        {"a: 1\nb: 2\na: 3\n", "line 3: the key \"a\" is there twice"},
        {"a: &x 1\n", "line 1: anchors (&) and aliases (*) are not taken: write the value out"},
        {"a: 1\nb: *x\n", "line 2: anchors (&) and aliases (*) are not taken: write the value out"},
        {"a: !!str 1\n", "line 1: tags (!) are not taken"},
        {"- !x {}\n", "line 1: tags (!) are not taken"},
        {"%YAML 1.2\n---\na: 1\n", "line 1: directives (%) are not taken"},
        {"%TAG ! tag:x,1:\n---\na: 1\n", "line 1: directives (%) are not taken"},
        {"a: 1\n...\n%X y z\n", "line 3: directives (%) are not taken"},
        {"? [a]\n: b\n", "line 1: a key of a map has to be text"},
        {"a:\n\tb: 1\n", "line 2: a tab cannot indent: use spaces"},
        {"\xef\xbb\xbf\xc3\xa9: x\n\tb: 1\n", "line 2: a tab cannot indent: use spaces"},
        {"a: b: c\n", "line 1: mapping values are not allowed in this context"},
        {"a: x\nb: [1,\n2\n", "line 4: did not find expected ',' or ']', while parsing a flow "
                              "sequence that began in line 2"},
        {"a: \"\\0\"\n", "line 1: text with a NUL"},
        {"a: 1\nb: \x7f\n", "line 2: the character U+007F: write \"\\u007f\", in double quotes"},
        {"a: \"\xe2\x80\xa8\"\n",
            "line 1: the character U+2028: write \"\\u2028\", in double quotes"},
        {"a: \"\xff\"\n", "line 1: not UTF-8 text"},
    };
    SCOPED(arena_scope) struct arena *arena = arena_create();
    for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
        struct error err = {0};
        assert_null(parse_yaml(arena, examples[i].text, &err));
        assert_int_equal(err.code, ERR_INVALID);
        assert_string_equal(err.text, examples[i].expected);
    }
    struct error err = {0};
    assert_null(parse_yaml(arena, "a: 1\n b: [2\n", &err));
    assert_int_equal(err.code, ERR_INVALID);
    assert_null(doc_parse_yaml(arena, "a\0b", 3, &err));
    assert_int_equal(err.code, ERR_INVALID);
}

/* What libyaml's grammar does not take of JSON. */
static void all_of_json_is_yaml(void **state)
{
    (void)state;
    static const struct example examples[] = {
        {"{\"a\": \"\\ud83d\\ude00\"}\n", "[{\"a\":\"\xf0\x9f\x98\x80\"}]"},
        {"\n{\"a\"\n: \"\x7f\"}", "[{\"a\":\"\\u007f\"}]"},
        {"[\"\xe2\x80\xa8\", {\"a\"\n: 1}]", "[[\"\xe2\x80\xa8\",{\"a\":1}]]"},
        {"[{\"a\":1},\n\t{\"b\":[\"x\",\"\\/\"]}]", "[[{\"a\":1},{\"b\":[\"x\",\"/\"]}]]"},
    };
    SCOPED(arena_scope) struct arena *arena = arena_create();
    for (size_t i = 0; i < ARRAY_LEN(examples); i++)
        assert_json(parse_yaml(arena, examples[i].text, NULL), examples[i].expected);
    struct error err = {0};
    assert_null(parse_yaml(arena, "{\"a\": \"\\ud83d\"}", &err));
    assert_string_equal(err.text, "line 1: found invalid Unicode character escape code, while "
                                  "parsing a quoted scalar that began in line 1");
}

static void a_billion_laughs_are_refused_at_the_first(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    SCOPED(strbuf_scope) struct strbuf text = {0};
    struct error err = {0};
    strbuf_puts(&text, "a0: &a0 [lol, lol]\n");
    for (int i = 1; i < 30; i++)
        strbuf_printf(&text, "a%d: &a%d [*a%d, *a%d]\n", i, i, i - 1, i - 1);
    assert_null(parse_yaml(arena, text.text, &err));
    assert_string_equal(
        err.text, "line 1: anchors (&) and aliases (*) are not taken: write the value out");
    assert_true(arena_used(arena) < 64 * 1024);
}

static void many_keys_are_checked_quickly_enough(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    SCOPED(strbuf_scope) struct strbuf text = {0};
    struct error err = {0};
    for (int i = 0; i < 20000; i++)
        strbuf_printf(&text, "k%d: 1\n", i);
    assert_non_null(parse_yaml(arena, text.text, &err));
    strbuf_puts(&text, "k7: 2\n");
    assert_null(parse_yaml(arena, text.text, &err));
    assert_string_equal(err.text, "line 20001: the key \"k7\" is there twice");
}

static void yaml_values_know_their_lines(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct doc *list = parse_yaml(arena,
        "# first\n"
        "spec:\n"
        "  nodes:\n"
        "  - name: a\n"
        "    cpu: 1\n"
        "  - {name: b,\n"
        "     cpu: 2}\n"
        "---\n"
        "x: |\n"
        "  y\n",
        NULL);
    const struct doc *doc = doc_get(list->first, "spec");
    assert_int_equal(doc->line, 2);
    assert_int_equal(doc_find(list->first, "spec.nodes[0].cpu")->line, 5);
    assert_int_equal(doc_find(list->first, "spec.nodes[1]")->line, 6);
    assert_int_equal(doc_find(list->first, "spec.nodes[1].cpu")->line, 7);
    assert_int_equal(doc_get(list->last, "x")->line, 9);
}

static void a_path_leads_to_the_deepest_value(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct doc *doc =
        parse_json(arena, "{\"a\": {\"b.c\": [10, {\"d\": 11}]}, \"e\": 12}", NULL);
    assert_json(doc_find(doc, "e"), "12");
    assert_json(doc_find(doc, "a[\"b.c\"][0]"), "10");
    assert_json(doc_find(doc, "a[\"b.c\"][1].d"), "11");
    assert_json(doc_find(doc, "a[\"b.c\"][7].d"), "[10,{\"d\":11}]");
    assert_json(doc_find(doc, "e.x.y"), "12");
    assert_ptr_equal(doc_find(doc, "nope"), doc);
    assert_ptr_equal(doc_find(doc, ""), doc);
}

static void reading_gives_the_fallback_for_another_type(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct doc *doc = parse_json(
        arena, "{\"i\": -9223372036854775808, \"r\": 1.5, \"s\": \"x\", \"b\": true}", NULL);
    assert_true(doc_get_int(doc, "i", 7) == INT64_MIN);
    assert_int_equal(doc_get_int(doc, "r", 7), 7);
    assert_int_equal(doc_get_int(doc, "s", 7), 7);
    assert_int_equal(doc_get_int(doc, "none", 7), 7);
    assert_string_equal(doc_get_string(doc, "s"), "x");
    assert_null(doc_get_string(doc, "i"));
    assert_true(doc_get_bool(doc, "b", false));
    assert_true(doc_get_bool(doc, "s", true));
    int64_t value = 5;
    assert_false(doc_as_int(doc_number(arena, "9223372036854775808"), &value));
    assert_false(doc_as_int(doc_number(arena, "1e3"), &value));
    assert_int_equal(value, 5);
}

static void setting_a_key_again_replaces_it_in_place(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct doc *map = doc_map(arena);
    doc_set_int(arena, map, "a", 1);
    doc_set_int(arena, map, "b", 2);
    doc_set_string(arena, map, "c", NULL);
    doc_set_bool(arena, map, "a", true);
    doc_set_string(arena, map, "b", "x");
    doc_set_int(arena, map, "d", 4);
    assert_json(map, "{\"a\":true,\"b\":\"x\",\"d\":4}");
    assert_int_equal(map->count, 3);
}

static void merging_lays_maps_upon_maps(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct doc *base =
        parse_json(arena, "{\"a\": {\"x\": 1, \"y\": 2}, \"l\": [1, 2], \"k\": 5}", NULL);
    const struct doc *over =
        parse_json(arena, "{\"l\": [3], \"a\": {\"y\": {\"z\": 1}}, \"n\": null}", NULL);
    assert_json(doc_merge(arena, base, over),
        "{\"a\":{\"x\":1,\"y\":{\"z\":1}},\"l\":[3],\"k\":5,\"n\":null}");
    assert_json(base, "{\"a\":{\"x\":1,\"y\":2},\"l\":[1,2],\"k\":5}");
}

static void the_order_of_keys_does_not_count(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    const struct doc *a = parse_json(arena, "{\"x\": [1, 2], \"y\": null}", NULL);
    assert_true(doc_equal(a, parse_json(arena, "{\"y\": null, \"x\": [1, 2]}", NULL)));
    assert_false(doc_equal(a, parse_json(arena, "{\"y\": null, \"x\": [2, 1]}", NULL)));
    assert_false(doc_equal(a, parse_json(arena, "{\"y\": null, \"z\": [1, 2]}", NULL)));
    assert_false(doc_equal(a, parse_json(arena, "{\"x\": [1, 2]}", NULL)));
    assert_false(doc_equal(doc_string(arena, "1"), doc_int(arena, 1)));
    assert_true(doc_equal(a, doc_copy(arena, a)));
}

static void yaml_is_written_as_people_write_it(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    SCOPED(strbuf_scope) struct strbuf text = {0};
    const struct doc *doc = parse_json(arena,
        "{\"spec\": {\"command\": [\"sh\", \"-c\", \"echo a\\necho b\\n\"], \"memory\": \"16Gi\","
        " \"cpu\": 0.5, \"hold\": false, \"none\": null, \"env\": {\"A\": \"no\", \"B\": \"10\"},"
        " \"empty\": [], \"l\": [[1, 2], {\"a\": 1, \"b\": {}}], \"digest\": \"sha256:ab\"}}",
        NULL);
    doc_write_yaml(doc, &text);
    assert_string_equal(text.text, "spec:\n"
                                   "  command:\n"
                                   "  - sh\n"
                                   "  - \"-c\"\n"
                                   "  - |\n"
                                   "    echo a\n"
                                   "    echo b\n"
                                   "  memory: 16Gi\n"
                                   "  cpu: 0.5\n"
                                   "  hold: false\n"
                                   "  none: null\n"
                                   "  env:\n"
                                   "    A: \"no\"\n"
                                   "    B: \"10\"\n"
                                   "  empty: []\n"
                                   "  l:\n"
                                   "  - - 1\n"
                                   "    - 2\n"
                                   "  - a: 1\n"
                                   "    b: {}\n"
                                   "  digest: sha256:ab\n");
}

static void assert_same_after_yaml(struct arena *arena, const struct doc *doc)
{
    SCOPED(strbuf_scope) struct strbuf text = {0};
    struct error err = {0};
    doc_write_yaml(doc, &text);
    const struct doc *again = doc_parse_yaml(arena, text.text, text.length, &err);
    if (!again || again->count != 1 || !doc_equal(doc, again->first))
        fail_msg("%s: read back differs from:\n%s", err.text, text.text);
}

static void assert_same_after_json(struct arena *arena, const struct doc *doc)
{
    SCOPED(strbuf_scope) struct strbuf text = {0};
    struct error err = {0};
    doc_write_json(doc, 2, &text);
    const struct doc *again = doc_parse_json(arena, text.text, text.length, DOC_BYTES_MAX, &err);
    if (!again || !doc_equal(doc, again))
        fail_msg("%s: read back differs from:\n%s", err.text, text.text);
}

static const char *const awkward_texts[] = {"", " ", "no", "Yes", "null", "~", "true", "1", "1e3",
    "-", "- x", "? a", ": b", "a: b", "a:", "a #b", "#c", "&a", "*a", "!t", "|", ">", "%", "@", "`",
    "---", "...", "--- x", "{}", "[", "]", ",", "'", "\"", "\\", "a\nb", "a\nb\n", "a\n\nb\n\n",
    "\n", "\n\n", " a\nb", "a \nb", "a\n b\n", "a\n---\nb", "\ta", "a\tb", "a\n\tb\n", "0x1f",
    "1_000", "12:30:00", "2026-01-31", ".inf", "<<", "=", "\r", "a\r\nb", "\x01", "\x7f",
    "\xc2\x85", "\xe2\x80\xa8", "\xef\xbb\xbf", "\xef\xbf\xbf", "\xf0\x9f\x98\x80", "\xc3\xa9",
    "a  b", " a", "a ", "a,b", "16Gi", "5d", "3e2", "1h30m", "/bin/sh", "a/b.c", "key with spaces",
    "#!/bin/sh\nset -e\n# x\n", "| \n a"};

static void awkward_texts_survive_yaml_and_json(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    struct doc *map = doc_map(arena), *list = doc_list(arena);
    for (size_t i = 0; i < ARRAY_LEN(awkward_texts); i++) {
        const char *text = awkward_texts[i];
        assert_same_after_yaml(arena, doc_string(arena, text));
        assert_same_after_json(arena, doc_string(arena, text));
        doc_append(list, doc_string(arena, text));
        doc_set_string(arena, map, text, text);
    }
    doc_set(arena, map, "a list", list);
    assert_same_after_yaml(arena, map);
    assert_same_after_json(arena, map);
}

static void a_long_key_survives_yaml(void **state)
{
    (void)state;
    SCOPED(arena_scope) struct arena *arena = arena_create();
    char key[3000];
    memset(key, 'k', sizeof key - 1);
    key[sizeof key - 1] = '\0';
    struct doc *map = doc_map(arena), *inner = doc_map(arena);
    doc_set_int(arena, inner, "a", 1);
    doc_set(arena, map, key, inner);
    assert_same_after_yaml(arena, map);
    struct doc *list = doc_list(arena);
    doc_append(list, map);
    assert_same_after_yaml(arena, list);
}

static struct doc *random_doc(struct arena *arena, struct prng *prng, int depth)
{
    static const char *const numbers[] = {"0", "-1", "2.5", "1000000", "0.001", "-0.5"};
    uint64_t kind = prng_below(prng, depth > 5 ? 4 : 6);
    if (kind == 0)
        return doc_bool(arena, prng_below(prng, 2));
    if (kind == 1)
        return doc_number(arena, numbers[prng_below(prng, ARRAY_LEN(numbers))]);
    if (kind == 2)
        return doc_null(arena);
    if (kind == 3)
        return doc_string(arena, awkward_texts[prng_below(prng, ARRAY_LEN(awkward_texts))]);
    struct doc *doc = kind == 4 ? doc_list(arena) : doc_map(arena);
    for (uint64_t count = prng_below(prng, 5); count > 0; count--) {
        struct doc *item = random_doc(arena, prng, depth + 1);
        if (kind == 4)
            doc_append(doc, item);
        else
            doc_set(arena, doc, awkward_texts[prng_below(prng, ARRAY_LEN(awkward_texts))], item);
    }
    return doc;
}

static void random_documents_survive_yaml_and_json(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 1000; seed++) {
        SCOPED(arena_scope) struct arena *arena = arena_create();
        struct prng prng = {seed};
        struct doc *list = doc_list(arena);
        doc_append(list, random_doc(arena, &prng, 0));
        assert_same_after_yaml(arena, list);
        assert_same_after_json(arena, list);
        assert_true(doc_equal(list, doc_copy(arena, list)));
        assert_true(doc_equal(list, doc_merge(arena, list, list)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_is_read),
        cmocka_unit_test(json_is_refused),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(values_and_bytes_are_bounded),
        cmocka_unit_test(yaml_is_read),
        cmocka_unit_test(yaml_is_refused),
        cmocka_unit_test(all_of_json_is_yaml),
        cmocka_unit_test(a_billion_laughs_are_refused_at_the_first),
        cmocka_unit_test(many_keys_are_checked_quickly_enough),
        cmocka_unit_test(yaml_values_know_their_lines),
        cmocka_unit_test(a_path_leads_to_the_deepest_value),
        cmocka_unit_test(reading_gives_the_fallback_for_another_type),
        cmocka_unit_test(setting_a_key_again_replaces_it_in_place),
        cmocka_unit_test(merging_lays_maps_upon_maps),
        cmocka_unit_test(the_order_of_keys_does_not_count),
        cmocka_unit_test(yaml_is_written_as_people_write_it),
        cmocka_unit_test(awkward_texts_survive_yaml_and_json),
        cmocka_unit_test(a_long_key_survives_yaml),
        cmocka_unit_test(random_documents_survive_yaml_and_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
