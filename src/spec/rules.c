/* The rules that texts have to fit. Each says the same three times: in words for errors, as a
 * regular expression for the schema, and as code; a test holds the last two against each other. */
#include "spec/fields.h"
#include "spec/reference.h"
#include "spec/spec.h"

#include <string.h>

#define LOWER  "abcdefghijklmnopqrstuvwxyz"
#define UPPER  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

/* Whether text begins with one of `first`, goes on with `middle` and ends with one of `last`. */
static bool made_of(const char *text, const char *first, const char *middle, const char *last)
{
    size_t length = strlen(text);
    if (length == 0 || !strchr(first, text[0]) || !strchr(last, text[length - 1]))
        return false;
    return strspn(text, middle) == length;
}

bool name_valid(const char *text)
{
    return strlen(text) <= rule_name.length_max && rule_name.matches(text);
}

static bool is_name(const char *text)
{
    return made_of(text, LOWER DIGITS, LOWER DIGITS "-.", LOWER DIGITS);
}

static bool is_line(const char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return false;
    }
    return true;
}

static bool is_label_key(const char *text)
{
    return made_of(text, LOWER UPPER DIGITS, LOWER UPPER DIGITS "-_./", LOWER UPPER DIGITS);
}

static bool is_resource(const char *text)
{
    return made_of(text, LOWER DIGITS, LOWER DIGITS "-./", LOWER DIGITS);
}

static bool is_variable(const char *text)
{
    return made_of(text, LOWER UPPER "_", LOWER UPPER DIGITS "_", LOWER UPPER DIGITS "_");
}

static bool is_file_name(const char *text)
{
    static const char all[] = LOWER UPPER DIGITS "-_.";
    return made_of(text, LOWER UPPER DIGITS "_", all, all);
}

static bool is_user(const char *text)
{
    static const char ends[] = LOWER UPPER DIGITS "_";
    return made_of(text, ends, LOWER UPPER DIGITS "-_.@+:", ends);
}

static bool is_digest(const char *text)
{
    return strncmp(text, "sha256:", 7) == 0 && strlen(text) == 71 &&
           strspn(text + 7, DIGITS "abcdef") == 64;
}

static bool is_currency(const char *text)
{
    return strlen(text) == 3 && strspn(text, UPPER) == 3;
}

/* A name, or a name and the index of an element in brackets. */
static bool is_reference(const char *text)
{
    char name[64];
    size_t length = strcspn(text, "[");
    if (length >= sizeof name)
        return false;
    memcpy(name, text, length);
    name[length] = '\0';
    if (!is_name(name) || text[length] == '\0')
        return is_name(name);
    const char *index = text + length + 1;
    size_t digits = strspn(index, DIGITS);
    return digits >= 1 && digits <= 5 && strcmp(index + digits, "]") == 0;
}

static bool is_artifact(const char *text)
{
    struct reference reference;
    return reference_parse(text, &reference, NULL) == 0;
}

/* A path of a URL: what stands for itself in a request line. */
static bool is_url_path(const char *text)
{
    if (text[0] != '/')
        return false;
    for (; *text; text++) {
        if (*text <= ' ' || *text >= 0x7f || *text == '#')
            return false;
    }
    return true;
}

static bool is_route(const char *text)
{
    static const char all[] = LOWER UPPER DIGITS "-_.";
    return made_of(text, LOWER UPPER DIGITS, all, LOWER UPPER DIGITS);
}

static bool is_one_of(const char *text, const char *const *words)
{
    for (; *words; words++) {
        if (strcmp(text, *words) == 0)
            return true;
    }
    return false;
}

static bool is_gate_stage(const char *text)
{
    return is_one_of(text, (const char *const[]){"staging", "production", NULL});
}

static bool is_owner(const char *text)
{
    return is_one_of(text, (const char *const[]){"dataset", "approval", "bill", "onCall", NULL});
}

static bool is_protocol(const char *text)
{
    return is_one_of(text, (const char *const[]){"oip", "openai", NULL});
}

const struct text_rule rule_any = {"text", NULL, 4096, NULL};
const struct text_rule rule_long = {"text", NULL, 32 * 1024, NULL};
const struct text_rule rule_line = {
    "one line of text", "^[^\\u0000-\\u001f\\u007f]*$", 1024, is_line};
const struct text_rule rule_name = {"a name of lower-case letters, digits, - and .",
    "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", 63, is_name};
const struct text_rule rule_label_key = {"a name of letters, digits, -, _, . and /",
    "^[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?$", 63, is_label_key};
const struct text_rule rule_label_value = {
    "one line of text", "^[^\\u0000-\\u001f\\u007f]*$", 253, is_line};
const struct text_rule rule_resource = {"a name of lower-case letters, digits, -, . and /",
    "^[a-z0-9]([-a-z0-9./]*[a-z0-9])?$", 63, is_resource};
const struct text_rule rule_variable = {
    "a variable name of letters, digits and _", "^[A-Za-z_][A-Za-z0-9_]*$", 128, is_variable};
const struct text_rule rule_file_name = {"a file name of letters, digits, -, _ and .",
    "^[A-Za-z0-9_][-A-Za-z0-9_.]*$", 128, is_file_name};
const struct text_rule rule_user = {"a user name of letters, digits and -_.@+:",
    "^[A-Za-z0-9_]([-A-Za-z0-9_.@+:]*[A-Za-z0-9_])?$", 128, is_user};
const struct text_rule rule_digest = {
    "a digest, sha256: and 64 hex digits", "^sha256:[0-9a-f]{64}$", 71, is_digest};
const struct text_rule rule_currency = {"a currency such as EUR", "^[A-Z]{3}$", 3, is_currency};
const struct text_rule rule_reference = {"a job's name, or name[3] for an element of an array",
    "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?(\\[[0-9]{1,5}\\])?$", 71, is_reference};
const struct text_rule rule_artifact = {
    "a reference such as digits, digits:3 or vision/digits@production",
    "^([a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?/"
    ")?[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?(:[1-9][0-9]{0,7}|@(candidate|staging|production|"
    "archived))?$",
    159, is_artifact};
const struct text_rule rule_url_path = {
    "a path that begins with /", "^/[!-\"$-~]*$", 1024, is_url_path};
const struct text_rule rule_route = {"a name of letters, digits, -, _ and .",
    "^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$", 128, is_route};
const struct text_rule rule_gate_stage = {
    "staging or production", "^(staging|production)$", 16, is_gate_stage};
const struct text_rule rule_owner = {
    "one of dataset, approval, bill, onCall", "^(dataset|approval|bill|onCall)$", 16, is_owner};
const struct text_rule rule_protocol = {"oip or openai", "^(oip|openai)$", 16, is_protocol};
