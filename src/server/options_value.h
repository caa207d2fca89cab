/* SPDX-License-Identifier: MIT */
/*
 * options_value.h - one option and its value, wherever it was written: what it has to look like, and
 * where it goes.
 */
#ifndef BIVALVE_OPTIONS_VALUE_H
#define BIVALVE_OPTIONS_VALUE_H

#include "options.h"

struct option_spec;

/*
 * Put `value`, NULL where the option takes none, to its place in `o`, which keeps the pointer where it
 * is a text. 0, or -EINVAL with `error` as in options_parse.h.
 */
int options_set(struct options *o, const struct option_spec *spec, const char *value, char *error);

#endif
