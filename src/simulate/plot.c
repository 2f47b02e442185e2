/* Axes with round steps, lines as paths. Coordinates are printed with one decimal, so that the same
 * figures give the same bytes. No libm: the logarithm of an axis is worked out bit by bit. */
#include "simulate/plot.h"

#include <stdio.h>
#include <string.h>

enum { WIDTH = 640, HEIGHT = 280, LEFT = 64, RIGHT = 16, TOP = 12, BOTTOM = 44, STEPS = 5 };

struct axis {
    double low, high; /* of values; of their logarithms when log */
    bool log;
};

struct plot_line *plot_add(struct plot *plot, const char *name, int colour)
{
    if (plot->count == PLOT_LINES_MAX)
        return NULL;
    struct plot_line *line = &plot->lines[plot->count++];
    *line = (struct plot_line){.name = name, .colour = colour};
    return line;
}

void plot_finish(struct plot *plot)
{
    for (int i = 0; i < plot->count; i++)
        vec_free(&plot->lines[i].points);
    *plot = (struct plot){0};
}

void html_text(struct strbuf *out, const char *text)
{
    static const char special[] = "&<>\"'";
    static const char *const entities[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"};
    for (; *text; text++) {
        const char *found = strchr(special, *text);
        if (found)
            strbuf_puts(out, entities[found - special]);
        else if ((unsigned char)*text < 0x20)
            strbuf_putc(out, ' ');
        else
            strbuf_putc(out, *text);
    }
}

/* The decimal logarithm of a value above 0, to about six digits: powers of ten are divided out, the
 * rest is squared again and again, each time it passes ten a bit of the result. */
static double log10_of(double value)
{
    double whole = 0, part = 0, bit = 0.5;
    for (; value >= 10; value /= 10)
        whole++;
    for (; value < 1; value *= 10)
        whole--;
    for (int i = 0; i < 20; i++, bit /= 2) {
        value *= value;
        if (value >= 10) {
            value /= 10;
            part += bit;
        }
    }
    return whole + part;
}

static double on_axis(const struct axis *axis, double value)
{
    if (axis->log)
        value = log10_of(value > 1e-3 ? value : 1e-3);
    return axis->high > axis->low ? (value - axis->low) / (axis->high - axis->low) : 0;
}

static double at_x(const struct axis *axis, double value)
{
    return LEFT + on_axis(axis, value) * (WIDTH - LEFT - RIGHT);
}

static double at_y(const struct axis *axis, double value)
{
    return HEIGHT - BOTTOM - on_axis(axis, value) * (HEIGHT - TOP - BOTTOM);
}

/* 1, 2 or 5 times a power of ten, at least `least`. */
static double round_step(double least)
{
    static const double steps[] = {1, 2, 5};
    double unit = 1e-6;
    if (!(least > unit))
        return unit;
    for (;; unit *= 10) {
        for (int i = 0; i < 3; i++) {
            if (steps[i] * unit >= least * 0.999999)
                return steps[i] * unit;
        }
    }
}

static void axes_find(const struct plot *plot, struct axis *x, struct axis *y)
{
    bool any = false;
    double low = 0, high = 0, most = plot->y_most;
    for (int i = 0; i < plot->count; i++) {
        for (size_t p = 0; p < plot->lines[i].points.count; p++) {
            struct plot_point at = plot->lines[i].points.items[p];
            low = !any || at.x < low ? at.x : low;
            high = !any || at.x > high ? at.x : high;
            most = at.y > most ? at.y : most;
            any = true;
        }
    }
    *x = (struct axis){low, high, plot->log_x};
    if (plot->log_x) {
        x->low = log10_of(low > 1e-3 ? low : 1e-3);
        x->high = log10_of(high > 1e-3 ? high : 1e-3);
    }
    double step = round_step((most > 0 ? most : 1) / STEPS);
    *y = (struct axis){0, 0, false};
    while (y->high < most || y->high == 0)
        y->high += step;
}

static void number_text(char out[32], double value)
{
    if (value >= 1e6)
        snprintf(out, 32, "%.3gM", value / 1e6);
    else if (value >= 1e4)
        snprintf(out, 32, "%.4gk", value / 1e3);
    else
        snprintf(out, 32, "%.4g", value);
}

static void tick_x(struct strbuf *out, const struct axis *x, double value)
{
    char text[32];
    double at = at_x(x, value);
    number_text(text, value);
    strbuf_printf(out,
        "<line class=\"grid\" x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\"/>"
        "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n",
        at, TOP, at, HEIGHT - BOTTOM, at, HEIGHT - BOTTOM + 16, text);
}

static void ticks_x(struct strbuf *out, const struct axis *x)
{
    if (x->log) {
        double value = 1e-3;
        while (log10_of(value) < x->low - 1e-6)
            value *= 10;
        for (; log10_of(value) <= x->high + 1e-6; value *= 10)
            tick_x(out, x, value);
        return;
    }
    double step = round_step((x->high - x->low) / (STEPS + 1));
    double value = 0;
    if (x->low > 0)
        value = step * (double)(int64_t)(x->low / step);
    for (; value <= x->high + step * 1e-6; value += step) {
        if (value >= x->low - step * 1e-6)
            tick_x(out, x, value);
    }
}

static void ticks_y(struct strbuf *out, const struct axis *y)
{
    double step = round_step(y->high / STEPS);
    char text[32];
    for (double value = 0; value <= y->high + step * 1e-6; value += step) {
        double at = at_y(y, value);
        number_text(text, value);
        strbuf_printf(out,
            "<line class=\"grid\" x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\"/>"
            "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
            LEFT, at, WIDTH - RIGHT, at, LEFT - 8, at + 4, text);
    }
}

static void labels(struct strbuf *out, const struct plot *plot)
{
    strbuf_printf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">",
        (WIDTH + LEFT - RIGHT) / 2, HEIGHT - 8);
    html_text(out, plot->x_label);
    strbuf_printf(out,
        "</text>\n<text x=\"%d\" y=\"%d\" text-anchor=\"middle\" "
        "transform=\"rotate(-90 14 %d)\">",
        14, (HEIGHT - BOTTOM + TOP) / 2, (HEIGHT - BOTTOM + TOP) / 2);
    html_text(out, plot->y_label);
    strbuf_puts(out, "</text>\n");
}

