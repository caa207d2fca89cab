/* SPDX-License-Identifier: MIT */
/*
 * dataset.h - the records that /json serves: loaded and checked with jansson before the fork,
 * shared copy-on-write, immutable afterwards.
 */
#ifndef BIVALVE_DATASET_H
#define BIVALVE_DATASET_H

#include "record.h"

#define DATASET_RECORDS_MAX 1000000
#define DATASET_FILE_MAX    (256u << 20) /* bytes */
#define DATASET_RECORD_MAX \
    8192 /* bytes of one record's JSON: fits an output block with room to spare */
#define DATASET_ERROR_MAX 512

/*
 * Load `path`. 0, or -errno with one line in `error` (DATASET_ERROR_MAX bytes): file, record and
 * field, what is wrong. Refused: anything but an array of objects of exactly the known fields, a
 * wrong type, a missing, unknown or duplicate field, a duplicate id, broken UTF-8, a number that is
 * no 64-bit integer, price x quantity overflowing, a record beyond DATASET_RECORD_MAX.
 */
int dataset_load(struct dataset *d, const char *path, char *error);
void dataset_free(struct dataset *d);

#endif
