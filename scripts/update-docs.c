/* SPDX-License-Identifier: MIT */
/*
 * update-docs.c - rewrites what is generated from the table of options: update-docs TOP-OF-SOURCE.
 * For `make update-docs`.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "option_docs.h"

#define UPDATE_FILE_MAX (1u << 20)

/* 1: rewritten, 0: it was right, -1: it could not be (told). */
static int update_one(const char *top, const struct option_doc *doc)
{
    static char text[UPDATE_FILE_MAX];
    char path[4096];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", top, doc->path);
    f = fopen(path, "r");
    if (!f) {
        perror(path);
        return -1;
    }
    text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
    fclose(f);
    char *now = option_docs_renew(doc, text);
    if (!now) {
        fprintf(stderr, "%s: has no lines \"%s\" and \"%s\"\n", path, OPTION_DOCS_BEGIN,
                OPTION_DOCS_END);
        return -1;
    }
    int rc = strcmp(now, text) != 0;
    if (rc == 1) {
        f = fopen(path, "w");
        if (!f || fputs(now, f) < 0 || fclose(f) != 0) {
            perror(path);
            rc = -1;
        }
    }
    free(now);
    return rc;
}

int main(int argc, char **argv)
{
    int status = 0;

    if (argc != 2) {
        fputs("usage: update-docs TOP-OF-SOURCE\n", stderr);
        return 2;
    }
    for (size_t i = 0; i < option_docs_len; i++) {
        int rc = update_one(argv[1], &option_docs[i]);
        printf("%s: %s\n", option_docs[i].path,
               rc < 0    ? "failed"
               : rc == 0 ? "as it should be"
                         : "rewritten");
        if (rc < 0)
            status = 1;
    }
    return status;
}
