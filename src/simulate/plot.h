/* Plots as inline SVG: lines over two axes, coloured by CSS variables of the page. */
#pragma once

#include "base/strbuf.h"
#include "base/vec.h"

#include <stdbool.h>
#include <stdint.h>

enum { PLOT_LINES_MAX = 24 };

struct plot_point {
    double x, y;
};

struct plot_line {
    const char *name; /* the same name: the same colour, and once in the legend */
    int colour;       /* 0 to 3 */
    VEC(struct plot_point) points;
};

struct plot {
    const char *title;
    const char *x_label, *y_label;
    bool log_x;    /* x above 0 */
    double y_most; /* the axis goes to there at least; 0: to what there is */
    struct plot_line lines[PLOT_LINES_MAX];
    int count;
};

/* A new line, or NULL when there are too many. */
struct plot_line *plot_add(struct plot *plot, const char *name, int colour);
/* Appends <figure>..</figure>; nothing when no line has a point. */
void plot_svg(const struct plot *plot, struct strbuf *out);
void plot_finish(struct plot *plot); /* frees the points */

/* Appends text with what HTML gives a meaning neutralised. */
void html_text(struct strbuf *out, const char *text);
