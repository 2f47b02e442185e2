/* Arguments against the tables of verbs. */
#include "cli/options.h"

#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { WORDS_MAX = 16 };

/* Parses words up to NULL; the caller destroys the result. */
static struct arguments *parse(struct error *err, const char *const *words)
{
    static char *argv[WORDS_MAX];
    int argc = 0;
    while (words[argc]) {
        argv[argc] = (char *)words[argc];
        argc++;
    }
    argv[argc] = NULL;
    *err = (struct error){0};
    return arguments_parse(argc, argv, err);
}

#define PARSE(err, ...) parse(err, (const char *const[]){__VA_ARGS__, NULL})

static void refuse(const char *expected, const char *const *words)
{
    struct error err;
    assert_null(parse(&err, words));
    assert_int_equal(err.code, ERR_INVALID);
    assert_string_equal(err.text, expected);
}

#define REFUSE(expected, ...) refuse(expected, (const char *const[]){__VA_ARGS__, NULL})

static void options_may_stand_in_every_way_people_write_them(void **state)
{
    (void)state;
    struct error err;
    SCOPED(arguments_scope)
    struct arguments *args =
        PARSE(&err, "logs", "-fn5", "team/job", "--rank=2", "--attempt", "3", "--timestamps");
    assert_non_null(args);
    assert_true(arguments_flag(args, "follow"));
    assert_true(arguments_flag(args, "timestamps"));
    assert_int_equal(arguments_number(args, "tail", -1), 5);
    assert_int_equal(arguments_number(args, "rank", -1), 2);
    assert_int_equal(arguments_number(args, "attempt", -1), 3);
    assert_string_equal(arguments_operand(args, 0), "team/job");
    assert_null(arguments_operand(args, 1));
}

static void what_is_not_given_is_the_fallback(void **state)
{
    (void)state;
    struct error err;
    SCOPED(arguments_scope) struct arguments *args = PARSE(&err, "logs", "job");
    assert_non_null(args);
    assert_false(arguments_flag(args, "follow"));
    assert_null(arguments_text(args, "tail"));
    assert_int_equal(arguments_number(args, "tail", -7), -7);
}

static void the_last_value_wins_and_lists_keep_all(void **state)
{
    (void)state;
    struct error err;
    SCOPED(arguments_scope)
    struct arguments *args =
        PARSE(&err, "run", "--name", "a", "--name", "b", "-E", "X=1", "--env", "Y=2", "--", "true");
    assert_non_null(args);
    assert_string_equal(arguments_text(args, "name"), "b");
    assert_string_equal(arguments_item(args, "env", 0), "X=1");
    assert_string_equal(arguments_item(args, "env", 1), "Y=2");
    assert_null(arguments_item(args, "env", 2));
}

static void what_follows_two_dashes_is_the_command_untouched(void **state)
{
    (void)state;
    struct error err;
    SCOPED(arguments_scope)
    struct arguments *args = PARSE(&err, "exec", "job", "--", "ls", "-la", "--", "--help");
    assert_non_null(args);
    assert_false(arguments_help(args));
    char *const *command = arguments_command(args);
    assert_string_equal(command[0], "ls");
    assert_string_equal(command[1], "-la");
    assert_string_equal(command[2], "--");
    assert_string_equal(command[3], "--help");
    assert_null(command[4]);
    assert_int_equal(arguments_operand_count(args), 1);
}

static void an_action_is_the_verb(void **state)
{
    (void)state;
    struct error err;
    SCOPED(arguments_scope) struct arguments *args = PARSE(&err, "node", "drain", "local/a");
    assert_non_null(args);
    assert_string_equal(arguments_path(args), "node drain");
    assert_string_equal(arguments_verb(args)->name, "drain");
}

static void help_is_given_even_where_the_rest_is_wrong(void **state)
{
    (void)state;
    struct error err;
    SCOPED(arguments_scope) struct arguments *verb = PARSE(&err, "run", "--help");
    assert_true(verb && arguments_help(verb));
    SCOPED(arguments_scope) struct arguments *action = PARSE(&err, "node", "drain", "-h");
    assert_true(action && arguments_help(action));
    SCOPED(arguments_scope) struct arguments *actions = PARSE(&err, "node", "--help");
    assert_true(actions && arguments_help(actions));
}

static void typing_slips_are_answered_with_what_was_meant(void **state)
{
    (void)state;
    REFUSE("there is no verb \"aplly\"; did you mean apply?", "aplly");
    REFUSE("there is no verb \"xyzzy\"; see muster help", "xyzzy");
    REFUSE("get has no option --stat; did you mean --state?", "get", "jobs", "--stat", "x");
    REFUSE("get has no option --zzz; see muster get --help", "get", "jobs", "--zzz");
    REFUSE("node has no action \"drian\"; did you mean drain?", "node", "drian");
    REFUSE("token needs one of these actions: create, list, revoke", "token");
}

