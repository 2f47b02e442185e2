/* Decimal numbers as texts: see decimal.h. */
#include "spec/decimal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS "0123456789"

enum { TEXT_MAX = 64, EXPONENT_DIGITS_MAX = 4 };

/* sign * 0.DIGITS * 10^exponent, the first digit not 0; zero has no digits and sign 0. */
struct decimal {
    int sign;
    int exponent;
    int count;
    char digits[TEXT_MAX + 1];
};

/* Reads "e-05" or nothing. */
static bool parse_exponent(const char *text, int *ret)
{
    *ret = 0;
    if (*text == '\0')
        return true;
    if (*text != 'e' && *text != 'E')
        return false;
    const char *number = text + 1 + (text[1] == '+' || text[1] == '-');
    size_t count = strspn(number, DIGITS);
    if (count == 0 || count > EXPONENT_DIGITS_MAX || number[count])
        return false;
    *ret = atoi(number) * (text[1] == '-' ? -1 : 1);
    return true;
}

static bool parse(const char *text, struct decimal *ret)
{
    struct decimal decimal = {.sign = 1};
    if (strlen(text) > TEXT_MAX)
        return false;
    if (*text == '-' || *text == '+')
        decimal.sign = *text++ == '-' ? -1 : 1;
    size_t whole = strspn(text, DIGITS);
    const char *fraction = text + whole + (text[whole] == '.');
    size_t parts = text[whole] == '.' ? strspn(fraction, DIGITS) : 0;
    int exponent;
    if (whole == 0 || (text[whole] == '.' && parts == 0) ||
        !parse_exponent(fraction + parts, &exponent))
        return false;
    memcpy(decimal.digits, text, whole);
    memcpy(decimal.digits + whole, fraction, parts);
    decimal.count = (int)(whole + parts);
    decimal.exponent = (int)whole + exponent;
    int zeros = 0;
    while (zeros < decimal.count && decimal.digits[zeros] == '0')
        zeros++;
    decimal.count -= zeros;
    decimal.exponent -= zeros;
    memmove(decimal.digits, decimal.digits + zeros, (size_t)decimal.count);
    while (decimal.count > 0 && decimal.digits[decimal.count - 1] == '0')
        decimal.count--;
    decimal.digits[decimal.count] = '\0';
    if (decimal.count == 0)
        decimal.sign = 0;
    *ret = decimal;
    return true;
}

bool decimal_valid(const char *text)
{
    struct decimal unused;
    return parse(text, &unused);
}

int decimal_compare(const char *a, const char *b)
{
    struct decimal left = {0}, right = {0};
    bool valid = parse(a, &left) && parse(b, &right);
    assert(valid);
    (void)valid;
    if (left.sign != right.sign)
        return left.sign < right.sign ? -1 : 1;
    if (left.sign == 0)
        return 0;
    if (left.exponent != right.exponent)
        return left.exponent < right.exponent ? -left.sign : left.sign;
    /* Without zeros at either end digits compare as texts do. */
    int order = strcmp(left.digits, right.digits);
    return order < 0 ? -left.sign : order > 0 ? left.sign : 0;
}
