/* SPDX-License-Identifier: MIT */
/*
 * json_route.h - the handler of /json/{count}?m=N.
 */
#ifndef BIVALVE_JSON_ROUTE_H
#define BIVALVE_JSON_ROUTE_H

#include "route.h"

int json_route_begin(struct request *r);
int json_route_finish(struct core *c, struct slot *s);
int json_route_produce(struct core *c, struct slot *s);

#endif
