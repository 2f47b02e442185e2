/* Help, manual pages and docs/cli.md say what the tables say. */
#include "cli/help.h"

#include "base/file.h"
#include "base/memory.h"
#include "cli/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void the_committed_reference_is_current(void **state)
{
    (void)state;
    SCOPED(mem_scope) char *committed = NULL;
    size_t size;
    struct error err = {0};
    if (file_read(SOURCE_ROOT "/docs/cli.md", 1 << 20, &committed, &size, &err) < 0)
        fail_msg("%s", err.text);
    struct strbuf out = {0};
    manual_write_markdown(&out);
    if (strcmp(committed, out.text) != 0)
        fail_msg("docs/cli.md is old: build/muster help --markdown > docs/cli.md");
    strbuf_finish(&out);
}

static void help_fits_a_terminal_and_names_every_option(void **state)
{
    (void)state;
    for (size_t i = 0; verbs[i]; i++) {
        if (verbs[i]->hidden)
            continue;
        struct strbuf out = {0};
        help_write_verb(verbs[i], verbs[i]->name, &out);
        for (const struct option_spec *spec = verbs[i]->options; spec && spec->name; spec++)
            assert_non_null(strstr(out.text, spec->name));
        const char *end = strstr(out.text, "\nExamples:");
        for (char *line = strtok(out.text, "\n"); line && (!end || line < end);
             line = strtok(NULL, "\n"))
            assert_true(text_width(line) <= 80);
        strbuf_finish(&out);
    }
}

static void no_line_of_a_manual_page_is_an_unknown_request(void **state)
{
    (void)state;
    static const char *const requests[] = {
        ".TH ", ".SH ", ".SS ", ".B ", ".BR ", ".I ", ".TP", ".PP", ".nf", ".fi"};
    for (size_t i = 0; verbs[i]; i++) {
        struct strbuf out = {0};
        if (verbs[i]->hidden)
            continue;
        manual_write_verb(verbs[i], &out);
        for (char *line = strtok(out.text, "\n"); line; line = strtok(NULL, "\n")) {
            bool known = line[0] != '.' && line[0] != '\'';
            for (size_t k = 0; k < ARRAY_LEN(requests); k++)
                known = known || !strncmp(line, requests[k], strlen(requests[k]));
            if (!known)
                fail_msg("muster-%s.1: %s", verbs[i]->name, line);
        }
        strbuf_finish(&out);
    }
}

static void hidden_verbs_stay_hidden(void **state)
{
    (void)state;
    struct strbuf out = {0};
    help_write_overview(&out);
    manual_write_markdown(&out);
    manual_write_overview(&out);
    assert_null(strstr(out.text, "shim"));
    assert_non_null(strstr(out.text, "cancel"));
    strbuf_finish(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_committed_reference_is_current),
        cmocka_unit_test(help_fits_a_terminal_and_names_every_option),
        cmocka_unit_test(no_line_of_a_manual_page_is_an_unknown_request),
        cmocka_unit_test(hidden_verbs_stay_hidden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
