/* Guards of services: a part of kinds.h. */
#pragma once

#include "spec/kinds_base.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a guard does about a finding. */
enum guard_action { GUARD_PASS, GUARD_FLAG, GUARD_REDACT, GUARD_BLOCK };
enum guard_others { GUARD_OTHERS_REFUSE, GUARD_OTHERS_DROP };
enum guard_failure { GUARD_FAILURE_BLOCK, GUARD_FAILURE_ALLOW };

/* What it finds: secrets, then personal data, then phrases of injections. */
enum guard_kind {
    GUARD_AWS_KEY,
    GUARD_GITHUB_TOKEN,
    GUARD_GITLAB_TOKEN,
    GUARD_SLACK_TOKEN,
    GUARD_STRIPE_KEY,
    GUARD_GOOGLE_KEY,
    GUARD_OPENAI_KEY,
    GUARD_ANTHROPIC_KEY,
    GUARD_HUGGINGFACE_TOKEN,
    GUARD_NPM_TOKEN,
    GUARD_PRIVATE_KEY,
    GUARD_JWT,
    GUARD_EMAIL,
    GUARD_PHONE,
    GUARD_IBAN,
    GUARD_CREDIT_CARD,
    GUARD_SSN,
    GUARD_IP_ADDRESS,
    GUARD_INJECTION_OVERRIDE,
    GUARD_INJECTION_REVEAL,
    GUARD_INJECTION_PERSONA,
    GUARD_INJECTION_TURN,
    GUARD_KINDS,
    GUARD_PERSONAL_FIRST = GUARD_EMAIL,
    GUARD_INJECTION_FIRST = GUARD_INJECTION_OVERRIDE,
};

/* What a value of a request has to be. */
enum guard_schema_kind {
    GUARD_SCHEMA_ANY,
    GUARD_SCHEMA_TEXT,
    GUARD_SCHEMA_NUMBER,
    GUARD_SCHEMA_BOOLEAN,
    GUARD_SCHEMA_OBJECT,
    GUARD_SCHEMA_LIST,
};
enum { GUARD_SCHEMA_MAX = 64 };
struct guard_schema_rule {
    const char *path; /* "messages[].role" */
    enum guard_schema_kind kind;
    struct text_list one_of; /* none: any */
    int64_t max_micro;       /* of a number, or bytes of a text; 0: any */
    bool required;
};

/* What may not pass: see docs/gateway-guard.md. */
struct service_guard {
    struct {
        enum guard_action secrets, personal, injection;
    } requests;
    struct {
        enum guard_action secrets, personal;
    } answers;
    struct text_list except;                            /* kinds by their names */
    int64_t messages_max, prompt_bytes_max, max_tokens; /* 0: any */
    struct text_list models, parameters;                /* none: any */
    struct {
        struct guard_schema_rule *items;
        size_t count;
    } schema;
    enum guard_others others; /* parameters that are not among them */
    struct {
        const char *address; /* NULL: none */
        int64_t timeout_ms;
        enum guard_failure on_failure;
    } classifier;
};
