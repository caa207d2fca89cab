/* SPDX-License-Identifier: MIT */
/*
 * hist_export.h - histograms in the two forms that HdrHistogram's tools read. What is exported is
 * not recorded into meanwhile: hist_add() and hist_since() give such a copy.
 */
#ifndef BIVALVE_HIST_EXPORT_H
#define BIVALVE_HIST_EXPORT_H

#include <stdio.h>

#include "hist.h"

/*
 * The distribution by percentiles, to the byte as HdrHistogram's outputPercentileDistribution()
 * writes it with 5 steps in each half of the distance to 100 %: what its plotters read (.hgrm).
 * Values are divided by `unit`: by 1000, microseconds are written as milliseconds. Mean and
 * deviation are those of the counts (hist_counted_mean()). 0, or -1 with errno: `out` took it not.
 */
int hist_write_text(const struct hist *h, FILE *out, double unit);

/*
 * HdrHistogram's V2 compressed form in base64 ("HISTF..."), as in its logs. To be freed by the
 * caller. NULL: errno is ENOMEM, or ENOTSUP where bivalve was built without zlib.
 */
char *hist_encode(const struct hist *h);

#endif
