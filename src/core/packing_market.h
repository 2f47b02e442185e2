/* What a device costs on nodes of each class, so that the classes fill together.
 *
 * A decision looks at one node, and takes the one that loses least. Then nodes that lose little are
 * full first, whoever else could have gone there: where jobs of one device lose less on nodes of
 * eight, these are broken while nodes of two stand idle, which jobs of four can do nothing with.
 *
 * So there is a market. The mix is scaled to ask for exactly the devices there are, and each shape
 * goes to the classes where loss and price together are least. Classes that more would go to than
 * they hold get dearer, others cheaper, until each is asked for about what it has. (A transport
 * problem with entropy, solved by scaling: Sinkhorn, 1964; Cuturi, NIPS 2013.)
 *
 * Where CPU or memory is short not all of the mix can be placed, so the prices say less; they fade
 * out with the room there is. */
#pragma once

#include "core/packing_balance.h"

/* Makes the price of a device on nodes of each class, in 2^-10 of a device's value as the parts of
 * scores are; the cheapest class has 0, and so has what comes after MIX_CLASSES_MAX. */
void market_make(const struct mix *mix, const struct values *values, const struct balance *balance,
    int64_t ret_prices[MIX_CLASSES_MAX + 1]);
