/* An outline reader of JSON: see member_scan.h. A frame is kept for each of the first two levels
 * that is an object: the member being read there. Texts, which are most of a body, are passed by
 * the library's search for bytes; none is searched twice, whatever escapes it has. */
#include "gateway/member_scan.h"

#include <assert.h>
#include <string.h>

enum state { BEFORE, OUTLINE, TEXT, ESCAPE, AFTER, FAULT };

/* Where in a member: FIRST is as NAME, but the object may end. */
enum phase { FIRST, NAME, COLON, VALUE };

static void fault(struct member_scan *scan)
{
    scan->state = FAULT;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* NULL: members of this level are nobody's concern. */
static struct member_frame *frame_of(struct member_scan *scan)
{
    bool kept = scan->depth <= MEMBER_FRAMES && !(scan->lists >> (scan->depth - 1) & 1);
    return kept ? &scan->frames[scan->depth - 1] : NULL;
}

/* ---- members --------------------------------------------------------------------------------- */

static bool head_is(const struct member_frame *frame, const char *word)
{
    return frame->head_length == strlen(word) && !memcmp(frame->head, word, frame->head_length);
}

static enum member_kind kind_of(const struct member_frame *frame)
{
    static const struct {
        const char *head;
        enum member_kind kind;
    } kinds[] = {{"true", MEMBER_TRUE}, {"false", MEMBER_FALSE}, {"null", MEMBER_NULL},
        {"{", MEMBER_OBJECT}, {"[", MEMBER_LIST}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        /* Letters with space between them are no word. */
        if (head_is(frame, kinds[i].head) &&
            (frame->closed || frame->end - frame->begin == frame->head_length))
            return kinds[i].kind;
    }
    return MEMBER_OTHER;
}

static void end_member(struct member_scan *scan, struct member_frame *frame)
{
    if (frame->phase != VALUE || !frame->begun) {
        fault(scan);
        return;
    }
    struct json_member member = {.depth = scan->depth,
        .outer = scan->depth > 1 ? scan->frames[0].name : NULL,
        .name = frame->name,
        .escaped = frame->escaped,
        .kind = kind_of(frame),
        .empty = frame->empty,
        .begin = frame->begin,
        .end = frame->end};
    scan->on_member(&member, scan->context);
}

/* A byte of a value on the value's own level. */
static void add_value(struct member_scan *scan, struct member_frame *frame, char c)
{
    if (frame->phase != VALUE || frame->closed) {
        fault(scan);
        return;
    }
    if (!frame->begun) {
        frame->begun = true;
        frame->begin = scan->offset;
    }
    if (frame->head_length < sizeof frame->head)
        frame->head[frame->head_length++] = c;
    frame->end = scan->offset + 1;
}

/* A text, an object or a list has ended that is, or is part of, a value. */
static void close_value(struct member_scan *scan)
{
    struct member_frame *frame = frame_of(scan);
    if (!frame)
        return;
    frame->closed = true;
    frame->end = scan->offset + 1;
}

static void begin_name(struct member_scan *scan, struct member_frame *frame)
{
    memset(frame, 0, sizeof *frame);
    frame->empty = true;
    scan->naming = true;
}

static void add_name(struct member_scan *scan, const char *bytes, size_t length)
{
    struct member_frame *frame = frame_of(scan);
    assert(frame);
    size_t room = sizeof frame->name - frame->name_length;
    length = length < room ? length : room;
    memcpy(frame->name + frame->name_length, bytes, length);
    for (size_t i = 0; i < length; i++)
        frame->escaped |= (unsigned char)bytes[i] < 0x20;
    frame->name_length += length;
    bool too_long = frame->name_length == sizeof frame->name;
    frame->name[too_long ? 0 : frame->name_length] = '\0';
}

/* ---- structure ------------------------------------------------------------------------------- */

static void open_level(struct member_scan *scan, char c)
{
    if (scan->depth == MEMBER_DEPTH_MAX) {
        fault(scan);
        return;
    }
    uint64_t bit = (uint64_t)1 << scan->depth++;
    scan->lists = c == '[' ? scan->lists | bit : scan->lists & ~bit;
    struct member_frame *frame = frame_of(scan);
    if (frame)
        frame->phase = FIRST;
}

static void close_level(struct member_scan *scan, char c)
{
    struct member_frame *frame = frame_of(scan);
    bool list = scan->lists >> (scan->depth - 1) & 1;
    if (list != (c == ']')) {
        fault(scan);
        return;
    }
    if (frame && frame->phase != FIRST)
        end_member(scan, frame);
    if (scan->state == FAULT)
        return;
    if (--scan->depth > 0) {
        close_value(scan);
        return;
    }
    scan->end = scan->offset;
    scan->state = AFTER;
}

/* What stands deeper makes the values around it not empty. */
static void fill_values(struct member_scan *scan)
{
    for (int depth = 1; depth < scan->depth && depth <= MEMBER_FRAMES; depth++)
        scan->frames[depth - 1].empty = false;
}

static void begin_text(struct member_scan *scan, struct member_frame *frame)
{
    scan->state = TEXT;
    scan->naming = false;
    if (!frame)
        return;
    if (frame->phase == FIRST || frame->phase == NAME)
        begin_name(scan, frame);
    else
        add_value(scan, frame, '"');
}

static void on_comma(struct member_scan *scan, struct member_frame *frame)
{
    if (!frame)
        return;
    end_member(scan, frame);
    frame->phase = NAME;
}

static void on_colon(struct member_scan *scan, struct member_frame *frame)
{
    if (!frame)
        return;
    if (frame->phase == COLON)
        frame->phase = VALUE;
    else
        fault(scan);
}

static void on_outline(struct member_scan *scan, char c)
{
    struct member_frame *frame = frame_of(scan);
    if (is_space(c))
        return;
    if (c == '}' || c == ']') {
        close_level(scan, c);
        return;
    }
    fill_values(scan);
    if (c == '"') {
        begin_text(scan, frame);
    } else if (c == ',') {
        on_comma(scan, frame);
    } else if (c == ':') {
        on_colon(scan, frame);
    } else {
        if (frame)
            add_value(scan, frame, c);
        if ((c == '{' || c == '[') && scan->state != FAULT)
            open_level(scan, c);
    }
}

static void on_before(struct member_scan *scan, char c)
{
    if (is_space(c))
        return;
    scan->state = OUTLINE;
    if (c == '{')
        open_level(scan, c);
    else
        fault(scan);
}

/* ---- texts ----------------------------------------------------------------------------------- */

static void end_text(struct member_scan *scan)
{
    scan->state = OUTLINE;
    if (scan->naming)
        frame_of(scan)->phase = COLON;
    else
        close_value(scan);
}

/* Bytes of a text, without its last quotation mark. */
static void add_text(struct member_scan *scan, const char *bytes, size_t length)
{
    scan->offset += length;
    if (scan->naming)
        add_name(scan, bytes, length);
}

/* Up to the end of the text or of the bytes; how many that were. */
static size_t pass_text(struct member_scan *scan, const char *bytes, size_t length)
{
    const char *at = bytes, *end = bytes + length, *quote = NULL;
    while (at < end) {
        if (!quote || quote < at)
            quote = memchr(at, '"', (size_t)(end - at));
        if (!quote)
            quote = end;
        const char *escape = memchr(at, '\\', (size_t)(quote - at));
        if (!escape)
            break;
        if (scan->naming)
            frame_of(scan)->escaped = true;
        if (escape + 1 == end) {
            scan->state = ESCAPE;
            quote = end;
            break;
        }
        at = escape + 2;
    }
    /* The last byte may have been an escaped quotation mark. */
    if (at >= end || quote == end) {
        add_text(scan, bytes, length);
        return length;
    }
    add_text(scan, bytes, (size_t)(quote - bytes));
    end_text(scan);
    scan->offset++;
    return (size_t)(quote + 1 - bytes);
}

/* ---- interface ------------------------------------------------------------------------------- */

void member_scan_init(struct member_scan *scan, member_fn *on_member, void *context)
{
    memset(scan, 0, sizeof *scan);
    scan->on_member = on_member;
    scan->context = context;
}

static size_t step(struct member_scan *scan, const char *bytes, size_t length)
{
    switch ((enum state)scan->state) {
    case TEXT: return pass_text(scan, bytes, length);
    case ESCAPE:
        scan->state = TEXT;
        add_text(scan, bytes, 1);
        return 1;
    case BEFORE: on_before(scan, *bytes); break;
    case OUTLINE: on_outline(scan, *bytes); break;
    case AFTER:
        if (!is_space(*bytes))
            fault(scan);
        break;
    case FAULT: return length;
    }
    scan->offset++;
    return 1;
}

enum member_scan_result member_scan_feed(struct member_scan *scan, const char *bytes, size_t length)
{
    for (size_t at = 0; at < length;)
        at += step(scan, bytes + at, length - at);
    return scan->state == AFTER   ? MEMBER_SCAN_DONE
           : scan->state == FAULT ? MEMBER_SCAN_FAULT
                                  : MEMBER_SCAN_MORE;
}
