/* SPDX-License-Identifier: MIT */
/*
 * record.h - the records that /json serves, in memory: filled by dataset.c, written by
 * json_writer.c.
 */
#ifndef BIVALVE_RECORD_H
#define BIVALVE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DATASET_TEXT_PAD 16

/*
 * An immutable string, already escaped for JSON, quotes included. DATASET_TEXT_PAD bytes behind it
 * may be read, whatever they are.
 */
struct dataset_text {
    const char *text;
    uint32_t len;
};

struct dataset_record {
    int64_t id, price, quantity;
    int64_t value; /* price x quantity, exact: checked at load */
    int64_t rating_score, rating_count;
    struct dataset_text name, category;
    struct dataset_text tags; /* all of them, with the commas between */
    bool active;
};

struct dataset {
    struct dataset_record *records;
    uint32_t count;
    /*
     * text_len[i], i = 0..count: bytes of the first i records' JSON without their totals' digits,
     * commas between records included
     */
    uint64_t *text_len;
    uint32_t record_max; /* no record's JSON, total included, is longer (bytes) */
    void *memory;        /* backing of all the above, one piece */
};

#endif
