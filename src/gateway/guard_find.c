/* Secrets, and the table of anchors: see guard_find.h. Each find function checks the anchor itself,
 * so that it may be asked at any offset: the plain way of the tests does. */
#include "gateway/guard_find.h"

#include "base/memory.h"

#include <assert.h>
#include <string.h>

bool guard_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

bool guard_is_word(char c)
{
    return guard_is_digit(c) || is_upper(c) || is_lower(c) || c == '_';
}

bool guard_word_before(const struct guard_text *text, size_t at)
{
    return at > 0 && guard_is_word(text->text[at - 1]);
}

bool guard_word_at(const struct guard_text *text, size_t at)
{
    return at < text->length && guard_is_word(text->text[at]);
}

static bool stands(const struct guard_text *text, size_t at, const char *word)
{
    size_t length = strlen(word);
    return at <= text->length && text->length - at >= length &&
           !memcmp(text->text + at, word, length);
}

/* ---- tokens with a prefix -------------------------------------------------------------------- */

enum letters { UPPER_DIGITS, LETTERS_DIGITS, WORDS };

static const struct token {
    const char *prefix;
    enum guard_kind kind;
    enum letters letters;
    size_t least; /* after the prefix */
    bool exact;
} tokens[] = {
    {"AKIA", GUARD_AWS_KEY, UPPER_DIGITS, 16, true},
    {"ASIA", GUARD_AWS_KEY, UPPER_DIGITS, 16, true},
    {"ghp_", GUARD_GITHUB_TOKEN, LETTERS_DIGITS, 36, false},
    {"gho_", GUARD_GITHUB_TOKEN, LETTERS_DIGITS, 36, false},
    {"ghu_", GUARD_GITHUB_TOKEN, LETTERS_DIGITS, 36, false},
    {"ghs_", GUARD_GITHUB_TOKEN, LETTERS_DIGITS, 36, false},
    {"ghr_", GUARD_GITHUB_TOKEN, LETTERS_DIGITS, 36, false},
    {"github_pat_", GUARD_GITHUB_TOKEN, WORDS, 60, false},
    {"glpat-", GUARD_GITLAB_TOKEN, WORDS, 20, false},
    {"xoxb-", GUARD_SLACK_TOKEN, WORDS, 24, false},
    {"xoxp-", GUARD_SLACK_TOKEN, WORDS, 24, false},
    {"xoxa-", GUARD_SLACK_TOKEN, WORDS, 24, false},
    {"xoxs-", GUARD_SLACK_TOKEN, WORDS, 24, false},
    {"sk_live_", GUARD_STRIPE_KEY, LETTERS_DIGITS, 24, false},
    {"rk_live_", GUARD_STRIPE_KEY, LETTERS_DIGITS, 24, false},
    {"sk_test_", GUARD_STRIPE_KEY, LETTERS_DIGITS, 24, false},
    {"AIza", GUARD_GOOGLE_KEY, WORDS, 35, false},
    {"sk-", GUARD_OPENAI_KEY, LETTERS_DIGITS, 40, false},
    {"sk-proj-", GUARD_OPENAI_KEY, WORDS, 40, false},
    {"sk-svcacct-", GUARD_OPENAI_KEY, WORDS, 40, false},
    {"sk-ant-", GUARD_ANTHROPIC_KEY, WORDS, 40, false},
    {"hf_", GUARD_HUGGINGFACE_TOKEN, LETTERS_DIGITS, 30, false},
    {"npm_", GUARD_NPM_TOKEN, LETTERS_DIGITS, 36, false},
};

static bool fits(enum letters letters, char c)
{
    if (guard_is_digit(c) || is_upper(c))
        return true;
    return letters != UPPER_DIGITS && (is_lower(c) || (letters == WORDS && (c == '_' || c == '-')));
}

/* Random texts have letters of both cases, or digits among them; names and words do not. */
static bool is_mixed(const char *text, size_t length)
{
    int digits = 0, uppers = 0, lowers = 0;
    for (size_t i = 0; i < length; i++) {
        digits += guard_is_digit(text[i]);
        uppers += is_upper(text[i]);
        lowers += is_lower(text[i]);
    }
    return (digits > 0) + (uppers > 0) + (lowers > 0) >= 2;
}