static void wrong_values_are_named_with_what_was_expected(void **state)
{
    (void)state;
    REFUSE("--tail: expected a number from 0, got \"-1\"", "logs", "--tail", "-1", "j");
    REFUSE("-n: expected a number from 0, got \"5x\"", "logs", "-n5x", "j");
    REFUSE("--output: expected one of table|wide|json|yaml|name, got \"xml\"", "get", "--output",
        "xml", "jobs");
    REFUSE("--follow takes no value", "logs", "--follow=yes", "j");
    REFUSE("--tail needs a value: LINES", "logs", "j", "--tail");
}

static void operands_are_counted(void **state)
{
    (void)state;
    REFUSE("something is missing: muster logs JOB", "logs");
    REFUSE("logs: \"b\" is one operand too many: muster logs JOB", "logs", "a", "b");
    REFUSE("something is missing: muster run -- COMMAND...", "run", "--name", "x");
    REFUSE("exec has no option -l; put -- before the command", "exec", "job", "ls", "-l");
    REFUSE("cancel takes nothing after --", "cancel", "job", "--", "x");
}

static void the_environment_speaks_where_the_command_line_does_not(void **state)
{
    (void)state;
    struct error err;
    setenv("MUSTER_TEAM", "vision", 1);
    SCOPED(arguments_scope) struct arguments *from = PARSE(&err, "cancel", "job");
    assert_string_equal(arguments_text(from, "team"), "vision");
    SCOPED(arguments_scope) struct arguments *over = PARSE(&err, "cancel", "--team", "a", "job");
    assert_string_equal(arguments_text(over, "team"), "a");
    unsetenv("MUSTER_TEAM");
}

static void operand_patterns_give_their_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *operands;
        int least;
        int most;
        bool command;
    } cases[] = {{"", 0, 0, false}, {"JOB", 1, 1, false}, {"KIND [NAME...]", 1, -1, false},
        {"[KIND] [NAME...]", 0, -1, false}, {"JOB -- COMMAND...", 1, 1, true},
        {"-- COMMAND...", 0, 0, true}, {"NODE...", 1, -1, false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct verb verb = {.name = "v", .operands = cases[i].operands};
        int least, most;
        verb_operand_count(&verb, &least, &most);
        assert_int_equal(least, cases[i].least);
        assert_int_equal(most, cases[i].most);
        assert_int_equal(verb_takes_command(&verb), cases[i].command);
    }
}

/* A slip in a table would otherwise show when somebody first uses it. */
static void check_verb(const struct verb *verb)
{
    assert_non_null(verb->summary);
    assert_non_null(verb->operands);
    assert_true(verb->summary[strlen(verb->summary) - 1] != '.');
    assert_int_equal(!verb->actions, verb->run || verb->run_raw);
    const struct option_spec *lists[3], *seen[64];
    int count = verb_option_lists(verb, lists), known = 0;
    for (int i = 0; i < count; i++) {
        for (const struct option_spec *spec = lists[i]; spec->name; spec++) {
            assert_int_equal(spec->type == OPTION_FLAG, spec->value == NULL);
            assert_int_equal(spec->type == OPTION_CHOICE, spec->choices != NULL);
            for (int k = 0; k < known; k++) {
                assert_string_not_equal(seen[k]->name, spec->name);
                assert_true(!spec->letter || seen[k]->letter != spec->letter);
            }
            assert_true(known < 64);
            seen[known++] = spec;
        }
    }
    for (const struct verb *action = verb->actions; action && action->name; action++)
        check_verb(action);
}

static void every_table_is_sound(void **state)
{
    (void)state;
    for (size_t i = 0; verbs[i]; i++)
        check_verb(verbs[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_may_stand_in_every_way_people_write_them),
        cmocka_unit_test(what_is_not_given_is_the_fallback),
        cmocka_unit_test(the_last_value_wins_and_lists_keep_all),
        cmocka_unit_test(what_follows_two_dashes_is_the_command_untouched),
        cmocka_unit_test(an_action_is_the_verb),
        cmocka_unit_test(help_is_given_even_where_the_rest_is_wrong),
        cmocka_unit_test(typing_slips_are_answered_with_what_was_meant),
        cmocka_unit_test(wrong_values_are_named_with_what_was_expected),
        cmocka_unit_test(operands_are_counted),
        cmocka_unit_test(the_environment_speaks_where_the_command_line_does_not),
        cmocka_unit_test(operand_patterns_give_their_numbers),
        cmocka_unit_test(every_table_is_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
