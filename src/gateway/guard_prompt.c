/* Phrases of prompt injections that everybody knows: a list of patterns of words, in English. It
 * finds what is copied from such lists; whoever says it in other words is not found. */
#include "gateway/guard_find.h"

#include "base/memory.h"

#include <string.h>
#include <strings.h>

enum { WORD_BYTES = 12, GAP_BYTES = 4, WORDS_MAX = 7 };

/* Each text is a list of words, of which one has to stand there; with ? one may. */
static const struct phrase {
    enum guard_kind kind;
    const char *words[WORDS_MAX + 1];
} phrases[] = {
    {GUARD_INJECTION_OVERRIDE,
        {"ignore disregard forget override", "?all any every", "?of", "?the your my these",
            "previous prior above earlier preceding existing system original",
            "instructions prompts prompt rules messages directions guidelines context"}},
    {GUARD_INJECTION_OVERRIDE,
        {"ignore disregard forget", "everything all", "?that you the", "?was were have",
            "?said been written", "above before previously"}},
    {GUARD_INJECTION_OVERRIDE,
        {"ignore disregard forget override", "?all any", "your the", "?safety content",
            "instructions rules guidelines training restrictions"}},
    {GUARD_INJECTION_REVEAL,
        {"reveal repeat print show output", "?me us", "?all the", "your the",
            "?full hidden initial original secret entire exact", "system initial hidden secret",
            "prompt instructions message rules"}},
    {GUARD_INJECTION_PERSONA,
        {"you", "are", "now", "?in", "dan jailbroken unrestricted developer"}},
    {GUARD_INJECTION_PERSONA, {"you", "have", "no", "?more", "restrictions limitations rules"}},
    {GUARD_INJECTION_PERSONA, {"act pretend", "as to", "?if be", "?you an a", "?are have", "?an no",
                                  "dan unrestricted unfiltered jailbroken restrictions"}},
    {GUARD_INJECTION_PERSONA, {"enable", "developer jailbreak dan", "mode"}},
};

static const char *const markers[] = {"<|im_start", "<|start_header", "[INST]", "<<SYS>>"};

static size_t word_length(const struct guard_text *text, size_t at)
{
    size_t length = 0;
    while (length <= WORD_BYTES && guard_word_at(text, at + length))
        length++;
    return length;
}

static bool is_among(const char *words, const char *word, size_t length)
{
    while (*words) {
        size_t each = strcspn(words, " ");
        if (each == length && !strncasecmp(words, word, length))
            return true;
        words += each + (words[each] == ' ');
    }
    return false;
}

/* The next word after at most so many bytes that are none; text->length: there is none. */
static size_t next_word(const struct guard_text *text, size_t at)
{
    for (int i = 0; i < GAP_BYTES && at < text->length && !guard_is_word(text->text[at]); i++)
        at++;
    return guard_word_at(text, at) ? at : text->length;
}

/* The offset after the phrase, or 0. */
static size_t phrase_end(const struct guard_text *text, size_t at, const struct phrase *phrase)
{
    size_t end = 0;
    for (const char *const *words = phrase->words; *words; words++) {
        bool optional = **words == '?';
        size_t length = word_length(text, at);
        if (length > 0 && is_among(*words + optional, text->text + at, length)) {
            end = at + length;
            at = next_word(text, end);
        } else if (!optional) {
            return 0;
        }
    }
    return end;
}

static bool find_marker(const struct guard_text *text, size_t at, struct guard_match *ret)
{
    for (size_t i = 0; i < ARRAY_LEN(markers); i++) {
        size_t length = strlen(markers[i]);
        if (text->length - at < length || strncasecmp(text->text + at, markers[i], length) != 0)
            continue;
        *ret = (struct guard_match){at, at + length, GUARD_INJECTION_TURN, RUN_NONE};
        return true;
    }
    return false;
}

bool guard_find_phrase(
    const struct guard_text *text, size_t at, enum guard_kind kind, struct guard_match *ret)
{
    if (kind == GUARD_INJECTION_TURN)
        return find_marker(text, at, ret);
    if (guard_word_before(text, at))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(phrases); i++) {
        size_t end = phrases[i].kind == kind ? phrase_end(text, at, &phrases[i]) : 0;
        if (end == 0)
            continue;
        *ret = (struct guard_match){at, end, kind, RUN_NONE};
        return true;
    }
    return false;
}