static bool token_at(const struct guard_text *text, size_t from, const struct token *token)
{
    size_t count = 0;
    while (count < token->least && from + count < text->length &&
           fits(token->letters, text->text[from + count]))
        count++;
    return count == token->least && is_mixed(text->text + from, count) &&
           !(token->exact && guard_word_at(text, from + count));
}

static bool find_token(
    const struct guard_text *text, size_t at, enum guard_kind kind, struct guard_match *ret)
{
    if (guard_word_before(text, at))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(tokens); i++) {
        const struct token *token = &tokens[i];
        size_t from = at + strlen(token->prefix);
        if (token->kind != kind || !stands(text, at, token->prefix) || !token_at(text, from, token))
            continue;
        *ret =
            (struct guard_match){at, from + token->least, kind, token->exact ? RUN_NONE : RUN_WORD};
        return true;
    }
    return false;
}

/* ---- private keys ---------------------------------------------------------------------------- */

#define PEM_BEGIN "-----BEGIN "
#define PEM_LABEL "PRIVATE KEY-----"

static bool is_base64(char c)
{
    return (guard_is_word(c) && c != '_') || c == '+' || c == '/' || c == '=';
}

/* Line ends, and what they are in a text within a text. */
static size_t pass_breaks(const struct guard_text *text, size_t at)
{
    static const char breaks[] = " \t\r\n\\nr";
    for (int i = 0; i < 4 && at < text->length && strchr(breaks, text->text[at]); i++) {
        bool letter = text->text[at] == 'n' || text->text[at] == 'r';
        if (text->text[at] == '\0' || (letter && text->text[at - 1] != '\\'))
            break;
        at++;
    }
    return at;
}

static bool find_private_key(
    const struct guard_text *text, size_t at, enum guard_kind kind, struct guard_match *ret)
{
    enum { LABEL_WORDS_BYTES = 16, BASE64_LEAST = 16 };
    size_t label = at + strlen(PEM_BEGIN), words = 0;
    if (!stands(text, at, PEM_BEGIN))
        return false;
    while (words < LABEL_WORDS_BYTES && !stands(text, label, PEM_LABEL)) {
        if (label >= text->length || !(is_upper(text->text[label]) || text->text[label] == ' '))
            return false;
        label++;
        words++;
    }
    if (!stands(text, label, PEM_LABEL))
        return false;
    size_t body = pass_breaks(text, label + strlen(PEM_LABEL)), count = 0;
    while (count < BASE64_LEAST && body + count < text->length &&
           (is_base64(text->text[body + count]) || text->text[body + count] == '-' ||
               text->text[body + count] == ':'))
        count++;
    *ret = (struct guard_match){at, body + count, kind, RUN_PEM};
    return count == BASE64_LEAST;
}

/* ---- JSON web tokens ------------------------------------------------------------------------- */

static bool find_jwt(
    const struct guard_text *text, size_t at, enum guard_kind kind, struct guard_match *ret)
{
    enum { HEADER_MAX = 176, HEADER_LEAST = 12 };
    size_t end = at;
    if (!stands(text, at, "eyJ") || guard_word_before(text, at))
        return false;
    while (end < text->length && end - at < HEADER_MAX && fits(WORDS, text->text[end]))
        end++;
    if (end - at < HEADER_LEAST || !stands(text, end, ".eyJ"))
        return false;
    *ret = (struct guard_match){at, end + 4, kind, RUN_DOTTED};
    return true;
}

/* ---- runs ------------------------------------------------------------------------------------ */

static bool goes_on(enum guard_run run, const struct guard_text *text, size_t at)
{
    static const size_t label = sizeof PEM_LABEL - 1;
    char c = text->text[at];
    if (run == RUN_PEM)
        return (is_base64(c) || (c && strchr("- :,.\t\r\n\\", c))) &&
               !(at >= label && stands(text, at - label, PEM_LABEL));
    return fits(WORDS, c) || (run == RUN_DOTTED && c == '.');
}

size_t guard_run_end(enum guard_run run, const struct guard_text *text, size_t from)
{
    while (from < text->length && goes_on(run, text, from))
        from++;
    return from;
}

/* ---- anchors --------------------------------------------------------------------------------- */

#define TOKEN(prefix, kind)                                                                        \
    {                                                                                              \
        prefix, sizeof(prefix) - 1, false, kind, find_token                                        \
    }