static void line_svg(
    struct strbuf *out, const struct plot_line *line, const struct axis *x, const struct axis *y)
{
    strbuf_printf(out, "<path class=\"line c%d\" d=\"", line->colour);
    for (size_t i = 0; i < line->points.count; i++) {
        struct plot_point at = line->points.items[i];
        strbuf_printf(out, "%s%.1f %.1f", i ? "L" : "M", at_x(x, at.x), at_y(y, at.y));
    }
    strbuf_puts(out, "\"><title>");
    html_text(out, line->name);
    strbuf_puts(out, "</title></path>\n");
}

static void legend(struct strbuf *out, const struct plot *plot)
{
    strbuf_puts(out, "<p class=\"legend\">");
    for (int i = 0; i < plot->count; i++) {
        bool shown = false;
        for (int before = 0; before < i; before++)
            shown |= strcmp(plot->lines[before].name, plot->lines[i].name) == 0;
        if (shown)
            continue;
        strbuf_printf(out, "<span class=\"k%d\">", plot->lines[i].colour);
        html_text(out, plot->lines[i].name);
        strbuf_puts(out, "</span> ");
    }
    strbuf_puts(out, "</p>\n");
}

void plot_svg(const struct plot *plot, struct strbuf *out)
{
    struct axis x, y;
    size_t points = 0;
    for (int i = 0; i < plot->count; i++)
        points += plot->lines[i].points.count;
    if (points == 0)
        return;
    axes_find(plot, &x, &y);
    strbuf_puts(out, "<figure>\n<figcaption>");
    html_text(out, plot->title);
    strbuf_printf(
        out, "</figcaption>\n<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", WIDTH, HEIGHT);
    html_text(out, plot->title);
    strbuf_puts(out, "\">\n");
    ticks_x(out, &x);
    ticks_y(out, &y);
    labels(out, plot);
    for (int i = 0; i < plot->count; i++)
        line_svg(out, &plot->lines[i], &x, &y);
    strbuf_puts(out, "</svg>\n");
    legend(out, plot);
    strbuf_puts(out, "</figure>\n");
}
