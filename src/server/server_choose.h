/* SPDX-License-Identifier: MIT */
/*
 * server_choose.h - which backend it is to be: tried in a process that is thrown away.
 */
#ifndef BIVALVE_SERVER_CHOOSE_H
#define BIVALVE_SERVER_CHOOSE_H

#include "privdrop.h"
#include "registry.h"

/*
 * Choose by --backend's `spec`; `priv`: what the workers will have given up. 0, or the exit status,
 * having logged why.
 */
int server_choose_backend(const char *spec, const struct privdrop *priv,
                          struct registry_choice *choice);

#endif
