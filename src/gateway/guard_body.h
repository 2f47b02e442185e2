/* The guard of whole bodies: of requests what they say and what they ask for, of answers what they
 * say. All texts are looked at, wherever they stand in the JSON. */
#pragma once

#include "gateway/guard_json.h"
#include "gateway/guard_scan.h"

enum guard_verdict {
    GUARD_SAME,    /* it may pass as it is */
    GUARD_CHANGED, /* out has what may pass in its place */
    GUARD_REFUSED, /* see code and text */
};

struct guard_body {
    struct guard_counts counts;
    struct strbuf out;
    const char *code; /* of a refusal, for programs */
    char text[200];   /* for people; quotes nothing of the body */
};

/* limits: as a Service has them; NULL: an answer. */
enum guard_verdict guard_body_check(struct guard_body *body, const struct guard_rules *rules,
    const struct service_guard *limits, const char *text, size_t length);
/* The same of a text that is no JSON. */
enum guard_verdict guard_body_check_text(
    struct guard_body *body, const struct guard_rules *rules, const char *text, size_t length);
void guard_body_finish(struct guard_body *body);

/* What a guard does: all kinds of one side of a Service but those left out. */
void guard_rules_set(struct guard_rules *rules, const struct service_guard *guard, bool answers);
/* Whether anything is to be done about requests, or about answers. */
bool guard_does(const struct service_guard *guard, bool answers);
/* Appends "email=2, jwt=1", of what was found. */
void guard_counts_write(const struct guard_counts *counts, struct strbuf *out);
