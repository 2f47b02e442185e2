/* Finds the first member "model" of a JSON object (RFC 8259) as its bytes arrive, without holding
 * them and without allocating. What comes before it has to be JSON, strictly; what comes after it
 * is the replica's to read. Requests of the OpenAI API say with it which service they are for. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MODEL_BYTES_MAX = 256, MODEL_DEPTH_MAX = 64 };

enum model_scan_result { MODEL_SCAN_MORE, MODEL_SCAN_FOUND, MODEL_SCAN_FAULT };

/* Opaque in spirit: only model and fault are for the caller. */
struct model_scan {
    char model[MODEL_BYTES_MAX + 1]; /* once found; characters beyond ASCII are '?' each */
    const char *fault;               /* constant text, after a fault */
    uint8_t state, number;
    uint8_t depth;
    bool capturing;      /* the string being read is a key of the outermost object, or the model */
    bool is_key;         /* the string being read is a key */
    bool model_next;     /* the value that comes is the model's */
    uint64_t in_object;  /* a bit for each depth: an object, else a list */
    size_t length;       /* captured so far */
    const char *literal; /* what is left of true, false or null */
    uint32_t code;       /* of an escape \uXXXX */
};

/* Before the first byte. */
void model_scan_init(struct model_scan *scan);
/* Takes the next bytes. After FOUND or FAULT it gives the same again. */
enum model_scan_result model_scan_feed(struct model_scan *scan, const char *bytes, size_t length);
/* The body has ended: FOUND, or FAULT with its text. */
enum model_scan_result model_scan_end(struct model_scan *scan);
