/* SPDX-License-Identifier: MIT */
/*
 * options.c - see options.h.
 */
#include "config.h"

#include "options.h"

#include <stdlib.h>
#include <string.h>

#include "handlers.h"
#include "log.h"

void options_init(struct options *o)
{
    memset(o, 0, sizeof(*o));
    settings_init(&o->set);
    o->workers = OPTIONS_AUTO;
    o->backend = BIVALVE_DEFAULT_BACKEND;
    o->compress_level = HANDLERS_LEVEL_PRESET;
    o->dataset = BIVALVE_DATADIR "/dataset.json";
    o->pin = true;
    o->log_level = LOG_LEVEL_NOTICE;
    o->tls.min_version = 12;
}

void options_free(struct options *o)
{
    free(o->text);
    o->text = NULL;
}
