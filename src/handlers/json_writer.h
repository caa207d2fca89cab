/* SPDX-License-Identifier: MIT */
/*
 * json_writer.h - the writer of /json bodies: every field of every record is serialised for every
 * request, nothing is rendered beforehand but texts: strings are escaped, the tags of a record are
 * joined. Compact: {"items":[...],"count":C}
 */
#ifndef BIVALVE_JSON_WRITER_H
#define BIVALVE_JSON_WRITER_H

#include <stddef.h>
#include <stdint.h>

#include "bufpool.h"
#include "out.h"
#include "record.h"

/*
 * Exact length of the body for the first `count` records and multiplier `m`, or -ERANGE when a
 * total does not fit 64 bits (*bad is the index of the first such record).
 */
int64_t json_body_length(const struct dataset *d, uint32_t count, int64_t m, uint32_t *bad);

/* The opening, before the first record; the closing, after the last. 0 or -ENOMEM. */
int json_write_open(struct out *o, struct bufpool *p);
int json_write_close(struct out *o, struct bufpool *p, uint32_t count);

/*
 * Append records from *next up to `count` (a comma before each but the first of the array) until
 * all are written or output pending reaches `high_water` bytes more than at the call (one record is
 * written in any case); *next says where to go on. 0 or -ENOMEM.
 */
int json_write_records(struct out *o, struct bufpool *p, const struct dataset *d, uint32_t *next,
                       uint32_t count, int64_t m, size_t high_water);

/*
 * One record into `out`, which has room for d->record_max bytes (no more is written, but maybe more
 * than the record); returns its length. r->value * m does not overflow: json_body_length() has seen to that.
 */
size_t json_write_record(char *out, const struct dataset_record *r, int64_t m);

/* Length of that without the digits of the total. For dataset_load(). */
size_t json_record_length(const struct dataset_record *r);

#endif
