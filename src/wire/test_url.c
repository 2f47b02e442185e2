/* Tests of URLs: endpoints there and back, paths that must not pass, encoding. */
#include "wire/url.h"

#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void endpoints_parse_and_build_to_the_same_text(void **state)
{
    (void)state;
    static const char *const texts[] = {"unix:/run/muster.sock", "https://host", "http://host:8080",
        "https://[::1]:8443", "http://127.0.0.1:80a"};
    for (size_t i = 0; i + 1 < ARRAY_LEN(texts); i++) {
        struct url_endpoint endpoint;
        struct strbuf out = {0};
        assert_int_equal(url_endpoint_parse(texts[i], &endpoint, NULL), 0);
        url_endpoint_build(&endpoint, &out);
        assert_string_equal(strbuf_text(&out), texts[i]);
        strbuf_finish(&out);
    }
}

static void default_ports_are_filled_in(void **state)
{
    (void)state;
    struct url_endpoint endpoint;
    assert_int_equal(url_endpoint_parse("https://h/", &endpoint, NULL), 0);
    assert_int_equal(endpoint.port, 443);
    assert_int_equal(url_endpoint_parse("HTTP://h", &endpoint, NULL), 0);
    assert_int_equal(endpoint.port, 80);
}

static void wrong_endpoints_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "host:80", "ftp://host", "unix:relative",
        "unix:", "http://", "http://:80", "http://h:0", "http://h:65536", "http://h:80x",
        "http://h/path", "http://h?q", "http://u@h", "http://[::1", "http://[zz]", "http://h h",
        "http://..", "https://h:"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct url_endpoint endpoint = {.port = 7};
        struct error err = {0};
        assert_int_equal(url_endpoint_parse(texts[i], &endpoint, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
        assert_int_equal(endpoint.port, 7);
    }
}

static void only_the_machine_itself_is_local(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool local;
    } rows[] = {{"unix:/s", true}, {"http://localhost", true}, {"http://127.9.9.9", true},
        {"http://[::1]", true}, {"http://128.0.0.1", false}, {"http://localhost.evil.org", false},
        {"http://127.0.0.1.evil.org", false}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct url_endpoint endpoint;
        assert_int_equal(url_endpoint_parse(rows[i].text, &endpoint, NULL), 0);
        assert_int_equal(url_endpoint_is_local(&endpoint), rows[i].local);
    }
}

static void safe_paths_are_decoded(void **state)
{
    (void)state;
    static const struct {
        const char *text, *path;
    } rows[] = {{"/", "/"}, {"/a/b", "/a/b"}, {"/a/", "/a/"}, {"/a%20b", "/a b"},
        {"/%C3%A4", "/\xc3\xa4"}, {"/a+b", "/a+b"}, {"/...", "/..."}, {"/.a/b.", "/.a/b."}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char out[64];
        size_t length;
        assert_int_equal(
            url_decode_path(rows[i].text, strlen(rows[i].text), out, &length, NULL), 0);
        assert_string_equal(out, rows[i].path);
        assert_int_equal(length, strlen(rows[i].path));
    }
}

static void paths_that_mislead_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "a", "//", "/a//b", "/.", "/..", "/a/../b", "/a/./b",
        "/a/..", "/%2e%2e/b", "/%2E/b", "/.%2e/b", "/a%2fb", "/a%2Fb", "/a%5cb", "/a\\b", "/%00",
        "/a%0ab", "/%7f", "/%", "/%2", "/%zz", "/%ff", "/%c0%af", "/%c0%ae%c0%ae/x", "/%ed%a0%80",
        "/%f4%90%80%80", "/%e0%80%af"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        char out[64];
        size_t length = 99;
        struct error err = {0};
        if (url_decode_path(texts[i], strlen(texts[i]), out, &length, &err) == 0)
            print_error("passed: %s\n", texts[i]);
        assert_int_equal(err.code, ERR_INVALID);
        assert_int_equal(length, 99);
    }
}

