/* The table of `spec.gateway.guard` of a Service. What is looked for is named here, so that a
 * manifest is checked where it is applied; how it is found is the gateway's. */
#include "spec/serving.h"
#include "spec/tables.h"

#include <stddef.h>
#include <string.h>

/* clang-format off: a field is a paragraph, not a column */

const char *const guard_kind_names[GUARD_KINDS] = {
    [GUARD_AWS_KEY] = "aws-key",
    [GUARD_GITHUB_TOKEN] = "github-token",
    [GUARD_GITLAB_TOKEN] = "gitlab-token",
    [GUARD_SLACK_TOKEN] = "slack-token",
    [GUARD_STRIPE_KEY] = "stripe-key",
    [GUARD_GOOGLE_KEY] = "google-key",
    [GUARD_OPENAI_KEY] = "openai-key",
    [GUARD_ANTHROPIC_KEY] = "anthropic-key",
    [GUARD_HUGGINGFACE_TOKEN] = "huggingface-token",
    [GUARD_NPM_TOKEN] = "npm-token",
    [GUARD_PRIVATE_KEY] = "private-key",
    [GUARD_JWT] = "jwt",
    [GUARD_EMAIL] = "email",
    [GUARD_PHONE] = "phone",
    [GUARD_IBAN] = "iban",
    [GUARD_CREDIT_CARD] = "credit-card",
    [GUARD_SSN] = "ssn",
    [GUARD_IP_ADDRESS] = "ip-address",
    [GUARD_INJECTION_OVERRIDE] = "injection-override",
    [GUARD_INJECTION_REVEAL] = "injection-reveal",
    [GUARD_INJECTION_PERSONA] = "injection-persona",
    [GUARD_INJECTION_TURN] = "injection-turn",
};

static bool is_kind(const char *text)
{
    for (size_t i = 0; i < GUARD_KINDS; i++) {
        if (!strcmp(text, guard_kind_names[i]))
            return true;
    }
    return false;
}

static const struct text_rule rule_guard_kind = {
    "a kind of finding: aws-key, email, .. (docs/gateway-guard.md has them)", NULL, 63, is_kind};

static bool is_address(const char *text)
{
    if (!strncmp(text, "unix:/", 6))
        return true;
    return is_http_url(text) && !strchr(strstr(text, "://") + 3, '/');
}

static const struct text_rule rule_classifier = {
    "unix:/PATH, http://HOST:PORT or https://HOST:PORT", NULL, 300, is_address};

static const struct field_word action_words[] = {
    {"pass", GUARD_PASS, "it is not looked for"},
    {"flag", GUARD_FLAG, "it is counted and passed on"},
    {"redact", GUARD_REDACT, "`[REDACTED:KIND]` stands in its place"},
    {"block", GUARD_BLOCK, "the request or answer is refused"},
    {NULL},
};

static const struct field_word injection_words[] = {
    {"pass", GUARD_PASS, "it is not looked for"},
    {"flag", GUARD_FLAG, "it is counted and passed on"},
    {"block", GUARD_BLOCK, "the request is refused"},
    {NULL},
};

static const struct field_word other_words[] = {
    {"refuse", GUARD_OTHERS_REFUSE, "the request is refused"},
    {"drop", GUARD_OTHERS_DROP, "they are taken out of it"},
    {NULL},
};

static const struct field_word failure_words[] = {
    {"block", GUARD_FAILURE_BLOCK, "the request is refused"},
    {"allow", GUARD_FAILURE_ALLOW, "the request goes on"},
    {NULL},
};

static const struct field requests_fields[] = {
    {.name = "secrets",
        .type = FIELD_ENUM,
        .words = action_words,
        .offset = offsetof(struct service_guard, requests.secrets),
        .doc = "Keys of clouds and providers, private keys, JSON web tokens."},
    {.name = "personal",
        .type = FIELD_ENUM,
        .words = action_words,
        .offset = offsetof(struct service_guard, requests.personal),
        .doc = "Addresses, phone numbers, numbers of accounts, cards and social security."},
    {.name = "injection",
        .type = FIELD_ENUM,
        .words = injection_words,
        .offset = offsetof(struct service_guard, requests.injection),
        .doc = "Phrases of well-known prompt injections: a list of patterns, and no more."},
};
static const struct field_table requests_table = FIELD_TABLE("ServiceGuardRequests",
    struct service_guard, requests_fields, .doc = "What is done about what clients send.");

static const struct field answers_fields[] = {
    {.name = "secrets",
        .type = FIELD_ENUM,
        .words = action_words,
        .offset = offsetof(struct service_guard, answers.secrets),
        .doc = "As for requests."},
    {.name = "personal",
        .type = FIELD_ENUM,
        .words = action_words,
        .offset = offsetof(struct service_guard, answers.personal),
        .doc = "As for requests."},
};
static const struct field_table answers_table = FIELD_TABLE("ServiceGuardAnswers",
    struct service_guard, answers_fields, .doc = "What is done about what replicas answer.");

