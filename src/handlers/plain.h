/* SPDX-License-Identifier: MIT */
/*
 * plain.h - handlers of the text resources: /baseline11, /pipeline, and OPTIONS.
 */
#ifndef BIVALVE_PLAIN_H
#define BIVALVE_PLAIN_H

#include "route.h"

int plain_baseline_begin(struct request *r);
void plain_baseline_body(struct slot *s, const char *data, size_t len);
int plain_baseline_finish(struct core *c, struct slot *s);

int plain_pipeline_finish(struct core *c, struct slot *s);

#endif