static void every_text_survives_encoding_and_decoding(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "", "plain", "a b+c&d=e?f#g/h%i", "\xc3\xa4\xe2\x82\xac", "~-._", "\x01\x7f"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct strbuf encoded = {0};
        char out[64];
        size_t length;
        url_encode_segment(&encoded, texts[i]);
        assert_int_equal(
            url_decode_query(strbuf_text(&encoded), encoded.length, out, &length, NULL), 0);
        assert_string_equal(out, texts[i]);
        strbuf_finish(&encoded);
    }
}

static void query_parameters_are_joined(void **state)
{
    (void)state;
    struct strbuf out = {0};
    strbuf_puts(&out, "/v1/jobs");
    url_add_query(&out, "team", "a&b");
    url_add_query(&out, "page", "2");
    assert_string_equal(out.text, "/v1/jobs?team=a%26b&page=2");
    strbuf_finish(&out);
}

/* Without escapes a path is what its segments are: none but the last is empty, none is dots. */
static bool segments_fine(const char *path)
{
    if (path[0] != '/' || strchr(path, '\\'))
        return false;
    for (const char *segment = path + 1; segment; segment = strchr(segment, '/')) {
        segment += *segment == '/' && segment > path + 1;
        size_t length = strcspn(segment, "/");
        bool last = segment[length] == '\0';
        if ((length == 0 && !last) || (length == 1 && segment[0] == '.') ||
            (length == 2 && !memcmp(segment, "..", 2)))
            return false;
        if (last)
            return true;
    }
    return true;
}

/* Every path of up to seven of these bytes: those that stand for themselves are taken by a short
 * way, which has to say the same. */
static void short_paths_are_judged_by_their_segments(void **state)
{
    static const char bytes[] = "/.a+\\";
    char path[8], out[64];
    size_t length;
    (void)state;
    for (unsigned number = 0; number < 5 * 5 * 5 * 5 * 5 * 5 * 5; number++) {
        unsigned rest = number, count = 0;
        for (; rest > 0; rest /= 5)
            path[count++] = bytes[rest % 5];
        path[count] = '\0';
        bool fine = url_decode_path(path, count, out, &length, NULL) == 0;
        assert_int_equal(fine, segments_fine(path));
        if (fine)
            assert_string_equal(out, path);
    }
}

/* Longer ones are judged sixteen bytes at a time, which has to say the same wherever they are odd.
 */
static void odd_parts_are_found_wherever_they_are(void **state)
{
    static const char *const parts[] = {"/", "//", "/.", "/./", "/../", "/..", "/.a", "/a.", "+",
        "\\", "%41", "%2f", "%", "a~_-z", "/0", "{", "@", "`", "[", ":", "\x7f", "\x1f",
        "\xc3\xa4"};
    char path[64], plain[64], out[64], plainly[64];
    size_t length, plain_length;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        for (int before = 1; before < 40; before++) {
            snprintf(path, sizeof path, "/%.*s%sb", before,
                "aZ09aZ09aZ09aZ09aZ09aZ09aZ09aZ09aZ09aZ09", parts[i]);
            snprintf(plain, sizeof plain, "/a%sb", parts[i]);
            int given = url_decode_path(path, strlen(path), out, &length, NULL);
            assert_int_equal(
                given, url_decode_path(plain, strlen(plain), plainly, &plain_length, NULL));
            if (given == 0)
                assert_string_equal(out + before + 1, plainly + 2);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(endpoints_parse_and_build_to_the_same_text),
        cmocka_unit_test(default_ports_are_filled_in),
        cmocka_unit_test(wrong_endpoints_are_refused),
        cmocka_unit_test(only_the_machine_itself_is_local),
        cmocka_unit_test(safe_paths_are_decoded),
        cmocka_unit_test(paths_that_mislead_are_refused),
        cmocka_unit_test(odd_parts_are_found_wherever_they_are),
        cmocka_unit_test(every_text_survives_encoding_and_decoding),
        cmocka_unit_test(query_parameters_are_joined),
        cmocka_unit_test(short_paths_are_judged_by_their_segments),
    };
    return cmocka_run_group_tests_name("url", tests, NULL, NULL);
}
