/* The scripts for shells: that they parse, and what bash offers. */
#include "cli/completion.h"

#include "base/file.h"
#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* The script in a file of its own; removed by the caller. */
static void write_script(const struct strbuf *script, char path[64])
{
    struct error err = {0};
    strcpy(path, "/tmp/muster-test-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(file_write_all(fd, script->text, script->length, &err), 0);
    close(fd);
}

static bool there_is(const char *shell)
{
    char command[64];
    snprintf(command, sizeof command, "command -v %s >/dev/null", shell);
    return system(command) == 0;
}

static void check_syntax(const char *shell, void (*write)(struct strbuf *out))
{
    if (!there_is(shell))
        skip();
    struct strbuf script = {0};
    char path[64], command[128];
    write(&script);
    write_script(&script, path);
    snprintf(command, sizeof command, "%s -n %s", shell, path);
    int status = system(command);
    unlink(path);
    strbuf_finish(&script);
    assert_int_equal(status, 0);
}

static void bash_can_read_its_script(void **state)
{
    (void)state;
    check_syntax("bash", completion_write_bash);
}

static void zsh_can_read_its_script(void **state)
{
    (void)state;
    check_syntax("zsh", completion_write_zsh);
}

/* What bash offers for the words, the last of which is being typed. */
static void offers(const char *words, int index, const char *expected)
{
    struct strbuf script = {0};
    char path[64], command[256], line[4096] = "";
    completion_write_bash(&script);
    strbuf_printf(&script, "COMP_WORDS=(%s)\nCOMP_CWORD=%d\n_muster\necho \"${COMPREPLY[*]}\"\n",
        words, index);
    write_script(&script, path);
    snprintf(command, sizeof command, "bash %s", path);
    FILE *output = popen(command, "r");
    assert_non_null(output);
    assert_non_null(fgets(line, sizeof line, output));
    pclose(output);
    unlink(path);
    strbuf_finish(&script);
    line[strcspn(line, "\n")] = '\0';
    assert_string_equal(line, expected);
}

static void bash_offers_what_the_tables_have(void **state)
{
    (void)state;
    if (!there_is("bash"))
        skip();
    offers("muster ca", 1, "cancel");
    offers("muster re", 1, "release replay refuse reproduce restore");
    offers("muster get p", 2, "pools");
    offers("muster get jobs --st", 3, "--state");
    offers("muster get jobs -o y", 4, "yaml");
    offers("muster node c", 2, "cordon");
    offers("muster node drain --en", 3, "--endpoint");
    offers("muster s", 1, "server score secret simulate schema");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bash_can_read_its_script),
        cmocka_unit_test(zsh_can_read_its_script),
        cmocka_unit_test(bash_offers_what_the_tables_have),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
