/* SPDX-License-Identifier: MIT */
/*
 * replay.c - a main() for the fuzz targets where libFuzzer is not to be had: runs the target once
 * over every file named, and over every file in the directories named. Options (-runs=0) are
 * ignored, so that it is called like libFuzzer.
 */

#include "fuzz/fuzz.h"
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/*
 * Run the target over one file. The input is an exact malloc(), so that a sanitizer sees a read
 * past its end.
 */
static int replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    struct stat st;
    uint8_t *data = NULL;
    int ret = -1;
    if (fstat(fileno(f), &st) == 0) {
        size_t len = (size_t)st.st_size;
        data = malloc(len != 0 ? len : 1);
        if (data != NULL && fread(data, 1, len, f) == len) {
            LLVMFuzzerTestOneInput(data, len);
            ret = 0;
        }
    }
    if (ret != 0)
        fprintf(stderr, "%s: cannot be read\n", path);
    free(data);
    fclose(f);
    return ret;
}

/* Files run, or -1. */
static int replay_directory(const char *path)
{
    DIR *d = opendir(path);
    if (d == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    int count = 0;
    struct dirent *e;
    while (count >= 0 && (e = readdir(d)) != NULL) {
        if (e->d_name[0] == '.')
            continue;
        char file[4096];
        int len = snprintf(file, sizeof(file), "%s/%s", path, e->d_name);
        if (len < 0 || (size_t)len >= sizeof(file) || replay_file(file) != 0)
            count = -1;
        else
            count++;
    }
    closedir(d);
    return count;
}

int main(int argc, char **argv)
{
    int total = 0;
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] == '-')
            continue;
        struct stat st;
        int n = 1;
        if (stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode))
            n = replay_directory(argv[i]);
        else if (replay_file(argv[i]) != 0)
            n = -1;
        if (n < 0)
            return EXIT_FAILURE;
        total += n;
    }
    if (total == 0) {
        fprintf(stderr, "%s: no input to run\n", argv[0]);
        return EXIT_FAILURE;
    }
    printf("%s: %d inputs\n", argv[0], total);
    return EXIT_SUCCESS;
}
