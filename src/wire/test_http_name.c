/* Tests of names of fields and of the fast looks at bytes: each finds exactly what the plain way
 * finds, for every name, every case and every byte. */
#include "base/test.h"
#include "wire/http_name.h"
#include "wire/http_parse.h"
#include "wire/http_text.h"

#include "base/prng.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The plain way. */
static enum http_name find_plainly(const char *text, size_t length)
{
    for (enum http_name name = HTTP_NAME_OTHER + 1; name < HTTP_NAMES; name++) {
        if (strlen(http_name_text(name)) == length &&
            strncasecmp(text, http_name_text(name), length) == 0 && !memchr(text, '\0', length))
            return name;
    }
    return HTTP_NAME_OTHER;
}

/* In memory of its own, so that a look past the end is seen by the sanitizer. */
static enum http_name find(const char *text, size_t length)
{
    char *copy = malloc(length ? length : 1);
    memcpy(copy, text, length);
    enum http_name name = http_name_find(copy, length);
    assert_int_equal(name, find_plainly(copy, length));
    free(copy);
    return name;
}

static void each_name_is_found_in_any_case(void **state)
{
    char text[64];
    (void)state;
    assert_string_equal(http_name_text(HTTP_NAME_OTHER), "");
    assert_int_equal(find("", 0), HTTP_NAME_OTHER);
    for (enum http_name name = HTTP_NAME_OTHER + 1; name < HTTP_NAMES; name++) {
        size_t length = strlen(http_name_text(name));
        assert_true(length > 0 && length < sizeof text);
        memcpy(text, http_name_text(name), length);
        assert_int_equal(find(text, length), name);
        for (size_t i = 0; i < length; i++)
            text[i] = (char)toupper((unsigned char)text[i]);
        assert_int_equal(find(text, length), name);
    }
}

static void a_name_with_another_byte_is_no_name(void **state)
{
    char text[64];
    (void)state;
    for (enum http_name name = HTTP_NAME_OTHER + 1; name < HTTP_NAMES; name++) {
        size_t length = strlen(http_name_text(name));
        for (size_t at = 0; at < length; at++) {
            for (int byte = 0; byte < 256; byte++) {
                memcpy(text, http_name_text(name), length);
                text[at] = (char)byte;
                find(text, length);
            }
        }
        memcpy(text, http_name_text(name), length);
        text[length] = 'x';
        find(text, length + 1);
        find(text, length - 1);
    }
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static bool text_valid_plainly(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        if ((byte < 0x20 && byte != '\t') || byte == 0x7f)
            return false;
    }
    return true;
}

static bool visible_plainly(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte <= 0x20 || byte >= 0x7f)
            return false;
    }
    return true;
}

static void check_text(const char *text, size_t length)
{
    char *copy = malloc(length ? length : 1);
    memcpy(copy, text, length);
    assert_int_equal(http_text_valid(copy, length), text_valid_plainly(copy, length));
    assert_int_equal(http_visible_valid(copy, length), visible_plainly(copy, length));
    free(copy);
}

static void any_byte_at_any_place_is_judged_as_the_plain_way_judges_it(void **state)
{
    char text[72];
    (void)state;
    for (size_t length = 0; length < sizeof text; length++) {
        for (size_t at = 0; at < length; at++) {
            for (int byte = 0; byte < 256; byte++) {
                memset(text, byte & 1 ? 'v' : 0xe4, sizeof text);
                text[at] = (char)byte;
                check_text(text, length);
            }
        }
    }
}

static void bytes_drawn_at_random_are_judged_alike(void **state)
{
    struct prng prng = {17};
    char text[72];
    (void)state;
    for (int round = 0; round < 20000; round++) {
        size_t length = prng_next(&prng) % sizeof text;
        for (size_t i = 0; i < length; i++) {
            uint64_t draw = prng_next(&prng);
            text[i] = (char)(draw % 64 ? '!' + (draw >> 8) % 94 : draw >> 8);
        }
        check_text(text, length);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_name_is_found_in_any_case),
        cmocka_unit_test(a_name_with_another_byte_is_no_name),
        cmocka_unit_test(any_byte_at_any_place_is_judged_as_the_plain_way_judges_it),
        cmocka_unit_test(bytes_drawn_at_random_are_judged_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
