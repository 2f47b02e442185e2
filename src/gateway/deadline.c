/* Reading deadlines: see deadline.h. */
#include "gateway/deadline.h"

#include "base/memory.h"

#include <stddef.h>

enum { DIGITS_MAX = 18, GRPC_DIGITS_MAX = 8 };

/* The digits at the beginning; how many there are. */
static size_t read_digits(const char *text, size_t most, int64_t *ret)
{
    size_t count = 0;
    *ret = 0;
    while (count < most && text[count] >= '0' && text[count] <= '9')
        *ret = *ret * 10 + (text[count++] - '0');
    return count;
}

static int64_t cut(int64_t ms)
{
    return ms > DEADLINE_MS_MAX ? DEADLINE_MS_MAX : ms;
}

bool deadline_parse_ms(const char *text, int64_t *ret_ms)
{
    size_t count = read_digits(text, DIGITS_MAX, ret_ms);
    *ret_ms = cut(*ret_ms);
    return count > 0 && text[count] == '\0';
}

bool deadline_parse_grpc(const char *text, int64_t *ret_ms)
{
    static const struct {
        char unit;
        int64_t times, parts; /* of a millisecond */
    } units[] = {{'H', 3600000, 1}, {'M', 60000, 1}, {'S', 1000, 1}, {'m', 1, 1}, {'u', 1, 1000},
        {'n', 1, 1000000}};
    int64_t number;
    size_t count = read_digits(text, GRPC_DIGITS_MAX, &number);
    if (count == 0 || text[count] == '\0' || text[count + 1] != '\0')
        return false;
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (units[i].unit != text[count])
            continue;
        *ret_ms = cut((number * units[i].times + units[i].parts - 1) / units[i].parts);
        return true;
    }
    return false;
}

int64_t deadline_left_ms(int64_t deadline_ns, int64_t now_ns)
{
    int64_t left = deadline_ns - now_ns;
    return left > 0 ? (left + 999999) / 1000000 : 0;
}

const char *deadline_text(int64_t ms, char out[DEADLINE_TEXT])
{
    char *at = out + DEADLINE_TEXT - 1;
    *at = '\0';
    do {
        *--at = (char)('0' + ms % 10);
        ms /= 10;
    } while (ms > 0);
    return at;
}