#define PHRASE(word, kind)                                                                         \
    {                                                                                              \
        word, sizeof(word) - 1, true, kind, guard_find_phrase                                      \
    }

static const struct guard_anchor anchors[] = {
    TOKEN("AKIA", GUARD_AWS_KEY),
    TOKEN("ASIA", GUARD_AWS_KEY),
    {"gh[opurs]_", 4, false, GUARD_GITHUB_TOKEN, find_token},
    TOKEN("github_pat_", GUARD_GITHUB_TOKEN),
    TOKEN("glpat-", GUARD_GITLAB_TOKEN),
    {"xox[abps]-", 5, false, GUARD_SLACK_TOKEN, find_token},
    {"[rs]k_live_", 8, false, GUARD_STRIPE_KEY, find_token},
    TOKEN("sk_test_", GUARD_STRIPE_KEY),
    TOKEN("AIza", GUARD_GOOGLE_KEY),
    TOKEN("sk-", GUARD_OPENAI_KEY),
    TOKEN("sk-ant-", GUARD_ANTHROPIC_KEY),
    TOKEN("hf_", GUARD_HUGGINGFACE_TOKEN),
    TOKEN("npm_", GUARD_NPM_TOKEN),
    {PEM_BEGIN, sizeof(PEM_BEGIN) - 1, false, GUARD_PRIVATE_KEY, find_private_key},
    {"eyJ", 3, false, GUARD_JWT, find_jwt},
    {"@[A-Za-z0-9]", 2, false, GUARD_EMAIL, guard_find_email},
    {"\\+[1-9]", 2, false, GUARD_PHONE, guard_find_phone_plus},
    {"[2-9][0-9][0-9][-. ][2-9][0-9][0-9][-. ][0-9][0-9][0-9][0-9]", 12, false, GUARD_PHONE,
        guard_find_phone_groups},
    {"\\([2-9][0-9][0-9]\\)", 5, false, GUARD_PHONE, guard_find_phone_area},
    {"[A-Z][A-Z][0-9][0-9][ A-Z0-9]", 5, false, GUARD_IBAN, guard_find_iban},
    {"[2-6][0-9][0-9][0-9][- 0-9][0-9][0-9]", 7, false, GUARD_CREDIT_CARD, guard_find_card},
    {"[0-8][0-9][0-9][- ][0-9][0-9][- ][0-9][0-9][0-9][0-9]", 11, false, GUARD_SSN, guard_find_ssn},
    {"[0-9]\\.[0-9]", 3, false, GUARD_IP_ADDRESS, guard_find_ipv4},
    {"[0-9A-Fa-f]:[0-9A-Fa-f:]", 3, false, GUARD_IP_ADDRESS, guard_find_ipv6},
    PHRASE("ignore", GUARD_INJECTION_OVERRIDE),
    PHRASE("disregard", GUARD_INJECTION_OVERRIDE),
    PHRASE("forget", GUARD_INJECTION_OVERRIDE),
    PHRASE("override", GUARD_INJECTION_OVERRIDE),
    PHRASE("reveal", GUARD_INJECTION_REVEAL),
    PHRASE("repeat", GUARD_INJECTION_REVEAL),
    PHRASE("print", GUARD_INJECTION_REVEAL),
    PHRASE("show", GUARD_INJECTION_REVEAL),
    PHRASE("output", GUARD_INJECTION_REVEAL),
    PHRASE("you", GUARD_INJECTION_PERSONA),
    PHRASE("act", GUARD_INJECTION_PERSONA),
    PHRASE("pretend", GUARD_INJECTION_PERSONA),
    PHRASE("enable", GUARD_INJECTION_PERSONA),
    {"<\\|im_start", 10, true, GUARD_INJECTION_TURN, guard_find_phrase},
    {"<\\|start_header", 14, true, GUARD_INJECTION_TURN, guard_find_phrase},
    {"\\[inst\\]", 6, true, GUARD_INJECTION_TURN, guard_find_phrase},
    {"<<sys>>", 7, true, GUARD_INJECTION_TURN, guard_find_phrase},
};

const struct guard_anchor *guard_anchors(size_t *ret_count)
{
    static_assert(ARRAY_LEN(anchors) <= GUARD_ANCHORS_MAX, "a bit or a number for each");
    *ret_count = ARRAY_LEN(anchors);
    return anchors;
}