static const struct field classifier_fields[] = {
    {.name = "address",
        .type = FIELD_TEXT,
        .rule = &rule_classifier,
        .offset = offsetof(struct service_guard, classifier.address),
        .doc = "`unix:/PATH`, `http://HOST:PORT` or `https://HOST`; none: nobody is asked."},
    {.name = "timeout",
        .type = FIELD_DURATION,
        .fallback = SECONDS(2),
        .min = 1,
        .max = SECONDS(60),
        .offset = offsetof(struct service_guard, classifier.timeout_ms),
        .doc = "From the call to the end of its answer."},
    {.name = "onFailure",
        .type = FIELD_ENUM,
        .words = failure_words,
        .fallback = GUARD_FAILURE_BLOCK,
        .offset = offsetof(struct service_guard, classifier.on_failure),
        .doc = "What a classifier that does not answer, or not in its form, comes to."},
};
static const struct field_table classifier_table = FIELD_TABLE("ServiceGuardClassifier",
    struct service_guard, classifier_fields, .doc = "A program that is asked about each request.");

static bool is_schema_path(const char *text)
{
    return strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.[]") ==
               strlen(text) &&
           *text && *text != '.';
}

static const struct text_rule rule_schema_path = {"a path such as messages[].role",
    "^[A-Za-z0-9_\\[\\]-][A-Za-z0-9_.\\[\\]-]*$", 120, is_schema_path};

static const struct field_word schema_words[] = {
    {"any", GUARD_SCHEMA_ANY, "whatever there is"},
    {"text", GUARD_SCHEMA_TEXT, "a string"},
    {"number", GUARD_SCHEMA_NUMBER, "a number"},
    {"boolean", GUARD_SCHEMA_BOOLEAN, "true or false"},
    {"object", GUARD_SCHEMA_OBJECT, "an object"},
    {"list", GUARD_SCHEMA_LIST, "a list"},
    {NULL},
};

static const struct field schema_fields[] = {
    {.name = "path",
        .type = FIELD_TEXT,
        .flags = FIELD_REQUIRED,
        .rule = &rule_schema_path,
        .offset = offsetof(struct guard_schema_rule, path),
        .doc = "Names of members with dots between them, `[]` for the items of a list: "
               "`messages[].role`, `inputs[].datatype`."},
    {.name = "type",
        .type = FIELD_ENUM,
        .words = schema_words,
        .offset = offsetof(struct guard_schema_rule, kind),
        .doc = "What each value there has to be; null is as if it were not there."},
    {.name = "oneOf",
        .type = FIELD_TEXTS,
        .max = 64,
        .offset = offsetof(struct guard_schema_rule, one_of),
        .doc = "The texts that it may be; none: any."},
    {.name = "max",
        .type = FIELD_MICRO,
        .max = 1000000000000000,
        .offset = offsetof(struct guard_schema_rule, max_micro),
        .doc = "The largest number, or the most bytes of a text; 0: any."},
    {.name = "required",
        .type = FIELD_BOOL,
        .offset = offsetof(struct guard_schema_rule, required),
        .doc = "Whether there has to be one."},
};
static const struct field_table schema_table = FIELD_TABLE("ServiceGuardSchema",
    struct guard_schema_rule, schema_fields, .doc = "What a value of a request has to be.");

static const struct field guard_fields[] = {
    {.name = "requests",
        .type = FIELD_OBJECT,
        .table = &requests_table,
        .doc = "What is done about what clients send."},
    {.name = "answers",
        .type = FIELD_OBJECT,
        .table = &answers_table,
        .doc = "What is done about what replicas answer."},
    {.name = "except",
        .type = FIELD_TEXTS,
        .rule = &rule_guard_kind,
        .max = GUARD_KINDS,
        .offset = offsetof(struct service_guard, except),
        .doc = "Kinds that are not looked for."},
    {.name = "messagesMax",
        .type = FIELD_INT,
        .max = 1 << 20,
        .offset = offsetof(struct service_guard, messages_max),
        .doc = "The most `messages` of a request; 0: any number."},
    {.name = "promptBytesMax",
        .type = FIELD_BYTES,
        .max = 1 << 20,
        .offset = offsetof(struct service_guard, prompt_bytes_max),
        .doc = "The most bytes of all texts of a request but its parameters; 0: any number."},
    {.name = "maxTokens",
        .type = FIELD_INT,
        .max = 1LL << 32,
        .offset = offsetof(struct service_guard, max_tokens),
        .doc = "The most that a request may ask for; 0: any number."},
    {.name = "models",
        .type = FIELD_TEXTS,
        .max = 64,
        .offset = offsetof(struct service_guard, models),
        .doc = "What `model` may be; none: whatever leads here."},
    {.name = "parameters",
        .type = FIELD_TEXTS,
        .max = 128,
        .offset = offsetof(struct service_guard, parameters),
        .doc = "The outermost members that a request may have; none: any."},
    {.name = "otherParameters",
        .type = FIELD_ENUM,
        .words = other_words,
        .offset = offsetof(struct service_guard, others),
        .doc = "What is done about others."},
    {.name = "schema",
        .type = FIELD_OBJECTS,
        .table = &schema_table,
        .max = GUARD_SCHEMA_MAX,
        .offset = offsetof(struct service_guard, schema),
        .doc = "What requests have to have, and of which kinds."},
    {.name = "classifier",
        .type = FIELD_OBJECT,
        .table = &classifier_table,
        .doc = "A program that is asked about each request."},
};
const struct field_table service_guard_table = FIELD_TABLE("ServiceGuard", struct service_guard,
    guard_fields, .doc = "What may not pass, in requests and in answers.");

/* clang-format on */
